//! Servers that have a name: the profile file, and which server a run is about.

mod file;
mod select;

pub(crate) use file::{Profile, ProfileError, ProfileFile, Profiles, is_name};
pub(crate) use select::{SelectError, Server, ServerFlags, read_secret, select};
