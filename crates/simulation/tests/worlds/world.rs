//! A cluster: its store, its machines, the person who uses it, and what must hold in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet_cluster::agent::decide::desired;
use fleet_cluster::documents::{
    ASSIGNMENTS, Assignment, AssignmentDocument, ENGINE, GLOBALS, GlobalAssignmentDocument, MACHINE_METADATA,
    MACHINES, MachineDocument, MachineId, MetadataDocument, STATES, StateDocument, TargetState, UNITS,
    UnitDocument, UnitSet, state_id,
};
use fleet_cluster::engine::{Planner, UnitSpec};
use fleet_cluster::sets::{Head, assemble, part_id, set_of_part};
use fleet_simulation::systemd::{Act, Look};
use fleet_simulation::{Condition, Faults, Machine, Memory, Scripts, Settings};
use fleet_store::Collection;
use fleet_unit::{Requirements, UnitFile, UnitName};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::admin::Admin;
use crate::referee::Referee;

/// A cluster.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) memory: Memory,
    pub(crate) admin: Admin,
    pub(crate) machines: Vec<Machine>,
    pub(crate) scripts: Scripts,
    pub(crate) referee: Referee,
    /// Units whose process has died by itself, or ends by itself.
    pub(crate) may_be_down: BTreeSet<UnitName>,
}

/// A unit's name.
pub(crate) fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

/// A service that says `word`, with options of `[X-Fleet]`.
pub(crate) fn service(word: &str, fleet: &str) -> UnitFile {
    UnitFile::parse(&format!("[Service]\nExecStart=/bin/echo {word}\n[X-Fleet]\n{fleet}\n")).unwrap()
}

/// The time to live of a machine's registration here.
pub(crate) const TTL: Duration = Duration::from_secs(10);

/// Everything that no lease and no back-off is waited for is done within this.
pub(crate) const SOON: Duration = Duration::from_secs(3);

/// Settings with a short time to live.
pub(crate) fn settings() -> Settings {
    Settings { ttl: TTL, ..Settings::default() }
}

impl World {
    /// A cluster whose machines are members already. Machine `n` (from 1) has the metadata `zone=<n mod 2>`.
    pub(crate) async fn new(seed: u64, machines: u8, settings: Settings) -> World {
        let memory = Memory::new(seed);
        let scripts = Scripts::default();
        let boot = |number: u8| {
            let metadata = BTreeMap::from([("zone".to_owned(), (number % 2).to_string())]);
            Machine::boot(number, seed, &memory, &scripts, settings.clone(), metadata)
        };
        let machines = (1..=machines).map(boot).collect();
        let (admin, referee) = (Admin::new(&memory), Referee::new(&memory));
        let may_be_down = BTreeSet::new();
        let mut world = World { memory, admin, machines, scripts, referee, may_be_down };
        for machine in &mut world.machines {
            machine.start();
        }
        world.settle("a new cluster", SOON).await;
        world
    }

    /// Starts a unit and waits until it runs. Returns the index of its machine.
    pub(crate) async fn start(&mut self, unit: &UnitName, file: &UnitFile) -> usize {
        self.admin.put(unit, file, TargetState::Launched).await;
        self.settle(unit.as_str(), Duration::from_secs(10)).await;
        self.index_of(unit).expect("a started unit is on a machine")
    }

    /// The index of the machine that has a unit installed.
    pub(crate) fn index_of(&self, unit: &UnitName) -> Option<usize> {
        self.machines.iter().position(|machine| machine.systemd.look().contains_key(unit))
    }

    /// The index of the leader's machine.
    pub(crate) fn leader(&self) -> Option<usize> {
        let document = self.memory.documents(&ENGINE).into_iter().next()?;
        let leader: serde_json::Value = serde_json::from_slice(&document.body).ok()?;
        self.machines.iter().position(|machine| leader["machine"] == machine.id.0.as_str())
    }

    /// The running processes: by machine and unit.
    pub(crate) fn processes(&self) -> BTreeMap<(usize, UnitName), u64> {
        let of_machine = |(index, machine): (usize, &Machine)| {
            let looks = machine.systemd.look().into_iter();
            looks.filter_map(move |(name, look)| Some(((index, name), look.process?))).collect::<Vec<_>>()
        };
        self.machines.iter().enumerate().flat_map(of_machine).collect()
    }

    /// How often something was done with a unit, on all machines.
    pub(crate) fn count(&self, unit: &UnitName, act: &Act) -> usize {
        let of = |machine: &Machine| {
            let deeds = machine.systemd.deeds();
            deeds.iter().filter(|deed| deed.unit == *unit && deed.act == *act).count()
        };
        self.machines.iter().map(of).sum()
    }

