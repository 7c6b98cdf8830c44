//! Whatever is asked, the answer is well-formed.

use std::sync::LazyLock;

use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::answer::Reply;
use crate::world::{World, body};

/// All cases ask one world: what one has left behind meets the next.
static WORLD: LazyLock<(Runtime, World)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(async {
        let world = World::with_machines().await;
        world.put("a.service", body("launched", 1)).await;
        world.place("a.service", Some(1)).await;
        world
    });
    (runtime, world)
});

const METHODS: &[&str] = &["GET", "PUT", "DELETE", "PATCH", "POST", "HEAD", "OPTIONS"];

const SEGMENTS: &[&str] = &[
    "fleet",
    "v1",
    "v1-alpha",
    "units",
    "state",
    "machines",
    "discovery",
    "explain",
    "restart",
    "a.service",
    "b%401.service",
    "t%40.service",
    "",
    ".",
    "..",
    "%2F",
    "%2e%2e",
    "%00",
    "%ff",
    "%",
    "%zz",
    "@",
    "*",
];

const PARAMETERS: &[&str] = &["nextPageToken", "machineID", "unitName", "alt", ""];

const WORDS: &[&str] = &[
    "inactive",
    "launched",
    "X-Fleet",
    "Global",
    "MachineOf",
    "Conflicts",
    "true",
    "add",
    "*",
    "[",
    "a.service",
];

const KEYS: &[&str] = &["name", "section", "value", "options", "desiredState", "op", "path", "units"];

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![
        8 => prop::sample::select(METHODS).prop_map(|name| name.parse().unwrap()),
        1 => "[A-Z]{1,12}".prop_map(|name| name.parse().unwrap()),
    ]
}

/// Segments that mean something, and some that do not.
fn segment() -> impl Strategy<Value = String> {
    prop_oneof![6 => prop::sample::select(SEGMENTS).prop_map(str::to_owned), 1 => "[!-~&&[^?#]]{0,20}"]
}

fn path() -> impl Strategy<Value = String> {
    let segments = |prefix: &'static str, count| {
        prop::collection::vec(segment(), count)
            .prop_map(move |segments| format!("{prefix}/{}", segments.join("/")))
    };
    prop_oneof![segments("/fleet/v1", 0..4), segments("/v1-alpha", 0..3), segments("", 0..6)]
}

fn query() -> impl Strategy<Value = String> {
    let pair = (
        prop::sample::select(PARAMETERS),
        prop_oneof!["[A-Za-z0-9_=%+-]{0,12}", Just("ZAACAA==".to_owned())],
    );
    prop::collection::vec(pair.prop_map(|(key, value)| format!("{key}={value}")), 0..4)
        .prop_map(|pairs| pairs.join("&"))
}

fn headers() -> impl Strategy<Value = Vec<(HeaderName, HeaderValue)>> {
    let json = (Just(header::CONTENT_TYPE), Just(HeaderValue::from_static("application/json")));
    let any = (
        prop_oneof![
            Just(header::CONTENT_TYPE),
            Just(header::EXPECT),
            Just(header::HOST),
            Just(header::RANGE)
        ],
        prop::collection::vec(32u8..=255, 0..20)
            .prop_filter_map("no header", |bytes| HeaderValue::from_bytes(&bytes).ok()),
    );
    prop_oneof![4 => json.prop_map(|one| vec![one]), 1 => prop::collection::vec(any, 0..3)]
}

/// JSON of the shapes that are expected, and of others.
fn sent() -> impl Strategy<Value = Vec<u8>> {
    let text = || prop_oneof![3 => prop::sample::select(WORDS).prop_map(str::to_owned), 1 => any::<String>()];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        text().prop_map(Into::into),
    ];
    let json = leaf.prop_recursive(4, 32, 6, move |inner| {
        let key = prop::sample::select(KEYS).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec((key, inner), 0..6)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    });
    let unit = (text(), prop::collection::vec((text(), text(), text()), 0..5)).prop_map(|(state, options)| {
        let option = |(section, name, value)| serde_json::json!({"section": section, "name": name, "value": value});
        let options: Vec<_> = options.into_iter().map(option).collect();
        serde_json::json!({"desiredState": state, "options": options})
    });
    let operation = (text(), any::<String>(), text()).prop_map(|(op, machine, value)| {
        serde_json::json!([{"op": op, "path": format!("/{machine}/metadata/k"), "value": value}])
    });
    prop_oneof![
        3 => json.prop_map(|json| json.to_string().into_bytes()),
        3 => unit.prop_map(|json| json.to_string().into_bytes()),
        1 => operation.prop_map(|json| json.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..64),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_has_a_well_formed_answer(
        method in method(), path in path(), query in query(), headers in headers(), sent in sent(),
    ) {
        let asked = if query.is_empty() { path } else { format!("{path}?{query}") };
        // What is no URI does not come through the HTTP server.
        let Ok(uri) = asked.parse::<Uri>() else { return Ok(()) };
        let mut request = Request::builder().method(method.clone()).uri(uri).body(sent).unwrap();
        for (name, value) in headers {
            request.headers_mut().append(name, value);
        }
        let (runtime, world) = &*WORLD;
        let reply = runtime.block_on(world.ask(request));
        check(&reply).map_err(|found| TestCaseError::fail(format!("{method} {asked}: {found}: {reply:?}")))?;
        // Whatever it was, the next one is served.
        let list = runtime.block_on(world.get("/units"));
        prop_assert_eq!(list.status, StatusCode::OK);
    }
}

fn check(reply: &Reply) -> Result<(), String> {
    let content_type = reply.header(header::CONTENT_TYPE);
    match reply.status.as_u16() {
        200 => {
            let object = serde_json::from_slice::<serde_json::Map<_, _>>(&reply.body);
            object.map_err(|error| error.to_string())?;
            expect(content_type == "application/json", "type of an object")
        }
        201 | 204 => expect(reply.body.is_empty(), "a body"),
        301 => expect(reply.header(header::LOCATION).starts_with('/'), "no location"),
        status @ (400 | 404 | 405 | 409 | 415) => {
            let body: serde_json::Value =
                serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
            expect(content_type == "application/json", "type of a failure")?;
            expect(body["error"]["code"] == status, "code")?;
            expect(body["error"]["message"].is_string(), "message")
        }
        _ => Err("status".to_owned()),
    }
}

fn expect(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}
