//! The metricsets `process` and `process_summary`.
//!
//! One pass over `/proc` reads one small file of each process; only those that are reported are read closer.

mod cgroup;
mod details;
mod summary;
mod table;

pub(super) use details::Extent;
pub(super) use summary::Summary;
pub(super) use table::Table;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use regex::bytes::RegexSet;
use time::OffsetDateTime;

use super::Machine;
use super::document::Document;
use super::memory;
use super::metricset::{Metricset, Pace};
use crate::procfs::root::{ReadError, Root};
use crate::procfs::stat::Stat;
use crate::procfs::text;
use details::{Identity, Reader};

/// How many processes are reported. Both absent: all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Top {
    pub(super) by_cpu: usize,
    pub(super) by_memory: usize,
}

/// What a stream says about processes.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// Which names are looked at; `None`: all.
    pub(super) names: Option<RegexSet>,
    pub(super) top: Top,
    pub(super) includes_ticks: bool,
    pub(super) extent: Extent,
}

/// Processor time of a process at the last measurement.
#[derive(Clone, Copy, Debug)]
struct Before {
    pid: u32,
    started: u64,
    ticks: u64,
}

/// A process that could be reported.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// In the table.
    index: usize,
    /// Processors used since the last measurement; a process that is new has none.
    share: Option<f64>,
    /// Pages.
    resident: u64,
}

/// A process that is reported.
#[derive(Clone, Debug)]
struct Chosen {
    stat: Stat,
    share: Option<f64>,
    identity: Identity,
}

/// What is the same for all processes at a measurement.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    ticks_per_second: u64,
    page_size: u64,
    cores: usize,
    memory: Option<u64>,
    /// Seconds since 1970.
    booted: Option<u64>,
}

/// `process`.
#[derive(Debug)]
pub(super) struct Process {
    machine: Arc<Machine>,
    names: Option<RegexSet>,
    top: Top,
    includes_ticks: bool,
    reader: Reader,
    facts: Facts,
    before: Option<(Duration, Vec<Before>)>,
    buffer: Vec<u8>,
}

impl Process {
    pub(super) fn new(machine: Arc<Machine>, options: Options) -> Process {
        let reader = Reader::new(options.extent);
        Process {
            machine,
            names: options.names,
            top: options.top,
            includes_ticks: options.includes_ticks,
            reader,
            facts: Facts::default(),
            before: None,
            buffer: Vec::new(),
        }
    }

    fn refresh_facts(&mut self, root: &Root) -> Result<(), ReadError> {
        root.read("proc/stat", &mut self.buffer)?;
        self.facts.cores = super::cpu::Processors::parse(&self.buffer).count();
        // The kernel computes it anew from clocks that drift: the first answer stays, so that start times do too.
        if self.facts.booted.is_none() {
            let line = text::lines(&self.buffer).find_map(|line| line.strip_prefix(b"btime "));
            self.facts.booted = line.and_then(|line| text::number(line.trim_ascii()));
        }
        root.read("proc/meminfo", &mut self.buffer)?;
        self.facts.memory = memory::total(&self.buffer);
        self.facts.ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
        self.facts.page_size = rustix::param::page_size() as u64;
        Ok(())
    }

    /// Reads all processes, and takes those that are to be reported.
    fn choose(&mut self, root: &Root, now: Duration) -> Result<Vec<Chosen>, ReadError> {
        let mut table = self.machine.processes.lock().unwrap_or_else(PoisonError::into_inner);
        table.refresh(root, now)?;
        let is_first = self.before.is_none();
        let (then, before) = self.before.take().unwrap_or_default();
        let elapsed = now.saturating_sub(then);
        let mut after = Vec::with_capacity(before.len() + 16);
        let mut candidates = Vec::with_capacity(before.len() + 16);
        for (index, (stat, name)) in table.iter().enumerate() {
            if self.names.as_ref().is_some_and(|names| !names.is_match(name)) {
                continue;
            }
            after.push(Before { pid: stat.pid, started: stat.started, ticks: stat.ticks() });
            let share = if is_first { None } else { share(&before, stat, elapsed, &self.facts) };
            candidates.push(Candidate { index, share, resident: stat.resident });
        }
        after.sort_unstable_by_key(|before| before.pid);
        self.before = Some((now, after));
        let chosen = choose(candidates, self.top).into_iter().filter_map(|candidate| {
            let (stat, name) = table.get(candidate.index)?;
            let identity = Identity { pid: stat.pid, started: stat.started, name: text::text(name) };
            Some(Chosen { stat: *stat, share: candidate.share, identity })
        });
        Ok(chosen.collect())
    }

