//! The commands and their flags.

use clap::{Args, Subcommand, ValueEnum};

use super::nouns::Remote;

/// What the client can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the unit file of a submitted unit
    // `c` was a unique prefix before there was `completion`: scripts may use it.
    #[command(alias = "c")]
    Cat(Cat),
    /// Print the completion script for a shell
    Completion(Completion),
    /// Remove units from the cluster, stopping them first
    // So for the aliases below: each was a unique prefix before there were commands for fleet-server.
    #[command(alias = "d")]
    Destroy(Destroy),
    /// Tell why a unit is where it is, or why it runs nowhere
    #[command(aliases = ["e", "ex", "exp"])]
    Explain(Explain),
    /// Copy standard input and output to and from a unix socket
    FdForward(FdForward),
    /// Print help about a command
    #[command(alias = "h")]
    Help {
        /// The command
        #[arg(value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Print the journal of a unit
    Journal(Journal),
    /// List the machines of the cluster
    ListMachines(ListMachines),
    /// List the units that exist in the cluster
    ListUnitFiles(ListUnitFiles),
    /// List the state of the units that are on machines
    ListUnits(ListUnits),
    /// Put units on machines without starting them, submitting them first where needed
    #[command(alias = "lo")]
    Load(Load),
    /// Write manual pages into a directory
    #[command(hide = true)]
    Man {
        /// The directory
        directory: std::path::PathBuf,
    },
    /// Stop units and start them again, where they are
    Restart(Restart),
    /// Open a shell or run a command on a machine
    Ssh(Ssh),
    /// Start units, submitting and loading them first where needed
    Start(Start),
    /// Print the status of units, as systemd has it
    Status(Status),
    /// Stop units; they stay loaded
    Stop(Stop),
    /// Upload units without putting them on a machine
    Submit(Submit),
    /// Take units off their machines; they stay in the cluster
    #[command(aliases = ["u", "un"])]
    Unload(Unload),
    /// Deprecated: units are no longer signed
    #[command(hide = true)]
    Verify {
        /// Ignored.
        #[arg(value_name = "UNIT")]
        units: Vec<String>,
    },
    /// Print the version
    Version,
    /// What a fleet-server is asked for.
    #[command(flatten)]
    Remote(Remote),
}

/// How long a command waits for what it asked for.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Wait {
    /// Do not wait
    #[arg(long)]
    pub(crate) no_block: bool,
    /// Wait at most this many times 2 seconds; 0 waits for as long as it takes
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) block_attempts: i64,
}

/// The flags of [`Wait`] where there is nothing to wait for: scripts pass them, so they are accepted.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct NoWait {
    #[arg(long, hide = true)]
    no_block: bool,
    #[arg(long, hide = true, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    block_attempts: i64,
}

/// Flags of the commands that create units.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Create {
    /// Replace units of the cluster that differ from the files
    #[arg(long)]
    pub(crate) replace: bool,
    /// Deprecated
    #[arg(long, hide = true)]
    pub(crate) sign: bool,
}

