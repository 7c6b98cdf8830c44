//! Saying why a unit is where it is, or why it is nowhere.

use std::collections::BTreeMap;

use fleet_unit::UnitName;

use super::planner::Planner;
use crate::documents::{MachineId, TargetState};

/// One reason, and the machines that it holds for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The reason, as a fragment.
    pub text: String,
    /// The machines, in the order of their ids; empty when the reason is not about machines.
    pub machines: Vec<MachineId>,
}

impl Reason {
    fn general(text: impl Into<String>) -> Vec<Reason> {
        vec![Reason { text: text.into(), machines: Vec::new() }]
    }
}

impl Planner {
    /// Why a unit is not where people want it. Empty: it is, or there is no such unit.
    pub fn explain(&self, name: &UnitName) -> Vec<Reason> {
        let Some(spec) = self.units.get(name) else { return Vec::new() };
        if spec.target == TargetState::Inactive {
            return Reason::general("its desired state is inactive");
        }
        if name.is_template() {
            return Reason::general("it is a template: start an instance of it");
        }
        let requirements = match &spec.requirements {
            Ok(requirements) => requirements,
            Err(error) => return Reason::general(format!("its [X-Fleet] section cannot be used: {error}")),
        };
        if requirements.global {
            return self.explain_global(name);
        }
        let here = spec.machine.as_ref().and_then(|id| Some((id, self.hosts.get(id)?)));
        let mut reasons = match here {
            Some((id, host)) if host.metadata.is_some() => {
                return match self.fit(name, spec, id) {
                    Ok(()) => Vec::new(),
                    Err(unfit) => vec![Reason {
                        text: format!("{unfit}, and no other machine can take it"),
                        machines: vec![id.clone()],
                    }],
                };
            }
            Some((id, _)) => vec![Reason {
                text: "its machine is away, and no other machine can take it".to_owned(),
                machines: vec![id.clone()],
            }],
            None => Vec::new(),
        };
        if let Some(other) = self.circle(name) {
            return Reason::general(format!("it and {other} replace each other: only one of them can run"));
        }
        let mut by_text: BTreeMap<String, Vec<MachineId>> = BTreeMap::new();
        let present = self.hosts.iter().filter(|(_, host)| host.metadata.is_some());
        for (id, _) in present {
            let text = match self.fit(name, spec, id) {
                Ok(()) => "the engine has not got to it yet".to_owned(),
                Err(unfit) => unfit.to_string(),
            };
            by_text.entry(text).or_default().push(id.clone());
        }
        if by_text.is_empty() {
            reasons.extend(Reason::general("there is no machine"));
        }
        reasons.extend(by_text.into_iter().map(|(text, machines)| Reason { text, machines }));
        reasons
    }

    /// On which machines a global unit does not run, and why.
    fn explain_global(&self, name: &UnitName) -> Vec<Reason> {
        let Some(spec) = self.units.get(name) else { return Vec::new() };
        let mut by_text: BTreeMap<String, Vec<MachineId>> = BTreeMap::new();
        for (id, host) in &self.hosts {
            if host.metadata.is_none() || host.globals.contains(name) {
                continue;
            }
            let text = match self.fit(name, spec, id) {
                Ok(()) => "the engine has not got to it yet".to_owned(),
                Err(unfit) => unfit.to_string(),
            };
            by_text.entry(text).or_default().push(id.clone());
        }
        if self.hosts.values().all(|host| host.metadata.is_none()) {
            return Reason::general("there is no machine");
        }
        by_text.into_iter().map(|(text, machines)| Reason { text, machines }).collect()
    }
}
