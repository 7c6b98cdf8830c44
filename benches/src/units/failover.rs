//! The leader's fleetd is killed and stays away.

use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::client::Client;
use crate::error::BenchError;
use crate::etcd::Etcd;
use crate::lab::{Lab, body};
use crate::process::Process;
use crate::report::{Figure, Target};
use crate::samples::Samples;
use crate::wait::{Look, until};

const BOUND: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);
/// Keeps systemd from starting the fleetd that was killed.
const NO_RESTART: &str = "/run/systemd/system/fleet.service.d/90-no-restart.conf";

/// From SIGKILL until another machine's engine leads, and until a unit that was submitted right after the kill, and
/// may run on a machine that is there only, is active.
pub(super) async fn measure(arguments: &Arguments) -> Result<Vec<Figure>, BenchError> {
    let lab = Lab::boot(arguments, 3).await?;
    for machine in lab.cluster.machines() {
        machine.write_file(NO_RESTART, "[Service]\nRestart=no\n").await?;
        machine.exec(["systemctl", "daemon-reload"]).await?.success()?;
    }
    let mut etcd = Etcd::of(&lab.cluster)?;
    let (mut led, mut placed) = (Samples::new(), Samples::new());
    for round in 0..if arguments.quick { 2 } else { 15 } {
        let former = lab.leader().await?;
        let victim = lab.cluster.machine_with_id(&former)?;
        let other = lab.cluster.another(victim)?;
        let name = format!("bench-{round:04}.service");
        let body = body("launched", &format!("[X-Fleet]\nMachineMetadata=hostname={}\n", other.name()))?;
        let mut client = Client::new(&other.endpoint());
        let fleetd = Process::fleetd_running(victim)?;
        let before = Instant::now();
        fleetd.kill().await?;
        client.put_unit(&name, &body).await?;
        let leads = until("another machine leads", BOUND, PAUSE, async || {
            let leader = etcd.leader().await?;
            let found = leader.as_ref().is_some_and(|leader| *leader != former);
            Ok(if found { Look::Found(before.elapsed()) } else { Look::NotYet(format!("{leader:?}")) })
        });
        let runs = until("the unit is active", BOUND, PAUSE, async || {
            let states = client.states_of(&name).await?;
            let found = states.iter().any(|state| state.systemd_active_state == "active");
            Ok(if found { Look::Found(before.elapsed()) } else { Look::NotYet(format!("{states:?}")) })
        });
        let (leads, runs) = tokio::join!(leads, runs);
        led.push_millis(leads?);
        placed.push_millis(runs?);
        victim.exec(["systemctl", "start", "fleet.service"]).await?.success()?;
        lab.cluster.wait_for_machines(other, 3).await?;
    }
    lab.keep_journals("failover").await?;
    let target = Target { max: Some(3000.0), ..Target::default() };
    Ok(vec![
        Figure::new("leader killed: until another one leads", "ms", &led).target(target),
        Figure::new("leader killed: until a new unit is active", "ms", &placed),
    ])
}
