//! `include_matches`: which entries are wanted, as a policy writes it and as journalctl takes it.
//!
//! journalctl takes alternatives of conjunctions: `A=1 B=2 + C=3`, in which values of the same field are alternatives
//! too. Groups within groups are multiplied out to that. What journalctl cannot say, two conditions on the same field
//! that must both hold, is left out there, and looked at again here.

use serde_json::Value;

use super::export::Entry;
use super::fields::field_at;
use crate::config::Mistake;

/// How many words journalctl is given at most: groups multiply.
const MAX_WORDS: usize = 1024;
/// Groups in groups deeper than this are a mistake, or an attack.
const MAX_DEPTH: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Expression {
    /// A field has one of these values.
    Is(String, Vec<String>),
    All(Vec<Expression>),
    Any(Vec<Expression>),
}

/// Which entries are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    expression: Expression,
    words: Vec<String>,
    /// journalctl can say all of it.
    exact: bool,
}

impl Filter {
    /// Reads `include_matches`, a list of matches or a group, and adds matches that come from other settings.
    pub(super) fn read(
        name: &str,
        value: Option<&Value>,
        more: &[(&str, Vec<String>)],
    ) -> Result<Filter, Mistake> {
        let mut all = match value {
            None => Vec::new(),
            Some(value) => vec![group(name, value, 0)?],
        };
        let more = more.iter().filter(|(_, values)| !values.is_empty());
        all.extend(more.map(|(field, values)| Expression::Is((*field).to_owned(), values.clone())));
        let expression = Expression::All(all);
        let mut exact = true;
        let terms = terms(&expression, &mut exact).ok_or_else(|| {
            Mistake::new(name, format!("makes more than {MAX_WORDS} matches: use fewer groups"))
        })?;
        let mut words = Vec::new();
        for (index, term) in terms.iter().enumerate() {
            if index > 0 {
                words.push("+".to_owned());
            }
            words.extend(
                term.iter()
                    .flat_map(|(field, values)| values.iter().map(move |value| format!("{field}={value}"))),
            );
        }
        // A term without conditions makes all others idle.
        if terms.iter().any(Vec::is_empty) {
            words.clear();
        }
        Ok(Filter { expression, words, exact })
    }

    /// For journalctl's command line: an entry that is wanted fulfils this.
    pub(super) fn words(&self) -> &[String] {
        &self.words
    }

    /// Whether an entry that journalctl let through is wanted.
    pub(super) fn holds(&self, entry: &Entry) -> bool {
        self.exact || holds(&self.expression, entry)
    }
}

fn holds(expression: &Expression, entry: &Entry) -> bool {
    match expression {
        Expression::Is(field, values) => values.iter().any(|value| entry.has(field, value)),
        Expression::All(parts) => parts.iter().all(|part| holds(part, entry)),
        Expression::Any(parts) => parts.iter().any(|part| holds(part, entry)),
    }
}

/// `{match: [...], and: [...], or: [...]}`, all of which must hold; or a list, which is the `match` of one.
fn group(name: &str, value: &Value, depth: usize) -> Result<Expression, Mistake> {
    if depth > MAX_DEPTH {
        return Err(Mistake::new(name, format!("has groups more than {MAX_DEPTH} deep: flatten them")));
    }
    let map = match value {
        Value::Array(_) | Value::String(_) => return Ok(Expression::All(matches(name, value)?)),
        Value::Object(map) => map,
        _ => return Err(Mistake::new(name, "must be a group of match, and, or")),
    };
    let mut all = Vec::new();
    for (key, value) in map {
        let name = format!("{name}.{key}");
        match key.as_str() {
            "match" | "equals" => all.extend(matches(&name, value)?),
            "and" => all.extend(groups(&name, value, depth)?),
            "or" => all.push(Expression::Any(groups(&name, value, depth)?)),
            _ => return Err(Mistake::new(name, "is not known here: use match, and, or")),
        }
    }
    Ok(Expression::All(all))
}

fn groups(name: &str, value: &Value, depth: usize) -> Result<Vec<Expression>, Mistake> {
    match value {
        Value::Array(list) => {
            let one = |(index, item)| group(&format!("{name}[{index}]"), item, depth + 1);
            list.iter().enumerate().map(one).collect()
        }
        Value::Object(_) => Ok(vec![group(name, value, depth + 1)?]),
        _ => Err(Mistake::new(name, "must be a list of groups")),
    }
}

