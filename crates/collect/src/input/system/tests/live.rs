//! The machine that the tests run on, compared with what its own tools say.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::Machine;
use super::super::settings::Settings;
use super::assert_declared;
use crate::config::Config;
use crate::procfs::root::Root;

/// Two measurements that are said to be ten seconds apart.
fn measure(more: &Value) -> Vec<Value> {
    let config = Config::new(more.as_object().unwrap());
    let machine = Arc::<Machine>::default();
    let mut metricset = Settings::read(&config, &machine).unwrap().metricsets.pop().unwrap();
    let mut said = Vec::new();
    for seconds in [100, 110] {
        said = metricset.measure(&Root::default(), Duration::from_secs(seconds)).unwrap();
    }
    let said: Vec<Value> = said.into_iter().map(|document| Value::Object(document.into_map())).collect();
    assert_declared(metricset.name(), &said);
    said
}

fn tool(name: &str, arguments: &[&str]) -> String {
    let output = Command::new(name).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn this_process_is_seen() {
    let said = measure(&json!({"metricsets": ["process"], "process.cgroups.enabled": true}));
    let own = said.iter().find(|document| document["process"]["pid"] == std::process::id()).unwrap();
    let arguments: Vec<String> = std::env::args().collect();
    assert_eq!(own["process"]["args"], json!(arguments));
    let executable = std::env::current_exe().unwrap();
    assert_eq!(own["process"]["executable"], executable.to_string_lossy().as_ref());
    assert_eq!(own["user"]["name"], tool("id", &["-un"]).trim());
    assert!(own["system"]["process"]["fd"]["open"].as_u64().unwrap() > 2);
    assert!(own["system"]["process"]["memory"]["rss"]["bytes"].as_u64().unwrap() > 1 << 20);
    assert!(own["system"]["process"]["cpu"]["total"]["pct"].is_number());
}

#[test]
fn sizes_of_file_systems_are_those_of_df() {
    let said = measure(&json!({"metricsets": ["filesystem"], "filesystem.ignore_types": ["proc"]}));
    let own = said.iter().find(|document| document["system"]["filesystem"]["mount_point"] == "/").unwrap();
    let table = tool("df", &["-B1", "--output=size", "/"]);
    let size: u64 = table.lines().last().unwrap().trim().parse().unwrap();
    assert_eq!(own["system"]["filesystem"]["total"], size);
    let share = own["system"]["filesystem"]["used"]["pct"].as_f64().unwrap();
    let percent = tool("df", &["--output=pcent", "/"]);
    let percent: f64 = percent.lines().last().unwrap().trim().trim_end_matches('%').parse().unwrap();
    assert!((share * 100.0 - percent).abs() < 2.0, "{share} {percent}");
}

#[test]
fn processors_are_counted_as_nproc_does() {
    let cores: u64 = tool("nproc", &["--all"]).trim().parse().unwrap();
    let load = measure(&json!({"metricsets": ["load"]}));
    let cpu = measure(&json!({"metricsets": ["cpu"], "cpu.metrics": ["ticks"]}));
    // Some processors may be off.
    assert!(load[0]["system"]["load"]["cores"].as_u64().unwrap() <= cores);
    assert_eq!(load[0]["system"]["load"]["cores"], cpu[0]["system"]["cpu"]["cores"]);
}

#[test]
fn everything_else_says_something() {
    for (metricset, field) in [
        ("core", "/system/core/user/ticks"),
        ("memory", "/system/memory/actual/used/pct"),
        ("network", "/system/network/name"),
        ("fsstat", "/system/fsstat/total_size/total"),
        ("process_summary", "/system/process/summary/total"),
        ("socket_summary", "/system/socket/summary/tcp/all/count"),
        ("uptime", "/system/uptime/duration/ms"),
    ] {
        let said = measure(&json!({"metricsets": [metricset], "core.metrics": ["ticks"]}));
        assert!(said.iter().any(|document| document.pointer(field).is_some()), "{metricset}: {said:?}");
    }
    measure(&json!({"metricsets": ["diskio"]}));
}
