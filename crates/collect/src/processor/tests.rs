//! What processors do, by the examples of the published documentation of those that real policies name.

use std::time::Instant;

use serde_json::{Value, json};

use super::*;

fn chain(processors: &Value) -> Result<Chain, Mistakes> {
    Chain::build(&[("processors", Some(processors))], &Arc::default())
}

/// What becomes of an event; null: it is dropped.
pub(super) fn after(processors: &Value, event: &Value) -> Value {
    after_with(&Arc::default(), processors, event)
}

/// The same beside other processors.
pub(super) fn after_with(shared: &Arc<Shared>, processors: &Value, event: &Value) -> Value {
    let mut event = Event::new(Arc::new(Base::new(event.as_object().unwrap().clone())));
    let chain = Chain::build(&[("processors", Some(processors))], shared).unwrap();
    assert!(chain.unknown().is_empty(), "{:?}", chain.unknown());
    match chain.run(&mut event) {
        Flow::Keep => Value::Object(event.to_map()),
        Flow::Drop => Value::Null,
    }
}

/// The event, with why a processor could not change it.
pub(super) fn refused(processors: &Value, event: &Value) -> String {
    let mut out = after(processors, event);
    let error = out.as_object_mut().unwrap().remove("error").unwrap();
    assert_eq!(&out, event, "the event is as it was");
    error["message"].as_str().unwrap().to_owned()
}

pub(super) fn mistake(processors: &Value) -> String {
    chain(processors).err().unwrap().to_string()
}

#[test]
fn append_makes_lists_longer() {
    let processor = |more: Value| {
        let mut settings =
            json!({"target_field": "target", "fields": ["a.b", "list"], "values": ["static", ""]});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([{ "append": settings }])
    };
    let event = json!({"a": {"b": "concrete"}, "list": ["one", "two"], "target": "there"});
    assert_eq!(
        after(&processor(json!({})), &event)["target"],
        json!(["there", "concrete", "one", "two", "static", ""])
    );
    let event = json!({"list": ["one", "static", "one"]});
    assert_eq!(refused(&processor(json!({})), &event), "field a.b is not in the event");
    assert_eq!(after(&processor(json!({"fail_on_error": false})), &event), event);
    let careful = json!({"ignore_missing": true, "ignore_empty_values": true, "allow_duplicate": false});
    assert_eq!(after(&processor(careful), &event)["target"], json!(["one", "static"]));
    assert_eq!(
        mistake(&json!([{"append": {"values": [1]}}])),
        "processors[0].append.target_field: is missing: name the field"
    );
}

/// An event after processors, with how much it holds in bytes.
fn grown(processors: &Value, event: Value) -> (Event, usize) {
    let Value::Object(fields) = event else { panic!("{event}") };
    let mut event = Event::new(Arc::new(Base::new(fields)));
    assert_eq!(chain(processors).unwrap().run(&mut event), Flow::Keep);
    let size = event.fields().map(|(_, value)| crate::event::weight(value)).sum();
    (event, size)
}

#[test]
fn what_processors_add_to_an_event_is_bounded() {
    let text = "x".repeat(1 << 20);
    let doubling = |step: &dyn Fn(usize) -> Value| -> Value { (0..40).map(step).collect() };
    // Each step is built for the one before it, and the first that has no room leaves those behind it without a source.
    let copies = doubling(&|step| {
        let at = |step: usize| if step == 0 { "a".to_owned() } else { format!("a{step}") };
        let twice =
            ["x", "y"].map(|part| json!({"from": at(step), "to": format!("{}.{part}", at(step + 1))}));
        json!({"copy_fields": {"fields": twice}})
    });
    let appends = doubling(&|_| json!({"append": {"target_field": "a", "fields": ["a"]}}));
    let converts = json!([{"convert": {"fields": (0..100)
        .map(|to| json!({"from": "a", "to": format!("b{to}")})).collect::<Vec<_>>()}}]);
    let extracts: Map<String, Value> = (0..100).map(|to| (format!("b{to}"), json!(0))).collect();
    let extracts = json!([{"append": {"target_field": "l", "fields": ["a"]}}, {"extract_array": {"field": "l", "mappings": extracts}}]);
    let replaces =
        json!([{"replace": {"fields": [{"field": "a", "pattern": "x", "replacement": "y".repeat(1000)}]}}]);
    let groups =
        json!([{"replace": {"fields": [{"field": "a", "pattern": ".*", "replacement": "$0".repeat(1000)}]}}]);
    let dissects = doubling(
        &|step| json!({"dissect": {"tokenizer": "%{m}", "field": "a", "target_prefix": format!("b{step}")}}),
    );
    let dissects =
        Value::Array([dissects.as_array().unwrap().clone(), dissects.as_array().unwrap().clone()].concat());
    for processors in [copies, appends, converts, extracts, replaces, groups, dissects] {
        let (event, size) = grown(&processors, json!({ "a": text }));
        let names = processors[0].as_object().unwrap().keys().next().unwrap();
        assert!(event.is_overgrown(), "{names}");
        assert!(size < 130 << 20, "{names}: {size}");
        let told = event.text(&FieldPath::new("error.message")).unwrap_or_default().to_owned();
        let flags = event.get(&FieldPath::new("log.flags")).cloned().unwrap_or_default();
        assert!(
            told.contains("larger by more than 64 MiB")
                || told.ends_with("is not in the event")
                || flags == json!(["dissect_parsing_error"]),
            "{names}: {told}"
        );
    }
    let quiet = json!([{"replace": {"fail_on_error": false, "fields": [{"field": "a", "pattern": "x", "replacement": "y".repeat(1000)}]}}]);
    let (event, _) = grown(&quiet, json!({ "a": text }));
    assert_eq!((event.text(&FieldPath::new("a")), event.is_overgrown()), (Some(text.as_str()), true));
    assert_eq!(event.get(&FieldPath::new("error")), None);
}

