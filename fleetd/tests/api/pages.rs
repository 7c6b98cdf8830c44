//! Lists in pages.

use std::collections::BTreeSet;
use std::time::Duration;

use fleet_protocol::fleet_v1::PageToken;
use http::Method;
use serde_json::Value;

use crate::client::{Server, request};
use crate::world::{PAGE, World, body};

impl World {
    /// One page of a list: the names in it, and the token of the next one.
    pub(crate) async fn page(&self, list: &str, token: &str) -> (Vec<String>, Option<String>) {
        let query = if token.is_empty() { String::new() } else { format!("?nextPageToken={token}") };
        let page = self.get(&format!("/{list}{query}")).await.json();
        let key = if list == "state" { "states" } else { list };
        let name = if list == "machines" { "id" } else { "name" };
        let entries = page.get(key).and_then(Value::as_array).into_iter().flatten();
        let names = entries.map(|entry| entry[name].as_str().unwrap().to_owned()).collect();
        (names, page.get("nextPageToken").map(|token| token.as_str().unwrap().to_owned()))
    }

    /// All entries of a list, and how many pages they come in.
    pub(crate) async fn pages(&self, list: &str) -> (Vec<String>, usize) {
        let (mut names, mut next) = self.page(list, "").await;
        let mut pages = 1;
        while let Some(token) = next {
            let (more, after) = self.page(list, &token).await;
            names.extend(more);
            next = after;
            pages += 1;
        }
        (names, pages)
    }

    /// Makes units `u0000.service` and so on.
    async fn add_units(&self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            self.put(&unit(number), body("inactive", 1)).await;
        }
    }
}

fn unit(number: usize) -> String {
    format!("u{number:04}.service")
}

#[tokio::test]
async fn lists_of_every_length_come_whole() {
    let world = World::new();
    let mut there = 0;
    for (count, pages) in [(0, 1), (1, 1), (99, 1), (100, 2), (101, 2), (200, 3), (201, 3)] {
        world.add_units(there..count).await;
        there = count;
        let expected: Vec<_> = (0..count).map(unit).collect();
        assert_eq!(world.pages("units").await, (expected, pages), "{count} units");
    }
    let (first, next) = world.page("units", "").await;
    assert_eq!((first.len(), next.as_deref()), (100, Some("ZAACAA==")));
    assert_eq!(world.page("units", "ZAABAA==").await.0, first, "the first page can be named");
}

#[tokio::test]
async fn states_and_machines_come_in_pages_too() {
    let world = World::new();
    for number in 0..150 {
        world.add_machine(number, &[]).await;
    }
    world.put("a.service", body("launched", 1)).await;
    for number in 0..150 {
        world.report("a.service", number, fleet_cluster::documents::TargetState::Launched).await;
    }
    assert_eq!(world.pages("machines").await.0.len(), 150);
    assert_eq!(world.pages("state").await, (vec!["a.service".to_owned(); 150], 2));
    let filtered = world.get("/state?unitName=a.service&nextPageToken=ZAACAA==").await.json();
    assert_eq!(filtered["states"].as_array().unwrap().len(), 50);
}

#[tokio::test]
async fn a_token_is_checked() {
    let world = World::new();
    let of = |limit, page| PageToken { limit, page }.encode();
    for (query, text) in [
        ("nextPageToken=".to_owned(), "EOF"),
        ("nextPageToken".to_owned(), "EOF"),
        ("nextPageToken=zzz".to_owned(), "illegal base64 data at input byte 0"),
        ("nextPageToken=ZAAC".to_owned(), "unexpected EOF"),
        (format!("nextPageToken={}", of(0, 1)), "token limit must be 100"),
        (format!("nextPageToken={}", of(u16::MAX, 1)), "token limit must be 100"),
        (format!("nextPageToken={}", of(PAGE, 0)), "token page must be greater than zero"),
        ("nextPageToken=ZAACAA==&nextPageToken=ZAACAA==".to_owned(), "too many values for page token"),
        ("nextPageToken=%00".to_owned(), "illegal base64 data at input byte 0"),
        ("nextPageToken=ZAAC+A==".to_owned(), "illegal base64 data at input byte 4"),
    ] {
        for list in ["units", "state", "machines"] {
            let reply = world.get(&format!("/{list}?{query}")).await;
            assert_eq!(reply.failure(), (400, text.to_owned()), "{list} {query}");
        }
    }
    for query in [
        format!("nextPageToken={}", of(PAGE, u16::MAX)),
        "nextPageToken=ZAACAA%3D%3D&alt=json".to_owned(),
        // Go drops what is not well encoded.
        "nextPageToken=%zz".to_owned(),
        "nextpagetoken=zzz&=&&&x".to_owned(),
    ] {
        for list in ["units", "state", "machines"] {
            assert_eq!(world.get(&format!("/{list}?{query}")).await.text(), "{}", "{list} {query}");
        }
    }
}

#[tokio::test]
async fn pages_fit_together_while_units_come_and_go() {
    let world = World::new();
    world.add_units(0..250).await;
    let (mut names, mut next) = world.page("units", "").await;
    // Without one reading for all pages, each of these would move the border of the next page.
    for number in (0..50).chain([150, 151]) {
        world.delete(&unit(number)).await;
        world.put(&format!("t{number:04}.service"), body("inactive", 1)).await;
    }
    while let Some(token) = next {
        let (more, after) = world.page("units", &token).await;
        names.extend(more);
        next = after;
    }
    assert_eq!(names, (0..250).map(unit).collect::<Vec<_>>(), "as it was when the first page was read");
    let (now, _) = world.pages("units").await;
    assert_eq!(now.len(), 250);
    assert!(now.contains(&"t0000.service".to_owned()) && !now.contains(&unit(150)));
}

#[tokio::test]
async fn who_pages_over_one_connection_is_not_disturbed_by_others() {
    let server = Server::start(World::new()).await;
    server.world.add_units(0..150).await;
    let ask = |query: &str| request(&Method::GET, &format!("/fleet/v1/units{query}"), "", "");
    let mut connection = server.connect().await;
    connection.send(ask("")).await;
    assert_eq!(connection.receive().await.json()["nextPageToken"], "ZAACAA==");
    server.world.delete(&unit(0)).await;
    // Somebody else lists, and sees that.
    let other = server.ask(ask("")).await.json();
    assert_eq!(other["units"][0]["name"], unit(1));
    connection.send(ask("?nextPageToken=ZAACAA==")).await;
    let rest = connection.receive().await.json();
    assert_eq!(rest["units"][0]["name"], unit(100), "not one too far");
    assert_eq!(rest["units"].as_array().unwrap().len(), 50);
}

#[tokio::test]
async fn a_first_page_shows_what_was_acknowledged_before() {
    let world = World::new();
    for number in 0..50 {
        world.put(&unit(number), body("inactive", 1)).await;
        assert!(world.page("units", "").await.0.contains(&unit(number)));
        world.put(&unit(number), serde_json::json!({"desiredState": "loaded"})).await;
        let list = world.get("/units").await.json();
        assert_eq!(list["units"][number]["desiredState"], "loaded");
    }
}

#[tokio::test]
async fn a_page_of_a_forgotten_reading_is_read_anew() {
    let world = World::new();
    world.add_units(0..150).await;
    let (_, next) = world.page("units", "").await;
    world.delete(&unit(0)).await;
    world.delete(&unit(149)).await;
    // Time may only jump while the store's thread has nothing to do.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    let (rest, _) = world.page("units", &next.unwrap()).await;
    let rest: BTreeSet<_> = rest.into_iter().collect();
    assert_eq!(rest, (101..149).map(unit).collect());
}
