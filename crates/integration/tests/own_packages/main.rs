//! The packages of this repository, `integrations/`: each is whole, and comes to the inputs that it should.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod policies;
mod rendered;
mod set_up;
mod whole;
