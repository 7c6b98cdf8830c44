//! Stores around a store: they forward every call and add one thing each.
//!
//! | decorator | what it adds |
//! |---|---|
//! | [`Metered`] | tells an observer of each call: which, how long, whether it failed |
//! | [`Deadline`] | a bound in time for each call, whatever the backend does |
//! | [`Gathered`] | single writes that come together are written together |
//! | [`Faulty`] | failures, lost answers, delays and forgotten watches, from a seed |

mod deadline;
mod faulty;
mod gathered;
mod metered;

pub use deadline::Deadline;
pub use faulty::{Faults, Faulty};
pub use gathered::Gathered;
pub use metered::{Metered, Observer, Operation};
