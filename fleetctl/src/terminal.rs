//! Questions whose answers are not to be seen.

use std::io;
use std::os::fd::AsFd;

use fleet_service::config::value::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::context::Failure;
use crate::error::io_words;
use crate::output::Console;

/// Puts the terminal back as it was.
struct Echo(Termios);

impl Echo {
    fn off() -> io::Result<Echo> {
        let stdin = io::stdin();
        let before = tcgetattr(stdin.as_fd())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        silent.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(stdin.as_fd(), OptionalActions::Flush, &silent)?;
        Ok(Echo(before))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(io::stdin().as_fd(), OptionalActions::Drain, &self.0) {
            tracing::debug!(%error, "the terminal cannot be put back");
        }
    }
}

/// Asks for a secret at the terminal.
pub(crate) async fn ask_secret(console: &Console, question: &str) -> Result<Secret, Failure> {
    console.ask(question);
    let read = tokio::task::spawn_blocking(|| {
        let _echo = Echo::off()?;
        let mut line = String::new();
        io::stdin().read_line(&mut line)?;
        io::Result::Ok(line)
    });
    let line = match read.await {
        Ok(line) => {
            line.map_err(|error| Failure::new(format!("No answer can be read: {}", io_words(&error))))?
        }
        Err(_) => String::new(),
    };
    let secret = line.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(Failure::new("Nothing was done."));
    }
    Ok(Secret::new(secret))
}
