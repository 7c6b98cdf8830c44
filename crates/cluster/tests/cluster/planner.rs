//! The planner over random worlds.

use std::collections::{BTreeMap, BTreeSet};

use fleet_cluster::documents::{MachineId, TargetState};
use fleet_cluster::engine::{Planner, UnitSpec};
use fleet_unit::{Requirements, UnitFile, UnitName, glob};
use proptest::prelude::*;

const UNITS: u8 = 8;
const MACHINES: u8 = 4;

/// The state of the store, as the engine would read it.
#[derive(Clone, Debug, Default)]
struct World {
    units: BTreeMap<UnitName, UnitSpec>,
    machines: BTreeMap<MachineId, BTreeMap<String, String>>,
}

#[derive(Clone, Debug)]
enum Event {
    Unit { index: u8, rule: Rule, target: TargetState },
    Destroy(u8),
    Machine { index: u8, zone: u8 },
    Lose(u8),
    Revisit,
}

#[derive(Clone, Debug)]
enum Rule {
    None,
    Machine(u8),
    Zone(u8),
    Beside(u8),
    Conflict(u8),
    ConflictAll,
    Replaces(u8),
    Global,
    GlobalIn(u8),
}

fn unit(index: u8) -> UnitName {
    UnitName::parse(&format!("u{index}.service")).unwrap()
}

fn machine(index: u8) -> MachineId {
    MachineId(format!("{index:032x}"))
}

fn spec(rule: &Rule, name: &UnitName, target: TargetState) -> UnitSpec {
    let option = match rule {
        Rule::None => String::new(),
        Rule::Machine(index) => format!("MachineID={}", machine(*index)),
        Rule::Zone(zone) => format!("MachineMetadata=zone={zone}"),
        Rule::Beside(index) => format!("MachineOf={}", unit(*index)),
        Rule::Conflict(index) => format!("Conflicts={}", unit(*index)),
        Rule::ConflictAll => "Conflicts=u[0-3].*".to_owned(),
        Rule::Replaces(index) => format!("Replaces={}", unit(*index)),
        Rule::Global => "Global=true".to_owned(),
        Rule::GlobalIn(zone) => format!("Global=true\nMachineMetadata=zone={zone}\nConflicts=u7.service"),
    };
    let file = UnitFile::parse(&format!("[Service]\nExecStart=/bin/true\n[X-Fleet]\n{option}\n")).unwrap();
    UnitSpec {
        hash: file.hash(),
        requirements: Requirements::of(name, &file).map_err(|error| error.to_string()),
        target,
        machine: None,
        restarts: 0,
    }
}

fn target() -> impl Strategy<Value = TargetState> {
    prop_oneof![
        1 => Just(TargetState::Inactive),
        1 => Just(TargetState::Loaded),
        4 => Just(TargetState::Launched),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    prop_oneof![
        4 => Just(Rule::None),
        1 => (0..MACHINES).prop_map(Rule::Machine),
        1 => (0..2u8).prop_map(Rule::Zone),
        2 => (0..UNITS).prop_map(Rule::Beside),
        2 => (0..UNITS).prop_map(Rule::Conflict),
        1 => Just(Rule::ConflictAll),
        2 => (0..UNITS).prop_map(Rule::Replaces),
        1 => Just(Rule::Global),
        1 => (0..2u8).prop_map(Rule::GlobalIn),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..UNITS, rule(), target()).prop_map(|(index, rule, target)| Event::Unit { index, rule, target }),
        2 => (0..UNITS).prop_map(Event::Destroy),
        3 => (0..MACHINES, 0..2u8).prop_map(|(index, zone)| Event::Machine { index, zone }),
        2 => (0..MACHINES).prop_map(Event::Lose),
        1 => Just(Event::Revisit),
    ]
}

fn apply(world: &mut World, planner: &mut Planner, event: &Event) {
    match event {
        Event::Unit { index, rule, target } => {
            let name = unit(*index);
            let mut spec = spec(rule, &name, *target);
            spec.machine = world.units.get(&name).and_then(|old| old.machine.clone());
            world.units.insert(name.clone(), spec.clone());
            planner.set_unit(name, spec);
        }
        Event::Destroy(index) => {
            world.units.remove(&unit(*index));
            planner.remove_unit(&unit(*index));
        }
        Event::Machine { index, zone } => {
            let metadata = BTreeMap::from([("zone".to_owned(), zone.to_string())]);
            world.machines.insert(machine(*index), metadata.clone());
            planner.set_machine(&machine(*index), metadata);
        }
        Event::Lose(index) => {
            world.machines.remove(&machine(*index));
            planner.remove_machine(&machine(*index));
        }
        Event::Revisit => planner.revisit(),
    }
}

