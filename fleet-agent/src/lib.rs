//! The agent: enrols, obeys its policy, collects and ships data, supervises the rest, and says truthfully how it is.
//!
//! What this crate must not know: how a policy is made, how a server keeps anything, how an input reads or an output
//! writes (`fleet-collect`), how a component is spoken to (`fleet-component`).
//!
//! | module | what |
//! |---|---|
//! | [`cli`] | verbs and flags, from arguments to exit code |
//! | [`daemon`] | the running agent, enrolled or not |
//! | [`agent`] | the enrolled agent at work: one task that decides |
//! | [`policy`] | pure: from a policy to what this machine does |
//! | [`fleet_server`] | a Fleet Server that this agent runs, and its own enrolment there |
//! | [`workload`] | what carries out inputs |
//! | [`fleet`] | the client's half of the agents' protocol |
//! | [`control`] | the socket by which people ask the running agent |
//! | [`rest`] | what an agent keeps that does not run |
//! | [`standalone`] | the agent of no fleet, whose policy is a file |
//! | [`state`] | what survives a restart |

pub mod agent;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod daemon;
pub mod diagnostics;
pub mod duration;
pub mod enrolment;
pub mod fleet;
pub mod fleet_server;
pub mod health;
pub mod install;
pub mod logs;
pub mod machine;
pub mod monitoring;
pub mod paths;
pub mod policy;
pub mod rest;
pub mod standalone;
pub mod state;
pub mod upgrade;
pub mod version;
pub mod workload;
