//! Agents on real machines, with a real server and a real engine.

mod name;
mod office;
mod own_server;
mod privileges;
mod relay;
mod service;
mod standalone;
mod steps;
mod unprivileged;
mod upgrades;
