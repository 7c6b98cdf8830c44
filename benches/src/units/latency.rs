//! One unit at a time.

use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::client::Client;
use crate::error::BenchError;
use crate::lab::{Lab, body};
use crate::report::{Figure, Target};
use crate::samples::Samples;
use crate::wait::{Look, until};

const BOUND: Duration = Duration::from_secs(10);
/// The resolution. Each look is a read from etcd on the same processors, so it is not zero.
const PAUSE: Duration = Duration::from_millis(1);

/// One unit after another, none before them: from PUT until `active` in `/state`, from DELETE until its state is
/// gone. Asked of the first machine, wherever the unit runs.
pub(super) async fn measure(arguments: &Arguments) -> Result<Vec<Figure>, BenchError> {
    let lab = Lab::boot(arguments, 3).await?;
    let mut client = lab.client(0)?;
    let body = body("launched", "")?;
    let (mut started, mut destroyed) = (Samples::new(), Samples::new());
    for round in 0..if arguments.quick { 10 } else { 100 } {
        let name = format!("bench-{round:04}.service");
        let before = Instant::now();
        client.put_unit(&name, &body).await?;
        active(&mut client, &name).await?;
        started.push_millis(before.elapsed());
        let before = Instant::now();
        client.delete_unit(&name).await?;
        gone(&mut client, &name).await?;
        destroyed.push_millis(before.elapsed());
    }
    lab.systemd_is_empty().await?;
    lab.keep_journals("start").await?;
    let target = Target { p50: Some(20.0), p99: Some(100.0), ..Target::default() };
    Ok(vec![
        Figure::new("start one unit: PUT until active", "ms", &started)
            .target(target)
            .original("4994 (max 5000)"),
        Figure::new("destroy one unit: DELETE until its state is gone", "ms", &destroyed)
            .original("4260 (max 5000)"),
    ])
}

async fn active(client: &mut Client, name: &str) -> Result<(), BenchError> {
    until(&format!("{name} is active"), BOUND, PAUSE, async || {
        let states = client.states_of(name).await?;
        let found = states.iter().any(|state| state.systemd_active_state == "active");
        Ok(if found { Look::Found(()) } else { Look::NotYet(format!("{states:?}")) })
    })
    .await
}

async fn gone(client: &mut Client, name: &str) -> Result<(), BenchError> {
    until(&format!("the state of {name} is gone"), BOUND, PAUSE, async || {
        let states = client.states_of(name).await?;
        Ok(if states.is_empty() { Look::Found(()) } else { Look::NotYet(format!("{states:?}")) })
    })
    .await
}
