//! In which container a process is: the names of its control groups say it.

use crate::config::{Config, Mistake};

/// Engines call containers by the hexadecimal digits of 32 bytes.
const DIGITS: usize = 64;

/// How the id is found in the path of a control group.
#[derive(Debug, Default)]
pub(in super::super) struct Rule {
    /// Whose first group is the id; `None`: the last id of the usual form.
    pattern: Option<regex::Regex>,
    /// Only paths that begin so; none: all.
    prefixes: Vec<String>,
}

impl Rule {
    /// Reads `cgroup_regex` and `cgroup_prefixes`.
    ///
    /// # Errors
    /// The pattern does not parse, or has no group.
    pub(in super::super) fn read(config: &Config) -> Result<Rule, Mistake> {
        let pattern = config.patterns("cgroup_regex")?.into_iter().next();
        if pattern.as_ref().is_some_and(|pattern| pattern.captures_len() != 2) {
            let problem = "must have one group, which is the container's id: /docker/([0-9a-f]{64})";
            return Err(config.mistake("cgroup_regex", problem));
        }
        Ok(Rule { pattern, prefixes: config.texts("cgroup_prefixes")? })
    }

    /// Whether the policy says nothing of it.
    pub(super) fn is_usual(&self) -> bool {
        self.pattern.is_none() && self.prefixes.is_empty()
    }

    /// The id in the content of `/proc/<pid>/cgroup`.
    pub(in super::super) fn find(&self, groups: &[u8]) -> Option<String> {
        let groups = String::from_utf8_lossy(groups);
        groups.lines().find_map(|line| {
            let path = line.splitn(3, ':').nth(2)?;
            if !self.prefixes.is_empty() && !self.prefixes.iter().any(|prefix| path.starts_with(prefix)) {
                return None;
            }
            match &self.pattern {
                Some(pattern) => Some(pattern.captures(path)?.get(1)?.as_str().to_owned()),
                None => last_id(path).map(str::to_owned),
            }
        })
    }
}

/// Whether this is a container's whole id.
pub(in super::super) fn is_id(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(is_digit)
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// `docker-<id>.scope`, `/docker/<id>`, `cri-containerd-<id>.scope`, `/kubepods/…/<id>`: of containers within each other,
/// the inner one.
fn last_id(path: &str) -> Option<&str> {
    path.split(|letter: char| !u8::try_from(letter).is_ok_and(is_digit)).rfind(|part| is_id(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rule(settings: &Value) -> Result<Rule, Mistake> {
        Rule::read(&Config::new(settings.as_object().unwrap()))
    }

    #[test]
    fn engines_name_control_groups_by_the_id() {
        let (id, outer) = ("0123456789abcdef".repeat(4), "f".repeat(64));
        let rule = Rule::default();
        for path in [
            format!("0::/docker/{id}"),
            format!("12:cpu,cpuacct:/docker/{outer}/docker/{id}"),
            format!("1:name=systemd:/user.slice\n0::/system.slice/docker-{id}.scope"),
            format!("0::/kubepods.slice/kubepods-pod1_2.slice/cri-containerd-{id}.scope"),
            format!("0::/kubepods/burstable/podd9c7/{id}\n"),
            format!("0::/../{id}/init.scope"),
        ] {
            assert_eq!(rule.find(path.as_bytes()).as_deref(), Some(id.as_str()), "{path}");
        }
        for path in ["", "0::/init.scope", "0::/docker/abc", "no line", "0::/\u{e9}\u{fffd}"] {
            assert_eq!(rule.find(path.as_bytes()), None, "{path}");
        }
        assert_eq!(rule.find(format!("0::/docker/{id}0").as_bytes()), None, "65 digits are no id");
    }

    #[test]
    fn the_policy_may_say_where_the_id_is() {
        let own = rule(&json!({"cgroup_regex": "/engine/([a-z]+)", "cgroup_prefixes": ["/engine"]})).unwrap();
        assert_eq!(own.find(b"0::/other/engine/x\n1:cpu:/engine/web/0").as_deref(), Some("web"));
        for pattern in ["/engine/[a-z]+", "(a)(b)", "("] {
            let mistake = rule(&json!({ "cgroup_regex": pattern })).unwrap_err();
            assert_eq!(mistake.field, "cgroup_regex", "{pattern}");
        }
    }
}
