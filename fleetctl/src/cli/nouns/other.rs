//! The other nouns.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::common::{Create, Delete, Edit, List, Output, Show};

/// What is done with objects that have no verbs of their own.
#[derive(Debug, Subcommand)]
pub(crate) enum PlainVerb {
    /// List them
    List(List),
    /// Show one
    Show(Show),
    /// Create one
    Create(Create),
    /// Change one in an editor
    Edit(Edit),
    /// Delete some
    Delete(Delete),
}

/// What is done with packages.
#[derive(Debug, Subcommand)]
pub(crate) enum PackageVerb {
    /// List packages
    List(ListPackages),
    /// Show a package
    Show(Show),
    /// Install a package of the registry
    Install(Install),
    /// Install a package from a file
    Upload(Upload),
    /// Remove a package
    Remove(Remove),
}

/// `package list`
#[derive(Clone, Debug, Args)]
pub(crate) struct ListPackages {
    /// Only packages of this category
    #[arg(long, value_name = "NAME")]
    pub(crate) category: Option<String>,
    /// Versions too that are not released yet
    #[arg(long)]
    pub(crate) prerelease: bool,
    /// Only packages that are installed
    #[arg(long)]
    pub(crate) installed: bool,
    /// Flags of every list.
    #[command(flatten)]
    pub(crate) list: List,
}

/// `package install`
#[derive(Clone, Debug, Args)]
pub(crate) struct Install {
    /// Name, or name@version
    #[arg(value_name = "PACKAGE", required = true)]
    pub(crate) packages: Vec<String>,
    /// Even if it is installed, or asks for another version of the server
    #[arg(long)]
    pub(crate) force: bool,
}

/// `package upload`
#[derive(Clone, Debug, Args)]
pub(crate) struct Upload {
    /// The package: .zip, or .tar.gz
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// `package remove`
#[derive(Clone, Debug, Args)]
pub(crate) struct Remove {
    /// Name, or name@version
    #[arg(value_name = "PACKAGE")]
    pub(crate) package: String,
    /// Even if integrations use it
    #[arg(long)]
    pub(crate) force: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// What is done with enrolment keys.
#[derive(Debug, Subcommand)]
pub(crate) enum EnrollKeyVerb {
    /// List keys
    List(EnrollKeyList),
    /// Print a key: what an agent enrols with
    Show(Show),
    /// Create a key
    Create(CreateEnrollKey),
    /// Revoke keys; agents that have enrolled stay
    Delete(Delete),
}

/// `enroll-key list`
#[derive(Clone, Debug, Args)]
pub(crate) struct EnrollKeyList {
    /// Only keys of this policy (id or name)
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<String>,
    /// Flags of every list.
    #[command(flatten)]
    pub(crate) list: List,
}

/// `enroll-key create`
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateEnrollKey {
    /// The name
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The policy that agents get (id or name)
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: String,
    /// How long it is good, such as 24h; else until it is revoked
    #[arg(long, value_name = "DURATION")]
    pub(crate) expires: Option<String>,
    /// How many agents may enrol with it; else any number
    #[arg(long, value_name = "N")]
    pub(crate) max_uses: Option<u64>,
    /// Form of the output
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
}

/// What is done with service tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum ServiceTokenVerb {
    /// List tokens
    List(List),
    /// Create a token. It is told only now
    Create(Create),
    /// Revoke tokens
    Delete(Delete),
}

/// What is done with actions.
#[derive(Debug, Subcommand)]
pub(crate) enum ActionVerb {
    /// List actions, newest first
    List(List),
    /// Show how far an action is
    #[command(visible_alias = "show")]
    Status(Show),
    /// Cancel an action for the agents that have not begun
    Cancel {
        /// Id of the action
        #[arg(value_name = "ACTION")]
        action: String,
    },
}

/// What is done with people.
#[derive(Debug, Subcommand)]
pub(crate) enum UserVerb {
    /// List people
    List(List),
    /// Show one
    Show(Show),
    /// Create one; the password is asked for
    Create(CreateUser),
    /// Change roles and grants in an editor
    Edit(Edit),
    /// Set a password
    Password(SetPassword),
    /// Delete some
    Delete(Delete),
}

/// `user create`
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateUser {
    /// The name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// What they may do: admin, editor or viewer
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Vec<String>,
    /// What they may do with one policy: POLICY=ROLE
    #[arg(long, value_name = "POLICY=ROLE")]
    pub(crate) grant: Vec<String>,
    /// File with the new password; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) new_password_file: Option<PathBuf>,
}

/// `user password`
#[derive(Clone, Debug, Args)]
pub(crate) struct SetPassword {
    /// Who
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// File with the new password; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) new_password_file: Option<PathBuf>,
}

/// What is done with API keys.
#[derive(Debug, Subcommand)]
pub(crate) enum ApiKeyVerb {
    /// List keys
    List(List),
    /// Create a key. It is told only now
    Create(CreateApiKey),
    /// Revoke keys
    Delete(Delete),
}

/// `api-key create`
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateApiKey {
    /// The name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// What it may do: admin, editor or viewer
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Vec<String>,
    /// What it may do with one policy: POLICY=ROLE
    #[arg(long, value_name = "POLICY=ROLE")]
    pub(crate) grant: Vec<String>,
    /// Until when it is good (RFC 3339); else until it is revoked
    #[arg(long, value_name = "TIME")]
    pub(crate) expires_at: Option<String>,
    /// Form of the output
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
}

/// What is done with the audit trail.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// List changes, newest first
    List(AuditList),
    /// Write every change as a line of JSON
    Export(AuditExport),
}

/// Which changes.
#[derive(Clone, Debug, Args)]
pub(crate) struct AuditFilter {
    /// Not before this (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Not after this (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// By this person
    #[arg(long = "by", value_name = "NAME")]
    pub(crate) by: Option<String>,
    /// Of objects of this kind
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
    /// Of this object
    #[arg(long, value_name = "ID")]
    pub(crate) object: Option<String>,
}

/// `audit list`
#[derive(Clone, Debug, Args)]
pub(crate) struct AuditList {
    /// Which changes.
    #[command(flatten)]
    pub(crate) filter: AuditFilter,
    /// At most this many; 0 is all
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
    /// Form of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Output,
    /// Do not print the line of column names
    #[arg(long)]
    pub(crate) no_legend: bool,
}

/// `audit export`
#[derive(Clone, Debug, Args)]
pub(crate) struct AuditExport {
    /// Which changes.
    #[command(flatten)]
    pub(crate) filter: AuditFilter,
    /// Where to write them, else standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}
