//! A Fleet Server that this agent runs as a component, and whose first agent it is.
//!
//! It is brought up before the agent has enrolled, hands over the key of its own policy, and takes the enrolment at
//! the port that it serves this machine at. From then on the agent reaches its fleet by that port, whatever its policy
//! says of servers.
//!
//! | module | what |
//! |---|---|
//! | `settings` | what was said of it at the enrolment; the input and the output that come of that |
//! | `certificate` | what it proves itself with when it was given nothing for that |
//! | `documents` | where it keeps what it must not forget |
//! | `bootstrap` | from nothing to an enrolled agent |

mod bootstrap;
mod certificate;
pub mod documents;
mod settings;

pub use bootstrap::{BootstrapError, enroll};
pub use certificate::{Authority, CertificateError, Certified, LIFETIME};
pub(crate) use settings::refuse;
pub use settings::{FleetServer, KIND};
