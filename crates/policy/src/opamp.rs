//! What a message of a collector changes, and what is answered.
//!
//! Collectors speak OpAMP: each message says what has changed since the one before, and the answer may carry a
//! configuration or a command. As in [`crate::session`], nothing here waits, writes or reads a clock.
//!
//! | module | what |
//! |---|---|
//! | `config` | the part of a policy that is a collector's configuration |
//! | `describe` | what a collector says that it is |
//! | `health` | how it says that it is |
//! | `effective` | the configuration that it runs, without its secrets |
//! | `parts` | the large parts of what it says, as they are stored |
//! | `decide` | what its state becomes, and what it is answered |
//! | `errand` | what becomes of the actions that it is to do |
//! | `restart` | whether it has started again as it was told |

mod config;
mod decide;
mod describe;
mod effective;
mod errand;
mod health;
mod parts;
mod restart;

pub use config::CollectorConfig;
pub use decide::{Conversation, Decision, SERVER_CAPABILITIES, decide};
pub use describe::Description;
pub use effective::{EffectiveConfigError, REDACTED, effective_config};
pub use parts::Parts;
pub use restart::{WITHIN as RESTARTS_WITHIN, give_up};

use crate::session::shorten;
