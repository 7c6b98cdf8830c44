//! `inputs`: a list of one item, which holds the server's own keys.

use fleet_service::config::document::{Section, read};

use super::cache::{self, Cache, Monitor};
use super::server::{self, Server};

pub(super) struct Input {
    pub(super) policy_id: String,
    pub(super) server: Server,
    pub(super) cache: Cache,
    pub(super) monitor: Monitor,
}

pub(super) fn read(root: &Section<'_>, memory: u64) -> Input {
    let items = root.sections("inputs");
    if items.len() > 1 {
        let text = format!("inputs has {} items: there may be one, of the type fleet-server", items.len());
        root.mistake("inputs", text);
    }
    let item = items.into_iter().next().unwrap_or_else(|| root.section("inputs.0"));
    let _: () = item.get("type", (), read::one_of(&[("fleet-server", ())]));
    for key in ["id", "name", "use_output", "revision", "data_stream", "meta"] {
        item.accepted(key);
    }
    let section = item.section("server");
    let limits = super::limits::read(&section.section("limits"), memory);
    Input {
        policy_id: item.get("policy.id", String::new(), read::text),
        cache: cache::read_cache(&item.section("cache"), limits.cache),
        monitor: cache::read_monitor(&item.section("monitor")),
        server: server::read(&section, limits),
    }
}
