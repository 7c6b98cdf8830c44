//! What is told at the first start.

use std::net::IpAddr;

use fleet_access::users::ADMIN;
use fleet_service::config::value::Secret;

use super::Serving;
use crate::config::Config;

/// This machine's name.
pub(super) fn hostname() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty() && name != "(none)").then(|| name.to_owned())
}

/// Where agents find this server, if it knows that: the address that it listens on, or the first name that its
/// certificate is asked to have. The name of a machine alone says nothing about who can look it up, and agents that
/// are told an address which they cannot reach take no policy any more.
pub(super) fn own_address(config: &Config, serving: &Serving) -> Option<String> {
    let host = if serving.agents.ip().is_unspecified() {
        config.tls_names.first()?.clone()
    } else {
        match serving.agents.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        }
    };
    let scheme = if serving.is_encrypted { "https" } else { "http" };
    Some(format!("{scheme}://{host}:{}", serving.agents.port()))
}

/// The administrator's password if it was made up now, and how the first agent is enrolled if its policy
/// was.
pub(super) fn text(
    config: &Config,
    serving: &Serving,
    password: Option<&Secret>,
    enrollment_key: Option<&str>,
) -> String {
    let mut text = String::new();
    let host = hostname().unwrap_or_else(|| "localhost".to_owned());
    if let Some(password) = password {
        text.push_str(&format!(
            "\nThis is told only once.\n\n  Management  http://{}\n  User        {ADMIN}\n  Password    {}\n",
            serving.management,
            password.reveal(),
        ));
    }
    if let Some(key) = enrollment_key {
        let (scheme, trust) = if serving.is_encrypted {
            let ca = config.data_dir.join("ca.pem");
            ("https", format!(" --certificate-authorities {}", ca.display()))
        } else {
            ("http", " --insecure".to_owned())
        };
        text.push_str(&format!(
            "\nTo enrol the first agent, on its machine:\n\n  elastic-agent enroll --url {scheme}://{host}:{} \
             --enrollment-token {key}{trust}\n",
            serving.agents.port(),
        ));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}
