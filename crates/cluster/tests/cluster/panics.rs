//! A bug that shows in a call about one unit: the unit is tried again later, and nothing else notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fleet_cluster::agent::{Agent, Outbox, Sources};
use fleet_cluster::documents::{AssignmentDocument, TargetState, UNITS, UnitDocument};
use fleet_cluster::follow::Known;
use fleet_cluster::presence::MachineInfo;
use fleet_cluster::systemd::{
    Error, InstalledUnit, Job, Notice, Operation, OwnService, Record, Systemd, UnitState,
};
use fleet_simulation::{Scripted, Scripts};
use fleet_store::{Expect, Typed};
use fleet_unit::{UnitFile, UnitName};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::kit::{Kit, assignment, file, machine, name, until};

const SOON: Duration = Duration::from_secs(2);

/// A service manager whose calls of one kind panic, for one unit.
struct Buggy {
    systemd: Scripted,
    call: watch::Sender<Option<&'static str>>,
    panics: AtomicU32,
}

impl Buggy {
    fn pass(&self, call: &'static str, unit: &UnitName) {
        let is_broken = unit.as_str() == "bad.service" && *self.call.borrow() == Some(call);
        self.panics.fetch_add(u32::from(is_broken), Ordering::Relaxed);
        assert!(!is_broken, "{call} is buggy");
    }

    fn break_call(&self, call: Option<&'static str>) {
        self.call.send_replace(call);
    }

    fn is_up(&self, unit: &str, word: &str) -> bool {
        let look = self.systemd.look();
        look.get(&name(unit)).is_some_and(|look| look.process.is_some() && look.hash == file(word).hash())
    }
}

#[async_trait::async_trait]
impl Systemd for Buggy {
    async fn installed(&self) -> Result<Vec<InstalledUnit>, Error> {
        self.systemd.installed().await
    }

    async fn install(&self, unit: &UnitName, file: &UnitFile) -> Result<(), Error> {
        let installed = self.systemd.install(unit, file).await;
        self.pass("install", unit);
        installed
    }

    async fn uninstall(&self, unit: &UnitName) -> Result<(), Error> {
        self.pass("uninstall", unit);
        self.systemd.uninstall(unit).await
    }

    async fn record(&self, unit: &UnitName, record: Record) -> Result<(), Error> {
        self.pass("record", unit);
        self.systemd.record(unit, record).await
    }

    async fn queue(&self, unit: &UnitName, operation: Operation) -> Result<Job, Error> {
        let job = self.systemd.queue(unit, operation).await;
        self.pass("queue", unit);
        job
    }

    async fn state(&self, unit: &UnitName) -> Result<UnitState, Error> {
        self.pass("state", unit);
        self.systemd.state(unit).await
    }

    async fn subscribe(&self) -> Result<mpsc::Receiver<Notice>, Error> {
        self.systemd.subscribe().await
    }

    async fn own_service(&self) -> Result<Option<OwnService>, Error> {
        self.systemd.own_service().await
    }
}

struct Bench {
    kit: Kit,
    systemd: Arc<Buggy>,
    outbox: Outbox,
    wanted: watch::Sender<Known<AssignmentDocument>>,
    _info: watch::Sender<MachineInfo>,
}

fn begin() -> Bench {
    let kit = Kit::new();
    let systemd = Arc::new(Buggy {
        systemd: Scripted::new(1, &Scripts::default()),
        call: watch::Sender::new(None),
        panics: AtomicU32::new(0),
    });
    let (outbox, wanted) = (Outbox::default(), watch::Sender::new(Known::Absent));
    let info = watch::Sender::new(MachineInfo::default());
    let sources = Sources {
        assignment: wanted.subscribe(),
        globals: watch::Sender::new(Known::Absent).subscribe(),
        overrides: watch::Sender::new(Known::Absent).subscribe(),
        info: info.subscribe(),
    };
    let units = Typed::new(Arc::clone(&kit.store), &UNITS);
    let buggy: Arc<dyn Systemd> = Arc::<Buggy>::clone(&systemd);
    let agent = Agent::new(machine(1), buggy, units, outbox.clone(), sources);
    tokio::spawn(agent.run(CancellationToken::new(), CancellationToken::new()));
    Bench { kit, systemd, outbox, wanted, _info: info }
}

impl Bench {
    async fn assign(&self, units: &[(&str, &str)]) {
        let typed = Typed::new(Arc::clone(&self.kit.admin), &UNITS);
        let mut document = AssignmentDocument::default();
        for (unit, word) in units {
            let stored = UnitDocument {
                options: file(word).options().to_vec(),
                desired_state: TargetState::Launched,
                machine: Some(machine(1)),
                restarts: 0,
            };
            assert!(typed.put(unit, &stored, Expect::Any, None, None).await.is_ok());
            document.units.insert(name(unit), assignment(&file(word), TargetState::Launched, 0));
        }
        self.wanted.send_replace(Known::Present(document));
    }
}

#[tokio::test(start_paused = true)]
async fn a_unit_whose_task_panics_is_tried_again_with_pauses() {
    for call in ["install", "uninstall", "record", "queue"] {
        let bench = begin();
        let systemd = &bench.systemd;
        bench.assign(&[("bad.service", "one"), ("good.service", "one")]).await;
        until("both run", SOON, || {
            systemd.is_up("bad.service", "one") && systemd.is_up("good.service", "one")
        })
        .await;
        sleep(SOON).await;
        systemd.break_call(Some(call));
        bench.assign(&[("bad.service", "two"), ("good.service", "two"), ("new.service", "one")]).await;
        until("the others run", SOON, || {
            systemd.is_up("good.service", "two") && systemd.is_up("new.service", "one")
        })
        .await;
        sleep(Duration::from_secs(62)).await;
        // After 1, 2, 4, 8, 16 and 32 seconds; taking away what an installation left adds some.
        let panics = systemd.panics.load(Ordering::Relaxed);
        assert!((5..=8).contains(&panics), "{call}: {panics}");
        let error = bench.outbox.look().0[&name("bad.service")].error.clone();
        assert!(error.is_some_and(|error| error.contains("is buggy")), "{call}");
        systemd.break_call(None);
        until("it runs", Duration::from_secs(61), || systemd.is_up("bad.service", "two")).await;
        sleep(SOON).await;
        assert_eq!(bench.outbox.look().0[&name("bad.service")].error, None, "{call}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_that_cannot_be_read_for_a_panic_is_read_later() {
    let bench = begin();
    bench.systemd.break_call(Some("state"));
    bench.assign(&[("bad.service", "one")]).await;
    until("it runs", SOON, || bench.systemd.is_up("bad.service", "one")).await;
    bench.systemd.systemd.end_subscription();
    sleep(Duration::from_secs(10)).await;
    let panics = bench.systemd.panics.load(Ordering::Relaxed);
    assert!((5..50).contains(&panics), "{panics}");
    bench.systemd.systemd.kill(&name("bad.service"));
    bench.systemd.break_call(None);
    let state = || bench.outbox.look().0[&name("bad.service")].active.clone();
    until("its state is known", SOON, || state() == "failed").await;
}
