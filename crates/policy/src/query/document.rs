//! Choosing documents of any kind by their fields.

use std::collections::BTreeSet;

use serde_json::Value;

use super::parse::QueryError;
use super::test::Test;
use super::{Field, Kind, Query};
use crate::timestamp::Timestamp;

/// The kinds of objects that scripts write in front of a field, as the original stores them.
const KINDS: [&str; 8] = [
    "ingest-agent-policies",
    "fleet-agent-policies",
    "ingest-package-policies",
    "fleet-package-policies",
    "ingest-outputs",
    "fleet-fleet-server-host",
    "fleet-enrollment-api-keys",
    "epm-packages",
];

/// The names on the way to a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path(Vec<String>);

impl Field for Path {
    const THINGS: &'static str = "documents";

    fn named(name: &str) -> Option<Path> {
        let mut names: Vec<String> = name.split('.').map(str::to_owned).collect();
        if names.first().is_some_and(|first| KINDS.contains(&first.as_str())) {
            names.remove(0);
        }
        // Where the original keeps its own fields.
        if names.first().is_some_and(|first| first == "attributes") {
            names.remove(0);
        }
        (!names.is_empty() && !names.iter().any(String::is_empty)).then_some(Path(names))
    }

    fn known() -> String {
        "names with dots between them".to_owned()
    }

    fn name(&self) -> String {
        self.0.join(".")
    }

    fn kind(&self) -> Kind {
        Kind::Any
    }
}

/// A query about documents.
#[derive(Clone, Debug, PartialEq)]
pub struct DocumentQuery(Query<Path>);

impl DocumentQuery {
    /// Reads a query, of which `now` is that moment. An empty one is about everything.
    ///
    /// # Errors
    /// It is not one.
    pub fn parse(text: &str, now: Timestamp) -> Result<DocumentQuery, QueryError> {
        Query::parse(text, now).map(DocumentQuery)
    }

    /// The fields at the top of documents that it asks about.
    #[must_use]
    pub fn fields(&self) -> BTreeSet<&str> {
        let mut fields = BTreeSet::new();
        self.0.for_each_field(|path| fields.extend(path.0.first().map(String::as_str)));
        fields
    }

    /// Whether it is about this document. What has no such field is not what was asked for.
    #[must_use]
    pub fn matches(&self, document: &Value) -> bool {
        self.0.matches(|path, test| found(document, &path.0, test))
    }
}

fn found(value: &Value, path: &[String], test: &Test) -> bool {
    match (value, path) {
        (Value::Array(items), _) => items.iter().any(|item| found(item, path, test)),
        (Value::Object(members), [first, rest @ ..]) => {
            members.get(first).is_some_and(|member| found(member, rest, test))
        }
        (Value::Object(_), []) => *test == Test::Exists,
        (Value::String(text), []) => test.text(text),
        (Value::Bool(_), []) => test.text(&value.to_string()),
        (Value::Number(number), []) => match number.as_f64() {
            Some(number) => test.any_number(number, &value.to_string()),
            None => test.text(&value.to_string()),
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_found_at_their_paths() {
        let now = Timestamp::from_unix(1_769_862_896);
        let document = json!({
            "name": "Web servers", "policy_ids": ["a", "b"], "package": {"name": "nginx"}, "enabled": true,
            "revision": 10, "updated_at": "2026-01-05T00:00:00Z",
        });
        for query in [
            "",
            "name:\"web servers\"",
            "ingest-package-policies.package.name:nginx",
            "policy_ids:b and enabled:true",
            "policy_ids:(x or a)",
            "fleet-package-policies.attributes.package.name:ngi*",
            "not missing:*",
            "package:*",
            "revision > 9 and revision <= 10",
            "updated_at >= 2026-01-01 and updated_at < now",
            "revision:10",
        ] {
            assert!(DocumentQuery::parse(query, now).unwrap().matches(&document), "{query}");
        }
        for query in ["policy_ids:c", "package:nginx", "package.name.deeper:*", "revision < 9"] {
            assert!(!DocumentQuery::parse(query, now).unwrap().matches(&document), "{query}");
        }
        assert!(DocumentQuery::parse("a..b:c", now).is_err());
        let query = DocumentQuery::parse("a.b:1 and not (fleet-package-policies.c:* or a:2)", now).unwrap();
        assert_eq!(query.fields().into_iter().collect::<Vec<_>>(), ["a", "c"]);
    }
}
