//! The daemon's life: start, reload, stop.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fleet_cluster::environment::Environment;
use fleet_cluster::node::{self, Failure};
use fleet_cluster::presence::Membership;
use fleet_service::listen::{ListenError, Listener};
use fleet_service::logging::Verbosity;
use fleet_service::notify;
use fleet_service::signals::{Signal, Signals};
use http::HeaderValue;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::api::Api;
use crate::config::Options;
use crate::exporter::Exporter;
use crate::generation::{self, Generation, Machine};
use crate::serve::{Site, serve};
use crate::supervisor::Supervisor;
use crate::{VERSION, identity, state_dump, store};

/// How long requests under way get to finish at the end.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// What the `Server` header says.
const SERVER: &str = concat!("fleetd/", env!("CARGO_PKG_VERSION"));

/// Reads the configuration again; `None` when it has mistakes, which have been logged.
pub type Reload = Box<dyn Fn() -> Option<Options>>;

/// What `main` hands over.
pub struct Daemon {
    /// The configuration.
    pub options: Options,
    /// How to read it again.
    pub reload: Reload,
    /// Sockets that systemd has passed.
    pub listeners: Vec<Listener>,
    /// The log's level.
    pub verbosity: Verbosity,
}

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Who this machine is is not known.
    #[error("this machine's identity is not known")]
    Identity(#[source] identity::Error),
    /// systemd cannot be used at all.
    #[error("systemd cannot be used")]
    Systemd(#[source] fleet_cluster::systemd::Error),
    /// A socket cannot be opened.
    #[error("the API cannot be served")]
    Listen(#[source] ListenError),
    /// The store's options are wrong, or the embedded store cannot be opened.
    #[error("the store cannot be used")]
    Store(#[source] fleet_store::Error),
    /// A part of the daemon cannot be started.
    #[error("fleetd cannot start")]
    Generation(#[source] generation::Error),
    /// Signals cannot be received.
    #[error("signals cannot be received")]
    Signals(#[source] std::io::Error),
    /// A part of the daemon is gone.
    #[error("fleetd cannot go on; units are left running")]
    Failed(#[source] Failure),
}

impl Daemon {
    /// Runs until a signal asks it to stop.
    pub async fn run(self) -> Result<(), Error> {
        let mut signals = Signals::listen().map_err(Error::Signals)?;
        let exporter = Arc::new(Exporter::new());
        let machine = self.machine(&exporter).await?;
        let opened = store::open(&self.options, None, &machine.store_observer).map_err(Error::Store)?;
        // What can fail comes before this machine is registered.
        let listeners = bind(self.listeners, &self.options).await?;
        let supervisor = Supervisor::find(&*machine.node.systemd).await;
        let mut generation = Generation::begin(&machine, &self.options, opened, Membership::Joining)
            .map_err(Error::Generation)?;
        let (api, site_api) = watch::channel(Arc::clone(&generation.api));
        let site = Site::new(site_api, exporter, HeaderValue::from_static(SERVER));
        let web = Web::start(listeners, &site);
        let watchdog = CancellationToken::new();
        let _watchdog_ends_with_us = watchdog.clone().drop_guard();
        tokio::spawn(notify::keep_watchdog(watchdog));
        supervisor.ready("running");
        info!(version = VERSION, machine = %machine.node.id, "fleetd is running");

        let mut options = self.options;
        loop {
            let signal = tokio::select! {
                biased;
                failure = generation.failed() => {
                    supervisor.stopping("a part of fleetd is gone; units are left running");
                    generation.end().await;
                    web.finish().await;
                    return Err(Error::Failed(failure));
                }
                signal = signals.next() => signal,
            };
            match signal {
                Signal::User1 => state_dump::print(generation.outbox()),
                Signal::Hangup => {
                    let Some(reload) =
                        announce_reload(supervisor, &self.reload, &machine, &options, &generation)
                    else {
                        continue;
                    };
                    self.verbosity.set(reload.options.verbosity);
                    options = reload.options.clone();
                    generation = replace(&machine, generation, reload, &api).await?;
                    supervisor.ready("running");
                }
                Signal::Terminate | Signal::Interrupt => break,
            }
        }
        let hands_over =
            options.stop_units_on_shutdown && supervisor.is_stopped_for_good(&*machine.node.systemd).await;
        supervisor.stopping(if hands_over { "handing units over" } else { "leaving units running" });
        tokio::select! {
            () = finish(generation, hands_over) => {}
            _ = signals.stop() => warn!("asked again to stop: not waiting any longer"),
        }
        web.finish().await;
        Ok(())
    }

    async fn machine(&self, exporter: &Exporter) -> Result<Machine, Error> {
        let environment = Arc::new(Environment::system());
        let id = identity::machine_id(Path::new(identity::MACHINE_ID_FILE)).map_err(Error::Identity)?;
        let runtime = &self.options.runtime_directory;
        let token = identity::token(runtime, &id, &environment).map_err(Error::Identity)?;
        let systemd = fleet_systemd::Manager::connect(fleet_systemd::Options {
            units_directory: self.options.units_directory.clone(),
            records_directory: runtime.join("records"),
            user: self.options.systemd_user,
        })
        .await
        .map_err(Error::Systemd)?;
        let (systemd, metrics) = (Arc::new(systemd), exporter.engine());
        let node = node::Machine { id, token, systemd, environment, metrics };
        Ok(Machine { node, store_observer: exporter.store_observer() })
    }
}

/// A configuration that was read again, with its store open.
struct Reloaded {
    options: Options,
    opened: store::Opened,
    membership: Membership,
}

/// Reads the configuration again and opens its store, beside the one in use: what cannot be used is told, and
/// nothing is given up for it. While both configurations mean the same store the API goes on answering.
fn announce_reload(
    supervisor: Supervisor,
    reload: &Reload,
    machine: &Machine,
    before: &Options,
    running: &Generation,
) -> Option<Reloaded> {
    info!("Reloading configuration");
    supervisor.reloading();
    let keep_on = |why: &str| {
        error!("{why}: going on with the old configuration");
        supervisor.ready("running; the configuration on disk cannot be used");
    };
    let Some(options) = reload() else {
        keep_on("the configuration has mistakes");
        return None;
    };
    warn_of_what_needs_a_restart(before, &options);
    let same = store::same(before, &options);
    let membership = if same { running.membership() } else { Membership::Joining };
    match store::open(&options, same.then(|| running.store()), &machine.store_observer) {
        Ok(opened) => Some(Reloaded { options, opened, membership }),
        Err(error) => {
            error!(error = &error as &dyn std::error::Error, "the store cannot be opened");
            keep_on("the store cannot be opened");
            None
        }
    }
}

fn warn_of_what_needs_a_restart(before: &Options, after: &Options) {
    let changed = [
        ("listen", before.listen != after.listen),
        ("units_directory", before.units_directory != after.units_directory),
        ("systemd_user", before.systemd_user != after.systemd_user),
    ];
    for (option, _) in changed.into_iter().filter(|(_, changed)| *changed) {
        warn!(option, "has changed, which takes effect when fleetd is restarted (units are not touched)");
    }
}

/// Ends one generation and begins the next.
async fn replace(
    machine: &Machine,
    old: Generation,
    reload: Reloaded,
    api: &watch::Sender<Arc<Api>>,
) -> Result<Generation, Error> {
    old.end().await;
    let generation = Generation::begin(machine, &reload.options, reload.opened, reload.membership)
        .map_err(Error::Generation)?;
    api.send_replace(Arc::clone(&generation.api));
    Ok(generation)
}

async fn finish(generation: Generation, hands_over: bool) {
    if hands_over {
        generation.hand_over().await;
    } else {
        info!("units are left running");
        generation.end().await;
    }
}

/// The API's sockets and connections.
struct Web {
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// The sockets that systemd has passed, and those of the configuration.
async fn bind(passed: Vec<Listener>, options: &Options) -> Result<Vec<Listener>, Error> {
    let mut listeners = passed;
    for address in &options.listen {
        listeners.push(Listener::bind(address).await.map_err(Error::Listen)?);
    }
    if listeners.is_empty() {
        warn!("the API is not served: systemd has passed no socket (fleet.socket), and `listen` is not set");
    }
    Ok(listeners)
}

impl Web {
    fn start(listeners: Vec<Listener>, site: &Site) -> Web {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        for listener in listeners {
            info!(address = listener.address(), "serving the API");
            tasks.spawn(serve(Arc::new(listener), site.clone(), stop.clone()));
        }
        tasks.close();
        Web { stop, tasks }
    }

    async fn finish(self) {
        self.stop.cancel();
        if tokio::time::timeout(DRAIN_MAX, self.tasks.wait()).await.is_err() {
            warn!("some requests were cut off");
        }
    }
}
