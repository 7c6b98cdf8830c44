//! `fleetctl apply` and `fleetctl export`

use std::path::PathBuf;

use clap::Args;

use super::common::ServerArgs;

/// `apply`
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "A file holds documents of the form\n\n  kind: AgentPolicy      # or PackagePolicy, Output, \
    FleetServerHost, Proxy, DownloadSource\n  id: web\n  spec:\n    name: Web servers\n    namespace: default\n\n\
    `fleetctl export` writes such files. Fields that a spec does not name are left as they are.\n\n\
    Exit codes: 0 the server is as the files say, 1 it failed, 2 with --check: it is not as the files say.\n\n\
    Examples:\n  fleetctl apply -f fleet/\n  fleetctl apply -f fleet/ --check"
)]
pub(crate) struct Apply {
    /// Which server, and who asks.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// A file, or a directory whose .yaml, .yml and .json files are read; - is standard input
    #[arg(short, long, value_name = "FILE|DIR", required = true)]
    pub(crate) file: Vec<PathBuf>,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The same, with exit code 2 if something would change
    #[arg(long)]
    pub(crate) check: bool,
    /// Delete what an earlier apply of this directory has created and no file names any more
    #[arg(long)]
    pub(crate) prune: bool,
    /// Send secrets again that the server has already: it cannot be seen whether they differ
    #[arg(long)]
    pub(crate) secrets: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// `export`
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Without --directory every document is printed. A secret is exported as its reference, \
    never as its value."
)]
pub(crate) struct Export {
    /// Which server, and who asks.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Write a file for each object below this directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// Only objects of this kind, such as AgentPolicy
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Vec<String>,
}
