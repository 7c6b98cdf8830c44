//! What packages put into an engine: mappings, templates, pipelines.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use fleet_integration::assets::fields::Field;
use fleet_integration::assets::mappings::{Mappings, mappings};
use fleet_integration::assets::{AssetKind, Assets, Engine, Family, Target, assets, checksum_in};
use fleet_integration::{Archive, Package};
use serde_json::{Value, json};

use common::pretty;

fn elasticsearch() -> Engine {
    Engine {
        family: Family::Elasticsearch,
        version: (9, 0),
        lifecycles: BTreeSet::from(["logs".to_owned()]),
        no_lifecycles: None,
        no_transforms: None,
    }
}

fn opensearch() -> Engine {
    Engine {
        family: Family::OpenSearch,
        version: (3, 6),
        lifecycles: BTreeSet::new(),
        no_lifecycles: Some("OpenSearch has none".to_owned()),
        no_transforms: Some("OpenSearch has none".to_owned()),
    }
}

fn fields(yaml: &str) -> Vec<Field> {
    let archive = archive(&[("fields/fields.yml", yaml)]);
    let mut notes = Vec::new();
    let fields = fleet_integration::assets::fields::read(&archive, "fields/", &mut notes);
    assert_eq!(notes, Vec::<String>::new());
    fields
}

fn archive(files: &[(&str, &str)]) -> Archive {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    Archive::directory(folder.path()).unwrap()
}

fn mapped(yaml: &str, engine: &Engine) -> Mappings {
    mappings(&fields(yaml), engine, false)
}

/// The mapping at a path with dots.
fn at<'a>(mappings: &'a Mappings, path: &str) -> &'a Value {
    let pointer: String = path.split('.').map(|name| format!("/properties/{name}")).collect();
    let found = mappings.body.get("properties").unwrap();
    pointer.strip_prefix("/properties").and_then(|pointer| found.pointer(pointer)).unwrap_or(&Value::Null)
}

#[test]
fn groups_and_dots_are_the_same() {
    let engine = elasticsearch();
    let dotted = mapped("[{name: a.b.c, type: long}, {name: a.b.d, type: ip}]", &engine);
    let grouped = mapped(
        "- {name: a, type: group, fields: [{name: b, type: group, fields: [{name: c, type: long}, {name: d, type: ip}]}]}",
        &engine,
    );
    assert_eq!(dotted, grouped);
    assert_eq!(at(&dotted, "a.b.c"), &json!({"type": "long"}));
}

#[test]
fn types_by_engine() {
    let cases = [
        (
            "{type: constant_keyword}",
            json!({"type": "constant_keyword"}),
            json!({"type": "keyword", "ignore_above": 1024}),
        ),
        (
            "{type: constant_keyword, value: x}",
            json!({"type": "constant_keyword", "value": "x"}),
            json!({"type": "constant_keyword", "value": "x"}),
        ),
        ("{type: flattened}", json!({"type": "flattened"}), json!({"type": "flat_object"})),
        (
            "{type: scaled_float}",
            json!({"type": "scaled_float", "scaling_factor": 1000}),
            json!({"type": "scaled_float", "scaling_factor": 1000}),
        ),
        (
            "{type: date, date_format: epoch_millis}",
            json!({"type": "date", "format": "epoch_millis"}),
            json!({"type": "date", "format": "epoch_millis"}),
        ),
        ("{type: version}", json!({"type": "version"}), json!({"type": "keyword", "ignore_above": 1024})),
        (
            "{type: keyword, index: false, doc_values: false}",
            json!({"type": "keyword", "index": false, "doc_values": false}),
            json!({"type": "keyword", "index": false, "doc_values": false}),
        ),
        ("{type: array, object_type: long}", json!({"type": "long"}), json!({"type": "long"})),
        (
            "{}",
            json!({"type": "keyword", "ignore_above": 1024}),
            json!({"type": "keyword", "ignore_above": 1024}),
        ),
        ("{type: histogram}", json!({"type": "histogram"}), Value::Null),
    ];
    for (definition, for_elasticsearch, for_opensearch) in cases {
        let yaml = format!("- {{name: x, {}", &definition[1..]);
        assert_eq!(at(&mapped(&yaml, &elasticsearch()), "x"), &for_elasticsearch, "{definition}");
        assert_eq!(at(&mapped(&yaml, &opensearch()), "x"), &for_opensearch, "{definition}");
    }
}

