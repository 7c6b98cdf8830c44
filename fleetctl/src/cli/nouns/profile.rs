//! `fleetctl login` and `fleetctl profile`

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `login`
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "The password is asked for at a terminal; else give --password-file. It is checked with the \
    server, then kept in the profile file, which only its owner can read.\n\n\
    Example:\n  fleetctl login https://fleet.example.com:5601 --user admin --ca-file ca.pem"
)]
pub(crate) struct Login {
    /// Where the management API is, such as https://fleet.example.com:5601
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// Who signs in
    #[arg(long, value_name = "NAME", default_value = "admin")]
    pub(crate) user: String,
    /// File with the password; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// File with an API key to keep instead of a user and password; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "password_file")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Name of the profile, else the server's host name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Make an API key with this user's rights, and keep that instead of the password
    #[arg(long, conflicts_with = "api_key_file")]
    pub(crate) create_api_key: bool,
    /// Take any certificate: whoever is on the way can read and change everything
    #[arg(long)]
    pub(crate) insecure_skip_verify: bool,
}

/// `profile`
#[derive(Debug, Args)]
pub(crate) struct ProfileCommand {
    /// What to do. Without it the help is shown.
    #[command(subcommand)]
    pub(crate) verb: Option<ProfileVerb>,
}

/// What is done with profiles.
#[derive(Debug, Subcommand)]
pub(crate) enum ProfileVerb {
    /// List the profiles
    List,
    /// Add a profile, or replace it, without asking the server
    Add(AddProfile),
    /// Make a profile the current one
    Use {
        /// Name of the profile
        #[arg(value_name = "PROFILE")]
        name: String,
    },
    /// Remove a profile
    Remove {
        /// Name of the profile
        #[arg(value_name = "PROFILE")]
        name: String,
    },
}

/// `profile add`
#[derive(Clone, Debug, Args)]
pub(crate) struct AddProfile {
    /// Name of the profile
    #[arg(value_name = "PROFILE")]
    pub(crate) name: String,
    /// Where the management API is
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,
    /// Who asks
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// File with the password of --user. Its path is kept: it is read in each run
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(crate) password_file: Option<PathBuf>,
    /// File with an API key, which is read now and kept; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Take any certificate: whoever is on the way can read and change everything
    #[arg(long)]
    pub(crate) insecure_skip_verify: bool,
}
