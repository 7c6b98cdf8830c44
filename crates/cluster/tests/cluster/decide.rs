//! What an agent decides: tables, and properties over random units.

use std::collections::{BTreeMap, BTreeSet};

use fleet_cluster::agent::decide::{Actual, Step, desired, next_step};
use fleet_cluster::documents::{
    Assignment, AssignmentDocument, GlobalAssignment, GlobalAssignmentDocument, TargetState,
};
use fleet_cluster::follow::Known;
use fleet_unit::{Requirements, UnitHash};
use proptest::prelude::*;

use crate::kit::{assignment, file, name};

fn hash(number: u8) -> UnitHash {
    file(&number.to_string()).hash()
}

fn wanted(number: u8, target: TargetState, restarts: u64) -> Assignment {
    assignment(&file(&number.to_string()), target, restarts)
}

fn actual(number: u8, current: TargetState, restarts: Option<u64>, noted: bool) -> Actual {
    Actual { hash: hash(number), current, restarts, noted }
}

#[test]
fn each_step_follows_from_what_is_wanted_and_what_is_there() {
    use Step::{Load, Note, Restart, Start, Stop, Unload};
    use TargetState::{Inactive, Launched, Loaded};
    let cases = [
        (None, None, None),
        (None, Some(actual(1, Launched, Some(0), true)), Some(Unload)),
        (None, Some(actual(1, Inactive, None, false)), Some(Unload)),
        (Some(wanted(1, Launched, 0)), None, Some(Load)),
        (Some(wanted(1, Loaded, 0)), None, Some(Load)),
        (Some(wanted(1, Launched, 0)), Some(actual(1, Loaded, Some(0), true)), Some(Start)),
        (Some(wanted(1, Launched, 0)), Some(actual(1, Launched, Some(0), true)), None),
        (Some(wanted(1, Loaded, 0)), Some(actual(1, Launched, Some(0), true)), Some(Stop)),
        (Some(wanted(1, Loaded, 0)), Some(actual(1, Loaded, Some(0), true)), None),
        // Another file: the old one goes first.
        (Some(wanted(2, Launched, 0)), Some(actual(1, Launched, Some(0), true)), Some(Unload)),
        (Some(wanted(2, Loaded, 0)), Some(actual(1, Loaded, Some(0), true)), Some(Unload)),
        // What was interrupted is done anew.
        (Some(wanted(1, Launched, 0)), Some(actual(1, Inactive, Some(0), true)), Some(Unload)),
        (Some(wanted(1, Loaded, 0)), Some(actual(1, Inactive, Some(0), true)), Some(Unload)),
        // Restarts are carried out where it runs, and only noted where it does not.
        (Some(wanted(1, Launched, 2)), Some(actual(1, Launched, Some(1), true)), Some(Restart)),
        (Some(wanted(1, Loaded, 2)), Some(actual(1, Loaded, Some(1), true)), Some(Note)),
        (Some(wanted(1, Launched, 2)), Some(actual(1, Loaded, Some(1), true)), Some(Start)),
        (Some(wanted(1, Loaded, 2)), Some(actual(1, Launched, Some(1), true)), Some(Stop)),
        // Nobody knows how many were carried out: all of them, from now on.
        (Some(wanted(1, Launched, 2)), Some(actual(1, Launched, None, false)), Some(Note)),
        // A record that could not be written is written again, and nothing else happens.
        (Some(wanted(1, Launched, 2)), Some(actual(1, Launched, Some(2), false)), Some(Note)),
    ];
    for (desired, actual, step) in cases {
        assert_eq!(next_step(desired.as_ref(), actual.as_ref()), step, "{desired:?} {actual:?}");
    }
}

/// What a step that works brings about.
fn carried_out(step: Step, desired: Option<&Assignment>, actual: Option<Actual>) -> Option<Actual> {
    let restarts = Some(desired.map_or(0, |desired| desired.restarts));
    let to = |current| actual.map(|actual| Actual { current, restarts, noted: true, ..actual });
    match step {
        Step::Load => desired.map(|desired| Actual {
            hash: desired.hash,
            current: TargetState::Loaded,
            restarts,
            noted: true,
        }),
        Step::Start | Step::Restart => to(TargetState::Launched),
        Step::Stop => to(TargetState::Loaded),
        Step::Note => to(actual.expect("it is there").current),
        Step::Unload => None,
    }
}

fn any_assignment() -> impl Strategy<Value = Assignment> {
    let target = prop_oneof![Just(TargetState::Loaded), Just(TargetState::Launched)];
    (0..3u8, target, 0..3u64).prop_map(|(number, target, restarts)| wanted(number, target, restarts))
}

