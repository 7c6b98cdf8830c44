//! What agents get.

use fleet_integration::Package;
use fleet_integration::package::{LayoutStream, Variable};
use serde_json::{Map, Value, json};

use crate::policies::{
    all, another_value, compiled, defaults, everything, fill_required, golden, package, set,
};

#[test]
fn system_by_default() {
    let package = package("system");
    insta::assert_snapshot!(golden(&package, &defaults(&package)));
}

#[test]
fn filestream_with_a_path() {
    let package = package("filestream");
    let mut policy = defaults(&package);
    set(&mut policy.inputs[0].streams[0].vars, "paths", json!(["/var/log/app/*.log"]));
    insta::assert_snapshot!(golden(&package, &policy));
}

#[test]
fn filestream_with_events_of_several_lines() {
    let package = package("filestream");
    let mut policy = defaults(&package);
    let vars = &mut policy.inputs[0].streams[0].vars;
    set(vars, "paths", json!(["/var/log/app/*.log"]));
    set(vars, "multiline_pattern", json!(r"^\d{4}-"));
    let stream = compiled(&package, &policy).inputs[0]["streams"][0].clone();
    let multiline = json!({ "type": "pattern", "pattern": r"^\d{4}-", "negate": true, "match": "after" });
    assert_eq!(stream["parsers"], json!([{ "multiline": multiline }]));
}

#[test]
fn files_are_known_in_one_of_three_ways() {
    let package = package("filestream");
    for (fingerprint, native, expected) in
        [(true, true, "fingerprint"), (false, true, "native"), (false, false, "path")]
    {
        let mut policy = defaults(&package);
        let vars = &mut policy.inputs[0].streams[0].vars;
        set(vars, "paths", json!(["/a"]));
        set(vars, "fingerprint", json!(fingerprint));
        set(vars, "file_identity_native", json!(native));
        let stream = compiled(&package, &policy).inputs[0]["streams"][0].clone();
        assert_eq!(stream["file_identity"], json!({ expected: null }));
        assert_eq!(stream["prospector.scanner.fingerprint.enabled"], json!(fingerprint));
    }
}

#[test]
fn a_protocol_that_is_off_is_not_there() {
    let package = package("otlp");
    for (grpc, http) in [(true, false), (false, true), (false, false)] {
        let mut policy = defaults(&package);
        set(&mut policy.inputs[0].vars, "grpc_enabled", json!(grpc));
        set(&mut policy.inputs[0].vars, "http_enabled", json!(http));
        let input = compiled(&package, &policy).inputs[0].clone();
        assert_eq!(
            (input.get("protocols.grpc").is_some(), input.get("protocols.http").is_some()),
            (grpc, http)
        );
    }
}

#[test]
fn the_other_packages_by_default() {
    for name in ["journald", "fleet_server", "otlp"] {
        let package = package(name);
        insta::assert_snapshot!(name, golden(&package, &defaults(&package)));
    }
}

#[test]
fn what_collects_nothing_comes_to_nothing() {
    for name in ["custom", "elastic_agent"] {
        let package = package(name);
        let compiled = compiled(&package, &defaults(&package));
        assert_eq!((compiled.inputs.len(), compiled.permissions), (0, None), "{name}");
    }
}

#[test]
fn an_input_of_ones_own() {
    let package = package("custom");
    let mut policy = defaults(&package);
    for (input, settings) in [
        ("custom-tcp", "host: 0.0.0.0:9514\nframing: rfc6587\n"),
        ("custom-prometheus/metrics", "metricsets: [collector]\nhosts:\n  - localhost:9090\nperiod: 30s\n"),
    ] {
        let input = policy.inputs.iter_mut().find(|known| known.key() == input).unwrap();
        input.enabled = true;
        input.streams[0].enabled = true;
        set(&mut input.streams[0].vars, "config", json!(settings));
        set(&mut input.streams[0].vars, "data_stream.dataset", json!("shop.orders"));
        set(&mut input.streams[0].vars, "tags", json!(["forwarded"]));
    }
    insta::assert_snapshot!(golden(&package, &policy));
}

#[test]
fn with_everything_set() {
    for name in ["system", "filestream", "journald", "fleet_server", "otlp"] {
        let package = package(name);
        insta::assert_snapshot!(format!("everything_{name}"), golden(&package, &everything(&package)));
    }
}

