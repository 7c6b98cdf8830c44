//! Carries out a plan from a file of JSON, until it is interrupted: `collect PLAN DATA`.
//!
//! The plan is `{"inputs": [{id, type, use_output, streams…}], "outputs": {"default": {type, hosts…}}}`, as in a
//! policy. States are printed as they change, counts at the end.

use std::error::Error;
use std::time::Duration;

use fleet_collect::{AgentFacts, Collector, InputUnit, OutputUnit, Plan, Settings};
use serde_json::{Map, Value};

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(plan), Some(data)) = (arguments.next(), arguments.next()) else {
        return Err("give a file with a plan, and a directory".into());
    };
    let plan: Map<String, Value> = serde_json::from_slice(&std::fs::read(plan)?)?;
    let agent = AgentFacts {
        id: "00000000-0000-0000-0000-000000000000".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        name: "example".into(),
        ephemeral_id: "00000000-0000-0000-0000-000000000001".into(),
    };
    let collector = Collector::start(Settings { data: data.into(), agent, host_name: None }).await?;
    let mut states = collector.states();
    collector.apply(read(&plan)).await;
    let show = async {
        while states.changed().await.is_ok() {
            let states = states.borrow_and_update().clone();
            for (id, unit) in states.inputs.iter().chain(&states.outputs) {
                tell(&format!("{id}: {:?} {}", unit.status.state, unit.status.message));
            }
        }
    };
    tokio::select! { () = show => {}, _ = tokio::signal::ctrl_c() => {} }
    collector.stop(Duration::from_secs(5)).await;
    for (name, _, value) in collector.metrics().rows() {
        tell(&format!("{name} {value}"));
    }
    Ok(())
}

fn read(plan: &Map<String, Value>) -> Plan {
    let text = |map: &Map<String, Value>, key: &str| {
        map.get(key).and_then(Value::as_str).unwrap_or("default").to_owned()
    };
    let maps = |key: &str| {
        plan.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
    };
    let inputs = maps("inputs").map(|config| InputUnit {
        id: text(config, "id"),
        kind: text(config, "type"),
        output: text(config, "use_output"),
        config: config.clone(),
    });
    let outputs = plan.get("outputs").and_then(Value::as_object).into_iter().flatten();
    let outputs = outputs.filter_map(|(name, config)| {
        let config = config.as_object()?;
        Some(OutputUnit { name: name.clone(), kind: text(config, "type"), config: config.clone() })
    });
    Plan { inputs: inputs.collect(), outputs: outputs.collect() }
}

fn tell(line: &str) {
    use std::io::Write;
    // Whoever has closed the pipe does not want to know.
    let _ = writeln!(std::io::stderr(), "{line}");
}
