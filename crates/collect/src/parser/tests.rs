use serde_json::json;

use super::*;

/// Sends lines through the parsers of a policy; what they hold at the end is given out too.
fn through(parsers: &Value, lines: &[&str]) -> Vec<Record> {
    let config = json!({ "parsers": parsers });
    let parsers = read(&Config::new(config.as_object().unwrap())).unwrap();
    let mut pipeline = Pipeline::new(&parsers);
    let mut out = Vec::new();
    let mut start = 0;
    for line in lines {
        let record = Record { text: (*line).to_owned(), start, ..Record::default() };
        pipeline.push(&parsers, record, 0, &mut |record| out.push(record));
        start += line.len() as u64 + 1;
    }
    pipeline.flush(&parsers, 0, true, &mut |record| out.push(record));
    out
}

fn texts(parsers: &Value, lines: &[&str]) -> Vec<String> {
    through(parsers, lines).into_iter().map(|record| record.text).collect()
}

#[test]
fn several_lines_become_one_as_the_pattern_says() {
    let multiline = |negate: bool, matching: &str, pattern: &str| json!([{"multiline": {"pattern": pattern, "negate": negate, "match": matching}}]);
    let lines = ["a", " b", " c", "d"];
    assert_eq!(texts(&multiline(false, "after", r"^\s"), &lines), ["a\n b\n c", "d"]);
    assert_eq!(texts(&multiline(true, "after", r"^\w"), &lines), ["a\n b\n c", "d"]);
    assert_eq!(texts(&multiline(false, "before", r"\\$"), &["a\\", "b\\", "c", "d"]), ["a\\\nb\\\nc", "d"]);
    assert_eq!(texts(&multiline(true, "before", ";$"), &["a", "b;", "c;"]), ["a\nb;", "c;"]);
    let count = json!([{"multiline": {"type": "count", "count_lines": 2}}]);
    assert_eq!(texts(&count, &["a", "b", "c"]), ["a\nb", "c"]);
    let flush =
        json!([{"multiline": {"pattern": "^b", "negate": true, "match": "after", "flush_pattern": "^e"}}]);
    assert_eq!(texts(&flush, &["b1", "x", "e1", "y"]), ["b1\nx\ne1", "y"]);
}

#[test]
fn what_is_held_is_bounded_and_is_not_done() {
    let parsers = json!([{"multiline": {"pattern": "^x", "match": "after", "max_lines": 2}}]);
    let records = through(&parsers, &["a", "x1", "x2"]);
    assert_eq!((records[0].text.as_str(), &records[0].flags[..]), ("a\nx1", &["multiline", "truncated"][..]));

    let config = json!({ "parsers": parsers });
    let parsers = read(&Config::new(config.as_object().unwrap())).unwrap();
    let mut pipeline = Pipeline::new(&parsers);
    let record = Record { text: "a".into(), start: 7, ..Record::default() };
    pipeline.push(&parsers, record, 1000, &mut |_| panic!("it waits for more"));
    assert_eq!((pipeline.held_from(), pipeline.due(&parsers)), (Some(7), Some(6000)));
    let mut out = Vec::new();
    pipeline.flush(&parsers, 5999, false, &mut |record| out.push(record));
    assert!(out.is_empty());
    pipeline.flush(&parsers, 6000, false, &mut |record| out.push(record));
    assert_eq!((out.len(), pipeline.held_from()), (1, None));
}

