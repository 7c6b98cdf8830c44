//! A whole process: from what the agent says to the signal that ends it.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::connection::ConnectError;
use super::handler::{About, Handler};
use super::link::{run, run_service};
use super::start_up::{Address, StartUp, StartUpError};

/// Why a process cannot be a component.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The agent has not said where it is.
    #[error("this is no component of an agent")]
    StartUp(#[source] StartUpError),
    /// The standard input cannot be waited for.
    #[error("the standard input cannot be waited for")]
    Wait(#[source] tokio::task::JoinError),
    /// The agent cannot say when to stop.
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
    /// The agent cannot be reached, ever.
    #[error("the agent cannot be reached")]
    Connect(#[source] ConnectError),
}

/// Is a component until the agent says that it should stop, which it does by `SIGTERM`.
///
/// # Errors
/// The process was not started by an agent, or there is no way to that.
pub async fn serve(about: About, handler: Arc<dyn Handler>) -> Result<(), ServeError> {
    // Before anything else: an agent may say so at once.
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let start_up = spawn_blocking(StartUp::read).await.map_err(ServeError::Wait)?;
    let start_up = start_up.map_err(ServeError::StartUp)?;
    let stop = CancellationToken::new();
    let mut running = pin!(run(start_up, about, handler, stop.clone()));
    tokio::select! {
        ended = &mut running => return ended.map_err(ServeError::Connect),
        _ = terminate.recv() => stop.cancel(),
    }
    running.await.map_err(ServeError::Connect)
}

/// Is a service of the system until that says by `SIGTERM` that it should stop. An agent may come and go meanwhile.
///
/// # Errors
/// The system cannot say so.
pub async fn serve_at(address: &Address, about: About, handler: Arc<dyn Handler>) -> Result<(), ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let stop = CancellationToken::new();
    let mut running = pin!(run_service(address, about, handler, stop.clone()));
    tokio::select! {
        () = &mut running => return Ok(()),
        _ = terminate.recv() => stop.cancel(),
    }
    running.await;
    Ok(())
}
