//! Machines and their metadata.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{World, machine};

impl World {
    /// The metadata of a machine, as listed.
    async fn metadata(&self, number: u8) -> Value {
        let page = self.get("/machines").await.json();
        let mut machines = page["machines"].as_array().unwrap().iter();
        machines.find(|there| there["id"] == machine(number).0).unwrap()["metadata"].clone()
    }
}

/// An operation on machine 1.
fn operation(op: &str, key: &str, value: impl Into<Value>) -> Value {
    json!({"op": op, "path": format!("/{}/metadata/{key}", machine(1)), "value": value.into()})
}

#[tokio::test]
async fn metadata_is_added_replaced_and_removed() {
    let world = World::with_machines().await;
    let nested = |value: &str| json!({"value": value});
    for (operations, expected) in [
        (
            json!([operation("add", "foo", nested("bar"))]),
            json!({"az": "z1", "foo": "bar", "hostname": "m1"}),
        ),
        (
            json!([operation("replace", "az", json!("z9"))]),
            json!({"az": "z9", "foo": "bar", "hostname": "m1"}),
        ),
        (json!([operation("remove", "az", Value::Null)]), json!({"foo": "bar", "hostname": "m1"})),
        (json!([]), json!({"foo": "bar", "hostname": "m1"})),
        // In their order.
        (
            json!([
                operation("remove", "foo", Value::Null),
                operation("add", "foo", nested("1")),
                operation("add", "foo", nested("2"))
            ]),
            json!({"foo": "2", "hostname": "m1"}),
        ),
        (
            json!([operation("add", "x", nested("1")), operation("remove", "x", nested("ignored"))]),
            json!({"foo": "2", "hostname": "m1"}),
        ),
    ] {
        let reply = world.patch(&operations).await;
        assert_eq!((reply.status, reply.text()), (StatusCode::NO_CONTENT, ""), "{operations}");
        assert_eq!(world.metadata(1).await, expected, "{operations}");
    }
    assert_eq!(world.metadata(2).await, json!({"az": "z0", "hostname": "m2"}), "another machine");
}

#[tokio::test]
async fn all_operations_are_checked_before_the_first_is_done() {
    let world = World::with_machines().await;
    let good = operation("add", "foo", json!("bar"));
    let path = "machine metadata path invalid";
    let with_path = |path: &str| json!({"op": "add", "path": path, "value": "x"});
    for (bad, text) in [
        (operation("noop", "foo", json!("x")), "invalid op: expect add, remove, or replace"),
        (operation("ADD", "foo", json!("x")), "invalid op: expect add, remove, or replace"),
        (json!({}), "invalid op: expect add, remove, or replace"),
        (json!([]), "invalid op: expect add, remove, or replace"),
        (operation("add", "a/b", json!("x")), path),
        (operation("add", "", json!("x")), path),
        (operation("add", "a b", json!("x")), path),
        (operation("add", "\u{e4}", json!("x")), path),
        (with_path(""), path),
        (with_path("/m/foo"), path),
        (with_path("//metadata/foo"), path),
        (with_path("m/metadata/foo"), path),
        (with_path(&format!("/{}/metadata/foo", "m".repeat(600))), path),
        (with_path("/m\u{0}/metadata/foo"), path),
        (operation("add", "foo", json!("")), "invalid value: add and replace require a value"),
        (operation("replace", "foo", json!({"value": ""})), "invalid value: add and replace require a value"),
        (operation("add", "foo", json!({})), "invalid value: add and replace require a value"),
        (operation("add", "foo", Value::Null), "invalid value: add and replace require a value"),
    ] {
        for operations in [json!([good, bad]), json!([bad, good])] {
            assert_eq!(world.patch(&operations).await.failure(), (400, text.to_owned()), "{operations}");
        }
    }
    for body in ["", "null", "{}", "[", "[1]", "[null]", "\"x\"", "[{\"op\":1}]", "[{\"value\":[]}]"] {
        let (status, message) = world.patch(body).await.failure();
        assert_eq!(status, 400, "{body}");
        assert!(message.starts_with("the body must be a list of operations: "), "{body}: {message}");
    }
    assert_eq!(world.metadata(1).await, json!({"az": "z1", "hostname": "m1"}));
}

#[tokio::test]
async fn a_machine_that_is_not_there_keeps_its_metadata_until_it_comes() {
    let world = World::new();
    assert_eq!(
        world.patch(json!([operation("add", "foo", json!("bar"))])).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(world.get("/machines").await.text(), "{}");
    world.add_machine(1, &[]).await;
    assert_eq!(world.metadata(1).await, json!({"foo": "bar"}));
}

#[tokio::test]
async fn machines_are_listed_by_id() {
    let world = World::new();
    for number in [3, 1, 2] {
        world.add_machine(number, &[]).await;
    }
    let (ids, _) = world.pages("machines").await;
    assert_eq!(ids, [1, 2, 3].map(|number| machine(number).0));
    let bare = world.get("/machines").await.json();
    assert_eq!(bare["machines"][0], json!({"id": machine(1).0, "primaryIP": "127.0.0.1"}));
    assert_eq!(world.call(Method::PATCH, "/fleet/v1/units").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn concurrent_changes_of_one_machine_are_all_kept() {
    let world = World::with_machines().await;
    let changes = (0..60).map(|number| {
        let change = json!([operation("add", &format!("k{number}"), json!("v"))]);
        async { assert_eq!(world.patch(change).await.status, StatusCode::NO_CONTENT) }
    });
    futures_util::future::join_all(changes).await;
    assert_eq!(world.metadata(1).await.as_object().unwrap().len(), 62);
}