#[test]
fn json_lines_become_fields() {
    let nested = through(&json!([{"ndjson": {}}]), &[r#"{"a": 1}"#, "no json"]);
    assert_eq!(Value::Object(nested[0].fields.clone()), json!({"json": {"a": 1}}));
    assert!(nested[0].silent);
    assert_eq!((nested[1].text.as_str(), nested[1].silent), ("no json", false));

    let settings = json!([{"ndjson": {"target": "", "message_key": "msg", "add_error_key": true}}]);
    let top = through(&settings, &[r#"{"msg": "hello", "host": "x", "level": "info"}"#, "{"]);
    assert_eq!((top[0].text.as_str(), top[0].silent), ("hello", false));
    assert_eq!(top[0].fields["level"], "info");
    assert!(!top[0].fields.contains_key("host"), "the event's own is kept");
    assert!(top[1].fields["error"]["message"].as_str().unwrap().contains("no JSON object"));

    let own =
        through(&json!([{"ndjson": {"target": "a.b", "document_id": "id"}}]), &[r#"{"id": "7", "c": 1}"#]);
    assert_eq!(
        Value::Object(own[0].fields.clone()),
        json!({"@metadata": {"_id": "7"}, "a": {"b": {"c": 1}}})
    );
}

#[test]
fn logs_of_containers_lose_their_wrapping() {
    let docker = [
        r#"{"log":"part one, ","stream":"stdout","time":"2024-01-01T00:00:00Z"}"#,
        r#"{"log":"part two\n","stream":"stdout","time":"2024-01-01T00:00:01Z"}"#,
    ];
    let records = through(&json!([{"container": {}}]), &docker);
    assert_eq!((records.len(), records[0].text.as_str()), (1, "part one, part two"));
    assert_eq!(records[0].fields["stream"], "stdout");
    assert_eq!(records[0].fields["@timestamp"], "2024-01-01T00:00:00Z");
    let cri = [
        "2024-01-01T00:00:00Z stdout P part one, ",
        "2024-01-01T00:00:01Z stdout F part two",
        "2024-01-01T00:00:02Z stderr F other",
    ];
    assert_eq!(texts(&json!([{"container": {"stream": "stdout"}}]), &cri), ["part one, part two"]);
    let strange = through(&json!([{"container": {}}]), &["something else"]);
    assert_eq!(strange[0].text, "something else", "nothing is lost");
    assert!(strange[0].fields.contains_key("error"));
}

#[test]
fn all_mistakes_name_the_parser_and_the_setting() {
    let told = |settings: Value| {
        let config = Config::gathering(settings.as_object().unwrap());
        let parsers = if settings.get("parsers").is_some() { read(&config) } else { of_log(&config) };
        config.judge(parsers).unwrap_err().to_string()
    };
    let many = told(json!({"parsers": [
        {"xml": {}},
        {"multiline": {"match": "behind", "flush_pattern": "(", "timeout": "soon"}},
        {"ndjson": 5},
        {"container": {"format": "lxc", "stream": []}},
        {"ndjson": null, "syslog": null},
        {"syslog": {"timezone": "Nowhere", "format": "rfc1"}},
        {"include_message": {"patterns": ["(", "a"]}},
    ]}));
    let fields: Vec<&str> = many
        .split("; ")
        .filter_map(|part| part.split(": ").next().filter(|field| field.starts_with("parsers[")))
        .collect();
    let expected = [
        "parsers[0].xml",
        "parsers[1].multiline.timeout",
        "parsers[1].multiline.flush_pattern",
        "parsers[1].multiline.match",
        "parsers[1].multiline.pattern",
        "parsers[2].ndjson",
        "parsers[3].container.format",
        "parsers[3].container.stream",
        "parsers[4]",
        "parsers[5].syslog.format",
    ];
    for field in expected {
        assert!(fields.contains(&field), "{field}: {many}");
    }
    assert!(many.contains("not a regular expression"), "{many}");
    assert!(many.ends_with("; and 2 more mistakes"), "{many}");

    assert_eq!(told(json!({"parsers": {}})), "parsers: must be a list");
    let log = told(json!({"json.overwrite_keys": "perhaps", "multiline": {"type": "count", "negate": 1}}));
    assert_eq!(
        log,
        "json.overwrite_keys: must be true or false; multiline.count_lines: must be 1 or more; \
         multiline.negate: must be true or false"
    );
}
