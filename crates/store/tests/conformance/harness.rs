//! What a case may do with the engine below its store.

use std::future::Future;
use std::io::Write as _;
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::{Duration, Instant};

use fleet_store::Store;
use fleet_store::embedded::Embedded;
use fleet_store::etcd::{Etcd, Options};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::certificates::Authority;
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

/// The ways in which etcd is protected.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flavour {
    /// Not at all.
    Plain,
    /// TLS, with client certificates.
    Tls,
    /// User and password.
    Auth,
}

/// An etcd, and how to reach it.
pub(crate) struct Engine {
    member: Mutex<Member>,
    options: Options,
    /// Holds the certificates.
    _directory: TempDir,
}

/// The user that the store logs in as, with a right to its prefix and no more.
pub(crate) const USER: (&str, &str) = ("fleet", "open sesame");

/// Below this prefix the user may do what it wants.
pub(crate) const PREFIX: &str = "/tests/";

impl Engine {
    pub(crate) fn new(flavour: Flavour) -> Engine {
        let directory = tempfile::tempdir().unwrap();
        let mut setup = Setup::default();
        let mut options = Options {
            // Generous: two cores run everything at once.
            request_timeout: Duration::from_secs(5),
            ..Options::default()
        };
        match flavour {
            Flavour::Plain => {}
            Flavour::Tls => {
                let authority = Authority::new(directory.path(), "authority");
                let server = authority.sign("server", &["localhost", "127.0.0.1"]);
                let client = authority.sign("client", &[]);
                setup.tls = Some((server.cert, server.key, authority.file.clone()));
                options.ca_file = Some(authority.file);
                (options.cert_file, options.key_file) = (Some(client.cert), Some(client.key));
            }
            Flavour::Auth => {
                setup.arguments = ["--bcrypt-cost", "4"].map(str::to_owned).to_vec();
                options.username = Some(USER.0.to_owned());
                options.password = Some(USER.1.to_owned());
            }
        }
        let member = Member::single(&setup);
        if let Flavour::Auth = flavour {
            enable_auth(&member.url());
        }
        options.endpoints = vec![member.url()];
        Engine { member: Mutex::new(member), options, _directory: directory }
    }
}

/// Makes the user with its role, and turns authentication on.
pub(crate) fn enable_auth(url: &str) {
    let url = url.to_owned();
    let make = async move {
        let mut client = etcd_client::Client::connect([url], None).await.unwrap();
        client.user_add("root", "root", None).await.unwrap();
        client.user_grant_role("root", "root").await.unwrap();
        client.role_add(USER.0).await.unwrap();
        let all = etcd_client::Permission::read_write(PREFIX).with_prefix();
        client.role_grant_permission(USER.0, all).await.unwrap();
        client.user_add(USER.0, USER.1, None).await.unwrap();
        client.user_grant_role(USER.0, USER.0).await.unwrap();
        client.auth_enable().await.unwrap();
    };
    // On a runtime and a thread of its own: the engine is made outside of any async code.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(make);
    })
    .join()
    .unwrap();
}

/// etcd, shared by the cases of a flavour or owned by one of them, with a prefix of the case's own.
pub(crate) struct EtcdHarness {
    engine: Arc<Engine>,
    options: Options,
}

impl EtcdHarness {
    /// On an engine that all cases of the flavour share: not to be restarted.
    pub(crate) fn shared(flavour: Flavour) -> Option<EtcdHarness> {
        static ENGINES: [OnceLock<Arc<Engine>>; 3] = [const { OnceLock::new() }; 3];
        skip_or(|| {
            let engine = ENGINES[flavour as usize].get_or_init(|| Arc::new(Engine::new(flavour)));
            EtcdHarness::on(Arc::clone(engine))
        })
    }

    /// On an engine of its own.
    pub(crate) fn own(flavour: Flavour) -> Option<EtcdHarness> {
        skip_or(|| EtcdHarness::on(Arc::new(Engine::new(flavour))))
    }

    fn on(engine: Arc<Engine>) -> EtcdHarness {
        let key_prefix = format!("{PREFIX}{}", uuid::Uuid::new_v4());
        let options = Options { key_prefix, ..engine.options.clone() };
        EtcdHarness { engine, options }
    }

    /// How its stores are made, to make another one.
    pub(crate) fn options(&self) -> Options {
        self.options.clone()
    }
}

pub(crate) fn skip_or<T>(make: impl FnOnce() -> T) -> Option<T> {
    match available() {
        Ok(()) => Some(make()),
        Err(reason) => {
            report_skipped(&reason);
            None
        }
    }
}

/// Says that the test of this thread was skipped, past the capture of passed tests' output.
pub(crate) fn report_skipped(reason: &str) {
    let name = std::thread::current().name().unwrap_or("test").to_owned();
    let _ = writeln!(std::io::stderr(), "{name}: skipped: {reason}");
}

#[async_trait::async_trait]
impl Harness for EtcdHarness {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(Etcd::connect(self.options.clone()).unwrap())
    }

    async fn restart(&self) {
        let engine = Arc::clone(&self.engine);
        tokio::task::spawn_blocking(move || engine.member.lock().unwrap().restart()).await.unwrap();
    }

    async fn pause(&self) -> bool {
        self.engine.member.lock().unwrap().pause();
        true
    }

    async fn resume(&self) {
        self.engine.member.lock().unwrap().resume();
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
