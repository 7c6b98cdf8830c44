//! What happens in a random world.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet_cluster::documents::TargetState;
use fleet_simulation::systemd::{Kind, Outcome};
use fleet_simulation::{Condition, Faults, Script, Settings};
use fleet_store::contract::MAX_BODY;
use fleet_unit::UnitName;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::world::{TTL, World, check_empty, name, service};

/// After the last fault everything is as it should be within this: leases end, a failed step is tried again
/// after a minute at the latest, and a leader reads everything again within another.
const CONVERGENCE_MAX: Duration = Duration::from_secs(150);

/// Tells the time that has passed in a world.
pub(crate) struct Elapsed;

impl FormatTime for Elapsed {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        BEGUN.with(|begun| match begun.get() {
            Some(begun) => write!(writer, "{:>9.3}", begun.elapsed().as_secs_f64()),
            None => write!(writer, "{:>9}", "-"),
        })
    }
}

thread_local! {
    /// When the world of this thread began.
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A world with a history.
pub(crate) struct Life {
    seed: u64,
    random: StdRng,
    begun: Instant,
    world: World,
    log: Vec<String>,
    units: BTreeSet<UnitName>,
    /// The processes when the epoch began.
    before: BTreeMap<(usize, UnitName), u64>,
    /// What was installed when the epoch began: what has died is no process.
    installed: BTreeSet<(usize, UnitName)>,
    /// Units that somebody had a reason to touch since everything was as it should be.
    touched: BTreeSet<UnitName>,
    /// When the machine itself was last in trouble: it may have lost its registration for that.
    troubled: BTreeMap<usize, Instant>,
    version: u32,
}

impl Drop for Life {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("FLEET_SEED={}\n{}", self.seed, self.log.join("\n"));
        }
    }
}

impl Life {
    pub(crate) async fn begin(seed: u64) -> Life {
        let mut random = StdRng::seed_from_u64(seed);
        let machines = random.random_range(2..=4);
        let watches = random.random_bool(0.9);
        // In half of the worlds few units of a machine fit into one document.
        let document_max = if random.random_bool(0.5) { MAX_BODY } else { 400 };
        let settings = Settings { ttl: TTL, watches, document_max, ..Settings::default() };
        let world = World::new(seed, machines, settings).await;
        let begun = Instant::now();
        BEGUN.with(|of_thread| of_thread.set(Some(begun)));
        let mut life = Life {
            seed,
            random,
            begun,
            world,
            log: Vec::new(),
            units: BTreeSet::new(),
            before: BTreeMap::new(),
            installed: BTreeSet::new(),
            touched: BTreeSet::new(),
            troubled: BTreeMap::new(),
            version: 0,
        };
        life.note(format!("{machines} machines, watches: {watches}, documents: {document_max}"));
        for _ in 0..life.random.random_range(2..8) {
            life.create().await;
        }
        life.world.settle("the first units", CONVERGENCE_MAX).await;
        life
    }

    fn note(&mut self, text: impl std::fmt::Display) {
        self.log.push(format!("{:>9.3} {text}", self.begun.elapsed().as_secs_f64()));
    }

    fn pick_unit(&mut self) -> Option<UnitName> {
        let index = self.random.random_range(0..self.units.len().max(1));
        self.units.iter().nth(index).cloned()
    }

