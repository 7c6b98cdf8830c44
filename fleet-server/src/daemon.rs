//! The parts put together, from start to drain.

mod log;
mod people;
mod settings;
mod sockets;
mod statistics;
mod store;
mod tls;
mod welcome;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fleet_access::audit::Writer;
use fleet_access::authority::{Authority, AuthorityError};
use fleet_access::master_key::{MasterKey, MasterKeyError, MasterKeySource};
use fleet_access::password::{PasswordError, PasswordOptions, Passwords};
use fleet_access::replace_token::{Cost, CostError, ReplaceTokens};
use fleet_access::seal::{Keyring, KeyringError};
use fleet_access::signer::{Signer, SignerError};
use fleet_access::slow::Workers;
use fleet_access::timestamp::Timestamp;
use fleet_access::users::UserError;
use fleet_policy::events::Watcher;
use fleet_policy::keeper::{Duty, Realm, keep};
use fleet_policy::version::Version;
use fleet_service::config::value::Secret;
use fleet_service::drain::Drain;
use fleet_service::notify;
use fleet_service::signals::Signals;
use fleet_service::tls::TlsError;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::agents::{AgentsApi, AgentsHandler, Measured, beat};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::deployment::Deployer;
use crate::engines::keys::KeyKeeper;
use crate::engines::{Installer, ServerLogin};
use crate::events::Delivery;
use crate::exporter::Exporter;
use crate::fleet::{Bounds, Fleet};
use crate::http::{Ending, Port, serve};
use crate::jobs::bulk::BulkKeeper;
use crate::management::{self, Health, Management, People};
use crate::packages::registry::RegistryError;
use crate::upkeep::{Leavers, Restarts, Rotation, Upgrades};
use tls::Listening;

pub(crate) use log::{Terminal, start as start_log, tell_on_stderr};
pub(crate) use sockets::Sockets;

