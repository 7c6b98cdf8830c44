//! `fleetctl event`, `webhook`, `uninstall-token` and `signing-key`

use clap::{Args, Subcommand};

use super::common::{Create, Delete, Edit, List, Output, Show};

/// What is done with events.
#[derive(Debug, Subcommand)]
pub(crate) enum EventVerb {
    /// List what happened, newest first
    List(EventList),
    /// Print what happens, as it happens
    Follow(EventFollow),
}

/// Which events.
#[derive(Clone, Debug, Args)]
pub(crate) struct EventFilter {
    /// Only events of this kind, such as agent-status, action-failed
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Vec<String>,
    /// Only events about this policy (id or name)
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Vec<String>,
    /// Only events about this agent (id or host name)
    #[arg(long, value_name = "AGENT")]
    pub(crate) agent: Option<String>,
}

/// `event list`
#[derive(Clone, Debug, Args)]
pub(crate) struct EventList {
    /// Which events.
    #[command(flatten)]
    pub(crate) filter: EventFilter,
    /// Not before this (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// At most this many; 0 is all
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
    /// Form of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Output,
    /// Leave out the head of the table
    #[arg(long)]
    pub(crate) no_legend: bool,
}

/// `event follow`
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Goes on over interruptions until it is stopped. With -o json each event is a line.\n\n\
    Example:\n  fleetctl event follow --policy web -o json"
)]
pub(crate) struct EventFollow {
    /// Which events.
    #[command(flatten)]
    pub(crate) filter: EventFilter,
    /// Begin after this event (its id), instead of now
    #[arg(long, value_name = "EVENT")]
    pub(crate) after: Option<String>,
    /// End after so many events; 0 goes on
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) count: usize,
    /// Form of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Output,
}

/// What is done with webhooks.
#[derive(Debug, Subcommand)]
pub(crate) enum WebhookVerb {
    /// List them
    List(List),
    /// Show one, and how its delivery stands
    Show(Show),
    /// Create one; its secret is printed this once
    Create(Create),
    /// Change one in an editor
    Edit(Edit),
    /// Delete some
    Delete(Delete),
    /// Send an event to try one
    Test(Show),
}

/// What is done with uninstall tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum UninstallTokenVerb {
    /// List tokens, without what they are
    List(UninstallTokenList),
    /// Print a token
    Show(Show),
}

/// `uninstall-token list`
#[derive(Clone, Debug, Args)]
pub(crate) struct UninstallTokenList {
    /// Only that of this policy (id or name)
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<String>,
    /// Flags of every list.
    #[command(flatten)]
    pub(crate) list: List,
}

/// What is done with the key that signs for agents.
#[derive(Debug, Subcommand)]
pub(crate) enum SigningKeyVerb {
    /// Print the public key, and how many agents still know the one before alone
    Show {
        /// Form of the output
        #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
        output: Output,
    },
    /// Make a new key; the one before stays until all agents have the new one
    Rotate(RotateKey),
}

/// `signing-key rotate`
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct RotateKey {
    /// Although some agents do not have the key of the last change yet
    #[arg(long)]
    pub(crate) force: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}
