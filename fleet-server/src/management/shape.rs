//! What a body may be made of: what is misspelt must not be lost.
//!
//! Each operation describes its body for people (`openapi`); the same description says which fields there are.
//! Whoever sends another one is told so, with the field that they may have meant. Types and bounds are looked at
//! by whoever reads the body.

use std::collections::BTreeSet;
use std::fmt::Display;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::error::ApiError;
use super::routes::SchemaOf;

/// Bodies are nested so deep at most. A document in a store may be at most 100 deep, and what is sent is put into
/// others there: a policy into its revision, what was changed into the audit trail.
pub(super) const DEEPEST: usize = 64;
/// Where the definitions of types lie that schemas refer to.
const DEFINITIONS: &str = "#/$defs/";
/// A field that differs in more than this share of its letters was not meant.
const LEAST_LIKENESS: f64 = 0.6;

/// What a body may be made of.
#[derive(Debug)]
pub(super) struct Shape {
    root: Value,
    definitions: Map<String, Value>,
    /// Fields that are taken and ignored: `revision`, or deeper ones as `inputs.*.id`. Where there are any, the body
    /// has no others than these and those of its description.
    ignored: &'static [&'static str],
}

/// How a value compares with what it may be.
#[derive(Debug, PartialEq)]
enum Verdict {
    Fits,
    /// It is of another type. Whoever reads the body says so.
    Other,
    /// A list stands where fields are needed: read as if these had no names, it would pass.
    List {
        path: String,
    },
    /// There is no such field.
    Unknown {
        path: String,
        meant: Option<String>,
    },
}

impl Verdict {
    fn rank(&self) -> usize {
        match self {
            Verdict::Fits => 0,
            Verdict::Other => 1,
            Verdict::List { .. } => 2,
            Verdict::Unknown { path, .. } => 3 + path.matches('.').count(),
        }
    }

    /// What is worse of both; the first of equals.
    fn or_worse(self, other: Verdict) -> Verdict {
        if other.rank() > self.rank() { other } else { self }
    }
}

impl Shape {
    /// The shape of a type.
    pub(super) fn new(schema: SchemaOf, ignored: &'static [&'static str]) -> Shape {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        let root = schema(&mut generator).to_value();
        Shape { root, definitions: generator.take_definitions(true), ignored }
    }

    /// The names that the fields of these types have.
    pub(super) fn names(types: &[SchemaOf]) -> BTreeSet<String> {
        let shapes = types.iter().map(|schema| Shape::new(*schema, &[]));
        let names = shapes.flat_map(|shape| match shape.resolve(&shape.root).get("properties") {
            Some(Value::Object(fields)) => fields.keys().cloned().collect(),
            _ => Vec::new(),
        });
        names.collect()
    }

    /// Refuses fields that there are not.
    ///
    /// # Errors
    /// The first of them, by its path.
    pub(super) fn check(&self, body: &Value) -> Result<(), ApiError> {
        match self.compare(body, &self.root, "") {
            Verdict::Fits | Verdict::Other => Ok(()),
            Verdict::List { path } => Err(refused(&path, "an object is needed, not a list")),
            Verdict::Unknown { path, meant } => {
                let meant = meant.map(|meant| format!(": is {meant} meant?")).unwrap_or_default();
                Err(refused(&path, format!("there is no such field{meant}")))
            }
        }
    }

    fn compare(&self, value: &Value, schema: &Value, path: &str) -> Verdict {
        let schema = self.resolve(schema);
        // Nothing is the same as what is not said.
        if value.is_null() {
            return Verdict::Fits;
        }
        if let Some(choices) = choices(schema) {
            let verdicts = choices.iter().map(|choice| self.compare(value, choice, path));
            return best(verdicts);
        }
        if !is_of_type(value, schema) {
            let is_list = value.is_array() && allows(schema, "object");
            return if is_list { Verdict::List { path: path.to_owned() } } else { Verdict::Other };
        }
        match value {
            Value::Object(fields) => self.compare_fields(fields, schema, path),
            Value::Array(items) => {
                let Some(each) = schema.get("items") else { return Verdict::Fits };
                let verdicts = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.compare(item, each, &under(path, index)));
                verdicts.fold(Verdict::Fits, Verdict::or_worse)
            }
            _ => Verdict::Fits,
        }
    }

    fn compare_fields(&self, fields: &Map<String, Value>, schema: &Value, path: &str) -> Verdict {
        let known = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties");
        let is_closed_root = path.is_empty() && !self.ignored.is_empty();
        let verdicts = fields.iter().map(|(name, value)| {
            let path = under(path, name);
            if let Some(schema) = known.and_then(|known| known.get(name)) {
                return self.compare(value, schema, &path);
            }
            let is_open = match others {
                None => known.is_none(),
                Some(Value::Bool(is_open)) => *is_open && !is_closed_root,
                Some(each) => return self.compare(value, each, &path),
            };
            if is_open || self.is_ignored(&path) {
                return Verdict::Fits;
            }
            let meant = known.and_then(|known| nearest(name, known.keys())).cloned();
            Verdict::Unknown { path, meant }
        });
        verdicts.fold(Verdict::Fits, Verdict::or_worse)
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let named = schema.get("$ref").and_then(Value::as_str);
        let found = named.and_then(|named| self.definitions.get(named.strip_prefix(DEFINITIONS)?));
        found.map_or(schema, |found| self.resolve(found))
    }

    fn is_ignored(&self, path: &str) -> bool {
        self.ignored.iter().any(|pattern| {
            let (mut parts, mut wanted) = (path.split('.'), pattern.split('.'));
            parts.by_ref().zip(wanted.by_ref()).all(|(part, wanted)| wanted == "*" || wanted == part)
                && path.split('.').count() == pattern.split('.').count()
        })
    }
}

