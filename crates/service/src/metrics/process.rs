//! Metrics of the process itself, read from `/proc` (proc(5)) when they are asked for.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Ticks per second in `/proc/*/stat`: `USER_HZ` is 100 on every architecture that systemd supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads and writes the metrics. One that cannot be read is left out.
#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().and_then(|text| Stat::parse(&text)) {
            let cpu = ConstCounter::new(stat.cpu_seconds);
            let help = "User and system CPU time spent, in seconds.";
            let metric = encoder.encode_descriptor("process_cpu_seconds", help, None, cpu.metric_type())?;
            cpu.encode(metric)?;
            if let Some(boot) = fs::read_to_string("/proc/stat").ok().and_then(|text| boot_time(&text)) {
                let help = "When the process started, in seconds since 1970.";
                gauge(&mut encoder, "process_start_time_seconds", help, boot + stat.start_seconds)?;
            }
        }
        if let Ok(status) = fs::read_to_string("/proc/self/status") {
            for (name, field, help) in [
                ("process_resident_memory_bytes", "VmRSS:", "Resident memory, in bytes."),
                ("process_virtual_memory_bytes", "VmSize:", "Virtual memory, in bytes."),
            ] {
                if let Some(bytes) = status_bytes(&status, field) {
                    gauge(&mut encoder, name, help, bytes)?;
                }
            }
        }
        if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
            gauge(&mut encoder, "process_open_fds", "Open file descriptors.", count(descriptors))?;
        }
        let limits = fs::read_to_string("/proc/self/limits");
        if let Some(limit) = limits.ok().and_then(|text| descriptor_limit(&text)) {
            gauge(&mut encoder, "process_max_fds", "Most file descriptors that may be open.", limit)?;
        }
        Ok(())
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

/// What is needed of `/proc/self/stat`.
struct Stat {
    cpu_seconds: f64,
    /// After boot.
    start_seconds: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Stat> {
        // The second field is the command in parentheses, and may contain blanks and parentheses.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Stat {
            cpu_seconds: (ticks(14)? + ticks(15)?) / TICKS_PER_SECOND,
            start_seconds: ticks(22)? / TICKS_PER_SECOND,
        })
    }
}

/// `btime` of `/proc/stat`: seconds since 1970.
fn boot_time(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// A field of `/proc/self/status` that is given in kB.
fn status_bytes(text: &str, field: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: f64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

/// The soft limit of `Max open files` in `/proc/self/limits`.
fn descriptor_limit(text: &str) -> Option<f64> {
    let values = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    values.split_ascii_whitespace().next()?.parse().ok()
}

fn count(descriptors: fs::ReadDir) -> f64 {
    u32::try_from(descriptors.count()).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::{Stat, boot_time, descriptor_limit, status_bytes};

    #[test]
    fn the_files_of_proc_are_read() {
        let stat = "7 (a) (b c) S 1 7 7 0 -1 4194560 100 0 0 0 250 150 0 0 20 0 1 0 12345 9 9 9";
        let stat = Stat::parse(stat).unwrap();
        assert!((stat.cpu_seconds - 4.0).abs() < 1e-9);
        assert!((stat.start_seconds - 123.45).abs() < 1e-9);
        assert!(Stat::parse("7 (a) S 1").is_none());
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\n"), Some(1_700_000_000.0));
        assert_eq!(status_bytes("VmPeak:\t 9 kB\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12288.0));
        assert_eq!(status_bytes("", "VmRSS:"), None);
        let limits = "Max open files            1024                 524288               files\n";
        assert_eq!(descriptor_limit(limits), Some(1024.0));
        assert_eq!(descriptor_limit("Max open files            unlimited            unlimited"), None);
    }
}
