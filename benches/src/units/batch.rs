//! Many units at once.

use std::time::Instant;

use crate::arguments::Arguments;
use crate::error::BenchError;
use crate::lab::{Lab, body, names};
use crate::report::{Figure, Target};
use crate::samples::Samples;

/// 100 units on three machines: from the first DELETE until no unit and no state is left.
pub(super) async fn destroy(arguments: &Arguments) -> Result<Vec<Figure>, BenchError> {
    let lab = Lab::boot(arguments, 3).await?;
    let (names, body) = (names(100), body("launched", "")?);
    let mut samples = Samples::new();
    for _ in 0..if arguments.quick { 1 } else { 10 } {
        lab.start(&names, &body).await?;
        let before = Instant::now();
        lab.clear(&names).await?;
        samples.push_millis(before.elapsed());
        lab.systemd_is_empty().await?;
    }
    lab.keep_journals("destroy").await?;
    let target = Target { max: Some(1000.0), ..Target::default() };
    let figure = Figure::new("destroy 100 units: until nothing is left", "ms", &samples);
    Ok(vec![figure.target(target).original("165000")])
}

/// 500 units on three machines: until all are active; and until nothing of them is left.
pub(super) async fn start(arguments: &Arguments) -> Result<Vec<Figure>, BenchError> {
    let lab = Lab::boot(arguments, 3).await?;
    let (names, body) = (names(500), body("launched", "")?);
    let (mut submitted, mut started, mut destroyed) = (Samples::new(), Samples::new(), Samples::new());
    for _ in 0..if arguments.quick { 1 } else { 5 } {
        let before = Instant::now();
        submitted.push_millis(lab.submit(&names, &body).await?);
        lab.all_active(names.len()).await?;
        started.push_millis(before.elapsed());
        let before = Instant::now();
        lab.clear(&names).await?;
        destroyed.push_millis(before.elapsed());
        lab.systemd_is_empty().await?;
    }
    lab.keep_journals("many").await?;
    let target = Target { max: Some(3000.0), ..Target::default() };
    Ok(vec![
        Figure::new("500 units: submitted", "ms", &submitted).original("1100"),
        Figure::new("500 units: until all are active", "ms", &started).target(target).original("7800"),
        Figure::new("500 units: DELETE until nothing is left", "ms", &destroyed),
    ])
}
