//! Choosing agents by what is known of them, in the query language that Fleet's users know (KQL): `policy_id:web
//! and not tags:(canary or test)`, `local_metadata.host.hostname:web-*`, `*`.

mod document;
mod parse;

use crate::agents::Snapshot;
use crate::status::Status;
pub use document::DocumentQuery;
pub use parse::QueryError;

/// The deepest nesting of a query.
const DEEPEST: usize = 50;

/// A query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query(Node<Field>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node<F> {
    All,
    Is(F, Pattern),
    Not(Box<Node<F>>),
    And(Vec<Node<F>>),
    Or(Vec<Node<F>>),
}

/// What a query can ask about.
trait Named: Clone {
    /// The field of that name; `None`: there is none.
    fn named(name: &str) -> Option<Self>;
}

/// What a query about agents can ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Id,
    PolicyId,
    Tags,
    Status,
    Version,
    Hostname,
    Platform,
    Active,
    PolicyRevision,
    Upgradeable,
    EnrollmentKey,
}

/// The names of fields, as they are in the documented index. A leading `fleet-agents.` is left out.
const FIELDS: [(&str, Field); 18] = [
    ("id", Field::Id),
    ("_id", Field::Id),
    ("agent.id", Field::Id),
    ("local_metadata.elastic.agent.id", Field::Id),
    ("policy_id", Field::PolicyId),
    ("tags", Field::Tags),
    ("status", Field::Status),
    ("agent.version", Field::Version),
    ("version", Field::Version),
    ("local_metadata.elastic.agent.version", Field::Version),
    ("local_metadata.host.hostname", Field::Hostname),
    ("local_metadata.host.name", Field::Hostname),
    ("hostname", Field::Hostname),
    ("local_metadata.os.platform", Field::Platform),
    ("active", Field::Active),
    ("policy_revision_idx", Field::PolicyRevision),
    ("local_metadata.elastic.agent.upgradeable", Field::Upgradeable),
    ("enrollment_key_id", Field::EnrollmentKey),
];

/// A value, with `*` for any text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern(Vec<String>);

impl Pattern {
    fn new(text: &str) -> Pattern {
        Pattern(text.split('*').map(str::to_lowercase).collect())
    }

    fn matches(&self, value: &str) -> bool {
        let value = value.to_lowercase();
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else { return false };
        if self.0.len() == 1 {
            return value == *first;
        }
        let Some(rest) = value.strip_prefix(first.as_str()) else { return false };
        let Some(mut rest) = rest.strip_suffix(last.as_str()) else { return false };
        for part in &self.0[1..self.0.len() - 1] {
            let Some(at) = rest.find(part.as_str()) else { return false };
            rest = &rest[at + part.len()..];
        }
        true
    }
}

impl Query {
    /// About all agents.
    #[must_use]
    pub fn all() -> Query {
        Query(Node::All)
    }

    /// Reads a query. An empty one is about all agents.
    ///
    /// # Errors
    /// It is not one, or asks about what is not known of agents.
    pub fn parse(text: &str) -> Result<Query, QueryError> {
        parse::parse(text).map(Query)
    }

    /// Whether it is about this agent, whose status is given.
    #[must_use]
    pub fn matches(&self, agent: &Snapshot, status: Status) -> bool {
        self.0.holds(&|field: &Field, pattern| field.matches(pattern, agent, status))
    }
}

impl<F> Node<F> {
    /// Whether it holds, if `is` says so of single fields.
    fn holds(&self, is: &impl Fn(&F, &Pattern) -> bool) -> bool {
        match self {
            Node::All => true,
            Node::Is(field, pattern) => is(field, pattern),
            Node::Not(node) => !node.holds(is),
            Node::And(nodes) => nodes.iter().all(|node| node.holds(is)),
            Node::Or(nodes) => nodes.iter().any(|node| node.holds(is)),
        }
    }
}

impl Named for Field {
    fn named(name: &str) -> Option<Field> {
        let short = name.strip_prefix("fleet-agents.").unwrap_or(name);
        FIELDS.iter().find(|(known, _)| *known == short).map(|(_, field)| *field)
    }
}

impl Field {
    fn matches(self, pattern: &Pattern, agent: &Snapshot, status: Status) -> bool {
        let bool = |value: bool| pattern.matches(if value { "true" } else { "false" });
        match self {
            Field::Id => pattern.matches(&agent.id),
            Field::PolicyId => pattern.matches(&agent.agent.policy_id),
            Field::Tags => agent.agent.tags.iter().any(|tag| pattern.matches(tag)),
            Field::Status => pattern.matches(status.as_str()),
            Field::Version => pattern.matches(&agent.agent.agent.version),
            Field::Hostname => pattern.matches(&agent.agent.host.hostname),
            Field::Platform => pattern.matches(&agent.agent.host.platform),
            Field::Active => bool(agent.agent.active),
            Field::Upgradeable => bool(agent.agent.agent.upgradeable),
            Field::PolicyRevision => pattern.matches(&agent.state.policy_revision_idx.to_string()),
            Field::EnrollmentKey => {
                agent.agent.enrollment_key_id.as_ref().is_some_and(|id| pattern.matches(id))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fleet_store::Revision;
    use proptest::prelude::*;

    use super::*;
    use crate::documents::Agent;

    fn agent() -> Snapshot {
        let mut agent = Agent {
            active: true,
            policy_id: "web".into(),
            tags: vec!["canary".into(), "eu west".into()],
            ..Agent::default()
        };
        agent.host.hostname = "web-17.example".into();
        Snapshot {
            id: "a1".into(),
            agent: Arc::new(agent),
            agent_revision: Revision(1),
            state: Arc::default(),
            state_revision: Revision::ZERO,
        }
    }

    fn matches(query: &str) -> bool {
        Query::parse(query).unwrap().matches(&agent(), Status::Online)
    }

    #[test]
    fn queries_choose() {
        for query in [
            "",
            "*",
            "policy_id:web",
            "policy_id : \"web\"",
            "fleet-agents.policy_id:web and status:online",
            "tags:(nothing or canary)",
            "tags:\"eu west\"",
            "not tags:other",
            "NOT status:offline AND (policy_id:db OR local_metadata.host.hostname:web-*)",
            "local_metadata.host.hostname:*17*ample",
            "status:Online",
            "active:true",
            "tags:*",
        ] {
            assert!(matches(query), "{query}");
        }
        for query in
            ["policy_id:db", "not *", "policy_id:web and tags:other", "hostname:web", "tags:(a and canary)"]
        {
            assert!(!matches(query), "{query}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for query in [
            "policy_id",
            "policy_id:",
            "colour:red",
            "(tags:a",
            "tags:a)",
            "tags:a b",
            "and",
            "tags:\"a",
            "a:b:c or",
        ] {
            assert!(Query::parse(query).is_err(), "{query}");
        }
        let deep = format!("{}*{}", "(".repeat(1000), ")".repeat(1000));
        assert!(Query::parse(&deep).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_query_or_an_error(text in "[a-z:()\"* ]{0,60}") {
            let _ = Query::parse(&text);
        }
    }
}
