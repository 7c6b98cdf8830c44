//! The server as a component of an agent (`--agent-mode`): the agent starts it, says what it should do, and is told how
//! it is.
//!
//! What the agent says becomes a configuration, as a file would be; the server itself is the same. It is degraded
//! until the agent has enrolled, which it does at this very server: by the key that its state is told with.
//!
//! | module | what |
//! |---|---|
//! | `units` | what the agent says the server should be |
//! | `document` | that as a configuration |
//! | `status` | what the agent is told |
//! | `guest` | the server's host: the agent |

mod document;
mod guest;
mod status;
mod units;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use fleet_component::component::{About, StartUp, run as run_component};
use fleet_service::error::chain;
use fleet_service::signals::Signals;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::daemon::{self, Life, Sockets, Terminal, serve_for, start_log, tell_on_stderr};
use document::Document;
use guest::Guest;
use status::Status;
use units::{Units, UnitsFeed};

/// What the agent is told that this is.
const NAME: &str = "fleet-server";
/// A server that cannot run is tried again after this time: what is in its way may have gone.
const RETRY: Duration = Duration::from_secs(5);
/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs the server for the agent that has started this process. `overrides`: what stands behind `-E`.
pub(crate) fn run(overrides: Vec<String>) -> ExitCode {
    let base = match document::base(&overrides) {
        Ok(config) => config,
        Err(text) => {
            tell_on_stderr(&document::DocumentError(text));
            return ExitCode::FAILURE;
        }
    };
    let start_up = match StartUp::read() {
        Ok(start_up) => start_up,
        Err(error) => {
            tell_on_stderr(&error);
            return ExitCode::FAILURE;
        }
    };
    let mut terminal = match start_log(&base.logging) {
        Ok(terminal) => terminal,
        Err(error) => {
            tell_on_stderr(&error);
            return ExitCode::FAILURE;
        }
    };
    daemon::block_on(run_under(start_up, overrides, &mut terminal)).unwrap_or(ExitCode::FAILURE)
}

async fn run_under(start_up: StartUp, overrides: Vec<String>, terminal: &mut Terminal) -> ExitCode {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            error!(error = &error as &dyn std::error::Error, "signals cannot be received");
            return ExitCode::FAILURE;
        }
    };
    let stop = CancellationToken::new();
    let feed = Arc::new(UnitsFeed::new(&start_up, overrides, terminal.verbosity()));
    let about = About {
        name: NAME.to_owned(),
        build_hash: String::new(),
        meta: [("version".to_owned(), crate::VERSION.to_owned())].into(),
    };
    let link = tokio::spawn(run_component(start_up, about, Arc::clone(&feed) as _, stop.clone()));
    let mut seat = Seat { feed, sockets: Sockets::default() };
    seat.serve(&mut signals, terminal).await;
    stop.cancel();
    match timeout(LAST_WORDS, link).await {
        Ok(Ok(Ok(()))) | Err(_) => ExitCode::SUCCESS,
        Ok(Ok(Err(error))) => {
            error!(error = &error as &dyn std::error::Error, "the agent cannot be reached");
            ExitCode::FAILURE
        }
        Ok(Err(error)) => {
            error!(%error, "the connection to the agent has ended");
            ExitCode::FAILURE
        }
    }
}

/// The place of a server in this process: one after the other.
struct Seat {
    feed: Arc<UnitsFeed>,
    sockets: Sockets,
}

impl Seat {
    /// Runs servers as the agent says until this process is to stop.
    async fn serve(&mut self, signals: &mut Signals, terminal: &mut Terminal) {
        loop {
            let units = tokio::select! {
                units = self.feed.complete() => units,
                _ = signals.stop() => return,
            };
            let document = self.feed.document(&units);
            let failure = match document.config() {
                Ok(config) => match self.run(&config, &document, &units, signals, terminal).await {
                    Ok(Ended::Process) => return,
                    Ok(Ended::Server) => {
                        self.feed.tell(Status::Configuring);
                        continue;
                    }
                    Err(error) => chain(&error),
                },
                Err(text) => text,
            };
            error!(error = failure, "the server cannot run as the agent says");
            self.feed.tell(Status::Failed(failure));
            tokio::select! {
                () = self.feed.until_other(&document) => self.feed.tell(Status::Configuring),
                () = tokio::time::sleep(RETRY) => {}
                _ = signals.stop() => return,
            }
        }
    }

    async fn run(
        &mut self,
        config: &Config,
        document: &Document,
        units: &Units,
        signals: &mut Signals,
        terminal: &mut Terminal,
    ) -> Result<Ended, daemon::Error> {
        let guest = Guest::new(Arc::clone(&self.feed), config, units);
        let makes_way = CancellationToken::new();
        let life = Life {
            signals,
            sockets: &mut self.sockets,
            makes_way: makes_way.clone(),
            host: Some(&guest),
            terminal,
        };
        let follow = async {
            self.feed.until_other(document).await;
            info!("the agent says that the server should be another one");
            makes_way.cancel();
            // The server says when it has made way.
            std::future::pending::<()>().await;
        };
        let outcome = tokio::select! {
            outcome = serve_for(config, life) => outcome,
            () = follow => Ok(()),
        };
        if makes_way.is_cancelled() {
            if let Err(error) = &outcome {
                warn!(error = error as &dyn std::error::Error, "the server before has not ended well");
            }
            return Ok(Ended::Server);
        }
        outcome.map(|()| Ended::Process)
    }
}

/// What has ended.
enum Ended {
    /// The process is to end.
    Process,
    /// The server has made way for another one.
    Server,
}
