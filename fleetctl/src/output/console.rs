//! Where the client writes. Data goes to standard output, everything about the work to standard error.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

/// The two streams a run of the client writes to.
pub struct Streams {
    /// For data.
    pub out: Box<dyn Write + Send>,
    /// For progress, warnings and errors.
    pub err: Box<dyn Write + Send>,
    /// Whether a person looks at standard error: progress and colour are for people.
    pub err_is_terminal: bool,
}

impl Streams {
    /// The streams of the process.
    pub fn of_process() -> Streams {
        Streams {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            err_is_terminal: io::stderr().is_terminal(),
        }
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Streams").field("err_is_terminal", &self.err_is_terminal).finish()
    }
}

/// Standard output and standard error of one run.
#[derive(Debug)]
pub(crate) struct Console {
    streams: Mutex<State>,
    progress: bool,
    colour: bool,
}

#[derive(Debug)]
struct State {
    streams: Streams,
    failure: Option<io::Error>,
    progress_shown: bool,
}

impl Console {
    /// A console over `streams`. `colour` says whether the user allows it (`NO_COLOR`).
    pub(crate) fn new(streams: Streams, colour: bool) -> Console {
        let terminal = streams.err_is_terminal;
        Console {
            progress: terminal,
            colour: terminal && colour,
            streams: Mutex::new(State { streams, failure: None, progress_shown: false }),
        }
    }

    /// Whether a person looks who can also answer.
    pub(crate) fn is_interactive(&self) -> bool {
        self.progress && io::stdin().is_terminal()
    }

    /// Whether progress is shown in a line that is written over.
    pub(crate) fn shows_progress(&self) -> bool {
        self.progress
    }

    /// Prints a line of data.
    pub(crate) fn line(&self, text: impl fmt::Display) {
        self.data(format!("{text}\n").as_bytes());
    }

    /// Prints data as it is.
    pub(crate) fn data(&self, bytes: &[u8]) {
        let mut state = self.lock();
        state.clear_progress();
        if state.failure.is_none() {
            state.failure = write_all(&mut *state.streams.out, bytes).err();
        }
    }

    /// Tells the user something about the work. What cannot be told is lost: there is nowhere else to say it.
    pub(crate) fn note(&self, text: impl fmt::Display) {
        let mut state = self.lock();
        state.clear_progress();
        let _ = write_all(&mut *state.streams.err, format!("{text}\n").as_bytes());
    }

    /// A warning in the form of the log lines, `WARN text`.
    pub(crate) fn warn(&self, text: impl fmt::Display) {
        if self.colour {
            self.note(format_args!("\x1b[33mWARN\x1b[0m {text}"));
        } else {
            self.note(format_args!("WARN {text}"));
        }
    }

    /// Text on standard error without a line's end: a question.
    pub(crate) fn ask(&self, text: impl fmt::Display) {
        let mut state = self.lock();
        state.clear_progress();
        let _ = write_all(&mut *state.streams.err, text.to_string().as_bytes());
    }

    /// Shows how far the work is, in one line that is written over; nothing unless a person looks.
    pub(crate) fn progress(&self, text: impl fmt::Display) {
        if !self.progress {
            return;
        }
        let mut state = self.lock();
        let line = format!("\r\x1b[K{text}");
        state.progress_shown = write_all(&mut *state.streams.err, line.as_bytes()).is_ok();
    }

    /// Raw bytes for standard error: what a remote command wrote there.
    pub(crate) fn pass_error(&self, bytes: &[u8]) {
        let mut state = self.lock();
        let _ = write_all(&mut *state.streams.err, bytes);
    }

    /// Whether nobody reads standard output any more, so that going on is in vain.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().failure.is_some()
    }

    /// Ends the run: what kept data from being written, unless it was the reader who had enough.
    pub(crate) fn finish(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.clear_progress();
        match state.failure.take() {
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn clear_progress(&mut self) {
        if std::mem::take(&mut self.progress_shown) {
            let _ = write_all(&mut *self.streams.err, b"\r\x1b[K");
        }
    }
}

fn write_all(stream: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}
