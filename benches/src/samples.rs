//! Repeated measurements of one thing.

use std::time::Duration;

/// Repeated measurements of one thing, in one unit.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Nothing measured yet.
    pub fn new() -> Samples {
        Samples::default()
    }

    /// One more measurement.
    pub fn push(&mut self, value: f64) {
        let place = self.0.partition_point(|other| *other <= value);
        self.0.insert(place, value);
    }

    /// One more measurement, in milliseconds.
    pub fn push_millis(&mut self, value: Duration) {
        self.push(value.as_secs_f64() * 1e3);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value that `share` (0 to 1) of all measurements do not exceed: the nearest rank, a value that was really
    /// measured. 0 is the smallest, 1 the largest. `None` when nothing was measured.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        // Small counts: the conversion is exact.
        let rank = (share.clamp(0.0, 1.0) * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied()
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Samples {
        let mut samples = Samples::new();
        values.into_iter().for_each(|value| samples.push(value));
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measured_values() {
        let samples: Samples = (1..=100).rev().map(f64::from).collect();
        let quantiles = [0.0, 0.5, 0.99, 1.0].map(|share| samples.quantile(share));
        assert_eq!(quantiles, [Some(1.0), Some(50.0), Some(99.0), Some(100.0)]);
        let few: Samples = [3.0, 1.0, 2.0].into_iter().collect();
        assert_eq!(few.quantile(0.5), Some(2.0));
        assert_eq!(few.quantile(0.99), Some(3.0));
        assert_eq!(Samples::new().quantile(0.5), None);
    }
}
