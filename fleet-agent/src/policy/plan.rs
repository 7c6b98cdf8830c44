//! Which inputs and outputs there are on this machine.

use std::collections::BTreeSet;

use fleet_service::error::chain;
use serde_json::{Map, Value};

use super::bounds;
use super::condition;
use super::settings::AgentSettings;
use super::signature::{SignatureError, verify_policy};
use super::variables::{Facts, LocalError};

/// So many inputs at most: each of them costs memory.
const MOST_INPUTS: usize = 5_000;
/// The sections of an OpenTelemetry collector.
const COLLECTOR: [&str; 6] = ["receivers", "processors", "exporters", "connectors", "extensions", "service"];

/// The input that stands for those, and its kind. No input of a policy can be of it.
pub(crate) const COLLECTOR_ID: &str = "collector";
pub(crate) const COLLECTOR_KIND: &str = "opentelemetry";

/// An input that is to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Its id.
    pub id: String,
    /// Its `type`.
    pub kind: String,
    /// The output's name.
    pub output: String,
    /// All of it, variables replaced; streams that are off or not for this machine are gone.
    pub config: Map<String, Value>,
    /// What its output is for this input alone, in place of what all others are told; `None`: the same.
    pub own_output: Option<Map<String, Value>>,
}

/// An output that inputs go to.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its `type`.
    pub kind: String,
    /// All of it, variables replaced.
    pub config: Map<String, Value>,
}

/// An input or an output that cannot run: the others do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The input's id, or the output's name.
    pub id: String,
    /// The `type`; empty: that is what is missing.
    pub kind: String,
    /// The output's name.
    pub output: String,
    /// What is wrong and where.
    pub reason: String,
}

/// Something to say that is no fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: an input's id, a path in the policy.
    pub about: String,
    /// What there is to say.
    pub message: String,
}

/// What a policy asks of this machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The policy's id.
    pub policy_id: String,
    /// Its revision.
    pub revision: i64,
    /// What the machine is called; empty: as its system says.
    pub host_name: String,
    /// What is to run.
    pub inputs: Vec<Input>,
    /// Where it goes.
    pub outputs: Vec<Output>,
    /// What cannot run.
    pub broken: Vec<Broken>,
    /// What else there is to say.
    pub findings: Vec<Finding>,
    /// About the agent itself.
    pub settings: AgentSettings,
    /// The section `fleet`.
    pub fleet: Map<String, Value>,
    /// The sections of an OpenTelemetry collector, if there are any.
    pub collector: Map<String, Value>,
}

