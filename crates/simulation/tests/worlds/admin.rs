//! What people do: the API's writes, over a link of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_cluster::documents::{
    MACHINE_METADATA, MachineId, MetadataDocument, TargetState, UNITS, UnitDocument,
};
use fleet_simulation::{Client, Link, Memory};
use fleet_store::{Expect, Store, Typed};
use fleet_unit::{UnitFile, UnitName};

/// A person with access to the store.
#[derive(Debug)]
pub(crate) struct Admin {
    units: Typed<UnitDocument>,
    metadata: Typed<MetadataDocument>,
}

impl Admin {
    pub(crate) fn new(memory: &Memory) -> Admin {
        let store: Arc<dyn Store> = Arc::new(Client::new(memory, &Link::new(0)));
        let metadata = Typed::new(Arc::clone(&store), &MACHINE_METADATA);
        Admin { units: Typed::new(store, &UNITS), metadata }
    }

    /// Changes a unit as the API does: `change` gets what is there, and gives what should be.
    pub(crate) async fn change(
        &self,
        unit: &UnitName,
        change: impl Fn(Option<UnitDocument>) -> Option<UnitDocument>,
    ) {
        for _ in 0..1000 {
            // What cannot be read is replaced.
            let (expect, there) = match self.units.get(unit.as_str()).await {
                Ok(Some(found)) => (Expect::Revision(found.revision), Some(found.value)),
                Ok(None) => (Expect::Absent, None),
                Err(_) => (Expect::Any, None),
            };
            let written = match change(there) {
                Some(document) => self.units.put(unit.as_str(), &document, expect, None, None).await,
                None => self.units.delete(unit.as_str(), expect, None).await,
            };
            if written.is_ok() || expect == Expect::Absent && change(None).is_none() {
                return;
            }
        }
        panic!("{unit} changes all the time");
    }

    /// Creates a unit, or replaces its file.
    pub(crate) async fn put(&self, unit: &UnitName, file: &UnitFile, target: TargetState) {
        self.change(unit, |there| {
            let (machine, restarts) = there.map_or((None, 0), |there| (there.machine, there.restarts));
            let options = file.options().to_vec();
            Some(UnitDocument { options, desired_state: target, machine, restarts })
        })
        .await;
    }

    pub(crate) async fn set_target(&self, unit: &UnitName, target: TargetState) {
        self.change(unit, |there| {
            Some(UnitDocument { desired_state: target, ..there.expect("it is there") })
        })
        .await;
    }

    pub(crate) async fn restart(&self, unit: &UnitName) {
        for _ in 0..1000 {
            let mut there = self.units.get(unit.as_str()).await.unwrap().expect("it is there");
            there.value.ask_for_restart(there.revision);
            let expect = Expect::Revision(there.revision);
            if self.units.put(unit.as_str(), &there.value, expect, None, None).await.is_ok() {
                return;
            }
        }
        panic!("{unit} changes all the time");
    }

    pub(crate) async fn destroy(&self, unit: &UnitName) {
        self.change(unit, |_| None).await;
    }

    pub(crate) async fn get(&self, unit: &UnitName) -> Option<UnitDocument> {
        self.units.get(unit.as_str()).await.unwrap().map(|found| found.value)
    }

    /// Lays metadata over what a machine says of itself.
    pub(crate) async fn set_metadata(&self, machine: &MachineId, values: &[(&str, &str)]) {
        let values: BTreeMap<_, _> =
            values.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned()))).collect();
        self.metadata.put(&machine.0, &MetadataDocument { values }, Expect::Any, None, None).await.unwrap();
    }

    /// Forgets all history.
    pub(crate) async fn compact(&self) {
        self.units.store().compact(std::time::Duration::ZERO).await.unwrap();
    }
}
