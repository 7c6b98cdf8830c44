//! What most of these tests need.

use std::sync::Arc;
use std::time::Duration;

use fleet_cluster::documents::{Assignment, MachineId, TargetState};
use fleet_simulation::{Client, Link, Memory};
use fleet_store::Store;
use fleet_unit::{UnitFile, UnitName};
use tokio::time::{Instant, sleep};

/// A store, and one way to it that a test may cut.
pub(crate) struct Kit {
    pub(crate) memory: Memory,
    pub(crate) link: Link,
    /// Over the link.
    pub(crate) store: Arc<dyn Store>,
    /// Over another one that is never cut.
    pub(crate) admin: Arc<dyn Store>,
}

impl Kit {
    pub(crate) fn new() -> Kit {
        let memory = Memory::new(1);
        let link = Link::new(1);
        let store = Arc::new(Client::new(&memory, &link));
        let admin = Arc::new(Client::new(&memory, &Link::new(2)));
        Kit { memory, link, store, admin }
    }
}

pub(crate) fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

pub(crate) fn file(word: &str) -> UnitFile {
    UnitFile::parse(&format!("[Service]\nExecStart=/bin/echo {word}\n")).unwrap()
}

pub(crate) fn machine(number: u8) -> MachineId {
    MachineId(format!("{number:02x}").repeat(16))
}

pub(crate) fn assignment(file: &UnitFile, target: TargetState, restarts: u64) -> Assignment {
    Assignment { hash: file.hash(), target, restarts, conflicts: Vec::new() }
}

/// Waits until something holds; the bound is in simulated time.
pub(crate) async fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        sleep(Duration::from_millis(1)).await;
    }
}