/// `FIELD=value` each; values of the same field are alternatives.
fn matches(name: &str, value: &Value) -> Result<Vec<Expression>, Mistake> {
    let list = match value {
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut fields: Vec<(String, Vec<String>)> = Vec::new();
    for item in list {
        let wrong =
            || Mistake::new(name, format!("{item} is not a match: write FIELD=value, such as _UID=1000"));
        let (field, value) = item.as_str().and_then(|text| text.split_once('=')).ok_or_else(wrong)?;
        let field = journal_field(field.trim()).ok_or_else(wrong)?;
        if value.contains('\0') {
            return Err(wrong());
        }
        match fields.iter_mut().find(|(known, _)| *known == field) {
            Some((_, values)) => values.push(value.to_owned()),
            None => fields.push((field, vec![value.to_owned()])),
        }
    }
    Ok(fields.into_iter().map(|(field, values)| Expression::Is(field, values)).collect())
}

/// A field by its name in the journal, or by the one that it has in events.
fn journal_field(name: &str) -> Option<String> {
    if let Some(field) = field_at(name) {
        return Some(field.to_owned());
    }
    let good = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let starts_well = !name.starts_with(|letter: char| letter.is_ascii_digit());
    (!name.is_empty() && name.len() <= 64 && starts_well && name.bytes().all(good)).then(|| name.to_owned())
}

type Term = Vec<(String, Vec<String>)>;

/// Alternatives of conjunctions, or nothing if there are too many.
fn terms(expression: &Expression, exact: &mut bool) -> Option<Vec<Term>> {
    let terms = match expression {
        Expression::Is(field, values) => vec![vec![(field.clone(), values.clone())]],
        Expression::Any(parts) => {
            let mut terms = Vec::new();
            for part in parts {
                terms.extend(self::terms(part, exact)?);
                bounded(&terms)?;
            }
            terms
        }
        Expression::All(parts) => {
            let mut product: Vec<Term> = vec![Vec::new()];
            for part in parts {
                let factors = self::terms(part, exact)?;
                let mut next = Vec::new();
                for term in &product {
                    for factor in &factors {
                        next.push(both(term, factor, exact));
                        bounded(&next)?;
                    }
                }
                product = next;
            }
            product
        }
    };
    Some(terms)
}

fn both(term: &Term, factor: &Term, exact: &mut bool) -> Term {
    let mut both = term.clone();
    for (field, values) in factor {
        if both.iter().any(|(known, _)| known == field) {
            *exact = false;
        } else {
            both.push((field.clone(), values.clone()));
        }
    }
    both
}

fn bounded(terms: &[Term]) -> Option<()> {
    let words: usize = terms.iter().flatten().map(|(_, values)| values.len()).sum();
    (words.max(terms.len()) <= MAX_WORDS).then_some(())
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use serde_json::json;

    use super::super::export::Reader;
    use super::*;

    fn filter(value: &Value) -> Filter {
        Filter::read("include_matches", Some(value), &[]).unwrap()
    }

    fn entry(text: &str) -> Entry {
        Reader::default().next(&mut BytesMut::from(format!("{text}\n\n").as_str())).unwrap().unwrap()
    }

    #[test]
    fn matches_are_alternatives_per_field() {
        let value = json!({"match": ["PRIORITY=3", "_UID=0", "PRIORITY=4", "systemd.unit=a=b.service"]});
        let expected = ["PRIORITY=3", "PRIORITY=4", "_UID=0", "_SYSTEMD_UNIT=a=b.service"];
        assert_eq!(filter(&value).words(), expected);
        assert_eq!(filter(&json!(["PRIORITY=3", "_UID=0"])).words(), ["PRIORITY=3", "_UID=0"]);
    }

    #[test]
    fn groups_are_multiplied_out() {
        let value = json!({
            "match": ["_UID=0"],
            "or": [{"match": ["A=1", "B=2"]}, {"and": [{"match": "C=3"}, {"or": [{"match": ["D=4"]}, {"match": ["E=5"]}]}]}],
        });
        let expected = "_UID=0 A=1 B=2 + _UID=0 C=3 D=4 + _UID=0 C=3 E=5";
        assert_eq!(filter(&value).words().join(" "), expected);
    }

    #[test]
    fn two_conditions_on_one_field_are_both_looked_at() {
        let filter = filter(&json!({"and": [{"match": ["A=1", "A=2"]}, {"match": ["A=2", "A=3"]}]}));
        assert_eq!(filter.words(), ["A=1", "A=2"]);
        assert!(filter.holds(&entry("A=2")) && !filter.holds(&entry("A=1")));
        assert!(filter.holds(&entry("A=1\nA=3")), "a field may have two values");
    }

    #[test]
    fn other_settings_are_added() {
        let more = [("_TRANSPORT", vec!["kernel".to_owned(), "audit".to_owned()]), ("PRIORITY", Vec::new())];
        let filter = Filter::read("include_matches", Some(&json!(["A=1"])), &more).unwrap();
        assert_eq!(filter.words(), ["A=1", "_TRANSPORT=kernel", "_TRANSPORT=audit"]);
        assert!(Filter::read("include_matches", None, &[]).unwrap().words().is_empty());
        let any = self::filter(&json!({"or": [{"match": ["A=1"]}, {}]}));
        assert!(any.words().is_empty() && any.holds(&entry("B=1")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let read = |value: Value| Filter::read("include_matches", Some(&value), &[]).unwrap_err().to_string();
        for bad in ["--file=/etc/passwd", "lower=1", "=1", "/bin/sh", "A", "1A=2", "A B=1"] {
            let expected = "include_matches.match: \"";
            let error = read(json!({"match": [bad]}));
            assert!(error.starts_with(expected) && error.contains("write FIELD=value"), "{error}");
        }
        assert!(read(json!({"not": []})).starts_with("include_matches.not: is not known here"));
        let many: Vec<Value> = (0..11)
            .map(|n| json!({"or": [{"match": [format!("A{n}=1")]}, {"match": [format!("B{n}=1")]}]}))
            .collect();
        assert!(read(json!({"and": many})).contains("makes more than 1024 matches"));
        let mut deep = json!({"match": ["A=1"]});
        for _ in 0..40 {
            deep = json!({"and": [deep]});
        }
        assert!(read(deep).contains("more than 16 deep"));
    }
}
