//! `add_docker_metadata`: what the container is that an event comes from.

mod containers;
mod engine;
#[cfg(test)]
mod tests;

pub(super) use engine::{Engine, Source};

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::process::container::is_id;
use super::process::pid;
use super::process::table::Table;
use super::shared::Shared;
use super::{Flow, Processor};
use crate::config::{Config, Mistake};
use crate::event::{Event, FieldPath};
use containers::Containers;

/// Where engines are asked as a rule.
const SOCKET: &str = "unix:///var/run/docker.sock";

/// How long a container that is gone is still known.
const KEPT: Duration = Duration::from_secs(60);

/// The last folder of `/var/lib/docker/containers/<id>` when the first is 0.
const SOURCE_INDEX: usize = 4;

/// So much of an id is called a short one.
const SHORT: usize = 12;

#[derive(Debug)]
struct AddDocker {
    engine: Arc<Engine>,
    place: FieldPath,
    /// Which folder of the file's path is the id; `None`: it is not looked for there.
    source: Option<(FieldPath, usize)>,
    fields: Vec<FieldPath>,
    pids: Vec<FieldPath>,
    short: bool,
    table: Arc<Table>,
}

impl Processor for AddDocker {
    fn run(&self, event: &mut Event) -> Flow {
        let found = {
            let containers = self.engine.containers();
            self.by_name(event, &containers).or_else(|| self.by_process(event, &containers)).cloned()
        };
        if let Some(container) = found {
            event.deep_merge(&self.place, container);
        }
        Flow::Keep
    }

    fn prepare(&self) -> Option<BoxFuture<'static, ()>> {
        let engine = Arc::clone(&self.engine);
        Some(Box::pin(async move { engine.prepare().await }))
    }

    fn is_idle(&self) -> bool {
        self.engine.is_absent()
    }
}

impl AddDocker {
    fn by_name<'a>(&self, event: &Event, containers: &'a Containers) -> Option<&'a Value> {
        let folder = self.source.as_ref().and_then(|(field, index)| {
            event.text(field)?.split('/').filter(|part| !part.is_empty()).nth(*index)
        });
        let named = self.fields.iter().filter_map(|field| event.text(field));
        folder.into_iter().chain(named).find_map(|id| match id.len() {
            SHORT if self.short => containers.find_short(id),
            _ if is_id(id) => containers.find(id),
            _ => None,
        })
    }

    fn by_process<'a>(&self, event: &Event, containers: &'a Containers) -> Option<&'a Value> {
        self.pids.iter().find_map(|field| {
            let details = self.table.find(pid(event.get(field)?)?)?;
            containers.find(details.container.as_ref()?)
        })
    }
}

/// `host`, `match_source`, `match_source_index`, `match_fields`, `match_pids`, `match_short_id`, `cleanup_timeout`,
/// `labels.dedot`.
pub(super) fn build(config: &Config, shared: &Shared) -> Result<Box<dyn Processor>, Mistake> {
    config.allow(&["ssl", "skip_older"]);
    let host = config.text("host")?.unwrap_or_else(|| SOCKET.to_owned());
    let socket = engine::socket(&host).ok_or_else(|| {
        config.mistake("host", "must be a Unix socket, such as unix:///var/run/docker.sock")
    })?;
    let names = |key: &str, usual: &[&str]| -> Result<Vec<FieldPath>, Mistake> {
        let given = config.value(key).is_some();
        let names = config.texts(key)?;
        let usual = usual.iter().filter(|_| !given).map(|name| FieldPath::new(name));
        Ok(names.iter().map(|name| FieldPath::new(name)).chain(usual).collect())
    };
    let index = config.count("match_source_index", SOURCE_INDEX)?;
    let source = config.boolean("match_source", true)?;
    let kept = config.duration("cleanup_timeout", KEPT)?;
    let dedot = config.boolean("labels.dedot", true)?;
    Ok(Box::new(AddDocker {
        place: FieldPath::top("container".to_owned()),
        source: source.then(|| (FieldPath::new("log.file.path"), index)),
        fields: names("match_fields", &["container.id"])?,
        pids: names("match_pids", &["process.pid", "process.parent.pid"])?,
        short: config.boolean("match_short_id", false)?,
        table: shared.processes("/"),
        engine: shared.engine(Source { socket, dedot, kept }),
    }))
}
