//! Lists of documents: filtered, sorted, in pages.

mod pick;

use std::cmp::Ordering;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use fleet_policy::timestamp::Timestamp;

use pick::picked;

use super::error::ApiError;
use super::input::AtLeast;

/// The most items of a page.
const LARGEST_PAGE: usize = 10_000;

/// Which way a list is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SortOrder {
    Asc,
    Desc,
}

/// Which page of a list is asked for. Pages count from 1; a page has 20 items unless it is asked for more.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DocumentPage {
    page: Option<AtLeast<1>>,
    per_page: Option<AtLeast<1>>,
    /// A field of the items; nested ones with dots.
    sort_field: Option<String>,
    sort_order: Option<SortOrder>,
    /// A query such as `name:web*`.
    kuery: Option<String>,
}

/// A page of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Items<T> {
    pub(super) items: Vec<T>,
    /// How many there are on all pages.
    pub(super) total: usize,
    pub(super) page: usize,
    pub(super) per_page: usize,
}

/// The most bytes of JSON that the items of one answer come to: they are held in memory until they are sent.
const LARGEST_ANSWER: usize = 64 << 20;
/// So many documents are read from the store at a time where they may be large.
pub(super) const READ_TOGETHER: usize = 50;

/// The items of an answer as JSON, within a bound.
#[derive(Debug)]
pub(super) struct Collected {
    items: Vec<Box<RawValue>>,
    bytes: usize,
    /// What in the request says how many there are.
    field: &'static str,
}

impl Collected {
    /// None yet. `field`: what in the request says how many there are, such as `request body.ids`.
    pub(super) fn new(field: &'static str) -> Collected {
        Collected { items: Vec::new(), bytes: 0, field }
    }

    /// One more.
    pub(super) fn add<T: Serialize>(&mut self, item: &T) -> Result<(), ApiError> {
        let item = to_raw_value(item).map_err(|error| ApiError::Internal(Box::new(error)))?;
        self.bytes += item.get().len();
        if self.bytes > LARGEST_ANSWER {
            return Err(ApiError::BadRequest(format!(
                "[{}]: these come to more than {} MiB: ask for fewer at a time",
                self.field,
                LARGEST_ANSWER >> 20
            )));
        }
        self.items.push(item);
        Ok(())
    }

    /// All of them.
    pub(super) fn items(self) -> Vec<Box<RawValue>> {
        self.items
    }
}

/// One item.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Item<T> {
    pub(super) item: T,
}

impl DocumentPage {
    fn number(&self) -> usize {
        self.page.map_or(1, AtLeast::get)
    }

    fn size(&self) -> usize {
        self.per_page.map_or(20, AtLeast::get).min(LARGEST_PAGE)
    }

    /// The page of what the query is about. Without a sort field the order stays as it is.
    pub(super) fn select<T: Serialize>(&self, items: Vec<T>) -> Result<Items<T>, ApiError> {
        let items = self.filter(items)?;
        let items = match &self.sort_field {
            Some(field) => self.sort(items, field),
            None if self.sort_order == Some(SortOrder::Desc) => items.into_iter().rev().collect(),
            None => items,
        };
        let total = items.len();
        let skip = (self.number() - 1).saturating_mul(self.size());
        let items = items.into_iter().skip(skip).take(self.size()).collect();
        Ok(Items { items, total, page: self.number(), per_page: self.size() })
    }

    fn filter<T: Serialize>(&self, mut items: Vec<T>) -> Result<Vec<T>, ApiError> {
        let kuery = self.kuery.as_deref().unwrap_or_default();
        if kuery.trim().is_empty() {
            return Ok(items);
        }
        let query = fleet_policy::query::DocumentQuery::parse(kuery, Timestamp::now())
            .map_err(|error| ApiError::BadRequest(format!("[request query.kuery]: {error}")))?;
        let names: Vec<&str> = query.fields().into_iter().collect();
        items.retain(|item| query.matches(&picked(item, &names)));
        Ok(items)
    }

    fn sort<T: Serialize>(&self, items: Vec<T>, field: &str) -> Vec<T> {
        let first = field.split('.').next().unwrap_or_default();
        let key = |item: &T| {
            let value = picked(item, &[first]);
            Key::of(field.split('.').try_fold(value, |mut value, name| value.get_mut(name).map(Value::take)))
        };
        let mut keyed: Vec<(Key, T)> = items.into_iter().map(|item| (key(&item), item)).collect();
        keyed.sort_by(|(a, _), (b, _)| a.compare(b));
        if self.sort_order == Some(SortOrder::Desc) {
            keyed.reverse();
        }
        keyed.into_iter().map(|(_, item)| item).collect()
    }
}

/// What an item is sorted by: numbers by size, texts without regard to case; what is missing comes last.
#[derive(Debug)]
enum Key {
    Number(f64),
    Text(String),
    /// Something else, or of several kinds.
    Other(String),
    Missing,
}

impl Key {
    fn of(value: Option<Value>) -> Key {
        match value {
            None => Key::Missing,
            Some(Value::String(text)) => Key::Text(text.to_lowercase()),
            Some(Value::Number(number)) => {
                number.as_f64().map_or_else(|| Key::Other(number.to_string()), Key::Number)
            }
            Some(other) => Key::Other(other.to_string()),
        }
    }

    fn compare(&self, other: &Key) -> Ordering {
        let rank = |key: &Key| match key {
            Key::Number(_) => 0,
            Key::Text(_) => 1,
            Key::Other(_) => 2,
            Key::Missing => 3,
        };
        match (self, other) {
            (Key::Number(a), Key::Number(b)) => a.total_cmp(b),
            (Key::Text(a), Key::Text(b)) | (Key::Other(a), Key::Other(b)) => a.cmp(b),
            (a, b) => rank(a).cmp(&rank(b)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Collected, LARGEST_ANSWER};

    #[test]
    fn an_answer_is_bounded_by_its_bytes() {
        let mut collected = Collected::new("request body.ids");
        let item = "x".repeat(LARGEST_ANSWER / 4);
        for _ in 0..3 {
            collected.add(&item).unwrap();
        }
        let refused = collected.add(&item).unwrap_err().to_string();
        assert_eq!(refused, "[request body.ids]: these come to more than 64 MiB: ask for fewer at a time");
    }
}
