//! What of a message goes where in an event: the fields of the common schema, as collectors of syslog document them.

use serde_json::{Map, Value, json};

use super::{Element, Message};

/// Names of the facilities by their numbers, as the schema's examples have them.
const FACILITIES: [&str; 24] = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];

/// Names of the severities by their numbers.
const SEVERITIES: [&str; 8] =
    ["Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug"];

/// The name of a facility.
pub(crate) fn facility_name(code: u64) -> Option<&'static str> {
    FACILITIES.get(usize::try_from(code).ok()?).copied()
}

/// The name of a severity.
pub(crate) fn severity_name(code: u64) -> Option<&'static str> {
    SEVERITIES.get(usize::try_from(code).ok()?).copied()
}

/// The number of a facility by its number or name.
pub(crate) fn facility_code(name: &str) -> Option<u64> {
    match name.parse::<u64>() {
        Ok(code) => Some(code).filter(|code| *code < 24),
        Err(_) => {
            FACILITIES.iter().position(|known| known.eq_ignore_ascii_case(name)).map(|code| code as u64)
        }
    }
}

/// The value of `log.syslog`.
pub(crate) fn log_syslog(message: &Message<'_>) -> Map<String, Value> {
    let mut map = Map::new();
    if let Some(priority) = message.priority {
        let (facility, severity) = (u64::from(priority >> 3), u64::from(priority & 7));
        map.insert("priority".to_owned(), json!(priority));
        map.insert("facility".to_owned(), coded(facility, facility_name(facility)));
        map.insert("severity".to_owned(), coded(severity, severity_name(severity)));
    }
    if let Some(version) = message.version {
        map.insert("version".to_owned(), json!(version));
    }
    let texts = [
        ("hostname", message.hostname),
        ("appname", message.appname),
        ("procid", message.procid),
        ("msgid", message.msgid),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            map.insert(key.to_owned(), json!(text));
        }
    }
    if !message.data.is_empty() {
        map.insert("structured_data".to_owned(), structured_data(&message.data));
    }
    map
}

/// A number with its name.
pub(crate) fn coded(code: u64, name: Option<&str>) -> Value {
    match name {
        Some(name) => json!({"code": code, "name": name}),
        None => json!({"code": code}),
    }
}

/// Elements by their ids, parameters by their names. What has the same name twice becomes a list.
fn structured_data(data: &[Element<'_>]) -> Value {
    let mut all = Map::new();
    for element in data {
        let entry = all.entry(element.id).or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(parameters) = entry else { continue };
        for (name, value) in &element.parameters {
            add(parameters, name, value.as_str().into());
        }
    }
    Value::Object(all)
}

/// Puts a value into a map; with a value that is there it becomes a list.
pub(crate) fn add(map: &mut Map<String, Value>, key: &str, value: Value) {
    match map.get_mut(key) {
        None => {
            map.insert(key.to_owned(), value);
        }
        Some(Value::Array(list)) => list.push(value),
        Some(there) => {
            let first = there.take();
            *there = Value::Array(vec![first, value]);
        }
    }
}
