//! `add_process_metadata`: what a process is that an event names by its number.

pub(super) mod container;
pub(super) mod table;

use std::sync::Arc;

use serde_json::{Value, json};

use super::Processor;
use super::attempt::{self, Attempt};
use super::shared::Shared;
use crate::config::{Config, Mistake, scalar};
use crate::event::{Event, FieldPath};
use container::Rule;
use table::{Details, Table};

/// What can be told, and what it may be asked for by: a name, or an object that it is in.
const FIELDS: [&str; 11] = [
    "process.name",
    "process.title",
    "process.executable",
    "process.args",
    "process.pid",
    "process.parent.pid",
    "process.start_time",
    "process.owner.id",
    "process.owner.name",
    "container.id",
    ENVIRONMENT,
];

/// Often has secrets in it.
const ENVIRONMENT: &str = "process.env";

#[derive(Debug)]
struct AddProcess {
    match_pids: Vec<FieldPath>,
    /// What is told, and where.
    fields: Vec<(FieldPath, FieldPath)>,
    /// Where the environment is told.
    environment: Option<FieldPath>,
    overwrite: bool,
    ignore_missing: bool,
    table: Arc<Table>,
}

impl Attempt for AddProcess {
    fn attempt(&self, event: &mut Event) -> Result<(), String> {
        let Some((field, value)) = self.match_pids.iter().find_map(|field| Some((field, event.get(field)?)))
        else {
            let names: Vec<String> = self.match_pids.iter().map(ToString::to_string).collect();
            let problem = || format!("none of these fields is in the event: {}", names.join(", "));
            return if self.ignore_missing { Ok(()) } else { Err(problem()) };
        };
        let pid = pid(value).ok_or_else(|| format!("field {field} is no number of a process: {value}"))?;
        // One that has ended long ago is no failure: events come late.
        let Some(details) = self.table.find(pid) else { return Ok(()) };
        let mut told = self.told(&details);
        if let Some(place) = &self.environment
            && let Some(variables) = self.table.environment(pid)
        {
            told.push((place, Value::Object(variables)));
        }
        if !self.overwrite
            && let Some((place, _)) = told.iter().find(|(place, value)| is_other(event.get(place), value))
        {
            return Err(format!("field {place} is already in the event (overwrite_keys)"));
        }
        told.into_iter().for_each(|(place, value)| event.put(place, value));
        Ok(())
    }
}

impl AddProcess {
    fn told(&self, details: &Details) -> Vec<(&FieldPath, Value)> {
        let mut told = Vec::with_capacity(self.fields.len() + 1);
        for (source, place) in &self.fields {
            let value = match source.first() {
                "container" => details.container.as_ref().map(|id| json!(id)),
                _ => source.in_map(&details.process).cloned(),
            };
            told.extend(value.map(|value| (place, value)));
        }
        told
    }
}