#[test]
fn fields_of_the_common_schema_have_its_types() {
    let yaml = "[{name: source.ip, external: ecs}, {name: user.name, external: ecs}, {name: event.kind, external: ecs}]";
    let mapped = mapped(yaml, &elasticsearch());
    assert_eq!(at(&mapped, "source.ip"), &json!({"type": "ip"}));
    assert_eq!(at(&mapped, "user.name.fields"), &Value::Null);
    let text =
        json!({"type": "keyword", "ignore_above": 1024, "fields": {"text": {"type": "match_only_text"}}});
    assert_eq!(at(&mapped, "user.name"), &text);
    assert_eq!(at(&mapped, "event.kind"), &json!({"type": "keyword", "ignore_above": 1024}));
}

#[test]
fn more_than_one_way_to_index_a_field() {
    let yaml = "- {name: x, type: keyword, multi_fields: [{name: text, type: match_only_text}, {name: raw}]}";
    let mapped = mapped(yaml, &opensearch());
    let fields = &at(&mapped, "x")["fields"];
    let expected =
        json!({"text": {"type": "match_only_text"}, "raw": {"type": "keyword", "ignore_above": 1024}});
    assert_eq!(fields, &expected);
}

#[test]
fn values_of_one_type_get_a_template() {
    let yaml = "[{name: labels, type: object, object_type: keyword}, {name: m.*.n, type: object, object_type: double}]";
    let mapped = mapped(yaml, &elasticsearch());
    let templates = mapped.body["dynamic_templates"].as_array().unwrap();
    let patterns: Vec<_> = templates
        .iter()
        .flat_map(|template| template.as_object().unwrap().values())
        .map(|template| (template["path_match"].as_str(), template["match_mapping_type"].as_str().unwrap()))
        .collect();
    assert_eq!(
        patterns,
        [
            (Some("labels.*"), "string"),
            (Some("labels.*"), "long"),
            (Some("labels.*"), "double"),
            (Some("labels.*"), "boolean"),
            (Some("m.*.n"), "double"),
            (Some("m.*.n"), "long"),
            (None, "string"),
        ]
    );
    assert_eq!(at(&mapped, "labels"), &json!({"type": "object"}));
}

#[test]
fn what_cannot_be_is_left_out_and_told() {
    let yaml = "[{name: a, type: long}, {name: a.b, type: long}, {name: c, type: strange}, {name: d, type: alias, path: e}]";
    let mapped = mapped(yaml, &elasticsearch());
    assert_eq!(at(&mapped, "a"), &json!({"type": "long"}));
    assert_eq!(mapped.notes.len(), 3, "{:?}", mapped.notes);
    assert_eq!(mapped.body["properties"].as_object().unwrap().len(), 3, "with @timestamp and data_stream");
}

#[test]
fn an_alias_stands_for_a_field() {
    let yaml = "[{name: d, type: alias, path: e.f}, {name: e.f, type: ip}]";
    let mapped = mapped(yaml, &opensearch());
    assert_eq!(at(&mapped, "d"), &json!({"type": "alias", "path": "e.f"}));
}

#[test]
fn time_series_only_where_they_are() {
    let yaml = "[{name: host, type: keyword, dimension: true}, {name: load, type: double, metric_type: gauge, unit: percent}]";
    let fields = fields(yaml);
    let series = mappings(&fields, &elasticsearch(), true);
    assert_eq!(at(&series, "host"), &json!({"type": "keyword", "time_series_dimension": true}));
    let meta = json!({"unit": "percent", "metric_type": "gauge"});
    assert_eq!(at(&series, "load"), &json!({"type": "double", "time_series_metric": "gauge", "meta": meta}));
    let plain = mappings(&fields, &opensearch(), true);
    assert_eq!(at(&plain, "host"), &json!({"type": "keyword", "ignore_above": 1024}));
    assert_eq!(at(&plain, "load"), &json!({"type": "double", "meta": meta}));
}

const MANIFEST: &str = "{format_version: 3.0.0, name: shop, title: Shop, version: 1.2.0, type: integration, \
    policy_templates: [{name: shop, title: S, description: S, inputs: [{type: logfile, title: L}]}]}";

