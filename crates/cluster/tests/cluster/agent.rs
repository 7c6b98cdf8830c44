//! One agent with a scripted service manager and documents that the test gives it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleet_cluster::agent::{Agent, Outbox, Sources};
use fleet_cluster::documents::{
    AssignmentDocument, GlobalAssignment, GlobalAssignmentDocument, MetadataDocument, TargetState, UNITS,
    UnitDocument,
};
use fleet_cluster::follow::Known;
use fleet_cluster::presence::{MachineInfo, Membership};
use fleet_simulation::systemd::{Act, Outcome};
use fleet_simulation::{Condition, Script, Scripted, Scripts};
use fleet_store::{Expect, LeaseId, Typed};
use fleet_unit::{Requirements, UnitFile, UnitName};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::kit::{Kit, assignment, file, machine, name, until};

const SOON: Duration = Duration::from_secs(2);

struct Bench {
    kit: Kit,
    scripts: Scripts,
    systemd: Arc<Scripted>,
    outbox: Outbox,
    assignment: watch::Sender<Known<AssignmentDocument>>,
    globals: watch::Sender<Known<GlobalAssignmentDocument>>,
    overrides: watch::Sender<Known<MetadataDocument>>,
    membership: watch::Sender<Membership>,
    info: watch::Sender<MachineInfo>,
    agent: Option<(JoinHandle<()>, CancellationToken, CancellationToken)>,
}

impl Bench {
    fn new() -> Bench {
        let scripts = Scripts::default();
        Bench {
            kit: Kit::new(),
            systemd: Arc::new(Scripted::new(1, &scripts)),
            scripts,
            outbox: Outbox::default(),
            assignment: watch::Sender::new(Known::NotYet),
            globals: watch::Sender::new(Known::NotYet),
            overrides: watch::Sender::new(Known::NotYet),
            membership: watch::Sender::new(Membership::Member { lease: LeaseId(1), former: None }),
            info: watch::Sender::new(MachineInfo::default()),
            agent: None,
        }
    }

    /// An agent to which everything is known, and nothing is assigned.
    fn ready() -> Bench {
        let mut bench = Bench::new();
        bench.assignment.send_replace(Known::Absent);
        bench.globals.send_replace(Known::Absent);
        bench.overrides.send_replace(Known::Absent);
        bench.begin();
        bench
    }

    fn begin(&mut self) {
        let sources = Sources {
            assignment: self.assignment.subscribe(),
            globals: self.globals.subscribe(),
            overrides: self.overrides.subscribe(),
            info: self.info.subscribe(),
        };
        let units = Typed::new(Arc::clone(&self.kit.store), &UNITS);
        let systemd = Arc::clone(&self.systemd);
        let agent = Agent::new(machine(1), systemd, units, self.outbox.clone(), sources)
            .only_as_member(self.membership.subscribe());
        let (stop, hand_over) = (CancellationToken::new(), CancellationToken::new());
        let task = tokio::spawn(agent.run(stop.clone(), hand_over.clone()));
        self.agent = Some((task, stop, hand_over));
    }

    async fn end(&mut self) {
        if let Some((task, stop, _)) = self.agent.take() {
            stop.cancel();
            task.await.unwrap();
        }
    }

    async fn store(&self, unit: &UnitName, file: &UnitFile) {
        let units = Typed::new(Arc::clone(&self.kit.admin), &UNITS);
        let document = UnitDocument {
            options: file.options().to_vec(),
            desired_state: TargetState::Launched,
            machine: Some(machine(1)),
            restarts: 0,
        };
        units.put(unit.as_str(), &document, Expect::Any, None, None).await.unwrap();
    }

    /// Stores units and assigns them, and nothing else.
    async fn assign(&self, units: &[(&str, &str, TargetState)]) {
        let mut document = AssignmentDocument::default();
        for (unit, word, target) in units {
            self.store(&name(unit), &file(word)).await;
            document.units.insert(name(unit), assignment(&file(word), *target, 0));
        }
        self.assignment.send_replace(Known::Present(document));
    }