#[test]
fn names_with_many_dots_lead_only_so_deep() {
    let dots = "a.".repeat(200_000);
    let line = format!(r#"{{"{dots}": 1}}"#);
    let steps = json!([
        {"decode_json_fields": {"fields": ["message"], "target": "json", "expand_keys": true}},
        {"dissect": {"field": "pair", "tokenizer": "%{?k}=%{&k}", "target_prefix": ""}},
        {"move_fields": {"from": "deep", "to": "m."}},
    ]);
    let event = json!({"message": line, "pair": format!("{dots}=1"), "deep": {dots.clone(): 1}});
    let (event, _) = grown(&steps, event);
    let mut out = Vec::new();
    event.encode(&mut out);
    let parsed: Value = serde_json::from_slice(&out).unwrap();
    let name = "a.".repeat(63 - 1);
    assert!(parsed.pointer(&format!("/json/{}", name.replace('.', "/").trim_end_matches('/'))).is_some());
}

#[test]
fn a_pattern_that_takes_the_square_of_a_text_gives_up() {
    // At each letter it looks to the end for what is not there.
    let replace = json!([{"replace": {"fields": [{"field": "a", "pattern": "x.*z|x", "replacement": "y"}]}}]);
    let began = Instant::now();
    let problem = refused(&replace, &json!({"a": "x".repeat(4 << 20)}));
    assert_eq!(problem, "field a: to find the pattern in it takes too long: use a simpler one");
    assert!(began.elapsed() < Duration::from_secs(60));
    assert_eq!(after(&replace, &json!({"a": "axxbz"}))["a"], "ay");
}

#[test]
fn values_that_are_there_are_found_in_long_lists() {
    let many: Vec<usize> = (0..100_000).collect();
    let append = json!([{"append": {"target_field": "a", "fields": ["b"], "allow_duplicate": false}}]);
    let began = Instant::now();
    let out = after(&append, &json!({"a": many, "b": [5, 100_000, 100_000]}));
    assert_eq!(out["a"].as_array().unwrap().len(), 100_001);
    let out = after(&append, &json!({"a": [1, 1], "b": many}));
    assert_eq!(out["a"].as_array().unwrap().len(), 100_001, "what was there stays");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn comma_separated_values_become_lists() {
    let processor = json!([{"decode_csv_fields": {"fields": {"message": "decoded.csv"}, "separator": ","}}]);
    let event = json!({"message": r#"a, "b",c,"d ""e"", f""#});
    assert_eq!(after(&processor, &event)["decoded"]["csv"], json!(["a", " \"b\"", "c", "d \"e\", f"]));
    let tabs =
        json!([{"decode_csv_fields": {"fields": {"m": "m"}, "separator": "\t", "trim_leading_space": true}}]);
    assert_eq!(after(&tabs, &json!({"m": "a\t b"}))["m"], json!(["a", "b"]));
    assert_eq!(refused(&processor, &json!({"x": 1})), "field message is not in the event");
    let there = json!({"message": "a", "decoded": {"csv": "mine"}});
    assert!(refused(&processor, &there).contains("decoded.csv already exists"));
    assert!(
        mistake(&json!([{"decode_csv_fields": {"fields": {"a": "b"}, "separator": "::"}}]))
            .contains("separator")
    );
}

#[test]
fn elements_of_xml_become_fields() {
    let xml = "<catalog>\n<book seq=\"1\">\n<author>William H. Gaddis</author>\n<title>The Recognitions</title>\n\
        <review>One of the great seminal American novels of the 20th century.</review>\n</book>\n</catalog>";
    let book = json!({"catalog": {"book": {
        "author": "William H. Gaddis",
        "review": "One of the great seminal American novels of the 20th century.",
        "seq": "1",
        "title": "The Recognitions",
    }}});
    let event = json!({ "message": xml });
    let decoded = after(&json!([{"decode_xml": {"field": "message", "target_field": "xml"}}]), &event);
    assert_eq!(decoded["xml"], book);
    assert_eq!(decoded["message"], xml);
    assert_eq!(after(&json!([{"decode_xml": null}]), &event)["message"], book, "in place of the text");
    let top = json!([{"decode_xml": {"target_field": "", "document_id": "catalog.book.seq"}}]);
    let decoded = after(&top, &event);
    assert_eq!(
        (&decoded["catalog"]["book"]["title"], &decoded["@metadata"]["_id"]),
        (&json!("The Recognitions"), &json!("1"))
    );
    let names = json!([{"decode_xml": {"to_lower": false}}]);
    let event = json!({"message": "<A><b>1</b><b x='y'>2</b><b/></A>"});
    assert_eq!(after(&names, &event)["message"], json!({"A": {"b": ["1", {"x": "y", "#text": "2"}, ""]}}));
}

#[test]
fn hostile_xml_is_refused() {
    let decode = json!([{"decode_xml": {"target_field": "xml"}}]);
    let bomb = r#"<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>"#;
    let deep = format!("{}{}", "<a>".repeat(100), "</a>".repeat(100));
    let many = format!("<a>{}</a>", "<b/>".repeat(200_000));
    for text in ["no xml", bomb, &deep, &many] {
        let problem = refused(&decode, &json!({ "message": text }));
        assert!(problem.starts_with("field message"), "{problem}");
    }
    let attributes = |count: usize| (0..count).map(|name| format!(" a{name}='=>='")).collect::<String>();
    let prefixes = |count: usize| (0..count).map(|name| format!("<a xmlns:p{name}='u'>")).collect::<String>();
    let began = Instant::now();
    for (many, problem) in [
        (format!("<!-- ' --><e{}/>", attributes(200_000)), "more than 250 attributes"),
        (format!("<a>{}", prefixes(60_000)), "xmlns more than 100 times"),
        ("<a>".repeat(100_000), "limit"),
    ] {
        let message = refused(&decode, &json!({ "message": many }));
        assert!(message.contains(problem) || many.starts_with("<a><a>"), "{message}");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let fitting = format!("<e{}>{}</e>", attributes(250), "x=y ".repeat(2000));
    assert_eq!(after(&decode, &json!({ "message": fitting }))["xml"]["e"]["a7"], "=>=");
    let quiet = json!([{"decode_xml": {"ignore_failure": true}}]);
    assert_eq!(after(&quiet, &json!({"message": "no xml"})), json!({"message": "no xml"}));
}

#[test]
fn a_list_is_taken_apart() {
    let processor = |more: Value| {
        let mut settings = json!({
            "field": "my_array",
            "mappings": {"source.ip": 0, "destination": {"ip": 1}, "network.transport": 2},
        });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([{ "extract_array": settings }])
    };
    let event = json!({"my_array": ["10.0.0.1", "10.0.0.2", "tcp"]});
    let taken = after(&processor(json!({})), &event);
    assert_eq!(taken["source"]["ip"], "10.0.0.1");
    assert_eq!(taken["destination"]["ip"], "10.0.0.2");
    assert_eq!(taken["network"]["transport"], "tcp");
    assert_eq!(refused(&processor(json!({})), &json!({"my_array": ["a", "b"]})), "field my_array has no [2]");
    assert_eq!(refused(&processor(json!({})), &json!({"my_array": 1})), "field my_array is no list");
    let empty = json!({"my_array": ["", "", ""]});
    assert_eq!(after(&processor(json!({"omit_empty": true})), &empty), empty);
    assert_eq!(after(&processor(json!({"ignore_missing": true})), &json!({"x": 1})), json!({"x": 1}));
}

#[test]
fn a_fingerprint_is_of_names_and_values_in_order() {
    // printf '|field1|value1|field2.a|2|' | sha256sum
    let event = json!({"field1": "value1", "field2": {"a": 2}});
    let processor = |more: Value| {
        let mut settings = json!({"fields": ["field2.a", "field1"]});
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([{ "fingerprint": settings }])
    };
    let hex = "810a54088f898e39aa3e4b485f012fe6fd03e97a0a3c1f3f440364d31f310bf9";
    assert_eq!(after(&processor(json!({})), &event)["fingerprint"], hex);
    let id = after(
        &processor(json!({"target_field": "@metadata._id", "method": "sha1", "encoding": "base64"})),
        &event,
    );
    assert_eq!(id["@metadata"]["_id"], "dttILxP9GIUAhnrhMdjqGQei94c=");
    assert_eq!(refused(&processor(json!({})), &json!({"field1": "x"})), "field field2.a is not in the event");
    assert!(mistake(&processor(json!({"method": "md5"}))).contains("use sha1, sha256, sha384 or sha512"));
}

#[test]
fn escapes_and_durations_are_decoded() {
    let processor = json!([{"urldecode": {"fields": [{"from": "field1", "to": "field2"}]}}]);
    let decoded = after(&processor, &json!({"field1": "correct%20data+%C3%A4"}));
    assert_eq!(decoded["field2"], "correct data ä");
    for text in ["Hello G%ünter", "100%", "%2"] {
        assert!(refused(&processor, &json!({ "field1": text })).starts_with("field field1: a %"));
    }
    let duration = json!([{"decode_duration": {"field": "app.rpc.cost", "format": "milliseconds"}}]);
    assert_eq!(
        after(&duration, &json!({"app": {"rpc": {"cost": "1h2m3.5s"}}}))["app"]["rpc"]["cost"],
        3_723_500.0
    );
    assert!(refused(&duration, &json!({"app": {"rpc": {"cost": "12"}}})).contains("is no duration"));
}

#[test]
fn fields_are_moved_between_objects() {
    let event =
        json!({"app": {"method": "a", "elapsed_time": 100, "user_id": 100, "message": "i'm a message"}});
    let some = json!([{"move_fields": {"from": "app", "fields": ["method", "elapsed_time"], "to": "rpc."}}]);
    assert_eq!(
        after(&some, &event),
        json!({
            "app": {"user_id": 100, "message": "i'm a message"},
            "rpc": {"method": "a", "elapsed_time": 100},
        })
    );
    let all = json!([{"move_fields": {"from": "", "to": "my_prefix_"}}]);
    assert_eq!(after(&all, &event), json!({"my_prefix_app": event["app"]}));
    let but =
        json!([{"move_fields": {"from": "app", "exclude": ["message", "method", "user_id"], "to": ""}}]);
    assert!(mistake(&but).contains("move_fields.to"));
    assert_eq!(refused(&some, &json!({"x": 1})), "field app.method is not in the event");
}

#[test]
fn the_direction_of_a_connection_follows_from_the_networks_inside() {
    let processor = |internal: Value| {
        json!([{"add_network_direction": {
            "source": "source.ip",
            "destination": "destination.ip",
            "target": "network.direction",
            "internal_networks": internal,
        }}])
    };
    let direction = |internal: Value, source: &str, destination: &str| {
        let event = json!({"source": {"ip": source}, "destination": {"ip": destination}});
        after(&processor(internal), &event)["network"]["direction"].clone()
    };
    assert_eq!(direction(json!(["private"]), "10.1.1.1", "192.168.1.218"), "internal");
    assert_eq!(direction(json!(["private"]), "10.1.1.1", "8.8.8.8"), "outbound");
    assert_eq!(direction(json!("private"), "8.8.8.8", "10.1.1.1"), "inbound");
    assert_eq!(direction(json!(["private"]), "8.8.8.8", "1.1.1.1"), "external");
    assert_eq!(direction(json!(["8.8.8.0/24", "link_local_multicast"]), "8.8.8.8", "ff02::1"), "internal");
    assert_eq!(after(&processor(json!(["private"])), &json!({"x": 1})), json!({"x": 1}));
    assert!(mistake(&processor(json!(["mine"]))).contains("internal_networks"));
    assert!(mistake(&processor(json!(["10.0.0.0/33"]))).contains("internal_networks"));
}

#[test]
fn both_directions_of_a_connection_have_one_community_id() {
    // Of the specification's baseline.
    let id = |transport: &str, from: (&str, u16), to: (&str, u16), more: Value| {
        let event = json!({
            "source": {"ip": from.0, "port": from.1},
            "destination": {"ip": to.0, "port": to.1},
            "network": {"transport": transport},
            "icmp": {"type": from.1, "code": to.1},
        });
        after(&json!([{ "community_id": more }]), &event)["network"]["community_id"].clone()
    };
    let (client, server) = (("128.232.110.120", 34855), ("66.35.250.204", 80));
    for (from, to) in [(client, server), (server, client)] {
        assert_eq!(id("tcp", from, to, json!({})), "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
    }
    assert_eq!(id("tcp", client, server, json!({"seed": 1})), "1:3V71V58M3Ksw/yuFALMcW0LAHvc=");
    assert_eq!(
        id("udp", ("192.168.1.52", 54585), ("8.8.8.8", 53), json!(null)),
        "1:d/FP5EW3wiY1vCndhwleRRKHowQ="
    );
    assert_eq!(
        id("icmp", ("192.168.0.89", 8), ("192.168.0.1", 0), json!({})),
        "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="
    );
    let (ask, answer) = (("fe80::200:86ff:fe05:80da", 135), ("fe80::260:97ff:fe07:69ea", 0));
    assert_eq!(id("ipv6-icmp", ask, answer, json!({})), "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=");
    assert_eq!(
        after(&json!([{"community_id": null}]), &json!({"x": 1})),
        json!({"x": 1}),
        "of no connection"
    );
}

#[test]
fn what_is_over_the_limit_is_dropped() {
    let chain = chain(&json!([{"rate_limit": {"limit": "2/h", "fields": ["org.name"]}}])).unwrap();
    // Two in an hour are one at a time.
    let goes_on = |name: &str| {
        let mut event =
            Event::new(Arc::new(Base::new(Map::from_iter([("org".to_owned(), json!({"name": name}))]))));
        chain.run(&mut event) == Flow::Keep
    };
    assert_eq!([goes_on("a"), goes_on("a"), goes_on("b")], [true, false, true]);
    assert!(mistake(&json!([{"rate_limit": {"limit": "2"}}])).contains("rate_limit.limit"));
}

#[test]
fn what_is_wrong_with_each_of_them_is_told() {
    let text = mistake(&json!([{"append": {}}, {"add_tags": {"tags": ["x"]}}, {"nobody_has_it": {}}, 5]));
    let parts: Vec<&str> = text.split("; ").map(|part| part.split(": ").next().unwrap()).collect();
    assert_eq!(parts, ["processors[0].append.values", "processors[2].nobody_has_it", "processors[3]"]);
}

#[test]
fn settings_that_nobody_knows_are_told() {
    let processors = json!([
        {"add_tags": {"tags": ["x"], "id": "a", "tag": "b", "when": {"has_fields": ["a"]}}},
        {"add_docker_metadata": {"match_soucre": true, "labels.dedott": false}},
    ]);
    let expected =
        ["labels.dedott", "match_soucre"].map(|key| format!("processors[1].add_docker_metadata.{key}"));
    assert_eq!(chain(&processors).unwrap().unknown(), expected);
}

#[test]
fn what_packages_ask_for_everywhere_fails_nothing() {
    let processors = json!([
        {"add_host_metadata": {"when.not.contains.tags": "forwarded"}},
        {"add_cloud_metadata": null},
        {"add_docker_metadata": null},
        {"add_kubernetes_metadata": {"host": "x", "indexers": [{"container": {}}]}},
    ]);
    assert_eq!(chain(&processors).unwrap().steps.len(), 4);
    // A condition in one key is one.
    let event = json!({"tags": ["forwarded"], "message": "x"});
    assert_eq!(after(&processors, &event), event);
    assert!(after(&processors, &json!({"message": "x"}))["host"].is_object());
    let several = json!([{"drop_event": {"when.or": [{"equals.a.b": 1}, {"not.has_fields": ["a"]}]}}]);
    let left = [json!({"a": {"b": 1}}), json!({"c": 1}), json!({"a": {"b": 2}})]
        .map(|event| after(&several, &event));
    assert_eq!(left, [Value::Null, Value::Null, json!({"a": {"b": 2}})]);
    assert!(mistake(&json!([{"add_docker_metadata": 5}])).contains("must be a map"));
    assert!(
        mistake(&json!([{"script": {"lang": "javascript"}}]))
            .contains("is not a processor that this agent has")
    );
}