/// Why a policy is not applied at all. What ran before goes on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// It is too large.
    #[error("the policy is refused: {0}")]
    TooLarge(String),
    /// A part of it is not of its kind.
    #[error("the policy is refused: {path} is not {needed}")]
    Shape {
        /// Where.
        path: &'static str,
        /// What it should be.
        needed: &'static str,
    },
    /// It is not signed as it should be.
    #[error("the policy is refused")]
    Signature(#[source] SignatureError),
    /// Its local variables cannot be used.
    #[error("the policy is refused")]
    Local(#[source] LocalError),
}

/// What `policy` asks of a machine of which these facts are known.
///
/// # Errors
/// [`Refusal`]: the policy cannot be applied as a whole.
pub fn plan(policy: &Map<String, Value>, facts: &Facts) -> Result<Plan, Refusal> {
    for value in policy.values() {
        bounds::check(value).map_err(Refusal::TooLarge)?;
    }
    let policy_id = match policy.get("id") {
        Some(Value::String(id)) if !id.is_empty() => id.clone(),
        _ => return Err(Refusal::Shape { path: "id", needed: "a text" }),
    };
    let revision = policy.get("revision").and_then(Value::as_i64);
    let revision = revision.ok_or(Refusal::Shape { path: "revision", needed: "a whole number" })?;
    let signed = verify_policy(policy).map_err(Refusal::Signature)?;
    let local = section(policy, "providers")?.get("local").and_then(|local| local.get("vars"));
    let with_local = match local.and_then(Value::as_object) {
        Some(vars) => Some(facts.with_local(vars).map_err(Refusal::Local)?),
        None => None,
    };
    let facts = with_local.as_ref().unwrap_or(facts);
    let host_name = facts.get("host.name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut plan = Plan { policy_id, revision, host_name, ..Plan::default() };
    let mut wrong = Vec::new();
    plan.settings = AgentSettings::of(policy, &mut wrong);
    plan.findings = wrong.into_iter().map(|message| Finding { about: "agent".to_owned(), message }).collect();
    plan.fleet = section(policy, "fleet")?.clone();
    for name in COLLECTOR {
        if let Some(value) = policy.get(name).filter(|value| !value.is_null()) {
            plan.collector.insert(name.to_owned(), value.clone());
        }
    }
    note_unsigned_inputs(&mut plan, policy, signed.as_ref());
    add_outputs(&mut plan, section(policy, "outputs")?, facts);
    add_inputs(&mut plan, policy.get("inputs"), facts)?;
    add_collector(&mut plan);
    Ok(plan)
}

fn section<'a>(
    policy: &'a Map<String, Value>,
    name: &'static str,
) -> Result<&'a Map<String, Value>, Refusal> {
    static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    match policy.get(name) {
        None | Some(Value::Null) => Ok(&EMPTY),
        Some(Value::Object(section)) => Ok(section),
        Some(_) => Err(Refusal::Shape { path: name, needed: "a map" }),
    }
}

/// Settings laid over a policy after it was signed add inputs that are not in what was signed: people want to know.
fn note_unsigned_inputs(plan: &mut Plan, policy: &Map<String, Value>, signed: Option<&Value>) {
    let Some(signed) = signed.and_then(|signed| signed.get("inputs")?.as_array()) else { return };
    let signed: BTreeSet<&str> = signed.iter().filter_map(|input| input.get("id")?.as_str()).collect();
    let inputs = policy.get("inputs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for id in inputs.iter().filter_map(|input| input.get("id")?.as_str()).filter(|id| !signed.contains(id)) {
        let message = "this input is not among what was signed of the policy".to_owned();
        plan.findings.push(Finding { about: id.to_owned(), message });
    }
}

/// The sections of a collector are one input: they are its configuration as they are, for it has variables of its own.
fn add_collector(plan: &mut Plan) {
    let has = |name: &str| {
        plan.collector.get(name).and_then(Value::as_object).is_some_and(|section| !section.is_empty())
    };
    if has("receivers") || has("service") {
        plan.inputs.push(Input {
            id: COLLECTOR_ID.to_owned(),
            kind: COLLECTOR_KIND.to_owned(),
            output: "default".to_owned(),
            config: plan.collector.clone(),
            own_output: None,
        });
    }
}

fn add_outputs(plan: &mut Plan, outputs: &Map<String, Value>, facts: &Facts) {
    for (name, value) in outputs {
        match read_output(name, value, facts) {
            Ok(Some(output)) => plan.outputs.push(output),
            Ok(None) => plan.findings.push(Finding {
                about: format!("outputs.{name}"),
                message: "this output is off: enabled is false".to_owned(),
            }),
            Err(reason) => {
                let kind = value.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
                plan.broken.push(Broken { id: name.clone(), kind, output: name.clone(), reason });
            }
        }
    }
}

fn read_output(name: &str, value: &Value, facts: &Facts) -> Result<Option<Output>, String> {
    let Value::Object(config) = value else { return Err(format!("outputs.{name}: this is not a map")) };
    if config.get("enabled") == Some(&Value::Bool(false)) {
        return Ok(None);
    }
    let kind = match config.get("type") {
        Some(Value::String(kind)) if !kind.is_empty() => kind.clone(),
        _ => return Err(format!("outputs.{name}.type: this is not the name of a kind of output")),
    };
    let config = facts.replace(value).map_err(|missing| format!("outputs.{name}: {missing}"))?;
    let Value::Object(config) = config else { return Err(format!("outputs.{name}: this is not a map")) };
    Ok(Some(Output { name: name.to_owned(), kind, config }))
}

