//! Bodies that nobody sends by mistake: refused with the reason, or taken for what they say. Nothing else is
//! touched.

use http::StatusCode;
use serde_json::json;

use crate::client::{Server, request};
use crate::world::{World, body, sleep};

const OPTIONS: &str = r#""options":[{"name":"ExecStart","section":"Service","value":"/bin/true"}]"#;

#[tokio::test]
async fn bodies_that_are_no_unit_are_refused_with_the_reason() {
    let world = World::new();
    world.put("a.service", body("loaded", 1)).await;
    let before = world.unit("a.service").await;
    let deep = |open: &str, close: &str| open.repeat(100_000) + &close.repeat(100_000);
    for (sent, reason) in [
        (String::new(), "unable to decode body: EOF"),
        ("  \r\n".to_owned(), "unable to decode body: EOF"),
        ("{".to_owned(), "unable to decode body: unexpected EOF"),
        (r#"{"desiredState":"laun"#.to_owned(), "unable to decode body: unexpected EOF"),
        ("null".to_owned(), "unable to decode body: it is no object"),
        ("[]".to_owned(), "unable to decode body: it is no object"),
        (r#"["","launched"]"#.to_owned(), "unable to decode body: it is no object"),
        ("17".to_owned(), "unable to decode body: it is no object"),
        (deep("[", "]"), "unable to decode body: it is no object"),
        (format!(r#"{{"options":{}}}"#, deep("[", "]")), "unable to decode body: "),
        (format!(r#"{{"options":[{}]}}"#, deep(r#"{"a":"#, "}")), "unable to decode body: "),
        (format!(r#"{{"desiredState":{}}}"#, "9".repeat(100_000)), "unable to decode body: "),
        (r#"{"desiredState":1e999}"#.to_owned(), "unable to decode body: "),
        (r#"{"desiredState":true}"#.to_owned(), "unable to decode body: invalid type: boolean `true`"),
        (r#"{"options":{}}"#.to_owned(), "unable to decode body: invalid type: map, expected a sequence"),
        (r#"{"options":[7]}"#.to_owned(), "unable to decode body: invalid type: integer `7`"),
        (
            r#"{"name":"a.service","name":"a.service"}"#.to_owned(),
            "unable to decode body: duplicate field `name`",
        ),
        (r#"{"desiredState":"loaded"} x"#.to_owned(), "unable to decode body: trailing characters"),
        (r#"{"desiredState":"\ud800"}"#.to_owned(), "unable to decode body: "),
        ("{\"desiredState\":\"a\nb\"}".to_owned(), "unable to decode body: control character"),
        ("\u{feff}{}".to_owned(), "unable to decode body: it is no object"),
    ] {
        let (status, message) = world.put("a.service", &sent).await.failure();
        let head: String = sent.chars().take(60).collect();
        assert_eq!(status, 400, "{head}");
        assert!(message.starts_with(reason), "{head}: {message}");
        assert!(message.len() < 500, "{head}: {} bytes", message.len());
        assert_eq!(world.unit("a.service").await, before, "{head}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused() {
    let world = World::new();
    let bytes: [&[u8]; 3] = [
        b"{\"desiredState\":\"\xff\"}",
        b"\xfe\xff{}",
        b"{\"options\":[{\"section\":\"S\xed\xa0\x80\",\"name\":\"a\"}]}",
    ];
    for sent in bytes {
        let asked =
            http::Request::put("/fleet/v1/units/a.service").header("Content-Type", "application/json");
        let (status, message) = world.ask(asked.body(sent).unwrap()).await.failure();
        assert_eq!(status, 400, "{message}");
    }
}

#[tokio::test]
async fn what_means_nothing_is_ignored() {
    let world = World::new();
    let nested = "[".repeat(50_000) + &"]".repeat(50_000);
    for (number, fields) in [
        r#""unknown":{"a":[1,{"b":null}]}"#.to_owned(),
        r#""name":null,"desiredState":null,"currentState":null,"machineID":null"#.to_owned(),
        r#""currentState":"launched","machineID":"elsewhere""#.to_owned(),
        r#""":"" "#.to_owned(),
        format!(r#""huge":{}"#, "9".repeat(10_000)),
        format!(r#""deep":{nested}"#),
    ]
    .into_iter()
    .enumerate()
    {
        let unit = format!("a{number}.service");
        let reply = world.put(&unit, format!("{{{fields},{OPTIONS}}}")).await;
        if fields.starts_with(r#""deep"#) {
            // The reader of JSON gives up at a depth, which is as good.
            assert!([StatusCode::CREATED, StatusCode::BAD_REQUEST].contains(&reply.status));
            continue;
        }
        assert_eq!(reply.status, StatusCode::CREATED, "{fields:.60}: {}", reply.text());
        let there = world.get(&format!("/units/{unit}")).await.json();
        assert_eq!(
            (&there["desiredState"], there.get("machineID")),
            (&json!("inactive"), None),
            "{fields:.60}"
        );
    }
}

#[tokio::test]
async fn large_units_are_kept_whole_or_refused() {
    let world = World::new();
    let option = |number: usize| json!({"name": format!("E{number}"), "section": "Service", "value": "x".repeat(2000)});
    let of = |count| json!({"options": (0..count).map(option).collect::<Vec<_>>()});
    // Just less than a mebibyte, as it is stored.
    let most = of(512);
    let made = world.put("a.service", &most).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    assert_eq!(world.get("/units/a.service").await.json()["options"], most["options"]);
    assert_eq!(world.get("/units").await.json()["units"][0]["options"], most["options"]);
    let (status, message) = world.put("a.service", of(530)).await.failure();
    assert_eq!(status, 400);
    assert!(
        message.starts_with("units/a.service has ") && message.ends_with(" bytes: at most 1048576 fit"),
        "{message}"
    );
    assert_eq!(world.get("/units/a.service").await.json()["options"], most["options"], "it is as it was");
}

#[tokio::test]
async fn a_body_of_a_mebibyte_is_read_over_a_socket() {
    let server = Server::start(World::new()).await;
    let filler = "x".repeat(1024 * 1024);
    let sent = json!({"desiredState": "inactive", "options": sleep(1), "unknown": filler}).to_string();
    let headers = "Content-Type: application/json\r\n";
    let mut connection = server.connect().await;
    for expected in [StatusCode::CREATED, StatusCode::NO_CONTENT] {
        connection.send(request(&http::Method::PUT, "/fleet/v1/units/a.service", headers, &sent)).await;
        assert_eq!(connection.receive().await.status, expected);
    }
}

#[tokio::test]
async fn patterns_that_take_long_are_bounded() {
    let world = World::new();
    let fleet = |name: &str, value: String| json!({"section": "X-Fleet", "name": name, "value": value});
    // Each pattern against each unit, each time nearly to the end of both.
    let options = |count| -> Vec<_> {
        let peers = (0..count).map(|number| fleet("MachineOf", format!("{}{number}", "a".repeat(1000))));
        let conflicts = (0..count).map(|number| fleet("Conflicts", format!("{}b{number}", "*a".repeat(500))));
        peers.chain(conflicts).collect()
    };
    let began = std::time::Instant::now();
    let most = world.put("a.service", json!({"options": options(15)})).await;
    assert_eq!(most.status, StatusCode::CREATED, "{}", most.text());
    let (status, message) = world.put("b.service", json!({"options": options(900)})).await.failure();
    assert_eq!(
        (status, message.as_str()),
        (400, "section [X-Fleet] has 1822280 bytes: at most 32768 are allowed")
    );
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
}
