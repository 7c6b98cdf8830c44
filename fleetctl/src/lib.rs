//! The command-line client for Fleet.
//!
//! It turns words into calls of the fleet API (or, with `--driver=etcd`, into reads and writes of the store), or
//! of a fleet-server's management API, and answers into lines. It holds no state of its own besides the files of
//! known host keys and of profiles.
//! It must not know how units are scheduled, and nothing of systemd but the words that its states have.
//!
//! | module | what |
//! |---|---|
//! | `cli` | the definition of the command line, and how it is read |
//! | `settings` | what the flags mean |
//! | `client` | the cluster behind one trait: the fleet API, or the store |
//! | `commands` | what each command does |
//! | `profile` | fleet-servers that have a name, and which one a run is about |
//! | `management` | the management API of a fleet-server |
//! | `plan` | what differs between files and a server |
//! | `nouns` | what each command does that asks a fleet-server |
//! | `yaml` | YAML as people keep it in files |
//! | `wait` | waiting until units are as they shall be |
//! | `ssh` | SSH connections, host keys, tunnels |
//! | `output` | what is printed, how it is aligned |

mod cli;
mod client;
mod commands;
mod context;
mod error;
mod management;
mod names;
mod nouns;
mod output;
mod plan;
mod profile;
mod run;
mod settings;
mod ssh;
mod terminal;
mod wait;
mod yaml;

pub use cli::Environment;
pub use output::Streams;
pub use run::{Host, run};
