//! From an entry of the journal to the fields of an event. Pure.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::export::Entry;
use super::fields::{self, Kind};
use crate::clock::timestamp;
use crate::syslog::fields::{add, coded, facility_name, severity_name};
use crate::syslog::written;

/// The fields of an event. `read` is the time of day, for `event.created`.
pub(super) fn document(
    entry: &Entry,
    read: OffsetDateTime,
    save_remote_hostname: bool,
) -> Map<String, Value> {
    let mut document = Map::new();
    let mut custom = Map::new();
    for (name, value) in entry.fields() {
        // What the journal itself adds: the cursor and the times.
        if name.starts_with("__") {
            continue;
        }
        let text = String::from_utf8_lossy(value);
        match fields::place(name) {
            Some((path, Kind::Text)) => put(&mut document, path, json!(text)),
            Some((path, Kind::Number)) if text.parse::<i64>().is_ok() => {
                put(&mut document, path, json!(text.parse::<i64>().ok()));
            }
            _ => {
                let name = name.trim_start_matches('_').to_ascii_lowercase();
                if !name.is_empty() {
                    add(&mut custom, &name, json!(text));
                }
            }
        }
    }
    if !custom.is_empty() {
        put(&mut document, "journald.custom", Value::Object(custom));
    }
    process(entry, &mut document);
    syslog(entry, &mut document);
    if entry.truncated() {
        put(&mut document, "log.flags", json!(["truncated"]));
    }
    if let (true, Some(host)) = (save_remote_hostname, entry.text("_HOSTNAME")) {
        put(&mut document, "log.source.address", json!(host));
    }
    let moment =
        entry.realtime().and_then(|micros| OffsetDateTime::from_unix_timestamp_nanos(micros * 1000).ok());
    put(&mut document, "@timestamp", json!(moment.map_or_else(|| timestamp(read), written)));
    put(&mut document, "event.created", json!(timestamp(read)));
    put(&mut document, "event.kind", json!("event"));
    document
}

/// The process and its user, as the common schema has them.
fn process(entry: &Entry, document: &mut Map<String, Value>) {
    let texts = [
        ("_COMM", "process.name"),
        ("_EXE", "process.executable"),
        ("_CMDLINE", "process.command_line"),
        ("_UID", "user.id"),
        ("_GID", "user.group.id"),
    ];
    for (field, path) in texts {
        if let Some(text) = entry.text(field) {
            put(document, path, json!(text));
        }
    }
    if let Some(pid) = number(entry, "_PID") {
        put(document, "process.pid", json!(pid));
    }
    if let Some(line) = entry.text("_CMDLINE") {
        // The journal does not tell where arguments end that have blanks in them.
        let arguments: Vec<&str> = line.split_ascii_whitespace().collect();
        put(document, "process.args_count", json!(arguments.len()));
        put(document, "process.args", json!(arguments));
    }
    if let Some(mask) = entry.text("_CAP_EFFECTIVE").and_then(|text| u64::from_str_radix(text, 16).ok()) {
        let names: Vec<&str> = fields::capabilities(mask).collect();
        if !names.is_empty() {
            put(document, "process.thread.capabilities.effective", json!(names));
        }
    }
}

/// What the common schema has for syslog.
fn syslog(entry: &Entry, document: &mut Map<String, Value>) {
    let severity = number(entry, "PRIORITY").filter(|severity| *severity < 8);
    let facility = number(entry, "SYSLOG_FACILITY").filter(|facility| *facility < 24);
    if let Some(severity) = severity {
        put(document, "log.syslog.severity", coded(severity, severity_name(severity)));
    }
    if let Some(facility) = facility {
        put(document, "log.syslog.facility", coded(facility, facility_name(facility)));
    }
    if let Some(severity) = severity {
        // Without a facility, syslog means the kernel's, which is 0.
        put(document, "log.syslog.priority", json!(facility.unwrap_or(0) * 8 + severity));
    }
    for (field, path) in [("SYSLOG_IDENTIFIER", "log.syslog.appname"), ("SYSLOG_PID", "log.syslog.procid")] {
        if let Some(text) = entry.text(field) {
            put(document, path, json!(text));
        }
    }
}