    fn is_up(&self, unit: &str) -> bool {
        self.systemd.look().get(&name(unit)).is_some_and(|look| look.process.is_some())
    }

    fn acts(&self, unit: &str) -> Vec<Act> {
        let deeds = self.systemd.deeds().into_iter();
        deeds.filter(|deed| deed.unit == name(unit)).map(|deed| deed.act).collect()
    }
}

use TargetState::{Launched, Loaded};

#[tokio::test(start_paused = true)]
async fn as_long_as_anything_is_not_known_nothing_is_touched() {
    let mut bench = Bench::ready();
    bench.assign(&[("a.service", "one", Launched)]).await;
    until("a runs", SOON, || bench.is_up("a.service")).await;
    bench.end().await;
    let before = bench.acts("a.service");
    for unknown in 0..3 {
        bench.assignment.send_replace(if unknown == 0 { Known::NotYet } else { Known::Absent });
        bench.globals.send_replace(if unknown == 1 { Known::NotYet } else { Known::Absent });
        bench.overrides.send_replace(if unknown == 2 { Known::NotYet } else { Known::Absent });
        bench.begin();
        sleep(Duration::from_secs(3600)).await;
        bench.info.send_replace(MachineInfo { public_ip: unknown.to_string(), metadata: BTreeMap::new() });
        sleep(SOON).await;
        assert_eq!(bench.acts("a.service"), before);
        bench.end().await;
    }
    bench.overrides.send_replace(Known::Absent);
    bench.begin();
    until("a goes", SOON, || bench.systemd.look().is_empty()).await;
}

/// Overrides that nobody can read count as none, but they may be why a global unit is here.
#[tokio::test(start_paused = true)]
async fn overrides_that_cannot_be_read_hold_nothing_up_and_stop_nothing() {
    let mut bench = Bench::ready();
    let wants = |metadata: &[(&str, &str)]| GlobalAssignment {
        assignment: assignment(&file("one"), Launched, 0),
        requirements: Requirements {
            global: true,
            metadata: metadata.iter().map(|(k, v)| ((*k).to_owned(), [(*v).to_owned()].into())).collect(),
            ..Requirements::default()
        },
    };
    let mut globals = GlobalAssignmentDocument::default();
    globals.units.insert(name("here.service"), wants(&[("role", "web")]));
    bench.store(&name("here.service"), &file("one")).await;
    bench.globals.send_replace(Known::Present(globals.clone()));
    let values = BTreeMap::from([("role".to_owned(), Some("web".to_owned()))]);
    bench.overrides.send_replace(Known::Present(MetadataDocument { values }));
    until("here runs", SOON, || bench.is_up("here.service")).await;
    bench.end().await;
    let before = bench.acts("here.service");
    bench.overrides.send_replace(Known::Unreadable);
    globals.units.insert(name("all.service"), wants(&[]));
    globals.units.insert(name("elsewhere.service"), wants(&[("role", "web")]));
    bench.store(&name("all.service"), &file("one")).await;
    bench.globals.send_replace(Known::Present(globals));
    bench.assign(&[("a.service", "one", Launched)]).await;
    bench.begin();
    until("the others run", SOON, || bench.is_up("a.service") && bench.is_up("all.service")).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.acts("here.service"), before);
    assert!(!bench.is_up("elsewhere.service"));
    // Once they are known to be gone nothing is kept for their sake.
    bench.overrides.send_replace(Known::Absent);
    until("here goes", SOON, || !bench.is_up("here.service")).await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_refused_or_not_yet_a_member_touches_nothing() {
    let mut bench = Bench::new();
    bench.globals.send_replace(Known::Absent);
    bench.overrides.send_replace(Known::Absent);
    bench.membership.send_replace(Membership::Joining);
    bench.assign(&[("a.service", "one", Launched)]).await;
    bench.begin();
    sleep(SOON).await;
    assert!(!bench.is_up("a.service"));
    bench.membership.send_replace(Membership::Refused);
    sleep(SOON).await;
    assert!(!bench.is_up("a.service"));
    bench.membership.send_replace(Membership::Member { lease: LeaseId(1), former: None });
    until("a runs", SOON, || bench.is_up("a.service")).await;
    // Once it was a member it goes on without the store; refused, it leaves everything as it is.
    bench.membership.send_replace(Membership::Late);
    bench.assign(&[("b.service", "one", Launched)]).await;
    until("b runs instead", SOON, || bench.is_up("b.service") && !bench.is_up("a.service")).await;
    bench.membership.send_replace(Membership::Refused);
    bench.assignment.send_replace(Known::Absent);
    sleep(SOON).await;
    assert!(bench.is_up("b.service"));
}

