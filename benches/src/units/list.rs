//! Lists.

use std::time::Instant;

use crate::arguments::Arguments;
use crate::error::BenchError;
use crate::lab::{Lab, body, names};
use crate::report::{Figure, Target};
use crate::samples::Samples;

const UNITS: usize = 2000;

/// 2 000 units that nobody runs: `fleetctl list-unit-files` from start to exit, the same list by the API's 20 pages,
/// and its first page alone, which is the one that reads the store.
pub(super) async fn measure(arguments: &Arguments) -> Result<Vec<Figure>, BenchError> {
    let lab = Lab::boot(arguments, 3).await?;
    let names = names(UNITS);
    let submitted = lab.submit(&names, &body("inactive", "")?).await?;
    let mut client = lab.client(0)?;
    let (mut tool, mut pages, mut first) = (Samples::new(), Samples::new(), Samples::new());
    for _ in 0..if arguments.quick { 5 } else { 30 } {
        let before = Instant::now();
        let output = lab.cluster.fleetctl(["list-unit-files", "--no-legend"]).await?.success()?;
        tool.push_millis(before.elapsed());
        same(output.stdout.lines().count())?;
        let before = Instant::now();
        let units = client.units().await?;
        pages.push_millis(before.elapsed());
        same(units.len())?;
        let before = Instant::now();
        client.ask("GET", "/fleet/v1/units", None).await?;
        first.push_millis(before.elapsed());
    }
    lab.keep_journals("list").await?;
    let target = Target { p50: Some(50.0), ..Target::default() };
    let rate = [UNITS as f64 / submitted.as_secs_f64()].into_iter().collect();
    Ok(vec![
        Figure::new("list 2000 units: fleetctl list-unit-files", "ms", &tool).target(target).original("3000"),
        Figure::new("list 2000 units: 20 pages of the API", "ms", &pages).target(target),
        Figure::new("list 2000 units: the first page alone", "ms", &first).original("120-180"),
        Figure::new("submit 2000 units, desired state inactive", "units/s", &rate).original("460"),
    ])
}

fn same(listed: usize) -> Result<(), BenchError> {
    if listed == UNITS {
        return Ok(());
    }
    Err(BenchError::Wrong(format!("{listed} of {UNITS} units are listed")))
}
