//! Packages of thousands of streams: what is done with them takes time by their size, not by its square.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::time::{Duration, Instant};

use common::{context, made};
use fleet_integration::{Package, PackagePolicy, check, compile, secrets, shapes, upgrade};

/// A package of so many streams of one input, each with a secret.
fn package(streams: usize) -> Package {
    let manifest = "format_version: 3.0.0\nname: many\ntitle: Many\nversion: 1.0.0\ntype: integration\n\
                    policy_templates:\n  - name: many\n    title: Many\n    inputs:\n      - type: filestream\n        \
                    title: Files\n";
    let stream = "title: One\ntype: logs\nstreams:\n  - input: filestream\n    title: One\n    vars:\n      \
                  - {name: path, type: text, default: /var/log/a.log}\n      \
                  - {name: token, type: password, secret: true, default: hush}\n";
    let mut files = vec![("manifest.yml".to_owned(), manifest)];
    for number in 0..streams {
        files.push((format!("data_stream/s{number}/manifest.yml"), stream));
        let template = format!("data_stream/s{number}/agent/stream/stream.yml.hbs");
        files.push((template, "paths: ['{{path}}']\ntoken: {{token}}\n"));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(path, content)| (path.as_str(), *content)).collect();
    made(&files).unwrap()
}

/// Everything that saving does.
fn save(package: &Package) -> Duration {
    let policy = PackagePolicy::defaults(package, "p", "p");
    let simplified = shapes::simplified(&policy);
    let began = Instant::now();
    let mut policy = shapes::full(simplified, package).unwrap();
    shapes::complete(&mut policy, package);
    assert_eq!(check(package, &policy), []);
    assert_eq!(secrets::foreign(package, &policy, None), []);
    for taken in secrets::take(package, &mut policy) {
        secrets::refer(&mut policy, &taken, &["id".to_owned()]);
    }
    secrets::name_references(&mut policy);
    let compiled = compile(package, &policy, &context()).unwrap();
    assert_eq!(compiled.rendered[0].streams.len(), package.data_streams.len());
    assert_eq!(upgrade(&policy, package).changes, []);
    began.elapsed()
}

#[test]
fn thousands_of_streams_take_time_by_their_number() {
    let (few, many) = (package(250), package(2000));
    // Others use the machine too: what counts is the quietest of several.
    let quietest = |package: &Package| (0..3).map(|_| save(package)).min().unwrap();
    let (one, eight) = (quietest(&few), quietest(&many));
    assert!(eight < one * 20, "8 times as much took {eight:?}, and {one:?} the eighth");
}
