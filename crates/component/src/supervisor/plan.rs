//! From the inputs and outputs of a policy to components and their units.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::spec::{CommandSpec, Found, InputSpec, ServiceSpec, Spec, Specs};
use super::unit_config;
use crate::unit::{LogLevel, UnitKey, UnitKind};
use crate::value::text;
use crate::wire;

/// The output of inputs that name none.
const DEFAULT_OUTPUT: &str = "default";

/// What a policy asks for: variables are replaced and conditions decided already.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Its inputs.
    pub inputs: Vec<Value>,
    /// Its outputs, by name.
    pub outputs: Map<String, Value>,
    /// Its revision, for the inputs.
    pub revision: Option<u64>,
    /// How much units log that do not say it themselves.
    pub log_level: LogLevel,
    /// Switches of the agent (`agent.features`).
    pub features: Map<String, Value>,
    /// What components may use (`agent.limits`).
    pub limits: Map<String, Value>,
}

/// A component that there should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// Its id.
    pub id: String,
    /// The type of its inputs.
    pub kind: String,
    /// The name of its output.
    pub output: String,
    /// What is run; or why nothing can be.
    pub program: Result<Arc<Program>, String>,
    /// Its units.
    pub units: Vec<Unit>,
    /// Switches of the agent.
    pub features: Map<String, Value>,
    /// What it may use.
    pub limits: Map<String, Value>,
}

/// What is run for a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// What it is called: as its file, unless its spec file says otherwise.
    pub name: String,
    /// Its file.
    pub binary: std::path::PathBuf,
    /// How it is run.
    pub run: Run,
    /// Actions of the agent that its input units want to hear of.
    pub proxied_actions: Vec<String>,
}

/// How a program is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// As a process of the agent.
    Command(CommandSpec),
    /// As a service of the system, which it has installed itself.
    Service(ServiceSpec),
}

/// A unit that there should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// What it is called.
    pub key: UnitKey,
    /// How much it logs.
    pub level: LogLevel,
    /// Its configuration; or why there is none.
    pub config: Result<Arc<wire::UnitConfig>, String>,
}

impl Component {
    /// One of a program, without units.
    pub(super) fn bare(program: Arc<Program>) -> Component {
        Component {
            id: String::new(),
            kind: String::new(),
            output: String::new(),
            program: Ok(program),
            units: Vec::new(),
            features: Map::new(),
            limits: Map::new(),
        }
    }
}

impl Specs {
    /// The components for these inputs and outputs. An input that cannot be run is a component with the reason.
    #[must_use]
    pub fn components(&self, wanted: &Wanted) -> Vec<Component> {
        let mut groups: BTreeMap<(String, String), Vec<&Map<String, Value>>> = BTreeMap::new();
        for input in wanted.inputs.iter().filter_map(Value::as_object) {
            if !is_enabled(input) {
                continue;
            }
            let kind = match self.find(text(input, "type")) {
                Found::Component(spec, index) => spec.inputs[index].name.clone(),
                Found::OtherPlatform | Found::Nothing => text(input, "type").to_owned(),
            };
            let output = match text(input, "use_output") {
                "" => DEFAULT_OUTPUT,
                name => name,
            };
            // What goes to an output that is switched off is switched off.
            let is_off =
                wanted.outputs.get(output).and_then(Value::as_object).is_some_and(|o| !is_enabled(o));
            if !is_off {
                groups.entry((kind, output.to_owned())).or_default().push(input);
            }
        }
        groups
            .iter()
            .flat_map(|((kind, output), inputs)| {
                Group { specs: self, wanted, kind, output }.components(inputs)
            })
            .collect()
    }

    fn input(&self, kind: &str) -> Result<(Arc<Spec>, InputSpec), String> {
        match self.find(kind) {
            Found::Component(spec, index) => {
                let input = spec.inputs[index].clone();
                Ok((spec, input))
            }
            Found::OtherPlatform => {
                Err(format!("input {kind} is not supported on this platform ({})", self.platform()))
            }
            Found::Nothing => Err(format!("input {kind} is not supported: no component is for it")),
        }
    }
}

/// One component of each id: the units that another one of it would have had say why they are none.
///
/// A service is one on a machine, and a policy may have inputs of it with several outputs.
pub(super) fn one_of_each(components: Vec<Component>) -> Vec<Component> {
    let mut kept: Vec<Component> = Vec::new();
    for component in components {
        let Some(first) = kept.iter_mut().find(|kept| kept.id == component.id) else {
            kept.push(component);
            continue;
        };
        let problem = format!(
            "{} is one component with one output, {}: give its inputs that one",
            component.id, first.output
        );
        let mut seen = first.units.iter().map(|unit| unit.key.id.clone()).collect();
        for unit in component.units.into_iter().filter(|unit| unit.key.kind == UnitKind::Input) {
            let (id, _) = unique(unit.key.id, &mut seen);
            first.units.push(Unit { key: UnitKey::input(id), config: Err(problem.clone()), ..unit });
        }
    }
    kept
}

