//! HTTP itself, over real sockets: what clients in the field send, well-mannered or not.

use std::time::Duration;

use fleet_cluster::documents::TargetState;
use http::{Method, StatusCode, header};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::client::{LIMIT, SERVER, Server, request};
use crate::world::{World, body};

const JSON: &str = "Content-Type: application/json\r\n";

fn get(path: &str) -> String {
    request(&Method::GET, path, "", "")
}

fn put(path: &str, body: &impl ToString) -> String {
    request(&Method::PUT, path, JSON, &body.to_string())
}

async fn server() -> Server {
    Server::start(World::with_machines().await).await
}

#[tokio::test]
async fn a_head_has_the_headers_of_its_get_and_no_body() {
    let server = server().await;
    let mut connection = server.connect().await;
    for path in ["/fleet/v1/units", "/fleet/v1/discovery", "/nope", "/fleet/v1/machines"] {
        connection.send(request(&Method::HEAD, path, "", "")).await;
        let head = connection.receive_to(&Method::HEAD).await;
        // Any other method that the resource does not know is answered alike.
        connection.send(request(&Method::TRACE, path, "", "")).await;
        let other = connection.receive().await;
        assert_eq!(head.status, other.status, "{path}");
        for name in [header::CONTENT_LENGTH, header::CONTENT_TYPE, header::ALLOW, header::SERVER] {
            assert_eq!(head.headers.get(&name), other.headers.get(&name), "{path} {name}");
        }
    }
    connection.send(request(&Method::HEAD, "/metrics", "", "")).await;
    assert_eq!(connection.receive_to(&Method::HEAD).await.status, StatusCode::OK);
    connection.send(get("/fleet/v1/units")).await;
    assert_eq!(connection.receive().await.text(), "{}");
}

#[tokio::test]
async fn options_of_the_server_and_of_a_resource() {
    let server = server().await;
    let reply = server.ask("OPTIONS * HTTP/1.1\r\nHost: fleet\r\n\r\n").await;
    assert_eq!((reply.status, reply.text(), reply.header(header::SERVER)), (StatusCode::OK, "", SERVER));
    let reply = server.ask(request(&Method::OPTIONS, "/fleet/v1/machines", "", "")).await;
    assert_eq!((reply.status, reply.header(header::ALLOW)), (StatusCode::METHOD_NOT_ALLOWED, "GET, PATCH"));
}

#[tokio::test]
async fn headers_are_spelt_as_the_original_spells_them() {
    let server = server().await;
    let mut connection = server.connect().await;
    connection.send("GET /fleet/v1/units HTTP/1.0\r\n\r\n").await;
    let text = connection.read_to_end().await;
    for header in [
        "\r\nContent-Type: application/json\r\n",
        "\r\nContent-Length: 2\r\n",
        "\r\nServer: fleetd/",
        "\r\nDate: ",
    ] {
        assert!(text.contains(header), "{header:?} is not in {text:?}");
    }
}

