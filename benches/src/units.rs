//! Benchmarks of the units half.

mod batch;
mod failover;
mod idle;
mod latency;
mod list;
mod lost;
mod planner;
mod restart;

use std::fmt;

use clap::ValueEnum;

use crate::arguments::Arguments;
use crate::error::BenchError;
use crate::report::Figure;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Benchmark {
    /// One unit: from PUT until it is active, from DELETE until its state is gone.
    Start,
    /// 100 units: from the first DELETE until nothing is left.
    Destroy,
    /// 500 units on three machines: until all are active.
    Many,
    /// Lists of 2 000 units.
    List,
    /// A machine is lost: until its units are active elsewhere.
    Lost,
    /// The leader's fleetd is killed: until another engine leads and places.
    Failover,
    /// fleetd is killed or restarted: until its API answers; no unit is touched.
    Restart,
    /// Memory, writes and processor time when there is nothing to do.
    Idle,
    /// The planner alone.
    Planner,
}

impl Benchmark {
    /// Measures it, on a cluster of its own where it needs one.
    ///
    /// # Errors
    /// When a part fails or something takes longer than its bound.
    pub async fn measure(self, arguments: &Arguments) -> Result<Vec<Figure>, BenchError> {
        match self {
            Benchmark::Start => latency::measure(arguments).await,
            Benchmark::Destroy => batch::destroy(arguments).await,
            Benchmark::Many => batch::start(arguments).await,
            Benchmark::List => list::measure(arguments).await,
            Benchmark::Lost => lost::measure(arguments).await,
            Benchmark::Failover => failover::measure(arguments).await,
            Benchmark::Restart => restart::measure(arguments).await,
            Benchmark::Idle => idle::measure(arguments).await,
            Benchmark::Planner => planner::measure(arguments),
        }
    }
}

impl fmt::Display for Benchmark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        formatter.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}
