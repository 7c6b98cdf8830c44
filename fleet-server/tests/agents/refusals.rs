//! What is refused, and how: each route, each reason.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::agent::{Agent, Way, enrolment, raw, request, with};
use crate::manager::Manager;
use crate::server::Server;

const ENROLL: &str = "/api/fleet/agents/enroll";
/// A key that nobody has.
pub(crate) const WRONG: &str = "d3Jvbmc6d3Jvbmc=";

pub(crate) struct Case {
    pub(crate) name: &'static str,
    request: Request<Full<Bytes>>,
    status: u16,
    error: &'static str,
}

pub(crate) fn case(
    name: &'static str,
    request: Request<Full<Bytes>>,
    status: u16,
    error: &'static str,
) -> Case {
    Case { name, request, status, error }
}

pub(crate) fn without(mut request: Request<Full<Bytes>>, header: &str) -> Request<Full<Bytes>> {
    request.headers_mut().remove(header);
    request
}

/// What every route of agents refuses.
pub(crate) fn of_each_route(path: &str, key: &str, good: &Value) -> Vec<Case> {
    let send = |key: &str| request("POST", path, key, good);
    let old_version = with(send(key), "elastic-api-version", "2022-01-01");
    vec![
        case("no key", without(send(key), "authorization"), 401, "ErrNoAuthHeader"),
        case("another scheme", with(send(key), "authorization", "Bearer x"), 400, "ErrMalformedHeader"),
        case("no base64", send("%%%"), 400, "ErrMalformedToken"),
        case("wrong key", send(WRONG), 401, "ErrUnauthorized"),
        case("no version", with(send(key), "elastic-api-version", "1"), 400, "ErrInvalidAPIVersionFormat"),
        case("unknown version", old_version, 400, "ErrUnsupportedAPIVersion"),
        case("no JSON", raw("POST", path, key, "{"), 400, "BadRequest"),
        case("no object", raw("POST", path, key, "[]"), 400, "BadRequest"),
        case("no gzip", with(raw("POST", path, key, "{}"), "content-encoding", "gzip"), 400, "BadRequest"),
        case(
            "unknown encoding",
            with(raw("POST", path, key, "{}"), "content-encoding", "br"),
            400,
            "BadRequest",
        ),
        case("too large", raw("POST", path, key, vec![b' '; 3 << 20]), 413, "ErrPayloadSizeTooLarge"),
    ]
}

/// What the routes refuse each for itself.
fn of_one_route(one: &Agent, enrolment_key: &str) -> Vec<Case> {
    let good = one.checkin_body();
    let checkin = |body: &Value| request("POST", &one.path("checkin"), &one.key, body);
    let enroll = |body: &Value| request("POST", ENROLL, enrolment_key, body);
    let unknown = json!({"events": [{"action_id": "x"}]});
    vec![
        case("no route", request("GET", "/nothing", WRONG, &good), 404, "NotFound"),
        case("wrong method", request("GET", ENROLL, WRONG, &good), 405, "MethodNotAllowed"),
        case("no agent", with(checkin(&good), "user-agent", "curl/8"), 400, "InvalidUserAgent"),
        case(
            "old agent",
            with(checkin(&good), "user-agent", "Elastic Agent v7.12.0"),
            400,
            "UnsupportedVersion",
        ),
        case("no status", checkin(&json!({"message": "x"})), 400, "BadRequest"),
        case("unknown status", checkin(&json!({"status": "fine", "message": "x"})), 400, "BadRequest"),
        case("bad poll", checkin(&json!({"status": "online", "poll_timeout": "soon"})), 400, "BadRequest"),
        case("no type", enroll(&json!({"metadata": {}})), 400, "BadRequest"),
        case("no metadata", enroll(&json!({"type": "PERMANENT"})), 400, "BadRequest"),
        case("bad id", enroll(&json!({"type": "PERMANENT", "id": "a/b", "metadata": {}})), 400, "BadRequest"),
        case("unknown action", request("POST", &one.path("acks"), &one.key, &unknown), 404, ""),
    ]
}

pub(crate) async fn check(way: &Way, cases: Vec<Case>) {
    for Case { name, request, status, error } in cases {
        let uri = request.uri().clone();
        let answer = way.send(request).await;
        assert_eq!(answer.status.as_u16(), status, "{name} {uri}: {}", answer.body);
        assert_eq!(answer.body["error"].as_str().unwrap_or_default(), error, "{name} {uri}");
    }
}

#[tokio::test]
async fn each_refusal_has_its_status_and_name() {
    let server = Server::start(&[]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (_, enrolment_key) = manager.make_policy("web").await;
    let mut one = Agent::enrol(&way, &enrolment_key, "one").await;
    let other = Agent::enrol(&way, &enrolment_key, "other").await;
    let good = one.checkin_body();
    let mut cases = of_one_route(&one, &enrolment_key);
    cases.extend(of_each_route(ENROLL, &enrolment_key, &good));
    for path in ["checkin", "acks", "audit/unenroll"].map(|last| one.path(last)) {
        cases.extend(of_each_route(&path, &one.key, &good));
        let stolen = request("POST", &path, &other.key, &good);
        cases.push(case("another agent's key", stolen, 403, "ErrAgentIdentity"));
        let nobody = path.replace(&one.id, "nobody");
        cases.push(case("no such agent", request("POST", &nobody, &one.key, &good), 404, "AgentNotFound"));
    }
    check(&way, cases).await;
    // Nobody else notices.
    assert_eq!(one.checkin(&way).await.status, StatusCode::OK);
}

#[tokio::test]
async fn only_who_knows_the_password_manages() {
    let server = Server::start(&[]);
    let stranger = Manager::of(&server).with_password("wrong");
    let (status, body) = stranger.ask("GET", "/api/fleet/agents", None).await;
    assert_eq!((status, body["statusCode"].as_u64()), (StatusCode::UNAUTHORIZED, Some(401)));
    assert_eq!(stranger.ask("GET", "/api/status", None).await.0, StatusCode::OK);
    let manager = Manager::of(&server);
    let way = Way::to(&server);
    let refused = way.send(request("POST", "/api/fleet/agents/enroll", "x", &enrolment("x"))).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let misspelt = json!({"name": "web", "namespace": "default", "descripton": "x"});
    let (status, body) = manager.ask("POST", "/api/fleet/agent_policies", Some(&misspelt)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body["message"].as_str().unwrap().contains("descripton"), "{body}");
}
