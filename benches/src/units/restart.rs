//! fleetd goes and comes again.

use std::time::{Duration, Instant};

use fleet_tests::Machine;

use crate::arguments::Arguments;
use crate::client::Client;
use crate::error::BenchError;
use crate::lab::{Lab, body, main_pids, names};
use crate::process::Process;
use crate::report::{Figure, Target};
use crate::samples::Samples;
use crate::wait::{Look, until};

const UNITS: usize = 30;
const BOUND: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);

/// 30 units on three machines. One machine's fleetd is killed, and systemd starts it again; or it is restarted by
/// `systemctl restart`. From then until its API answers with 200. No unit may be touched: each keeps its process.
pub(super) async fn measure(arguments: &Arguments) -> Result<Vec<Figure>, BenchError> {
    let lab = Lab::boot(arguments, 3).await?;
    let (names, body) = (names(UNITS), body("launched", "")?);
    lab.start(&names, &body).await?;
    let before = everything(&lab).await?;
    let (mut killed, mut restarted) = (Samples::new(), Samples::new());
    for round in 0..if arguments.quick { 2 } else { 15 } {
        let machine = lab.cluster.machine(round % 3)?;
        killed.push_millis(kill(machine).await?);
        lab.cluster.wait_for_machines(machine, 3).await?;
        restarted.push_millis(restart(machine).await?);
        lab.cluster.wait_for_machines(machine, 3).await?;
    }
    lab.all_active(UNITS).await?;
    let after = everything(&lab).await?;
    let touched = before.iter().filter(|unit| !after.contains(unit)).count();
    if before.len() != UNITS {
        return Err(BenchError::Wrong(format!("{} units run, not {UNITS}", before.len())));
    }
    lab.keep_journals("restart").await?;
    let target = |limit: f64| Target { max: Some(limit), ..Target::default() };
    Ok(vec![
        Figure::new("fleetd killed: until its API answers", "ms", &killed)
            .target(target(1000.0))
            .original("33300")
            .note("systemd's own restart, RestartSec= included"),
        Figure::new("fleetd restarted: until its API answers", "ms", &restarted)
            .target(target(1000.0))
            .note("systemctl restart"),
        Figure::new("units that all of that touched", "units", &[touched as f64].into_iter().collect())
            .target(target(0.0))
            .original("0"),
    ])
}

/// Each unit on each machine with its process.
async fn everything(lab: &Lab) -> Result<Vec<String>, BenchError> {
    let mut all = Vec::new();
    for machine in lab.cluster.machines() {
        all.extend(main_pids(machine).await?.into_iter().map(|unit| format!("{} {unit}", machine.name())));
    }
    Ok(all)
}

async fn kill(machine: &Machine) -> Result<Duration, BenchError> {
    let fleetd = Process::fleetd_running(machine)?;
    let before = Instant::now();
    fleetd.kill().await?;
    answers(machine).await?;
    Ok(before.elapsed())
}

async fn restart(machine: &Machine) -> Result<Duration, BenchError> {
    let former = Process::fleetd_running(machine)?;
    let before = Instant::now();
    machine.exec(["systemctl", "restart", "--no-block", "fleet.service"]).await?.success()?;
    // Else the one that ends might still answer, and be taken for the one that begins.
    until(&format!("another fleetd runs on {}", machine.name()), BOUND, PAUSE, async || {
        let now = Process::fleetd(machine)?;
        let another = now.is_some_and(|now| now != former);
        Ok(if another { Look::Found(()) } else { Look::NotYet(format!("{now:?}")) })
    })
    .await?;
    answers(machine).await?;
    Ok(before.elapsed())
}

/// A request waits in the socket that systemd holds until a fleetd takes it, so one is mostly enough.
async fn answers(machine: &Machine) -> Result<(), BenchError> {
    let mut client = Client::new(&machine.endpoint());
    until(&format!("the API of {} answers", machine.name()), BOUND, PAUSE, async || {
        Ok(match client.send("GET", "/fleet/v1/units", None).await {
            Ok(reply) if reply.status == 200 => Look::Found(()),
            Ok(reply) => Look::NotYet(format!("status {}", reply.status)),
            Err(error) => Look::NotYet(error.to_string()),
        })
    })
    .await
}