/// `submit`
#[derive(Debug, Args)]
#[command(after_help = "Units that exist already are left as they are, unless --replace is given.\n\n\
    Examples:\n  fleetctl submit foo.service\n  fleetctl submit myservice/*")]
pub(crate) struct Submit {
    /// Unit files
    #[arg(value_name = "UNIT")]
    pub(crate) units: Vec<String>,
    /// Flags of creation.
    #[command(flatten)]
    pub(crate) create: Create,
    #[command(flatten)]
    wait: NoWait,
}

/// `load`
#[derive(Debug, Args)]
#[command(
    after_help = "Waits until each unit is loaded on a machine. Global units are never waited for.\n\n\
    Example:\n  fleetctl load foo.service"
)]
pub(crate) struct Load {
    /// Unit files, or names of units of the cluster
    #[arg(value_name = "UNIT")]
    pub(crate) units: Vec<String>,
    /// Flags of creation.
    #[command(flatten)]
    pub(crate) create: Create,
    /// How long to wait.
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// `start`
#[derive(Debug, Args)]
#[command(after_help = "Waits until systemd says that each unit is active, or that it has done its work (a \
    oneshot). Fails when systemd says that it failed. Global units are never waited for.\n\n\
    Examples:\n  fleetctl start foo.service\n  fleetctl start --no-block myservice/*\n  \
    fleetctl start --replace foo.service")]
pub(crate) struct Start {
    /// Unit files, or names of units of the cluster
    #[arg(value_name = "UNIT")]
    pub(crate) units: Vec<String>,
    /// Flags of creation.
    #[command(flatten)]
    pub(crate) create: Create,
    /// How long to wait.
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// `stop`
#[derive(Debug, Args)]
#[command(after_help = "Waits until each unit has stopped. Global units are never waited for.\n\n\
    Example:\n  fleetctl stop foo.service")]
pub(crate) struct Stop {
    /// Names of units of the cluster
    #[arg(value_name = "UNIT")]
    pub(crate) units: Vec<String>,
    /// How long to wait.
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// `unload`
#[derive(Debug, Args)]
pub(crate) struct Unload {
    /// Names of units of the cluster
    #[arg(value_name = "UNIT")]
    pub(crate) units: Vec<String>,
    /// How long to wait.
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// `destroy`
#[derive(Debug, Args)]
#[command(after_help = "Waits until nothing is left of each unit on any machine. A destroyed unit must be \
    submitted again before it can run.")]
pub(crate) struct Destroy {
    /// Names of units of the cluster
    #[arg(value_name = "UNIT")]
    pub(crate) units: Vec<String>,
    /// How long to wait.
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// `restart`
#[derive(Debug, Args)]
#[command(
    after_help = "A unit that is loaded but stopped is started. Global units are restarted on each of \
    their machines."
)]
pub(crate) struct Restart {
    /// Names of units of the cluster
    #[arg(value_name = "UNIT")]
    pub(crate) units: Vec<String>,
    /// How long to wait.
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// `cat`
#[derive(Debug, Args)]
pub(crate) struct Cat {
    /// Name of a unit of the cluster
    #[arg(value_name = "UNIT")]
    pub(crate) units: Vec<String>,
}

/// `status`
#[derive(Debug, Args)]
#[command(
    after_help = "Runs `systemctl status` on the unit's machine, over SSH unless that is this machine. \
    A global unit is shown on each of its machines."
)]
pub(crate) struct Status {
    /// Names of units of the cluster
    #[arg(value_name = "UNIT")]
    pub(crate) units: Vec<String>,
    /// SSH port of the machines
    #[arg(long, value_name = "PORT", default_value_t = 22)]
    pub(crate) ssh_port: u16,
    #[command(flatten)]
    wait: NoWait,
}

/// `journal`
#[derive(Debug, Args)]
#[command(
    after_help = "Runs `journalctl` on the unit's machine, over SSH unless that is this machine. Does \
    not work for global units.\n\nExamples:\n  fleetctl journal foo.service\n  fleetctl journal --lines 100 foo.service"
)]
pub(crate) struct Journal {
    /// Name of a unit of the cluster
    #[arg(value_name = "UNIT")]
    pub(crate) units: Vec<String>,
    /// How many lines of the past to print
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub(crate) lines: u64,
    /// Go on printing what is added
    #[arg(short, long, alias = "f")]
    pub(crate) follow: bool,
    /// Form of the output, as journalctl knows it
    #[arg(short, long, value_name = "MODE", default_value = "short")]
    pub(crate) output: String,
    /// SSH port of the machine
    #[arg(long, value_name = "PORT", default_value_t = 22)]
    pub(crate) ssh_port: u16,
    /// Run journalctl with sudo
    #[arg(long)]
    pub(crate) sudo: bool,
    #[command(flatten)]
    wait: NoWait,
}

/// `ssh`
#[derive(Debug, Args)]
#[command(
    after_help = "The first argument is the start of a machine's ID, or a unit, whose machine is meant. \
    Does not work for global units. Words after it are a command to run there instead of a shell.\n\n\
    Examples:\n  fleetctl ssh 2444264c\n  fleetctl ssh foo.service uptime\n  \
    fleetctl --tunnel 192.0.2.10 ssh foo.service"
)]
pub(crate) struct Ssh {
    /// Forward the authentication agent
    #[arg(short = 'A', long, alias = "A")]
    pub(crate) forward_agent: bool,
    /// SSH port of the machine
    #[arg(long, value_name = "PORT", default_value_t = 22)]
    pub(crate) ssh_port: u16,
    /// The machine, by the start of its ID. All arguments are the command then
    #[arg(long, value_name = "MACHINE", default_value = "", hide_default_value = true)]
    pub(crate) machine: String,
    /// A unit, whose machine is meant. All arguments are the command then
    #[arg(long, value_name = "UNIT", default_value = "", hide_default_value = true)]
    pub(crate) unit: String,
    /// A machine or a unit
    #[arg(value_name = "MACHINE|UNIT")]
    pub(crate) target: Option<String>,
    /// A command to run there
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// `fd-forward`
#[derive(Debug, Args)]
#[command(after_help = "Run by fleetctl itself on the far end of --tunnel.")]
pub(crate) struct FdForward {
    /// Path of the socket
    #[arg(value_name = "SOCKET")]
    pub(crate) sockets: Vec<String>,
}

/// `explain`
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// Name of a unit of the cluster
    #[arg(value_name = "UNIT")]
    pub(crate) units: Vec<String>,
    /// Print the whole answer as data
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
}

/// `completion`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  fleetctl completion bash > /etc/bash_completion.d/fleetctl\n  \
    fleetctl completion zsh > \"${fpath[1]}/_fleetctl\"\n  \
    fleetctl completion fish > ~/.config/fish/completions/fleetctl.fish")]
pub(crate) struct Completion {
    /// The shell
    pub(crate) shell: Option<Shell>,
}

/// A shell that completions can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
}

/// A form of output for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Flags of the lists.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListOptions {
    /// Do not shorten IDs and hashes
    #[arg(short = 'l', long, alias = "l")]
    pub(crate) full: bool,
    /// Do not print the line of column names
    #[arg(long)]
    pub(crate) no_legend: bool,
    /// Print the whole list as data
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
}

/// `list-machines`
#[derive(Debug, Args)]
pub(crate) struct ListMachines {
    /// Flags of every list.
    #[command(flatten)]
    pub(crate) options: ListOptions,
    /// Columns to print, with commas: machine, ip, metadata
    #[arg(long, value_name = "LIST", default_value = "machine,ip,metadata")]
    pub(crate) fields: String,
}

/// `list-units`
#[derive(Debug, Args)]
pub(crate) struct ListUnits {
    /// Flags of every list.
    #[command(flatten)]
    pub(crate) options: ListOptions,
    /// Columns to print, with commas: unit, load, active, sub, machine, hash
    #[arg(long, value_name = "LIST", default_value = "unit,machine,active,sub")]
    pub(crate) fields: String,
}

/// `list-unit-files`
#[derive(Debug, Args)]
pub(crate) struct ListUnitFiles {
    /// Flags of every list.
    #[command(flatten)]
    pub(crate) options: ListOptions,
    /// Columns to print, with commas: unit, global, dstate, target, state, hash, desc
    #[arg(long, value_name = "LIST", default_value = "unit,hash,dstate,state,target")]
    pub(crate) fields: String,
}