/// Plans and carries the plan out in the world.
fn carry_out(world: &mut World, planner: &mut Planner) -> BTreeSet<UnitName> {
    let mut moved = BTreeSet::new();
    for decision in planner.plan() {
        let spec = world.units.get_mut(&decision.unit).expect("a decision about a unit that is there");
        assert_eq!(spec.machine, decision.from, "{}", decision.unit);
        assert_ne!(decision.from, decision.to, "{}", decision.unit);
        spec.machine = decision.to;
        moved.insert(decision.unit);
    }
    moved
}

fn afresh(world: &World) -> Planner {
    let mut planner = Planner::new();
    for (name, spec) in &world.units {
        planner.set_unit(name.clone(), spec.clone());
    }
    for (id, metadata) in &world.machines {
        planner.set_machine(id, metadata.clone());
    }
    planner
}

fn requirements(spec: &UnitSpec) -> &Requirements {
    spec.requirements.as_ref().unwrap()
}

/// Every hard constraint of every unit that is placed on a machine that is there.
fn check_constraints(world: &World) {
    let here = |machine: &MachineId| {
        world.units.iter().filter(|(_, spec)| spec.machine.as_ref() == Some(machine)).collect::<Vec<_>>()
    };
    for (name, spec) in &world.units {
        let Some(machine) = &spec.machine else { continue };
        assert_ne!(spec.target, TargetState::Inactive, "{name} is inactive and placed");
        assert!(!requirements(spec).global, "{name} is global and placed");
        let Some(metadata) = world.machines.get(machine) else { continue };
        if let Some(wanted) = &requirements(spec).machine_id {
            assert_eq!(wanted, &machine.0, "{name}");
        }
        for (key, values) in &requirements(spec).metadata {
            assert!(values.contains(&metadata[key]), "{name} on {machine}");
        }
        let beside = here(machine);
        for pattern in &requirements(spec).conflicts {
            for (other, _) in &beside {
                assert!(*other == name || !glob::matches(pattern, other.as_str()), "{name} beside {other}");
            }
        }
        for peer in &requirements(spec).machine_of {
            let peer = UnitName::parse(peer).unwrap();
            let global = world.units.get(&peer).is_some_and(|peer| requirements(peer).global);
            assert!(global || beside.iter().any(|(other, _)| **other == peer), "{name} without {peer}");
        }
    }
}

