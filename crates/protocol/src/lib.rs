//! Wire types of the APIs that Fleet serves.
//!
//! Shapes and texts only: what goes over the wire, how it is written, and what is wrong with it. What this
//! crate must not know: where the data comes from, and what is done with it.
//!
//! | module | what |
//! |---|---|
//! | [`fleet_v1`] | `/fleet/v1`: units, their states, machines; compatible with coreos/fleet 1.0.0 |
//! | [`agent`] | `/api/fleet/agents`: enrol, check in, acknowledge; compatible with Elastic Agent 7.13 and newer |
//! | [`opamp`] | `/v1/opamp`: the Open Agent Management Protocol of OpenTelemetry collectors |

pub mod agent;
pub mod fleet_v1;
pub mod opamp;
