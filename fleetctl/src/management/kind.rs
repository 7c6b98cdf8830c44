//! What is to be known of a kind of object of the management API: where it is, what it is called, what of it is shown.
//!
//! | module | what |
//! |---|---|
//! | [`kinds`] | the kinds that there are |

pub(super) mod kinds;

use serde_json::{Map, Value};

use super::list::Query;

/// A kind of object.
#[derive(Debug)]
pub(crate) struct Kind {
    /// The word of the command line.
    pub(crate) noun: &'static str,
    /// What people call one of them.
    pub(crate) title: &'static str,
    /// The list, below `/api/fleet/`. One of them is below that.
    pub(crate) path: &'static str,
    /// The field that names one of them in paths.
    pub(crate) id_field: &'static str,
    /// Where its name is (RFC 6901); empty: it has none.
    pub(crate) name_pointer: &'static str,
    /// The field by which a list can be asked for a name.
    pub(crate) name_field: Option<&'static str>,
    /// Whether one of them can be asked for.
    pub(crate) has_item: bool,
    /// The number of the list's first page.
    pub(crate) first_page: usize,
    /// Whether it is asked for in the shape that people write.
    pub(crate) is_simplified: bool,
    /// What a table shows.
    pub(crate) columns: &'static [Column],
    /// Fields that the server sets: they are no part of what people write.
    pub(crate) server_set: &'static [&'static str],
    /// The only fields that people write, where most are the server's. Empty: all others.
    pub(crate) writable: &'static [&'static str],
    /// Fields of the version that a save is a change of, so that the server can tell if there is a newer one.
    pub(crate) base: &'static [&'static str],
    /// How one of them is deleted.
    pub(crate) deletion: Deletion,
}

/// How an object is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// `DELETE` of its path.
    Delete,
    /// `POST` to this path, with the id in this field.
    Post { path: &'static str, field: &'static str },
}

/// A column of a table.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) cell: Cell,
}

/// What stands in a cell. Places are pointers (RFC 6901).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell {
    /// A text or number; the first place that has one.
    Text(&'static [&'static str]),
    /// The items of a list, with commas.
    Join(&'static str),
    /// How many items a list has, or a number.
    Count(&'static str),
    /// `yes`, or nothing.
    Flag(&'static str),
    /// Two texts with a sign between them.
    Pair(&'static str, char, &'static str),
}

impl Cell {
    /// The cell of an object; `-` for nothing.
    pub(crate) fn of(&self, object: &Value) -> String {
        let text = match self {
            Cell::Text(places) => places.iter().find_map(|place| text_at(object, place)),
            Cell::Join(place) => object
                .pointer(place)
                .and_then(Value::as_array)
                .map(|items| items.iter().filter_map(short_text).collect::<Vec<_>>().join(",")),
            Cell::Count(place) => object.pointer(place).map(|value| match value {
                Value::Array(items) => items.len().to_string(),
                other => short_text(other).unwrap_or_default(),
            }),
            Cell::Flag(place) => {
                object.pointer(place).and_then(Value::as_bool).filter(|flag| *flag).map(|_| "yes".to_owned())
            }
            Cell::Pair(left, sign, right) => text_at(object, left).map(|left| match text_at(object, right) {
                Some(right) => format!("{left}{sign}{right}"),
                None => left,
            }),
        };
        text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
    }
}

fn text_at(object: &Value, place: &str) -> Option<String> {
    object.pointer(place).and_then(short_text).filter(|text| !text.is_empty())
}

fn short_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

impl Kind {
    /// The id of an object.
    pub(crate) fn id_of<'a>(&self, object: &'a Value) -> Option<&'a str> {
        object.get(self.id_field).and_then(Value::as_str)
    }

    /// The name of an object.
    pub(crate) fn name_of<'a>(&self, object: &'a Value) -> Option<&'a str> {
        object.pointer(self.name_pointer).and_then(Value::as_str)
    }

    /// What every request for objects of this kind asks.
    pub(crate) fn query(&self) -> Query {
        if self.is_simplified { Query::default().with("format", "simplified") } else { Query::default() }
    }

    /// The same behind the path of one object.
    pub(crate) fn item_query(&self) -> String {
        self.query().text()
    }

    /// Whether the server sets a field.
    pub(crate) fn is_server_set(&self, field: &str) -> bool {
        self.server_set.contains(&field)
    }

    /// What of an object people write: without its id and what the server sets.
    pub(crate) fn written(&self, object: &Value) -> Map<String, Value> {
        let mut fields = match object {
            Value::Object(fields) => fields.clone(),
            _ => Map::new(),
        };
        fields.retain(|field, value| {
            let is_own = self.writable.is_empty() || self.writable.contains(&field.as_str());
            is_own && field != self.id_field && !self.is_server_set(field) && !value.is_null()
        });
        // Only the name and version of a package are chosen; the rest is told by them.
        if let Some(Value::Object(package)) = fields.get_mut("package") {
            package.retain(|field, _| matches!(field.as_str(), "name" | "version"));
        }
        fields
    }

    /// What a save says of the version that it is a change of.
    pub(crate) fn base_of(&self, object: &Value) -> Map<String, Value> {
        let mut base = Map::new();
        for field in self.base {
            if let Some(value) = object.get(*field).filter(|value| !value.is_null()) {
                base.insert((*field).to_owned(), value.clone());
            }
        }
        base
    }
}
