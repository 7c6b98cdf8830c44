//! Units of a plan that cannot be built, told once in the log.

use std::collections::BTreeMap;

use crate::plan::Plan;
use crate::state::Unit;

/// What could not be built, as it was told last. Plans are applied again and again: what is in the log is not
/// repeated.
#[derive(Debug, Default)]
pub(super) struct Failures {
    units: BTreeMap<Unit, Reasons>,
}

/// Why parts of a unit cannot be built: by the stream's id, or nothing for the unit itself.
pub(super) type Reasons = BTreeMap<String, String>;

impl Failures {
    /// A unit was built, with these failures; those that are new or different are logged. Returns how many were.
    pub(super) fn built(&mut self, unit: &Unit, reasons: Reasons) -> usize {
        let before = self.units.remove(unit).unwrap_or_default();
        let mut told = 0;
        for (stream, reason) in &reasons {
            if before.get(stream) == Some(reason) {
                continue;
            }
            told += 1;
            match unit {
                Unit::Input(id) if stream.is_empty() => {
                    tracing::warn!(input = id, reason, "an input of the policy cannot be run");
                }
                Unit::Input(id) => {
                    tracing::warn!(input = id, stream, reason, "a stream of the policy cannot be run");
                }
                Unit::Output(name) => {
                    tracing::warn!(output = name, reason, "an output of the policy cannot be run");
                }
            }
        }
        if !reasons.is_empty() {
            self.units.insert(unit.clone(), reasons);
        }
        told
    }

    /// Forgets units that the plan does not have.
    pub(super) fn keep(&mut self, plan: &Plan) {
        self.units.retain(|unit, _| match unit {
            Unit::Input(id) => plan.inputs.iter().any(|unit| unit.id == *id),
            Unit::Output(name) => plan.outputs.iter().any(|unit| unit.name == *name),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(list: &[(&str, &str)]) -> Reasons {
        list.iter().map(|(stream, reason)| ((*stream).to_owned(), (*reason).to_owned())).collect()
    }

    #[test]
    fn a_failure_is_told_when_it_appears_or_changes() {
        let mut failures = Failures::default();
        let unit = Unit::Input("a".to_owned());
        let first = reasons(&[("one", "bad"), ("two", "bad")]);
        assert_eq!(failures.built(&unit, first.clone()), 2);
        assert_eq!(failures.built(&unit, first.clone()), 0);
        assert_eq!(failures.built(&unit, reasons(&[("one", "bad"), ("two", "worse")])), 1);
        assert_eq!(failures.built(&unit, Reasons::new()), 0);
        assert_eq!(failures.built(&unit, first.clone()), 2);
        failures.keep(&Plan::default());
        assert_eq!(failures.built(&unit, first), 2);
    }
}
