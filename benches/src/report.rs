//! Figures, as a table and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::samples::Samples;

/// What is to be reached. Absent: no target is set for that quantile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Target {
    /// For the median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// For the 99th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
    /// For every single measurement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Downwards: more is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
}

/// One thing that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// The unit of all its numbers.
    pub unit: &'static str,
    /// How many measurements.
    pub n: usize,
    /// The least of them.
    pub min: f64,
    /// The median.
    pub p50: f64,
    /// 99 of 100 are not above it.
    pub p99: f64,
    /// The largest.
    pub max: f64,
    /// What is to be reached.
    pub target: Target,
    /// Whether it is reached; `None` without a target.
    pub met: Option<bool>,
    /// What coreos/fleet 1.0.0 needed, as it was measured.
    pub original: &'static str,
    /// What must be known to read it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Figure {
    /// A figure without a target.
    pub fn new(name: impl Into<String>, unit: &'static str, samples: &Samples) -> Figure {
        let quantile = |share| samples.quantile(share).unwrap_or(f64::NAN);
        Figure {
            name: name.into(),
            unit,
            n: samples.len(),
            min: quantile(0.0),
            p50: quantile(0.5),
            p99: quantile(0.99),
            max: quantile(1.0),
            target: Target::default(),
            met: None,
            original: "",
            note: String::new(),
        }
    }

    /// What is to be reached.
    #[must_use]
    pub fn target(mut self, target: Target) -> Figure {
        let below = |value: f64, limit: Option<f64>| limit.is_none_or(|limit| value <= limit);
        let met = below(self.p50, target.p50)
            && below(self.p99, target.p99)
            && below(self.max, target.max)
            && target.at_least.is_none_or(|limit| self.min >= limit);
        self.met = Some(met);
        self.target = target;
        self
    }

    /// What the original needed.
    #[must_use]
    pub fn original(mut self, text: &'static str) -> Figure {
        self.original = text;
        self
    }

    /// What must be known to read it.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Figure {
        self.note = text.into();
        self
    }

    fn cells(&self) -> Vec<String> {
        let met = match self.met {
            None => "",
            Some(true) => "met",
            Some(false) => "MISSED",
        };
        let numbers = [self.min, self.p50, self.p99, self.max].map(number);
        let mut cells = vec![self.name.clone(), self.unit.to_owned(), self.n.to_string()];
        cells.extend(numbers);
        cells.extend([self.target.text(), met.to_owned(), self.original.to_owned(), self.note.clone()]);
        cells
    }
}

impl Target {
    fn text(&self) -> String {
        let parts = [("p50 ≤", self.p50), ("p99 ≤", self.p99), ("max ≤", self.max), ("≥", self.at_least)];
        let texts = parts.into_iter().filter_map(|(word, limit)| Some(format!("{word} {}", number(limit?))));
        texts.collect::<Vec<_>>().join(", ")
    }
}

/// Three digits that count; whole numbers from 100 on.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 || size == 0.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Where it was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Host {
    /// Processors.
    pub processors: usize,
    /// Of the kernel, systemd in the machines, and etcd.
    pub versions: Vec<String>,
    /// The load average over one minute before the first and after the last benchmark: others' work included.
    pub load: [f64; 2],
}

/// All figures of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Where.
    pub host: Host,
    /// Whether it was but a look.
    pub quick: bool,
    /// What was measured.
    pub figures: Vec<Figure>,
}

impl Report {
    /// As a table for people.
    pub fn table(&self) -> String {
        let head = ["what", "unit", "n", "min", "p50", "p99", "max", "target", "", "original", "note"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.figures.iter().map(Figure::cells));
        let widths: Vec<usize> = (0..head.len())
            .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let numeric = cell.starts_with(|first: char| first.is_ascii_digit()) && !cell.contains(' ');
                let padding = " ".repeat(width - cell.chars().count());
                line += &if numeric { format!("{padding}{cell}  ") } else { format!("{cell}{padding}  ") };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        let Host { processors, versions, load: [before, after] } = &self.host;
        let versions = versions.join(", ");
        // Writing to a string does not fail.
        writeln!(text, "{processors} processors; {versions}; load {before:.1} before, {after:.1} after").ok();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(values: &[f64]) -> Figure {
        Figure::new("start", "ms", &values.iter().copied().collect())
    }

    #[test]
    fn a_target_is_met_when_every_part_of_it_is() {
        let target = Target { p50: Some(2.0), max: Some(3.0), ..Target::default() };
        assert_eq!(figure(&[1.0, 2.0, 3.0]).target(target).met, Some(true));
        assert_eq!(figure(&[1.0, 2.0, 3.1]).target(target).met, Some(false));
        assert_eq!(figure(&[2.1, 2.2, 2.3]).target(target).met, Some(false));
        let rate = Target { at_least: Some(2.0), ..Target::default() };
        assert_eq!(figure(&[2.0, 9.0]).target(rate).met, Some(true));
        assert_eq!(figure(&[1.9, 9.0]).target(rate).met, Some(false));
        assert_eq!(figure(&[1.0]).met, None);
    }

    #[test]
    fn nothing_measured_meets_no_target() {
        let target = Target { p50: Some(2.0), ..Target::default() };
        assert_eq!(figure(&[]).target(target).met, Some(false));
    }

    #[test]
    fn a_table_shows_every_figure() {
        let host = Host { processors: 2, versions: vec!["etcd 3.4.23".to_owned()], load: [0.5, 1.25] };
        let met = figure(&[1.0, 20.0, 300.0])
            .target(Target { p50: Some(20.0), ..Target::default() })
            .original("4994");
        let report = Report { host, quick: false, figures: vec![met] };
        let table = report.table();
        let row: Vec<_> = table.lines().nth(1).unwrap().split("  ").map(str::trim).collect();
        let row: Vec<_> = row.into_iter().filter(|cell| !cell.is_empty()).collect();
        let expected = ["start", "ms", "3", "1.00", "20.0", "300", "300", "p50 ≤ 20.0", "met", "4994"];
        assert_eq!(row, expected);
    }
}
