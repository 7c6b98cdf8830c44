//! Components: processes of their own, which the agent supervises.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fleet_component::supervisor::spec::{Found, Variable};
use fleet_component::supervisor::{
    AgentFacts, Component, ComponentState, Platform, Run, Settings, Specs, StartError, Supervisor, Wanted,
};
use fleet_component::unit::{LogLevel, UnitKey, UnitKind};
use fleet_service::error::chain;
use futures_util::future::join_all;
use serde_json::{Map, Value};
use tokio::sync::{OnceCell, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Common, State, States, UnitState, Workload};
use crate::fleet::Action;
use crate::fleet_server::{KIND, documents};
use crate::paths::Paths;
use crate::policy::{Input, Output};
use crate::state::secure_directory;

/// A component has so long for an action that names no time.
const ACTION_TIME: Duration = Duration::from_secs(60);
/// And never longer.
const ACTION_TIME_MAX: Duration = Duration::from_secs(3600);
/// Components have so long to hear of what the agent is about to do; then it does it all the same.
const PASS_ON_MAX: Duration = Duration::from_secs(40);
/// One that has not taken it is asked again after these pauses.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Services have so long to be removed when the agent leaves; then it leaves all the same.
const REMOVE_MAX: Duration = Duration::from_secs(300);
/// What is measured for diagnostics: how the component reaches whom it works with.
const MEASURED: [&str; 1] = ["CONN"];

/// Supervises components. Nothing is opened before a policy has an input for one.
#[derive(Debug)]
pub(super) struct Components {
    specs: Specs,
    home: std::path::PathBuf,
    /// Where services come to.
    sockets: std::path::PathBuf,
    /// Where a Fleet Server keeps its documents, if it must be told.
    documents: Option<std::path::PathBuf>,
    facts: AgentFacts,
    /// What holds for all units.
    common: Mutex<Common>,
    supervisor: OnceCell<Arc<Supervisor>>,
    states: watch::Sender<Arc<States>>,
    token: CancellationToken,
}

impl Components {
    /// Those for this platform whose spec files lie in `folder`. `None`: there are none.
    pub(super) fn find(
        folder: &Path,
        paths: &Paths,
        platform: &Platform,
        facts: AgentFacts,
    ) -> Option<Arc<Components>> {
        if !folder.is_dir() {
            return None;
        }
        let (specs, problems) = Specs::load(folder, platform.clone());
        for problem in problems {
            tracing::warn!(error = &problem as &dyn std::error::Error, "a component cannot be used");
        }
        Some(Arc::new(Components {
            specs,
            home: paths.components(),
            sockets: paths.home.clone(),
            documents: documents::directory(paths),
            facts,
            common: Mutex::default(),
            supervisor: OnceCell::new(),
            states: watch::Sender::new(Arc::default()),
            token: CancellationToken::new(),
        }))
    }

    /// Uninstalls the services that agents of these paths have installed. Returns those that are there still.
    ///
    /// # Errors
    /// They cannot be looked at.
    pub(super) async fn remove_services(paths: &Paths) -> Result<Vec<String>, StartError> {
        if !paths.components().is_dir() {
            return Ok(Vec::new());
        }
        let settings = Settings::new(paths.components(), AgentFacts::default());
        Ok(Supervisor::start(settings).await?.remove_all(REMOVE_MAX).await)
    }

    async fn supervisor(&self) -> Result<&Arc<Supervisor>, String> {
        self.supervisor
            .get_or_try_init(async || {
                // Components have a directory each below these, which their own users may share.
                for directory in [self.home.clone(), self.home.join("run")] {
                    secure_directory(&directory)
                        .map_err(|error| format!("{} cannot be made: {error}", directory.display()))?;
                }
                let mut settings = Settings::new(&self.home, self.facts.clone());
                settings.sockets.clone_from(&self.sockets);
                let started = Supervisor::start(settings).await;
                let supervisor = Arc::new(started.map_err(|error| chain(&error))?);
                let mut told = supervisor.states();
                let sender = self.states.clone();
                tokio::spawn(self.token.clone().run_until_cancelled_owned(async move {
                    while told.changed().await.is_ok() {
                        let now = Arc::clone(&told.borrow_and_update());
                        sender.send_replace(Arc::new(translate(&now)));
                    }
                }));
                Ok(supervisor)
            })
            .await
    }

    /// Tells a Fleet Server where its documents are: its working directory goes with its input.
    fn tell_documents(&self, component: &mut Component) {
        let (Some(documents), Ok(program)) = (&self.documents, &mut component.program) else { return };
        let Run::Command(command) = &mut Arc::make_mut(program).run else { return };
        if let Err(error) = secure_directory(documents) {
            component.program = Err(format!("{} cannot be made: {error}", documents.display()));
            return;
        }
        let environment = &mut command.env;
        if !environment.iter().any(|variable| variable.name == documents::VARIABLE) {
            let value = documents.to_string_lossy().into_owned();
            environment.push(Variable { name: documents::VARIABLE.to_owned(), value });
        }
    }