fn add_inputs(plan: &mut Plan, inputs: Option<&Value>, facts: &Facts) -> Result<(), Refusal> {
    let inputs = match inputs {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Array(inputs)) => inputs,
        Some(_) => return Err(Refusal::Shape { path: "inputs", needed: "a list" }),
    };
    if inputs.len() > MOST_INPUTS {
        return Err(Refusal::TooLarge(format!("it has more than {MOST_INPUTS} inputs")));
    }
    let mut ids = BTreeSet::new();
    for (index, value) in inputs.iter().enumerate() {
        let head = Head::of(index, value);
        let mut mistakes = Mistakes::default();
        let read = mistakes.take(read_input(&head, index, value, facts));
        // One that is not for this machine has no faults here.
        let input = match read {
            Some(None) => {
                let message = head.left_out(value, facts);
                plan.findings.push(Finding { about: head.id, message });
                continue;
            }
            Some(Some(input)) => Some(input),
            None => None,
        };
        if input.is_some() && !ids.insert(head.id.clone()) {
            mistakes.add(format!("inputs.{index}.id: another input has the id {:?} already", head.id));
        }
        if !plan.has_output(&head.output) {
            let output = &head.output;
            mistakes
                .add(format!("inputs.{index}.use_output: there is no output {output:?} that could be used"));
        }
        match (mistakes.none(), input) {
            (Ok(()), Some(input)) => plan.inputs.push(input),
            (Ok(()), None) => {}
            (Err(reason), _) => {
                plan.broken.push(Broken { id: head.id, kind: head.kind, output: head.output, reason });
            }
        }
    }
    Ok(())
}

impl Plan {
    /// Outputs that no input goes to: nobody runs them, and nobody would tell what is wrong with them.
    pub fn unused_outputs(&self) -> impl Iterator<Item = &Output> {
        self.outputs.iter().filter(|output| !self.inputs.iter().any(|input| input.output == output.name))
    }

    pub(super) fn has_output(&self, name: &str) -> bool {
        self.outputs.iter().any(|output| output.name == name)
    }
}

/// What names an input, as far as it has it.
struct Head {
    id: String,
    kind: String,
    output: String,
}

impl Head {
    fn of(index: usize, value: &Value) -> Head {
        let text = |name: &str| value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let kind = text("type").unwrap_or_default().to_owned();
        let id = text("id").map_or_else(|| format!("{kind}-{index}"), str::to_owned);
        Head { id, kind, output: text("use_output").unwrap_or("default").to_owned() }
    }

    /// Why an input without a fault does not run.
    fn left_out(&self, value: &Value, facts: &Facts) -> String {
        if value.get("enabled") == Some(&Value::Bool(false)) {
            return "this input is off: enabled is false".to_owned();
        }
        match value.get("condition").and_then(Value::as_str) {
            Some(text) if condition::holds(text, facts) == Ok(false) => {
                format!("this input is not for this machine: {text}")
            }
            _ => "none of the streams of this input is on and for this machine".to_owned(),
        }
    }
}

