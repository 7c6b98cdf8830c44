//! A zip of what helps to find out what is wrong. It holds no secrets of the policy.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use time::OffsetDateTime;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::policy::{Facts, HIDDEN, Redactor};
use crate::workload::Workloads;

/// Of each log file, so much of its end is taken.
const LOG_TAIL: u64 = 4 * 1024 * 1024;
/// So many log files, the newest first.
const LOG_FILES: usize = 20;

/// What diagnostics are made of.
#[derive(Clone, Debug)]
pub struct Material {
    /// How the agent is.
    pub status: Value,
    /// The policy, without its secrets.
    pub policy: Value,
    /// What it became here, without its secrets.
    pub components: Value,
    /// What the server is told of the machine.
    pub metadata: Value,
    /// What policies may refer to.
    pub variables: Facts,
    /// Takes out secrets.
    pub redactor: Redactor,
    /// The directory of the logs.
    pub logs: PathBuf,
    /// What carries out inputs.
    pub workloads: Workloads,
}

/// A part: its name and its content.
pub type Part = (String, Vec<u8>);

/// The name of a file of diagnostics that is made now.
#[must_use]
pub fn file_name() -> String {
    let now = OffsetDateTime::now_utc();
    let (date, time) = (now.date(), now.time());
    format!(
        "fleet-agent-diagnostics-{date}T{:02}-{:02}-{:02}Z-00.zip",
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// Gathers all parts.
pub async fn gather(material: Material) -> Vec<Part> {
    let mut parts = vec![
        ("version.txt".to_owned(), version_text().into_bytes()),
        ("state.yaml".to_owned(), yaml(&material.status)),
        ("policy.yaml".to_owned(), yaml(&material.policy)),
        ("components.yaml".to_owned(), yaml(&material.components)),
        ("local-metadata.yaml".to_owned(), yaml(&material.metadata)),
        ("variables.yaml".to_owned(), yaml(&shown_variables(&material))),
        ("process.txt".to_owned(), process().into_bytes()),
    ];
    for workload in material.workloads.iter() {
        for (name, content) in workload.diagnostics().await {
            let content = material.redactor.text(&String::from_utf8_lossy(&content)).into_bytes();
            parts.push((format!("components/{}/{name}", workload.name()), content));
        }
        let metrics = workload.metrics();
        parts.push((format!("components/{}/metrics.txt", workload.name()), metrics.into_bytes()));
    }
    let (logs, redactor) = (material.logs, material.redactor);
    let logs = tokio::task::spawn_blocking(move || log_parts(&logs, &redactor)).await;
    parts.extend(logs.unwrap_or_default());
    parts
}

/// The environment holds secrets of everybody: only its names are shown.
fn shown_variables(material: &Material) -> Value {
    let mut tree = material.variables.tree().clone();
    if let Some(Value::Object(environment)) = tree.get_mut("env") {
        for value in environment.values_mut() {
            *value = HIDDEN.into();
        }
    }
    material.redactor.any(&Value::Object(tree))
}

fn version_text() -> String {
    format!("fleet-agent {} (fleet {})\n", crate::version::current(), env!("CARGO_PKG_VERSION"))
}

fn process() -> String {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    format!("{}\n# limits\n{}\n# cgroup\n{}", read("status"), read("limits"), read("cgroup"))
}

/// YAML for people.
#[must_use]
pub fn yaml(value: &Value) -> Vec<u8> {
    serde_saphyr::to_string(value).unwrap_or_else(|_| json!(value).to_string()).into_bytes()
}

fn log_parts(directory: &Path, redactor: &Redactor) -> Vec<Part> {
    let mut files: Vec<(std::time::SystemTime, PathBuf)> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some((metadata.modified().ok()?, entry.path()))
        })
        .collect();
    files.sort();
    let newest = files.into_iter().rev().take(LOG_FILES);
    newest
        .filter_map(|(_, path)| {
            let name = path.file_name()?.to_string_lossy().into_owned();
            let content = tail(&path).ok()?;
            let content = redactor.text(&String::from_utf8_lossy(&content)).into_bytes();
            Some((format!("logs/{name}"), content))
        })
        .collect()
}

fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(LOG_TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut content = Vec::new();
    file.take(LOG_TAIL).read_to_end(&mut content)?;
    Ok(content)
}

/// Packs the parts.
///
/// # Errors
/// A part cannot be packed.
pub fn zip(parts: &[Part]) -> io::Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options =
        SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).unix_permissions(0o600);
    for (name, content) in parts {
        archive.start_file(name.as_str(), options).map_err(io::Error::other)?;
        archive.write_all(content)?;
    }
    Ok(archive.finish().map_err(io::Error::other)?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_secret_is_in_it() {
        let logs = tempfile::tempdir().unwrap();
        std::fs::write(logs.path().join("a.ndjson"), "failed with hunter22\n").unwrap();
        let policy = json!({"outputs": {"default": {"password": "hunter22"}}});
        let policy = policy.as_object().unwrap();
        let redactor = Redactor::of(policy);
        let environment = json!({"env": {"TOKEN": "zzz-zzz"}, "local": {"a": "hunter22"}});
        let material = Material {
            status: json!({"message": redactor.text("bad hunter22")}),
            policy: Value::Object(redactor.policy(policy)),
            components: json!({}),
            metadata: json!({}),
            variables: Facts::new(environment.as_object().unwrap().clone()),
            redactor,
            logs: logs.path().to_owned(),
            workloads: Workloads::default(),
        };
        let parts = gather(material).await;
        assert!(parts.iter().any(|(name, _)| name == "logs/a.ndjson"));
        for (name, content) in &parts {
            let text = String::from_utf8_lossy(content);
            assert!(!text.contains("hunter22") && !text.contains("zzz-zzz"), "{name}: {text}");
        }
        let zipped = zip(&parts).unwrap();
        let mut archive = zip::ZipArchive::new(Cursor::new(zipped)).unwrap();
        assert_eq!(archive.len(), parts.len());
        assert!(archive.by_name("state.yaml").is_ok());
    }
}