/// The number of a process; inputs tell it as a text at times.
pub(super) fn pid(value: &Value) -> Option<u32> {
    match value {
        Value::Number(number) => u32::try_from(number.as_u64()?).ok(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Whether something else stands there already.
fn is_other(there: Option<&Value>, value: &Value) -> bool {
    there.is_some_and(|there| there != value && (scalar(there).is_none() || scalar(there) != scalar(value)))
}

/// `match_pids`, `target`, `include_fields`, `overwrite_keys`, `restricted_fields`, `host_path`, `cgroup_*`.
pub(super) fn build(config: &Config, shared: &Shared) -> Result<Box<dyn Processor>, Mistake> {
    config.allow(&["cgroup_cache_expire_time"]);
    let match_pids = config.texts("match_pids")?;
    if match_pids.is_empty() {
        return Err(
            config.mistake("match_pids", "is missing: name the fields that may hold a process's number")
        );
    }
    let target = config.text("target")?.filter(|target| !target.is_empty());
    let place = |name: &str| match &target {
        None => FieldPath::new(name),
        Some(target) => FieldPath::new(&format!("{target}.{name}")),
    };
    let included = included(config)?;
    let fields = included.iter().filter(|name| **name != ENVIRONMENT);
    let fields = fields.map(|name| (FieldPath::new(name.trim_start_matches("process.")), place(name)));
    let rule = Rule::read(config)?;
    let root = config.text("host_path")?.unwrap_or_else(|| "/".to_owned());
    let work = AddProcess {
        match_pids: match_pids.iter().map(|field| FieldPath::new(field)).collect(),
        fields: fields.collect(),
        environment: included.contains(&ENVIRONMENT).then(|| place(ENVIRONMENT)),
        overwrite: config.boolean("overwrite_keys", false)?,
        ignore_missing: config.boolean("ignore_missing", true)?,
        table: if rule.is_usual() { shared.processes(&root) } else { Arc::new(Table::new(root, rule)) },
    };
    attempt::unless_ignored(config, work)
}

/// Which of [`FIELDS`] the policy asks for.
fn included(config: &Config) -> Result<Vec<&'static str>, Mistake> {
    let restricted = config.boolean("restricted_fields", false)?;
    let asked = config.texts("include_fields")?;
    if asked.is_empty() {
        return Ok(FIELDS.into_iter().filter(|name| *name != ENVIRONMENT).collect());
    }
    let fits = |asked: &str, name: &str| {
        name.strip_prefix(asked).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    for one in &asked {
        if !FIELDS.iter().any(|name| fits(one, name)) {
            let names = FIELDS.join(", ");
            return Err(config.mistake("include_fields", format!("{one:?} is unknown: choose from {names}")));
        }
        if one == ENVIRONMENT && !restricted {
            let problem = "process.env may have secrets in it: it is told only with restricted_fields: true";
            return Err(config.mistake("include_fields", problem));
        }
    }
    let is_asked = |name: &&str| {
        asked.iter().any(|one| fits(one, name))
            && (*name != ENVIRONMENT || asked.iter().any(|one| one == name))
    };
    Ok(FIELDS.into_iter().filter(is_asked).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{after, mistake, refused};
    use serde_json::{Value, json};

    fn processor(more: &Value) -> Value {
        let mut settings = json!({"match_pids": ["none", "process.pid"], "target": "found"});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([{ "add_process_metadata": settings }])
    }

    #[test]
    fn a_process_is_told_by_its_number() {
        let own = std::process::id();
        let event = json!({"process": {"pid": own.to_string()}});
        let after = after(&processor(&json!({})), &event);
        let process = &after["found"]["process"];
        let program = std::env::current_exe().unwrap();
        assert_eq!(process["pid"], own);
        assert_eq!(process["executable"], program.to_str().unwrap());
        assert_eq!(process["args"][0], std::env::args().next().unwrap());
        assert!(process["title"].as_str().unwrap().starts_with(process["args"][0].as_str().unwrap()));
        assert_eq!(process["parent"]["pid"], std::os::unix::process::parent_id());
        assert_eq!(process["owner"]["id"], rustix::process::geteuid().as_raw().to_string());
        let began: jiff::Timestamp = process["start_time"].as_str().unwrap().parse().unwrap();
        let age = jiff::Timestamp::now().duration_since(began);
        assert!(age.as_secs() >= -2 && age.as_hours() < 24, "{began}");
        assert_eq!(process.get("env"), None);
    }

    #[test]
    fn so_much_is_told_as_the_policy_asks_for() {
        let event = json!({"process": {"pid": std::process::id()}});
        let some = json!({"include_fields": ["process.parent", "process.name"]});
        let told = after(&processor(&some), &event)["found"]["process"].clone();
        let keys: Vec<&String> = told.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["name", "parent"]);
        let with = json!({"include_fields": ["process.env"], "restricted_fields": true});
        let told = after(&processor(&with), &event)["found"]["process"]["env"].clone();
        assert_eq!(told["PATH"], std::env::var("PATH").unwrap());
        let whole = after(&processor(&json!({"include_fields": ["process"]})), &event);
        assert_eq!(whole["found"]["process"].get("env"), None, "never without its name");
        for (wrong, part) in [
            (json!({"include_fields": ["process.env"]}), "restricted_fields: true"),
            (json!({"include_fields": ["process.nam"]}), "is unknown"),
            (json!({"match_pids": []}), "match_pids: is missing"),
            (json!({"overwrite_keys": 1}), "overwrite_keys: must be true or false"),
        ] {
            assert!(mistake(&processor(&wrong)).contains(part), "{wrong}");
        }
    }

    #[test]
    fn what_is_there_stays_unless_it_is_to_go() {
        let event = json!({"process": {"pid": std::process::id(), "name": "mine"}});
        let root = json!({"target": null});
        assert!(refused(&processor(&root), &event).starts_with("field process.name is already"));
        let quiet = json!({"target": null, "ignore_failure": true});
        assert_eq!(after(&processor(&quiet), &event), event);
        let over = json!({"target": null, "overwrite_keys": true});
        assert_ne!(after(&processor(&over), &event)["process"]["name"], "mine");
        // The number that it was found by is no other.
        let pid = json!({"process": {"pid": std::process::id().to_string()}});
        assert!(after(&processor(&root), &pid)["process"]["name"].is_string());
    }

    #[test]
    fn events_without_a_process_are_as_they_were() {
        let none = json!({"x": 1});
        assert_eq!(after(&processor(&json!({})), &none), none);
        let told = refused(&processor(&json!({"ignore_missing": false})), &none);
        assert_eq!(told, "none of these fields is in the event: none, process.pid");
        let gone = json!({"process": {"pid": u32::MAX}});
        assert_eq!(after(&processor(&json!({})), &gone), gone);
        let strange = json!({"process": {"pid": "x"}});
        assert!(refused(&processor(&json!({})), &strange).contains("no number of a process"));
    }
}