    fn pick_machine(&mut self) -> usize {
        self.random.random_range(0..self.world.machines.len())
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.random.random::<f64>())
    }

    /// Somebody has a reason to touch a unit; then those that have a relation to it may move as well.
    fn touch(&mut self, unit: &UnitName) {
        self.touched.insert(unit.clone());
        if unit.as_str().starts_with(['c', 'p']) {
            let related = self.units.iter().filter(|other| other.as_str().starts_with(['c', 'p'])).cloned();
            self.touched.extend(related);
        }
    }

    /// Everything on a machine may be touched.
    fn touch_machine(&mut self, machine: usize) {
        // Those that were there when the epoch began may have been moved already.
        let were = self.installed.iter().filter(|(at, _)| *at == machine).map(|(_, unit)| unit.clone());
        let are = self.world.machines[machine].systemd.look().into_keys();
        let there: BTreeSet<UnitName> = were.chain(are).collect();
        there.iter().for_each(|unit| self.touch(unit));
        self.trouble(machine);
    }

    /// The machine may lose its registration, but need not.
    fn trouble(&mut self, machine: usize) {
        self.troubled.insert(machine, Instant::now());
    }

    /// Machines that lost their registration for trouble of their own lose their units.
    fn note_losses(&mut self) {
        for lost in self.world.referee.ask(|seen| std::mem::take(&mut seen.lost)) {
            let Some(machine) = self.world.machines.iter().position(|machine| machine.id.0 == lost) else {
                continue;
            };
            let recently = self.troubled.get(&machine).is_some_and(|at| at.elapsed() < TTL + TTL);
            self.note(format!("machine {machine} is lost, of its own: {recently}"));
            if recently {
                self.touch_machine(machine);
            }
        }
    }

    pub(crate) async fn epoch(&mut self) {
        (self.touched, self.installed) = Default::default();
        self.before = self.world.processes();
        for (at, machine) in self.world.machines.iter().enumerate() {
            self.installed.extend(machine.systemd.look().into_keys().map(|unit| (at, unit)));
        }
        for _ in 0..self.random.random_range(1..10) {
            self.event().await;
            self.note_losses();
            let pause = self.up_to(Duration::from_secs(3));
            sleep(pause).await;
            self.note_losses();
        }
        self.note("every fault ends");
        self.world.heal();
        self.world.settle("the end of an epoch", CONVERGENCE_MAX).await;
        self.note_losses();
        self.note("everything is as it should be");
        let after = self.world.processes();
        let untouched = |(key, process): (&(usize, UnitName), &u64)| {
            (!self.touched.contains(&key.1)).then(|| (key.clone(), *process))
        };
        let before: BTreeMap<_, _> = self.before.iter().filter_map(untouched).collect();
        let after: BTreeMap<_, _> = after.iter().filter_map(untouched).collect();
        assert_eq!(before, after, "what nobody touched is not the same");
    }

    /// Destroys everything; nothing may be left.
    pub(crate) async fn end(&mut self) -> Vec<String> {
        for unit in std::mem::take(&mut self.units) {
            self.world.admin.destroy(&unit).await;
        }
        self.world.settle("destroying everything", CONVERGENCE_MAX).await;
        check_empty(&self.world.memory);
        for machine in &self.world.machines {
            for deed in machine.systemd.deeds() {
                let at = deed.at.duration_since(self.begun);
                self.log.push(format!("{} {at:?} {} {:?}", machine.id, deed.unit, deed.act));
            }
        }
        self.log.clone()
    }

    async fn event(&mut self) {
        match self.random.random_range(0..27) {
            0..=2 => self.create().await,
            3 => self.retarget().await,
            4 => self.replace().await,
            5 => self.restart().await,
            6 => self.destroy().await,
            7 => self.kill(),
            8..=9 => self.crash().await,
            10 => self.reload().await,
            11 => self.stop_for_a_while().await,
            12 => self.power_off().await,
            13 => self.hand_over().await,
            14..=16 => self.outage().await,
            17 => self.cut_one().await,
            18..=19 => self.unsteady_link(),
            20 => self.slow_systemd(),
            21 => self.failing_systemd(),
            22 => self.systemd_away().await,
            23 => self.misbehave(),
            24 => self.compact().await,
            25 => self.crash_leader().await,
            _ => self.lose_records().await,
        }
    }

    async fn create(&mut self) {
        let index = self.random.random_range(0..4);
        let (unit, fleet) = match self.random.random_range(0..12) {
            0..=4 => (format!("s{index}.service"), String::new()),
            5 => (format!("z{index}.service"), format!("MachineMetadata=zone={}", index % 2)),
            6 => (
                format!("m{index}.service"),
                format!("MachineID={}", format!("{:02x}", index % 2 + 1).repeat(16)),
            ),
            7 => (format!("c{index}.service"), "Conflicts=c*.service".to_owned()),
            8 => (format!("p{index}.service"), "MachineOf=c0.service".to_owned()),
            9 => (format!("g{index}.service"), "Global=true".to_owned()),
            10 => (format!("h{index}.service"), "Global=true\nMachineMetadata=zone=1".to_owned()),
            _ => (format!("o{index}.service"), String::new()),
        };
        let unit = name(&unit);
        self.units.insert(unit.clone());
        self.touch(&unit);
        let starting = self.up_to(Duration::from_secs(2));
        let stopping = self.up_to(Duration::from_secs(2));
        let oneshot = unit.as_str().starts_with('o');
        if oneshot {
            self.world.may_be_down.insert(unit.clone());
        }
        let kind = if oneshot { Kind::Oneshot } else { Kind::Service };
        self.world.scripts.set(&unit, Script { kind, starting, stopping, ..Script::default() });
        let target = self.target();
        self.version += 1;
        let file = service(&format!("{}", self.version), &fleet);
        self.note(format!("{unit} is created or replaced: {target:?}, hash {}", file.hash().short()));
        self.world.admin.put(&unit, &file, target).await;
    }

    fn target(&mut self) -> TargetState {
        match self.random.random_range(0..6) {
            0 => TargetState::Inactive,
            1 => TargetState::Loaded,
            _ => TargetState::Launched,
        }
    }

    async fn retarget(&mut self) {
        let Some(unit) = self.pick_unit() else { return };
        let target = self.target();
        self.touch(&unit);
        self.note(format!("{unit} should be {target:?}"));
        self.world.admin.set_target(&unit, target).await;
    }

    async fn replace(&mut self) {
        let Some(unit) = self.pick_unit() else { return };
        self.touch(&unit);
        self.version += 1;
        let version = self.version;
        self.note(format!("{unit} gets another file"));
        self.world
            .admin
            .change(&unit, |there| {
                let mut there = there.expect("it is there");
                let old = there.options.iter_mut().find(|option| option.name == "ExecStart");
                old.expect("it has one").value = format!("/bin/echo {version}");
                Some(there)
            })
            .await;
    }

    async fn restart(&mut self) {
        let Some(unit) = self.pick_unit() else { return };
        self.touch(&unit);
        self.note(format!("{unit} is to be restarted"));
        self.world.admin.restart(&unit).await;
    }

    async fn destroy(&mut self) {
        let Some(unit) = self.pick_unit() else { return };
        self.touch(&unit);
        self.units.remove(&unit);
        self.note(format!("{unit} is destroyed"));
        self.world.admin.destroy(&unit).await;
    }

    fn kill(&mut self) {
        let Some(unit) = self.pick_unit() else { return };
        self.touch(&unit);
        self.note(format!("{unit} dies"));
        self.world.may_be_down.insert(unit.clone());
        for machine in &self.world.machines {
            machine.systemd.kill(&unit);
        }
    }

    async fn crash(&mut self) {
        let machine = self.pick_machine();
        self.crash_one(machine).await;
    }

    async fn crash_leader(&mut self) {
        if let Some(machine) = self.world.leader() {
            self.crash_one(machine).await;
        }
    }

    async fn crash_one(&mut self, machine: usize) {
        let away = self.up_to(TTL / 4);
        self.note(format!("the daemon of {machine} crashes, and is away for {away:?}"));
        self.trouble(machine);
        let was_running = self.world.machines[machine].is_running();
        self.world.machines[machine].crash().await;
        sleep(away).await;
        if was_running {
            self.world.machines[machine].start();
        }
        self.trouble(machine);
    }

    async fn reload(&mut self) {
        let machine = self.pick_machine();
        self.note(format!("the daemon of {machine} reloads"));
        self.world.machines[machine].reload().await;
    }

    async fn stop_for_a_while(&mut self) {
        let machine = self.pick_machine();
        let away = self.up_to(TTL / 4);
        self.note(format!("the daemon of {machine} is restarted, and is away for {away:?}"));
        self.trouble(machine);
        let was_running = self.world.machines[machine].is_running();
        self.world.machines[machine].stop().await;
        sleep(away).await;
        if was_running {
            self.world.machines[machine].start();
        }
        self.trouble(machine);
    }

    async fn power_off(&mut self) {
        let machine = self.pick_machine();
        let boots = self.random.random_bool(0.5);
        self.note(format!("{machine} loses its power, and boots at once: {boots}"));
        self.touch_machine(machine);
        self.world.machines[machine].reboot().await;
        if boots {
            self.world.machines[machine].start();
        }
    }

    async fn hand_over(&mut self) {
        let machine = self.pick_machine();
        self.touch_machine(machine);
        let done = self.world.machines[machine].hand_over(Duration::from_secs(20)).await;
        self.note(format!("{machine} has handed over: {done}"));
        self.touch_machine(machine);
    }

    async fn outage(&mut self) {
        let long = self.random.random_bool(0.5);
        // Just as long as the time to live, some machines lose their lease and others do not: those are lost.
        let time = if long { TTL + TTL / 4 + self.up_to(TTL) } else { self.up_to(TTL / 2) };
        let frozen = self.random.random_bool(0.5);
        let condition = if self.random.random_bool(0.5) { Condition::Refusing } else { Condition::Silent };
        self.note(format!("the store is {condition:?} for {time:?}, its leases are frozen: {frozen}"));
        if frozen {
            self.world.memory.freeze();
        }
        self.world.set_links(condition);
        if self.random.random_bool(0.3) {
            let machine = self.pick_machine();
            self.note(format!("the daemon of {machine} restarts meanwhile"));
            self.world.machines[machine].crash().await;
            self.world.machines[machine].start();
        }
        sleep(time).await;
        self.world.set_links(Condition::Up);
        if frozen {
            self.world.memory.thaw();
        }
        self.note("the store is back");
    }

    async fn cut_one(&mut self) {
        let machine = self.pick_machine();
        let time = self.up_to(TTL * 2);
        self.note(format!("{machine} is cut off for {time:?}"));
        self.trouble(machine);
        self.world.machines[machine].link.set(Condition::Silent);
        if self.random.random_bool(0.3) {
            self.world.admin.compact().await;
        }
        sleep(time).await;
        self.world.machines[machine].link.set(Condition::Up);
        self.trouble(machine);
    }

    fn unsteady_link(&mut self) {
        let machine = self.pick_machine();
        let latency = self.up_to(Duration::from_millis(30));
        let faults = Faults {
            latency: Duration::ZERO..=latency,
            lost_requests: 0.01,
            lost_answers: 0.02,
            delayed_writes: 0.5,
            delay_max: Duration::from_secs(4),
            failing_watches: 0.1,
        };
        self.note(format!("the link of {machine} is unsteady: {latency:?}"));
        self.world.machines[machine].link.set_faults(faults);
    }

    fn slow_systemd(&mut self) {
        let machine = self.pick_machine();
        let latency = self.up_to(Duration::from_millis(500));
        self.note(format!("systemd of {machine} is slow: {latency:?}"));
        self.world.machines[machine].systemd.set_latency(Duration::ZERO..=latency);
    }

    fn failing_systemd(&mut self) {
        let machine = self.pick_machine();
        self.note(format!("calls to systemd of {machine} fail now and then"));
        self.world.machines[machine].systemd.set_failing_calls(0.2);
        self.world.machines[machine].systemd.set_failing_records(0.2);
    }

    async fn systemd_away(&mut self) {
        let machine = self.pick_machine();
        let time = self.up_to(Duration::from_secs(5));
        self.note(format!("systemd of {machine} is away for {time:?}"));
        self.world.machines[machine].systemd.cut();
        if self.random.random_bool(0.5) {
            self.world.machines[machine].systemd.end_subscription();
        }
        sleep(time).await;
        self.world.machines[machine].systemd.mend();
    }

    fn misbehave(&mut self) {
        let Some(unit) = self.pick_unit() else { return };
        self.touch(&unit);
        let outcome = if self.random.random_bool(0.5) { Outcome::Hangs } else { Outcome::Fails };
        let mut script = self.world.scripts.of(&unit);
        let what = match self.random.random_range(0..4) {
            0 => &mut script.install,
            1 => &mut script.uninstall,
            2 => {
                self.world.may_be_down.insert(unit.clone());
                &mut script.start
            }
            _ => &mut script.stop,
        };
        *what = outcome;
        self.note(format!("{unit} misbehaves: {script:?}"));
        self.world.scripts.set(&unit, script);
    }

    async fn compact(&mut self) {
        self.note("the history is forgotten");
        self.world.admin.compact().await;
    }

    /// The records of a machine are lost while its daemon is away.
    async fn lose_records(&mut self) {
        let machine = self.pick_machine();
        let share = self.random.random::<f64>();
        self.note(format!("the daemon of {machine} crashes, and records are gone"));
        let was_running = self.world.machines[machine].is_running();
        self.world.machines[machine].crash().await;
        let units: Vec<UnitName> = self.world.machines[machine].systemd.look().into_keys().collect();
        for unit in units {
            if self.random.random_bool(share) {
                self.world.machines[machine].systemd.lose_record(&unit);
            }
        }
        if was_running {
            self.world.machines[machine].start();
        }
        self.trouble(machine);
    }
}
