//! Flags that several verbs have.

mod server;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{ArgAction, Args};

use crate::fleet::{ConnectionSettings, SettingsError, Ssl, normal_host};
use crate::install::Layout;
use crate::paths::{Given, Paths};

pub(super) use server::OwnServer;
pub(super) use server::ServerFlags;

/// Flags of all verbs. They have a place of their own in the help, behind what a verb is about.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Options of all verbs")]
pub struct Globals {
    /// The configuration file
    #[arg(short = 'c', long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the programs lie; all else is below, unless it is said where
    #[arg(long = "path.home", global = true, value_name = "DIR")]
    pub path_home: Option<PathBuf>,
    /// Where the configuration lies
    #[arg(long = "path.config", global = true, value_name = "DIR")]
    pub path_config: Option<PathBuf>,
    /// Where the agent keeps what it must not forget
    #[arg(long = "path.data", global = true, value_name = "DIR", env = "FLEET_AGENT_DATA")]
    pub path_data: Option<PathBuf>,
    /// Where logs go
    #[arg(long = "path.logs", global = true, value_name = "DIR")]
    pub path_logs: Option<PathBuf>,
    /// Set a key of the configuration file: -E agent.logging.level=debug
    #[arg(short = 'E', global = true, value_name = "KEY=VALUE", action = ArgAction::Append)]
    pub overrides: Vec<String>,
    /// Log to standard error instead of to files
    #[arg(short = 'e', global = true)]
    pub stderr: bool,
    /// Log more, for these parts (any value: all)
    #[arg(short = 'd', global = true, value_name = "SELECTORS", num_args = 0..=1, default_missing_value = "*")]
    pub debug: Option<String>,
    /// Log more
    #[arg(short = 'v', global = true)]
    pub verbose: bool,
    /// Accepted for agents that were started so
    #[arg(long = "path.home.unversioned", global = true, hide = true, num_args = 0..=1)]
    pub path_home_unversioned: Option<String>,
    /// Accepted for agents that were started so
    #[arg(long = "path.install", global = true, hide = true)]
    pub path_install: Option<PathBuf>,
}

impl Globals {
    /// Where files lie.
    #[must_use]
    pub fn paths(&self) -> Paths {
        // What an image's `container` was told by its environment, whoever looks into that container is told too.
        // And an agent that was installed knows where its own files are.
        let installed = match &self.path_home {
            Some(home) => Layout::installed(home).map(|(layout, _)| layout),
            None => Layout::of_program(),
        };
        let of = |path: fn(&Paths) -> &PathBuf| Some(path(&installed.as_ref()?.paths).clone());
        let pick = |given: &Option<PathBuf>, name: &str, installed: Option<PathBuf>| {
            let told = std::env::var_os(name).filter(|told| !told.is_empty() && self.path_home.is_none());
            given.clone().or_else(|| told.map(Into::into)).or(installed)
        };
        Paths::of(&Given {
            home: self.path_home.clone().or_else(|| of(|paths| &paths.home)),
            config: pick(&self.path_config, "CONFIG_PATH", of(|paths| &paths.config)),
            data: pick(&self.path_data, "STATE_PATH", of(|paths| &paths.data)),
            logs: pick(&self.path_logs, "LOGS_PATH", of(|paths| &paths.logs)),
            config_file: self.config.clone(),
        })
    }
}