/// `None`: it is not for this machine. All mistakes that can be seen at once are told.
fn read_input(head: &Head, index: usize, value: &Value, facts: &Facts) -> Result<Option<Input>, String> {
    let at = format!("inputs.{index}");
    let Value::Object(members) = value else { return Err(format!("{at}: this is not a map")) };
    let mut mistakes = Mistakes::default();
    if mistakes.take(is_on(&at, members, facts)) == Some(false) {
        return Ok(None);
    }
    if head.kind.is_empty() {
        mistakes.add(format!("{at}.type: this is not the name of a kind of input"));
    }
    if head.kind == COLLECTOR_KIND {
        mistakes.add(format!("{at}.type: a collector is set up by receivers, service and so on"));
    }
    let mut kept = members.clone();
    kept.remove("condition");
    let streams = kept.remove("streams");
    let had_some = streams.as_ref().and_then(Value::as_array).is_some_and(|given| !given.is_empty());
    let streams = read_streams(&at, streams, facts, &mut mistakes);
    if had_some && mistakes.0.is_empty() && streams.as_ref().is_some_and(Vec::is_empty) {
        return Ok(None);
    }
    let mut config = Map::with_capacity(members.len());
    for (key, value) in &kept {
        if let Some(value) =
            mistakes.take(facts.replace(value).map_err(|missing| format!("{at}.{key}: {missing}")))
        {
            config.insert(key.clone(), value);
        }
    }
    if let Some(streams) = streams {
        config.insert("streams".to_owned(), Value::Array(streams));
    }
    mistakes.none()?;
    let (id, kind, output) = (head.id.clone(), head.kind.clone(), head.output.clone());
    Ok(Some(Input { id, kind, output, config, own_output: None }))
}

/// The streams that are on and for this machine, with their variables replaced. `None`: the input has no such list.
fn read_streams(
    at: &str,
    streams: Option<Value>,
    facts: &Facts,
    mistakes: &mut Mistakes,
) -> Option<Vec<Value>> {
    let at = format!("{at}.streams");
    let given = match streams? {
        Value::Null => Vec::new(),
        Value::Array(given) => given,
        _ => {
            mistakes.add(format!("{at}: this is not a list"));
            return None;
        }
    };
    let mut on = Vec::with_capacity(given.len());
    for (number, stream) in given.into_iter().enumerate() {
        let at = format!("{at}.{number}");
        let Value::Object(mut stream) = stream else {
            mistakes.add(format!("{at}: this is not a map"));
            continue;
        };
        let is_on = mistakes.take(is_on(&at, &stream, facts));
        if is_on == Some(false) {
            continue;
        }
        stream.remove("condition");
        let replaced = facts.replace(&Value::Object(stream)).map_err(|missing| format!("{at}: {missing}"));
        on.extend(mistakes.take(replaced));
    }
    Some(on)
}

/// As many mistakes of one input are told; of the others, how many there are. An input may have thousands of streams,
/// and what is told goes to the server with each check-in.
const TOLD: usize = 10;

/// What is wrong with one input.
#[derive(Debug, Default)]
struct Mistakes(Vec<String>);

impl Mistakes {
    fn add(&mut self, mistake: String) {
        self.0.push(mistake);
    }

    fn take<T>(&mut self, outcome: Result<T, String>) -> Option<T> {
        outcome.map_err(|mistake| self.add(mistake)).ok()
    }

    fn none(self) -> Result<(), String> {
        if self.0.is_empty() {
            return Ok(());
        }
        let told = self.0.iter().take(TOLD).map(String::as_str).collect::<Vec<_>>().join("; ");
        match self.0.len().saturating_sub(TOLD) {
            0 => Err(told),
            more => Err(format!("{told}; and {more} more mistakes")),
        }
    }
}

/// Whether an input or a stream is on, and for this machine.
fn is_on(path: &str, members: &Map<String, Value>, facts: &Facts) -> Result<bool, String> {
    match members.get("enabled") {
        None | Some(Value::Null | Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Ok(false),
        Some(_) => return Err(format!("{path}.enabled: this is not true or false")),
    }
    match members.get("condition") {
        None | Some(Value::Null) => Ok(true),
        Some(Value::Bool(holds)) => Ok(*holds),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(true),
        Some(Value::String(text)) => {
            condition::holds(text, facts).map_err(|error| format!("{path}.condition: {}", chain(&error)))
        }
        Some(_) => Err(format!("{path}.condition: this is not a text")),
    }
}

#[cfg(test)]
mod tests;
