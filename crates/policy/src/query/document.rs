//! Choosing documents of any kind by their fields.

use serde_json::Value;

use super::parse::{self, QueryError};
use super::{Named, Node, Pattern};

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
struct Path(Vec<String>);

impl Named for Path {
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
}

/// A query about documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentQuery(Node<Path>);

impl DocumentQuery {
    /// Reads a query. An empty one is about everything.
    ///
    /// # Errors
    /// It is not one.
    pub fn parse(text: &str) -> Result<DocumentQuery, QueryError> {
        parse::parse(text).map(DocumentQuery)
    }

    /// Whether it is about this document. What has no such field is not what was asked for.
    #[must_use]
    pub fn matches(&self, document: &Value) -> bool {
        self.0.holds(&|path: &Path, pattern| found(document, &path.0, pattern))
    }
}

fn found(value: &Value, path: &[String], pattern: &Pattern) -> bool {
    match (value, path) {
        (Value::Array(items), _) => items.iter().any(|item| found(item, path, pattern)),
        (Value::Object(members), [first, rest @ ..]) => {
            members.get(first).is_some_and(|member| found(member, rest, pattern))
        }
        (Value::String(text), []) => pattern.matches(text),
        (Value::Bool(_) | Value::Number(_), []) => pattern.matches(&value.to_string()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_found_at_their_paths() {
        let document = json!({
            "name": "Web servers", "policy_ids": ["a", "b"], "package": {"name": "nginx"}, "enabled": true,
        });
        for query in [
            "",
            "name:\"web servers\"",
            "ingest-package-policies.package.name:nginx",
            "policy_ids:b and enabled:true",
            "policy_ids:(x or a)",
            "fleet-package-policies.attributes.package.name:ngi*",
            "not missing:*",
        ] {
            assert!(DocumentQuery::parse(query).unwrap().matches(&document), "{query}");
        }
        for query in ["policy_ids:c", "package:nginx", "package.name.deeper:*"] {
            assert!(!DocumentQuery::parse(query).unwrap().matches(&document), "{query}");
        }
        assert!(DocumentQuery::parse("a..b:c").is_err());
    }
}
