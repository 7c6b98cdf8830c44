//! What `SIGUSR1` prints: one line of JSON on standard output, in the original's shape.

use std::collections::BTreeMap;
use std::io::{self, Write};

use fleet_cluster::agent::Outbox;
use fleet_cluster::documents::StateDocument;
use fleet_unit::UnitName;
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Dump {
    agent: AgentDump,
    unit_state_publisher: PublisherDump,
    unit_state_generator: GeneratorDump,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AgentDump {
    cache: AgentCache,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AgentCache {
    target_states: BTreeMap<String, &'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PublisherDump {
    cache: BTreeMap<String, PublishedState>,
    /// `null` for a unit that is gone.
    to_publish: BTreeMap<String, Option<PublishedState>>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PublishedState {
    load_state: String,
    active_state: String,
    sub_state: String,
    #[serde(rename = "MachineID")]
    machine_id: String,
    unit_hash: String,
    unit_name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GeneratorDump {
    subscribed: Vec<String>,
}

/// Prints what the agent has installed and published.
pub(crate) fn print(outbox: &Outbox) {
    let (states, unpublished) = outbox.look();
    let line = text(&states, &unpublished);
    if let Err(error) = writeln!(io::stdout().lock(), "{line}") {
        tracing::debug!(%error, "the state was not printed");
    }
}

fn text(states: &BTreeMap<UnitName, StateDocument>, unpublished: &[UnitName]) -> String {
    let published = |unit: &UnitName, state: &StateDocument| PublishedState {
        load_state: state.load.clone(),
        active_state: state.active.clone(),
        sub_state: state.sub.clone(),
        machine_id: state.machine.0.clone(),
        unit_hash: state.hash.to_string(),
        unit_name: unit.to_string(),
    };
    let cache: BTreeMap<String, PublishedState> =
        states.iter().map(|(unit, state)| (unit.to_string(), published(unit, state))).collect();
    let to_publish =
        unpublished.iter().map(|unit| (unit.to_string(), cache.get(unit.as_str()).cloned())).collect();
    let target_states =
        states.iter().map(|(unit, state)| (unit.to_string(), state.current.as_str())).collect();
    let dump = Dump {
        agent: AgentDump { cache: AgentCache { target_states } },
        unit_state_generator: GeneratorDump { subscribed: cache.keys().cloned().collect() },
        unit_state_publisher: PublisherDump { cache, to_publish },
    };
    // There is nothing in it that JSON cannot hold.
    serde_json::to_string(&dump).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use fleet_cluster::documents::{MachineId, TargetState};
    use fleet_unit::UnitFile;

    use super::*;

    #[test]
    fn the_shape_is_the_one_of_the_original() {
        assert_eq!(
            text(&BTreeMap::new(), &[]),
            r#"{"Agent":{"Cache":{"TargetStates":{}}},"UnitStatePublisher":{"Cache":{},"ToPublish":{}},"UnitStateGenerator":{"Subscribed":[]}}"#
        );
        let unit = |name: &str| UnitName::parse(name).unwrap();
        let state = StateDocument {
            machine: MachineId("asdf".to_owned()),
            hash: UnitFile::parse("[Service]\nExecStart=/bin/sleep 1000\n").unwrap().hash(),
            current: TargetState::Launched,
            load: "loaded".to_owned(),
            active: "active".to_owned(),
            sub: "running".to_owned(),
            restarts: 0,
            error: None,
        };
        let foo = r#""foo.service":{"LoadState":"loaded","ActiveState":"active","SubState":"running","MachineID":"asdf","UnitHash":"2d432f4a06608c1a8b2848b66c836793a1d48ce6","UnitName":"foo.service"}"#;
        assert_eq!(
            text(
                &BTreeMap::from([(unit("foo.service"), state)]),
                &[unit("foo.service"), unit("gone.service")]
            ),
            format!(
                r#"{{"Agent":{{"Cache":{{"TargetStates":{{"foo.service":"launched"}}}}}},"UnitStatePublisher":{{"Cache":{{{foo}}},"ToPublish":{{{foo},"gone.service":null}}}},"UnitStateGenerator":{{"Subscribed":["foo.service"]}}}}"#
            )
        );
    }
}
