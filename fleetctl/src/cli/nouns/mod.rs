//! The commands that ask a fleet-server: nouns, each with its verbs.

mod agent;
mod common;
mod event;
mod files;
mod other;
mod policy;
mod profile;

use clap::{Args, Subcommand};

pub(crate) use agent::{
    AgentList, AgentVerb, Choice, Diagnostics, Migrate, Privilege, Reassign, RollBackAgents, TagAgents,
    Unenroll, UpgradeAgents, Watch,
};
pub(crate) use common::{Create, Delete, Edit, List, Output, ServerArgs, Show};
pub(crate) use event::{
    EventFilter, EventFollow, EventList, EventVerb, RotateKey, SigningKeyVerb, UninstallTokenVerb,
    WebhookVerb,
};
pub(crate) use files::{Apply, Export};
pub(crate) use other::{
    ActionVerb, ApiKeyVerb, AuditExport, AuditFilter, AuditList, AuditVerb, CreateApiKey, CreateEnrollKey,
    CreateUser, EnrollKeyList, EnrollKeyVerb, Install, ListPackages, PackageVerb, PlainVerb, Remove,
    ServiceTokenVerb, SetPassword, Upload, UserVerb,
};
pub(crate) use policy::{
    CopyPolicy, DiffPolicy, DownloadPolicy, IntegrationVerb, PolicyRevisions, PolicyVerb, Rollback,
    UpgradeIntegrations,
};
pub(crate) use profile::{AddProfile, Login, ProfileCommand, ProfileVerb};

/// A noun of the command line: what is to be done with one kind of object.
#[derive(Debug, Args)]
pub(crate) struct Noun<V: Subcommand> {
    /// Which server, and who asks.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// What to do. Without it the help is shown.
    #[command(subcommand)]
    pub(crate) verb: Option<V>,
}

/// The commands that ask a fleet-server.
#[derive(Debug, Subcommand)]
pub(crate) enum Remote {
    /// Agents: list, show, tag, reassign, upgrade, roll back, migrate, unenrol, collect diagnostics, watch
    Agent(Noun<AgentVerb>),
    /// Agent policies: list, show, create, edit, copy, compare revisions, roll back
    Policy(Noun<PolicyVerb>),
    /// Integrations of agent policies: list, show, create, edit, upgrade
    Integration(Noun<IntegrationVerb>),
    /// Integration packages: list, show, install, upload, remove
    Package(Noun<PackageVerb>),
    /// Outputs of agents: list, show, create, edit
    Output(Noun<PlainVerb>),
    /// Addresses of fleet-server that agents are told: list, show, create, edit
    Host(Noun<PlainVerb>),
    /// Proxies of agents: list, show, create, edit
    Proxy(Noun<PlainVerb>),
    /// Where agents download new versions: list, show, create, edit
    DownloadSource(Noun<PlainVerb>),
    /// Keys that agents enrol with: list, show, create, revoke
    EnrollKey(Noun<EnrollKeyVerb>),
    /// Tokens of servers that work for this one: list, create, revoke
    ServiceToken(Noun<ServiceTokenVerb>),
    /// What agents were asked to do: list, status, cancel
    Action(Noun<ActionVerb>),
    /// People who may ask: list, show, create, edit, set a password
    User(Noun<UserVerb>),
    /// Keys of scripts: list, create, revoke
    ApiKey(Noun<ApiKeyVerb>),
    /// What was changed, when and by whom: list, export
    Audit(Noun<AuditVerb>),
    /// What happens to agents and policies: list, follow
    Event(Noun<EventVerb>),
    /// Who is told of what happens: list, show, create, edit, test
    Webhook(Noun<WebhookVerb>),
    /// Tokens that lift the protection of agents: list, show
    UninstallToken(Noun<UninstallTokenVerb>),
    /// The key that signs for agents: show, rotate
    SigningKey(Noun<SigningKeyVerb>),
    /// Make the server what files say, after showing the difference
    Apply(Apply),
    /// Write what the server has as files for `apply`
    Export(Export),
    /// Sign in at a fleet-server, and keep it as a profile
    Login(Login),
    /// Servers that have a name: list, add, use, remove
    Profile(ProfileCommand),
    /// Print what the word at the cursor may become; asked by completion scripts
    #[command(name = "__complete", hide = true)]
    Complete {
        /// The words of the command line up to the cursor, without the program's name.
        #[arg(value_name = "WORD", trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

/// Global options that mean something for units only: the help of what asks a fleet-server leaves them out.
pub(crate) const OPTIONS_OF_UNITS: [&str; 9] = [
    "driver",
    "endpoint",
    "etcd_key_prefix",
    "etcd_username",
    "etcd_password",
    "ssh_username",
    "ssh_timeout",
    "known_hosts_file",
    "strict_host_key_checking",
];

/// Whether a command asks a fleet-server.
pub(crate) fn is_remote(command: &str) -> bool {
    Remote::augment_subcommands(clap::Command::new("fleetctl")).find_subcommand(command).is_some()
}
