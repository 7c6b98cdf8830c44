//! A cluster on paper: a store, the API over it, and whatever engine and agents would have written.

use std::sync::Arc;

use bytes::Bytes;
use fleet_cluster::documents::{
    MACHINES, MachineDocument, MachineId, STATES, StateDocument, TargetState, UNITS, UnitDocument, state_id,
};
use fleet_cluster::presence::Membership;
use fleet_store::embedded::Embedded;
use fleet_store::{Expect, LeaseId, Store, Typed, Write};
use fleetd::api::Api;
use http::{Method, Request, header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::answer::Reply;

/// The size of a page.
pub(crate) const PAGE: u16 = 100;

/// This machine is a member.
pub(crate) const MEMBER: Membership = Membership::Member { lease: LeaseId(1), former: None };

/// A store with its API.
pub(crate) struct World {
    pub(crate) api: Arc<Api>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) membership: watch::Sender<Membership>,
    _directory: Option<TempDir>,
}

impl World {
    /// Without anything.
    pub(crate) fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Embedded::open(&directory.path().join("fleet.db")).unwrap());
        World { _directory: Some(directory), ..World::over(store) }
    }

    /// Over a store of the test's own.
    pub(crate) fn over(store: Arc<dyn Store>) -> World {
        let (membership, member) = watch::channel(MEMBER);
        let api = Arc::new(Api::new(&store, member, PAGE));
        World { api, store, membership, _directory: None }
    }

    /// With three machines.
    pub(crate) async fn with_machines() -> World {
        let world = World::new();
        for (number, zone) in [(1, "z1"), (2, "z0"), (3, "z1")] {
            let metadata = [("az", zone.to_owned()), ("hostname", format!("m{number}"))];
            world.add_machine(number, &metadata).await;
        }
        world
    }

    /// Asks.
    pub(crate) async fn ask(&self, request: Request<impl Into<Bytes>>) -> Reply {
        self.api.answer(request.map(Into::into)).await.into_response().into()
    }

    /// Asks with a method, without a body.
    pub(crate) async fn call(&self, method: Method, path: &str) -> Reply {
        self.ask(Request::builder().method(method).uri(path).body("").unwrap()).await
    }

    /// `GET` below `/fleet/v1`.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, &format!("/fleet/v1{path}")).await
    }

    /// `DELETE` of a unit.
    pub(crate) async fn delete(&self, unit: &str) -> Reply {
        self.call(Method::DELETE, &format!("/fleet/v1/units/{unit}")).await
    }

    /// `POST …/restart` of a unit.
    pub(crate) async fn restart(&self, unit: &str) -> Reply {
        self.call(Method::POST, &format!("/fleet/v1/units/{unit}/restart")).await
    }

    /// `PUT` of a unit.
    pub(crate) async fn put(&self, unit: &str, body: impl ToString) -> Reply {
        let request = Request::put(format!("/fleet/v1/units/{unit}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_string());
        self.ask(request.unwrap()).await
    }

    /// `PATCH` of the machines.
    pub(crate) async fn patch(&self, body: impl ToString) -> Reply {
        self.ask(Request::patch("/fleet/v1/machines").body(body.to_string()).unwrap()).await
    }

    /// A machine comes.
    pub(crate) async fn add_machine(&self, number: u8, metadata: &[(&str, String)]) {
        let document = MachineDocument {
            public_ip: format!("127.0.0.{number}"),
            metadata: metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
            version: "2.0.0".to_owned(),
            token: "0".repeat(32),
            lease: LeaseId(1),
            ttl_ms: 30_000,
            settled: false,
        };
        let machines = Typed::new(Arc::clone(&self.store), &MACHINES);
        machines.put(&machine(number).0, &document, Expect::Any, None, None).await.unwrap();
    }

    /// A machine goes.
    pub(crate) async fn remove_machine(&self, number: u8) {
        let machines: Typed<MachineDocument> = Typed::new(Arc::clone(&self.store), &MACHINES);
        machines.delete(&machine(number).0, Expect::Any, None).await.unwrap();
    }

    /// The engine places a unit.
    pub(crate) async fn place(&self, unit: &str, number: Option<u8>) {
        let there = self.unit(unit).await.unwrap();
        let document = UnitDocument { machine: number.map(machine), ..there };
        self.units().put(unit, &document, Expect::Any, None, None).await.unwrap();
    }

    /// A machine says how a unit is: loaded, or launched and running.
    pub(crate) async fn report(&self, unit: &str, number: u8, current: TargetState) {
        let hash = self.unit(unit).await.unwrap().file().hash();
        let (active, sub) = match current {
            TargetState::Launched => ("active", "running"),
            TargetState::Loaded | TargetState::Inactive => ("inactive", "dead"),
        };
        let document = StateDocument {
            machine: machine(number),
            hash,
            current,
            load: "loaded".to_owned(),
            active: active.to_owned(),
            sub: sub.to_owned(),
            restarts: 0,
            error: None,
        };
        let states = Typed::new(Arc::clone(&self.store), &STATES);
        states.put(&state_id(unit, &machine(number)), &document, Expect::Any, None, None).await.unwrap();
    }

    /// The document of a unit.
    pub(crate) async fn unit(&self, name: &str) -> Option<UnitDocument> {
        self.units().get(name).await.unwrap().map(|found| found.value)
    }

    /// Puts a text into the store, past every check.
    pub(crate) async fn smuggle(
        &self,
        collection: &'static fleet_store::Collection,
        id: &str,
        body: impl ToString,
    ) {
        self.store.write(collection, Write::put(id, Expect::Any, body.to_string()), None).await.unwrap();
    }

    fn units(&self) -> Typed<UnitDocument> {
        Typed::new(Arc::clone(&self.store), &UNITS)
    }
}

/// The id of a machine.
pub(crate) fn machine(number: u8) -> MachineId {
    MachineId(format!("{number:08x}{}", "a".repeat(24)))
}

/// The options of a unit that runs for a number of seconds.
pub(crate) fn sleep(seconds: u32) -> Value {
    let command = format!("/bin/sleep {seconds}");
    json!([{"name": "ExecStart", "section": "Service", "value": command}])
}

/// The body of a `PUT` that makes a unit that is wanted in a state.
pub(crate) fn body(desired: &str, seconds: u32) -> Value {
    json!({"desiredState": desired, "options": sleep(seconds)})
}
