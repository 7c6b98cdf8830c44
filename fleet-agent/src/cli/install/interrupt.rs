//! Being interrupted while an agent is stopped for a change.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end a program. As long as this process lives they are heard, and end nothing by themselves: an agent
/// that was stopped for a change would not be started again.
#[derive(Debug)]
pub(super) struct Interrupts([Signal; 3]);

impl Interrupts {
    pub(super) fn hear() -> io::Result<Interrupts> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Interrupts([interrupt, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]))
    }

    /// Waits for one.
    pub(super) async fn come(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
