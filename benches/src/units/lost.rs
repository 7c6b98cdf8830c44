//! A machine is lost.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fleet_tests::Machine;

use crate::arguments::Arguments;
use crate::client::Client;
use crate::error::BenchError;
use crate::etcd::Etcd;
use crate::lab::{Lab, body, names};
use crate::report::{Figure, Target};
use crate::samples::Samples;
use crate::wait::{Look, until};

/// `agent_ttl` of the machines, in milliseconds: the harness's own.
const TTL_MS: f64 = 3000.0;
const UNITS: usize = 30;
const BOUND: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);

/// 30 units on three machines, ten on each. The cable of one is cut and its processes are killed: from then until its
/// ten units are active on the other two. Machines take turns, and with them the leader.
pub(super) async fn measure(arguments: &Arguments) -> Result<Vec<Figure>, BenchError> {
    let lab = Lab::boot(arguments, 3).await?;
    let (names, body) = (names(UNITS), body("launched", "")?);
    let mut etcd = Etcd::of(&lab.cluster)?;
    let (mut samples, mut leaders) = (Samples::new(), 0_usize);
    let (mut follower_samples, mut leader_samples) = (Samples::new(), Samples::new());
    for round in 0..if arguments.quick { 3 } else { 15 } {
        lab.start(&names, &body).await?;
        let victim = lab.cluster.machine(round % 3)?;
        let mut witness = lab.client((round + 1) % 3)?;
        let own = on(&mut witness, &victim.id()).await?;
        if own != UNITS / 3 {
            return Err(BenchError::Wrong(format!("{} has {own} units, not ten", victim.name())));
        }
        let leads = etcd.leader().await? == Some(victim.id());
        leaders += usize::from(leads);
        let elapsed = lose(victim, &mut witness).await?;
        samples.push_millis(elapsed);
        if leads { &mut leader_samples } else { &mut follower_samples }.push_millis(elapsed);
        victim.boot().await?;
        lab.cluster.wait_for_machines(lab.cluster.machine(0)?, 3).await?;
        lab.clear(&names).await?;
    }
    lab.keep_journals("lost").await?;
    let target = Target { p50: Some(TTL_MS + 500.0), max: Some(TTL_MS + 1000.0), ..Target::default() };
    let name = "lost machine: until its units are active elsewhere";
    let mut figures = vec![
        Figure::new(name, "ms", &samples)
            .target(target)
            .original("7000")
            .note(format!("agent_ttl 3 s, 10 units; {leaders} of them led")),
    ];
    let parts = [("the leader", &leader_samples), ("not the leader", &follower_samples)];
    for (which, samples) in parts.into_iter().filter(|(_, samples)| !samples.is_empty()) {
        figures.push(Figure::new(format!("lost machine, {which}"), "ms", samples));
    }
    Ok(figures)
}

/// How many units are active on a machine.
async fn on(client: &mut Client, machine: &str) -> Result<usize, BenchError> {
    let states = client.states().await?;
    Ok(states.iter().filter(|state| state.machine_id == machine).count())
}

/// From before the cable is cut, which takes some milliseconds itself.
async fn lose(victim: &Machine, witness: &mut Client) -> Result<Duration, BenchError> {
    let id = victim.id();
    let before = Instant::now();
    let moved = async {
        until("the units of the lost machine are active elsewhere", BOUND, PAUSE, async || {
            let states = witness.states().await?;
            let active: BTreeSet<&str> = states
                .iter()
                .filter(|state| state.systemd_active_state == "active" && state.machine_id != id)
                .map(|state| state.name.as_str())
                .collect();
            let seen = format!("{} active elsewhere", active.len());
            Ok(if active.len() == UNITS { Look::Found(before.elapsed()) } else { Look::NotYet(seen) })
        })
        .await
    };
    let (killed, elapsed) = tokio::join!(victim.kill(), moved);
    killed?;
    elapsed
}
