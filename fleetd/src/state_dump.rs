//! What `SIGUSR1` prints: one line of JSON on standard output, in the original's shape.

use std::collections::BTreeMap;
use std::io::{self, Write};

use fleet_cluster::agent::Outbox;
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
    to_publish: BTreeMap<String, PublishedState>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PublishedState {
    load_state: String,
    active_state: String,
    sub_state: String,
    unit_hash: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GeneratorDump {
    subscribed: Vec<String>,
}

/// Prints what the agent has installed and published.
pub(crate) fn print(outbox: &Outbox) {
    let (states, unpublished) = outbox.look();
    let published = |state: &fleet_cluster::documents::StateDocument| PublishedState {
        load_state: state.load.clone(),
        active_state: state.active.clone(),
        sub_state: state.sub.clone(),
        unit_hash: state.hash.to_string(),
    };
    let cache: BTreeMap<String, PublishedState> =
        states.iter().map(|(unit, state)| (unit.to_string(), published(state))).collect();
    let to_publish = unpublished
        .iter()
        .filter_map(|unit| Some((unit.to_string(), cache.get(unit.as_str())?.clone())))
        .collect();
    let dump = Dump {
        agent: AgentDump {
            cache: AgentCache {
                target_states: states
                    .iter()
                    .map(|(unit, state)| (unit.to_string(), state.current.as_str()))
                    .collect(),
            },
        },
        unit_state_generator: GeneratorDump { subscribed: cache.keys().cloned().collect() },
        unit_state_publisher: PublisherDump { cache, to_publish },
    };
    let line = serde_json::to_string(&dump).unwrap_or_default();
    if let Err(error) = writeln!(io::stdout().lock(), "{line}") {
        tracing::debug!(%error, "the state was not printed");
    }
}
