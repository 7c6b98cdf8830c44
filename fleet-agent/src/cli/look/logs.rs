//! `fleet-agent logs`

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::super::flags::Globals;
use super::super::run::LOG_NAME;
use super::super::{Outcome, failure, say};

/// A file that is followed is looked at so often.
const LOOK: Duration = Duration::from_millis(200);

/// Shows the log.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Logs {
    /// So many of its last lines
    #[arg(short = 'n', long, default_value_t = 10, value_name = "LINES")]
    number: usize,
    /// Go on with what is added
    #[arg(short, long)]
    follow: bool,
    /// Only lines about this component
    #[arg(short = 'C', long, value_name = "COMPONENT")]
    component: Option<String>,
    /// Accepted for scripts: there is no log of events
    #[arg(long)]
    exclude_events: bool,
}

pub(in crate::cli) async fn logs(globals: &Globals, arguments: &Logs) -> Outcome {
    let path = globals.paths().logs.join(LOG_NAME);
    let mut file = open(&path)?;
    let mut last = VecDeque::new();
    let mut line = String::new();
    while file.read_line(&mut line)? > 0 {
        if is_about(&line, arguments.component.as_deref()) {
            last.push_back(line.trim_end().to_owned());
            if last.len() > arguments.number {
                last.pop_front();
            }
        }
        line.clear();
    }
    for line in last {
        say(&line);
    }
    if !arguments.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        tokio::time::sleep(LOOK).await;
        while file.read_line(&mut line)? > 0 {
            // What has no end yet is still being written.
            if !line.ends_with('\n') {
                break;
            }
            if is_about(&line, arguments.component.as_deref()) {
                say(line.trim_end());
            }
            line.clear();
        }
        file = followed(file, &path)?;
    }
}

fn open(path: &Path) -> Result<BufReader<File>, super::super::Failure> {
    let file = File::open(path).map_err(|error| {
        failure(format!(
            "{} cannot be read: {error}. A service logs there, and an agent that runs with -e to where it was started (as a service: journalctl -u fleet-agent)",
            path.display()
        ))
    })?;
    Ok(BufReader::new(file))
}

/// The file of that name, which may be another one by now.
fn followed(file: BufReader<File>, path: &Path) -> Result<BufReader<File>, super::super::Failure> {
    let Ok(named) = std::fs::metadata(path) else { return Ok(file) };
    let mut file = file;
    let open = file.get_ref().metadata()?;
    let at = file.stream_position()?;
    if named.ino() != open.ino() {
        // What was added before it was replaced is read first.
        return if open.len() > at { Ok(file) } else { self::open(path) };
    }
    if open.len() < at {
        file.seek(SeekFrom::Start(0))?;
    }
    Ok(file)
}

fn is_about(line: &str, component: Option<&str>) -> bool {
    let Some(component) = component else { return true };
    let Ok(line) = serde_json::from_str::<Value>(line) else { return false };
    let holds = |value: &Value| value.as_str().is_some_and(|text| text.contains(component));
    let labels = line["labels"].as_object();
    labels.is_some_and(|labels| labels.values().any(holds)) || holds(&line["component"]["id"])
}
