//! The command line: its definition, how it is read, and what is said when it cannot be.

mod commands;
mod flags;
pub(crate) mod nouns;
mod parse;
mod usage;

pub(crate) use usage::unknown_command;

pub(crate) use commands::{
    Cat, Command, Destroy, Explain, FdForward, Format, Journal, ListMachines, ListOptions, ListUnitFiles,
    ListUnits, Load, Restart, Shell, Ssh, Start, Status, Stop, Submit, Unload, Wait,
};
pub(crate) use flags::{Cli, GlobalFlags};
pub use parse::Environment;
pub(crate) use parse::{Beginning, Given, Parsed, beginning, definition, parse};
