//! The engine: decides which machine runs which unit, one leader at a time.
//!
//! Actors: every fleetd that is a member takes part in the election ([`leadership::campaign`]), unless its
//! engine is disabled. Whoever holds the leadership lease runs the reconciler: it follows units, machines and
//! their metadata, asks the pure [`Planner`], and writes what it answers: first each unit's placement, by
//! compare-and-swap, then the assignment documents that machines follow. Every write carries the lease
//! (`while_held`), so a deposed leader cannot write.

mod commit;
pub mod constraints;
pub mod explain;
pub mod leadership;
pub mod metrics;
pub mod planner;
mod reading;
pub mod reconciler;
mod shelf;
mod term;

pub use explain::Reason;
pub use planner::{Decision, Planner, UnitSpec};
