//! What `check-config` prints.

use std::fmt::Write as _;

use fleet_service::config::Warning;
use fleet_service::config::document::Problems;

use crate::config::Config;
use crate::config::statistics::Address;
use crate::config::store::Store;
use crate::config::tls::ListenerTls;

/// The report, and whether the configuration can be used.
pub(super) fn report(outcome: &Result<(Config, Vec<Warning>), Problems>) -> (String, bool) {
    match outcome {
        Ok((config, warnings)) => {
            let told = Problems { mistakes: Vec::new(), warnings: warnings.clone() };
            let count = counted(warnings.len(), "warning");
            (format!("{}ok, {count}\n{}", findings(&told), summary(config)), true)
        }
        Err(problems) => {
            let mistakes = counted(problems.mistakes.len(), "mistake");
            let warnings = counted(problems.warnings.len(), "warning");
            (format!("{}{mistakes}, {warnings}\n", findings(problems)), false)
        }
    }
}

/// A line for each.
pub(super) fn findings(problems: &Problems) -> String {
    let mut lines = String::new();
    for mistake in &problems.mistakes {
        // Writing to a text cannot fail.
        let _ = writeln!(lines, "{}: error: {}", mistake.place, mistake.text);
    }
    for warning in &problems.warnings {
        let _ = writeln!(lines, "{}: warning: {}", warning.place, warning.text);
    }
    lines
}

fn counted(count: usize, word: &str) -> String {
    match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    }
}

/// What matters most, for a person to compare with what was meant.
fn summary(config: &Config) -> String {
    let server = &config.server;
    let store = match &config.store {
        Store::Embedded { path } => format!("embedded, {}", path.display()),
        Store::Etcd(etcd) => format!("etcd, {} under {}", etcd.endpoints.join(", "), etcd.key_prefix),
    };
    let limits = match server.limits.max_agents {
        0 => format!("for {} agents, by the memory", server.limits.agents),
        count if count < 0 => "for any number of agents".to_owned(),
        count => format!("for {count} agents"),
    };
    let statistics = match &config.statistics.address {
        None => "off".to_owned(),
        Some(Address::Tcp(host, port)) => join(host, *port),
        Some(Address::Unix(path)) => path.display().to_string(),
    };
    let management = &config.management;
    let management_tls = match &management.tls {
        ListenerTls::Own if management.allows_plain() => "TLS or not, as asked: nobody between can listen",
        other => tls(other),
    };
    let rows = [
        ("agents", format!("{}, {}", join(&server.host, server.port), tls(&server.tls))),
        ("agents, local", join("localhost", server.internal_port)),
        ("management", format!("{}, {}", join(&management.host, management.port), management_tls)),
        ("statistics", statistics),
        ("store", store),
        ("data", config.data_dir.display().to_string()),
        ("master key", config.master_key_file.display().to_string()),
        ("limits", limits),
    ];
    rows.iter().map(|(name, value)| format!("  {name:<14} {value}\n")).collect()
}

fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn tls(tls: &ListenerTls) -> &'static str {
    match tls {
        ListenerTls::Own => "TLS with a certificate of its own making",
        ListenerTls::Given(_) => "TLS with the given certificate",
        ListenerTls::Off => "no TLS",
    }
}
