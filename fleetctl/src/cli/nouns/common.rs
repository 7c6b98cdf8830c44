//! Flags that many verbs have.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::profile::ServerFlags;

/// Which fleet-server, and who asks there.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Server options")]
pub(crate) struct ServerArgs {
    /// Where the management API is, such as https://fleet.example.com:5601 [variable: FLEET_SERVER_URL]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// A server of the profile file, else the current one [variable: FLEET_PROFILE]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Who asks [variables: FLEET_USERNAME, FLEET_PASSWORD; or FLEET_API_KEY]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// File with the password of --user; - is standard input
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// File with an API key; - is standard input
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Take any certificate: whoever is on the way can read and change everything
    #[arg(long, global = true)]
    pub(crate) insecure_skip_verify: bool,
}

impl ServerArgs {
    /// The same for those who know nothing of command lines.
    pub(crate) fn flags(&self) -> ServerFlags {
        ServerFlags {
            server: self.server.clone(),
            profile: self.profile.clone(),
            user: self.user.clone(),
            password_file: self.password_file.clone(),
            api_key_file: self.api_key_file.clone(),
            insecure_skip_verify: self.insecure_skip_verify,
        }
    }
}

/// A form of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Columns
    Table,
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// Ids alone, one a line
    Id,
}

/// `list`
#[derive(Clone, Debug, Args)]
pub(crate) struct List {
    /// Only those that this query is about, such as 'name:web*'
    #[arg(long, value_name = "QUERY")]
    pub(crate) kuery: Option<String>,
    /// At most this many; 0 is all
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) limit: usize,
    /// Form of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Output,
    /// Do not print the line of column names
    #[arg(long)]
    pub(crate) no_legend: bool,
}

/// `show`
#[derive(Clone, Debug, Args)]
pub(crate) struct Show {
    /// Id or name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Form of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    pub(crate) output: Output,
}

/// `create`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  create Web --set namespace=production\n  create -f web.yaml\n  \
    create 'Data' --set type=elasticsearch --set 'hosts=[\"https://es:9200\"]'")]
pub(crate) struct Create {
    /// The name
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// File with the fields, as `show` prints them (YAML or JSON); - is standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// A field and its value in YAML; a dot goes into a field. Goes before the file
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub(crate) fields: Vec<String>,
    /// Form of the output
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<Output>,
}

/// `edit`
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Without --file and --set, $VISUAL or $EDITOR is opened with the fields as YAML. When \
    somebody else changes the object at the same time, nothing is saved: both texts are kept and shown."
)]
pub(crate) struct Edit {
    /// Id or name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// File with the fields as they shall be (YAML or JSON), instead of an editor; - is standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// A field and its new value in YAML, instead of an editor; a dot goes into a field
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub(crate) fields: Vec<String>,
}

/// `delete`
#[derive(Clone, Debug, Args)]
pub(crate) struct Delete {
    /// Ids or names
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
    /// Even if something uses it
    #[arg(long)]
    pub(crate) force: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}
