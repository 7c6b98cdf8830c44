//! `/metrics`: strictly the text format of Prometheus, and the documented names in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleet_cluster::documents::UNITS;
use fleet_store::decorate::{Faults, Faulty, Metered};
use fleet_store::{Expect, Store, Write, WriteError};
use fleetd::config::{Options, StoreKind};
use fleetd::exporter::Exporter;
use http::{Method, StatusCode, header};

use crate::client::{Server, request};
use crate::world::{World, body};

/// A family of series, as the text shows it.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    /// By the name and labels of the series.
    samples: BTreeMap<(String, Labels), f64>,
}

type Labels = BTreeMap<String, String>;

/// Reads the text format 0.0.4, and refuses what a strict reader would.
fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'), "the last line has no end");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let mut helped = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(is_name(name) && !help.trim().is_empty(), "{line}");
            assert!(helped.insert(name.to_owned()), "a second {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(helped.contains(name), "no HELP before {line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            let family = Family { kind: kind.to_owned(), ..Family::default() };
            assert!(families.insert(name.to_owned(), family).is_none(), "a second {line}");
            name.clone_into(&mut current);
        } else {
            assert!(!line.starts_with('#') && !line.is_empty(), "{line:?}");
            let (name, labels, value) = sample(line);
            let family = families.get_mut(&current).unwrap();
            let suffix =
                name.strip_prefix(current.as_str()).unwrap_or_else(|| panic!("{line} within {current}"));
            let allowed: &[&str] =
                if family.kind == "histogram" { &["_sum", "_count", "_bucket"] } else { &[""] };
            assert!(allowed.contains(&suffix), "{line}");
            assert_eq!(suffix == "_bucket", labels.contains_key("le"), "{line}");
            if family.kind != "gauge" {
                assert!(value >= 0.0, "{line}");
            }
            assert!(family.samples.insert((suffix.to_owned(), labels), value).is_none(), "a second {line}");
        }
    }
    for (name, family) in &families {
        assert_eq!(family.kind == "counter", name.ends_with("_total"), "{name} is a {}", family.kind);
        if family.kind == "histogram" {
            check_histogram(name, family);
        }
    }
    families
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|other| other.is_ascii_alphanumeric() || other == '_')
}

/// `name{label="value",…} 1.5`
fn sample(line: &str) -> (String, Labels, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
    let Some((name, labels)) = series.split_once('{') else {
        assert!(is_name(series), "{line}");
        return (series.to_owned(), Labels::new(), value);
    };
    assert!(is_name(name), "{line}");
    let labels = labels.strip_suffix('}').unwrap().split(',').map(|label| {
        let (label, text) = label.split_once('=').unwrap();
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap();
        assert!(is_name(label) && !text.contains(['"', '\\', '\n']), "{line}");
        (label.to_owned(), text.to_owned())
    });
    (name.to_owned(), labels.collect(), value)
}

/// Buckets are cumulative, and the last one holds all.
fn check_histogram(name: &str, family: &Family) {
    let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for ((suffix, labels), value) in &family.samples {
        if suffix == "_bucket" {
            let mut labels = labels.clone();
            let bound = labels.remove("le").unwrap();
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
            buckets.entry(labels).or_default().push((bound, *value));
        }
    }
    for (labels, mut buckets) in buckets {
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        assert!(buckets.is_sorted_by(|one, other| one.1 <= other.1), "{name}: {buckets:?}");
        let (bound, all) = buckets.last().unwrap();
        assert!(bound.is_infinite(), "{name} has no +Inf");
        let value = |suffix: &str| family.samples.get(&(suffix.to_owned(), labels.clone()));
        assert_eq!(value("_count"), Some(all), "{name}");
        assert!(value("_sum").is_some(), "{name}");
    }
}

impl Family {
    /// The sample with one label.
    fn with(&self, suffix: &str, label: &str, text: &str) -> Option<f64> {
        let labels = Labels::from([(label.to_owned(), text.to_owned())]);
        self.samples.get(&(suffix.to_owned(), labels)).copied()
    }
}

async fn scrape(server: &Server) -> BTreeMap<String, Family> {
    let reply = server.ask(request(&Method::GET, "/metrics", "", "")).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header(header::CONTENT_TYPE), "text/plain; version=0.0.4; charset=utf-8");
    parse(reply.text())
}