fn number(entry: &Entry, field: &str) -> Option<u64> {
    entry.text(field)?.parse().ok()
}

/// Puts a value at a dotted path; with a value that is there it becomes a list.
fn put(document: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => add(document, path, value),
        Some((first, rest)) => {
            let inner = document.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use time::macros::datetime;

    use super::super::export::Reader;
    use super::*;

    const READ: OffsetDateTime = datetime!(2024-01-01 0:00 UTC);

    fn translate(text: &[u8], save_remote_hostname: bool) -> Value {
        let entry = Reader::default().next(&mut BytesMut::from(text)).unwrap().unwrap();
        Value::Object(document(&entry, READ, save_remote_hostname))
    }

    #[test]
    fn an_entry_of_a_service() {
        let entry = b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=1700000000000001\n__MONOTONIC_TIMESTAMP=5\n_BOOT_ID=b\n\
            MESSAGE=Accepted key\nPRIORITY=6\nSYSLOG_FACILITY=10\nSYSLOG_IDENTIFIER=sshd\nSYSLOG_PID=99\n_PID=99\n\
            _UID=0\n_GID=0\n_COMM=sshd\n_EXE=/usr/sbin/sshd\n_CMDLINE=sshd: root [priv]\n_CAP_EFFECTIVE=3\n\
            _SYSTEMD_UNIT=ssh.service\n_TRANSPORT=syslog\n_HOSTNAME=web\n_MACHINE_ID=m\nMESSAGE_ID=ec38\nMY_FIELD=1\n\
            MY_FIELD=2\n_SELINUX_CONTEXT=u\n\n";
        let expected = json!({
            "@timestamp": "2023-11-14T22:13:20.000001Z",
            "message": "Accepted key",
            "event": {"created": "2024-01-01T00:00:00.000Z", "kind": "event", "code": "ec38"},
            "host": {"hostname": "web", "id": "m"},
            "process": {
                "name": "sshd", "executable": "/usr/sbin/sshd", "command_line": "sshd: root [priv]", "pid": 99,
                "args": ["sshd:", "root", "[priv]"], "args_count": 3,
                "thread": {"capabilities": {"effective": ["CAP_CHOWN", "CAP_DAC_OVERRIDE"]}},
            },
            "user": {"id": "0", "group": {"id": "0"}},
            "log": {
                "syslog": {
                    "priority": 86, "facility": {"code": 10, "name": "authpriv"},
                    "severity": {"code": 6, "name": "Informational"}, "appname": "sshd", "procid": "99",
                },
                "source": {"address": "web"},
            },
            "syslog": {"priority": 6, "facility": 10, "identifier": "sshd", "pid": 99},
            "systemd": {"unit": "ssh.service", "transport": "syslog"},
            "journald": {
                "pid": 99, "uid": 0, "gid": 0, "host": {"boot_id": "b"},
                "process": {
                    "name": "sshd", "executable": "/usr/sbin/sshd", "command_line": "sshd: root [priv]",
                    "capabilities": "3",
                },
                "custom": {"my_field": ["1", "2"], "selinux_context": "u"},
            },
        });
        assert_eq!(translate(entry, true), expected);
        assert_eq!(translate(entry, false)["log"].get("source"), None);
    }

    #[test]
    fn values_that_do_not_fit_their_field_are_kept_as_they_are() {
        let mut entry = b"PRIORITY=high\nSYSLOG_PID=a-1\nMESSAGE\n".to_vec();
        entry.extend_from_slice(&4u64.to_le_bytes());
        entry.extend_from_slice(b"a\n\xffb\n____=x\n_=y\n\n");
        let document = translate(&entry, false);
        assert_eq!(document["message"], "a\n\u{fffd}b");
        assert_eq!(document["journald"]["custom"], json!({"priority": "high", "syslog_pid": "a-1"}));
        assert_eq!(document["log"], json!({"syslog": {"procid": "a-1"}}));
        assert_eq!(document["@timestamp"], "2024-01-01T00:00:00.000Z");
    }
}
