//! The metricsets `cpu` and `core`: what `/proc/stat` says about processor time.

use std::time::Duration;

use super::delta::{ratio, round};
use super::document::Document;
use super::metricset::Metricset;
use crate::procfs::root::{ReadError, Root};
use crate::procfs::text;

/// The states of a processor in the order of `/proc/stat`, by the names of the documents.
const STATES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const IDLE: usize = 3;
const IOWAIT: usize = 4;

/// Time in ticks by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticks([u64; STATES.len()]);

impl Ticks {
    /// Of the words after the name of a `cpu` line. Kernels that are older have fewer of them.
    fn parse<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Option<Ticks> {
        let mut ticks = Ticks::default();
        for (index, slot) in ticks.0.iter_mut().enumerate() {
            match words.next() {
                Some(word) => *slot = text::number(word)?,
                None if index > IDLE => break,
                None => return None,
            }
        }
        Some(ticks)
    }

    /// The share of each state in the time between, and that of all but idle ones. Absent if no time has passed, or
    /// the counters were set back.
    pub(super) fn shares(&self, before: &Ticks) -> Option<Shares> {
        let sum = |ticks: &Ticks| ticks.0.iter().map(|ticks| u128::from(*ticks)).sum::<u128>();
        if sum(self) <= sum(before) {
            return None;
        }
        // Idle times may fall a little between two readings, for the kernel estimates them.
        let grown: Vec<u64> =
            self.0.iter().zip(before.0).map(|(now, before)| now.saturating_sub(before)).collect();
        let whole = grown.iter().fold(0_u64, |sum, ticks| sum.saturating_add(*ticks));
        let mut states = [0.0; STATES.len()];
        for (share, ticks) in states.iter_mut().zip(&grown) {
            *share = ratio(*ticks, whole);
        }
        let idle = grown[IDLE].saturating_add(grown[IOWAIT]);
        Some(Shares { states, total: ratio(whole.saturating_sub(idle), whole) })
    }
}

/// Shares of time, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shares {
    states: [f64; STATES.len()],
    /// All states but `idle` and `iowait`.
    pub(super) total: f64,
}

/// All `cpu` lines of `/proc/stat`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Processors {
    all: Option<Ticks>,
    /// By number, in ascending order. A processor that is off has no line.
    cores: Vec<(u32, Ticks)>,
}

impl Processors {
    pub(super) fn parse(stat: &[u8]) -> Processors {
        let mut processors = Processors::default();
        // The `cpu` lines come first; the line of interrupts behind them is the longest of all.
        for line in text::lines(stat).take_while(|line| line.starts_with(b"cpu")) {
            let mut words = text::words(line);
            let name = words.next().unwrap_or_default().strip_prefix(b"cpu").unwrap_or_default();
            let Some(ticks) = Ticks::parse(words) else { continue };
            match text::number(name).and_then(|number| u32::try_from(number).ok()) {
                Some(number) => processors.cores.push((number, ticks)),
                None if name.is_empty() => processors.all = Some(ticks),
                None => {}
            }
        }
        processors.cores.sort_unstable_by_key(|(number, _)| *number);
        processors.cores.dedup_by_key(|(number, _)| *number);
        processors
    }

    fn core(&self, number: u32) -> Option<&Ticks> {
        let index = self.cores.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.cores.get(index).map(|(_, ticks)| ticks)
    }

    /// How many processors are on.
    pub(super) fn count(&self) -> usize {
        self.cores.len().max(1)
    }
}

/// What `cpu.metrics` and `core.metrics` ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// Shares of one core each, summed: 2.0 are two whole cores.
    pub(super) percentages: bool,
    /// Shares of all cores, 0 to 1.
    pub(super) normalized: bool,
    /// Counters.
    pub(super) ticks: bool,
}

impl Default for Report {
    fn default() -> Report {
        Report { percentages: true, normalized: false, ticks: false }
    }
}

/// `cpu`: all processors together.
#[derive(Debug, Default)]
pub(super) struct Cpu {
    report: Report,
    before: Option<Ticks>,
    buffer: Vec<u8>,
}

impl Cpu {
    pub(super) fn new(report: Report) -> Cpu {
        Cpu { report, ..Cpu::default() }
    }

    fn document(&self, ticks: &Ticks, shares: Option<&Shares>, cores: usize) -> Document {
        let mut document = Document::default();
        document.set("system.cpu.cores", cores);
        if let Some(shares) = shares {
            document.share("host.cpu.usage", shares.total);
            let named = STATES.iter().zip(shares.states).chain([(&"total", shares.total)]);
            for (state, share) in named {
                if self.report.percentages {
                    document.share(&format!("system.cpu.{state}.pct"), share * cores as f64);
                }
                if self.report.normalized {
                    document.share(&format!("system.cpu.{state}.norm.pct"), share);
                }
            }
        }
        if self.report.ticks {
            for (state, ticks) in STATES.iter().zip(ticks.0) {
                document.set(&format!("system.cpu.{state}.ticks"), ticks);
            }
        }
        document
    }
}

