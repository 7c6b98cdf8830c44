//! Signals as one stream.

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// The signals that a daemon acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `SIGTERM`: stop.
    Terminate,
    /// `SIGINT`: stop, asked for at a terminal.
    Interrupt,
    /// `SIGHUP`: read the configuration again.
    Hangup,
    /// `SIGUSR1`: write down the state.
    User1,
}

impl Signal {
    /// Whether it asks the daemon to stop.
    #[must_use]
    pub fn is_stop(self) -> bool {
        matches!(self, Signal::Terminate | Signal::Interrupt)
    }
}

/// The signals that arrive from now on. Several of one kind that arrive together may be told as one.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
    user1: unix::Signal,
}

impl Signals {
    /// Takes over the handling of these signals for the whole process, until it ends.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn listen() -> io::Result<Signals> {
        Ok(Signals {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
            user1: unix::signal(SignalKind::user_defined1())?,
        })
    }

    /// The next signal; of several that wait, those that stop come first. Dropping the future loses none.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.hangup.recv() => Signal::Hangup,
            _ = self.user1.recv() => Signal::User1,
        }
    }

    /// The next signal that asks the daemon to stop; others are dropped.
    pub async fn stop(&mut self) -> Signal {
        loop {
            let signal = self.next().await;
            if signal.is_stop() {
                return signal;
            }
        }
    }
}
