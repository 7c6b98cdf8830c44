//! `fleetctl policy` and `fleetctl integration`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::common::{Create, Delete, Edit, List, Output, Show};

/// What is done with agent policies.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyVerb {
    /// List policies
    List(List),
    /// Show a policy
    Show(Show),
    /// Create a policy
    Create(Create),
    /// Change a policy in an editor
    Edit(Edit),
    /// Delete policies
    Delete(Delete),
    /// Make a policy that is like another one
    Copy(CopyPolicy),
    /// List the revisions of a policy
    Revisions(PolicyRevisions),
    /// Show what a revision has changed
    Diff(DiffPolicy),
    /// Make a policy what it was in an earlier revision
    Rollback(Rollback),
    /// Print what agents get, as YAML
    Download(DownloadPolicy),
}

/// `policy copy`
#[derive(Clone, Debug, Args)]
pub(crate) struct CopyPolicy {
    /// Id or name of the policy
    #[arg(value_name = "POLICY")]
    pub(crate) policy: String,
    /// Name of the copy
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Description of the copy
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
}

/// `policy revisions`
#[derive(Clone, Debug, Args)]
pub(crate) struct PolicyRevisions {
    /// Id or name of the policy
    #[arg(value_name = "POLICY")]
    pub(crate) policy: String,
    /// Flags of every list.
    #[command(flatten)]
    pub(crate) list: List,
}

/// `policy diff`
#[derive(Clone, Debug, Args)]
pub(crate) struct DiffPolicy {
    /// Id or name of the policy
    #[arg(value_name = "POLICY")]
    pub(crate) policy: String,
    /// The revision, else the newest
    #[arg(value_name = "REVISION")]
    pub(crate) revision: Option<u64>,
    /// What it is compared with, else the one before it
    #[arg(long, value_name = "REVISION")]
    pub(crate) against: Option<u64>,
    /// Form of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Output,
}

/// `policy rollback`
#[derive(Clone, Debug, Args)]
pub(crate) struct Rollback {
    /// Id or name of the policy
    #[arg(value_name = "POLICY")]
    pub(crate) policy: String,
    /// The revision that it shall be like
    #[arg(long = "to", value_name = "REVISION")]
    pub(crate) to: u64,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// `policy download`
#[derive(Clone, Debug, Args)]
pub(crate) struct DownloadPolicy {
    /// Id or name of the policy
    #[arg(value_name = "POLICY")]
    pub(crate) policy: String,
    /// Where to write it, else standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// What is done with integrations.
#[derive(Debug, Subcommand)]
pub(crate) enum IntegrationVerb {
    /// List integrations
    List(List),
    /// Show an integration
    Show(Show),
    /// Create an integration
    Create(Create),
    /// Change an integration in an editor
    Edit(Edit),
    /// Delete integrations
    Delete(Delete),
    /// Bring integrations to the version of their package that is installed
    Upgrade(UpgradeIntegrations),
}

/// `integration upgrade`
#[derive(Clone, Debug, Args)]
pub(crate) struct UpgradeIntegrations {
    /// Ids or names
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}