fn any_actual() -> impl Strategy<Value = Actual> {
    let current =
        prop_oneof![Just(TargetState::Inactive), Just(TargetState::Loaded), Just(TargetState::Launched)];
    (0..3u8, current, prop::option::of(0..3u64), any::<bool>())
        .prop_map(|(number, current, restarts, noted)| actual(number, current, restarts, noted))
}

proptest! {
    #[test]
    fn few_steps_lead_to_what_is_wanted(
        desired in prop::option::of(any_assignment()),
        start in prop::option::of(any_actual()),
    ) {
        let mut now = start;
        let mut steps = Vec::new();
        while let Some(step) = next_step(desired.as_ref(), now.as_ref()) {
            now = carried_out(step, desired.as_ref(), now);
            steps.push(step);
            prop_assert!(steps.len() <= 3, "{steps:?}");
        }
        match (&desired, now) {
            (None, None) => {}
            (Some(desired), Some(now)) => {
                prop_assert_eq!((now.hash, now.current), (desired.hash, desired.target));
                prop_assert_eq!((now.restarts, now.noted), (Some(desired.restarts), true));
            }
            other => prop_assert!(false, "{:?}", other),
        }
        let restarts = steps.iter().filter(|step| **step == Step::Restart).count();
        prop_assert!(restarts <= 1);
    }

    /// What runs as it should is not touched.
    #[test]
    fn nothing_stops_what_is_as_it_should_be(desired in any_assignment(), noted: bool, known: bool) {
        let restarts = known.then_some(desired.restarts);
        let actual = Actual { hash: desired.hash, current: desired.target, restarts, noted };
        let step = next_step(Some(&desired), Some(&actual));
        prop_assert!(matches!(step, None | Some(Step::Note)), "{:?}", step);
    }
}

fn requirements(conflicts: &[&str], zone: Option<&str>) -> Requirements {
    let metadata = zone.map(|zone| ("zone".to_owned(), BTreeSet::from([zone.to_owned()])));
    Requirements {
        conflicts: conflicts.iter().map(|text| (*text).to_owned()).collect(),
        metadata: metadata.into_iter().collect(),
        global: true,
        ..Requirements::default()
    }
}

fn globals(units: &[(&str, Requirements)]) -> GlobalAssignmentDocument {
    let assign = |requirements: &Requirements| GlobalAssignment {
        assignment: wanted(1, TargetState::Launched, 0),
        requirements: requirements.clone(),
    };
    let units = units.iter().map(|(unit, requirements)| (name(unit), assign(requirements)));
    GlobalAssignmentDocument { units: units.collect() }
}

fn placed(units: &[(&str, &[&str])]) -> AssignmentDocument {
    let assign = |conflicts: &[&str]| Assignment {
        conflicts: conflicts.iter().map(|text| (*text).to_owned()).collect(),
        ..wanted(1, TargetState::Launched, 0)
    };
    AssignmentDocument {
        units: units.iter().map(|(unit, conflicts)| (name(unit), assign(conflicts))).collect(),
    }
}

#[test]
fn a_machine_runs_what_is_placed_on_it_and_the_globals_that_fit() {
    let zone = |zone: &str| BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
    let here = |metadata: &BTreeMap<String, String>, placed, globals| -> Vec<String> {
        desired(metadata, placed, globals).keys().map(ToString::to_string).collect()
    };
    assert!(here(&zone("a"), None, None).is_empty());
    let document = placed(&[("p.service", &[]), ("q.service", &[])]);
    assert_eq!(here(&zone("a"), Some(&document), None), ["p.service", "q.service"]);
    let everywhere =
        globals(&[("g.service", requirements(&[], None)), ("a.service", requirements(&[], Some("a")))]);
    assert_eq!(here(&zone("a"), None, Some(&everywhere)), ["a.service", "g.service"]);
    assert_eq!(here(&zone("b"), None, Some(&everywhere)), ["g.service"]);
    // A conflict keeps the global away, whichever of the two names it; of two globals the first one wins.
    let shy = globals(&[("g.service", requirements(&["p*"], None)), ("h.service", requirements(&[], None))]);
    assert_eq!(here(&zone("a"), Some(&document), Some(&shy)), ["h.service", "p.service", "q.service"]);
    let rude = placed(&[("p.service", &["h.service"])]);
    assert_eq!(here(&zone("a"), Some(&rude), Some(&shy)), ["p.service"]);
    let rivals =
        globals(&[("g.service", requirements(&["h*"], None)), ("h.service", requirements(&[], None))]);
    assert_eq!(here(&zone("a"), None, Some(&rivals)), ["g.service"]);
}

#[test]
fn what_was_never_read_is_not_the_same_as_what_is_not_there() {
    assert!(Known::<u8>::NotYet.known().is_err());
    assert_eq!(Known::<u8>::Absent.known().unwrap(), None);
    assert_eq!(Known::Present(7).known().unwrap(), Some(&7));
}