    fn document(&mut self, root: &Root, chosen: &Chosen) -> Document {
        let mut document = Document::default();
        self.describe(&chosen.stat, &mut document);
        document.set("process.name", chosen.identity.name.as_str());
        if let Some(share) = chosen.share {
            let of_all = share / self.facts.cores.max(1) as f64;
            document.share("system.process.cpu.total.pct", share);
            document.share("system.process.cpu.total.norm.pct", of_all);
            document.share("process.cpu.pct", of_all);
        }
        self.reader.describe(root, &chosen.identity, &mut document);
        document
    }

    /// What `/proc/<pid>/stat` says.
    fn describe(&self, stat: &Stat, document: &mut Document) {
        let facts = &self.facts;
        document.set("process.pid", stat.pid);
        document.set("process.parent.pid", stat.parent);
        document.set("process.pgid", stat.group);
        document.set("process.state", stat.state_name());
        document.set("system.process.state", stat.state_name());
        document.set("system.process.num_threads", stat.threads);

        let milliseconds = |ticks: u64| u128::from(ticks) * 1000 / u128::from(facts.ticks_per_second.max(1));
        document.maybe("system.process.cpu.total.value", u64::try_from(milliseconds(stat.ticks())).ok());
        if let Some(started) = facts.booted.and_then(|booted| start_time(booted, milliseconds(stat.started)))
        {
            document.set("process.cpu.start_time", started.as_str());
            document.set("system.process.cpu.start_time", started);
        }
        if self.includes_ticks {
            document.set("system.process.cpu.total.ticks", stat.ticks());
            document.set("system.process.cpu.user.ticks", stat.user);
            document.set("system.process.cpu.system.ticks", stat.system);
        }
        let resident = stat.resident.saturating_mul(facts.page_size);
        document.set("system.process.memory.size", stat.size);
        document.set("system.process.memory.rss.bytes", resident);
        if let Some(memory) = facts.memory {
            let share = super::delta::ratio(resident, memory);
            document.share("system.process.memory.rss.pct", share);
            document.share("process.memory.pct", share);
        }
    }
}

impl Metricset for Process {
    fn name(&self) -> &'static str {
        "process"
    }

    fn pace(&self) -> Pace {
        Pace::Slow
    }

    fn measure(&mut self, root: &Root, now: Duration) -> Result<Vec<Document>, ReadError> {
        self.refresh_facts(root)?;
        let is_first = self.before.is_none();
        let chosen = self.choose(root, now)?;
        if is_first && self.top.by_cpu > 0 {
            // Who uses most is not known yet.
            return Ok(Vec::new());
        }
        self.reader.prepare(root, &chosen.iter().map(|chosen| &chosen.identity).collect());
        Ok(chosen.iter().map(|chosen| self.document(root, chosen)).collect())
    }
}

/// Processor time since the last measurement in processors: 2.0 are two of them, all the time.
fn share(before: &[Before], stat: &Stat, elapsed: Duration, facts: &Facts) -> Option<f64> {
    let known =
        before.binary_search_by_key(&stat.pid, |before| before.pid).ok().and_then(|index| before.get(index));
    let grown = match known {
        // The same number with another start is another process.
        Some(old) if old.started == stat.started => stat.ticks().checked_sub(old.ticks)?,
        // It was started since: all of its time was spent since.
        _ => stat.ticks(),
    };
    let share = grown as f64 / facts.ticks_per_second.max(1) as f64 / elapsed.as_secs_f64();
    // A process that only now has a name that is looked for may be older than it seems.
    let is_possible = known.is_some() || share <= facts.cores as f64;
    (share.is_finite() && is_possible).then_some(share)
}

