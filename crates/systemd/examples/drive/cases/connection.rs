//! Losing systemd, or the bus, and finding it again.

use std::time::{Duration, Instant};

use fleet_cluster::systemd::{Operation, Systemd};

use super::{World, check, unit};
use crate::commands::Failure;

const SLEEP: &str = "[Service]\nExecStart=/bin/sleep 1000\n";
const SLOW: &str = "[Service]\nType=oneshot\nExecStart=/bin/sleep 1000\n";

/// systemd replaces itself; units and their processes live on.
pub(crate) async fn systemd_executes_itself_again(world: &mut World) -> Result<(), Failure> {
    lose_and_find(world, &["daemon-reexec"]).await
}

/// The bus is stopped and started.
pub(crate) async fn message_bus_restarts(world: &mut World) -> Result<(), Failure> {
    lose_and_find(world, &["restart", "dbus.service"]).await
}

async fn lose_and_find(world: &mut World, how: &[&str]) -> Result<(), Failure> {
    world.install("a.service", SLEEP).await?;
    world.done("a.service", Operation::Start).await?;
    let before = world.property("a.service", "MainPID").await?;
    world.install("slow.service", SLOW).await?;
    let slow = world.manager.queue(&unit("slow.service")?, Operation::Start).await?;
    world.systemctl(how).await?;
    world.told_reset().await?;
    check(slow.result.await.is_err(), "the result of a job under way is unknown")?;
    world.expect("a.service", "loaded active running").await?;
    check(world.property("a.service", "MainPID").await? == before, "the unit was started anew")?;
    world.expect("slow.service", "loaded activating start").await?;
    world.install("b.service", SLEEP).await?;
    let start = Instant::now();
    world.done("b.service", Operation::Start).await?;
    world.told("b.service", "loaded active running").await?;
    check(start.elapsed() < Duration::from_secs(5), "signals come late")?;
    world.done("a.service", Operation::Stop).await?;
    world.told("a.service", "loaded inactive dead").await?;
    world.remove(&["a.service", "b.service", "slow.service"]).await
}
