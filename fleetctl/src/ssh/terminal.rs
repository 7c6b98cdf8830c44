//! The user's terminal: its size, and raw mode while a remote shell has it.

use std::io;
use std::os::fd::AsFd;

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: u32,
    pub(crate) rows: u32,
}

/// Whether standard input is a terminal.
pub(crate) fn is_interactive() -> bool {
    isatty(io::stdin().as_fd())
}

/// The size of the terminal at standard input.
pub(crate) fn size() -> io::Result<Size> {
    let size = tcgetwinsize(io::stdin().as_fd())?;
    Ok(Size { columns: u32::from(size.ws_col), rows: u32::from(size.ws_row) })
}

/// Raw mode, until it is dropped.
#[derive(Debug)]
pub(crate) struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Lets every key go to the remote side, Ctrl-C too.
    pub(crate) fn enter() -> io::Result<RawMode> {
        let stdin = io::stdin();
        let before = tcgetattr(stdin.as_fd())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin.as_fd(), OptionalActions::Drain, &raw)?;
        Ok(RawMode { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(io::stdin().as_fd(), OptionalActions::Drain, &self.before) {
            tracing::debug!(%error, "the terminal cannot be set back");
        }
    }
}
