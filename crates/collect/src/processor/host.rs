//! `add_host_metadata`: what the machine is.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Flow, Processor};
use crate::config::{Config, Mistake};
use crate::event::{Event, FieldPath};
use crate::host::Facts;

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
    let mut facts = Facts::read(Path::new("/"));
    if !config.boolean("netinfo.enabled", true)? {
        facts.ip.clear();
        facts.mac.clear();
    }
    let mut host = facts.fields();
    // Its name is in all events anyhow, and may be another one than the system's.
    host.remove("name");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Base;
    use std::sync::Arc;

    fn run(settings: &Value) -> Value {
        let processor = build(&Config::new(settings.as_object().unwrap())).unwrap();
        let base = json!({"host": {"name": "given", "cpu": {"usage": 0.5}}});
        let mut event = Event::new(Arc::new(Base::new(base.as_object().unwrap().clone())));
        assert_eq!(processor.run(&mut event), Flow::Keep);
        Value::Object(event.to_map())
    }

    #[test]
    fn the_machine_is_added_beside_what_the_event_says() {
        let event = run(&json!({"geo.city_name": "Kiel"}));
        assert_eq!(event["host"]["name"], "given");
        assert_eq!(event["host"]["cpu"]["usage"], 0.5);
        assert_eq!(event["host"]["os"]["type"], "linux");
        assert_eq!(event["host"]["architecture"], std::env::consts::ARCH);
        assert_eq!(event["host"]["geo"]["city_name"], "Kiel");
    }

    #[test]
    fn addresses_can_be_left_out() {
        let event = run(&json!({"netinfo.enabled": false}));
        assert_eq!(event["host"].get("ip"), None);
        assert_eq!(event["host"].get("mac"), None);
    }

    #[test]
    fn an_event_of_another_host_can_stay_as_it_is() {
        let event = run(&json!({"replace_fields": false}));
        assert_eq!(event["host"].get("os"), None);
    }
}
