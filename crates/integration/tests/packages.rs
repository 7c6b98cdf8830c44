//! Packages: what their manifests may say, and what is told where one says what cannot be.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::time::{Duration, Instant};

use common::{made, package};
use fleet_integration::package::{PackageType, VarType};
use fleet_integration::{
    Package, PackageError, PackagePolicy, compile, template_inputs, template_inputs_yaml,
};
use serde_json::{Value, json};

const MANIFEST: &str = "name: x\nversion: 1.0.0\ntitle: X\n";

fn refused(manifest: &str) -> String {
    made(&[("manifest.yml", manifest)]).unwrap_err().to_string()
}

#[test]
fn a_package_is_read_whole() {
    let package = package("acme");
    assert_eq!((package.name.as_str(), package.version.as_str()), ("acme", "1.2.0"));
    assert_eq!(package.kind, PackageType::Integration);
    assert_eq!(package.conditions.kibana_version.as_deref(), Some("^8.12.0 || ^9.0.0"));
    assert_eq!(package.conditions.elastic_subscription.as_deref(), Some("basic"));
    assert_eq!(package.icons[0].path, "/package/acme/1.2.0/img/acme.svg");
    assert_eq!(package.changelog[0].changes[0].description, "Traffic");
    assert_eq!(package.readme.as_deref(), Some("# Acme\n"));
    assert_eq!(package.cluster_privileges, ["monitor"]);
    let keys: Vec<String> = package.layout().iter().map(|input| input.key()).collect();
    assert_eq!(keys, ["acme-logfile", "acme-acme/metrics"]);
    let metrics = &package.layout()[1];
    assert_eq!(metrics.vars[0].default, Some(json!(["http://127.0.0.1:8080"])));
    assert!(metrics.vars[1].secret);
    assert_eq!(metrics.vars[3].options[1].value, "full");
    let datasets: Vec<&str> = metrics.streams.iter().map(|stream| stream.dataset.as_str()).collect();
    assert_eq!(datasets, ["acme.state", "acme.traffic"]);
    assert_eq!(
        package.data_streams[1].elasticsearch.rest,
        *json!({"index_mode": "time_series"}).as_object().unwrap()
    );
    let told = serde_json::to_value(&package.data_streams[1].elasticsearch).unwrap();
    assert_eq!(told["privileges"], json!({"indices": ["auto_configure", "create_doc", "read"]}));
    assert!(package.template_errors().next().is_none());
}

#[test]
fn what_does_not_matter_is_taken_as_it_is() {
    for manifest in [
        "\u{feff}name: x\r\nversion: 1.0.0\r\n",
        "name: x\nversion: 1.0\nformat_version: 1.10\n# \ta tab\n",
        "name: x\nversion: 1\ntitle: 5\ndescription:\ncategories: web\n",
        "name: x\nversion: 1.0.0-beta.1+b\nowner: acme\nicons:\nvars:\npolicy_templates: []\n",
        "name: x\nversion: 1.0.0\nunknown: {a: [1, 2]}\nconditions: none\nname: x\n",
        "base: &b {title: T}\n<<: *b\nname: x\nversion: 1.0.0\n",
        "name: x\nversion: 1.0.0\nicons: {a: b}\nscreenshots: x\nvars: {}\n",
        "---\nname: x\nversion: '1.0.0'\n...\n",
    ] {
        let package =
            made(&[("manifest.yml", manifest)]).unwrap_or_else(|error| panic!("{error}: {manifest:?}"));
        assert_eq!(package.name, "x");
    }
    assert_eq!(made(&[("manifest.yml", "name: x\nversion: 1.10\n")]).unwrap().version, "1.10.0");
    assert_eq!(
        made(&[("manifest.yml", "base: &b {title: T}\n<<: *b\nname: x\nversion: 1.0.0")]).unwrap().title,
        "T"
    );
}

#[test]
fn defaults_are_what_their_types_want() {
    let vars = "vars:
  - {name: a, type: text, default: 8080}
  - {name: b, type: bool, default: 'true'}
  - {name: c, type: integer, default: '7'}
  - {name: d, type: text, multi: true, default: one}
  - {name: e, type: select, default: 1, options: [{value: 1, text: One}, 2]}
  - {name: f, type: yaml, default: {a: 1}}
  - {name: g, type: of_tomorrow, multi: true, default: [1, two]}
  - {name: h, type: text, default: ~}
  - {name: i}
";
    let package = made(&[("manifest.yml", &format!("{MANIFEST}{vars}"))]).unwrap();
    let defaults: Vec<Option<Value>> = package.vars.iter().map(|var| var.default.clone()).collect();
    let wanted = [
        Some(json!(8080)),
        Some(json!(true)),
        Some(json!(7)),
        Some(json!(["one"])),
        Some(json!("1")),
        Some(json!("{\"a\":1}")),
        Some(json!([1, "two"])),
        None,
        None,
    ];
    assert_eq!(defaults, wanted);
    assert_eq!(package.vars[4].options[1].text, "2");
    assert_eq!(package.vars[6].kind, VarType::Text);
    assert_eq!(package.vars[8].title, "i");
}

