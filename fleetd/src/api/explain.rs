//! Why a unit is where it is, or nowhere: worked out afresh, by the same rules that the engine goes by.

use fleet_cluster::documents::{MachineId, TargetState};
use fleet_cluster::engine::{Planner, UnitSpec};
use fleet_protocol::fleet_v1::{ExplainedState, Explanation, Reason};
use fleet_unit::{Requirements, UnitName};

use super::Api;
use super::answer::{Answer, Failure};

impl Api {
    pub(super) async fn explain_unit(&self, item: &str) -> Result<Answer, Failure> {
        let name = UnitName::parse(item).map_err(|error| Failure::bad_request(error.to_string()))?;
        let (units, machines, states) = tokio::try_join!(
            self.units.list(),
            self.read_machines(),
            self.states.list_prefix(format!("{item}/")),
        )?;
        let mut planner = Planner::new();
        for unit in units {
            let Ok(name) = UnitName::parse(&unit.id) else { continue };
            let file = unit.value.file();
            let spec = UnitSpec {
                hash: file.hash(),
                requirements: Requirements::of(&name, &file).map_err(|error| error.to_string()),
                target: unit.value.desired_state,
                machine: unit.value.machine,
                restarts: unit.value.restarts,
            };
            planner.set_unit(name, spec);
        }
        for machine in machines {
            planner.set_machine(&MachineId(machine.id), machine.metadata);
        }
        let Some(spec) = planner.unit(&name) else {
            // It is not there, or it cannot be read.
            return Err(self.readable_unit(item).await.err().unwrap_or_else(Failure::no_such_unit));
        };
        let states: Vec<ExplainedState> = states
            .into_iter()
            .map(|state| ExplainedState {
                current_state: state.value.current.as_str().to_owned(),
                error: state.value.error.unwrap_or_default(),
                machine_id: state.value.machine.0,
                restarts: state.value.restarts,
                systemd_active_state: state.value.active,
                systemd_sub_state: state.value.sub,
            })
            .collect();
        let global = spec.requirements.as_ref().is_ok_and(|requirements| requirements.global);
        let here = spec.machine.as_ref().map(|machine| machine.0.clone()).unwrap_or_default();
        let current = match states.iter().find(|state| state.machine_id == here) {
            Some(state) => state.current_state.clone(),
            None if global => String::new(),
            None => TargetState::Inactive.as_str().to_owned(),
        };
        let reasons = planner.explain(&name).into_iter().map(|reason| Reason {
            machines: reason.machines.into_iter().map(|machine| machine.0).collect(),
            reason: reason.text,
        });
        Ok(Answer::json(&Explanation {
            current_state: current,
            desired_state: spec.target.as_str().to_owned(),
            global,
            machine_id: here,
            name: item.to_owned(),
            reasons: reasons.collect(),
            restarts: spec.restarts,
            states,
        }))
    }
}