/// The processes that use most, by either measure, in the order of the table; all if there is no measure.
fn choose(mut candidates: Vec<Candidate>, top: Top) -> Vec<Candidate> {
    if top == Top::default() {
        return candidates;
    }
    let mut chosen = BTreeMap::new();
    let mut take = |count: usize, order: fn(&Candidate, &Candidate) -> Ordering| {
        let count = count.min(candidates.len());
        if let Some(last) = count.checked_sub(1) {
            candidates.select_nth_unstable_by(last, order);
        }
        chosen.extend(candidates.iter().take(count).map(|candidate| (candidate.index, *candidate)));
    };
    take(top.by_cpu, |a, b| b.share.unwrap_or(0.0).total_cmp(&a.share.unwrap_or(0.0)));
    take(top.by_memory, |a, b| b.resident.cmp(&a.resident));
    chosen.into_values().collect()
}

fn start_time(booted: u64, after: u128) -> Option<String> {
    let nanoseconds = (u128::from(booted) * 1000).checked_add(after)?.checked_mul(1_000_000)?;
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::try_from(nanoseconds).ok()?).ok()?;
    Some(crate::clock::timestamp(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FACTS: Facts =
        Facts { ticks_per_second: 100, page_size: 4096, cores: 2, memory: None, booted: None };

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let one = (prop::option::of(0.0..8.0_f64), 0_u64..100);
        prop::collection::vec(one, 0..40).prop_map(|all| {
            let numbered = all.into_iter().enumerate();
            numbered.map(|(index, (share, resident))| Candidate { index, share, resident }).collect()
        })
    }

    proptest! {
        #[test]
        fn nobody_who_uses_more_is_left_out(all in candidates(), by_cpu in 0_usize..6, by_memory in 0_usize..6) {
            let chosen = choose(all.clone(), Top { by_cpu, by_memory });
            if by_cpu == 0 && by_memory == 0 {
                prop_assert_eq!(chosen.len(), all.len());
                return Ok(());
            }
            prop_assert!(chosen.len() <= by_cpu + by_memory);
            prop_assert!(chosen.len() >= by_cpu.max(by_memory).min(all.len()));
            prop_assert!(chosen.is_sorted_by_key(|candidate| candidate.index));
            let is_chosen = |other: &Candidate| chosen.iter().any(|chosen| chosen.index == other.index);
            for left_out in all.iter().filter(|candidate| !is_chosen(candidate)) {
                let more = |other: &&Candidate| other.resident >= left_out.resident;
                prop_assert!(chosen.iter().filter(more).count() >= by_memory);
                let more = |other: &&Candidate| other.share.unwrap_or(0.0) >= left_out.share.unwrap_or(0.0);
                prop_assert!(chosen.iter().filter(more).count() >= by_cpu);
            }
        }
    }

    #[test]
    fn a_number_that_is_used_again_is_another_process() {
        let before = [Before { pid: 7, started: 1, ticks: 100 }, Before { pid: 9, started: 1, ticks: 100 }];
        let stat = |pid, started, user| Stat { pid, started, user, ..Stat::default() };
        let share = |stat| share(&before, &stat, Duration::from_secs(10), &FACTS);
        assert_eq!(share(stat(7, 1, 600)), Some(0.5));
        assert_eq!(share(stat(7, 2, 600)), Some(0.6));
        assert_eq!(share(stat(9, 1, 50)), None);
        assert_eq!(share(stat(8, 1, 50)), Some(0.05));
        assert_eq!(share(stat(8, 1, 5_000)), None);
    }

    #[test]
    fn no_time_is_no_share() {
        let before = [Before { pid: 7, started: 1, ticks: 100 }];
        let stat = Stat { pid: 7, started: 1, user: 200, ..Stat::default() };
        assert_eq!(share(&before, &stat, Duration::ZERO, &FACTS), None);
    }

    #[test]
    fn a_start_time_is_a_date_or_absent() {
        assert_eq!(start_time(1_700_000_000, 1_500).as_deref(), Some("2023-11-14T22:13:21.500Z"));
        assert_eq!(start_time(u64::MAX, 0), None);
    }
}
