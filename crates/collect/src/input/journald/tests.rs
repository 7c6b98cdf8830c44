//! With a real journalctl, on journals that `systemd-journal-remote` writes.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::*;
use crate::input::testing::{Rig, documents};
use crate::state::{State, Status};

const ROOM: u32 = 1 << 20;
const REMOTE: &str = "/lib/systemd/systemd-journal-remote";

/// An entry with a number, in the export format. Its time is `at` seconds after some day, whatever the number.
fn entry(number: u32, at: u32, boot: u32, more: &str) -> Vec<u8> {
    let mut text = String::new();
    write!(
        text,
        "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={number}\n_BOOT_ID={boot:032x}\nMESSAGE=m{number}\n{more}\n",
        1_700_000_000_000_000_u64 + u64::from(at) * 1_000_000,
    )
    .unwrap();
    text.into_bytes()
}

/// Appends to a journal file.
fn write(file: &Path, entries: &[Vec<u8>]) {
    let mut child = Command::new(REMOTE)
        .arg(format!("--output={}", file.display()))
        .args(["--split-mode=none", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{REMOTE} (package systemd-journal-remote): {error}"));
    child.stdin.take().unwrap().write_all(&entries.concat()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Numbers from one to another, a second apart.
fn numbers(range: std::ops::RangeInclusive<u32>) -> Vec<Vec<u8>> {
    range.map(|number| entry(number, number, 1, "")).collect()
}

fn messages(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["message"].as_str().unwrap()).collect()
}

struct Journal {
    rig: Rig,
    directory: tempfile::TempDir,
}

impl Journal {
    fn new() -> Journal {
        Journal { rig: Rig::new(ROOM), directory: tempfile::tempdir().unwrap() }
    }

    fn write(&self, file: &str, entries: &[Vec<u8>]) {
        write(&self.directory.path().join(file), entries);
    }

    fn settings(&self, more: &Value) -> Value {
        let mut settings = json!({"paths": [self.directory.path()]});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    }

    /// Reads so many entries, and stops.
    async fn read(&self, count: usize, settings: &Value) -> Vec<Value> {
        let input = self.rig.start(&DEFINITION, "journald", settings).unwrap();
        let events = self.rig.events(count).await;
        input.stop().await.unwrap();
        events
    }
}

#[tokio::test]
async fn entries_of_all_starts_and_files_come_once_and_go_on_after_a_restart() {
    let journal = Journal::new();
    journal.write("a.journal", &numbers(1..=2));
    journal.write("a.journal", &[entry(3, 3, 2, "_SYSTEMD_UNIT=a.service\n")]);
    let settings = journal.settings(&json!({}));
    let events = journal.read(3, &settings).await;
    assert_eq!(messages(&events), ["m1", "m2", "m3"]);
    assert_eq!(events[2]["systemd"]["unit"], "a.service");
    assert_eq!(events[2]["@timestamp"], "2023-11-14T22:13:23.000Z");
    assert_eq!(events[2]["input"]["type"], "journald");
    // While nobody reads, one more comes; and while somebody does, others in a new file, as after a rotation.
    journal.write("a.journal", &[entry(4, 4, 2, "")]);
    let input = journal.rig.start(&DEFINITION, "journald", &settings).unwrap();
    assert_eq!(messages(&journal.rig.events(1).await), ["m4"]);
    journal.rig.state(|status| status.state == State::Healthy).await;
    std::fs::rename(journal.directory.path().join("a.journal"), journal.directory.path().join("a@1.journal"))
        .unwrap();
    journal.write("a.journal", &[entry(5, 5, 2, ""), entry(6, 6, 3, "")]);
    assert_eq!(messages(&journal.rig.events(2).await), ["m5", "m6"]);
    input.stop().await.unwrap();
}

#[tokio::test]
async fn parsers_join_and_decode_messages_and_nothing_that_they_hold_is_lost() {
    let journal = Journal::new();
    let texts = ["begin", " more", r#"{"level": "info", "text": "hi"}"#, "begin", " and"];
    let entries = |from: usize| -> Vec<Vec<u8>> {
        let numbered = texts.iter().zip(1..).skip(from);
        let entry = |(text, number): (&&str, u32)| {
            let entry = String::from_utf8(entry(number, number, 1, "")).unwrap();
            entry.replace(&format!("MESSAGE=m{number}\n"), &format!("MESSAGE={text}\n")).into_bytes()
        };
        numbered.map(entry).collect()
    };
    journal.write("a.journal", &entries(0));
    let multiline = json!({"multiline": {"pattern": "^ ", "match": "after", "timeout": "1h"}});
    let ndjson = json!({"ndjson": {"target": "", "message_key": "text"}});
    let settings = |parsers: Value| journal.settings(&json!({ "parsers": parsers }));
    let events = journal.read(2, &settings(json!([multiline, ndjson]))).await;
    assert_eq!(messages(&events), ["begin\n more", "hi"]);
    assert_eq!(events[1]["level"], "info");
    // What was held when the input was stopped is read again.
    let quick = json!({"multiline": {"pattern": "^ ", "match": "after", "timeout": "100ms"}});
    let include = json!({"include_message": {"patterns": ["^begin"]}});
    let events = journal.read(1, &settings(json!([quick, include]))).await;
    assert_eq!(messages(&events), ["begin\n and"]);
    assert_eq!(events[0]["log"]["flags"], json!(["multiline"]));
}

#[tokio::test]
async fn what_was_not_acknowledged_is_read_again_as_the_same_documents() {
    let journal = Journal::new();
    journal.write("a.journal", &numbers(1..=3));
    let settings = journal.settings(&json!({}));
    let input = journal.rig.start(&DEFINITION, "journald", &settings).unwrap();
    let first: Vec<_> = journal.rig.batches().await;
    input.stop().await.unwrap();
    let ids = |batches: &[std::sync::Arc<crate::batch::Batch>]| -> Vec<_> {
        batches.iter().flat_map(|batch| (0..batch.len()).map(|index| batch.id(index).clone())).collect()
    };
    let again = journal.rig.start(&DEFINITION, "journald", &settings).unwrap();
    let second = journal.rig.batches().await;
    again.stop().await.unwrap();
    assert_eq!(ids(&first).len(), 3);
    assert_eq!(ids(&second), ids(&first));
    assert_eq!(second.iter().flat_map(|batch| documents(batch)).count(), 3);
}

#[tokio::test]
async fn an_entry_that_was_vacuumed_takes_no_other_with_it() {
    let journal = Journal::new();
    journal.write("a.journal", &numbers(1..=2));
    let settings = journal.settings(&json!({}));
    journal.read(2, &settings).await;
    std::fs::remove_file(journal.directory.path().join("a.journal")).unwrap();
    journal.write("b.journal", &numbers(3..=4));
    assert_eq!(messages(&journal.read(2, &settings).await), ["m3", "m4"]);
}

#[tokio::test]
async fn a_clock_that_goes_back_hides_nothing() {
    let journal = Journal::new();
    journal.write("a.journal", &[entry(1, 1000, 1, ""), entry(2, 10, 1, ""), entry(3, 20, 1, "")]);
    let settings = journal.settings(&json!({}));
    let events = journal.read(3, &settings).await;
    assert_eq!(messages(&events), ["m1", "m2", "m3"]);
    assert_eq!(events[1]["@timestamp"], "2023-11-14T22:13:30.000Z");
    journal.write("a.journal", &[entry(4, 5, 1, "")]);
    assert_eq!(messages(&journal.read(1, &settings).await), ["m4"]);
}

#[tokio::test]
async fn reading_begins_where_it_is_told() {
    let journal = Journal::new();
    journal.write("a.journal", &numbers(1..=3));
    let tail = journal.settings(&json!({"seek": "tail"}));
    let input = journal.rig.start(&DEFINITION, "journald", &tail).unwrap();
    journal.rig.state(|status| status.state == State::Healthy).await;
    input.stop().await.unwrap();
    // The place was found when the input ran first, not when the first entry came.
    journal.write("a.journal", &numbers(4..=4));
    assert_eq!(messages(&journal.read(1, &tail).await), ["m4"]);

    let since = Journal::new();
    let now = u32::try_from(OffsetDateTime::now_utc().unix_timestamp() - 1_700_000_000).unwrap();
    let ages = [7200, 3000, 10];
    let entries: Vec<_> = ages.iter().zip(1..).map(|(age, number)| entry(number, now - age, 1, "")).collect();
    since.write("a.journal", &entries);
    let settings =
        since.settings(&json!({"seek": "cursor", "cursor_seek_fallback": "since", "since": "-1h"}));
    assert_eq!(messages(&since.read(2, &settings).await), ["m2", "m3"]);
}

#[tokio::test]
async fn filters_choose_entries() {
    let fields = |unit: &str, priority: u32, transport: &str, identifier: &str| {
        format!(
            "_SYSTEMD_UNIT={unit}\nPRIORITY={priority}\n_TRANSPORT={transport}\nSYSLOG_IDENTIFIER={identifier}\n\
             SYSLOG_FACILITY={priority}\n"
        )
    };
    let entries = [
        entry(1, 1, 1, &fields("a.service", 3, "syslog", "x")),
        entry(2, 2, 1, &fields("a.service", 6, "journal", "y")),
        entry(3, 3, 1, &fields("b.service", 3, "kernel", "x")),
        // What systemd says about a unit.
        entry(4, 4, 1, "UNIT=a.service\n_PID=1\n_UID=0\n"),
        entry(9, 9, 1, "LAST=1\n"),
    ];
    let cases = [
        (json!({"units": ["a.service"]}), vec!["m1", "m2", "m4"]),
        (json!({"priorities": [3]}), vec!["m1", "m3"]),
        (json!({"units": ["a.service"], "priorities": [3, 4]}), vec!["m1"]),
        (json!({"syslog_identifiers": ["x"], "transports": ["kernel", "audit"]}), vec!["m3"]),
        (json!({"kernel": true}), vec!["m3"]),
        (json!({"facilities": [6, "daemon"]}), vec!["m1", "m2", "m3"]),
        (
            json!({"include_matches.match": ["PRIORITY=3", "PRIORITY=6", "systemd.transport=journal"]}),
            vec!["m2"],
        ),
        (
            json!({"include_matches": {"or": [{"match": ["LAST=1"]}, {"match": ["_SYSTEMD_UNIT=b.service"]}]}}),
            vec!["m3", "m9"],
        ),
        (
            json!({"include_matches": {"and": [{"match": ["PRIORITY=3"]}, {"match": ["PRIORITY=3", "PRIORITY=6"]}]}}),
            vec!["m1", "m3"],
        ),
    ];
    for (settings, expected) in cases {
        let journal = Journal::new();
        journal.write("a.journal", &entries);
        let events = journal.read(expected.len(), &journal.settings(&settings)).await;
        assert_eq!(messages(&events), expected, "{settings}");
    }
}

#[tokio::test]
async fn while_the_output_has_no_room_journalctl_waits() {
    let journal = Journal { rig: Rig::new(20_000), directory: tempfile::tempdir().unwrap() };
    journal.write("a.journal", &numbers(1..=3000));
    let events = journal.read(3000, &journal.settings(&json!({}))).await;
    let expected: Vec<String> = (1..=3000).map(|number| format!("m{number}")).collect();
    assert_eq!(messages(&events), expected);
}

#[tokio::test]
async fn journals_that_are_not_there_are_told_and_hold_no_other_up() {
    let journal = Journal::new();
    let missing = journal.directory.path().join("no/such.journal");
    let settings = json!({ "paths": [missing] });
    let problem = journal.rig.start(&DEFINITION, "journald", &settings).unwrap().ended().await.unwrap_err();
    assert!(problem.starts_with(&format!("the journal {} cannot be read: ", missing.display())), "{problem}");
    assert!(problem.contains("No such file or directory"), "{problem}");

    journal.write("a.journal", &numbers(1..=1));
    let settings = json!({"paths": [missing, journal.directory.path()]});
    let input = journal.rig.start(&DEFINITION, "journald", &settings).unwrap();
    assert_eq!(messages(&journal.rig.events(1).await), ["m1"]);
    let told = |status: &Status| status.message.contains("such.journal cannot be read: ");
    let status = journal.rig.state(told).await;
    assert_eq!(status.state, State::Degraded);
    journal.write("a.journal", &numbers(2..=2));
    assert_eq!(messages(&journal.rig.events(1).await), ["m2"]);
    input.stop().await.unwrap();
}

/// A program that stands in for journalctl. Another process writes it: a descriptor of ours that is open for writing
/// could be inherited by the child of another test, and nobody can run a program that is being written.
fn program(directory: &Path, script: &str) -> String {
    let path = directory.join("journalctl");
    let mut writer = Command::new("sh")
        .args(["-c", "cat >\"$0\" && chmod 755 \"$0\""])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    writer.stdin.take().unwrap().write_all(format!("#!/bin/sh\n{script}\n").as_bytes()).unwrap();
    assert!(writer.wait().unwrap().success());
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_wrong_with_journalctl_is_told() {
    let cases = [
        ("exec /no/such/program", "journalctl"),
        (
            "echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1",
            "add its user to the group systemd-journal",
        ),
        ("echo '-- No entries --'; sleep 60", "not in the journal's export format"),
        ("kill -9 $$", "signal: 9"),
    ];
    for (script, expected) in cases {
        let rig = Rig::new(ROOM);
        let settings = json!({"journalctl_path": program(rig.directory.path(), script)});
        let problem = rig.start(&DEFINITION, "journald", &settings).unwrap().ended().await.unwrap_err();
        assert!(
            problem.starts_with("the journal cannot be read: ") && problem.contains(expected),
            "{problem}"
        );
    }
    let rig = Rig::new(ROOM);
    let settings = json!({"journalctl_path": "/no/such/journalctl"});
    let problem = rig.start(&DEFINITION, "journald", &settings).unwrap().ended().await.unwrap_err();
    assert!(problem.contains("/no/such/journalctl is not there: "), "{problem}");
}

#[tokio::test]
async fn rights_that_are_missing_in_part_are_told_while_the_rest_is_read() {
    let rig = Rig::new(ROOM);
    let script = "case \"$*\" in *--follow*) echo 'Hint: You are currently not seeing messages from other users and the \
        system.' >&2; printf '__CURSOR=c1\\nMESSAGE=mine\\n\\n'; exec sleep 60;; esac";
    let settings = json!({"journalctl_path": program(rig.directory.path(), script)});
    let input = rig.start(&DEFINITION, "journald", &settings).unwrap();
    assert_eq!(messages(&rig.events(1).await), ["mine"]);
    let status = rig.state(|status| status.state == State::Degraded).await;
    assert!(status.message.contains("may not read all of the journal"), "{}", status.message);
    input.stop().await.unwrap();
}

#[tokio::test]
async fn this_machines_journal_is_read_from_its_past_and_then_followed() {
    let rig = Rig::new(ROOM);
    // Told apart by what they are asked: the past first, then what follows its last entry.
    let script = "case \"$*\" in *--follow*--cursor=c2*) printf '__CURSOR=c2\\nMESSAGE=two\\n\\n__CURSOR=c3\\nMESSAGE=three\\n\\n'; \
        exec sleep 60;; *--follow*) exit 1;; *) printf '__CURSOR=c1\\nMESSAGE=one\\n\\n__CURSOR=c2\\nMESSAGE=two\\n\\n';; esac";
    let settings = json!({"journalctl_path": program(rig.directory.path(), script)});
    let input = rig.start(&DEFINITION, "journald", &settings).unwrap();
    assert_eq!(messages(&rig.events(3).await), ["one", "two", "three"]);
    assert_eq!(rig.state(|status| status.state == State::Healthy).await.message, "reads the journal");
    input.stop().await.unwrap();
    assert_eq!(rig.registry.positions("stream").get("cursor"), Some(json!("c3")));
}
