//! The input on a real disk, told of what happens there by the kernel.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::testing::{Rig, Running};
use super::{DEFINITION, Notifier};
use crate::state::State;

/// What is told is read within this, on a machine that is busy with other tests; looking takes an hour.
const QUICKLY: Duration = Duration::from_secs(5);

fn start(rig: &Rig, paths: &[&str]) -> Running {
    let paths: Vec<String> =
        paths.iter().map(|path| rig.directory.path().join(path).display().to_string()).collect();
    let settings = json!({
        "paths": paths,
        "file_identity.native": null,
        "prospector.scanner.check_interval": "1h",
        "backoff": {"init": "1h", "max": "1h"},
    });
    rig.start(&DEFINITION, "filestream", &settings).unwrap()
}

async fn looked(rig: &Rig) {
    rig.state(|status| status.state == State::Healthy).await;
}

/// The next lines, in the order of their letters.
async fn lines(rig: &Rig, count: usize) -> Vec<String> {
    let began = Instant::now();
    let events = rig.events(count).await;
    assert!(began.elapsed() < QUICKLY, "{:?}", began.elapsed());
    let text = |event: &Value| event["message"].as_str().unwrap().to_owned();
    let mut lines: Vec<String> = events.iter().map(text).collect();
    lines.sort();
    lines
}

fn append(path: &Path, text: &str) {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[tokio::test]
async fn a_new_file_is_read_at_once_and_its_growth_too() {
    let rig = Rig::new(1 << 20);
    fs::create_dir(rig.directory.path().join("logs")).unwrap();
    let running = start(&rig, &["logs/*.log"]);
    looked(&rig).await;
    let path = rig.directory.path().join("logs/a.log");
    append(&path, "one\n");
    assert_eq!(lines(&rig, 1).await, ["one"]);
    for line in ["two", "three"] {
        append(&path, &format!("{line}\n"));
        assert_eq!(lines(&rig, 1).await, [line]);
    }
    fs::write(rig.directory.path().join("other"), "four\n").unwrap();
    fs::rename(rig.directory.path().join("other"), rig.directory.path().join("logs/b.log")).unwrap();
    assert_eq!(lines(&rig, 1).await, ["four"]);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn directories_may_come_later_go_and_come_again() {
    let rig = Rig::new(1 << 20);
    let running = start(&rig, &["new/deep/*.log", "tree/**/*.log"]);
    looked(&rig).await;
    for round in 0..2 {
        for path in ["new/deep/a.log", "tree/1/2/3/b.log"] {
            let path = rig.directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{round}\n")).unwrap();
        }
        let round = round.to_string();
        assert_eq!(lines(&rig, 2).await, [round.as_str(), round.as_str()]);
        fs::remove_dir_all(rig.directory.path().join("new")).unwrap();
        fs::remove_dir_all(rig.directory.path().join("tree")).unwrap();
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn files_that_are_renamed_out_of_sight_before_anyone_looked_are_read() {
    let rig = Rig::new(1 << 20);
    let running = start(&rig, &["app.log"]);
    looked(&rig).await;
    let path = |number: usize| rig.directory.path().join(format!("app.log.{number}"));
    let log = rig.directory.path().join("app.log");
    for count in 0..10 {
        append(&log, &format!("{count}\n"));
        for number in (0..count).rev() {
            fs::rename(path(number), path(number + 1)).unwrap();
        }
        fs::rename(&log, path(0)).unwrap();
    }
    assert_eq!(lines(&rig, 10).await, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn files_that_were_renamed_out_of_sight_and_read_make_room_for_others() {
    let rig = Rig::new(1 << 20);
    let settings = json!({
        "paths": [rig.directory.path().join("app.log")],
        "file_identity.native": null,
        "prospector.scanner.check_interval": "100ms",
        "harvester_limit": 2,
    });
    let running = rig.start(&DEFINITION, "filestream", &settings).unwrap();
    looked(&rig).await;
    let log = rig.directory.path().join("app.log");
    let old = |number: usize| rig.directory.path().join(format!("old.{number}"));
    for number in 0..6 {
        append(&log, &format!("{number}\n"));
        assert_eq!(lines(&rig, 1).await, [number.to_string()]);
        fs::rename(&log, old(number)).unwrap();
    }
    assert!(running.counters.files_open.get() <= 2);
    // Those that were closed for it are still looked at: somebody may not have been told of the new file yet.
    for number in 0..6 {
        append(&old(number), "late\n");
        assert_eq!(lines(&rig, 1).await, ["late"]);
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn two_streams_are_told_of_the_same_file() {
    let rig = Rig::new(1 << 20);
    let streams = [start(&rig, &["*.log"]), start(&rig, &["a.*"])];
    looked(&rig).await;
    let path = rig.directory.path().join("a.log");
    for line in ["one", "two", "three"] {
        append(&path, &format!("{line}\n"));
        assert_eq!(lines(&rig, 2).await, [line, line]);
    }
    for stream in streams {
        stream.stop().await.unwrap();
    }
}

#[tokio::test]
async fn without_watches_files_are_looked_for_and_that_is_told() {
    let mut rig = Rig::new(1 << 20);
    rig.notifier = Arc::new(Notifier::with_watches(0));
    let path = rig.directory.path().join("*.log");
    let settings = json!({"paths": [path], "prospector.scanner.check_interval": "100ms"});
    let running = rig.start(&DEFINITION, "filestream", &settings).unwrap();
    let status = rig.state(|status| status.message.contains("max_user_watches")).await;
    assert_eq!(status.state, State::Healthy);
    append(&rig.directory.path().join("a.log"), "one\n");
    assert_eq!(lines(&rig, 1).await, ["one"]);
    append(&rig.directory.path().join("a.log"), "two\n");
    assert_eq!(lines(&rig, 1).await, ["two"]);
    running.stop().await.unwrap();
}