fn shop(files: &[(&str, &str)], engine: &Engine) -> Assets {
    let mut all = vec![("manifest.yml", MANIFEST)];
    all.extend(files);
    let archive = archive(&all);
    assets(&Package::read(&archive).unwrap(), &archive, &BTreeSet::new(), engine)
}

fn body<'a>(assets: &'a Assets, name: &str) -> &'a Value {
    &assets.assets.iter().find(|asset| asset.name == name).unwrap().body
}

#[test]
fn a_data_stream_with_all_that_there_is() {
    let made = shop(
        &[
            (
                "data_stream/sale/manifest.yml",
                "{type: logs, title: Sales, elasticsearch: {index_template: {settings: {index.codec: best_compression, \
                 number_of_shards: 2}, mappings: {dynamic: false}, ingest_pipeline: {name: entry}}}}",
            ),
            ("data_stream/sale/fields/f.yml", "[{name: price, type: double}]"),
            (
                "data_stream/sale/elasticsearch/ingest_pipeline/entry.yml",
                "{description: Sales, processors: [{pipeline: {name: '{{ IngestPipeline \"more\" }}'}}]}",
            ),
            (
                "data_stream/sale/elasticsearch/ingest_pipeline/more.json",
                r#"{"processors": [{"set": {"field": "a", "value": "{{{b}}}"}}]}"#,
            ),
        ],
        &elasticsearch(),
    );
    assert_eq!(made.notes, Vec::<String>::new());
    insta::assert_snapshot!(pretty(
        &made.assets.iter().map(|asset| json!([asset.kind, asset.name, asset.body])).collect::<Vec<_>>()
    ));
}

#[test]
fn a_prefix_gives_way_to_whole_names() {
    let manifest = "{type: metrics, title: T, dataset: shop.all, dataset_is_prefix: true, hidden: true}";
    let made = shop(&[("data_stream/all/manifest.yml", manifest)], &elasticsearch());
    let template = body(&made, "metrics-shop.all");
    assert_eq!(template["index_patterns"], json!(["metrics-shop.all.*-*"]));
    assert_eq!((&template["priority"], &template["data_stream"]), (&json!(150), &json!({"hidden": true})));
}

#[test]
fn checksums_tell_what_has_changed() {
    let made = |yaml: &str| {
        let files =
            [("data_stream/a/manifest.yml", "{type: logs, title: A}"), ("data_stream/a/fields/f.yml", yaml)];
        shop(&files, &opensearch())
    };
    let (one, same, other) = (made("[{name: x}]"), made("[{name: x}]"), made("[{name: y}]"));
    assert_eq!(one, same);
    let sums = |made: &Assets| made.assets.iter().map(|asset| asset.checksum.clone()).collect::<Vec<_>>();
    let changed = sums(&one).iter().zip(sums(&other)).filter(|(one, other)| *one != other).count();
    assert_eq!(changed, 1, "the mappings alone");
    for asset in &one.assets {
        assert_eq!(checksum_in(asset.kind, &asset.body), Some(asset.checksum.as_str()));
    }
}

#[test]
fn datasets_that_people_name_get_templates_of_the_data_streams() {
    let archive = archive(&[
        ("manifest.yml", MANIFEST),
        ("data_stream/sale/manifest.yml", "{type: logs, title: Sales}"),
        ("data_stream/sale/fields/f.yml", "[{name: price, type: double}]"),
    ]);
    let target =
        |dataset: &str| Target { kind: "logs".into(), dataset: dataset.into(), folder: "sale".into() };
    let targets = BTreeSet::from([target("shop.sale"), target("berlin")]);
    let made = assets(&Package::read(&archive).unwrap(), &archive, &targets, &opensearch());
    let names: Vec<_> = made.assets.iter().map(|asset| asset.name.as_str()).collect();
    let expected = [
        "logs-berlin@custom",
        "logs-berlin@package",
        "logs-shop.sale@custom",
        "logs-shop.sale@package",
        "logs-berlin",
        "logs-shop.sale",
    ];
    assert_eq!(names, expected);
    let price = "/template/mappings/properties/price";
    assert_eq!(
        body(&made, "logs-berlin@package").pointer(price),
        body(&made, "logs-shop.sale@package").pointer(price)
    );
}