fn is_enabled(map: &Map<String, Value>) -> bool {
    map.get("enabled").and_then(Value::as_bool).unwrap_or(true)
}

/// Inputs of one type with one output.
struct Group<'a> {
    specs: &'a Specs,
    wanted: &'a Wanted,
    kind: &'a str,
    output: &'a str,
}

impl Group<'_> {
    fn components(&self, inputs: &[&Map<String, Value>]) -> Vec<Component> {
        let spec = self.specs.input(self.kind);
        // A machine has one service of a kind, whatever its output.
        let is_service = spec.as_ref().is_ok_and(|(_, input)| input.service.is_some());
        let id = if is_service { self.kind.to_owned() } else { format!("{}-{}", self.kind, self.output) };
        let is_isolated = spec.as_ref().is_ok_and(|(_, input)| input.isolate_units);
        let program = spec.and_then(|(spec, input)| self.program(&spec, &input));
        if !is_isolated {
            let mut seen = BTreeSet::new();
            let units = inputs.iter().map(|input| self.input_unit(&id, input, &mut seen)).collect();
            return vec![self.component(id, program, units)];
        }
        let mut seen = BTreeSet::new();
        let isolated = inputs.iter().map(|input| {
            let (id, is_first) = unique(format!("{id}-{}", input_id(input)), &mut seen);
            let problem = (!is_first).then(|| twice(input));
            let program = match &problem {
                Some(problem) => Err(problem.clone()),
                None => program.clone(),
            };
            let unit = self.unit(UnitKey::input(format!("{id}-unit")), input, problem);
            self.component(id, program, vec![unit])
        });
        isolated.collect()
    }

    fn component(
        &self,
        id: String,
        program: Result<Arc<Program>, String>,
        mut units: Vec<Unit>,
    ) -> Component {
        if let Some(output) = self.wanted.outputs.get(self.output).and_then(Value::as_object) {
            units.push(Unit {
                key: UnitKey::output(id.clone()),
                level: self.level(output),
                config: Ok(Arc::new(unit_config::output(output))),
            });
        }
        let Wanted { features, limits, .. } = self.wanted;
        Component {
            id,
            kind: self.kind.to_owned(),
            output: self.output.to_owned(),
            program,
            units,
            features: features.clone(),
            limits: limits.clone(),
        }
    }

    fn program(&self, spec: &Spec, input: &InputSpec) -> Result<Arc<Program>, String> {
        let output = self.wanted.outputs.get(self.output).and_then(Value::as_object);
        let Some(output) = output else {
            return Err(format!("output {} is not there: the policy has no such output", self.output));
        };
        let kind = text(output, "type");
        if !input.outputs.iter().any(|known| known == kind) {
            return Err(format!(
                "output not supported: input {} can have an output of {:?}, and {} is of the type {kind:?}",
                self.kind, input.outputs, self.output
            ));
        }
        super::prevention::check(&input.runtime.preventions, self.specs.platform())?;
        let run = match (&input.command, &input.service) {
            (Some(command), _) => Run::Command(command.clone()),
            (None, Some(service)) => Run::Service(service.clone()),
            (None, None) => return Err(format!("input {} says not how it is run", self.kind)),
        };
        let name = input.command.as_ref().map(|command| &command.name).filter(|name| !name.is_empty());
        Ok(Arc::new(Program {
            name: name.unwrap_or(&spec.name).clone(),
            binary: spec.binary.clone(),
            run,
            proxied_actions: input.proxied_actions.clone(),
        }))
    }

    fn input_unit(&self, component: &str, input: &Map<String, Value>, seen: &mut BTreeSet<String>) -> Unit {
        let (id, is_first) = unique(format!("{component}-{}", input_id(input)), seen);
        let problem = (!is_first).then(|| twice(input));
        self.unit(UnitKey::input(id), input, problem)
    }

    fn unit(&self, key: UnitKey, input: &Map<String, Value>, problem: Option<String>) -> Unit {
        let config = match problem {
            Some(problem) => Err(problem),
            None => Ok(Arc::new(unit_config::input(input, self.kind, self.wanted.revision))),
        };
        Unit { key, level: self.level(input), config }
    }

    fn level(&self, map: &Map<String, Value>) -> LogLevel {
        LogLevel::parse(text(map, "log_level")).unwrap_or(self.wanted.log_level)
    }
}

fn input_id(input: &Map<String, Value>) -> &str {
    match text(input, "id") {
        "" => text(input, "type"),
        id => id,
    }
}

fn twice(input: &Map<String, Value>) -> String {
    format!("the policy has two inputs of the id {}", input_id(input))
}

/// The id, with a number behind it if there is one of it already; and whether it is the first.
fn unique(id: String, seen: &mut BTreeSet<String>) -> (String, bool) {
    if seen.insert(id.clone()) {
        return (id, true);
    }
    for number in 2_u64.. {
        let other = format!("{id} ({number})");
        if seen.insert(other.clone()) {
            return (other, false);
        }
    }
    (id, false)
}

#[cfg(test)]
mod tests;