    /// Cuts every machine off the store, or mends that.
    pub(crate) fn set_links(&self, condition: Condition) {
        for machine in &self.machines {
            machine.link.set(condition);
        }
    }

    /// Ends every fault. Machines without power boot again, daemons that do not run start again.
    pub(crate) fn heal(&mut self) {
        self.memory.thaw();
        self.set_links(Condition::Up);
        self.scripts.mend();
        for machine in &mut self.machines {
            machine.link.set_faults(Faults::default());
            machine.systemd.set_latency(Duration::ZERO..=Duration::ZERO);
            machine.systemd.set_failing_calls(0.0);
            machine.systemd.set_failing_records(0.0);
            machine.systemd.mend();
            machine.start();
        }
    }

    /// Waits until everything is as people want it.
    pub(crate) async fn settle(&mut self, what: &str, limit: Duration) {
        let begun = Instant::now();
        while let Some(trouble) = self.trouble() {
            self.check();
            assert!(begun.elapsed() < limit, "{what}: not within {limit:?}: {trouble}");
            // Often at first; comparing everything takes its time.
            let pause = if begun.elapsed() < SOON { 50 } else { 500 };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        self.check();
    }

    /// What must never be.
    pub(crate) fn check(&self) {
        let violations = self.referee.ask(|seen| {
            seen.check_assigned();
            seen.violations.clone()
        });
        assert!(violations.is_empty(), "{violations:#?}");
        for machine in &self.machines {
            let deeds = machine.systemd.deeds();
            let misuse = deeds.iter().find(|deed| matches!(deed.act, Act::Misused(_)));
            assert_eq!(misuse, None);
        }
    }

    fn read<T: DeserializeOwned>(
        &self,
        collection: &'static Collection,
    ) -> Result<BTreeMap<String, T>, String> {
        let documents = self.memory.documents(collection).into_iter();
        let decoded = documents.map(|document| match serde_json::from_slice(&document.body) {
            Ok(value) => Ok((document.id, value)),
            Err(error) => Err(format!("{}/{} cannot be read: {error}", collection.name, document.id)),
        });
        decoded.collect()
    }

    /// Sets of units. Every part must be needed.
    fn read_sets<U: DeserializeOwned>(
        &self,
        collection: &'static Collection,
    ) -> Result<BTreeMap<String, UnitSet<U>>, String> {
        let documents: BTreeMap<String, Head<U>> = self.read(collection)?;
        let (mut parts, heads): (BTreeMap<_, _>, BTreeMap<_, _>) =
            documents.into_iter().partition(|(id, _)| set_of_part(id).is_some());
        let mut sets = BTreeMap::new();
        for (id, head) in heads {
            let part = |name: &str| match parts.remove(&part_id(&id, name)) {
                Some(Head::Whole(part)) => Some(part),
                _ => None,
            };
            let set = assemble(head, part).ok_or_else(|| format!("{}/{id} lacks a part", collection.name))?;
            sets.insert(id, set);
        }
        let litter: Vec<String> = parts.into_keys().collect();
        if litter.is_empty() { Ok(sets) } else { Err(format!("{} has litter: {litter:?}", collection.name)) }
    }

    /// What is not as it should be.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.compare().err()
    }

    fn compare(&self) -> Result<(), String> {
        let units: BTreeMap<String, UnitDocument> = self.read(&UNITS)?;
        let machines: BTreeMap<String, MachineDocument> = self.read(&MACHINES)?;
        let overrides: BTreeMap<String, MetadataDocument> = self.read(&MACHINE_METADATA)?;
        let assignments: BTreeMap<String, AssignmentDocument> = self.read_sets(&ASSIGNMENTS)?;
        let globals: BTreeMap<String, GlobalAssignmentDocument> = self.read_sets(&GLOBALS)?;
        let states: BTreeMap<String, StateDocument> = self.read(&STATES)?;
        let running: BTreeSet<String> = self.running().map(|machine| machine.id.0.clone()).collect();
        let members: BTreeSet<String> = machines.keys().cloned().collect();
        if members != running {
            return Err(format!("members are {members:?}, not {running:?}"));
        }
        if self.leader().is_none() {
            return Err("there is no leader".to_owned());
        }
        let metadata = |machine: &str| {
            let own = &machines[machine].metadata;
            overrides.get(machine).map_or_else(|| own.clone(), |document| document.apply(own))
        };
        let mut planner = Planner::new();
        for (unit, document) in &units {
            planner.set_unit(name(unit), spec(&name(unit), document));
        }
        for machine in machines.keys() {
            planner.set_machine(&MachineId(machine.clone()), metadata(machine));
        }
        let plan = planner.plan();
        if !plan.is_empty() {
            return Err(format!("still to be done: {plan:?}"));
        }
        self.compare_derived(&planner, &assignments, globals.get("all"))?;
        let mut published = BTreeSet::new();
        for machine in self.running() {
            let id = &machine.id.0;
            let wanted = desired(&metadata(id), assignments.get(id), globals.get("all"));
            let there = machine.systemd.look();
            compare_names(id, wanted.keys(), there.keys())?;
            for (unit, assignment) in &wanted {
                let look = &there[unit];
                self.compare_unit(id, unit, assignment, look)?;
                let state = states.get(&state_id(unit.as_str(), &machine.id));
                compare_state(id, unit, assignment, look, state)?;
                published.insert(state_id(unit.as_str(), &machine.id));
            }
        }
        compare_names("states", &published, states.keys())
    }

