//! Runs units through systemd: files in a directory of its own, everything else over D-Bus.
//!
//! [`Manager`] is the real `fleet_cluster::systemd::Systemd`. It follows systemd's signals instead of polling,
//! asks for a `daemon-reload` only where the manager would otherwise go on with something old, and survives
//! a restart of D-Bus and a re-execution of systemd.
//!
//! It needs a message bus and systemd 230 or newer (`ListUnitsByNames`, `ListUnitsByPatterns`). The cases of
//! `examples/drive` have been run on 247, which takes an alias that later versions refuse, on 252 and on 257.
//! systemd's own socket, `/run/systemd/private`, is an internal matter of systemd's and is not used.
//!
//! What this crate must not know: the store, HTTP, which units should run.
//!
//! | module | what |
//! |---|---|
//! | [`manager`](Manager) | the trait: what is done for each call, in which order |
//! | `session` | one connection to the bus: signals and replies, in the order in which they come |
//! | `signals` | which signals are asked for, and what they say |
//! | `state` | what calls and session share |
//! | `tracker` | units' states from signals; decides what must be read again |
//! | `jobs` | queued jobs and their results |
//! | `reload`, `batch` | one `daemon-reload`, one call, for all who wait for one |
//! | `link` | calls: to which systemd, over which connection, how many, for how long |
//! | `bus` | systemd's D-Bus interfaces |
//! | `files`, `records` | the units directory and the records directory |

mod batch;
mod bus;
mod error;
#[cfg(test)]
mod fake;
mod files;
mod jobs;
mod link;
mod manager;
mod records;
mod reload;
mod session;
mod signals;
mod state;
#[cfg(test)]
mod tests;
mod tracker;

pub use manager::{Manager, Options};
