//! From the policy that a server sends to what this machine does: pure, no I/O, no clock.
//!
//! | module | what |
//! |---|---|
//! | `plan` | which inputs and outputs there are here, and what is wrong with the others |
//! | `variables` | `${host.name|'x'}` in any text |
//! | `condition` | `${host.platform} == 'linux' and …` |
//! | `settings` | what a policy says about the agent itself |
//! | `own` | what an agent collects of itself |
//! | `redact` | the policy for people's eyes |
//! | `signature` | whether the policy comes from whom it should |

mod bounds;
pub mod condition;
mod own;
mod plan;
mod redact;
mod settings;
mod signature;
mod variables;

pub use plan::{Broken, Finding, Input, Output, Plan, Refusal, plan};
pub(crate) use plan::{COLLECTOR_ID, COLLECTOR_KIND};
pub use redact::{HIDDEN, Redactor};
pub use settings::{AgentSettings, HttpMonitoring, Limits, Protection, wants_full_name};
pub use signature::{SignatureError, verify, verify_action, verify_policy, verify_successor};
pub use variables::{Facts, LocalError, Missing};
