//! Agents on real machines, with a real server and a real engine.

mod office;
mod relay;
mod steps;
