//! What a case may do with the engine below its store.

use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::{Duration, Instant};

use fleet_store::Store;
use fleet_store::embedded::Embedded;
use fleet_store::etcd::{Etcd, Options};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::engine::{Member, Setup, available};
use crate::reopened::Reopened;

/// The bound of every case.
const LIMIT: Duration = Duration::from_secs(60);

/// A store with its engine.
#[async_trait::async_trait]
pub(crate) trait Harness: Send + Sync {
    /// A store on this harness's data. Every call makes a client of its own where the engine has clients.
    fn store(&self) -> Arc<dyn Store>;

    /// Ends the engine with SIGKILL and starts it again on the same data. Stores go on working afterwards.
    async fn restart(&self);

    /// Makes the engine unreachable or silent; `false` if it cannot be.
    async fn pause(&self) -> bool;

    /// Ends [`Harness::pause`].
    async fn resume(&self);
}

/// etcd, shared by the cases of a flavour or owned by one of them.
pub(crate) struct EtcdHarness {
    member: Arc<Mutex<Member>>,
    options: Options,
}

impl EtcdHarness {
    /// On an engine that all cases share: not to be restarted.
    pub(crate) fn shared() -> Option<EtcdHarness> {
        static ENGINE: OnceLock<Arc<Mutex<Member>>> = OnceLock::new();
        skip_or(|| {
            let member = ENGINE.get_or_init(|| Arc::new(Mutex::new(Member::single(&Setup::default()))));
            EtcdHarness::on(Arc::clone(member))
        })
    }

    /// On an engine of its own.
    pub(crate) fn own() -> Option<EtcdHarness> {
        skip_or(|| EtcdHarness::on(Arc::new(Mutex::new(Member::single(&Setup::default())))))
    }

    fn on(member: Arc<Mutex<Member>>) -> EtcdHarness {
        let url = member.lock().unwrap().url();
        let options = Options {
            endpoints: vec![url],
            key_prefix: format!("/{}", uuid::Uuid::new_v4()),
            // Generous: two cores run everything at once.
            request_timeout: Duration::from_secs(5),
            ..Options::default()
        };
        EtcdHarness { member, options }
    }
}

fn skip_or<T>(make: impl FnOnce() -> T) -> Option<T> {
    match available() {
        Ok(()) => Some(make()),
        Err(reason) => {
            println!("skipped: {reason}");
            None
        }
    }
}

#[async_trait::async_trait]
impl Harness for EtcdHarness {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(Etcd::connect(self.options.clone()).unwrap())
    }

    async fn restart(&self) {
        let member = Arc::clone(&self.member);
        tokio::task::spawn_blocking(move || member.lock().unwrap().restart()).await.unwrap();
    }

    async fn pause(&self) -> bool {
        self.member.lock().unwrap().pause();
        true
    }

    async fn resume(&self) {
        self.member.lock().unwrap().resume();
    }
}

/// The embedded store, each case with a file of its own. Its engine is this process: a restart ends what is
/// open and opens it again, as after a crash of the disk's writes; see `kill.rs` for a real one.
pub(crate) struct EmbeddedHarness {
    directory: TempDir,
    store: Arc<Reopened>,
}

impl EmbeddedHarness {
    pub(crate) fn new() -> Option<EmbeddedHarness> {
        let directory = tempfile::tempdir().unwrap();
        let store = Embedded::open(&directory.path().join("store.db")).unwrap();
        Some(EmbeddedHarness { directory, store: Arc::new(Reopened(RwLock::new(Some(store)))) })
    }
}

#[async_trait::async_trait]
impl Harness for EmbeddedHarness {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }

    async fn restart(&self) {
        let path = self.directory.path().join("store.db");
        let store = Arc::clone(&self.store);
        let reopen = move || {
            let mut slot = store.0.write().unwrap();
            drop(slot.take());
            // Calls under way may hold the old one for a moment longer.
            let end = Instant::now() + LIMIT;
            *slot = Some(loop {
                match Embedded::open(&path) {
                    Ok(store) => break store,
                    Err(error) => assert!(Instant::now() < end, "{error:?}"),
                }
            });
        };
        tokio::task::spawn_blocking(reopen).await.unwrap();
    }

    async fn pause(&self) -> bool {
        false
    }

    async fn resume(&self) {}
}

/// Runs a case within the bound.
pub(crate) async fn run<H, F>(harness: Option<H>, case: fn(Arc<dyn Harness>) -> F)
where
    H: Harness + 'static,
    F: Future<Output = ()>,
{
    let Some(harness) = harness else { return };
    timeout(LIMIT, case(Arc::new(harness))).await.expect("the case is finished in time");
}