#[tokio::test]
async fn the_documented_metrics_are_there() {
    let server = Server::start(World::new()).await;
    let families = scrape(&server).await;
    for (name, kind) in [
        ("fleet_engine_leader_start_time", "gauge"),
        ("fleet_engine_task_count_total", "counter"),
        ("fleet_engine_task_failure_count_total", "counter"),
        ("fleet_engine_reconcile_count_total", "counter"),
        ("fleet_engine_reconcile_duration_second", "histogram"),
        ("fleet_engine_reconcile_failure_count_total", "counter"),
        ("fleet_registry_operation_count_total", "counter"),
        ("fleet_registry_operation_failed_count_total", "counter"),
        ("fleet_registry_operation_duration_second", "histogram"),
        ("process_cpu_seconds_total", "counter"),
        ("process_resident_memory_bytes", "gauge"),
    ] {
        assert_eq!(families.get(name).map(|family| family.kind.as_str()), Some(kind), "{name}");
    }
    for task in ["attemptscheduleunit", "unscheduleunit"] {
        for family in ["fleet_engine_task_count_total", "fleet_engine_task_failure_count_total"] {
            assert_eq!(families[family].with("", "type", task), Some(0.0), "{family} {task}");
        }
    }
    for failure in ["machine_away", "run", "schedule"] {
        let family = &families["fleet_engine_reconcile_failure_count_total"];
        assert_eq!(family.with("", "type", failure), Some(0.0), "{failure}");
    }
    assert_eq!(families["fleet_engine_leader_start_time"].samples.values().copied().sum::<f64>(), 0.0);
}

#[tokio::test]
async fn calls_to_the_store_are_counted_and_timed() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        Options { store: StoreKind::Embedded, store_path: directory.path().into(), ..Options::default() };
    let exporter = Arc::new(Exporter::new());
    let opened = fleetd::store::open(&options, None, &exporter.store_observer()).unwrap();
    let server = Server::with_exporter(World::over(opened.store), exporter).await;
    let count = |families: &BTreeMap<String, Family>, operation: &str| {
        let counted = families["fleet_registry_operation_count_total"].with("", "type", operation);
        let timed = families["fleet_registry_operation_duration_second"].with("_count", "ops", operation);
        assert_eq!(counted, timed, "{operation}");
        let failed = families["fleet_registry_operation_failed_count_total"].with("", "type", operation);
        assert_eq!(failed, counted.map(|_| 0.0), "{operation}");
        counted
    };
    assert_eq!(count(&scrape(&server).await, "get"), Some(0.0), "nothing has been asked");
    server.world.put("a.service", body("launched", 1)).await;
    server.world.get("/units/a.service").await;
    server.world.get("/machines").await;
    server.world.delete("a.service").await;
    let families = scrape(&server).await;
    for (operation, expected) in [("get", 3.0), ("set", 2.0), ("get_all", 2.0)] {
        assert_eq!(count(&families, operation), Some(expected), "{operation}");
    }
    // The heart's store is counted too.
    let heart = (opened.for_heart)().unwrap();
    heart.check().await.unwrap();
    assert_eq!(count(&scrape(&server).await, "check"), Some(1.0));
}

#[tokio::test]
async fn failed_calls_are_counted_as_such_and_conflicts_are_none() {
    let exporter = Arc::new(Exporter::new());
    let inner = World::new();
    let faulty = Faulty::new(Arc::clone(&inner.store), 1, Faults::NONE);
    let store: Arc<dyn Store> = Arc::new(Metered::new(Arc::new(faulty.clone()), exporter.store_observer()));
    let server = Server::with_exporter(World::over(Arc::clone(&store)), exporter).await;
    server.world.put("a.service", body("launched", 1)).await;
    let again = store.write(&UNITS, Write::put("a.service", Expect::Absent, "{}"), None).await;
    assert!(matches!(again, Err(WriteError::Conflict { .. })));
    let families = scrape(&server).await;
    let failed = &families["fleet_registry_operation_failed_count_total"];
    assert_eq!(failed.with("", "type", "set"), Some(0.0));
    faulty.set(Faults::DOWN);
    server.world.get("/units/a.service").await;
    server.world.get("/units/a.service").await;
    let families = scrape(&server).await;
    assert_eq!(families["fleet_registry_operation_failed_count_total"].with("", "type", "get"), Some(2.0));
}

#[tokio::test]
async fn metrics_are_told_while_the_api_is_not_available() {
    let server = Server::start(World::new()).await;
    server.world.membership.send_replace(fleet_cluster::presence::Membership::Joining);
    assert!(!scrape(&server).await.is_empty());
}
