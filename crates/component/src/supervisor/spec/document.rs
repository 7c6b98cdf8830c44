//! The form of a spec file, version 2.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::service::ServiceSpec;

/// A file.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    version: u64,
    #[serde(default)]
    pub(super) component_files: Vec<String>,
    #[serde(default)]
    pub(super) inputs: Vec<InputSpec>,
}

/// How inputs of one type are run.
#[derive(Clone, Debug, Deserialize)]
pub struct InputSpec {
    /// The type.
    pub name: String,
    /// Other names of it in policies.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Where it can be run, such as `linux/amd64`.
    #[serde(default)]
    pub platforms: Vec<String>,
    /// The types of outputs that it can have.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// Actions of the agent that its units want to hear of.
    #[serde(default)]
    pub proxied_actions: Vec<String>,
    /// When it must not run.
    #[serde(default)]
    pub runtime: RuntimeRules,
    /// One process for each input.
    #[serde(default)]
    pub isolate_units: bool,
    /// A process of the agent.
    pub command: Option<CommandSpec>,
    /// A service of the system, which connects by itself.
    pub service: Option<ServiceSpec>,
}

/// When an input must not run.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RuntimeRules {
    /// Each is a reason of its own.
    #[serde(default)]
    pub preventions: Vec<Prevention>,
}

/// A condition under which an input does not run.
#[derive(Clone, Debug, Deserialize)]
pub struct Prevention {
    /// The condition.
    pub condition: String,
    /// What is told then.
    pub message: String,
}

/// A process of the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CommandSpec {
    /// What it is called, if not by its file.
    pub name: String,
    /// Its first arguments.
    pub args: Vec<String>,
    /// Its variables, beside the agent's.
    pub env: Vec<Variable>,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// How its lines of log are read.
    pub log: LogKeys,
    /// The span in which restarts are counted; 0: they are not.
    #[serde(deserialize_with = "duration")]
    pub restart_monitoring_period: Duration,
    /// How many of them are nothing to worry about.
    pub maximum_restarts_per_period: u32,
}

/// The restarts that a process is allowed without being called failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartMonitoring {
    /// So many.
    pub most: u32,
    /// In so long.
    pub period: Duration,
}

impl CommandSpec {
    /// The restarts that are allowed, if any are.
    #[must_use]
    pub fn restart_monitoring(&self) -> Option<RestartMonitoring> {
        let (most, period) = (self.maximum_restarts_per_period, self.restart_monitoring_period);
        (most > 0 && !period.is_zero()).then_some(RestartMonitoring { most, period })
    }
}

/// A variable of the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// How long a process may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Timeouts {
    /// Between two check-ins.
    #[serde(deserialize_with = "duration")]
    pub checkin: Duration,
    /// The longest pause before it is started again.
    #[serde(deserialize_with = "duration")]
    pub restart: Duration,
    /// To stop.
    #[serde(deserialize_with = "duration")]
    pub stop: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            checkin: Duration::from_secs(30),
            restart: Duration::from_secs(10),
            stop: Duration::from_secs(30),
        }
    }
}

/// How lines of log in JSON are read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LogKeys {
    /// The level.
    pub level_key: String,
    /// When it happened.
    pub time_key: String,
    /// How that is written, as a layout of Go.
    pub time_format: String,
    /// What happened.
    pub message_key: String,
    /// What is not passed on.
    pub ignore_keys: Vec<String>,
}

impl Default for LogKeys {
    fn default() -> LogKeys {
        LogKeys {
            level_key: "log.level".to_owned(),
            time_key: "@timestamp".to_owned(),
            time_format: "2006-01-02T15:04:05.000Z0700".to_owned(),
            message_key: "message".to_owned(),
            ignore_keys: Vec::new(),
        }
    }
}

impl Document {
    /// What is wrong with it, and the fix.
    pub(super) fn problem(&self, version: u64) -> Option<String> {
        if self.version != version {
            return Some(format!("version is {}: only {version} is known", self.version));
        }
        self.inputs
            .iter()
            .enumerate()
            .find_map(|(index, input)| input.problem().map(|problem| format!("inputs[{index}].{problem}")))
    }
}

impl InputSpec {
    fn problem(&self) -> Option<String> {
        const SYSTEMS: [&str; 4] = ["container", "darwin", "linux", "windows"];
        const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];
        if self.name.is_empty() {
            return Some("name is empty: name the type of the inputs".to_owned());
        }
        if self.platforms.is_empty() {
            return Some("platforms is empty: list where it runs, such as linux/amd64".to_owned());
        }
        let is_known = |platform: &&String| {
            platform
                .split_once('/')
                .is_some_and(|(os, arch)| SYSTEMS.contains(&os) && ARCHITECTURES.contains(&arch))
        };
        if let Some(unknown) = self.platforms.iter().find(|platform| !is_known(platform)) {
            return Some(format!("platforms has {unknown}: write {SYSTEMS:?} / {ARCHITECTURES:?}"));
        }
        if self.outputs.is_empty() {
            return Some("outputs is empty: list the types of outputs that it can have".to_owned());
        }
        match (&self.command, &self.service) {
            (Some(_), Some(_)) => Some("command and service are both there: keep one".to_owned()),
            (None, None) => Some("command is missing: say how it is run (command or service)".to_owned()),
            (None, Some(_)) if self.isolate_units => Some(
                "isolate_units is set: a service is one process, which has all of its inputs; remove it"
                    .to_owned(),
            ),
            (None, Some(service)) => service.problem(),
            (Some(_), None) => None,
        }
    }
}

/// A span of time as Go writes it, such as `1m30s`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).ok_or_else(|| {
        D::Error::custom(format!("{text:?} is no span of time: write it such as 30s or 1m30s"))
    })
}

fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 6] =
        [("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
    let text = text.trim();
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(digits);
        let (unit, factor) = UNITS.iter().find(|(unit, _)| behind.starts_with(unit))?;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = &behind[unit.len()..];
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(seconds).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_are_read_as_go_writes_them() {
        assert_eq!(parse_duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(parse_duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("1.5h"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_duration("0"), Some(Duration::ZERO));
        for broken in ["", "s", "30", "30 s", "-3s", "1e9", "9999999999999999999999h"] {
            assert_eq!(parse_duration(broken), None, "{broken}");
        }
    }
}