impl Metricset for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn measure(&mut self, root: &Root, _: Duration) -> Result<Vec<Document>, ReadError> {
        root.read("proc/stat", &mut self.buffer)?;
        let processors = Processors::parse(&self.buffer);
        let Some(ticks) = processors.all else { return Ok(Vec::new()) };
        let shares = self.before.replace(ticks).and_then(|before| ticks.shares(&before));
        if shares.is_none() && !self.report.ticks {
            return Ok(Vec::new());
        }
        Ok(vec![self.document(&ticks, shares.as_ref(), processors.count())])
    }
}

/// `core`: each processor by itself.
#[derive(Debug, Default)]
pub(super) struct Core {
    report: Report,
    before: Processors,
    buffer: Vec<u8>,
}

impl Core {
    pub(super) fn new(report: Report) -> Core {
        Core { report, ..Core::default() }
    }
}

impl Metricset for Core {
    fn name(&self) -> &'static str {
        "core"
    }

    fn measure(&mut self, root: &Root, _: Duration) -> Result<Vec<Document>, ReadError> {
        root.read("proc/stat", &mut self.buffer)?;
        let processors = Processors::parse(&self.buffer);
        // What the processors are is good to know, and not there on every machine.
        let models = match root.read("proc/cpuinfo", &mut self.buffer) {
            Ok(()) => models(&self.buffer),
            Err(_) => Vec::new(),
        };
        let mut documents = Vec::new();
        for (number, ticks) in &processors.cores {
            let shares = self.before.core(*number).and_then(|before| ticks.shares(before));
            if shares.is_none() && !self.report.ticks {
                continue;
            }
            let mut document = Document::default();
            document.set("system.core.id", number.to_string());
            if let Some(shares) = shares.filter(|_| self.report.percentages) {
                for (state, share) in STATES.iter().zip(shares.states).chain([(&"total", shares.total)]) {
                    document.share(&format!("system.core.{state}.pct"), share);
                }
            }
            if self.report.ticks {
                for (state, ticks) in STATES.iter().zip(ticks.0) {
                    document.set(&format!("system.core.{state}.ticks"), ticks);
                }
            }
            if let Some(model) = models.iter().find(|model| model.processor == u64::from(*number)) {
                model.describe(&mut document);
            }
            documents.push(document);
        }
        self.before = processors;
        Ok(documents)
    }
}

/// What a processor is, from `/proc/cpuinfo`.
#[derive(Debug, Default)]
struct Model {
    processor: u64,
    name: Option<String>,
    number: Option<String>,
    mhz: Option<f64>,
    core: Option<String>,
    socket: Option<String>,
}

impl Model {
    fn describe(&self, document: &mut Document) {
        document.maybe("system.core.model_name", self.name.as_deref());
        document.maybe("system.core.model_number", self.number.as_deref());
        document.maybe("system.core.mhz", self.mhz.map(round));
        document.maybe("system.core.core_id", self.core.as_deref());
        document.maybe("system.core.physical_id", self.socket.as_deref());
    }
}

fn models(cpuinfo: &[u8]) -> Vec<Model> {
    let mut models: Vec<Model> = Vec::new();
    for line in text::lines(cpuinfo) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (key, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        if key == b"processor" {
            models.push(Model { processor: text::number(value).unwrap_or(u64::MAX), ..Model::default() });
            continue;
        }
        let Some(model) = models.last_mut() else { continue };
        match key {
            b"model name" => model.name = Some(text::text(value)),
            b"model" => model.number = Some(text::text(value)),
            b"cpu MHz" => model.mhz = text::real(value),
            b"core id" => model.core = Some(text::text(value)),
            b"physical id" => model.socket = Some(text::text(value)),
            _ => {}
        }
    }
    models
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_are_a_whole(before: [u32; 8], more in prop::array::uniform8(0_u32..1_000_000)) {
            let before = before.map(u64::from);
            let mut now = before;
            now.iter_mut().zip(more).for_each(|(now, more)| *now += u64::from(more));
            match Ticks(now).shares(&Ticks(before)) {
                None => prop_assert!(more.iter().all(|more| *more == 0)),
                Some(shares) => {
                    let sum: f64 = shares.states.iter().sum();
                    prop_assert!((sum - 1.0).abs() < 1e-9);
                    let busy = 1.0 - shares.states[IDLE] - shares.states[IOWAIT];
                    prop_assert!((shares.total - busy).abs() < 1e-9);
                }
            }
        }

        #[test]
        fn shares_of_anything_are_shares(before: [u64; 8], now: [u64; 8]) {
            if let Some(shares) = Ticks(now).shares(&Ticks(before)) {
                for share in shares.states.iter().chain([&shares.total]) {
                    prop_assert!((0.0..=1.0).contains(share));
                }
            }
        }

        #[test]
        fn no_text_is_too_strange(stat in "(cpu[0-9]{0,12}( [0-9x]{0,22}){0,12}\n){0,20}.*") {
            Processors::parse(stat.as_bytes());
            models(stat.as_bytes());
        }
    }

    #[test]
    fn old_kernels_have_fewer_states() {
        let processors = Processors::parse(b"cpu  1 2 3 4\ncpu0 1 2 3 4\ncpu7 1 2 3\nintr 5\n");
        assert_eq!(processors.all, Some(Ticks([1, 2, 3, 4, 0, 0, 0, 0])));
        assert_eq!(processors.count(), 1);
    }
}
