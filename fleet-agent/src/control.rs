//! The socket by which people ask and tell the running agent: a line of JSON there, a line of JSON back.
//!
//! It lies in the agent's data directory with mode 0600: who may open it may do with the agent what root may. The group
//! of an agent that was installed without privileges may open it, too, and look.

mod client;
mod server;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

pub use client::{ControlError, ask};
pub use server::{Control, ServeError};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// How the agent is.
    Status,
    /// The policy, without its secrets.
    Inspect,
    /// What the policy became on this machine, without its secrets.
    Components,
    /// A zip, written to this file by the agent.
    Diagnostics {
        /// Where it goes.
        path: std::path::PathBuf,
    },
    /// Start again, with what is on the disk.
    Restart,
    /// Become another version.
    Upgrade {
        /// Which.
        version: String,
        /// Where from; empty: where the policy says.
        source_uri: String,
        /// Take it although nobody signed it.
        skip_verify: bool,
        /// Do not trust the keys that the program was built with.
        #[serde(default)]
        skip_default_key: bool,
        /// Keys that may have signed it, in base64.
        keys: Vec<String>,
        /// Go back to a version that is still here.
        rollback: bool,
    },
    /// Whether the agent may be removed with this token.
    MayUninstall {
        /// The token; empty: none was given.
        token: String,
    },
}

impl Ask {
    /// Whether nothing is changed by it, and nothing told that is a secret.
    #[must_use]
    pub fn only_looks(&self) -> bool {
        matches!(self, Ask::Status | Ask::Inspect | Ask::Components)
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// What was asked for.
    Done(Value),
    /// Why it was not done.
    Refused(String),
}

/// A question with the way back.
#[derive(Debug)]
pub struct Question {
    /// What is asked.
    pub ask: Ask,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Told>,
}

/// Where questions arrive.
pub type Questions = mpsc::Receiver<Question>;
