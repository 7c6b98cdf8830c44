//! What a stream of `system/metrics` may say.

use std::sync::Arc;
use std::time::Duration;

use regex::bytes::RegexSetBuilder;

use super::Machine;
use super::cpu::{Core, Cpu, Report};
use super::diskio::DiskIo;
use super::filesystem::{FileSystem, FsStat, Usage, Volumes};
use super::load::Load;
use super::memory::Memory;
use super::metricset::Metricset;
use super::network::Network;
use super::process::{Extent, Options, Process, Summary, Top};
use super::sockets::Sockets;
use super::uptime::Uptime;
use crate::config::{Config, Mistake};
use crate::procfs::root::Root;

/// How often is measured unless a stream says otherwise.
const PERIOD: Duration = Duration::from_secs(10);

/// The metricsets that there are, for messages.
const NAMES: &str = "core, cpu, diskio, filesystem, fsstat, load, memory, network, process, process_summary, socket_summary, uptime";

/// A stream's settings.
pub(super) struct Settings {
    pub(super) period: Duration,
    pub(super) root: Root,
    pub(super) metricsets: Vec<Box<dyn Metricset>>,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// One cannot be used.
    pub(super) fn read(config: &Config, machine: &Arc<Machine>) -> Result<Settings, Mistake> {
        let period = config.duration("period", PERIOD)?;
        if period < Duration::from_millis(100) {
            config.or((), Err(config.mistake("period", "must be 100ms or more")))?;
        }
        let root = match config.text("system.hostfs")?.or(config.text("hostfs")?) {
            Some(path) if !path.is_empty() => Root::new(path),
            _ => Root::default(),
        };
        let names = config.texts("metricsets")?;
        if names.is_empty() {
            let problem = format!("must name what is to be measured: {NAMES}");
            config.or((), Err(config.mistake("metricsets", problem)))?;
        }
        let mut metricsets = Vec::with_capacity(names.len());
        for name in &names {
            metricsets.extend(config.or(None, metricset(name, config, machine).map(Some))?);
        }
        Ok(Settings { period, root, metricsets })
    }
}

fn metricset(name: &str, config: &Config, machine: &Arc<Machine>) -> Result<Box<dyn Metricset>, Mistake> {
    Ok(match name {
        "core" => Box::new(Core::new(report(config, "core.metrics")?)),
        "cpu" => Box::new(Cpu::new(report(config, "cpu.metrics")?)),
        "diskio" => Box::new(DiskIo::new(config.texts("diskio.include_devices")?)),
        "filesystem" => Box::new(FileSystem(volumes(config)?)),
        "fsstat" => Box::new(FsStat(volumes(config)?)),
        "load" => Box::new(Load::default()),
        "memory" => Box::new(Memory::default()),
        "network" => Box::new(Network::new(&config.texts("network.interfaces")?)),
        "process" => Box::new(Process::new(Arc::clone(machine), processes(config)?)),
        "process_summary" => Box::new(Summary::new(Arc::clone(machine))),
        "socket_summary" => Box::new(Sockets::default()),
        "uptime" => Box::new(Uptime::default()),
        other => {
            let problem = format!("{other:?} is not a metricset that this agent has (these are: {NAMES})");
            return Err(config.mistake("metricsets", problem));
        }
    })
}

fn report(config: &Config, key: &str) -> Result<Report, Mistake> {
    let names = config.texts(key)?;
    if names.is_empty() {
        return Ok(Report::default());
    }
    let mut report = Report { percentages: false, normalized: false, ticks: false };
    for name in names {
        match name.as_str() {
            "percentages" => report.percentages = true,
            "normalized_percentages" => report.normalized = true,
            "ticks" => report.ticks = true,
            other => {
                let problem = format!("{other:?} is not one of percentages, normalized_percentages, ticks");
                return Err(config.mistake(key, problem));
            }
        }
    }
    Ok(report)
}

fn volumes(config: &Config) -> Result<Volumes, Mistake> {
    Ok(Volumes::new(config.texts("filesystem.ignore_types")?, Usage::of))
}

fn processes(config: &Config) -> Result<Options, Mistake> {
    let patterns = config.texts("processes")?;
    // What every name matches need not be tried on each of thousands.
    let all = patterns.is_empty() || patterns.iter().any(|pattern| pattern == ".*");
    let names = if all { None } else { Some(RegexSetBuilder::new(&patterns).size_limit(4 << 20).build()) };
    let names =
        names.transpose().map_err(|error| config.mistake("processes", format!("cannot be used: {error}")))?;
    let top = Top {
        by_cpu: config.count("process.include_top_n.by_cpu", 0)?,
        by_memory: config.count("process.include_top_n.by_memory", 0)?,
    };
    let limited = config.boolean("process.include_top_n.enabled", true)?;
    Ok(Options {
        names,
        top: if limited { top } else { Top::default() },
        includes_ticks: config.boolean("process.include_cpu_ticks", false)?,
        extent: Extent {
            caches_commands: config.boolean("process.cmdline.cache.enabled", true)?,
            environment: config.patterns("process.env.whitelist")?,
            control_groups: config.boolean("process.cgroups.enabled", false)?,
        },
    })
}
