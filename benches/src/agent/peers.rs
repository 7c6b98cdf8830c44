//! Others that ship logs: rsyslog with its module for Elasticsearch, and a collector of OpenTelemetry.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::shipper::{Shipper, make};
use super::sink::Sink;
use crate::error::BenchError;

/// Debian's place; not on every person's path.
const RSYSLOG: &str = "/usr/sbin/rsyslogd";
/// Lines of a request: what the agent's default has.
const BATCH: usize = 1600;

/// Starts rsyslog on a folder, with its files beside it.
pub(super) fn rsyslog(folder: &Path, sink: &Sink, gzip: bool) -> Result<Shipper, BenchError> {
    if !Path::new(RSYSLOG).exists() {
        let advice = "rsyslog is not installed: scripts/install-tools benches";
        return Err(BenchError::Wrong(advice.to_owned()));
    }
    let spool = folder.with_extension("spool");
    make(folder)?;
    make(&spool)?;
    let (logs, spool, port) = (folder.display(), spool.display(), sink.port);
    let compress = if gzip { "compress=\"on\" compress.level=\"1\"" } else { "" };
    let text = format!(
        r#"global(workDirectory="{spool}" maxMessageSize="64k")
module(load="imfile" mode="inotify")
module(load="omelasticsearch")
template(name="document" type="list" option.jsonf="on") {{
  property(outname="@timestamp" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
  property(outname="host.name" name="hostname" format="jsonf")
  property(outname="log.file.path" name="$!metadata!filename" format="jsonf")
}}
input(type="imfile" file="{logs}/*.log" tag="bench" ruleset="out" addMetadata="on")
ruleset(name="out" queue.type="LinkedList" queue.size="100000" queue.dequeueBatchSize="{BATCH}") {{
  action(type="omelasticsearch" server="http://127.0.0.1" serverport="{port}" searchIndex="bench"
    searchType="" bulkmode="on" template="document" {compress}
    action.resumeRetryCount="-1")
}}
"#
    );
    let (configuration, pid) = (folder.with_extension("conf"), folder.with_extension("pid"));
    std::fs::write(&configuration, text).map_err(BenchError::file("write", &configuration))?;
    let mut command = Command::new(RSYSLOG);
    command.arg("-n").arg("-f").arg(configuration).arg("-i").arg(pid);
    Shipper::start("rsyslog", "omelasticsearch: time, message, host, path", (folder, sink), &mut command)
}

/// Builds the collector, in the target directory. Go keeps what it has built: another time takes no time.
pub(super) async fn build_collector() -> Result<PathBuf, BenchError> {
    let program = std::env::current_exe()
        .map_err(BenchError::file("find", "this program"))?
        .with_file_name("bench-collector");
    let output = Command::new("go")
        .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("collector"))
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(BenchError::file("run", "go"))?;
    if output.status.success() {
        return Ok(program);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(BenchError::Wrong(format!("the collector does not build: {said}")))
}

/// Starts a collector on a folder.
pub(super) fn collector(
    program: &Path,
    folder: &Path,
    sink: &Sink,
    gzip: bool,
) -> Result<Shipper, BenchError> {
    make(folder)?;
    let (logs, url) = (folder.display(), sink.url());
    let compression = if gzip { "gzip" } else { "none" };
    let text = format!(
        "receivers:
  filelog:
    include: ['{logs}/*.log']
    start_at: beginning
    include_file_path: true
exporters:
  otlphttp:
    logs_endpoint: {url}/v1/logs
    compression: {compression}
    sending_queue:
      sizer: items
      queue_size: 100000
      block_on_overflow: true
      batch:
        flush_timeout: 1s
        min_size: {BATCH}
        max_size: {BATCH}
service:
  telemetry:
    metrics:
      level: none
    logs:
      level: warn
  pipelines:
    logs:
      receivers: [filelog]
      exporters: [otlphttp]
"
    );
    let configuration = folder.with_extension("yaml");
    std::fs::write(&configuration, text).map_err(BenchError::file("write", &configuration))?;
    let mut command = Command::new(program);
    command.arg("--config").arg(format!("file:{}", configuration.display()));
    let note = "filelog, otlphttp: time, message, path; not the documents of an engine";
    Shipper::start("OpenTelemetry collector", note, (folder, sink), &mut command)
}
