//! An Elasticsearch that has transforms and policies of indices' lives, in front of one that has not: the part of it
//! that comes as packages has neither. Or an OpenSearch with its Index State Management, in front of one without that
//! plugin. All else is the real one's.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use fleet_test_engine::Client;
use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// By their paths.
type Kept = Arc<Mutex<BTreeMap<String, Value>>>;

#[derive(Clone)]
struct Front {
    engine: Client,
    kept: Kept,
}

/// It ends when this is dropped.
pub(crate) struct StandIn {
    address: SocketAddr,
    kept: Kept,
    _running: JoinSet<()>,
}

impl StandIn {
    pub(crate) async fn before(engine: &Client) -> StandIn {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kept = Kept::default();
        let front = Front { engine: engine.clone(), kept: Arc::clone(&kept) };
        let router = Router::new().fallback(answer).with_state(front);
        let mut running = JoinSet::new();
        running.spawn(async move { axum::serve(listener, router).await.unwrap() });
        StandIn { address, kept, _running: running }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What lies at a path.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.kept.lock().unwrap().get(path).cloned()
    }

    /// As people do.
    pub(crate) fn stop(&self, path: &str) {
        self.kept.lock().unwrap().get_mut(path).unwrap()["state"] = "stopped".into();
    }
}

async fn answer(State(front): State<Front>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let body: Value = serde_json::from_slice(&to_bytes(body, 1 << 24).await.unwrap()).unwrap_or_default();
    let (status, answer) = if path.starts_with("/_plugins/_ism") {
        let query = head.uri.query().unwrap_or_default();
        state_management(&mut front.kept.lock().unwrap(), &head.method, &path, query, body)
    } else if path.starts_with("/_transform") || path.starts_with("/_ilm/policy") {
        own(&mut front.kept.lock().unwrap(), &head.method, &path, body)
    } else {
        let login = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let path = head.uri.path_and_query().unwrap().as_str();
        let body = (!body.is_null()).then_some(&body);
        let reply = front.engine.authorized(login).request(head.method, path, body).await.unwrap();
        (StatusCode::from_u16(reply.status).unwrap(), reply.body)
    };
    (status, axum::Json(answer)).into_response()
}

/// As the documentation of these calls says.
fn own(kept: &mut BTreeMap<String, Value>, method: &Method, path: &str, body: Value) -> (StatusCode, Value) {
    let done = (StatusCode::OK, json!({"acknowledged": true}));
    let missing = || (StatusCode::NOT_FOUND, json!({"error": {"reason": format!("{path} is missing")}}));
    let conflict = |reason: &str| (StatusCode::CONFLICT, json!({"error": {"reason": reason}}));
    let name_of = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    match (method.as_str(), path) {
        ("GET", "/_transform") => {
            let transforms = kept.iter().filter(|(path, _)| path.starts_with("/_transform/"));
            let transforms: Vec<Value> =
                transforms.map(|(path, body)| json!({"id": name_of(path), "_meta": body["_meta"]})).collect();
            (StatusCode::OK, json!({"transforms": transforms}))
        }
        ("GET", "/_ilm/policy") => {
            let policies = kept.iter().filter(|(path, _)| path.starts_with("/_ilm/policy/"));
            let policies: Map<String, Value> = policies
                .map(|(path, body)| (name_of(path), json!({"version": 1, "policy": body["policy"]})))
                .collect();
            (StatusCode::OK, policies.into())
        }
        ("PUT", _) if path.starts_with("/_transform/") && kept.contains_key(path) => {
            conflict("a transform with this id exists already")
        }
        ("PUT", _) => {
            let mut body = body;
            if path.starts_with("/_transform/") {
                assert!(body["source"].is_object() && body["dest"].is_object(), "{body}");
                body["state"] = "stopped".into();
            }
            kept.insert(path.to_owned(), body);
            done
        }
        ("POST", _) => {
            let (path, verb) = path.rsplit_once('/').unwrap();
            let Some(transform) = kept.get_mut(path) else { return missing() };
            let (from, to) = if verb == "_start" { ("stopped", "started") } else { ("started", "stopped") };
            if transform["state"] != from && verb == "_start" {
                return conflict("it is started already");
            }
            transform["state"] = to.into();
            done
        }
        ("DELETE", _) => match kept.remove(path) {
            Some(transform) if transform["state"] == "started" => {
                kept.insert(path.to_owned(), transform);
                conflict("it is started")
            }
            Some(_) => done,
            None => missing(),
        },
        _ => (StatusCode::METHOD_NOT_ALLOWED, json!({"error": "no such call"})),
    }
}

/// As the documentation of these calls says.
fn state_management(
    kept: &mut BTreeMap<String, Value>,
    method: &Method,
    path: &str,
    query: &str,
    body: Value,
) -> (StatusCode, Value) {
    const POLICIES: &str = "/_plugins/_ism/policies";
    let told = |path: &str, policy: &Value| {
        let mut told = policy.clone();
        told["_id"] = path.rsplit('/').next().unwrap().into();
        told
    };
    match (method.as_str(), path) {
        ("GET", POLICIES) => {
            let policies = kept.iter().filter(|(path, _)| path.starts_with(POLICIES));
            let policies: Vec<Value> = policies.map(|(path, policy)| told(path, policy)).collect();
            (StatusCode::OK, json!({"total_policies": policies.len(), "policies": policies}))
        }
        ("GET", _) => match kept.get(path) {
            Some(policy) => (StatusCode::OK, told(path, policy)),
            None => (StatusCode::NOT_FOUND, json!({"error": {"reason": "Policy not found"}})),
        },
        ("PUT", _) => {
            let number = kept.get(path).map(|policy| policy["_seq_no"].as_u64().unwrap());
            let wanted =
                number.map_or(String::new(), |number| format!("if_seq_no={number}&if_primary_term=1"));
            if query != wanted {
                return (StatusCode::CONFLICT, json!({"error": {"reason": "version conflict"}}));
            }
            let policy = &body["policy"];
            let states = policy["states"].as_array().unwrap();
            let has = |name: &Value| states.iter().any(|state| state["name"] == *name);
            let targets = states.iter().flat_map(|state| state["transitions"].as_array().unwrap());
            let is_whole = policy["description"].is_string()
                && has(&policy["default_state"])
                && targets.into_iter().all(|target| has(&target["state_name"]));
            if !is_whole {
                return (StatusCode::BAD_REQUEST, json!({"error": {"reason": "Invalid states"}}));
            }
            let number = number.map_or(0, |number| number + 1);
            let policy =
                json!({"policy": policy, "_seq_no": number, "_primary_term": 1, "_version": number + 1});
            kept.insert(path.to_owned(), policy);
            (StatusCode::CREATED, json!({"_id": path.rsplit('/').next()}))
        }
        ("POST", _) => {
            kept.insert(path.to_owned(), body);
            (StatusCode::OK, json!({"updated_indices": 1, "failures": false, "failed_indices": []}))
        }
        ("DELETE", _) => match kept.remove(path) {
            Some(_) => (StatusCode::OK, json!({"result": "deleted"})),
            None => (StatusCode::NOT_FOUND, json!({"error": {"reason": "Policy not found"}})),
        },
        _ => (StatusCode::METHOD_NOT_ALLOWED, json!({"error": "no such call"})),
    }
}