    /// As the supervisor takes it.
    fn wanted(&self, inputs: Vec<Input>, outputs: Map<String, Value>) -> Wanted {
        let named = |input: Input| {
            let mut config = input.config;
            config.insert("id".to_owned(), input.id.into());
            config.insert("use_output".to_owned(), input.output.into());
            Value::Object(config)
        };
        let common = self.common.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Wanted {
            inputs: inputs.into_iter().map(named).collect(),
            outputs,
            // A policy's revision would be a change to every input whenever anything of the policy changes.
            revision: None,
            log_level: LogLevel::parse(&common.log_level).unwrap_or_default(),
            features: common.features,
            limits: common.limits,
        }
    }

    fn fail(&self, inputs: &[Input], reason: &str) {
        let failed = |input: &Input| (input.id.clone(), UnitState::new(State::Failed, reason));
        let states = States { inputs: inputs.iter().map(failed).collect(), ..States::default() };
        self.states.send_replace(Arc::new(states));
    }
}

fn translate(told: &fleet_component::supervisor::States) -> States {
    let mut states = States::default();
    for component in told.components.values() {
        for (key, status) in &component.units {
            let unit = UnitState {
                state: status.state,
                message: status.message.clone(),
                payload: status.payload.clone().map(Value::Object),
            };
            match key.kind {
                UnitKind::Input => {
                    states.inputs.insert(input_id(component, key).to_owned(), unit);
                }
                UnitKind::Output => {
                    let of = (component.kind.clone(), component.output.clone());
                    // An input may have a process of its own: the worse counts.
                    let known = states.process_outputs.entry(of).or_insert_with(|| unit.clone());
                    if unit.state.is_worse_than(known.state) {
                        *known = unit;
                    }
                }
            }
        }
    }
    states
}

/// The input that a unit is of.
fn input_id<'a>(component: &ComponentState, unit: &'a UnitKey) -> &'a str {
    // A service is called by its kind alone: there is one of it.
    if component.id == component.kind {
        let id = unit.id.strip_prefix(&component.id).and_then(|id| id.strip_prefix('-'));
        return id.unwrap_or(&unit.id);
    }
    // A unit is called as its component, and then as its input; one that is alone in its component has the input's id
    // in the component's.
    let group = format!("{}-{}-", component.kind, component.output);
    let id = unit.id.strip_suffix("-unit").unwrap_or(&unit.id);
    id.strip_prefix(&group).unwrap_or(id)
}