/// What a machine is to run is what is placed on it.
fn check_assignments(world: &World, planner: &Planner) {
    for index in 0..MACHINES {
        let wanted: BTreeSet<&UnitName> = world
            .units
            .iter()
            .filter(|(_, spec)| spec.machine.as_ref() == Some(&machine(index)))
            .map(|(name, _)| name)
            .collect();
        let assignment = planner.assignment(&machine(index)).unwrap_or_default();
        assert_eq!(assignment.units.keys().collect::<BTreeSet<_>>(), wanted);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_world_is_kept_true(batches in prop::collection::vec(prop::collection::vec(event(), 1..4), 1..16)) {
        let mut world = World::default();
        let mut planner = Planner::new();
        for batch in &batches {
            for event in batch {
                apply(&mut world, &mut planner, event);
            }
            let moved = carry_out(&mut world, &mut planner);
            check_constraints(&world);
            check_assignments(&world, &planner);

            // Nothing was missed: who looks at this world for the first time has nothing to add.
            let added = afresh(&world).plan();
            prop_assert!(added.is_empty(), "missed {added:?} after {batch:?}, which moved {moved:?}");

            // Who is pending is told why.
            for (name, spec) in &world.units {
                let pending = spec.machine.is_none()
                    && spec.target != TargetState::Inactive
                    && !requirements(spec).global;
                prop_assert!(!pending || !planner.explain(name).is_empty(), "{name} waits without a reason");
                let lazy = planner.explain(name).iter().any(|reason| reason.text.contains("not got to"));
                prop_assert!(!lazy, "{name} could be placed");
            }
        }
    }

    #[test]
    fn the_same_history_gives_the_same_plan(events in prop::collection::vec(event(), 1..24)) {
        let plan = || {
            let mut world = World::default();
            let mut planner = Planner::new();
            for event in &events {
                apply(&mut world, &mut planner, event);
            }
            planner.plan()
        };
        prop_assert_eq!(plan(), plan());
    }

    #[test]
    fn a_machine_that_joins_moves_nobody(
        events in prop::collection::vec(event(), 1..24), zone in 0..2u8,
    ) {
        let mut world = World::default();
        let mut planner = Planner::new();
        for event in &events {
            apply(&mut world, &mut planner, event);
        }
        carry_out(&mut world, &mut planner);
        let before = world.clone();
        apply(&mut world, &mut planner, &Event::Machine { index: MACHINES, zone });
        for unit in carry_out(&mut world, &mut planner) {
            let waited = before.units[&unit].machine.as_ref();
            let replaced = before.units.values().any(|spec| {
                requirements(spec).replaces.iter().any(|pattern| glob::matches(pattern, unit.as_str()))
            });
            let follows = !requirements(&before.units[&unit]).machine_of.is_empty();
            prop_assert!(
                waited.is_none_or(|machine| !before.machines.contains_key(machine)) || replaced || follows,
                "{unit} moved for no reason"
            );
        }
    }

    #[test]
    fn losing_a_machine_moves_only_its_units(
        count in 1..UNITS, machines in 2..=MACHINES, lost in 0..MACHINES,
    ) {
        let mut world = World::default();
        let mut planner = Planner::new();
        for index in 0..machines {
            apply(&mut world, &mut planner, &Event::Machine { index, zone: 0 });
        }
        for index in 0..count {
            let event = Event::Unit { index, rule: Rule::None, target: TargetState::Launched };
            apply(&mut world, &mut planner, &event);
        }
        carry_out(&mut world, &mut planner);
        let before = world.clone();
        apply(&mut world, &mut planner, &Event::Lose(lost));
        let moved = carry_out(&mut world, &mut planner);
        let affected: BTreeSet<UnitName> = before
            .units
            .iter()
            .filter(|(_, spec)| spec.machine == Some(machine(lost)))
            .map(|(name, _)| name.clone())
            .collect();
        prop_assert_eq!(moved, affected);
    }
}

#[test]
fn units_spread_over_the_least_loaded_machines() {
    let (mut world, mut planner) = (World::default(), Planner::new());
    for index in 0..3 {
        apply(&mut world, &mut planner, &Event::Machine { index, zone: 0 });
    }
    for index in 0..6 {
        let event = Event::Unit { index, rule: Rule::None, target: TargetState::Launched };
        apply(&mut world, &mut planner, &event);
    }
    carry_out(&mut world, &mut planner);
    for index in 0..3 {
        assert_eq!(planner.assignment(&machine(index)).unwrap().units.len(), 2);
    }
}

#[test]
fn a_unit_on_a_lost_machine_stays_when_nobody_can_take_it() {
    let (mut world, mut planner) = (World::default(), Planner::new());
    apply(&mut world, &mut planner, &Event::Machine { index: 0, zone: 0 });
    apply(
        &mut world,
        &mut planner,
        &Event::Unit { index: 0, rule: Rule::None, target: TargetState::Launched },
    );
    carry_out(&mut world, &mut planner);
    apply(&mut world, &mut planner, &Event::Lose(0));
    assert!(carry_out(&mut world, &mut planner).is_empty());
    apply(&mut world, &mut planner, &Event::Machine { index: 0, zone: 0 });
    assert!(carry_out(&mut world, &mut planner).is_empty());
}

#[test]
fn a_held_machine_keeps_its_units_until_it_is_released() {
    let (mut world, mut planner) = (World::default(), Planner::new());
    apply(&mut world, &mut planner, &Event::Machine { index: 0, zone: 0 });
    apply(
        &mut world,
        &mut planner,
        &Event::Unit { index: 0, rule: Rule::None, target: TargetState::Launched },
    );
    carry_out(&mut world, &mut planner);
    apply(&mut world, &mut planner, &Event::Lose(0));
    planner.hold_machine(&machine(0));
    apply(&mut world, &mut planner, &Event::Machine { index: 1, zone: 0 });
    assert!(carry_out(&mut world, &mut planner).is_empty());
    planner.release_machine(&machine(0));
    assert_eq!(carry_out(&mut world, &mut planner).len(), 1);
}

#[test]
fn a_replaced_unit_moves_and_two_that_replace_each_other_never_both_run() {
    let (mut world, mut planner) = (World::default(), Planner::new());
    for index in 0..2 {
        apply(&mut world, &mut planner, &Event::Machine { index, zone: 0 });
    }
    let launch = |index, rule| Event::Unit { index, rule, target: TargetState::Launched };
    apply(&mut world, &mut planner, &launch(0, Rule::None));
    carry_out(&mut world, &mut planner);
    apply(&mut world, &mut planner, &launch(1, Rule::None));
    apply(&mut world, &mut planner, &launch(2, Rule::Beside(1)));
    carry_out(&mut world, &mut planner);
    assert_eq!(world.units[&unit(0)].machine, Some(machine(0)));
    apply(&mut world, &mut planner, &launch(3, Rule::Replaces(0)));
    carry_out(&mut world, &mut planner);
    assert_eq!(world.units[&unit(3)].machine, Some(machine(0)));
    assert_eq!(world.units[&unit(0)].machine, Some(machine(1)));

    apply(&mut world, &mut planner, &launch(4, Rule::Replaces(5)));
    carry_out(&mut world, &mut planner);
    apply(&mut world, &mut planner, &launch(5, Rule::Replaces(4)));
    carry_out(&mut world, &mut planner);
    assert_eq!(world.units[&unit(5)].machine, None);
    assert!(planner.explain(&unit(5))[0].text.contains("replace each other"));
}
