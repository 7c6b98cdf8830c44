//! What people and scripts set up with the packages.

use fleet_integration::package::LayoutInput;
use fleet_integration::policy::SimplifiedPolicy;
use fleet_integration::{Package, PackagePolicy, shapes};
use serde_json::{Value, json};

use crate::policies::{all, compiled, defaults, everything, findings, package};

/// A policy as a script sends it.
fn sent(package: &Package, inputs: &Value) -> PackagePolicy {
    let body = json!({
        "id": "pp-1",
        "name": "sent",
        "policy_ids": ["agents-1"],
        "package": { "name": package.name, "version": package.version },
        "inputs": inputs,
    });
    let simplified: SimplifiedPolicy = serde_json::from_value(body).unwrap();
    let policy = shapes::full(simplified, package).unwrap_or_else(|findings| panic!("{findings:?}"));
    assert_eq!(findings(package, &policy), [""; 0]);
    policy
}

#[test]
fn what_a_person_must_fill_in() {
    for package in all() {
        let expected: &[&str] = match package.name.as_str() {
            "filestream" => {
                &["inputs.filestream.streams.filestream.filestream.vars.paths: Paths is required"]
            }
            _ => &[],
        };
        assert_eq!(findings(&package, &defaults(&package)), expected, "{}", package.name);
    }
}

#[test]
fn what_is_set_in_every_variable_is_right() {
    for package in all() {
        assert_eq!(findings(&package, &everything(&package)), [""; 0], "{}", package.name);
    }
}

#[test]
fn every_stream_of_custom_asks_for_its_settings() {
    let package = package("custom");
    let mut policy = defaults(&package);
    assert!(policy.inputs.iter().all(|input| !input.enabled), "nothing runs that nobody has set up");
    for input in &mut policy.inputs {
        input.enabled = true;
        input.streams.iter_mut().for_each(|stream| stream.enabled = true);
    }
    let findings = findings(&package, &policy);
    assert_eq!(findings.len(), package.layout().len());
    assert!(
        findings.iter().all(|finding| finding.ends_with(".vars.config: Settings is required")),
        "{findings:?}"
    );
}

/// The names that scripts have: they may not change.
#[test]
fn inputs_and_streams_are_called_as_scripts_call_them() {
    let called = |name: &str| -> Vec<String> {
        let of_input = |input: &LayoutInput| {
            let streams: Vec<&str> = input.streams.iter().map(|stream| stream.dataset.as_str()).collect();
            format!("{}: {}", input.key(), streams.join(" "))
        };
        package(name).layout().iter().map(of_input).collect()
    };
    let system = [
        "system-logfile: system.auth system.syslog",
        "system-journald: system.auth system.syslog",
        "system-winlog: system.application system.security system.system",
        "system-system/metrics: system.core system.cpu system.diskio system.filesystem system.fsstat system.load \
         system.memory system.network system.process system.process.summary system.socket_summary system.uptime",
    ];
    assert_eq!(called("system"), system);
    assert_eq!(called("filestream"), ["filestream-filestream: filestream.filestream"]);
    assert_eq!(called("journald"), ["logs-journald: journald.logs"]);
    assert_eq!(called("fleet_server"), ["fleet_server-fleet-server: "]);
    assert_eq!(called("otlp"), ["otlp-otlp: otlp.logs otlp.metrics otlp.traces"]);
    assert_eq!(called("elastic_agent"), [""; 0]);
}