#[tokio::test]
async fn the_body_is_asked_for_when_the_client_waits_for_that() {
    let server = server().await;
    let sent = body("inactive", 1).to_string();
    let head = |length: usize| {
        format!(
            "PUT /fleet/v1/units/a.service HTTP/1.1\r\nHost: fleet\r\n{JSON}Expect: 100-continue\r\n\
             Content-Length: {length}\r\n\r\n"
        )
    };
    let mut connection = server.connect().await;
    connection.send(head(sent.len())).await;
    assert_eq!(connection.receive().await.status, StatusCode::CONTINUE);
    connection.send(sent).await;
    assert_eq!(connection.receive().await.status, StatusCode::CREATED);
    // What is too large is not asked for.
    let mut connection = server.connect().await;
    connection.send(head(64 * 1024 * 1024)).await;
    let reply = connection.receive().await;
    assert_eq!(reply.failure(), (413, "the body is larger than 2097152 bytes".to_owned()));
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn a_connection_serves_request_after_request() {
    let server = server().await;
    let mut connection = server.connect().await;
    for number in 0..50 {
        let path = format!("/fleet/v1/units/a{number}.service");
        connection.send(put(&path, &body("inactive", 1))).await;
        assert_eq!(connection.receive().await.status, StatusCode::CREATED);
        connection.send(request(&Method::DELETE, &path, "", "")).await;
        assert_eq!(connection.receive().await.status, StatusCode::NO_CONTENT);
    }
    connection.send("GET /fleet/v1/units HTTP/1.1\r\nHost: fleet\r\nConnection: close\r\n\r\n").await;
    assert_eq!(connection.receive().await.text(), "{}");
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn requests_sent_at_once_are_answered_in_their_order() {
    let server = server().await;
    let mut connection = server.connect().await;
    let path = "/fleet/v1/units/a.service";
    let requests = [
        put(path, &body("inactive", 1)),
        put(path, &json!({"desiredState": "loaded"})),
        get(path),
        request(&Method::DELETE, path, "", ""),
        get(path),
        get("/nope"),
    ];
    connection.send(requests.concat()).await;
    let mut statuses = Vec::new();
    for _ in &requests {
        statuses.push(connection.receive().await.status.as_u16());
    }
    assert_eq!(statuses, [201, 204, 200, 204, 404, 404]);
}

#[tokio::test]
async fn chunked_bodies_are_read() {
    let server = server().await;
    let sent = body("inactive", 1).to_string();
    let head = |path: &str| {
        format!("PUT {path} HTTP/1.1\r\nHost: fleet\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n")
    };
    let mut connection = server.connect().await;
    connection.send(head("/fleet/v1/units/a.service")).await;
    for chunk in sent.as_bytes().chunks(7) {
        connection.send(format!("{:x}\r\n", chunk.len())).await;
        connection.send(chunk).await;
        connection.send("\r\n").await;
    }
    connection.send("0\r\nTrailer: x\r\n\r\n").await;
    assert_eq!(connection.receive().await.status, StatusCode::CREATED);
    // An empty body.
    connection.send(head("/fleet/v1/units/b.service") + "0\r\n\r\n").await;
    assert_eq!(connection.receive().await.failure(), (400, "unable to decode body: EOF".to_owned()));
    // No chunk at all.
    connection.send(head("/fleet/v1/units/b.service") + "zz\r\n").await;
    let (status, message) = connection.receive().await.failure();
    assert_eq!((status, message.as_str()), (400, "the body was cut off, or is not well chunked"));
    assert!(connection.is_closed().await);
    assert!(server.world.unit("b.service").await.is_none());
}

#[tokio::test]
async fn old_clients_speak_http_1_0() {
    let server = server().await;
    let mut connection = server.connect().await;
    connection.send("GET /fleet/v1/units HTTP/1.0\r\n\r\n").await;
    assert_eq!(connection.receive().await.text(), "{}");
    assert!(connection.is_closed().await);
    let mut connection = server.connect().await;
    connection.send("GET /fleet/v1/units HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".repeat(2)).await;
    for _ in 0..2 {
        assert_eq!(connection.receive().await.text(), "{}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let server = server().await;
    for (sent, status) in [
        ("HELLO\r\n\r\n".to_owned(), 400),
        ("GET /fleet/v1/units HTTP/9.9\r\n\r\n".to_owned(), 400),
        ("GET /fleet/v1/units HTTP/1.1\r\nHost fleet\r\n\r\n".to_owned(), 400),
        (format!("GET /{} HTTP/1.1\r\nHost: fleet\r\n\r\n", "a".repeat(70_000)), 414),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(200)), 431),
        (format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(300_000)), 431),
        (
            "PUT /fleet/v1/units/a.service HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"
                .to_owned(),
            400,
        ),
        ("PUT /fleet/v1/units/a.service HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_owned(), 400),
    ] {
        let mut connection = server.connect().await;
        // The server may refuse what it has not read to its end.
        let _ = connection.stream.write_all(sent.as_bytes()).await;
        let head = &sent[..sent.len().min(60)];
        let reply = connection.try_receive(&Method::HEAD).await;
        assert_eq!(reply.map(|reply| reply.status.as_u16()), Some(status), "{head:?}");
        assert!(connection.is_closed().await, "{head:?}");
    }
}

#[tokio::test]
async fn paths_that_are_not_clean_are_redirected() {
    let server = server().await;
    for (asked, location) in [
        ("//fleet/v1/units", "/fleet/v1/units"),
        ("/fleet//v1/units?alt=json&x=%20", "/fleet/v1/units?alt=json&x=%20"),
        ("/fleet/v1/units/../machines", "/fleet/v1/machines"),
        ("/fleet/v1/units/./a%40b.service", "/fleet/v1/units/a@b.service"),
        ("/fleet/v1//units/a%20b", "/fleet/v1/units/a%20b"),
        ("//evil.example/x", "/evil.example/x"),
        ("/%2F/evil.example", "/evil.example"),
        ("/x/..//%5Cevil.example", "/%5Cevil.example"),
        ("/x//%0D%0ASet-Cookie:y", "/x/%0D%0ASet-Cookie:y"),
        ("/x//%22%3E%3Cscript%3E", "/x/%22%3E%3Cscript%3E"),
    ] {
        for method in [Method::GET, Method::HEAD, Method::PUT] {
            let mut connection = server.connect().await;
            connection.send(request(&method, asked, "", "")).await;
            let reply = connection.receive_to(&method).await;
            assert_eq!(reply.status, StatusCode::MOVED_PERMANENTLY, "{method} {asked}");
            assert_eq!(reply.header(header::LOCATION), location, "{method} {asked}");
            let text = match method {
                Method::GET => {
                    assert_eq!(reply.header(header::CONTENT_TYPE), "text/html; charset=utf-8");
                    let escaped = location.replace('&', "&amp;");
                    format!("<a href=\"{escaped}\">Moved Permanently</a>.\n\n")
                }
                _ => String::new(),
            };
            assert_eq!(reply.text(), text, "{method} {asked}");
        }
    }
}

#[tokio::test]
async fn bad_escapes_are_refused() {
    let server = server().await;
    for (path, text) in [
        ("/fleet/v1/units/%zz.service", "invalid URL escape \"%zz\""),
        ("/fleet/v1/units/a.service%", "invalid URL escape \"%\""),
        ("/fleet/v1/units/a.service%4", "invalid URL escape \"%4\""),
        ("/fleet/v1/units/%ff.service", "the path is not UTF-8"),
        ("/fleet/v1/units/%ed%a0%80.service", "the path is not UTF-8"),
    ] {
        assert_eq!(server.ask(get(path)).await.failure(), (400, text.to_owned()), "{path}");
    }
}

#[tokio::test]
async fn raw_bytes_in_a_path_are_no_unit() {
    let server = server().await;
    assert_eq!(server.ask(get("/fleet/v1/units/\u{e4}.service")).await.status, StatusCode::NOT_FOUND);
    let reply = server.ask(put("/fleet/v1/units/\u{e4}.service", &body("inactive", 1))).await;
    assert_eq!(reply.failure(), (400, "invalid character '\u{e4}' in unit name".to_owned()));
    let mut connection = server.connect().await;
    connection.send(b"GET /fleet/v1/units/\xff.service HTTP/1.1\r\nHost: fleet\r\n\r\n").await;
    assert_eq!(connection.receive_to(&Method::HEAD).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_full_url_may_be_asked_for() {
    let server = server().await;
    let reply =
        server.ask("GET http://fleet:49153/fleet/v1/units?alt=json HTTP/1.1\r\nHost: fleet\r\n\r\n").await;
    assert_eq!(reply.text(), "{}");
    let mut connection = server.connect().await;
    connection.send("CONNECT fleet:443 HTTP/1.1\r\nHost: fleet\r\n\r\n").await;
    assert_eq!(connection.receive().await.failure(), (405, String::new()));
}

#[tokio::test]
async fn the_original_client_is_understood() {
    let server = server().await;
    let agent = "User-Agent: google-api-go-client/0.5\r\nAccept-Encoding: gzip\r\n";
    let ask = |method: Method, path: &str, body: &str| {
        let json = if body.is_empty() { "" } else { JSON };
        request(&method, &format!("/fleet/v1/{path}?alt=json"), &format!("{agent}{json}"), body)
    };
    let mut connection = server.connect().await;
    // The client adds the fields of its own struct, and a new line at the end.
    let sent = body("launched", 1).to_string() + "\n";
    connection.send(ask(Method::PUT, "units/foo%401.service", &sent)).await;
    assert_eq!(connection.receive().await.status, StatusCode::CREATED);
    server.world.place("foo@1.service", Some(1)).await;
    server.world.report("foo@1.service", 1, TargetState::Launched).await;
    connection.send(ask(Method::GET, "units/foo%401.service", "")).await;
    let unit = connection.receive().await.json();
    assert_eq!((&unit["name"], &unit["currentState"]), (&json!("foo@1.service"), &json!("launched")));
    connection.send(ask(Method::GET, "state", "")).await;
    assert_eq!(connection.receive().await.json()["states"][0]["systemdSubState"], "running");
    connection.send(ask(Method::DELETE, "units/foo%401.service", "")).await;
    assert_eq!(connection.receive().await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_client_that_has_closed_its_half_gets_its_answer() {
    let server = server().await;
    let mut connection = server.connect().await;
    connection.send(put("/fleet/v1/units/a.service", &body("inactive", 1))).await;
    connection.stream.shutdown().await.unwrap();
    assert_eq!(connection.receive().await.status, StatusCode::CREATED);
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn a_body_that_is_cut_off_does_nothing() {
    let server = server().await;
    let sent = put("/fleet/v1/units/a.service", &body("inactive", 1));
    for cut in [1, 10, 60] {
        let mut connection = server.connect().await;
        connection.send(&sent[..sent.len() - cut]).await;
        connection.stream.shutdown().await.unwrap();
        let (status, message) = connection.receive().await.failure();
        assert_eq!((status, message.as_str()), (400, "the body was cut off, or is not well chunked"));
        assert!(connection.is_closed().await);
    }
    assert!(server.world.unit("a.service").await.is_none());
}

#[tokio::test]
async fn what_was_asked_is_done_when_the_client_has_hung_up() {
    let server = server().await;
    for number in 0..20 {
        let mut connection = server.connect().await;
        connection.send(put(&format!("/fleet/v1/units/a{number}.service"), &body("inactive", 1))).await;
        drop(connection);
    }
    let all_there = async {
        for number in 0..20 {
            while server.world.unit(&format!("a{number}.service")).await.is_none() {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::time::timeout(LIMIT, all_there).await.unwrap();
    server.finish().await;
}

#[tokio::test]
async fn a_body_too_large_is_refused_even_if_all_of_it_is_sent() {
    let server = server().await;
    let mut sent = put("/fleet/v1/units/a.service", &"x".repeat(8 * 1024 * 1024));
    let chunked = sent.find("Content-Length").unwrap();
    for (name, sent) in [("with a length", sent.clone()), {
        sent.replace_range(chunked..sent.find("\r\n\r\n").unwrap(), "Transfer-Encoding: chunked");
        let at = sent.find("\r\n\r\n").unwrap() + 4;
        sent.insert_str(at, "800000\r\n");
        ("chunked", sent + "\r\n0\r\n\r\n")
    }] {
        let mut connection = server.connect().await;
        connection.send(sent).await;
        let reply = connection.receive().await;
        assert_eq!(reply.failure(), (413, "the body is larger than 2097152 bytes".to_owned()), "{name}");
        assert!(connection.is_closed().await, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_not_waited_for_for_ever() {
    let server = Server::start(World::new()).await;
    let began = tokio::time::Instant::now();
    let sent = put("/fleet/v1/units/a.service", &body("inactive", 1));
    let mut connection = server.connect().await;
    connection.send(&sent[..sent.len() - 40]).await;
    let reply = connection.receive().await;
    assert_eq!(reply.failure(), (408, "the body took longer than 30 s".to_owned()));
    assert!(connection.is_closed().await);
    assert!((30..40).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_cut_off() {
    let server = Server::start(World::new()).await;
    for sent in ["", "GET /fleet/v1/units HT"] {
        let began = tokio::time::Instant::now();
        let mut connection = server.connect().await;
        connection.send(sent).await;
        let limit = Duration::from_secs(100);
        let closed = tokio::time::timeout(limit, connection.stream.readable()).await;
        assert!(closed.is_ok(), "{sent:?}");
        assert!(connection.is_closed().await);
        assert!(began.elapsed() >= Duration::from_secs(85), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn requests_under_way_finish_when_the_server_ends() {
    let server = server().await;
    let mut idle = server.connect().await;
    idle.send(get("/fleet/v1/units")).await;
    idle.receive().await;
    let mut fresh = server.connect().await;
    let sent = put("/fleet/v1/units/a.service", &body("inactive", 1));
    let mut busy = server.connect().await;
    busy.send(&sent[..sent.len() - 10]).await;
    server.is_reading().await;
    let finished = tokio::spawn(server.finish());
    assert!(idle.is_closed().await);
    assert!(fresh.is_closed().await);
    busy.send(&sent[sent.len() - 10..]).await;
    assert_eq!(busy.receive().await.status, StatusCode::CREATED);
    assert!(busy.is_closed().await);
    drop((idle, fresh, busy));
    finished.await.unwrap();
}
