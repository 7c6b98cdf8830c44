//! Unit names, unit files and their `[X-Fleet]` options.
//!
//! Everything here is a pure function of its input. What this crate must not know: disks, networks, clocks,
//! machines, stores. It is the same code in the client, which checks a file before it is sent, in the API,
//! which checks it again, and in the agent, which compares hashes.
//!
//! Names, normal form, hash and options are those of coreos/fleet 1.0.0, to the byte: a hash computed by one
//! program must be found again by the other.
//!
//! | module | what |
//! |---|---|
//! | [`name`] | [`UnitName`]: checked, with its parts (prefix, instance, type) |
//! | [`option`] | [`UnitOption`]: one `Name=Value` line and the section it stands in |
//! | [`file`](mod@file) | [`UnitFile`]: a list of options, its normal form and hash |
//! | [`parse`] | the reader of unit files |
//! | [`hash`] | [`UnitHash`]: SHA-1 of the normal form |
//! | [`requirements`] | [`Requirements`]: what `[X-Fleet]` asks of a machine |
//! | [`glob`] | the patterns of `Conflicts` and `Replaces` |

pub mod file;
pub mod glob;
pub mod hash;
pub mod name;
pub mod option;
pub mod parse;
mod quote;
pub mod requirements;

pub use file::UnitFile;
pub use hash::{HashError, UnitHash};
pub use name::{NameError, UnitKind, UnitName};
pub use option::UnitOption;
pub use parse::ParseError;
pub use requirements::{OptionError, Requirements};
