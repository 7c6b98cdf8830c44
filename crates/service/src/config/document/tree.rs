//! A configuration as a tree of values that know where they stand.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::config::{Mistake, Place};

/// How deep values may be nested: far more than a configuration needs, far less than a stack holds.
pub(super) const DEEPEST: usize = 32;

/// How a scalar was written, as far as that matters to its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// A plain scalar of the file.
    Plain,
    /// In quotes, or as a block: a text even if it looks like a number.
    Quoted,
    /// The result of a substitution, or of an override: it may stand for a list.
    Inserted,
}

/// A single value, not yet understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    pub(super) text: String,
    pub(super) style: Style,
}

impl Scalar {
    pub(super) fn new(text: impl Into<String>, style: Style) -> Scalar {
        Scalar { text: text.into(), style }
    }

    /// What stands there.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it was written in quotes.
    #[must_use]
    pub fn is_quoted(&self) -> bool {
        self.style == Style::Quoted
    }
}

pub(super) type Map = BTreeMap<String, Node>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing: the default.
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Map),
    /// A value that could not be substituted, and why. It is a mistake only where somebody asks for it.
    Unresolved(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

impl Node {
    pub(super) fn new(place: Place, value: Value) -> Node {
        Node { place, value }
    }

    /// What stands below a key, or at an index of a list.
    pub(super) fn child(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(map) => map.get(key),
            Value::List(items) => items.get(index(key)?),
            _ => None,
        }
    }

    /// What stands at a dotted path.
    pub(super) fn descend(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(self, |node, key| node.child(key))
    }

    /// Whether nothing stands there. An empty text is as good as none, so that `${NAME:}` is the default.
    pub(super) fn is_nothing(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Scalar(scalar) => scalar.text.is_empty(),
            _ => false,
        }
    }

    /// How many levels stand below it.
    fn height(&self) -> usize {
        let tallest = match &self.value {
            Value::List(items) => items.iter().map(Node::height).max(),
            Value::Map(map) => map.values().map(Node::height).max(),
            _ => return 0,
        };
        1 + tallest.unwrap_or(0)
    }

    /// What it is, for a sentence that says what it should have been. Never its content.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a section",
            Value::Unresolved(_) => "an unknown value",
        }
    }
}

/// The index of a list that a key means.
pub(super) fn index(key: &str) -> Option<usize> {
    let is_number = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| key.parse().ok()).flatten()
}

/// Joins two parts of a path.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The key that is meant by a section's key with a single value behind it.
pub(super) fn spelled_out<'a>(key: &'a str, node: &Node, shorthands: &[(&str, &str)]) -> Cow<'a, str> {
    let shorthand = shorthands.iter().find(|(section, _)| *section == key);
    match (shorthand, &node.value) {
        (Some((section, short)), Value::Scalar(_)) => Cow::Owned(join(section, short)),
        _ => Cow::Borrowed(key),
    }
}

/// What happens when a value meets another one at the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meeting {
    /// Both stand in one source: the key is there twice.
    Clash,
    /// The second is of a source that goes before.
    Overrides,
}

/// Puts a value where a dotted key says, and joins it with what is there.
pub(super) fn insert(map: &mut Map, key: &str, node: Node, meeting: Meeting, mistakes: &mut Vec<Mistake>) {
    let place = node.place.clone();
    let mut complain = |text: String| {
        mistakes.push(Mistake { key: Some(key.to_owned()), place: place.clone(), text });
    };
    let segments: Vec<&str> = key.split('.').collect();
    if segments.iter().any(|segment| segment.is_empty()) {
        return complain(format!("the key {key:?} has an empty part: write words with one dot between them"));
    }
    // Checked from below at each level, so that dots, lists and aliases together cannot go deeper.
    if segments.len() + node.height() > DEEPEST {
        return complain(format!("values are nested deeper than {DEEPEST} levels"));
    }
    let (first, rest) = (segments[0], &segments[1..]);
    let wrap = |inner: Node, segment: &&str| {
        let place = inner.place.clone();
        Node::new(place, Value::Map(Map::from([((*segment).to_owned(), inner)])))
    };
    let nested = rest.iter().rev().fold(node, wrap);
    merge_key(map, first, nested, "", meeting, mistakes);
}

fn merge_key(
    map: &mut Map,
    key: &str,
    node: Node,
    above: &str,
    meeting: Meeting,
    mistakes: &mut Vec<Mistake>,
) {
    match map.get_mut(key) {
        Some(present) => merge(present, node, &join(above, key), meeting, mistakes),
        None => {
            map.insert(key.to_owned(), node);
        }
    }
}

/// Joins a value with the one that is there: maps key by key, lists index by index.
pub(super) fn merge(base: &mut Node, over: Node, path: &str, meeting: Meeting, mistakes: &mut Vec<Mistake>) {
    let Node { place, value } = over;
    match (&mut base.value, value) {
        (Value::Map(into), Value::Map(from)) => {
            for (key, node) in from {
                merge_key(into, &key, node, path, meeting, mistakes);
            }
        }
        (Value::List(into), Value::Map(from)) if from.keys().all(|key| index(key).is_some()) => {
            let numbered = from.into_iter().filter_map(|(key, node)| Some((index(&key)?, node)));
            let mut numbered: Vec<(usize, Node)> = numbered.collect();
            numbered.sort_by_key(|(number, _)| *number);
            for (number, node) in numbered {
                merge_item(into, number, node, path, meeting, mistakes);
            }
        }
        (Value::List(into), Value::List(from)) if meeting == Meeting::Overrides => {
            for (number, node) in from.into_iter().enumerate() {
                merge_item(into, number, node, path, meeting, mistakes);
            }
        }
        (Value::Null, value) => *base = Node::new(place, value),
        (_, Value::Null) if meeting == Meeting::Clash => {}
        (_, value) => {
            if meeting == Meeting::Clash {
                let text = format!("{path} is given twice, first at {}: keep one of them", base.place);
                mistakes.push(Mistake { key: Some(path.to_owned()), place: place.clone(), text });
            }
            *base = Node::new(place, value);
        }
    }
}

fn merge_item(
    items: &mut Vec<Node>,
    number: usize,
    node: Node,
    path: &str,
    meeting: Meeting,
    mistakes: &mut Vec<Mistake>,
) {
    let count = items.len();
    match items.get_mut(number) {
        Some(present) => merge(present, node, &join(path, &number.to_string()), meeting, mistakes),
        None if number == count => items.push(node),
        None => {
            let text = format!("{path}.{number} is beyond the end of the list, which has {count} items");
            mistakes.push(Mistake { key: Some(path.to_owned()), place: node.place, text });
        }
    }
}

/// Turns each map whose keys are 0, 1, 2 … into the list that it means.
pub(super) fn number_lists(node: &mut Node) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(number_lists),
        Value::Map(map) => {
            map.values_mut().for_each(number_lists);
            let complete =
                !map.is_empty() && (0..map.len()).all(|number| map.contains_key(&number.to_string()));
            if complete {
                let mut map = std::mem::take(map);
                let items = (0..map.len()).filter_map(|number| map.remove(&number.to_string()));
                node.value = Value::List(items.collect());
            }
        }
        _ => {}
    }
}
