//! Policies of indices' lives, as OpenSearch has them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;

use fleet_integration::assets::{AssetKind, Assets, Engine, Family, assets, checksum_in};
use fleet_integration::{Archive, Package};
use serde_json::{Value, json};

const MANIFEST: &str = "{format_version: 3.0.0, name: shop, title: Shop, version: 1.2.0, type: integration, \
    policy_templates: [{name: shop, title: S, description: S, inputs: [{type: logfile, title: L}]}]}";
const SHORT: &str = r#"{"policy": {"phases": {"delete": {"min_age": "7d", "actions": {"delete": {}}}}}}"#;

fn archive(files: &[(&str, &str)]) -> Archive {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    Archive::directory(folder.path()).unwrap()
}

fn opensearch() -> Engine {
    Engine {
        family: Family::OpenSearch,
        version: (3, 6),
        lifecycles: BTreeSet::new(),
        no_lifecycles: None,
        no_transforms: Some("OpenSearch has none".to_owned()),
    }
}

const LONG: &str = r#"{"policy": {"_meta": {"description": "Long"}, "phases": {
    "hot": {"min_age": "0ms", "actions": {
        "rollover": {"max_age": "30d", "max_primary_shard_size": "50gb", "max_primary_shard_docs": 7},
        "set_priority": {"priority": 100}, "downsample": {"fixed_interval": "1h"}}},
    "warm": {"min_age": "2d", "actions": {
        "forcemerge": {"max_num_segments": 1}, "readonly": {},
        "allocate": {"number_of_replicas": 0, "require": {"box": "warm"}}}},
    "cold": {"min_age": "9d", "actions": {"searchable_snapshot": {"snapshot_repository": "s"}}},
    "delete": {"min_age": "90d", "actions": {"wait_for_snapshot": {"policy": "p"}, "delete": {}}}}}}"#;

/// A package with a data stream for each of two policies, and a template of its own.
fn shop() -> Assets {
    let files = [
        ("data_stream/sale/manifest.yml", "{type: logs, title: Sales, ilm_policy: logs-shop.sale-long}"),
        ("data_stream/sale/elasticsearch/ilm/long.json", LONG),
        (
            "data_stream/other/manifest.yml",
            "{type: logs, title: Other, dataset_is_prefix: true, ilm_policy: shop-short}",
        ),
        ("elasticsearch/ilm_policy/shop-short.json", SHORT),
        (
            "elasticsearch/index_template/shop-archive.json",
            r#"{"index_patterns": ["shop-archive-*"], "priority": 7,
                "template": {"settings": {"index.lifecycle.name": "shop-short", "number_of_replicas": 0}}}"#,
        ),
    ];
    let mut all = vec![("manifest.yml", MANIFEST)];
    all.extend(files);
    let archive = archive(&all);
    let package = Package::read(&archive).unwrap();
    assets(&package, &archive, &BTreeSet::new(), &opensearch())
}

fn body<'a>(made: &'a Assets, name: &str) -> &'a Value {
    &made.assets.iter().find(|asset| asset.name == name).unwrap().body
}

#[test]
fn a_phase_becomes_a_state_and_what_has_no_counterpart_is_told() {
    let made = shop();
    let nothing_like_it = "is left out: OpenSearch's Index State Management has nothing like it";
    let left_out = [
        "hot.rollover.max_primary_shard_docs",
        "hot.downsample",
        "warm.allocate.require",
        "cold.searchable_snapshot",
        "delete.wait_for_snapshot",
    ];
    let told: Vec<String> =
        left_out.map(|what| format!("ilm_policy logs-shop.sale-long: {what} {nothing_like_it}")).to_vec();
    assert_eq!(made.notes, told);
    let mut long = body(&made, "logs-shop.sale-long").clone();
    let described = long["policy"]["description"].take();
    assert!(described.as_str().unwrap().starts_with("Long (package shop 1.2.0) [managed by fleet: "));
    let transition =
        |to: &str, age: &str| json!([{"state_name": to, "conditions": {"min_rollover_age": age}}]);
    assert_eq!(
        long["policy"],
        json!({
            "description": null,
            "default_state": "hot",
            "states": [
                {
                    "name": "hot",
                    "actions": [
                        {"index_priority": {"priority": 100}},
                        {"rollover": {"min_index_age": "30d", "min_primary_shard_size": "50gb"}},
                    ],
                    "transitions": transition("warm", "2d"),
                },
                {
                    "name": "warm",
                    "actions": [
                        {"read_only": {}},
                        {"replica_count": {"number_of_replicas": 0}},
                        {"force_merge": {"max_num_segments": 1}},
                    ],
                    "transitions": transition("delete", "90d"),
                },
                {"name": "delete", "actions": [{"delete": {}}], "transitions": []},
            ],
            "ism_template": [{"index_patterns": ["logs-shop.sale-*", ".ds-logs-shop.sale-*"], "priority": 200}],
        })
    );
}

#[test]
fn a_policy_says_for_which_data_streams_it_is_and_no_index_names_it() {
    let made = shop();
    // Without a roll-over an index is as old as it is; and nothing of an index names its policy.
    let short = &body(&made, "shop-short")["policy"];
    assert_eq!(
        short["states"],
        json!([
            {"name": "hot", "actions": [],
             "transitions": [{"state_name": "delete", "conditions": {"min_index_age": "7d"}}]},
            {"name": "delete", "actions": [{"delete": {}}], "transitions": []},
        ])
    );
    assert_eq!(
        short["ism_template"],
        json!([
            {"index_patterns": ["shop-archive-*"], "priority": 7},
            {"index_patterns": ["logs-shop.other.*-*", ".ds-logs-shop.other.*-*"], "priority": 150},
        ])
    );
    let archive = &body(&made, "shop-archive")["template"]["settings"];
    assert_eq!(*archive, json!({"number_of_replicas": 0}));
    let settings = &body(&made, "logs-shop.sale@package")["template"]["settings"]["index"];
    assert_eq!(settings.get("lifecycle"), None, "{settings}");
    for asset in &made.assets {
        assert_eq!(checksum_in(asset.kind, &asset.body), Some(asset.checksum.as_str()), "{}", asset.name);
    }
    let kinds = made.assets.iter().map(|asset| asset.kind);
    assert_eq!(kinds.clone().filter(|kind| *kind == AssetKind::IsmPolicy).count(), 2);
    assert_eq!(kinds.filter(|kind| *kind == AssetKind::IlmPolicy).count(), 0);
}