/// The shapes of which a value has one.
fn choices(schema: &Value) -> Option<&Vec<Value>> {
    schema.get("anyOf").or_else(|| schema.get("oneOf"))?.as_array()
}

/// Of several shapes the one that a value was meant to have.
fn best(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let mut worst = Verdict::Other;
    for verdict in verdicts {
        if verdict == Verdict::Fits {
            return verdict;
        }
        worst = worst.or_worse(verdict);
    }
    worst
}

fn allows(schema: &Value, kind: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(only)) => only == kind,
        Some(Value::Array(kinds)) => kinds.iter().any(|known| known == kind),
        _ => false,
    }
}

fn is_of_type(value: &Value, schema: &Value) -> bool {
    let any = schema.get("type").is_none();
    any || match value {
        Value::Null => true,
        Value::Bool(_) => allows(schema, "boolean"),
        Value::Number(_) => allows(schema, "number") || allows(schema, "integer"),
        Value::String(_) => allows(schema, "string"),
        Value::Array(_) => allows(schema, "array"),
        Value::Object(_) => allows(schema, "object"),
    }
}

fn under(path: &str, name: impl Display) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

/// The name that was meant, if one is like it.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let likeness =
        |known: &String| strsim::normalized_damerau_levenshtein(&name.to_lowercase(), &known.to_lowercase());
    let like =
        known.map(|known| (likeness(known), known)).filter(|(likeness, _)| *likeness >= LEAST_LIKENESS);
    like.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, known)| known)
}

/// A refusal of a field of the body; of the body, if the path is empty.
pub(super) fn refused(path: &str, text: impl Display) -> ApiError {
    let dot = if path.is_empty() { "" } else { "." };
    // A name may be as long as a body.
    let path: String = path.chars().filter(|character| !character.is_control()).take(256).collect();
    ApiError::BadRequest(format!("[request body{dot}{path}]: {text}"))
}

/// Refuses what is nested too deep.
///
/// # Errors
/// It is.
pub(super) fn check_depth(text: &[u8]) -> Result<(), ApiError> {
    let (mut depth, mut is_text, mut is_escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'{' | b'[' if !is_text => depth += 1,
            b'}' | b']' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(refused("", format!("nested deeper than {DEEPEST} levels")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schemars::{JsonSchema, SchemaGenerator};
    use serde_json::json;

    use super::*;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema matters")]
    struct Body {
        name: String,
        inner: Option<Inner>,
        list: Vec<Inner>,
        by_name: BTreeMap<String, Inner>,
        either: Either,
        anything: Map<String, Value>,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema matters")]
    struct Inner {
        colour: String,
    }

    #[derive(JsonSchema)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "only its schema matters")]
    enum Either {
        Text(String),
        Whole { size: u64, weight: u64 },
        List(Vec<Inner>),
    }

    fn shape() -> Shape {
        Shape::new(SchemaGenerator::subschema_for::<Body>, &["revision", "list.*.made"])
    }

    #[test]
    fn what_is_described_is_taken() {
        for good in [
            json!({}),
            json!({"name": null, "revision": 1, "inner": {"colour": "red"}}),
            json!({"list": [{"colour": "red", "made": 1}], "by_name": {"x": {"colour": "red"}}}),
            json!({"either": "text"}),
            json!({"either": {"size": 1}}),
            json!({"either": [{"colour": "red"}]}),
            json!({"anything": {"at": {"all": []}}}),
            // Of another type: told by whoever reads it.
            json!({"name": 1}),
        ] {
            assert!(shape().check(&good).is_ok(), "{good}");
        }
    }

    #[test]
    fn what_is_misspelt_is_named_and_what_was_meant() {
        for (bad, message) in [
            (json!({"nmae": 1}), "[request body.nmae]: there is no such field: is name meant?"),
            (json!({"Name": 1}), "[request body.Name]: there is no such field: is name meant?"),
            (json!({"zzzzzz": 1}), "[request body.zzzzzz]: there is no such field"),
            (
                json!({"inner": {"color": "red"}}),
                "[request body.inner.color]: there is no such field: is colour meant?",
            ),
            (
                json!({"list": [{}, {"colour": "red", "maid": 1}]}),
                "[request body.list.1.maid]: there is no such field",
            ),
            (
                json!({"by_name": {"x": {"colours": "red"}}}),
                "[request body.by_name.x.colours]: there is no such field: is colour meant?",
            ),
            (
                json!({"either": {"size": 1, "wieght": 1}}),
                "[request body.either.wieght]: there is no such field: is weight meant?",
            ),
            (json!([]), "[request body]: an object is needed, not a list"),
            (json!({"inner": ["red"]}), "[request body.inner]: an object is needed, not a list"),
        ] {
            assert_eq!(shape().check(&bad).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn what_is_nested_too_deep_is_refused_before_it_is_read() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(check_depth(nested(DEEPEST).as_bytes()).is_ok());
        assert!(check_depth(nested(DEEPEST + 1).as_bytes()).is_err());
        assert!(check_depth(format!("{{\"a\": \"{}\\\"[\"}}", "[".repeat(500)).as_bytes()).is_ok());
        assert!(check_depth("[]".repeat(500).as_bytes()).is_ok());
    }
}
