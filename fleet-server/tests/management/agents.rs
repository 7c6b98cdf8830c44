//! Agents: lists of them, and what they are asked to do.

mod crowd;
mod grants;
mod keys;
mod lists;
mod many;
mod migrations;
mod status;
mod upgrades;
