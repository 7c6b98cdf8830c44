//! What survives a restart: files of mode 0600 in a directory of mode 0700, each sealed with a key that systemd's
//! credentials or a file hold, and each replaced in one step.
//!
//! A file that cannot be read (torn, foreign, sealed with another key) is set aside under another name: the agent
//! goes on without it and says so, it does not start over and over again.

mod atomic;
mod documents;
mod key;
mod seal;
mod store;

pub use atomic::{
    passable_directory, read_kept, read_kept_unlinked, replace, replace_with_mode, secure_directory,
};
pub use documents::{Identity, PendingAck, Progress, Queued, SavedPolicy};
pub use key::{KeyError, StateKey};
pub use store::{Found, StateError, StateStore};
