//! The manual lists every key, no other, and the defaults that are true.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Material, expand, yaml};

const MANUAL: &str = include_str!("../../../docs/fleet-server/configuration.md");

/// A row of a table: the keys, and the default.
fn rows() -> Vec<(Vec<String>, String)> {
    let mut rows = Vec::new();
    let mut is_of_keys = false;
    for line in MANUAL.lines() {
        if !line.starts_with("| `") {
            // A table's head, and the line below it.
            is_of_keys = line == "| key | default | meaning |" || (is_of_keys && line.starts_with("|---"));
            continue;
        }
        if !is_of_keys {
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{line}");
        let keys = cells[0].split("`, `").flat_map(|keys| expand(keys.trim_matches('`'))).collect();
        rows.push((keys, cells[1].to_owned()));
    }
    rows
}

#[test]
fn every_key_is_there_once() {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for key in rows().into_iter().flat_map(|(keys, _)| keys) {
        *count.entry(key).or_default() += 1;
    }
    let twice: Vec<_> = count.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:#?}");
    let tokens = "inputs.0.server.static_policy_tokens.policy_tokens: [{token_key: a, policy_id: b}]";
    let known: BTreeSet<String> = yaml(tokens).input(fleet_server::config::known_keys).into_iter().collect();
    let documented: BTreeSet<String> = count.into_keys().collect();
    let missing: Vec<_> = known.difference(&documented).collect();
    let wrong: Vec<_> = documented.difference(&known).collect();
    assert!(missing.is_empty() && wrong.is_empty(), "missing {missing:#?}, wrong {wrong:#?}");
}

#[test]
fn the_defaults_are_true() {
    let material = Material::new();
    let mut checked = 0;
    for (keys, default) in rows() {
        let default = default.strip_prefix('`').and_then(|default| default.strip_suffix('`'));
        for (key, default) in keys.iter().filter_map(|key| Some((key, default?))) {
            let around = material.fill(&around(key));
            let without = format!("{:?}", yaml(&around).config());
            let others = around.lines().filter(|line| !line.starts_with(&format!("{key}:")));
            let text: String = others
                .chain([format!("{key}: {default}").as_str()])
                .map(|line| format!("{line}\n"))
                .collect();
            let with = format!("{:?}", yaml(&text).config());
            assert!(with == without, "{key} is not {default} when it is not given");
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}

/// What must be given so that a key's default shows, and so that it is not the key that turns something on.
fn around(key: &str) -> String {
    if let Some((section, _)) = key.rsplit_once(".ssl.") {
        let pair = format!("{section}.ssl.certificate: $cert\n{section}.ssl.key: $key\n");
        return match section {
            "store.etcd" => {
                "store: etcd\nstore.etcd.endpoints: https://a\nstore.etcd.ssl.enabled: true\n".to_owned()
            }
            "output.elasticsearch" => format!("store: embedded\n{pair}"),
            _ => pair,
        };
    }
    let sections = [
        ("output.", "store: embedded\noutput.elasticsearch.ssl.enabled: true\n"),
        ("store.etcd.", "store: etcd\n"),
        ("logging.files.", "logging.to_files: true\n"),
        ("http.", "http.enabled: true\n"),
        (
            "management.oidc.",
            "management.oidc.issuer: https://a\nmanagement.oidc.client_id: a\nmanagement.oidc.roles.admin: a\n\
             management.oidc.redirect_uri: https://b/api/fleet/oidc/callback\n",
        ),
        ("inputs.0.server.profiler.", "inputs.0.server.profiler.enabled: true\n"),
        (
            "inputs.0.server.feature_flags.graceful_force_unenroll.max_bytes",
            "inputs.0.server.feature_flags.graceful_force_unenroll.enabled: true\n",
        ),
    ];
    // A switch itself is off by default.
    let found = sections
        .iter()
        .find(|(start, around)| key.starts_with(start) && !around.starts_with(&format!("{key}:")));
    found.map_or(String::new(), |(_, around)| (*around).to_owned())
}