/// Flags of an enrolment.
#[derive(Clone, Debug, Default, Args)]
pub struct EnrollFlags {
    /// The server's URL; several, with commas between them: any of them
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub url: Vec<String>,
    /// The key that names the policy
    #[arg(short = 't', long, value_name = "TOKEN", env = "FLEET_ENROLLMENT_TOKEN", hide_env_values = true)]
    pub enrollment_token: Option<String>,
    /// Keep this id, so that a machine that is set up anew is the same agent
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Proves, with the same value as at the first enrolment, that this machine may take over the id
    #[arg(long, value_name = "TOKEN")]
    pub replace_token: Option<String>,
    /// Authorities to trust, as files with commas between them
    #[arg(short = 'a', long, value_name = "FILE", value_delimiter = ',')]
    pub certificate_authorities: Vec<String>,
    /// SHA-256 of an authority's public key in base64; one must be in the server's chain
    #[arg(short = 'p', long, value_name = "HASH", value_delimiter = ',')]
    pub ca_sha256: Vec<String>,
    /// SHA-256 of an authority's certificate in hexadecimal, trusted when the server sends it
    #[arg(long, value_name = "HASH")]
    pub ca_trusted_fingerprint: Option<String>,
    /// Do not verify the server: only for trying things out
    #[arg(short = 'i', long)]
    pub insecure: bool,
    /// The agent's own certificate
    #[arg(long, value_name = "FILE")]
    pub elastic_agent_cert: Option<String>,
    /// Its key
    #[arg(long, value_name = "FILE")]
    pub elastic_agent_cert_key: Option<String>,
    /// A file with the key's passphrase
    #[arg(long, value_name = "FILE")]
    pub elastic_agent_cert_key_passphrase: Option<String>,
    /// A header of each request: --header name=value
    #[arg(long, value_name = "NAME=VALUE")]
    pub header: Vec<String>,
    /// A proxy on the way to the server
    #[arg(long, value_name = "URL")]
    pub proxy_url: Option<String>,
    /// No proxy at all, not even that of the environment
    #[arg(long)]
    pub proxy_disabled: bool,
    /// A header for the proxy: --proxy-header name=value
    #[arg(long, value_name = "NAME=VALUE")]
    pub proxy_header: Vec<String>,
    /// Tags of the agent, with commas between them
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    pub tag: Vec<String>,
    /// Do it although the agent is enrolled, or installed, already
    #[arg(short = 'f', long)]
    pub force: bool,
    /// Write down the enrolment, and enrol when the agent starts
    #[arg(long)]
    pub delay_enroll: bool,
    /// Try so long
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub enroll_timeout: std::time::Duration,
    /// Wait so long for the running agent to take over
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub daemon_timeout: std::time::Duration,
    /// Do not tell the running agent
    #[arg(long)]
    pub skip_daemon_reload: bool,
    /// Accepted for scripts: there is no other place to download from
    #[arg(long, value_name = "BUILD", hide = true)]
    pub staging: Option<String>,
    /// A Fleet Server that the agent brings up and enrols with
    #[command(flatten)]
    pub server: ServerFlags,
}

pub(super) fn duration(text: &str) -> Result<std::time::Duration, String> {
    crate::duration::parse(text).ok_or_else(|| format!("{text:?} is not a duration such as 10m or 1m30s"))
}

impl EnrollFlags {
    /// How the server is reached.
    ///
    /// # Errors
    /// A flag is not of its kind.
    pub fn connection(&self) -> Result<ConnectionSettings, SettingsError> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let hosts: Result<Vec<String>, SettingsError> = self.url.iter().map(|url| normal_host(url)).collect();
        Ok(ConnectionSettings {
            hosts: hosts?,
            ssl: Ssl {
                certificate_authorities: self
                    .certificate_authorities
                    .iter()
                    .map(|path| absolute(path))
                    .collect(),
                ca_trusted_fingerprint: text(&self.ca_trusted_fingerprint),
                ca_sha256: self.ca_sha256.clone(),
                certificate: self.elastic_agent_cert.as_deref().map(absolute).unwrap_or_default(),
                key: self.elastic_agent_cert_key.as_deref().map(absolute).unwrap_or_default(),
                key_passphrase: String::new(),
                key_passphrase_path: self
                    .elastic_agent_cert_key_passphrase
                    .as_deref()
                    .map(absolute)
                    .unwrap_or_default(),
                verification_mode: if self.insecure { "none".to_owned() } else { String::new() },
            },
            proxy_url: text(&self.proxy_url),
            proxy_disable: self.proxy_disabled,
            proxy_headers: pairs("--proxy-header", &self.proxy_header)?,
            headers: pairs("--header", &self.header)?,
        })
    }
}

/// The service runs in another directory.
fn absolute(path: &str) -> String {
    if path.contains("-----") {
        return path.to_owned();
    }
    std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| path.to_string_lossy().into_owned())
}

fn pairs(field: &str, given: &[String]) -> Result<BTreeMap<String, String>, SettingsError> {
    given
        .iter()
        .map(|pair| {
            let parts = pair.split_once('=').or_else(|| pair.split_once(':'));
            let (name, value) = parts.ok_or_else(|| SettingsError {
                field: field.to_owned(),
                problem: format!("{pair:?} is not name=value"),
            })?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        })
        .collect()
}
