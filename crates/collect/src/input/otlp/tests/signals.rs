use super::*;

fn attribute(key: &str, value: &Value) -> Value {
    json!({"key": key, "value": value})
}

fn resource() -> Value {
    json!({"attributes": [
        attribute("service.name", &json!({"stringValue": "my.service"})),
        attribute("host.name", &json!({"stringValue": "web-1"})),
        attribute("k8s.pod.name", &json!({"stringValue": "pod"})),
    ]})
}

fn scope() -> Value {
    json!({"name": "my.library", "version": "1.0.0", "attributes": [attribute("a.b", &json!({"boolValue": true}))]})
}

fn shared(event: &Value) {
    assert_eq!(
        (&event["service"], &event["host"]),
        (&json!({"name": "my.service"}), &json!({"name": "web-1"}))
    );
    assert_eq!(event["resource"], json!({"attributes": {"k8s.pod.name": "pod"}}));
    assert_eq!(
        event["scope"],
        json!({"name": "my.library", "version": "1.0.0", "attributes": {"a.b": true}})
    );
}

#[tokio::test]
async fn logs_in_json_become_events() {
    let rig = Rig::new(ROOM);
    let (input, _, http) = start(&rig, &settings("logs")).await;
    let record = json!({
        "timeUnixNano": "1544712660300000000", "observedTimeUnixNano": 1_544_712_660_300_000_001_u64,
        "severityNumber": 10, "severityText": "Information", "traceId": "5B8EFFF798038103D269B633813FC60C",
        "spanId": "EEE19B7EC3C1B174", "body": {"stringValue": "Example log record"}, "eventName": "happened",
        "unknown": [1],
        "attributes": [
            attribute("string.attribute", &json!({"stringValue": "some string"})),
            attribute("int.attribute", &json!({"intValue": "10"})),
            attribute("double.attribute", &json!({"doubleValue": 637.704})),
            attribute("array.attribute", &json!({"arrayValue": {"values": [{"stringValue": "many"}, {"intValue": 1}]}})),
            attribute("map.attribute", &json!({"kvlistValue": {"values": [attribute("k", &json!({"bytesValue": "AQI="}))]}})),
        ],
    });
    let other = json!({"severityNumber": 17, "body": {"kvlistValue": {"values": [attribute("k", &json!({"intValue": "1"}))]}}});
    let body = json!({"resourceLogs": [{"resource": resource(), "scopeLogs": [{"scope": scope(), "logRecords": [record, other]}]}]});
    assert_eq!(post_json(&http, "/v1/logs", &body).await, (StatusCode::OK, json!({})));
    let events = rig.events(2).await;
    let event = &events[0];
    shared(event);
    assert_eq!(
        (&event["@timestamp"], &event["message"]),
        (&json!("2018-12-13T14:51:00.300Z"), &json!("Example log record"))
    );
    assert_eq!(event["observed_timestamp"], "2018-12-13T14:51:00.300000001Z");
    assert_eq!((&event["log"]["level"], &event["severity_number"]), (&json!("Information"), &json!(10)));
    assert_eq!(event["trace"]["id"], "5b8efff798038103d269b633813fc60c");
    assert_eq!(
        (&event["span"]["id"], &event["event"]["name"]),
        (&json!("eee19b7ec3c1b174"), &json!("happened"))
    );
    assert_eq!(
        event["attributes"],
        json!({"string.attribute": "some string", "int.attribute": 10, "double.attribute": 637.704,
            "array.attribute": ["many", 1], "map.attribute": {"k": "AQI="}})
    );
    assert_eq!((&events[1]["message"], &events[1]["log"]["level"]), (&json!("{\"k\":1}"), &json!("ERROR")));
    assert_eq!(events[1]["data_stream"]["type"], "logs");
    input.stop().await.unwrap();
}