#[tokio::test(start_paused = true)]
async fn units_that_arrive_together_are_started_when_all_their_files_are_there() {
    let bench = Bench::ready();
    bench.systemd.set_latency(Duration::from_millis(20)..=Duration::from_millis(20));
    let units: Vec<String> = (0..10).map(|index| format!("{index}.service")).collect();
    let all: Vec<_> = units.iter().map(|unit| (unit.as_str(), "one", Launched)).collect();
    bench.assign(&all).await;
    until("all run", SOON, || units.iter().all(|unit| bench.is_up(unit))).await;
    let deeds = bench.systemd.deeds();
    let first_start = deeds.iter().position(|deed| deed.act == Act::Began).unwrap();
    let installed = deeds[..first_start].iter().filter(|deed| matches!(deed.act, Act::Installed(_))).count();
    assert_eq!(installed, 10);
}

#[tokio::test(start_paused = true)]
async fn starts_do_not_wait_for_a_file_that_cannot_be_installed() {
    let bench = Bench::ready();
    bench.scripts.set(&name("bad.service"), Script { install: Outcome::Hangs, ..Script::default() });
    bench.assign(&[("bad.service", "one", Launched), ("good.service", "one", Launched)]).await;
    let begun = Instant::now();
    until("good runs", SOON, || bench.is_up("good.service")).await;
    assert!(begun.elapsed() <= Duration::from_millis(1100));
}