#[test]
fn custom_settings_stand_beside_the_others() {
    let mut seen = Vec::new();
    for package in all() {
        let mut policy = defaults(&package);
        for input in &mut policy.inputs {
            let of_streams = input.streams.iter_mut().map(|stream| &mut stream.vars);
            for vars in
                std::iter::once(&mut input.vars).chain(of_streams).filter(|vars| vars.contains_key("custom"))
            {
                set(vars, "custom", json!("own:\n  deep: true\nown.dotted: 1\n"));
            }
        }
        for input in compiled(&package, &policy).inputs {
            let streams = input["streams"].as_array().into_iter().flatten();
            for place in std::iter::once(&input).chain(streams).filter(|place| place.get("own").is_some()) {
                assert_eq!((&place["own"], &place["own.dotted"]), (&json!({ "deep": true }), &json!(1)));
                seen.push(place["id"].as_str().unwrap().to_owned());
            }
        }
    }
    let expected = [
        "filestream-filestream.filestream-pp-1",
        "fleet-server-fleet_server-pp-1",
        "journald-journald.logs-pp-1",
        "otlp-otlp-pp-1",
        "winlog-system.application-pp-1",
        "winlog-system.security-pp-1",
        "winlog-system.system-pp-1",
    ];
    assert_eq!(seen, expected);
}

/// A variable that has a value is in what agents get, whatever the others are.
#[test]
fn each_variable_alone_arrives() {
    // They say how another one is meant.
    let qualifiers = [
        "fingerprint_offset",
        "fingerprint_length",
        "file_identity_native",
        "multiline_negate",
        "multiline_match",
        "tls_key_file",
        "tls_client_ca_file",
        "tls_min_version",
        "grpc_enabled",
        "http_enabled",
    ];
    for package in all() {
        for (at, layout) in package.layout().iter().enumerate() {
            for (stream_at, stream) in layout.streams.iter().enumerate() {
                for var in stream.vars.iter().filter(|var| !qualifiers.contains(&var.name.as_str())) {
                    arrives(&package, at, Some((stream_at, stream)), var);
                }
            }
            for var in layout.vars.iter().filter(|var| !qualifiers.contains(&var.name.as_str())) {
                arrives(&package, at, layout.streams.first().map(|stream| (0, stream)), var);
            }
        }
    }
}

fn arrives(package: &Package, input: usize, stream: Option<(usize, &LayoutStream)>, var: &Variable) {
    let mut policy = defaults(package);
    for (at, other) in policy.inputs.iter_mut().enumerate() {
        other.enabled = at == input;
        for (at, other) in other.streams.iter_mut().enumerate() {
            other.enabled = stream.is_some_and(|(wanted, _)| wanted == at);
        }
    }
    fill_required(&mut policy, package, input);
    let before = compiled(package, &policy).inputs;
    let input = &mut policy.inputs[input];
    let of_stream = stream.filter(|(_, stream)| stream.vars.iter().any(|known| known == var));
    let vars = match of_stream {
        Some((at, _)) => &mut input.streams[at].vars,
        None => &mut input.vars,
    };
    set(vars, &var.name, another_value(var));
    let after = compiled(package, &policy).inputs;
    assert_ne!(before, after, "{}: {} changes nothing", package.name, var.name);
    let mut empty = policy.clone();
    let input = empty.inputs.iter_mut().find(|input| input.enabled).unwrap();
    let vars = match of_stream {
        Some((at, _)) => &mut input.streams[at].vars,
        None => &mut input.vars,
    };
    set(vars, &var.name, Value::Null);
    compiled(package, &empty);
}

#[test]
fn agents_get_no_null_and_no_leftover_of_a_template() {
    fn look(value: &Value, place: &str) {
        match value {
            Value::Object(map) => {
                let known = Map::from_iter([("second".to_owned(), Value::Null)]);
                if *map != known && !place.ends_with("file_identity") {
                    map.iter().for_each(|(key, value)| look(value, &format!("{place}.{key}")));
                }
            }
            Value::Array(items) => items.iter().for_each(|item| look(item, place)),
            Value::Null => panic!("{place} is null"),
            Value::String(text) => {
                assert!(!text.contains("{{") && !text.contains("undefined"), "{place}: {text}");
            }
            _ => {}
        }
    }
    for package in all() {
        for policy in [defaults(&package), everything(&package)] {
            compiled(&package, &policy).inputs.iter().for_each(|input| look(input, &package.name));
        }
    }
}
