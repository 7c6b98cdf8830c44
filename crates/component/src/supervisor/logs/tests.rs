use std::sync::Mutex;

use serde_json::json;

use super::*;

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<LogRecord>>);

impl LogSink for Kept {
    fn write(&self, record: LogRecord) {
        self.0.lock().expect("records").push(record);
    }
}

fn reader() -> (LogReader, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    let origin =
        LogOrigin { component: "x-default".to_owned(), kind: "x".to_owned(), binary: "x-y".to_owned() };
    let levels = Levels::default();
    levels.set(BTreeMap::from([("quiet".to_owned(), LogLevel::Error), ("loud".to_owned(), LogLevel::Debug)]));
    let reader = LogReader {
        origin: Arc::new(origin),
        keys: Arc::new(LogKeys { ignore_keys: vec!["ecs.version".to_owned()], ..LogKeys::default() }),
        levels,
        sink: Arc::clone(&kept) as Arc<dyn LogSink>,
    };
    (reader, kept)
}

async fn read(text: &[u8], source: LogSource) -> Vec<LogRecord> {
    let (reader, kept) = reader();
    reader.run(text, source).await;
    std::mem::take(&mut *kept.0.lock().expect("records"))
}

#[tokio::test]
async fn plain_lines_have_the_level_of_their_stream() {
    let records = read(b"one\n\n  \ntwo", LogSource::Stdout).await;
    let told: Vec<_> = records.iter().map(|record| (record.level, record.message.as_str())).collect();
    assert_eq!(told, [(LogLevel::Info, "one"), (LogLevel::Info, "two")]);
    let records = read(b"{broken\n", LogSource::Stderr).await;
    assert_eq!((records[0].level, records[0].message.as_str()), (LogLevel::Error, "{broken"));
    assert_eq!(records[0].origin.dataset(), "elastic_agent.x_y");
}

#[tokio::test]
async fn json_is_taken_apart() {
    let line = json!({
        "log.level": "warn", "@timestamp": "2026-01-01T00:00:00.000Z", "message": "m", "ecs": {"version": "8"}, "a": 1
    });
    let records = read(line.to_string().as_bytes(), LogSource::Stderr).await;
    assert_eq!(records[0].level, LogLevel::Warning);
    assert_eq!(records[0].time.as_deref(), Some("2026-01-01T00:00:00.000Z"));
    assert_eq!(records[0].message, "m");
    assert_eq!(Value::Object(records[0].fields.clone()), json!({"a": 1}));
    let nested = json!({"log": {"level": "error", "file": "f"}, "message": "m"});
    let records = read(nested.to_string().as_bytes(), LogSource::Stdout).await;
    assert_eq!(records[0].level, LogLevel::Error);
    assert_eq!(Value::Object(records[0].fields.clone()), json!({"log": {"file": "f"}}));
}

#[tokio::test]
async fn a_unit_logs_as_much_as_it_should() {
    let line = |unit: &str, level: &str| {
        format!("{}\n", json!({"log.level": level, "message": unit, "unit.id": unit}))
    };
    let text = [line("quiet", "info"), line("quiet", "error"), line("loud", "trace"), line("other", "debug")];
    let records = read(text.concat().as_bytes(), LogSource::Stdout).await;
    let told: Vec<_> = records.iter().map(|record| record.message.as_str()).collect();
    assert_eq!(told, ["quiet", "loud", "other"]);
}

#[tokio::test]
async fn long_lines_are_cut_and_what_is_no_text_is_kept_as_far_as_it_is() {
    let mut text = vec![b'x'; LONGEST_LINE * 3];
    text.extend_from_slice(b"\n\xff\xfe\n{\"a\":");
    let records = read(&text, LogSource::Stdout).await;
    let lengths: Vec<_> = records.iter().map(|record| record.message.len()).collect();
    assert_eq!(lengths, [LONGEST_LINE, 6, 5]);
}

#[tokio::test(start_paused = true)]
async fn too_many_lines_are_counted_instead() {
    let text = "line\n".repeat(8000);
    let records = read(text.as_bytes(), LogSource::Stdout).await;
    assert_eq!(records.len(), 5001);
    assert_eq!(records[5000].message, "3000 lines are left out: the component writes too many");
}
