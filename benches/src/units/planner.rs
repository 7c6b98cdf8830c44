//! The planner alone: no store, no machines.

use std::collections::BTreeMap;
use std::time::Instant;

use fleet_cluster::documents::{MachineId, TargetState};
use fleet_cluster::engine::{Planner, UnitSpec};
use fleet_unit::{Requirements, UnitFile, UnitName};

use crate::arguments::Arguments;
use crate::error::BenchError;
use crate::report::Figure;
use crate::samples::Samples;

const MACHINES: usize = 1000;

/// 10 000 units placed on 1 000 machines; a full pass over 2 000 placed units that finds nothing to do; one unit more
/// among them.
pub(super) fn measure(arguments: &Arguments) -> Result<Vec<Figure>, BenchError> {
    let rounds = if arguments.quick { 2 } else { 10 };
    let (mut rate, mut pass, mut one) = (Samples::new(), Samples::new(), Samples::new());
    for _ in 0..rounds {
        let mut planner = cluster(10_000)?;
        let started = Instant::now();
        let decisions = planner.plan().len();
        let elapsed = started.elapsed();
        demand(decisions, 10_000)?;
        rate.push(decisions as f64 / elapsed.as_secs_f64());
    }
    let mut planner = cluster(2000)?;
    demand(planner.plan().len(), 2000)?;
    for round in 0..rounds * 10 {
        let started = Instant::now();
        planner.revisit();
        let decisions = planner.plan().len();
        pass.push_millis(started.elapsed());
        demand(decisions, 0)?;
        let (name, spec) = unit(&format!("more-{round}.service"))?;
        let started = Instant::now();
        planner.set_unit(name, spec);
        let decisions = planner.plan().len();
        one.push(started.elapsed().as_secs_f64() * 1e6);
        demand(decisions, 1)?;
    }
    Ok(vec![
        Figure::new("planner: 10000 units on 1000 machines", "units/s", &rate)
            .original("234 (2000 units)")
            .note("without the store"),
        Figure::new("planner: full pass, 2000 units x 1000 machines", "ms", &pass).original("1900-3200"),
        Figure::new("planner: one more unit, 2000 units x 1000 machines", "µs", &one),
    ])
}

fn cluster(units: usize) -> Result<Planner, BenchError> {
    let mut planner = Planner::new();
    for number in 0..MACHINES {
        let metadata =
            [("zone".to_owned(), format!("z{}", number % 10))].into_iter().collect::<BTreeMap<_, _>>();
        planner.set_machine(&MachineId(format!("{number:032x}")), metadata);
    }
    for number in 0..units {
        let (name, spec) = unit(&format!("bench-{number:05}.service"))?;
        planner.set_unit(name, spec);
    }
    Ok(planner)
}

fn unit(name: &str) -> Result<(UnitName, UnitSpec), BenchError> {
    let wrong = |error: &dyn std::fmt::Display| BenchError::Wrong(format!("{name}: {error}"));
    let name_of_unit = UnitName::parse(name).map_err(|error| wrong(&error))?;
    let file =
        UnitFile::parse("[Service]\nExecStart=/usr/bin/sleep infinity\n").map_err(|error| wrong(&error))?;
    let requirements = Requirements::of(&name_of_unit, &file).map_err(|error| wrong(&error))?;
    let spec = UnitSpec {
        hash: file.hash(),
        requirements: Ok(requirements),
        target: TargetState::Launched,
        machine: None,
        restarts: 0,
    };
    Ok((name_of_unit, spec))
}

fn demand(decisions: usize, expected: usize) -> Result<(), BenchError> {
    if decisions == expected {
        return Ok(());
    }
    Err(BenchError::Wrong(format!("{decisions} decisions instead of {expected}")))
}