#[test]
fn our_own_packages_come_to_templates_without_a_rest() {
    let integrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../integrations");
    for engine in [elasticsearch(), opensearch()] {
        let mut count = 0;
        for entry in std::fs::read_dir(&integrations).unwrap() {
            let path = entry.unwrap().path();
            let archive = Archive::directory(&path).unwrap();
            let package = Package::read(&archive).unwrap();
            let made = assets(&package, &archive, &BTreeSet::new(), &engine);
            assert_eq!(made.notes, Vec::<String>::new(), "{}", path.display());
            let templates = made.assets.iter().filter(|asset| asset.kind == AssetKind::IndexTemplate);
            assert_eq!(templates.count(), package.data_streams.len(), "{}", path.display());
            count += made.assets.len();
        }
        assert!(count > 100, "{count}");
    }
}

#[test]
fn the_authentication_log_on_both_engines() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../integrations/system");
    let archive = Archive::directory(&path).unwrap();
    let package = Package::read(&archive).unwrap();
    let of = |engine: &Engine| {
        let made = assets(&package, &archive, &BTreeSet::new(), engine);
        let mut body = body(&made, "logs-system.auth@package").clone();
        body["_meta"]["checksum"] = Value::Null;
        body
    };
    insta::assert_snapshot!(pretty(&of(&opensearch())));
    let (ours, theirs) = (of(&elasticsearch()), of(&opensearch()));
    assert_eq!(ours["template"]["settings"]["index"]["lifecycle"], json!({"name": "logs"}));
    assert_eq!(theirs["template"]["settings"]["index"].get("lifecycle"), None);
}

#[test]
fn an_input_package_has_templates_for_what_is_named_alone() {
    let manifest = "{format_version: 3.0.0, name: lines, title: Lines, version: 1.0.0, type: input, \
        policy_templates: [{name: lines, type: logs, title: L, description: L, input: logfile, template_path: i.yml.hbs}]}";
    let archive = archive(&[
        ("manifest.yml", manifest),
        ("agent/input/i.yml.hbs", ""),
        ("fields/f.yml", "[{name: line, type: match_only_text}]"),
    ]);
    let package = Package::read(&archive).unwrap();
    assert_eq!(assets(&package, &archive, &BTreeSet::new(), &opensearch()), Assets::default());
    let target = Target { kind: "logs".into(), dataset: "shop".into(), folder: String::new() };
    let made = assets(&package, &archive, &BTreeSet::from([target]), &opensearch());
    let line = body(&made, "logs-shop@package").pointer("/template/mappings/properties/line").unwrap();
    assert_eq!(line, &json!({"type": "match_only_text"}));
    assert_eq!(body(&made, "logs-shop")["index_patterns"], json!(["logs-shop-*"]));
}

const TRANSFORM: &str = "source: {index: ['logs-shop.sale-*']}\n\
    dest: {index: shop_latest-1, pipeline: '{{ IngestPipeline \"clean\" }}', aliases: [{alias: shop_latest, move_on_creation: true}]}\n\
    latest: {unique_key: [shop.id], sort: '@timestamp'}\n\
    sync: {time: {field: '@timestamp'}}\n\
    _meta: {fleet_transform_version: 0.3.0, managed: true}\n";