#[tokio::test]
async fn spans_in_json_become_events() {
    let rig = Rig::new(ROOM);
    let (input, _, http) = start(&rig, &settings("traces")).await;
    let span = json!({
        "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174",
        "parentSpanId": "EEE19B7EC3C1B173", "name": "I'm a server span", "kind": 2,
        "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000",
        "attributes": [attribute("my.span.attr", &json!({"stringValue": "some value"}))],
        "status": {"code": 2, "message": "no"},
        "links": [{"traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B175"}],
        "events": [{"timeUnixNano": "1544712660500000000", "name": "exception",
            "attributes": [attribute("exception.type", &json!({"stringValue": "E"}))]}],
    });
    let body = json!({"resourceSpans": [{"resource": resource(), "scopeSpans": [{"scope": scope(), "spans": [span]}]}]});
    for _ in 0..2 {
        assert_eq!(post_json(&http, "/v1/traces", &body).await, (StatusCode::OK, json!({})));
    }
    let mut batches = rig.batches().await;
    while batches.len() < 2 {
        batches.extend(rig.batches().await);
    }
    // The same span again has the same id, so the engine has it once.
    assert_eq!(batches[0].id(0), batches[1].id(0));
    let event = crate::input::testing::documents(&batches[0]).remove(0);
    shared(&event);
    assert_eq!(
        (&event["@timestamp"], &event["duration"]),
        (&json!("2018-12-13T14:51:00.000Z"), &json!(1_000_000_000))
    );
    assert_eq!(event["span"], json!({"id": "eee19b7ec3c1b174", "name": "I'm a server span"}));
    assert_eq!((&event["parent"]["id"], &event["kind"]), (&json!("eee19b7ec3c1b173"), &json!("server")));
    assert_eq!(
        (&event["status"], &event["event"]["outcome"]),
        (&json!({"code": "error", "message": "no"}), &json!("failure"))
    );
    assert_eq!(
        event["links"],
        json!([{"trace_id": "5b8efff798038103d269b633813fc60c", "span_id": "eee19b7ec3c1b175"}])
    );
    let happened = json!({"timestamp": "2018-12-13T14:51:00.500Z", "name": "exception", "attributes": {"exception.type": "E"}});
    assert_eq!(event["events"], json!([happened]));
    input.stop().await.unwrap();
}

#[tokio::test]
async fn points_with_the_same_attributes_become_one_event() {
    let rig = Rig::new(ROOM);
    let (input, _, http) = start(&rig, &settings("metrics")).await;
    let point = |extra: Value| {
        let mut point = json!({"startTimeUnixNano": "1544712660000000000", "timeUnixNano": "1544712661000000000",
            "attributes": [attribute("my.attr", &json!({"stringValue": "some value"}))]});
        point.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({ "dataPoints": [point] })
    };
    let metrics = json!([
        {"name": "my.counter", "unit": "1", "sum": point(json!({"asDouble": 5}))},
        {"name": "my.gauge", "unit": "1", "gauge": point(json!({"asInt": "10"}))},
        {"name": "my.histogram", "unit": "1", "histogram": point(json!({"count": 2, "sum": 2,
            "bucketCounts": ["1", 1, 0, 3], "explicitBounds": [1, 2, 4]}))},
        {"name": "my.exponential", "unit": "1", "exponentialHistogram": point(json!({"count": "3", "scale": 0,
            "zeroCount": 1, "positive": {"offset": 1, "bucketCounts": [0, "2"]}, "negative": {"bucketCounts": [4]}}))},
        {"name": "my.summary", "unit": "1", "summary": point(json!({"count": 2, "sum": 3.5}))},
        {"name": "my.gauge", "unit": "s", "gauge": point(json!({"asDouble": 0.5}))},
        {"name": "my.stale", "unit": "1", "gauge": point(json!({"asInt": 1, "flags": 1}))},
        {"name": "my.nothing", "unit": "1", "gauge": point(json!({"asDouble": "NaN"}))},
    ]);
    let body = json!({"resourceMetrics": [{"resource": resource(), "scopeMetrics": [{"scope": scope(), "metrics": metrics}]}]});
    assert_eq!(post_json(&http, "/v1/metrics", &body).await, (StatusCode::OK, json!({})));
    let events = rig.events(2).await;
    shared(&events[0]);
    assert_eq!(events[0]["attributes"], json!({"my.attr": "some value"}));
    assert_eq!(
        (&events[0]["start_timestamp"], &events[0]["unit"]),
        (&json!("2018-12-13T14:51:00.000Z"), &json!("1"))
    );
    assert_eq!(
        events[0]["metrics"],
        json!({
            "my.counter": 5.0, "my.gauge": 10,
            "my.histogram": {"values": [0.5, 1.5, 4.0], "counts": [1, 1, 3]},
            "my.exponential": {"values": [-1.5, 0.0, 6.0], "counts": [4, 1, 2]},
            "my.summary": {"value_count": 2, "sum": 3.5},
        })
    );
    assert_eq!((&events[1]["metrics"], &events[1]["unit"]), (&json!({"my.gauge": 0.5}), &json!("s")));
    input.stop().await.unwrap();
}
