//! The unit file of the service.

use super::layout::{Layout, Record};

/// The unit of an installed agent.
///
/// The version before, if there is one, looks first whether a new one keeps failing at its start, and turns the link
/// back: a program that cannot start cannot do that itself.
#[must_use]
pub fn unit_file(layout: &Layout, record: &Record) -> String {
    let paths = &layout.paths;
    let flags = format!(
        "--path.home {} --path.config {} --path.data {} --path.logs {}",
        quote(&paths.home),
        quote(&paths.config),
        quote(&paths.data),
        quote(&paths.logs)
    );
    let user = if record.user.is_empty() {
        String::new()
    } else {
        format!("User={}\nGroup={}\n", record.user, record.group)
    };
    format!(
        "[Unit]
Description=Fleet agent: obeys its policy, collects and ships data
Documentation=man:fleet-agent(1)
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStartPre=-/bin/sh -c 'test ! -x \"$$1\" || exec \"$$@\"' sh {guard} watch {flags}
ExecStart={program} run {flags}
{user}Restart=always
RestartSec=2
TimeoutStartSec=90
TimeoutStopSec=60
WatchdogSec=180
KillMode=mixed
LimitNOFILE=65536
OOMPolicy=continue
NoNewPrivileges=no

[Install]
WantedBy=multi-user.target
",
        guard = quote(&paths.home.join("previous")),
        program = quote(&paths.program()),
    )
}

/// The user of a unit file; empty: root. `None`: there is no such file.
#[must_use]
pub fn user_of_unit(path: &std::path::Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.lines().find_map(|line| line.strip_prefix("User=")).unwrap_or_default().to_owned())
}

/// A path as a word of a command in a unit file (systemd.service(5)).
fn quote(path: &std::path::Path) -> String {
    let text = path
        .to_string_lossy()
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%")
        .replace('$', "$$");
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_unit_runs_as_the_user_that_was_asked_for() {
        let layout = Layout::new(Path::new("/opt/my agents"), None).unwrap();
        let root = unit_file(&layout, &Record::default());
        assert!(
            root.contains("ExecStart=\"/opt/my agents/Fleet/Agent/fleet-agent\" run --path.home"),
            "{root}"
        );
        assert!(!root.contains("User="));
        let record =
            Record { user: "fleet-agent".to_owned(), group: "fleet".to_owned(), ..Record::default() };
        assert!(unit_file(&layout, &record).contains("User=fleet-agent\nGroup=fleet\nRestart=always"));
    }
}