/// Everything that a package may bring beside its data streams.
const WHOLE: [(&str, &str); 10] = [
    (
        "elasticsearch/ingest_pipeline/clean.yml",
        "processors: [{pipeline: {name: '{{ IngestPipeline \"more\" }}'}}]",
    ),
    ("elasticsearch/ingest_pipeline/more.json", r#"{"processors": []}"#),
    ("elasticsearch/component_template/shop-parts.json", r#"{"template": {}, "_meta": {"of": "shop"}}"#),
    (
        "elasticsearch/index_template/shop-archive.json",
        r#"{"index_patterns": ["shop-archive-*"], "composed_of": ["shop-parts"]}"#,
    ),
    (
        "elasticsearch/ilm_policy/shop-short.json",
        r#"{"policy": {"phases": {"delete": {"min_age": "7d", "actions": {"delete": {}}}}}}"#,
    ),
    ("elasticsearch/transform/latest/transform.yml", TRANSFORM),
    (
        "elasticsearch/transform/latest/manifest.yml",
        "{start: false, destination_index_template: {settings: {index.codec: best_compression}, mappings: {dynamic: false}}}",
    ),
    ("elasticsearch/transform/latest/fields/f.yml", "[{name: shop.id, type: keyword}]"),
    ("data_stream/sale/manifest.yml", "{type: logs, title: Sales, ilm_policy: shop-short}"),
    (
        "data_stream/sale/elasticsearch/ingest_pipeline/default.yml",
        "processors: [{pipeline: {name: '{{ IngestPipeline \"clean\" }}'}}]",
    ),
];

#[test]
fn a_package_with_all_that_is_not_of_a_data_stream() {
    let made = shop(&WHOLE, &elasticsearch());
    assert_eq!(made.notes, Vec::<String>::new());
    let all = made.assets.iter().map(|asset| json!([asset.kind, asset.name, asset.is_started, asset.body]));
    insta::assert_snapshot!(pretty(&all.collect::<Vec<_>>()));
    for asset in &made.assets {
        assert_eq!(checksum_in(asset.kind, &asset.body), Some(asset.checksum.as_str()), "{}", asset.name);
    }
}

#[test]
fn what_an_engine_does_not_have_is_left_out_and_told() {
    let made = shop(&WHOLE, &opensearch());
    assert_eq!(
        made.notes,
        [
            "ilm_policy shop-short is not installed: OpenSearch has none",
            "transform latest is not installed: OpenSearch has none",
        ]
    );
    let is_left = |asset: &&fleet_integration::assets::Asset| {
        matches!(asset.kind, AssetKind::Transform | AssetKind::IlmPolicy)
    };
    assert_eq!(made.assets.iter().filter(is_left).count(), 0);
    let settings = &body(&made, "logs-shop.sale@package")["template"]["settings"]["index"];
    assert_eq!(settings.get("lifecycle"), None, "nothing is named that is not there: {settings}");
    assert_eq!(settings["default_pipeline"], "logs-shop.sale-1.2.0");
}

#[test]
fn a_transform_is_another_one_when_it_says_so_and_not_with_each_package() {
    let of = |manifest: &str, transform: &str| {
        let files = [("manifest.yml", manifest), ("elasticsearch/transform/latest/transform.yml", transform)];
        let archive = archive(&files);
        let made = assets(&Package::read(&archive).unwrap(), &archive, &BTreeSet::new(), &elasticsearch());
        let transform = made.assets.into_iter().find(|asset| asset.kind == AssetKind::Transform).unwrap();
        (transform.name, transform.checksum)
    };
    let next = MANIFEST.replace("1.2.0", "1.3.0");
    let first = of(MANIFEST, TRANSFORM);
    assert_eq!(first.0, "logs-shop.latest-default-0.3.0");
    // The name of its pipeline has the package's version in it, which is not its own doing.
    let plain = TRANSFORM.replace(", pipeline: '{{ IngestPipeline \"clean\" }}'", "");
    assert_eq!(of(MANIFEST, &plain), of(&next, &plain));
    assert_eq!(of(&next, &TRANSFORM.replace("0.3.0", "0.4.0")).0, "logs-shop.latest-default-0.4.0");
    let unversioned = plain.replace("fleet_transform_version: 0.3.0, ", "");
    assert_eq!(of(&next, &unversioned).0, "logs-shop.latest-default-1.3.0");
}

#[test]
fn what_is_wrong_with_something_of_a_package_is_told() {
    let made = shop(
        &[
            ("elasticsearch/transform/a/manifest.yml", "{}"),
            ("elasticsearch/transform/b/transform.yml", "source: {}"),
            ("elasticsearch/ilm_policy/p.json", "{}"),
            ("elasticsearch/index_template/t.json", "[]"),
            ("elasticsearch/ml_model/m.json", "{}"),
        ],
        &elasticsearch(),
    );
    assert_eq!(
        made.notes,
        [
            "elasticsearch/index_template/t.json: not an object",
            "elasticsearch/ml_model: things of this kind are not installed",
            "ilm_policy p: there is no policy in it",
            "transform a is not installed: transform.yml is missing",
            "transform b is not installed: dest.index says to which index it writes, and is missing",
        ]
    );
    assert_eq!(made.assets, Vec::new());
}