#[test]
fn what_is_wrong_is_told_with_file_and_line() {
    for (manifest, wanted) in [
        ("title: X\nversion: 1.0.0", "manifest.yml:1: name: must be a text that is not empty"),
        (
            "name: x\nversion: one",
            "manifest.yml:2: version: \"one\" is not a version like 1.2.3 or 1.2.3-beta.1",
        ),
        (
            "name: ../x\nversion: 1.0.0",
            "manifest.yml:1: name: \"../x\" is not a name of a package: lower-case letters, digits, _ and -",
        ),
        (
            "name: x\nversion: 1.0.0\ntype: book",
            "manifest.yml:3: type: \"book\" is not a type of package: integration, input or content",
        ),
        ("name: x\nversion: 1.0.0\nvars: 5", "manifest.yml:3: vars: must be a list"),
        (
            "name: x\nversion: 1.0.0\nvars:\n  - name: a\n  - b",
            "manifest.yml:5: vars[1]: must hold keys and values (key: value)",
        ),
        (
            "name: x\nversion: 1.0.0\npolicy_templates:\n  - name: a\n    inputs:\n      - title: T",
            "manifest.yml:6: policy_templates[0].inputs[0].type: must be a text that is not empty",
        ),
        ("- name", "manifest.yml:1: the file must hold keys and values (key: value)"),
        ("", "manifest.yml:1: the file must hold keys and values (key: value)"),
    ] {
        assert_eq!(refused(manifest), wanted);
    }
    assert!(refused("name: x\nversion: [\na").starts_with("manifest.yml:3: this is not YAML: "));
    let files = [
        ("manifest.yml", MANIFEST),
        ("data_stream/a/manifest.yml", "title: A\nstreams:\n  - title: T\ntype: logs"),
    ];
    let error = made(&files).unwrap_err().to_string();
    assert_eq!(error, "data_stream/a/manifest.yml:3: streams[0].input: must be a text that is not empty");
    assert!(matches!(made(&[("docs/README.md", "x")]), Err(PackageError::Missing { .. })));
}

#[test]
fn a_broken_template_concerns_those_who_use_it() {
    let files = [
        ("manifest.yml", MANIFEST),
        ("agent/input/a.yml.hbs", "{{#if}}"),
        ("agent/input/b.yml.hbs", "{{> p}}"),
    ];
    let package = made(&files).unwrap();
    let errors: Vec<String> = package.template_errors().map(|error| error.file.clone()).collect();
    assert_eq!(errors, ["agent/input/a.yml.hbs", "agent/input/b.yml.hbs"]);
}

#[test]
fn yaml_that_grows_is_refused_in_time() {
    let mut bomb = String::from("name: x\nversion: 1.0.0\na0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let of = format!("*a{}, ", level - 1).repeat(9);
        bomb.push_str(&format!("a{level}: &a{level} [{of}]\n"));
    }
    let deep = format!("name: x\nversion: 1.0.0\na: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    let stairs = (0..100_000).map(|level| format!("{}a:\n", " ".repeat(level % 200))).collect::<String>();
    let long = format!("name: x\n{}", "a: 1\n".repeat(400_000));
    let large = format!("name: x\nversion: 1.0.0\nt: {}", "x".repeat(10 * 1024 * 1024));
    for manifest in [bomb, deep, stairs, long, large] {
        let started = Instant::now();
        refused(&manifest);
        // Some 500 times of what it takes.
        assert!(started.elapsed() < Duration::from_secs(60), "{}", &manifest[..40]);
    }
}

#[test]
fn inputs_are_shown_as_an_example() {
    let package: Package = package("acme");
    let json = template_inputs(&package).unwrap();
    let yaml = template_inputs_yaml(&package).unwrap();
    insta::assert_snapshot!(yaml);
    assert_eq!(fleet_integration::yaml::parse_json(&yaml).unwrap(), json);
}

#[test]
fn a_package_that_multiplies_is_refused() {
    let templates: String = (0..2000)
        .map(|index| format!("  - {{name: t{index}, inputs: [{{type: a}}, {{type: b}}, {{type: c}}]}}\n"))
        .collect();
    let manifest = format!("{MANIFEST}policy_templates:\n{templates}");
    let stream = "type: logs\nstreams: [{input: a}, {input: b}, {input: c}]";
    let folders: Vec<String> = (0..300).map(|index| format!("data_stream/d{index}/manifest.yml")).collect();
    let mut files = vec![("manifest.yml", manifest.as_str())];
    files.extend(folders.iter().map(|folder| (folder.as_str(), stream)));
    assert!(matches!(made(&files), Err(PackageError::TooLarge { .. })));
    let many =
        format!("type: logs\nelasticsearch: {{a: &a [{}], b: [{}]}}", "x, ".repeat(500), "*a, ".repeat(150));
    let mut files = vec![("manifest.yml", MANIFEST)];
    files.extend(folders.iter().map(|folder| (folder.as_str(), many.as_str())));
    assert!(matches!(made(&files), Err(PackageError::NotYaml { .. })));
}

#[test]
fn templates_that_grow_are_refused() {
    let manifest = "name: x
version: 1.0.0
type: input
policy_templates:
  - name: x
    type: logs
    input: y
    vars:
      - {name: list, type: text, multi: true}
      - {name: number, type: text, default: '7'}
      - {name: yaml, type: yaml, default: '- a'}
";
    for template in [
        "{{#each list}}{{../number}} {{/each}}",
        "a:\n{{#each list}}\n{{../yaml}}\n{{/each}}\n",
        "a: [{{#each list}}{{../yaml}}, {{/each}}]\n",
        "{{#each list}}{{#each ../list}}{{#each ../../list}}{{to_json @root}}{{/each}}{{/each}}{{/each}}",
        "{{#each list}}{{#contains \"x\" ../list}}{{/contains}}{{/each}}",
    ] {
        let package = made(&[("manifest.yml", manifest), ("agent/input/input.yml.hbs", template)]).unwrap();
        let mut policy = PackagePolicy::defaults(&package, "p", "p");
        let list: Vec<String> = (0..12_000).map(|index| index.to_string()).collect();
        common::set(&mut policy, 0, Some(0), "list", json!(list));
        assert!(compile(&package, &policy, &common::context()).is_err(), "{template}");
    }
}
