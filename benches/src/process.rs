//! A process of this host: the fleetd of a machine, or a server that a benchmark started.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use fleet_tests::Machine;

use crate::error::BenchError;

/// Clock ticks per second in `/proc/PID/stat`: the same on every Linux that runs systemd.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(u32);

/// Memory of a process, in MB (10^6 bytes).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Resident, the program's own pages in the page cache included.
    pub(crate) resident: f64,
    /// The part that is the process's own.
    pub(crate) anonymous: f64,
}

impl Process {
    /// The process with this id.
    pub(crate) fn new(id: u32) -> Process {
        Process(id)
    }

    /// The fleetd that runs in a machine; `None` when none does.
    pub(crate) fn fleetd(machine: &Machine) -> Result<Option<Process>, BenchError> {
        let space = namespace(machine.leader()?)?;
        let folder = std::fs::read_dir("/proc").map_err(BenchError::file("read", "/proc"))?;
        for entry in folder.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let comm = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            // A process may end between two looks: then it is not the one.
            if comm.trim() == "fleetd" && namespace(pid).is_ok_and(|other| other == space) {
                return Ok(Some(Process(pid)));
            }
        }
        Ok(None)
    }

    /// The fleetd that runs in a machine.
    pub(crate) fn fleetd_running(machine: &Machine) -> Result<Process, BenchError> {
        let none = || BenchError::Wrong(format!("no fleetd runs on {}", machine.name()));
        Process::fleetd(machine)?.ok_or_else(none)
    }

    fn file(self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.0.to_string()).join(name)
    }

    fn read(self, name: &str) -> Result<String, BenchError> {
        let path = self.file(name);
        std::fs::read_to_string(&path).map_err(BenchError::file("read", path))
    }

    /// Its memory now.
    pub(crate) fn memory(self) -> Result<Memory, BenchError> {
        let status = self.read("status")?;
        Ok(Memory { resident: self.field(&status, "VmRSS")?, anonymous: self.field(&status, "RssAnon")? })
    }

    /// The most that it ever had, in MB.
    pub(crate) fn most_memory(self) -> Result<f64, BenchError> {
        self.field(&self.read("status")?, "VmHWM")
    }

    fn field(self, status: &str, name: &str) -> Result<f64, BenchError> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kibibytes = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
        kibibytes
            .map(|kibibytes| kibibytes * 1024.0 / 1e6)
            .ok_or_else(|| BenchError::Wrong(format!("/proc/{}/status has no {name}", self.0)))
    }

    /// Processor time that it has used, in seconds.
    pub(crate) fn processor_time(self) -> Result<f64, BenchError> {
        let stat = self.read("stat")?;
        // Behind the name, which may hold anything but ends with the last parenthesis; then fields 3 and on.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<f64>().ok());
        match (ticks(14), ticks(15)) {
            (Some(user), Some(system)) => Ok((user + system) / TICKS_PER_SECOND),
            _ => Err(BenchError::Wrong(format!("/proc/{}/stat has no times", self.0))),
        }
    }

    /// Ends it at once, without a word (SIGKILL).
    pub(crate) async fn kill(self) -> Result<(), BenchError> {
        self.signal("-KILL").await
    }

    /// Asks it to end (SIGTERM).
    pub(crate) async fn terminate(self) -> Result<(), BenchError> {
        self.signal("-TERM").await
    }

    async fn signal(self, signal: &str) -> Result<(), BenchError> {
        let mut command = tokio::process::Command::new("kill");
        command.args([signal, &self.0.to_string()]).stdin(Stdio::null());
        let status = command.status().await.map_err(BenchError::file("run", "kill"))?;
        if status.success() {
            return Ok(());
        }
        Err(BenchError::Wrong(format!("kill {signal} {} ended with {status}", self.0)))
    }
}

fn namespace(pid: u32) -> Result<PathBuf, BenchError> {
    let path = Path::new("/proc").join(pid.to_string()).join("ns/pid");
    std::fs::read_link(&path).map_err(BenchError::file("read", path))
}
