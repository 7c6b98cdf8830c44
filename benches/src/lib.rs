//! The numbers in the README, each with the command that makes it.
//!
//! [`units`] measures the units half on real machines: systemd in `systemd-nspawn`, a real etcd beside them, `fleetd`
//! and `fleetctl` built for release. Each benchmark boots a cluster of its own, measures from outside what a person
//! would see, and leaves nothing behind. `docs/benchmarks.md` says how each figure is taken.
//!
//! It must not know how `fleetd` works inside; the planner alone is measured as the library that it is.

mod arguments;
mod client;
mod error;
mod etcd;
mod lab;
mod process;
mod programs;
mod report;
mod run;
mod samples;
pub mod units;
mod wait;

pub use arguments::Arguments;
pub use error::BenchError;
pub use report::{Figure, Report, Target};
pub use run::run;
pub use samples::Samples;
