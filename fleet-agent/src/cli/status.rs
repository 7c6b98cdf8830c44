//! `fleet-agent status`

use std::fmt::Write;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::flags::Globals;
use super::{Outcome, say};
use crate::control::{Ask, ask};
use crate::diagnostics::yaml;
use crate::health::Status;
use crate::workload::State;

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A tree; parts that are well are left out
    Human,
    /// A tree with all parts
    Full,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Says how the agent is.
#[derive(Clone, Debug, Args)]
pub(super) struct Arguments {
    /// How it is shown
    #[arg(short, long, value_enum, default_value = "human")]
    output: Form,
}

pub(super) async fn status(globals: &Globals, arguments: &Arguments) -> Outcome {
    let value = ask(&globals.paths().socket(), &Ask::Status).await?;
    let status: Status = serde_json::from_value(value.clone())?;
    match arguments.output {
        Form::Human => say(tree(&status, false).trim_end()),
        Form::Full => say(tree(&status, true).trim_end()),
        Form::Json => say(&serde_json::to_string_pretty(&value)?),
        Form::Yaml => say(String::from_utf8_lossy(&yaml(&value)).trim_end()),
    }
    let is_well = !matches!(status.state, State::Failed | State::Stopped);
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A line of the tree, and what is below it.
struct Node {
    text: String,
    below: Vec<Node>,
}

impl Node {
    fn new(text: impl Into<String>, below: Vec<Node>) -> Node {
        Node { text: text.into(), below }
    }

    fn line(name: &str, state: &str, message: &str) -> String {
        if message.is_empty() { format!("{name}: ({state})") } else { format!("{name}: ({state}) {message}") }
    }

    fn write(&self, text: &mut String, lead: &str, is_last: bool) {
        let below = format!("{lead}{}", if is_last { "   " } else { "│  " });
        let mut lead = format!("{lead}{}", if is_last { "└─ " } else { "├─ " });
        for line in self.text.lines() {
            // Texts of others do not steer the terminal.
            let line: String =
                line.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
            // Writing to a text does not fail.
            let _ = writeln!(text, "{lead}{line}");
            lead = format!("{below}{}", if self.below.is_empty() { "   " } else { "│  " });
        }
        let lead = below;
        for (index, node) in self.below.iter().enumerate() {
            node.write(text, &lead, index + 1 == self.below.len());
        }
    }
}

fn tree(status: &Status, is_full: bool) -> String {
    let mut roots = Vec::new();
    let mut fleet =
        vec![Node::new(format!("status: ({}) {}", status.fleet_state.name(), status.fleet_message), vec![])];
    if let Some(revision) = status.policy_revision {
        fleet.push(Node::new(format!("policy: {} revision {revision}", status.policy_id), vec![]));
    }
    roots.push(Node::new("fleet", fleet));
    let mut agent = vec![Node::new(format!("status: ({}) {}", status.state.name(), status.message), vec![])];
    if is_full {
        agent.insert(0, Node::new(format!("id: {}", status.id), vec![]));
        agent.insert(1, Node::new(format!("version: {}, process {}", status.version, status.pid), vec![]));
    }
    if let Some(upgrade) = &status.upgrade_details {
        agent.push(Node::new(format!("upgrade to {}: {}", upgrade.target_version, upgrade.state), vec![]));
    }
    for component in &status.components {
        let is_well = |state: &str| state == State::Healthy.name();
        if !is_full && is_well(&component.status) {
            continue;
        }
        let units = component.units.iter().filter(|unit| is_full || !is_well(&unit.status));
        let units =
            units.map(|unit| Node::new(Node::line(&unit.id, &unit.status, &unit.message), vec![])).collect();
        agent.push(Node::new(Node::line(&component.id, &component.status, &component.message), units));
    }
    if is_full {
        agent.extend(status.notes.iter().map(|note| Node::new(format!("note: {note}"), vec![])));
    }
    roots.push(Node::new("fleet-agent", agent));
    let mut text = String::new();
    let count = roots.len();
    for (index, root) in roots.iter().enumerate() {
        root.write(&mut text, "", index + 1 == count);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{ComponentReport, UnitReport};

    #[test]
    fn a_message_of_several_lines_stays_in_its_place() {
        let tree = |below| {
            let mut text = String::new();
            let leaf = Node::new("status: (FAILED) two mistakes:\none\ntwo", below);
            Node::new("agent", vec![leaf, Node::new("end", vec![])]).write(&mut text, "", true);
            text
        };
        let under = "└─ agent\n   ├─ status: (FAILED) two mistakes:\n   │     one\n   │     two\n   └─ end\n";
        assert_eq!(tree(vec![]), under);
        let above = "   │  │  two\n   │  └─ b\n   └─ end\n";
        assert!(tree(vec![Node::new("b", vec![])]).ends_with(above));
    }

    #[test]
    fn the_tree_shows_what_is_wrong_and_all_when_asked() {
        let unit = |id: &str, status: &str| UnitReport {
            id: id.to_owned(),
            kind: "input".to_owned(),
            status: status.to_owned(),
            message: "m".to_owned(),
            payload: None,
        };
        let component = |id: &str, status: &str, units| ComponentReport {
            id: id.to_owned(),
            kind: id.to_owned(),
            status: status.to_owned(),
            message: String::new(),
            units,
        };
        let status = Status {
            id: "a".to_owned(),
            version: "9.6.0".to_owned(),
            pid: 1,
            state: State::Failed,
            message: "bad".to_owned(),
            fleet_state: State::Healthy,
            fleet_message: "Connected".to_owned(),
            policy_id: "p".to_owned(),
            policy_revision: Some(2),
            components: vec![
                component(
                    "x-default",
                    "FAILED",
                    vec![unit("x-default-1", "FAILED"), unit("x-default-2", "HEALTHY")],
                ),
                component("y-default", "HEALTHY", vec![unit("y-default-1", "HEALTHY")]),
            ],
            notes: vec!["n".to_owned()],
            upgrade_details: None,
        };
        let short = "├─ fleet\n│  ├─ status: (HEALTHY) Connected\n│  └─ policy: p revision 2\n└─ fleet-agent\n   ├─ status: (FAILED) bad\n   └─ x-default: (FAILED)\n      └─ x-default-1: (FAILED) m\n";
        assert_eq!(tree(&status, false), short);
        let text = tree(&Status { message: "two\nlines\u{1b}[2J".to_owned(), ..status.clone() }, false);
        assert!(text.contains("   ├─ status: (FAILED) two\n   │     lines [2J\n"), "{text}");
        let full = tree(&status, true);
        assert!(full.contains("y-default-1: (HEALTHY) m") && full.contains("note: n"), "{full}");
    }
}
