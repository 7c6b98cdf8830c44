//! Archives of packages, good and bad.

use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use zip::write::SimpleFileOptions;

/// The files of a package with one input and one template, by their paths from the archive's root.
pub(super) fn files(name: &str, version: &str, more: &str) -> Vec<(String, Vec<u8>)> {
    let manifest = format!(
        "format_version: 3.0.0\nname: {name}\ntitle: The {name}\nversion: {version}\ntype: integration\n\
         description: Watches {name}.\ncategories: [web]\n{more}\
         policy_templates:\n  - name: {name}\n    title: Logs\n    description: Logs of it.\n    categories: [logs]\n    \
         inputs:\n      - type: filestream\n        title: Files\n"
    );
    let stream = "title: Access\ntype: logs\nstreams:\n  - input: filestream\n    title: Access\n    vars:\n      \
                  - name: paths\n        type: text\n        multi: true\n        default: [/var/log/a.log]\n";
    let template = "paths:\n{{#each paths}}\n  - {{this}}\n{{/each}}\n";
    let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
    [
        ("manifest.yml", manifest.as_str()),
        ("docs/README.md", "# Read me\n"),
        ("img/logo.svg", svg),
        ("kibana/dashboard/one.json", "{}"),
        ("data_stream/access/manifest.yml", stream),
        ("data_stream/access/agent/stream/stream.yml.hbs", template),
        ("data_stream/access/elasticsearch/ingest_pipeline/default.yml", "processors: []\n"),
        ("something/that/nobody/knows.bin", "\u{0}"),
    ]
    .map(|(path, content)| (format!("{name}-{version}/{path}"), content.as_bytes().to_vec()))
    .to_vec()
}

pub(super) fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, content) in files {
        zip.start_file(path.as_str(), SimpleFileOptions::default()).expect("a file");
        zip.write_all(content).expect("written");
    }
    zip.finish().expect("a zip").into_inner()
}

/// Paths are written as they are: the library would refuse bad ones.
pub(super) fn tar_gz(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        let field = &mut header.as_gnu_mut().expect("a GNU header").name;
        field[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, content.as_slice()).expect("appended");
    }
    tar.into_inner().expect("a tar").finish().expect("gzip")
}

/// A package as a zip.
pub(super) fn package(name: &str, version: &str) -> Vec<u8> {
    zip(&files(name, version, ""))
}

/// One that says which servers it is for.
pub(super) fn package_for(name: &str, version: &str, servers: &str) -> Vec<u8> {
    zip(&files(name, version, &format!("conditions:\n  kibana:\n    version: '{servers}'\n")))
}
