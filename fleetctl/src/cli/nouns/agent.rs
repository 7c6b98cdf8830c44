//! `fleetctl agent`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::common::{Delete, Edit, List, Show};

/// What is done with agents.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentVerb {
    /// List agents
    List(AgentList),
    /// Show everything that is known of an agent
    Show(Show),
    /// Change the tags of an agent in an editor
    Edit(Edit),
    /// Forget agents that are unenrolled
    Delete(Delete),
    /// Give agents another policy
    Reassign(Reassign),
    /// Unenrol agents
    Unenroll(Unenroll),
    /// Bring agents to another version
    Upgrade(UpgradeAgents),
    /// Take agents back to the version before
    Rollback(RollBackAgents),
    /// Let agents enrol with another server
    Migrate(Migrate),
    /// Let agents run without privileges
    Privilege(Privilege),
    /// Add tags to agents, or take tags away
    Tag(TagAgents),
    /// Ask an agent for its diagnostics, and download them
    Diagnostics(Diagnostics),
    /// Follow an action, or the roll-out of a policy, to its end
    Watch(Watch),
}

/// Which agents a list is about.
#[derive(Clone, Debug, Args)]
pub(crate) struct AgentList {
    /// Only those with this policy (id or name)
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<String>,
    /// Only those with this status, such as online, offline, error, updating
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Option<String>,
    /// Only those with this tag
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Option<String>,
    /// Those too that are inactive or unenrolled
    #[arg(long)]
    pub(crate) show_inactive: bool,
    /// Flags of every list.
    #[command(flatten)]
    pub(crate) list: List,
}

/// Which agents are asked for something.
#[derive(Clone, Debug, Args)]
pub(crate) struct Choice {
    /// Ids or host names of agents
    #[arg(value_name = "AGENT")]
    pub(crate) agents: Vec<String>,
    /// Instead: those that this query is about, such as 'tags:canary and policy_id:web'; '*' is all
    #[arg(long, value_name = "QUERY", conflicts_with = "agents")]
    pub(crate) kuery: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// `agent reassign`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  fleetctl agent reassign --policy web --kuery 'tags:web'")]
pub(crate) struct Reassign {
    /// Which agents.
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// The policy (id or name)
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: String,
}

/// `agent unenroll`
#[derive(Clone, Debug, Args)]
pub(crate) struct Unenroll {
    /// Which agents.
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// Even if their policy does not let them go
    #[arg(long)]
    pub(crate) force: bool,
    /// Take their keys away at once, without waiting for their word
    #[arg(long)]
    pub(crate) revoke: bool,
}

/// `agent upgrade`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  fleetctl agent upgrade --to 9.6.1 --kuery 'tags:canary' --watch\n  \
    fleetctl agent upgrade --to 9.6.1 --kuery '*' --rollout-seconds 3600")]
pub(crate) struct UpgradeAgents {
    /// Which agents.
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// The version that they shall have
    #[arg(long = "to", value_name = "VERSION")]
    pub(crate) to: String,
    /// Where it is downloaded, instead of the place that their policy says
    #[arg(long, value_name = "URL")]
    pub(crate) source_uri: Option<String>,
    /// When to begin (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(crate) start_time: Option<String>,
    /// Spread it over this long
    #[arg(long, value_name = "SECONDS")]
    pub(crate) rollout_seconds: Option<u64>,
    /// Even if they seem not to need or take it
    #[arg(long)]
    pub(crate) force: bool,
    /// Follow it to its end
    #[arg(long)]
    pub(crate) watch: bool,
}

/// `agent rollback`
#[derive(Clone, Debug, Args)]
pub(crate) struct RollBackAgents {
    /// Which agents.
    #[command(flatten)]
    pub(crate) choice: Choice,
}

/// `agent migrate`
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Example:\n  fleetctl agent migrate --to https://other.example:8220 --token-file token web-1\n\n\
    Agents are gone from here once they have enrolled there."
)]
pub(crate) struct Migrate {
    /// Which agents.
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// The address of the other server
    #[arg(long = "to", value_name = "URL")]
    pub(crate) to: String,
    /// File with the enrolment token of the other server; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: PathBuf,
    /// An option of the enrolment and its value in YAML, such as insecure=true, proxy_url=http://proxy:3128
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub(crate) settings: Vec<String>,
}

/// `agent privilege`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Without --run-as, agents run as a user of their own.")]
pub(crate) struct Privilege {
    /// Which agents.
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// The user of their machines that they run as
    #[arg(long, value_name = "NAME")]
    pub(crate) run_as: Option<String>,
    /// The group of that user
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<String>,
    /// File with the password of that user, where the system asks for one; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) run_as_password_file: Option<PathBuf>,
}

/// `agent tag`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  fleetctl agent tag --add canary --remove old web-1 web-2")]
pub(crate) struct TagAgents {
    /// Which agents.
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// A tag that they get
    #[arg(long, value_name = "TAG")]
    pub(crate) add: Vec<String>,
    /// A tag that they lose
    #[arg(long, value_name = "TAG")]
    pub(crate) remove: Vec<String>,
}

/// `agent diagnostics`
#[derive(Clone, Debug, Args)]
pub(crate) struct Diagnostics {
    /// Id or host name of the agent
    #[arg(value_name = "AGENT")]
    pub(crate) agent: String,
    /// Where to write the archive [default: under its own name, here]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Ask only, and do not wait for the archive
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Measure this too: CPU, CONN
    #[arg(long, value_name = "METRIC")]
    pub(crate) additional_metric: Vec<String>,
    /// Leave out the log of events
    #[arg(long)]
    pub(crate) exclude_events_log: bool,
    /// Wait at most this long
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) timeout: u64,
}

/// `agent watch`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Ends with 0 when every agent has done it, with 1 when it failed for some or was \
    cancelled or has expired, with 124 when --timeout has run out.\n\n\
    Examples:\n  fleetctl agent watch 4c6c2f0a-9d0b-4d31-8d0e-7c0d2d9f3a10\n  \
    fleetctl agent watch --policy web --timeout 600")]
pub(crate) struct Watch {
    /// Id of an action
    #[arg(value_name = "ACTION", conflicts_with = "policy")]
    pub(crate) action: Option<String>,
    /// Instead: a policy (id or name), until every agent of it runs its newest revision
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<String>,
    /// Wait at most this long; 0 waits for as long as it takes
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) timeout: u64,
    /// Look this often
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub(crate) interval: f64,
}
