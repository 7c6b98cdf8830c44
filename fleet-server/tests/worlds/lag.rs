//! A server that hears of nothing, and can still ask.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleet_policy::documents::{DeployedPolicy, POLICIES};
use fleet_simulation::Condition;
use fleet_store::{
    Collection, Document, Error, Expect, Lease, LeaseId, ListRequest, Page, RenewError, Revision, Scope,
    Store, Typed, Watch, Write, WriteError,
};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, watch};

use crate::world::World;

/// A store whose watches bring nothing while it lags; what happened meanwhile comes later. Everything else is as
/// it was.
#[derive(Clone, Debug)]
pub(crate) struct Lagging {
    inner: Arc<dyn Store>,
    lags: watch::Receiver<bool>,
}

impl Lagging {
    pub(crate) fn new(inner: Arc<dyn Store>, lags: watch::Receiver<bool>) -> Lagging {
        Lagging { inner, lags }
    }
}

#[async_trait::async_trait]
impl Store for Lagging {
    async fn get(&self, collection: &'static Collection, id: &str) -> Result<Option<Document>, Error> {
        self.inner.get(collection, id).await
    }

    async fn get_many(
        &self,
        collection: &'static Collection,
        ids: &[String],
    ) -> Result<Vec<Option<Document>>, Error> {
        self.inner.get_many(collection, ids).await
    }

    async fn list(&self, collection: &'static Collection, request: ListRequest) -> Result<Page, Error> {
        self.inner.list(collection, request).await
    }

    async fn write(
        &self,
        collection: &'static Collection,
        write: Write,
        while_held: Option<LeaseId>,
    ) -> Result<Revision, WriteError> {
        self.inner.write(collection, write, while_held).await
    }

    async fn write_many(
        &self,
        collection: &'static Collection,
        writes: Vec<Write>,
        while_held: Option<LeaseId>,
    ) -> Vec<Result<Revision, WriteError>> {
        self.inner.write_many(collection, writes, while_held).await
    }

    async fn watch(
        &self,
        collection: &'static Collection,
        scope: Scope,
        after: Revision,
    ) -> Result<Watch, Error> {
        let mut inner = self.inner.watch(collection, scope, after).await?;
        let mut lags = self.lags.clone();
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(next) = inner.next().await {
                if lags.wait_for(|lags| !lags).await.is_err() || sender.send(next).await.is_err() {
                    return;
                }
            }
        });
        Ok(Watch::new(receiver))
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        self.inner.grant(ttl).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<(), RenewError> {
        self.inner.renew(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.inner.revoke(lease).await
    }

    async fn compact(&self, keep: Duration) -> Result<(), Error> {
        self.inner.compact(keep).await
    }

    async fn check(&self) -> Result<String, Error> {
        self.inner.check().await
    }
}

fn in_world<F: Future<Output = ()>>(test: impl FnOnce(World) -> F) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async { test(World::begin(1).await).await });
}

const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Saves a policy that names an artifact of which there is nothing else.
async fn name_artifact(world: &World) {
    let policies: Typed<DeployedPolicy> = Typed::new(Arc::clone(world.store()), &POLICIES);
    let mut policy = policies.get("web").await.unwrap().unwrap().value;
    policy.revision_idx += 1;
    let artifact = json!({"decoded_sha256": SHA256, "identifier": "list"});
    let manifest = json!({"artifacts": BTreeMap::from([("list", artifact)])});
    policy.data = Map::from_iter([("inputs".to_owned(), json!([{"artifact_manifest": manifest}]))]);
    policies.put("web", &policy, Expect::Any, None, None).await.unwrap();
}

#[test]
fn a_server_that_lags_asks_whose_key_it_is() {
    in_world(async |world| {
        world.servers()[1].lag(true);
        let (_, key) = world.enrol().await;
        let late = async |method: Method, path: &str, key: &str| {
            let (status, answer) = world.servers()[1].send(method, path, key, &Value::Null).await.unwrap();
            (status, answer["error"].as_str().unwrap_or_default().to_owned())
        };
        let artifact = format!("/api/fleet/artifacts/list/{SHA256}");
        let get = async |path: &str| late(Method::GET, path, &key).await;
        assert_eq!(get("/api/fleet/file/nothing").await, (StatusCode::NOT_FOUND, "NotFound".to_owned()));
        assert_eq!(get(&artifact).await, (StatusCode::FORBIDDEN, "Forbidden".to_owned()));
        let upload = late(Method::POST, "/api/fleet/uploads/nothing", &key).await;
        assert_eq!(upload, (StatusCode::BAD_REQUEST, "ErrAPIKeyNotFound".to_owned()));
        // A revision that another server may have handed out already.
        name_artifact(&world).await;
        assert_eq!(get(&artifact).await, (StatusCode::NOT_FOUND, "NotFound".to_owned()));
        // Only what the store says makes a key a wrong one.
        let other = world.enrol().await.1;
        let wrong = crate::world::with_secret_of(&other, &key);
        let refused = (StatusCode::UNAUTHORIZED, "ErrUnauthorized".to_owned());
        assert_eq!(late(Method::GET, &artifact, &wrong).await, refused);
        world.servers()[1].link.set(Condition::Refusing);
        let third = world.enrol().await.1;
        let unknown = (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable".to_owned());
        assert_eq!(late(Method::GET, &artifact, &third).await, unknown);
        assert_eq!(late(Method::GET, "/api/fleet/file/nothing", &third).await, unknown);
    });
}

#[test]
fn an_attempt_that_goes_on_at_a_server_that_lags_makes_one_agent() {
    in_world(async |world| {
        let body = json!({
            "type": "PERMANENT",
            "enrollment_id": "attempt-1",
            "metadata": {"local": {}},
        });
        let enrol = async |server: usize| {
            let server = &world.servers()[server];
            let path = "/api/fleet/agents/enroll";
            let (status, answer) =
                server.send(Method::POST, path, world.enrolment_key(), &body).await.unwrap();
            assert_eq!(status, StatusCode::OK, "{answer}");
            let text = |field: &str| answer["item"][field].as_str().unwrap().to_owned();
            (text("id"), text("access_api_key"))
        };
        world.servers()[1].lag(true);
        let (first, old_key) = enrol(0).await;
        let (second, key) = enrol(1).await;
        assert_eq!(first, second);
        let checkin = json!({"status": "online", "message": ""});
        let path = format!("/api/fleet/agents/{second}/checkin");
        let with =
            async |key: &str| world.servers()[0].send(Method::POST, &path, key, &checkin).await.unwrap().0;
        // The first server has to hear of it.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(with(&old_key).await, StatusCode::UNAUTHORIZED);
        assert_eq!(with(&key).await, StatusCode::OK);
        // One that has come is no remainder: the attempt's name is used again by another agent.
        assert_ne!(enrol(1).await.0, second);
        assert_eq!(with(&key).await, StatusCode::OK);
    });
}
