//! What a case may do with the store in memory.

use std::sync::Arc;

use fleet_simulation::{Client, Condition, Link, Memory};
use fleet_store::Store;

/// A store with its engine.
#[async_trait::async_trait]
pub(crate) trait Harness: Send + Sync {
    /// A client of this harness's data.
    fn store(&self) -> Arc<dyn Store>;

    /// Ends the engine and starts it again on the same data: memory has no such thing.
    async fn restart(&self);

    /// Makes the engine silent.
    async fn pause(&self) -> bool;

    /// Ends [`Harness::pause`].
    async fn resume(&self);
}

struct InMemory {
    memory: Memory,
    link: Link,
}

#[async_trait::async_trait]
impl Harness for InMemory {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(Client::new(&self.memory, &self.link))
    }

    async fn restart(&self) {
        unreachable!("no case that restarts its engine is run on memory");
    }

    async fn pause(&self) -> bool {
        self.link.set(Condition::Silent);
        true
    }

    async fn resume(&self) {
        self.link.set(Condition::Up);
    }
}

/// Runs a case.
pub(crate) async fn run<F: Future<Output = ()>>(case: fn(Arc<dyn Harness>) -> F) {
    let harness = InMemory { memory: Memory::new(1), link: Link::new(1) };
    case(Arc::new(harness)).await;
}
