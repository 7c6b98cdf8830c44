//! Queries: what they choose, what is wrong with them, and that they read as they are printed.

use proptest::prelude::*;

use super::*;
use crate::documents::{Agent, AgentState};
use crate::status::Status;
use crate::version::Version;

const NOW: i64 = 1_769_862_896;

fn parse(text: &str) -> Result<AgentQuery, QueryError> {
    Query::parse(text, Timestamp::from_unix(NOW))
}

fn matches(query: &str) -> bool {
    let mut agent = Agent {
        active: true,
        policy_id: "web".into(),
        tags: vec!["canary".into(), "eu west".into()],
        enrolled_at: Timestamp::from_unix(NOW - 10 * 86_400),
        ..Agent::default()
    };
    agent.host.hostname = "Web-17.example".into();
    agent.agent.version = "9.6.0".into();
    let state = AgentState {
        last_checkin: Some(Timestamp::from_unix(NOW - 3600)),
        policy_revision_idx: 12,
        ..AgentState::default()
    };
    let about = About { id: "a1", agent: &agent, state: &state, status: Status::Online };
    parse(query).unwrap().chooses(&about)
}

#[test]
fn queries_choose() {
    for query in [
        "",
        "*",
        "*:*",
        "policy_id:web",
        "policy_id : \"web\"",
        "fleet-agents.policy_id:web and status:online",
        "fleet-agents.policy_id:(\"web\" or \"db\") and fleet-agents.active:true",
        "tags:(nothing or canary)",
        "tags:\"eu west\"",
        "tags:eu\\ west",
        "not tags:other",
        "NOT status:offline AND (policy_id:db OR local_metadata.host.hostname:web-*)",
        "local_metadata.host.hostname:*17*ample",
        "status:Online",
        "active:true",
        "tags:*",
        "last_checkin:*",
        "last_checkin >= now-1d",
        "last_checkin>now-2h and last_checkin < now",
        "enrolled_at < \"2026-01-30\"",
        "enrolled_at:2026-01-21",
        "agent.version >= 9.5 and agent.version<10",
        "agent.version:9.6.*",
        "policy_revision_idx > 2",
        "policy_revision_idx:12",
        "not upgrade_details.state:UPG_FAILED",
        "not upgrade_details:*",
        "type:PERMANENT",
    ] {
        assert!(matches(query), "{query}");
    }
    for query in [
        "policy_id:db",
        "not *",
        "policy_id:web and tags:other",
        "hostname:web",
        "tags:(a and canary)",
        "last_checkin < now-1d",
        "agent.version < 9.6.0",
        "policy_revision_idx:1",
        "policy_revision_idx <= 11",
        "upgraded_at:*",
        "unenrolled_at < now",
        "tags:\"can*\"",
    ] {
        assert!(!matches(query), "{query}");
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (query, told) in [
        ("policy_id", "character 10"),
        ("policy_id:", "character 11"),
        ("tags:a and colour:red", "agents have no field \"colour\" (at character 12)"),
        ("(tags:a", "character 8"),
        ("tags:a)", "character 7"),
        ("tags:a b", "character 8"),
        ("and", "character 1"),
        ("tags:\"a", "closing quote at character 6"),
        ("id:b:c or", "character 5"),
        ("last_checkin > yesterday", "a date such as 2026-01-31"),
        ("last_checkin:web*", "a date such as"),
        ("agent.version > x", "a version such as 9.6.0 at character 17"),
        ("policy_revision_idx:x", "a number at character 21"),
        ("hostname > web*", "a value without *"),
    ] {
        let error = parse(query).unwrap_err().to_string();
        assert!(error.contains(told), "{query}: {error}");
    }
    let deep = format!("{}*{}", "(".repeat(1000), ")".repeat(1000));
    assert_eq!(parse(&deep), Err(QueryError::TooDeep));
    assert_eq!(parse(&"a".repeat(LONGEST + 1)), Err(QueryError::TooLong));
}

/// A test that a field of this kind can be put to.
fn test_of(field: AgentField) -> BoxedStrategy<Test> {
    let comparison = prop_oneof![
        Just(Comparison::Less),
        Just(Comparison::LessOrEqual),
        Just(Comparison::Greater),
        Just(Comparison::GreaterOrEqual)
    ];
    let moment = (0..4_000_000_000_i64).prop_map(Timestamp::from_unix);
    let numbers = (0..99_u32, 0..99_u32, 0..99_u32);
    let version = numbers.prop_map(|(major, minor, patch)| Version { major, minor, patch });
    let bound = match field.kind() {
        Kind::Text | Kind::Any => "\\PC{0,8}".prop_map(Bound::Text).boxed(),
        Kind::Version => version.prop_map(Bound::Version).boxed(),
        Kind::Time => moment.clone().prop_map(Bound::Time).boxed(),
        Kind::Number => any::<i64>().prop_map(Bound::Number).boxed(),
    };
    let second = std::time::Duration::from_secs(1);
    let value = match field.kind() {
        Kind::Text | Kind::Version | Kind::Any => prop::collection::vec("\\PC{0,8}", 1..4)
            .prop_map(|parts| Pattern::new(&parts))
            .prop_map(|pattern| if pattern.is_any() { Test::Exists } else { Test::Like(pattern) })
            .boxed(),
        Kind::Time => moment.prop_map(move |from| Test::Within(from, from + second)).boxed(),
        Kind::Number => any::<i64>().prop_map(Test::Equals).boxed(),
    };
    let compared = (comparison, bound).prop_map(|(comparison, bound)| Test::Compares(comparison, bound));
    prop_oneof![Just(Test::Exists), value, compared].boxed()
}

fn node() -> impl Strategy<Value = Node<AgentField>> {
    let field = prop::sample::select(super::agent::NAMES.as_slice()).prop_map(|(_, field)| field);
    let is = field.prop_flat_map(|field| test_of(field).prop_map(move |test| Node::Is(field, test)));
    prop_oneof![1 => Just(Node::All), 9 => is].prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|node| Node::Not(Box::new(node))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Node::And),
            prop::collection::vec(inner, 2..4).prop_map(Node::Or),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_a_query_or_an_error(text in "[a-z_:()<>=\\\\\"* ]{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn what_is_printed_reads_as_the_same(node in node()) {
        let query = Query(node);
        let printed = query.to_string();
        prop_assert_eq!(parse(&printed), Ok(query), "{}", printed);
    }
}
