//! `add_host_metadata`: what the machine is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Flow, Processor};
use crate::config::{Config, Mistake};
use crate::event::{Event, FieldPath};

#[derive(Debug)]
struct AddHost {
    host: Value,
    replace: bool,
    geo: Option<Value>,
}

impl Processor for AddHost {
    fn run(&self, event: &mut Event) -> Flow {
        let path = FieldPath::top("host".to_owned());
        // A host that an event brings itself, beyond its name, is not overwritten unless the policy says so.
        let foreign = event
            .get(&path)
            .and_then(Value::as_object)
            .is_some_and(|host| host.keys().any(|key| key != "name"));
        if foreign && !self.replace {
            return Flow::Keep;
        }
        event.deep_merge(&path, self.host.clone());
        if let Some(geo) = &self.geo {
            event.put(&FieldPath::new("host.geo"), geo.clone());
        }
        Flow::Keep
    }

    fn touches(&self) -> Option<Vec<String>> {
        Some(vec!["host".to_owned()])
    }
}

pub(super) fn build(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    config.allow(&["netinfo.enabled", "cache.ttl"]);
    let mut host = facts(Path::new("/"));
    if config.boolean("netinfo.enabled", true)? {
        host.insert("mac".to_owned(), json!(hardware_addresses(Path::new("/"))));
    }
    let mut geo = Map::new();
    for key in [
        "name",
        "location",
        "continent_name",
        "country_name",
        "country_iso_code",
        "region_name",
        "region_iso_code",
        "city_name",
    ] {
        if let Some(text) = config.text(&format!("geo.{key}"))? {
            geo.insert(key.to_owned(), json!(text));
        }
    }
    Ok(Box::new(AddHost {
        host: Value::Object(host),
        replace: config.boolean("replace_fields", true)?,
        geo: (!geo.is_empty()).then_some(Value::Object(geo)),
    }))
}

/// The machine's facts by the names of the common schema, read below `root`.
fn facts(root: &Path) -> Map<String, Value> {
    let release = os_release(&fs::read_to_string(root.join("etc/os-release")).unwrap_or_default());
    let uname = rustix::system::uname();
    let text = |value: &std::ffi::CStr| value.to_string_lossy().into_owned();
    let machine_id = fs::read_to_string(root.join("etc/machine-id")).unwrap_or_default();
    let like = release.get("ID_LIKE").or(release.get("ID"));
    let family = like.and_then(|like| like.split(' ').next()).unwrap_or("linux");
    let host = json!({
        "hostname": text(uname.nodename()),
        "architecture": text(uname.machine()),
        "id": machine_id.trim(),
        "containerized": fs::exists(root.join(".dockerenv")).unwrap_or(false),
        "os": {
            "type": "linux",
            "kernel": text(uname.release()),
            "platform": release.get("ID").map_or("linux", String::as_str),
            "family": family,
            "name": release.get("NAME").map_or("Linux", String::as_str),
            "version": release.get("VERSION").or(release.get("VERSION_ID")).map_or("", String::as_str),
            "codename": release.get("VERSION_CODENAME").map_or("", String::as_str),
        },
    });
    match host {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn os_release(text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| {
        let (key, value) = line.split_once('=')?;
        Some((key.trim().to_owned(), value.trim().trim_matches(['"', '\'']).to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

/// Of all interfaces but the loopback, as the common schema writes them: `00-16-3E-00-00-01`.
fn hardware_addresses(root: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root.join("sys/class/net")) else { return Vec::new() };
    let address = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join("address")).ok()?;
        let text = text.trim();
        let real = !text.is_empty() && text != "00:00:00:00:00:00";
        real.then(|| text.to_uppercase().replace(':', "-"))
    };
    let mut all: Vec<String> = entries.flatten().filter_map(address).collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_what_it_is() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/machine-id"), "abc\n").unwrap();
        let release =
            "NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION=\"12 (bookworm)\"\nVERSION_CODENAME=bookworm\n";
        fs::write(root.path().join("etc/os-release"), release).unwrap();
        let facts = facts(root.path());
        assert_eq!(facts["id"], "abc");
        assert_eq!(facts["os"]["name"], "Debian GNU/Linux");
        assert_eq!(facts["os"]["family"], "debian");
        assert_eq!(facts["os"]["codename"], "bookworm");
    }
}
