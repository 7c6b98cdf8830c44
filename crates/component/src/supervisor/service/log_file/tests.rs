use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::{Arc, Mutex};

use tokio::time::timeout;

use super::*;
use crate::supervisor::logs::{Levels, LogOrigin, LogRecord, LogSink};
use crate::supervisor::spec::LogKeys;
use crate::unit::LogLevel;

#[derive(Debug, Default)]
struct Written(Mutex<Vec<LogRecord>>);

impl LogSink for Written {
    fn write(&self, record: LogRecord) {
        self.0.lock().expect("a lock").push(record);
    }
}

impl Written {
    async fn until(&self, messages: &[&str]) {
        let read = || {
            let all = self.0.lock().expect("a lock");
            all.iter().map(|record| record.message.clone()).collect::<Vec<_>>()
        };
        let waiting = async {
            while read() != messages {
                sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(timeout(Duration::from_secs(20), waiting).await.is_ok(), "{:?}, not {messages:?}", read());
    }
}

fn start(pattern: &Path) -> Arc<Written> {
    let written = Arc::new(Written::default());
    let origin = LogOrigin { component: "x".to_owned(), kind: "x".to_owned(), binary: "x".to_owned() };
    let reader = LogReader {
        origin: Arc::new(origin),
        keys: Arc::new(LogKeys::default()),
        levels: Levels::default(),
        sink: Arc::clone(&written) as _,
    };
    tokio::spawn(follow(pattern.to_str().expect("a path").to_owned(), reader));
    written
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a file");
    file.write_all(text.as_bytes()).expect("a line");
}

#[tokio::test]
async fn a_file_is_read_from_its_beginning_if_it_is_new_and_through_its_changes() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("x.log");
    let written = start(&path);
    append(&path, "{\"message\":\"one\",\"log.level\":\"warn\"}\ntw");
    written.until(&["one"]).await;
    assert_eq!(written.0.lock().expect("a lock")[0].level, LogLevel::Warning);
    assert_eq!(written.0.lock().expect("a lock")[0].source, LogSource::File);
    append(&path, "o\n");
    written.until(&["one", "two"]).await;
    // It is put aside with a line that was not read yet, and there is another one.
    append(&path, "three\n");
    fs::rename(&path, folder.path().join("x.log.1")).expect("another name");
    append(&path, "four\n");
    written.until(&["one", "two", "three", "four"]).await;
    // It is emptied.
    fs::write(&path, "5\n").expect("a file");
    written.until(&["one", "two", "three", "four", "5"]).await;
}

#[tokio::test]
async fn what_was_written_before_is_not_read_again() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("x.log");
    append(&path, "old\n");
    let written = start(&path);
    append(&path, "new\n");
    written.until(&["new"]).await;
}

#[tokio::test]
async fn the_newest_file_of_a_pattern_is_read() {
    let folder = tempfile::tempdir().expect("a directory");
    let written = start(&folder.path().join("x-*.log"));
    append(&folder.path().join("other.log"), "of another\n");
    append(&folder.path().join("x-1.log"), "one\n");
    written.until(&["one"]).await;
    append(&folder.path().join("x-2.log"), "two\n");
    written.until(&["one", "two"]).await;
}

#[test]
fn stars_stand_for_anything() {
    for (pattern, name, is_match) in [
        ("x-*.log", "x-1.log", true),
        ("x-*.log", "x-.log", true),
        ("x-*.log", "x.log", false),
        ("x-*.log", "x-1.log.gz", false),
        ("*", "anything", true),
        ("a*b*c", "a1b2c", true),
        ("a*b*c", "a1c2b", false),
        ("a*a", "a", false),
        ("plain", "plain", true),
    ] {
        assert_eq!(matches(pattern, name), is_match, "{pattern} {name}");
    }
}
