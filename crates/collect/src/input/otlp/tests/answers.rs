use std::time::Duration;

use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::input::otlp::reply::Answer;

#[tokio::test]
async fn protobuf_comes_over_grpc_and_http_packed_or_not() {
    let rig = Rig::new(ROOM);
    let (input, grpc, http) = start(&rig, &settings("logs")).await;
    let body = request(&[log("a").encode_to_vec()]);
    for gzip in [false, true] {
        let (code, message, _, answer) = call(&grpc, Signal::Logs, &body, gzip).await;
        assert_eq!((code, message.as_str(), answer.len()), (0, "", 0));
        let sent = if gzip { packed(&body) } else { body.clone() };
        let answer = post(&http, "/v1/logs", "application/x-protobuf", sent).await;
        assert_eq!(
            (answer.status(), &answer.headers()["content-type"]),
            (StatusCode::OK, &"application/x-protobuf".parse().unwrap())
        );
        assert_eq!(answer.bytes().await.unwrap().len(), 0);
    }
    for event in rig.events(4).await {
        assert_eq!(
            (&event["message"], &event["@timestamp"]),
            (&json!("a"), &json!("2018-12-13T14:51:00.300000007Z"))
        );
    }
    input.stop().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_used_is_counted_and_the_rest_is_taken() {
    let rig = Rig::new(ROOM);
    let (input, grpc, http) = start(&rig, &settings("logs")).await;
    let bad = field(3, b"\xff");
    let (code, _, _, answer) =
        call(&grpc, Signal::Logs, &request(&[bad, log("a").encode_to_vec()]), false).await;
    let partial = Answer::decode(answer.as_slice()).unwrap().partial_success.unwrap();
    assert_eq!((code, partial.rejected), (0, 1));
    assert!(partial.error_message.contains("UTF-8"), "{partial:?}");

    let records = json!([{"traceId": "x"}, {"body": {"stringValue": "b"}}, {"timeUnixNano": true}]);
    let body = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]});
    let (status, answer) = post_json(&http, "/v1/logs", &body).await;
    assert_eq!((status, &answer["partialSuccess"]["rejectedLogRecords"]), (StatusCode::OK, &json!("2")));
    assert!(
        answer["partialSuccess"]["errorMessage"].as_str().unwrap().contains("no identifier in hexadecimal")
    );
    assert_eq!(rig.events(2).await[1]["message"], "b");
    input.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_broken_or_too_large_is_refused_with_its_reason() {
    let rig = Rig::new(ROOM);
    let mut small = settings("logs");
    small["protocols.http"]["max_request_body_size"] = json!(10_000);
    small["protocols.grpc"]["max_recv_msg_size_mib"] = json!(1);
    let (input, grpc, http) = start(&rig, &small).await;
    let (status, answer) = post_json(&http, "/v1/logs", &json!([])).await;
    assert_eq!((status, &answer["code"]), (StatusCode::BAD_REQUEST, &json!(3)));
    let bomb = packed(&vec![0; 8 << 20]);
    assert!(bomb.len() < 10_000);
    let answer = post(&http, "/v1/logs", "application/x-protobuf", bomb.clone()).await;
    assert_eq!((answer.status(), answer.headers().get("retry-after")), (StatusCode::PAYLOAD_TOO_LARGE, None));
    let status = Status::decode(answer.bytes().await.unwrap()).unwrap();
    assert!(status.message.starts_with("the request is larger than 10000 bytes"), "{status:?}");
    let torn = packed(&request(&[log("a").encode_to_vec()]));
    let answer = post(&http, "/v1/logs", "application/x-protobuf", torn[..torn.len() - 9].to_vec()).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    for (path, kind, status) in [
        ("/v1/logs", "text/plain", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("/v1/nothing", "application/json", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(post(&http, path, kind, Vec::new()).await.status(), status);
    }

    let (code, message, status, _) = call(&grpc, Signal::Logs, b"\x0a\x05", false).await;
    assert_eq!(
        (code, message.starts_with("the request cannot be read: "), status.details.len()),
        (3, true, 0)
    );
    for gzip in [true, false] {
        let (code, message, ..) = call(&grpc, Signal::Logs, &vec![0; 8 << 20], gzip).await;
        assert_eq!(code, 8, "{message}");
    }
    input.stop().await.unwrap();
}

#[tokio::test]
async fn streams_share_an_address_and_what_nobody_takes_is_told() {
    let rig = Rig::new(ROOM);
    let (logs, grpc, http) = start(&rig, &settings("logs")).await;
    let (code, message, ..) = call(&grpc, Signal::Metrics, b"", false).await;
    assert_eq!((code, message.starts_with("no stream of the agent's policy takes metrics here")), (12, true));
    let (status, answer) = post_json(&http, "/v1/metrics", &json!({})).await;
    assert_eq!((status, &answer["code"]), (StatusCode::NOT_FOUND, &json!(12)));

    let (metrics, same, _) = start(&rig, &settings("metrics")).await;
    assert_eq!(same, grpc);
    assert_eq!(call(&grpc, Signal::Metrics, b"", false).await.0, 0);
    let problem = rig.start(&DEFINITION, "otlp", &settings("metrics")).unwrap().ended().await.unwrap_err();
    assert!(problem.contains("metrics at 127.0.0.1:0 go to stream stream already"), "{problem}");
    let mut other = settings("traces");
    other["protocols.grpc"]["max_recv_msg_size_mib"] = json!(9);
    let problem = rig.start(&DEFINITION, "otlp", &other).unwrap().ended().await.unwrap_err();
    assert!(problem.contains("used by another input with other settings"), "{problem}");

    logs.stop().await.unwrap();
    assert_eq!(call(&grpc, Signal::Logs, b"", false).await.0, 12);
    metrics.stop().await.unwrap();
    assert!(tokio::net::TcpStream::connect(&grpc).await.is_err());
}

#[tokio::test]
async fn while_the_queue_is_full_senders_are_told_to_come_again() {
    let rig = Rig::new(64 * 1024);
    let (input, grpc, http) = start(&rig, &settings("logs")).await;
    let body = request(&[log(&"x".repeat(200_000)).encode_to_vec()]);
    let mut taken = 0;
    let refused = loop {
        let answer = post(&http, "/v1/logs", "application/x-protobuf", body.clone()).await;
        if answer.status() != StatusCode::OK {
            break answer;
        }
        taken += 1;
        assert!(taken < 100, "nothing held the sender up");
    };
    assert_eq!(
        (refused.status(), &refused.headers()["retry-after"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"2".parse().unwrap())
    );
    let (code, _, status, _) = call(&grpc, Signal::Logs, &body, false).await;
    assert_eq!((code, status.code, status.details.len()), (14, 14, 1));
    let status = rig.state(|status| status.state == State::Degraded).await;
    assert!(status.message.contains("no room"), "{}", status.message);

    // What was sent away may be in the queue all the same; what was answered with success is.
    let mut events = rig.events(taken).await;
    let answer =
        post(&http, "/v1/logs", "application/x-protobuf", request(&[log("later").encode_to_vec()])).await;
    assert_eq!(answer.status(), StatusCode::OK);
    rig.state(|status| status.state == State::Healthy).await;
    while events.last().unwrap()["message"] != "later" {
        events.extend(rig.events(1).await);
    }
    assert!(events.len() <= taken + 3);
    input.stop().await.unwrap();
}

#[tokio::test]
async fn pages_of_allowed_origins_may_send_and_idle_connections_are_closed() {
    let rig = Rig::new(ROOM);
    let http = json!({"endpoint": "127.0.0.1:0", "idle_timeout": "1s", "cors": {"allowed_origins": ["https://*.example.com"]}});
    let (input, _, http) = start(&rig, &json!({"signal": "logs", "protocols": {"http": http}})).await;
    let client = reqwest::Client::builder().tls_backend_preconfigured(nothing()).build().unwrap();
    let ask = |origin: &'static str| {
        let ask = client.request(Method::OPTIONS, format!("http://{http}/v1/logs")).header("origin", origin);
        ask.header("access-control-request-headers", "content-type, x-other").send()
    };
    let answer = ask("https://a.example.com").await.unwrap();
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://a.example.com");
    assert_eq!(answer.headers()["access-control-allow-headers"], "content-type");
    assert_eq!(ask("https://example.org").await.unwrap().headers().get("access-control-allow-origin"), None);

    let mut socket = tokio::net::TcpStream::connect(&http).await.unwrap();
    let mut buffer = [0; 16];
    let closed = tokio::io::AsyncReadExt::read(&mut socket, &mut buffer);
    assert_eq!(
        tokio::time::timeout(Duration::from_secs(10), closed).await.expect("it is closed").unwrap(),
        0
    );
    input.stop().await.unwrap();
}

#[tokio::test]
async fn requests_together_take_no_more_than_their_room() {
    let rig = Rig::new(ROOM);
    let (input, _, http) = start(&rig, &settings("logs")).await;
    let size = 20 << 20;
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n\r\n"
    );
    // Requests that never end hold what they have sent: there is room for three of the largest, and a little.
    let mut sockets = Vec::new();
    let refused = loop {
        let socket = tokio::net::TcpStream::connect(&http).await.unwrap();
        let (mut reader, mut writer) = socket.into_split();
        writer.write_all(head.as_bytes()).await.unwrap();
        let body = vec![b' '; size - 1];
        let mut answer = [0; 1024];
        writer.write_all(&body).await.unwrap();
        let answered = tokio::time::timeout(Duration::from_secs(1), reader.read(&mut answer)).await;
        sockets.push((reader, writer));
        assert!(sockets.len() < 20, "nothing was refused");
        if let Ok(length) = answered.map(Result::unwrap) {
            break String::from_utf8_lossy(&answer[..length]).into_owned();
        }
    };
    assert!(refused.starts_with("HTTP/1.1 429 ") && refused.contains("retry-after: 2"), "{refused}");
    assert!(sockets.len() > 3);
    // When they are gone, there is room again.
    drop(sockets);
    let wait = async {
        while post_json(&http, "/v1/logs", &json!({"resourceLogs": [], "x": " ".repeat(10 << 20)})).await.0
            != StatusCode::OK
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("room in time");
    input.stop().await.unwrap();
}

#[tokio::test]
async fn open_connections_do_not_hold_a_stop_up() {
    let rig = Rig::new(ROOM);
    let (input, _, http) = start(&rig, &settings("logs")).await;
    let mut sockets = Vec::new();
    for start in [
        "",
        "POST /v1/lo",
        "POST /v1/logs HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{",
    ] {
        let mut socket = tokio::net::TcpStream::connect(&http).await.unwrap();
        socket.write_all(start.as_bytes()).await.unwrap();
        sockets.push(socket);
    }
    assert_eq!(post_json(&http, "/v1/logs", &json!({})).await.0, StatusCode::OK);
    // A unit has five seconds to stop.
    tokio::time::timeout(Duration::from_secs(5), input.stop()).await.expect("it stops in time").unwrap();
}
