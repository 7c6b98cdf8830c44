//! The cluster that a benchmark measures, and what all benchmarks do with it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fleet_protocol::fleet_v1::Unit;
use fleet_tests::{Cluster, Machine};
use fleet_unit::UnitFile;
use futures_util::future::try_join_all;

use crate::arguments::Arguments;
use crate::client::Client;
use crate::error::BenchError;
use crate::etcd::Etcd;
use crate::wait::{Look, until};

/// How many connections submit and destroy many units at once.
const CONNECTIONS: usize = 8;
/// How long many units may take to come or go before the benchmark gives up.
pub(crate) const MANY_BOUND: Duration = Duration::from_secs(60);
/// How long a cluster may take to have a leader.
const LEADER_BOUND: Duration = Duration::from_secs(20);
/// How often a list is read again while many units come or go: that reading costs the cluster some work too.
const LIST_PAUSE: Duration = Duration::from_millis(20);

/// Three machines, or as many as a benchmark wants, with an etcd beside them.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) cluster: Cluster,
    journals: Option<PathBuf>,
}

impl Lab {
    /// Boots machines, with the options that the command line names, and waits until one of them leads.
    pub(crate) async fn boot(arguments: &Arguments, machines: usize) -> Result<Lab, BenchError> {
        let builder = Cluster::builder().machines(machines);
        let builder =
            arguments.options.iter().fold(builder, |builder, (key, value)| builder.option(key, value));
        let lab = Lab { cluster: builder.boot().await?, journals: arguments.journals.clone() };
        lab.leader().await?;
        Ok(lab)
    }

    /// The id of the machine whose engine leads, waiting for one.
    pub(crate) async fn leader(&self) -> Result<String, BenchError> {
        let mut etcd = Etcd::of(&self.cluster)?;
        until("a machine leads", LEADER_BOUND, LIST_PAUSE, async || {
            Ok(etcd.leader().await?.map_or(Look::NotYet("none".to_owned()), Look::Found))
        })
        .await
    }

    /// A client of the nth machine's API, counted from 0.
    pub(crate) fn client(&self, machine: usize) -> Result<Client, BenchError> {
        Ok(Client::new(&self.cluster.machine(machine)?.endpoint()))
    }

    /// Submits units over several connections to the first machine. Returns how long that took.
    pub(crate) async fn submit(&self, names: &[String], body: &str) -> Result<Duration, BenchError> {
        let started = Instant::now();
        let share = names.len().div_ceil(CONNECTIONS).max(1);
        let submissions = names.chunks(share).map(async |names| {
            let mut client = self.client(0)?;
            for name in names {
                client.put_unit(name, body).await?;
            }
            Ok::<_, BenchError>(())
        });
        try_join_all(submissions).await?;
        Ok(started.elapsed())
    }

    /// Destroys units over several connections to the first machine.
    pub(crate) async fn destroy(&self, names: &[String]) -> Result<(), BenchError> {
        let share = names.len().div_ceil(CONNECTIONS).max(1);
        let deletions = names.chunks(share).map(async |names| {
            let mut client = self.client(0)?;
            for name in names {
                client.delete_unit(name).await?;
            }
            Ok::<_, BenchError>(())
        });
        try_join_all(deletions).await.map(drop)
    }

    /// Waits until so many units are active.
    pub(crate) async fn all_active(&self, count: usize) -> Result<(), BenchError> {
        let mut client = self.client(0)?;
        until(&format!("{count} units are active"), MANY_BOUND, LIST_PAUSE, async || {
            let states = client.states().await?;
            let active = states.iter().filter(|state| state.systemd_active_state == "active").count();
            Ok(if active == count { Look::Found(()) } else { Look::NotYet(format!("{active} active")) })
        })
        .await
    }

    /// Waits until no unit and no state is left.
    pub(crate) async fn nothing_left(&self) -> Result<(), BenchError> {
        let mut client = self.client(0)?;
        until("no unit is left", MANY_BOUND, LIST_PAUSE, async || {
            let states = client.states().await?.len();
            let units = if states == 0 { client.units().await?.len() } else { 0 };
            let seen = format!("{units} units, {states} states");
            Ok(if states + units == 0 { Look::Found(()) } else { Look::NotYet(seen) })
        })
        .await
    }

    /// Submits units and waits until they are active.
    pub(crate) async fn start(&self, names: &[String], body: &str) -> Result<(), BenchError> {
        self.submit(names, body).await?;
        self.all_active(names.len()).await
    }

    /// Destroys units and waits until nothing is left.
    pub(crate) async fn clear(&self, names: &[String]) -> Result<(), BenchError> {
        self.destroy(names).await?;
        self.nothing_left().await
    }

    /// Demands that no machine's systemd knows a unit of ours: what the API says must be true.
    pub(crate) async fn systemd_is_empty(&self) -> Result<(), BenchError> {
        for machine in self.cluster.machines() {
            let left = main_pids(machine).await?;
            if !left.is_empty() {
                let name = machine.name();
                return Err(BenchError::Wrong(format!(
                    "{name} still has {} units that the API says are gone",
                    left.len()
                )));
            }
        }
        Ok(())
    }

    /// Keeps the journals, if they are wanted.
    pub(crate) async fn keep_journals(&self, benchmark: &str) -> Result<(), BenchError> {
        let Some(folder) = &self.journals else { return Ok(()) };
        std::fs::create_dir_all(folder).map_err(BenchError::file("create", folder))?;
        for machine in self.cluster.machines().iter().filter(|machine| machine.is_up()) {
            let path = folder.join(format!("{benchmark}-{}.log", machine.name()));
            let argv = ["journalctl", "--no-pager", "--output=short-precise", "--unit=fleet.service"];
            machine.exec(["journalctl", "--sync"]).await?;
            let text = machine.exec(argv).await?.success()?.stdout;
            std::fs::write(&path, text).map_err(BenchError::file("write", path))?;
        }
        Ok(())
    }
}

/// Unit and main process of each unit of a benchmark that a machine's systemd knows.
pub(crate) async fn main_pids(machine: &Machine) -> Result<Vec<String>, BenchError> {
    let argv = ["systemctl", "show", "--property=Id,MainPID", "bench-*.service"];
    let text = machine.exec(argv).await?.success()?.stdout;
    let mut units: Vec<String> = text
        .split("\n\n")
        .filter(|unit| unit.contains("Id=bench-"))
        .map(|unit| unit.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    units.sort();
    Ok(units)
}

/// The names of units of a benchmark. All benchmarks' names begin with `bench-`.
pub(crate) fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("bench-{number:04}.service")).collect()
}

/// The body of a PUT: a service that runs until it is stopped, with more lines for its file.
pub(crate) fn body(desired_state: &str, more: &str) -> Result<String, BenchError> {
    let text = format!(
        "[Unit]\nDescription=A unit to measure\n[Service]\nExecStart=/usr/bin/sleep infinity\n{more}"
    );
    let file = UnitFile::parse(&text).map_err(|error| BenchError::Wrong(error.to_string()))?;
    let unit =
        Unit { desired_state: desired_state.to_owned(), options: file.into_options(), ..Unit::default() };
    serde_json::to_string(&unit).map_err(|source| BenchError::Answer { url: "a unit".to_owned(), source })
}