    fn running(&self) -> impl Iterator<Item = &Machine> {
        self.machines.iter().filter(|machine| machine.is_running())
    }

    fn compare_derived(
        &self,
        planner: &Planner,
        assignments: &BTreeMap<String, AssignmentDocument>,
        globals: Option<&GlobalAssignmentDocument>,
    ) -> Result<(), String> {
        let placed: BTreeSet<&MachineId> = planner.machines_with_units().collect();
        for machine in placed.iter().map(|id| id.0.as_str()).chain(assignments.keys().map(String::as_str)) {
            let wanted = planner.assignment(&MachineId(machine.to_owned()));
            if wanted.as_ref() != assignments.get(machine) {
                let there = assignments.get(machine);
                return Err(format!("{machine} is assigned {there:?}, not {wanted:?}"));
            }
        }
        if planner.global_assignment().as_ref() != globals {
            return Err(format!("globals are {globals:?}"));
        }
        Ok(())
    }

    fn compare_unit(
        &self,
        machine: &str,
        unit: &UnitName,
        wanted: &Assignment,
        look: &Look,
    ) -> Result<(), String> {
        let is_up = look.process.is_some();
        let right = match wanted.target {
            TargetState::Launched => is_up || self.may_be_down.contains(unit),
            TargetState::Loaded | TargetState::Inactive => !is_up,
        };
        let restarts = look.record.map(|record| record.restarts);
        let settled = matches!(look.state.active.as_str(), "active" | "inactive" | "failed");
        if look.hash == wanted.hash && look.linked && right && settled && restarts == Some(wanted.restarts) {
            return Ok(());
        }
        Err(format!("{unit} on {machine} is {look:?}, not {wanted:?}"))
    }
}

fn spec(name: &UnitName, document: &UnitDocument) -> UnitSpec {
    let file = document.file();
    UnitSpec {
        hash: file.hash(),
        requirements: Requirements::of(name, &file).map_err(|error| error.to_string()),
        target: document.desired_state,
        machine: document.machine.clone(),
        restarts: document.restarts,
    }
}

fn compare_names<'a, T: Ord + std::fmt::Debug + 'a>(
    what: &str,
    wanted: impl IntoIterator<Item = &'a T>,
    there: impl IntoIterator<Item = &'a T>,
) -> Result<(), String> {
    let (wanted, there) = (BTreeSet::from_iter(wanted), BTreeSet::from_iter(there));
    if wanted == there { Ok(()) } else { Err(format!("{what}: {there:?}, not {wanted:?}")) }
}

fn compare_state(
    machine: &str,
    unit: &UnitName,
    wanted: &Assignment,
    look: &Look,
    state: Option<&StateDocument>,
) -> Result<(), String> {
    let Some(state) = state else { return Err(format!("{unit} on {machine} has no state")) };
    let told = (&state.load, &state.active, &state.sub);
    let is = (&look.state.load, &look.state.active, &look.state.sub);
    if told == is
        && state.hash == look.hash
        && state.current == wanted.target
        && state.restarts == wanted.restarts
    {
        return Ok(());
    }
    Err(format!("{unit} on {machine} is told to be {state:?}, but is {look:?}"))
}

/// Nothing is left but the machines and their leader.
pub(crate) fn check_empty(memory: &Memory) {
    for collection in [&UNITS, &ASSIGNMENTS, &GLOBALS, &STATES] {
        assert_eq!(memory.documents(collection), [], "{}", collection.name);
    }
    assert_eq!(memory.documents(&ENGINE).len(), 1);
}
