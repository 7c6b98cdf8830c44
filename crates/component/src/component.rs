//! The half of a component process.
//!
//! A process [`serve`]s a [`Handler`], or reads what it needs to know from its standard input ([`StartUp`]) and then
//! [`run`]s one: that is told what the component should do, and says by a [`Reporter`] how each unit is. A service of the
//! system does the same by [`serve_at`] or [`run_service`]. `examples/component` is both.
//!
//! | module | what |
//! |---|---|
//! | [`start_up`] | what a new process is told |
//! | [`session`] | what the component should have and what it says: decisions alone |
//! | [`handler`] | what a component has to do itself |
//! | `connection` | reaching the agent |
//! | `serve` | a whole process, from its start to its end |
//! | `link` | the streams, kept open until the end |
//! | `actions` | what the component is asked to do at once |

mod actions;
mod connection;
pub mod handler;
mod link;
mod serve;
pub mod session;
pub mod start_up;

pub use handler::{About, Action, Change, DiagnosticFile, Handler, News, Reporter, Scope, Unit};
pub use link::{run, run_service};
pub use serve::{ServeError, serve, serve_at};
pub use start_up::{Address, StartUp, StartUpError};

/// What of the agent a component is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// Its id; empty until it has enrolled.
    pub id: String,
    /// Its version, which is to be shown rather than the component's own.
    pub version: String,
    /// Whether that is not a release.
    pub is_snapshot: bool,
    /// Whether nobody manages it.
    pub is_standalone: bool,
    /// Whether it runs without privileges.
    pub is_unprivileged: bool,
}

impl Agent {
    fn from_wire(agent: &crate::wire::AgentInfo) -> Agent {
        Agent {
            id: agent.id.clone(),
            version: agent.version.clone(),
            is_snapshot: agent.is_snapshot,
            is_standalone: agent.mode == i32::from(crate::wire::Mode::Standalone),
            is_unprivileged: agent.is_unprivileged,
        }
    }
}
