//! The command-line client for Fleet.
//!
//! It turns words into calls of the fleet API (or, with `--driver=etcd`, into reads and writes of the store)
//! and answers into lines. It holds no state of its own besides the file of known host keys.
//! It must not know how units are scheduled, and nothing of systemd but the words that its states have.
//!
//! | module | what |
//! |---|---|
//! | `cli` | the definition of the command line, and how it is read |
//! | `settings` | what the flags mean |
//! | `client` | the cluster behind one trait: the fleet API, or the store |
//! | `commands` | what each command does |
//! | `wait` | waiting until units are as they shall be |
//! | `ssh` | SSH connections, host keys, tunnels |
//! | `output` | what is printed, how it is aligned |

mod cli;
mod client;
mod commands;
mod context;
mod error;
mod names;
mod output;
mod run;
mod settings;
mod ssh;
mod wait;

pub use cli::Environment;
pub use output::Streams;
pub use run::{Host, run};