/// With every variable that scripts for the `system` package of others name.
#[test]
fn a_script_for_system_works() {
    let package = package("system");
    let windows = json!({ "enabled": false, "vars": {
        "preserve_original_event": false, "event_id": "4624,4625", "ignore_older": "72h", "language": 0, "tags": [],
        "processors": "", "custom": "# batch_read_size: 100",
    }});
    let log = json!({ "enabled": true, "vars": {
        "ignore_older": "24h", "paths": ["/srv/log/auth.log*"], "preserve_original_event": true,
        "tags": ["system-auth"], "processors": "- add_fields:\n    fields: {team: web}\n",
    }});
    let plain =
        |period: &str| json!({ "enabled": true, "vars": { "period": period, "tags": [], "processors": "" } });
    let policy = sent(
        &package,
        &json!({
            "system-logfile": { "enabled": true, "vars": { "condition": "" }, "streams": {
                "system.auth": log,
                "system.syslog": { "enabled": false, "vars": { "exclude_files": ["\\.gz$"] } },
            }},
            "system-journald": { "enabled": false, "vars": { "condition": "${host.platform} == 'linux'" } },
            "system-winlog": { "enabled": false, "streams": {
                "system.application": windows, "system.security": windows, "system.system": windows,
            }},
            "system-system/metrics": { "enabled": true, "vars": { "system.hostfs": "/hostfs" }, "streams": {
                "system.core": { "enabled": false, "vars": { "period": "10s", "core.metrics": ["percentages"] } },
                "system.cpu": { "enabled": true, "vars": { "period": "30s", "cpu.metrics": ["percentages"] } },
                "system.diskio": { "enabled": true, "vars": { "period": "10s", "diskio.include_devices": ["sda"] } },
                "system.filesystem": plain("5m"),
                "system.fsstat": plain("5m"),
                "system.load": plain("10s"),
                "system.memory": plain("10s"),
                "system.network": { "enabled": true, "vars": { "period": "10s", "network.interfaces": [] } },
                "system.process": { "enabled": true, "vars": {
                    "period": "10s", "processes": [".*"], "process.include_top_n.by_cpu": 5,
                    "process.include_top_n.by_memory": 5, "process.cmdline.cache.enabled": true,
                    "process.cgroups.enabled": false, "process.env.whitelist": [], "process.include_cpu_ticks": false,
                }},
                "system.process.summary": plain("10s"),
                "system.socket_summary": plain("10s"),
                "system.uptime": plain("10s"),
            }},
        }),
    );
    let inputs = compiled(&package, &policy).inputs;
    let types: Vec<&str> = inputs.iter().map(|input| input["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["logfile", "system/metrics"]);
    let auth = &inputs[0]["streams"][0];
    assert_eq!(auth["paths"], json!(["/srv/log/auth.log*"]));
    assert_eq!(auth["tags"], json!(["preserve_original_event", "system-auth"]));
    assert_eq!(auth["processors"][1], json!({ "add_fields": { "fields": { "team": "web" } } }));
    assert_eq!(auth.get("condition"), None, "an empty condition is none");
    let cpu = &inputs[1]["streams"][0];
    assert_eq!((&cpu["period"], &cpu["system.hostfs"]), (&json!("30s"), &json!("/hostfs")));
}

/// With every variable that scripts for the `filestream` package of others name, in the types that they use.
#[test]
fn a_script_for_filestream_works() {
    let package = package("filestream");
    let policy = sent(
        &package,
        &json!({
            "filestream-filestream": { "enabled": true, "streams": { "filestream.filestream": { "enabled": true, "vars": {
                "paths": ["/srv/app/*.json"], "data_stream.dataset": "app", "pipeline": "app-1",
                "parsers": "- ndjson:\n    target: \"\"\n", "exclude_files": ["\\.gz$"], "include_files": [],
                "processors": "", "tags": ["app"], "recursive_glob": true, "clean_inactive": -1, "harvester_limit": 0,
                "fingerprint": false, "fingerprint_offset": 0, "fingerprint_length": "64", "file_identity_native": true,
                "exclude_lines": [], "include_lines": [],
            }}}},
        }),
    );
    let stream = compiled(&package, &policy).inputs[0]["streams"][0].clone();
    let expected = json!({
        "id": "filestream-filestream.filestream-pp-1",
        "data_stream": { "type": "logs", "dataset": "app" },
        "paths": ["/srv/app/*.json"],
        "pipeline": "app-1",
        "prospector.scanner.exclude_files": ["\\.gz$"],
        "prospector.scanner.recursive_glob": true,
        "prospector.scanner.fingerprint.enabled": false,
        "file_identity": { "native": null },
        "clean_inactive": -1,
        "parsers": [{ "ndjson": { "target": "" } }],
        "tags": ["app"],
    });
    assert_eq!(stream, expected);
}