/// A failed start that is due while files are being installed: the loop used to spin until they were there, so
/// that no time passed, and they never were.
#[tokio::test(start_paused = true)]
async fn a_retry_that_has_to_wait_for_files_waits_quietly() {
    let bench = Bench::ready();
    bench.assign(&[("a.service", "one", Loaded)]).await;
    until("a is loaded", SOON, || bench.systemd.look().contains_key(&name("a.service"))).await;
    sleep(Duration::from_millis(10)).await;
    // The first attempt to start it fails; the second one is due a second later.
    bench.systemd.set_failing_calls(1.0);
    bench.assign(&[("a.service", "one", Launched)]).await;
    sleep(Duration::from_millis(900)).await;
    bench.systemd.set_failing_calls(0.0);
    // From then on another unit is being installed.
    bench.systemd.set_latency(Duration::from_millis(300)..=Duration::from_millis(300));
    bench.assign(&[("a.service", "one", Launched), ("b.service", "one", Launched)]).await;
    until("both run", Duration::from_secs(10), || bench.is_up("a.service") && bench.is_up("b.service")).await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_fetched_is_fetched_soon_after_the_store_is_back() {
    let bench = Bench::ready();
    bench.kit.link.set(Condition::Refusing);
    bench.assign(&[("a.service", "one", Launched)]).await;
    sleep(Duration::from_secs(600)).await;
    let (states, _) = bench.outbox.look();
    assert!(states[&name("a.service")].error.as_deref().is_some_and(|error| error.contains("fetch")));
    bench.kit.link.set(Condition::Up);
    // However long it was away: it was not the unit that failed.
    until("a runs", SOON, || bench.is_up("a.service")).await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_not_the_assigned_one_is_not_installed() {
    let bench = Bench::ready();
    bench.assign(&[("a.service", "one", Launched)]).await;
    bench.store(&name("a.service"), &file("two")).await;
    sleep(Duration::from_secs(30)).await;
    assert!(bench.systemd.look().is_empty());
    bench.assign(&[("a.service", "two", Launched)]).await;
    until("a runs", SOON, || bench.is_up("a.service")).await;
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_is_replaced_runs_until_its_new_file_is_there() {
    for condition in [Condition::Refusing, Condition::Silent] {
        let bench = Bench::ready();
        bench.assign(&[("a.service", "one", Launched)]).await;
        until("a runs", SOON, || bench.is_up("a.service")).await;
        sleep(Duration::from_millis(10)).await;
        let before = bench.acts("a.service");
        bench.kit.link.set(condition);
        bench.assign(&[("a.service", "two", Launched)]).await;
        sleep(Duration::from_secs(600)).await;
        assert_eq!(bench.acts("a.service"), before, "{condition:?}");
        let error = |bench: &Bench| bench.outbox.look().0[&name("a.service")].error.clone();
        assert!(error(&bench).is_some_and(|error| error.contains("fetch")), "{condition:?}");
        bench.kit.link.set(Condition::Up);
        let is_new = || bench.systemd.look().get(&name("a.service")).map(|look| look.hash);
        until("two runs", SOON, || is_new() == Some(file("two").hash()) && bench.is_up("a.service")).await;
        sleep(Duration::from_millis(10)).await;
        assert_eq!(error(&bench), None);
        // What is taken back meanwhile leaves nothing behind.
        bench.kit.link.set(condition);
        bench.assign(&[("a.service", "three", Launched)]).await;
        sleep(SOON).await;
        bench.assign(&[("a.service", "two", Launched)]).await;
        sleep(SOON).await;
        assert_eq!((error(&bench), bench.is_up("a.service")), (None, true));
        bench.kit.link.set(Condition::Up);
        sleep(SOON).await;
        let ends = bench.acts("a.service").into_iter().filter(|act| *act == Act::Ended).count();
        assert_eq!(ends, 1);
    }
}

/// The store may go away between a unit's end and the installation of its new file.
#[tokio::test(start_paused = true)]
async fn a_replacement_that_has_begun_needs_no_store() {
    let bench = Bench::ready();
    bench.assign(&[("a.service", "one", Launched)]).await;
    until("a runs", SOON, || bench.is_up("a.service")).await;
    let stopping = Duration::from_secs(1);
    bench.scripts.set(&name("a.service"), Script { stopping, ..Script::default() });
    bench.assign(&[("a.service", "two", Launched)]).await;
    sleep(stopping / 2).await;
    bench.kit.link.set(Condition::Silent);
    until("two runs", SOON, || {
        let look = bench.systemd.look();
        look.get(&name("a.service"))
            .is_some_and(|look| look.hash == file("two").hash() && look.process.is_some())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_step_is_tried_again_after_pauses_that_grow() {
    let bench = Bench::ready();
    bench.scripts.set(&name("a.service"), Script { install: Outcome::Fails, ..Script::default() });
    bench.assign(&[("a.service", "one", Launched)]).await;
    // Pauses of 1, 2, 4, 8, 16, 32 and then 60 seconds: each attempt asks the store for the file.
    sleep(Duration::from_secs(62)).await;
    assert_eq!(bench.kit.link.requests(), 6);
    sleep(Duration::from_secs(600)).await;
    assert!((15..=17).contains(&bench.kit.link.requests()), "{}", bench.kit.link.requests());
    // Something else that is wanted is tried at once.
    bench.scripts.mend();
    bench.assign(&[("a.service", "two", Launched)]).await;
    until("a runs", Duration::from_millis(100), || bench.is_up("a.service")).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_fails_is_not_taken_for_done_or_undone() {
    let bench = Bench::ready();
    bench.assign(&[("a.service", "one", Launched)]).await;
    until("a runs", SOON, || bench.is_up("a.service")).await;
    bench.scripts.set(&name("a.service"), Script { stop: Outcome::Hangs, ..Script::default() });
    bench.assign(&[("a.service", "one", Loaded)]).await;
    sleep(Duration::from_secs(5)).await;
    // systemd loses the connection: what became of the job is unknown.
    bench.systemd.cut();
    bench.systemd.mend();
    bench.scripts.mend();
    bench.assign(&[("a.service", "one", Launched)]).await;
    sleep(Duration::from_secs(30)).await;
    assert!(bench.is_up("a.service"), "{:?}", bench.acts("a.service"));
}

/// An answer that systemd gave before a change must not take the place of what it said of the change.
#[tokio::test(start_paused = true)]
async fn an_answer_that_was_overtaken_is_not_believed() {
    for delay in 0..40 {
        let bench = Bench::ready();
        bench.assign(&[("a.service", "one", Launched)]).await;
        until("a runs", SOON, || bench.is_up("a.service")).await;
        bench.systemd.set_latency(Duration::ZERO..=Duration::from_millis(20));
        bench.systemd.mend();
        sleep(Duration::from_millis(delay)).await;
        bench.systemd.kill(&name("a.service"));
        sleep(SOON).await;
        let (states, _) = bench.outbox.look();
        assert_eq!(states[&name("a.service")].active, "failed", "{delay}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_result_of_a_job_is_shown_until_something_else_is_done() {
    let bench = Bench::ready();
    bench.scripts.set(&name("a.service"), Script { start: Outcome::Fails, ..Script::default() });
    bench.assign(&[("a.service", "one", Launched)]).await;
    sleep(SOON).await;
    let error = |bench: &Bench| bench.outbox.look().0[&name("a.service")].error.clone();
    assert_eq!(error(&bench).as_deref(), Some("systemd could not start it: failed"));
    bench.scripts.mend();
    bench.assign(&[("a.service", "two", Launched)]).await;
    sleep(SOON).await;
    assert_eq!(error(&bench), None);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_written_is_written_later_and_nothing_is_done_twice() {
    let bench = Bench::ready();
    bench.assign(&[("a.service", "one", Launched)]).await;
    until("a runs", SOON, || bench.is_up("a.service")).await;
    bench.systemd.set_failing_records(1.0);
    let mut document = AssignmentDocument::default();
    document.units.insert(name("a.service"), assignment(&file("one"), Launched, 1));
    bench.assignment.send_replace(Known::Present(document));
    sleep(Duration::from_secs(30)).await;
    let noted = || bench.systemd.look()[&name("a.service")].record.map(|record| record.restarts);
    assert_eq!(noted(), Some(0));
    bench.systemd.set_failing_records(0.0);
    until("it is noted", Duration::from_secs(61), || noted() == Some(1)).await;
    let began = bench.acts("a.service").into_iter().filter(|act| *act == Act::Began).count();
    assert_eq!(began, 2, "started once, restarted once");
}

#[tokio::test(start_paused = true)]
async fn a_hand_over_ends_when_everything_is_gone() {
    let mut bench = Bench::ready();
    bench.assign(&[("a.service", "one", Launched), ("b.service", "one", Loaded)]).await;
    until("a runs", SOON, || bench.is_up("a.service")).await;
    bench.kit.link.set(Condition::Silent);
    bench
        .assign(&[("a.service", "one", Launched), ("b.service", "one", Loaded), ("c.service", "x", Launched)])
        .await;
    sleep(Duration::from_millis(10)).await;
    let (task, _, hand_over) = bench.agent.take().unwrap();
    hand_over.cancel();
    // A file that is being fetched is not waited for longer than the store's time-out.
    tokio::time::timeout(Duration::from_secs(2), task).await.unwrap().unwrap();
    assert!(bench.systemd.look().is_empty());
    assert!(bench.outbox.look().0.is_empty());
}
