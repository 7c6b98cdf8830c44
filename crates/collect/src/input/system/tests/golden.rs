//! Two recorded trees, ten seconds apart. Between them an interface and a disk came or went, a counter of 32 bits began
//! again, another one was set back, a pid was used again, and a process ended while it was read.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::Machine;
use super::super::filesystem::{FileSystem, FsStat, Usage, Volumes};
use super::super::metricset::Metricset;
use super::super::settings::Settings;
use super::assert_declared;
use super::tree::Trees;
use crate::config::Config;
use crate::procfs::root::Root;

fn settings(name: &str, more: Value) -> Box<dyn Metricset> {
    let Value::Object(mut map) = more else { return settings(name, json!({})) };
    map.insert("metricsets".to_owned(), json!([name]));
    let config = Config::new(&map);
    let mut settings = Settings::read(&config, &Arc::default()).unwrap();
    settings.metricsets.pop().unwrap()
}

/// What is said at the first moment, and ten seconds later.
fn measure(mut metricset: Box<dyn Metricset>) -> Value {
    let name = metricset.name();
    let trees = Trees::unpack();
    let mut said = Map::new();
    for (moment, seconds) in [("before", 100), ("after", 110)] {
        let documents =
            metricset.measure(&Root::new(trees.path(moment)), Duration::from_secs(seconds)).unwrap();
        let documents: Vec<Value> =
            documents.into_iter().map(|document| Value::Object(document.into_map())).collect();
        assert_declared(name, &documents);
        said.insert(moment.to_owned(), Value::Array(documents));
    }
    Value::Object(said)
}

fn assert_golden(name: &str, metricset: Box<dyn Metricset>) {
    let said = measure(metricset);
    insta::assert_snapshot!(name, serde_json::to_string_pretty(&said).unwrap());
}

#[test]
fn cpu() {
    let metrics = json!({"cpu.metrics": ["percentages", "normalized_percentages", "ticks"]});
    assert_golden("cpu", settings("cpu", metrics));
}

#[test]
fn cpu_says_nothing_before_it_can_compare() {
    let said = measure(settings("cpu", json!({})));
    assert_eq!(said["before"], json!([]));
    assert_eq!(said["after"][0]["host"]["cpu"]["usage"], 0.3);
}

#[test]
fn core() {
    assert_golden("core", settings("core", json!({"core.metrics": ["percentages", "ticks"]})));
}

#[test]
fn load() {
    assert_golden("load", settings("load", json!({})));
}

#[test]
fn memory() {
    assert_golden("memory", settings("memory", json!({})));
}

#[test]
fn network() {
    assert_golden("network", settings("network", json!({})));
}

#[test]
fn network_of_one_interface() {
    let said = measure(settings("network", json!({"network.interfaces": ["ETH0"]})));
    assert_eq!(said["after"].as_array().unwrap().len(), 2);
    assert_eq!(said["after"][1]["host"]["network"]["ingress"]["bytes"], 250_000);
}

#[test]
fn diskio() {
    assert_golden("diskio", settings("diskio", json!({})));
}

#[test]
fn diskio_of_one_device() {
    let said = measure(settings("diskio", json!({"diskio.include_devices": ["loop0"]})));
    assert_eq!(said["after"][0]["system"]["diskio"]["name"], "loop0");
    assert_eq!(said["after"].as_array().unwrap().len(), 2);
}

fn size(path: &Path) -> io::Result<Usage> {
    let path = path.to_string_lossy();
    match path.rsplit_once("/tree/").and_then(|(_, rest)| rest.split_once('/')) {
        Some((_, "")) => Ok(Usage { total: 1000, free: 400, available: 300, files: 50, free_files: 20 }),
        Some((_, "gone")) => Err(io::Error::other("its server is gone")),
        _ => Ok(Usage { total: 200, free: 200, available: 200, files: 0, free_files: 0 }),
    }
}

#[test]
fn filesystem() {
    assert_golden("filesystem", Box::new(FileSystem(Volumes::new(Vec::new(), size))));
}

#[test]
fn filesystem_of_other_kinds() {
    let ignored = ["sysfs", "proc", "ext4", "vfat", "xfs"].map(str::to_owned).to_vec();
    let said = measure(Box::new(FileSystem(Volumes::new(ignored, size))));
    assert_eq!(said["after"][0]["system"]["filesystem"]["mount_point"], "/run");
    assert_eq!(said["after"].as_array().unwrap().len(), 1);
}

#[test]
fn fsstat() {
    assert_golden("fsstat", Box::new(FsStat(Volumes::new(Vec::new(), size))));
}

#[test]
fn process() {
    let options = json!({
        "processes": [".*"],
        "process.include_top_n.by_cpu": 2,
        "process.include_top_n.by_memory": 2,
        "process.include_cpu_ticks": true,
        "process.env.whitelist": ["^APP_"],
    });
    assert_golden("process", settings("process", options));
}

#[test]
fn processes_by_name() {
    let said = measure(settings("process", json!({"processes": ["^nginx$", "system"]})));
    for moment in ["before", "after"] {
        let names: Vec<_> =
            said[moment].as_array().unwrap().iter().map(|document| &document["process"]["name"]).collect();
        assert_eq!(names.len(), 2);
        assert!(names.iter().any(|name| *name == "nginx") && names.iter().any(|name| *name == "systemd"));
    }
}

#[test]
fn process_summary() {
    assert_golden("process_summary", settings("process_summary", json!({})));
}

#[test]
fn socket_summary() {
    assert_golden("socket_summary", settings("socket_summary", json!({})));
}

#[test]
fn uptime() {
    assert_golden("uptime", settings("uptime", json!({})));
}

#[test]
fn a_tree_without_anything_is_an_error_with_a_name() {
    let empty = tempfile::tempdir().unwrap();
    for name in [
        "core",
        "cpu",
        "diskio",
        "filesystem",
        "fsstat",
        "load",
        "memory",
        "network",
        "process",
        "process_summary",
        "socket_summary",
        "uptime",
    ] {
        let error = settings(name, json!({})).measure(&Root::new(empty.path()), Duration::ZERO).unwrap_err();
        assert!(error.reason().contains("/proc"), "{name}: {}", error.reason());
    }
}

#[test]
fn a_setting_that_cannot_be_used_is_named() {
    let wrong = [
        (json!({}), "metricsets"),
        (json!({"metricsets": ["cpu", "entropy"]}), "metricsets"),
        (json!({"metricsets": ["cpu"], "period": "1ms"}), "period"),
        (json!({"metricsets": ["cpu"], "cpu.metrics": ["percent"]}), "cpu.metrics"),
        (json!({"metricsets": ["process"], "processes": ["("]}), "processes"),
        (
            json!({"metricsets": ["process"], "process.include_top_n.by_cpu": "many"}),
            "process.include_top_n.by_cpu",
        ),
    ];
    for (value, field) in wrong {
        let config = Config::new(value.as_object().unwrap());
        let mistake = Settings::read(&config, &Arc::<Machine>::default()).err().unwrap();
        assert_eq!(mistake.field, field);
    }
}
