//! The enrolled agent at work: it takes what the server says, carries it out, and tells how it is.
//!
//! One task decides ([`Agent::run`]); others talk to the server ([`Gateway`](crate::fleet::Gateway),
//! [`Acker`](crate::fleet::Acker)) or do what takes long (jobs), and report to it. What must survive is written before
//! it is acted on.

mod actions;
mod answer;
mod connection;
mod core;
mod job;
mod leave;
mod migrate;
mod own_server;
mod policy;
mod privileges;
mod proof;
mod run;
mod schedule;
mod upgrade;

pub(crate) use answer::{components_shown, is_token, write_diagnostics};
pub use core::{Agent, Context, Ended};
pub(crate) use leave::audit;
pub(crate) use policy::make_plan;
