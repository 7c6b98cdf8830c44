//! The flags that every command has.

use clap::Parser;

use super::commands::Command;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "fleetctl",
    version,
    about = "the command-line client for Fleet, the init system of a whole cluster",
    disable_version_flag = true,
    disable_help_flag = true,
    disable_help_subcommand = true,
    infer_subcommands = true,
    args_override_self = true,
    max_term_width = 100,
    help_template = "{name} {version}: {about-with-newline}\n{usage-heading} {usage}\n\n{all-args}{after-help}",
    subcommand_value_name = "command",
    after_help = "Every global option can also be set by a variable: FLEETCTL_ENDPOINT for --endpoint, \
                  and so on. `fleetctl help COMMAND` tells more about a command."
)]
pub(crate) struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) global: GlobalFlags,
    /// What to do. Without it the help is shown.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Flags that may stand before and after the command, and be set by `FLEETCTL_*` variables.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalFlags {
    /// How to reach the cluster: "API" through fleetd, "etcd" straight in the store
    #[arg(long, global = true, value_name = "NAME", default_value = "API")]
    pub(crate) driver: String,

    /// Where the fleet API is (unix:///path, http://host:port, https://host:port); with --driver=etcd, where
    /// etcd is (a list, with commas; else http://127.0.0.1:2379,http://127.0.0.1:4001)
    #[arg(long, global = true, value_name = "URL", default_value = "unix:///var/run/fleet.sock")]
    pub(crate) endpoint: String,

    /// Keys of the cluster in etcd start with this
    #[arg(long, global = true, value_name = "PATH", default_value = "/_coreos.com/fleet/")]
    pub(crate) etcd_key_prefix: String,

    /// User for an etcd that asks for one
    #[arg(long, global = true, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) etcd_username: String,

    /// Password of that user; better given by FLEETCTL_ETCD_PASSWORD
    #[arg(long, global = true, value_name = "PASSWORD", default_value = "", hide_default_value = true)]
    pub(crate) etcd_password: String,

    /// Reach the API or etcd through SSH to this host
    #[arg(long, global = true, value_name = "HOST[:PORT]", default_value = "", hide_default_value = true)]
    pub(crate) tunnel: String,

    /// User to be on remote machines
    #[arg(long, global = true, value_name = "NAME", default_value = "core")]
    pub(crate) ssh_username: String,

    /// Seconds that opening an SSH connection may take
    #[arg(long, global = true, value_name = "SECONDS", default_value = "10")]
    pub(crate) ssh_timeout: f64,

    /// Seconds that a single request may take [default: 30 for the API, 3 for etcd]
    #[arg(long, global = true, value_name = "SECONDS", default_value = "3", hide_default_value = true)]
    pub(crate) request_timeout: f64,

    /// File that remembers the keys of remote machines
    #[arg(long, global = true, value_name = "FILE", default_value = "~/.fleetctl/known_hosts")]
    pub(crate) known_hosts_file: String,

    /// Refuse remote machines whose key is not the one that is known; =false accepts any key
    #[arg(long, global = true, default_value = "true", action = clap::ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", value_name = "BOOL",
          value_parser = super::parse::go_bool)]
    pub(crate) strict_host_key_checking: bool,

    /// TLS: private key of the client certificate (PEM)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "",
        alias = "etcd-keyfile",
        hide_default_value = true
    )]
    pub(crate) key_file: String,

    /// TLS: client certificate (PEM)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "",
        alias = "etcd-certfile",
        hide_default_value = true
    )]
    pub(crate) cert_file: String,

    /// TLS: authority that signed the server's certificate (PEM); else those that this system trusts
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "",
        alias = "etcd-cafile",
        hide_default_value = true
    )]
    pub(crate) ca_file: String,

    /// Say on standard error what is being done
    #[arg(long, global = true)]
    pub(crate) debug: bool,

    /// Print the version and exit
    #[arg(short = 'v', long, global = true)]
    pub(crate) version: bool,

    /// Print help and exit
    #[arg(short = 'h', long, alias = "h", global = true)]
    pub(crate) help: bool,

    /// Deprecated: means nothing any more
    #[arg(long, global = true, hide = true, default_value = "true", action = clap::ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", value_name = "BOOL",
          value_parser = super::parse::go_bool)]
    pub(crate) experimental_api: bool,
}