/// The master key of a service that systemd gives one.
const CREDENTIAL: &str = "master-key";
/// The store is asked again this long after it did not answer at the start.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How long the end may take after the grace.
const END_MAX: Duration = Duration::from_secs(3);
/// How long whoever asks is answered by a server that makes way for another one, which goes on with it.
const MAKING_WAY: Duration = Duration::from_millis(200);

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the data directory {} cannot be made (data_dir)", path.display())]
    DataDir {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("there is no master key (master_key_file)")]
    MasterKey(#[source] MasterKeyError),
    #[error("the store cannot be used (store)")]
    Store(#[source] fleet_store::Error),
    #[error("secrets cannot be opened")]
    Keyring(#[source] KeyringError),
    #[error("there is no certificate authority")]
    Authority(#[source] AuthorityError),
    #[error("policies cannot be signed")]
    Signer(#[source] SignerError),
    #[error("TLS cannot be served on {place}")]
    Tls {
        place: &'static str,
        #[source]
        source: TlsError,
    },
    #[error("cannot listen on {address}")]
    Bind {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("passwords cannot be checked")]
    Passwords(#[source] PasswordError),
    #[error("there is no administrator")]
    Admin(#[source] UserError),
    #[error("inputs.0.server.pdkdf2 cannot be used")]
    Cost(#[source] CostError),
    #[error("the registry of packages cannot be asked (registry_url)")]
    Registry(#[source] RegistryError),
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
    #[error("{} cannot be written", path.display())]
    WriteFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Whom the server runs for, if that is not the system's own service manager.
#[async_trait]
pub(crate) trait Host: Sync {
    /// The server serves. What its agent needs is made here.
    async fn serving(&self, management: &Management);

    /// The administrator's password was made up now. It is told only once.
    fn first_password(&self, password: &Secret);
}

/// A server's life: what it is run with, and what ends it.
pub(crate) struct Life<'a> {
    /// The signals of this process.
    pub(crate) signals: &'a mut Signals,
    /// The sockets that outlive a server.
    pub(crate) sockets: &'a mut Sockets,
    /// Cancelled when another server is to take over in the same process.
    pub(crate) makes_way: CancellationToken,
    /// Whom it runs for.
    pub(crate) host: Option<&'a dyn Host>,
    /// Where whoever started it is told what is for nobody else.
    pub(crate) terminal: &'a mut Terminal,
}

impl Life<'_> {
    /// Waits until the server is to stop.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.signals.stop() => {}
            () = self.makes_way.cancelled() => {}
        }
    }

    /// How long whoever asks is still answered.
    fn grace(&self, config: &Config) -> Duration {
        let drain = config.server.timeouts.drain;
        if self.makes_way.is_cancelled() { drain.min(MAKING_WAY) } else { drain }
    }
}

/// Runs the server until it is told to stop.
pub(crate) fn run(config: &Config) -> ExitCode {
    let mut terminal = match log::start(&config.logging) {
        Ok(terminal) => terminal,
        Err(error) => {
            log::tell_on_stderr(&error);
            return ExitCode::FAILURE;
        }
    };
    let outcome = block_on(async {
        let mut signals = Signals::listen().map_err(Error::Signals)?;
        let life = Life {
            signals: &mut signals,
            sockets: &mut Sockets::default(),
            makes_way: CancellationToken::new(),
            host: None,
            terminal: &mut terminal,
        };
        serve_for(config, life).await
    });
    let Some(outcome) = outcome else { return ExitCode::FAILURE };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(error = &error as &dyn std::error::Error, "fleet-server cannot run");
            terminal.tell_failure(&error);
            ExitCode::FAILURE
        }
    }
}

/// Runs a server until `life` is over.
pub(crate) async fn serve_for(config: &Config, life: Life<'_>) -> Result<(), Error> {
    Box::pin(Server::run(config, life)).await
}

/// Runs `future` on a runtime of its own, with a bound on what goes on after it. `None`: there is none, which was told.
pub(crate) fn block_on<F: Future>(future: F) -> Option<F::Output> {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = runtime.block_on(Box::pin(future));
            runtime.shutdown_timeout(END_MAX);
            Some(outcome)
        }
        Err(error) => {
            error!(error = &error as &dyn std::error::Error, "there is no runtime");
            None
        }
    }
}

/// What is open before anybody is served.
struct Server {
    fleet: Arc<Fleet>,
    exporter: Arc<Exporter>,
    authority: Authority,
    people: People,
    /// The administrator's password, if it was made up now.
    password: Option<Secret>,
}

impl Server {
    async fn run(config: &Config, mut life: Life<'_>) -> Result<(), Error> {
        life.sockets.begin();
        let agents = life.sockets.listen(&config.server.host, config.server.port).await?;
        let management = life.sockets.listen(&config.management.host, config.management.port).await?;
        let internal = bind_internal(config, &agents, &mut life).await?;
        life.sockets.close_others();
        let opening = Server::open(config);
        let (server, trail) = tokio::select! {
            opened = Box::pin(opening) => opened?,
            () = life.end() => return Ok(()),
        };
        let drain = Drain::new();
        server.fleet.start(&drain);
        people::start(&server.people, trail, &server.fleet, &drain);
        drain.spawn("beat", {
            let (fleet, token) = (Arc::clone(&server.fleet), drain.token().clone());
            async move { token.run_until_cancelled(beat(fleet)).await }
        });
        tokio::select! {
            () = server.fleet.ready() => {}
            () = life.end() => return Ok(()),
        }
        server.keep_tidy(config, &drain);
        let serving = server.serve(config, agents, internal, management, &drain)?;
        if let Some(address) = &config.statistics.address {
            statistics::serve(address, server.health(&serving.ending).statistics(), &drain).await?;
        }
        let enrollment_key = tokio::select! {
            key = Box::pin(server.prepare(config, &serving)) => key,
            () = life.end() => return Ok(()),
        };
        notify::ready("serving");
        info!(
            version = crate::VERSION,
            agents = %serving.agents,
            management = %serving.management,
            "fleet-server is running"
        );
        match life.host {
            None => life.terminal.tell(&welcome::text(
                config,
                &serving,
                server.password.as_ref(),
                enrollment_key.as_deref(),
            )),
            Some(host) => {
                server.password.iter().for_each(|password| host.first_password(password));
                let management = server.management(config, &serving.ending);
                tokio::select! {
                    () = host.serving(&management) => {}
                    () = life.end() => {}
                }
            }
        }
        life.end().await;
        notify::stopping("draining");
        let grace = life.grace(config);
        info!(?grace, "stopping: whoever asks is answered until the grace ends");
        serving.end(grace, life.signals).await;
        drain.start();
        drain.finish(END_MAX, life.signals).await;
        Ok(())
    }

    /// Starts what mends and removes, as tasks of `drain`.
    fn keep_tidy(&self, config: &Config, drain: &Drain) {
        drain.spawn("keeper", {
            let (fleet, token) = (Arc::clone(&self.fleet), drain.token().clone());
            let keep_expired = config.server.gc.cleanup_after_expired;
            let own = Version::parse(&config.version).unwrap_or_default();
            async move {
                let Fleet { agents, policies, actions, files, happenings, clock, .. } = &*fleet;
                let now = || clock.now();
                let watcher = Watcher::new(agents, policies, actions, &happenings.log, &now);
                let delivery = Delivery::new(Arc::clone(&fleet));
                let (upgrades, leavers) = (Upgrades::new(&fleet, own), Leavers::new(&fleet));
                let (rotation, restarts) = (Rotation::new(&fleet), Restarts::new(&fleet));
                let installer = Installer::new(Arc::clone(&fleet));
                let (keys, bulk) = (KeyKeeper::new(Arc::clone(&fleet)), BulkKeeper::new(&fleet));
                let duties: &[&dyn Duty] = &[
                    &watcher, &delivery, &upgrades, &leavers, &rotation, &restarts, &installer, &keys, &bulk,
                ];
                let realm = Realm { agents, policies, actions, files, keep_expired, duties };
                let name = welcome::hostname().unwrap_or_default();
                keep(realm, &name, || clock.now(), token.cancelled()).await;
            }
        });
        drain.spawn("deployer", {
            let (deployer, token) = (Deployer::new(Arc::clone(&self.fleet)), drain.token().clone());
            let audit = self.people.audit.clone();
            async move { token.run_until_cancelled(deployer.keep_mending(&audit)).await }
        });
    }

    /// Opens everything; the audit trail is written by whoever runs the writer.
    async fn open(config: &Config) -> Result<(Server, Writer), Error> {
        make_data_dir(&config.data_dir)?;
        let master = MasterKey::load(&master_key_source(config)).map_err(Error::MasterKey)?;
        let exporter = Arc::new(Exporter::default());
        let store = store::open(&config.store, exporter.store_observer()).map_err(Error::Store)?;
        store::wait_for(&*store, STORE_PAUSE).await;
        let keyring = Keyring::open(Arc::clone(&store), master).await.map_err(Error::Keyring)?;
        let authority = Authority::open(Arc::clone(&store), &keyring).await.map_err(Error::Authority)?;
        let signer = Signer::open(Arc::clone(&store), &keyring).await.map_err(Error::Signer)?;
        write_file(&config.data_dir.join("ca.pem"), authority.certificate_pem())?;
        let passwords = Passwords::new(PasswordOptions::default(), Workers::for_this_machine());
        let passwords = passwords.map_err(Error::Passwords)?;
        let (people, trail) = People::new(&store, passwords, settings::people(config));
        let password = people.users.ensure_admin(config.admin_password.as_ref(), Timestamp::now()).await;
        let password = password.map_err(Error::Admin)?;
        let bounds = Bounds { files: settings::files(config), artifacts: settings::artifact_cache(config) };
        let fleet = Fleet::new(store, keyring, signer, Arc::new(SystemClock), bounds);
        fleet.packages.set_up(settings::packages(config).map_err(Error::Registry)?);
        fleet.engines.set_up(config.output.as_ref().map(ServerLogin::from).unwrap_or_default());
        Ok((Server { fleet, exporter, authority, people, password }, trail))
    }

    fn serve(
        &self,
        config: &Config,
        agents: TcpListener,
        internal: Option<TcpListener>,
        management: TcpListener,
        drain: &Drain,
    ) -> Result<Serving, Error> {
        let ending = Ending::default();
        let tracker = TaskTracker::new();
        let listening = Listening { authority: &self.authority, names: &config.tls_names, drain };
        let acceptor = listening.acceptor("inputs.0.server.ssl", &config.server.tls, true)?;
        let pbkdf2 = &config.server.pbkdf2;
        let cost = Cost::new(pbkdf2.iterations, pbkdf2.key_length as usize, pbkdf2.salt_length as usize);
        let replace_tokens = ReplaceTokens::new(cost.map_err(Error::Cost)?, Workers::for_this_machine());
        let api = AgentsApi::new(
            Arc::clone(&self.fleet),
            settings::agents(config),
            replace_tokens,
            ending.drain.clone(),
        );
        let handler = Arc::new(Measured::new(AgentsHandler(api), self.exporter.requests()));
        let limits = settings::connections(config);
        let serving = Serving {
            agents: address(&agents),
            management: address(&management),
            is_encrypted: acceptor.is_some(),
            ending: ending.clone(),
            tracker: tracker.clone(),
        };
        for listener in [Some(agents), internal].into_iter().flatten() {
            let port = Port { listener, tls: acceptor.clone() };
            let (handler, limits) = (Arc::clone(&handler), limits.clone());
            drain.spawn("agents-port", serve(port, handler, limits, ending.clone(), tracker.clone()));
        }
        let acceptor = listening.acceptor("management.ssl", &config.management.tls, false)?;
        let router = self.management(config, &ending).router();
        let port = management::Port {
            listener: management,
            tls: acceptor,
            allows_plain: config.management.allows_plain(),
            proxies: management::TrustedProxies::new(&config.management.trusted_proxies),
        };
        drain.spawn("management-port", management::serve(port, router, ending.clone(), tracker.clone()));
        Ok(serving)
    }

    fn management(&self, config: &Config, ending: &Ending) -> Management {
        Management {
            fleet: Arc::clone(&self.fleet),
            deployer: Deployer::new(Arc::clone(&self.fleet)),
            people: self.people.clone(),
            version: Arc::from(config.version.as_str()),
            health: self.health(ending),
        }
    }

    fn health(&self, ending: &Ending) -> Health {
        Health {
            fleet: Arc::clone(&self.fleet),
            exporter: Arc::clone(&self.exporter),
            drain: ending.drain.clone(),
        }
    }

    /// Makes what there is nothing of at the first start, before anybody is told that the server is there. Returns
    /// the enrolment key of the first policy, if that was made now.
    async fn prepare(&self, config: &Config, serving: &Serving) -> Option<String> {
        let own_address = welcome::own_address(config, serving);
        match self.management(config, &serving.ending).ensure_policy(own_address).await {
            Ok(key) => key,
            Err(error) => {
                warn!(%error, "there is no first policy yet: make one over the management API");
                None
            }
        }
    }
}

/// What is being served.
struct Serving {
    agents: SocketAddr,
    management: SocketAddr,
    is_encrypted: bool,
    ending: Ending,
    tracker: TaskTracker,
}

impl Serving {
    /// Held check-ins are answered, requests that still come are too, until `grace` is over or nobody is left.
    async fn end(self, grace: Duration, signals: &mut Signals) {
        self.ending.drain.cancel();
        tokio::select! {
            () = tokio::time::sleep(grace) => {}
            _ = signals.stop() => warn!("asked again to stop: not waiting any longer"),
        }
        self.ending.end.cancel();
        self.tracker.close();
        if tokio::time::timeout(END_MAX, self.tracker.wait()).await.is_err() {
            warn!(connections = self.tracker.len(), "connections are cut off");
        }
    }
}

/// The port for the agent that supervises this server. Servers beside each other on one machine share it: the
/// first has it. One that runs for an agent must have it.
async fn bind_internal(
    config: &Config,
    agents: &TcpListener,
    life: &mut Life<'_>,
) -> Result<Option<TcpListener>, Error> {
    let port = config.server.internal_port;
    if address(agents).port() == port {
        return Ok(None);
    }
    match life.sockets.listen("localhost", port).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if life.host.is_some() => Err(error),
        Err(error) => {
            let text = "localhost is not served for a supervising agent (inputs.0.server.internal_port)";
            warn!(port, error = &error as &dyn std::error::Error, "{text}");
            Ok(None)
        }
    }
}

fn address(listener: &TcpListener) -> SocketAddr {
    // A socket that is bound has an address; this is only told.
    listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)))
}

fn master_key_source(config: &Config) -> MasterKeySource {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    match credentials.filter(|directory| directory.join(CREDENTIAL).exists()) {
        Some(directory) => MasterKeySource::Credential { directory, name: CREDENTIAL.to_owned() },
        None => MasterKeySource::FileOrNew(config.master_key_file.clone()),
    }
}

/// For the server alone: keys and documents lie in it.
fn make_data_dir(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o750).create(path);
    made.map_err(|source| Error::DataDir { path: path.to_owned(), source })
}

fn write_file(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(|source| Error::WriteFile { path: path.to_owned(), source })
}
