//! Nothing to do: memory, writes, processor time.

use std::time::Duration;

use crate::arguments::Arguments;
use crate::error::BenchError;
use crate::etcd::Etcd;
use crate::lab::{Lab, body, names};
use crate::process::{Memory, Process};
use crate::report::{Figure, Target};
use crate::samples::Samples;

const UNITS: usize = 500;
/// What the last work leaves behind (readings of lists, for instance) is gone after this time.
const SETTLE: Duration = Duration::from_secs(12);

/// Memory of each fleetd with no unit at all, and with 500 units on three machines; then what 30 quiet seconds cost.
pub(super) async fn measure(arguments: &Arguments) -> Result<Vec<Figure>, BenchError> {
    let lab = Lab::boot(arguments, 3).await?;
    let settle = if arguments.quick { Duration::from_secs(2) } else { SETTLE };
    tokio::time::sleep(settle).await;
    let idle = memory(&lab)?;
    let (names, body) = (names(UNITS), body("launched", "")?);
    lab.start(&names, &body).await?;
    tokio::time::sleep(settle).await;
    let loaded = memory(&lab)?;
    let mut figures: Vec<Figure> = memory_figures("no unit", &idle, 8.0, "14").collect();
    figures.extend(memory_figures("500 units", &loaded, 10.0, "20-21"));
    figures.extend(quiet(&lab, if arguments.quick { 5 } else { 30 }).await?);
    lab.keep_journals("idle").await?;
    Ok(figures)
}

fn memory(lab: &Lab) -> Result<Vec<Memory>, BenchError> {
    lab.cluster.machines().iter().map(|machine| Process::fleetd_running(machine)?.memory()).collect()
}

fn memory_figures(
    with: &str,
    memory: &[Memory],
    limit: f64,
    original: &'static str,
) -> impl Iterator<Item = Figure> + use<> {
    let resident: Samples = memory.iter().map(|memory| memory.resident).collect();
    let anonymous: Samples = memory.iter().map(|memory| memory.anonymous).collect();
    let target = Target { max: Some(limit), ..Target::default() };
    let figures = [
        Figure::new(format!("fleetd, {with}: resident memory"), "MB", &resident)
            .target(target)
            .original(original)
            .note("each of three machines; pages of the program's file included"),
        Figure::new(format!("fleetd, {with}: its own memory"), "MB", &anonymous).note("RssAnon"),
    ];
    figures.into_iter()
}

/// What etcd is made to do, and what the fleetds do, when nobody asks for anything.
async fn quiet(lab: &Lab, seconds: u32) -> Result<Vec<Figure>, BenchError> {
    let mut etcd = Etcd::of(&lab.cluster)?;
    let processes: Vec<Process> =
        lab.cluster.machines().iter().map(Process::fleetd_running).collect::<Result<_, _>>()?;
    let busy = || processes.iter().map(|process| process.processor_time()).collect::<Result<Vec<_>, _>>();
    let (before, busy_before) = (etcd.counters().await?, busy()?);
    tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    let (after, busy_after) = (etcd.counters().await?, busy()?);
    let rate = |count: f64| -> Samples { [count / f64::from(seconds)].into_iter().collect() };
    let busy: Samples = busy_before
        .iter()
        .zip(&busy_after)
        .map(|(before, after)| (after - before) * 1e3 / f64::from(seconds))
        .collect();
    Ok(vec![
        Figure::new("idle, 500 units: etcd revisions", "1/s", &rate(after.revision - before.revision)),
        Figure::new("idle, 500 units: etcd keys put", "1/s", &rate(after.puts - before.puts))
            .original("50 (ttl 30 s)"),
        Figure::new("idle, 500 units: leases renewed", "1/s", &rate(after.renewals - before.renewals))
            .note("not written to disk"),
        Figure::new("idle, 500 units: processor time of a fleetd", "ms/s", &busy)
            .note("each of three machines; counted in ticks of 10 ms"),
    ])
}