#[async_trait]
impl Workload for Components {
    fn name(&self) -> &'static str {
        "components"
    }

    fn own_name(&self, kind: &str) -> String {
        match self.specs.find(kind) {
            Found::Component(spec, index) => spec.inputs[index].name.clone(),
            Found::OtherPlatform | Found::Nothing => kind.to_owned(),
        }
    }

    fn takes(&self, kind: &str) -> bool {
        self.specs.handles(kind)
    }

    async fn hear(&self, common: &Common) {
        self.common.lock().unwrap_or_else(PoisonError::into_inner).clone_from(common);
    }

    async fn apply(&self, inputs: Vec<Input>, outputs: Vec<Output>) {
        if inputs.is_empty() && self.supervisor.get().is_none() {
            return;
        }
        let supervisor = match self.supervisor().await {
            Ok(supervisor) => Arc::clone(supervisor),
            Err(reason) => return self.fail(&inputs, &reason),
        };
        let outputs: Map<String, Value> =
            outputs.into_iter().map(|output| (output.name, Value::Object(output.config))).collect();
        let (apart, inputs): (Vec<Input>, Vec<Input>) =
            inputs.into_iter().partition(|input| input.own_output.is_some());
        let mut components = self.specs.components(&self.wanted(inputs, outputs));
        for mut input in apart {
            let own = input.own_output.take().unwrap_or_default();
            let outputs = Map::from_iter([(input.output.clone(), Value::Object(own))]);
            components.extend(self.specs.components(&self.wanted(vec![input], outputs)));
        }
        for component in components.iter_mut().filter(|component| component.kind == KIND) {
            self.tell_documents(component);
        }
        supervisor.apply(components).await;
    }

    fn states(&self) -> watch::Receiver<Arc<States>> {
        self.states.subscribe()
    }

    async fn act(&self, action: &Action) -> Result<Value, String> {
        let absent = || format!("no input of type {:?} runs here", action.input_type);
        let supervisor = self.supervisor.get().ok_or_else(absent)?;
        let kind = self.own_name(&action.input_type);
        let (component, unit) = supervisor.input_unit(&kind).ok_or_else(absent)?;
        let params = serde_json::to_value(action).map_err(|error| error.to_string())?;
        let Value::Object(params) = params else { return Err("the action is no map".to_owned()) };
        let asked =
            action.timeout.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
        let most = asked.map_or(ACTION_TIME, Duration::from_secs).min(ACTION_TIME_MAX);
        let done = supervisor.action(&component, unit, &kind, params, most).await;
        done.map(Value::Object).map_err(|error| error.to_string())
    }

    async fn pass_on(&self, action: &Action) {
        let Some(supervisor) = self.supervisor.get() else { return };
        let Ok(Value::Object(params)) = serde_json::to_value(action) else { return };
        let units = supervisor.proxied_units(&action.kind).await;
        let telling = units.iter().map(|(component, unit)| {
            let telling = tell(supervisor, component, unit, &action.kind, &params);
            async move {
                if timeout(PASS_ON_MAX, telling).await.is_err() {
                    tracing::warn!(
                        component,
                        action = action.kind,
                        "a component has not heard of an action in time"
                    );
                }
            }
        });
        join_all(telling).await;
    }

    async fn leave(&self) {
        // One that an agent before this one has installed is there, too.
        if self.supervisor.get().is_none() && !self.home.is_dir() {
            return;
        }
        let Ok(supervisor) = self.supervisor().await else { return };
        let left = supervisor.remove_all(REMOVE_MAX).await;
        if !left.is_empty() {
            tracing::error!(services = left.join(", "), "services are left behind");
        }
    }

    async fn diagnostics(&self) -> Vec<(String, Vec<u8>)> {
        let Some(supervisor) = self.supervisor.get() else { return Vec::new() };
        let states = supervisor.states().borrow().clone();
        let mut files = Vec::new();
        // A process that is not connected says so in an error.
        let asked = |component: &ComponentState| component.is_connected || component.pid.is_some();
        for (id, component) in states.components.iter().filter(|(_, component)| asked(component)) {
            match supervisor.diagnostics(id, &MEASURED).await {
                Ok(found) => files.extend(
                    found.into_iter().map(|file| (format!("{id}/{}", plain(&file.filename)), file.content)),
                ),
                Err(error) => files.push((format!("{id}/error.txt"), error.to_string().into_bytes())),
            }
            for key in component.units.keys() {
                for file in supervisor.unit_diagnostics(id, key.clone()).await.unwrap_or_default() {
                    files.push((format!("{id}/{}/{}", plain(&key.id), plain(&file.filename)), file.content));
                }
            }
        }
        files
    }

    fn metrics(&self) -> String {
        let Some(supervisor) = self.supervisor.get() else { return String::new() };
        let states = supervisor.states().borrow().clone();
        let lines = states.components.values().map(|component| {
            format!("fleet_agent_component_restarts{{component={:?}}} {}\n", component.id, component.restarts)
        });
        let lines: String = lines.collect();
        if lines.is_empty() {
            lines
        } else {
            format!("# TYPE fleet_agent_component_restarts counter\n{lines}")
        }
    }

    async fn stop(&self, grace: Duration) {
        if let Some(supervisor) = self.supervisor.get() {
            supervisor.stop(grace).await;
        }
        self.token.cancel();
    }
}

/// Tells a unit of an action until it has taken it.
async fn tell(
    supervisor: &Supervisor,
    component: &str,
    unit: &UnitKey,
    name: &str,
    params: &Map<String, Value>,
) {
    let mut pause = FIRST_PAUSE;
    while let Err(error) = supervisor.action(component, unit.clone(), name, params.clone(), PASS_ON_MAX).await
    {
        tracing::debug!(component, action = name, %error, "a component is told again");
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A name of a file may be anything where it comes from.
fn plain(name: &str) -> String {
    let safe =
        |char: char| if char.is_alphanumeric() || matches!(char, '.' | '-' | '_') { char } else { '_' };
    name.chars().take(100).map(safe).collect::<String>().trim_start_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_of_inputs() {
        let input = |id: &str, unit: &str| {
            let (kind, output) = ("log".to_owned(), "default".to_owned());
            let component = ComponentState { id: id.to_owned(), kind, output, ..ComponentState::default() };
            input_id(&component, &UnitKey::input(unit)).to_owned()
        };
        assert_eq!(input("log-default", "log-default-a"), "a");
        assert_eq!(input("log-default-a", "log-default-a-unit"), "a");
        // A service: its inputs may be called as an output is.
        assert_eq!(input("log", "log-a"), "a");
        assert_eq!(input("log", "log-default-a"), "default-a");
    }
}
