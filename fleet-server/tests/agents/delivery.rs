//! Files that agents fetch.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use crate::agent::{Agent, Way, raw, with};
use crate::files::{CHUNK, content, sha256};
use crate::manager::Manager;
use crate::refusals::{WRONG, case, check, without};
use crate::server::Server;
use crate::stores::Store;

async fn put(manager: &Manager, agent: &Agent, content: &Bytes) -> String {
    let path = format!(
        "/api/fleet/agents/files?name=tool.bin&mime_type=application/x-tool&target_agents={}",
        agent.id
    );
    let answer = manager.fetch("POST", &path, content.clone()).await;
    assert_eq!(answer.status(), StatusCode::OK, "{:?}", answer.body());
    let item: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(item["item"]["status"], "READY");
    item["item"]["id"].as_str().unwrap().to_owned()
}

fn get(id: &str, agent: &Agent) -> Request<Full<Bytes>> {
    raw("GET", &format!("/api/fleet/file/{id}"), &agent.key, Bytes::new())
}

fn header<'a>(answer: &'a Response<Bytes>, name: &str) -> &'a str {
    answer.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

#[tokio::test]
async fn an_agent_fetches_a_file_that_is_for_it_in_ranges() {
    let content = content(CHUNK + 700_000);
    let size = content.len();
    for store in Store::both() {
        let server = store.start_server();
        let (way, manager) = (Way::to(&server), Manager::of(&server));
        let (_, key) = manager.make_policy("web").await;
        let agent = Agent::enrol(&way, &key, "web-1").await;
        let id = put(&manager, &agent, &content).await;
        let whole = way.fetch(get(&id, &agent)).await;
        assert_eq!((whole.status(), header(&whole, "content-type")), (StatusCode::OK, "application/x-tool"));
        assert_eq!(header(&whole, "x-file-sha2"), sha256(&content));
        assert!(whole.body() == &content);
        for (asked, expected) in [
            ("bytes=0-0".to_owned(), 0..1),
            (format!("bytes={}-{}", CHUNK - 1, CHUNK), CHUNK - 1..CHUNK + 1),
            (format!("bytes={}-", 524_287), 524_287..size),
            ("bytes=-5".to_owned(), size - 5..size),
        ] {
            let part = way.fetch(with(get(&id, &agent), "range", &asked)).await;
            assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT, "{asked}");
            let told = format!("bytes {}-{}/{size}", expected.start, expected.end - 1);
            assert_eq!(header(&part, "content-range"), told);
            assert_eq!(header(&part, "content-length"), expected.len().to_string());
            assert!(part.body() == &content[expected], "{asked}");
        }
    }
}

#[tokio::test]
async fn what_is_not_for_an_agent_it_does_not_get() {
    let server = Server::start(&[]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (_, key) = manager.make_policy("web").await;
    let one = Agent::enrol(&way, &key, "one").await;
    let other = Agent::enrol(&way, &key, "other").await;
    let id = put(&manager, &one, &content(1000)).await;
    let ranged = |range: &str| with(get(&id, &one), "range", range);
    let library = format!("{id}?source=lib&x=");
    let origin = with(get(&library, &one), "x-elastic-product-origin", "endpoint-security");
    let nobody = Agent { key: WRONG.to_owned(), ..one.clone() };
    check(
        &way,
        vec![
            case("no key", without(get(&id, &one), "authorization"), 401, "ErrNoAuthHeader"),
            case("wrong key", get(&id, &nobody), 401, "ErrUnauthorized"),
            case("another agent", get(&id, &other), 404, "NotFound"),
            case("unknown file", get("nothing", &one), 404, "NotFound"),
            case("no file", get("a%20b", &one), 404, "NotFound"),
            case("library", get(&library, &one), 403, "ErrClientFileForbidden"),
            case("no such library", origin, 404, "NotFound"),
            case("two ranges", ranged("bytes=0-1,3-4"), 416, "RangeNotSatisfiable"),
            case("past the end", ranged("bytes=1000-"), 416, "RangeNotSatisfiable"),
            case(
                "wrong method",
                raw("POST", &format!("/api/fleet/file/{id}"), &one.key, ""),
                405,
                "MethodNotAllowed",
            ),
        ],
    )
    .await;
    let past = way.fetch(ranged("bytes=1000-")).await;
    assert_eq!(header(&past, "content-range"), "bytes */1000");
    let path = format!("/api/fleet/agents/files/{id}");
    assert_eq!(manager.ask("DELETE", &path, None).await.0, StatusCode::OK);
    check(&way, vec![case("removed", get(&id, &one), 404, "NotFound")]).await;
    for path in ["files?name=x", "files?name=x&target_agents=,", "files?name=&target_agents=a"] {
        let (status, body) =
            manager.ask("POST", &format!("/api/fleet/agents/{path}"), Some(&Value::Null)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {body}");
    }
}

#[tokio::test]
async fn http_2_carries_files_too() {
    let content = content(CHUNK + 5);
    let server = Server::start(&[]);
    let (way, manager) = (Way::to(&server), Manager::of(&server));
    let (_, key) = manager.make_policy("web").await;
    let agent = Agent::enrol(&way, &key, "web-1").await;
    let id = put(&manager, &agent, &content).await;
    let request = Request::get(format!("https://localhost/api/fleet/file/{id}"))
        .header("authorization", format!("ApiKey {}", agent.key))
        .body(Full::<Bytes>::default())
        .unwrap();
    let answer = way.connect_2().await.send_request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.into_body().collect().await.unwrap().to_bytes() == content);
}
