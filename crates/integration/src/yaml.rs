//! YAML, read into a tree that knows its lines.
//!
//! Packages are read from files that others wrote and policies hold YAML that people typed, so reading is
//! liberal in what it takes (a key that is there twice: the last counts) and strict in what it costs: size,
//! depth and the number of values are bounded, and an alias counts as all that it stands for.
//!
//! Scalars mean what they mean in the core schema of YAML 1.2; `<<` merges.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Number, Value};

/// The largest text that is read, in bytes. The largest manifests that exist are below 300 KiB.
pub const LARGEST_TEXT: usize = 4 * 1024 * 1024;
/// The most values in a text, what aliases stand for counted each time.
const MOST_VALUES: usize = 100_000;
/// How deep lists and maps may stand in each other: what encoders of JSON hold, too.
const DEEPEST: usize = 64;

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct YamlError {
    /// From 1.
    pub line: usize,
    /// A sentence without its end.
    pub problem: String,
}

/// A value and the line on which it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// From 1; of the key where there is one.
    pub line: usize,
    /// What stands there.
    pub tree: Tree,
}

/// What a [`Node`] holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// A scalar: null, a truth value or a text.
    Scalar(Value),
    /// A number, and how it is written: `1.10` is a version to some.
    Number(Number, String),
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the file.
    Map(Vec<(String, Node)>),
}

/// Reads one document. A text without any value is null.
///
/// # Errors
/// What is not YAML, or is over a bound.
pub fn parse(text: &str) -> Result<Node, YamlError> {
    let mut most = MOST_VALUES;
    parse_within(text, &mut most)
}

/// The same for one of several texts that may have so many values together; what is left of them is told.
pub(crate) fn parse_within(text: &str, most: &mut usize) -> Result<Node, YamlError> {
    if text.len() > LARGEST_TEXT {
        return Err(YamlError { line: 1, problem: format!("the text is larger than {LARGEST_TEXT} bytes") });
    }
    let mut reader = Reader {
        open: Vec::new(),
        anchors: HashMap::new(),
        values: 0,
        most: MOST_VALUES.min(*most),
        root: None,
    };
    for event in Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        let (event, span) = event.map_err(|error| YamlError {
            line: error.marker().line(),
            problem: format!("this is not YAML: {}", error.info()),
        })?;
        if !reader.event(event, span.start.line())? {
            break;
        }
    }
    *most = most.saturating_sub(reader.values);
    Ok(reader.root.unwrap_or(Node { line: 1, tree: Tree::Scalar(Value::Null) }))
}

/// Reads one document as JSON.
///
/// # Errors
/// As [`parse`].
pub fn parse_json(text: &str) -> Result<Value, YamlError> {
    parse(text).map(Node::into_json)
}

impl Node {
    /// The value of a key, if this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.tree {
            Tree::Map(entries) => entries.iter().rev().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Whether nothing stands here.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.tree, Tree::Scalar(Value::Null))
    }

    /// The same without lines.
    #[must_use]
    pub fn into_json(self) -> Value {
        match self.tree {
            Tree::Scalar(value) => value,
            Tree::Number(number, _) => Value::Number(number),
            Tree::List(items) => Value::Array(items.into_iter().map(Node::into_json).collect()),
            Tree::Map(entries) => Value::Object(
                entries.into_iter().map(|(key, node)| (key, node.into_json())).collect::<Map<_, _>>(),
            ),
        }
    }
}

/// A list or a map whose end has not come yet.
enum Open {
    List {
        line: usize,
        anchor: usize,
        items: Vec<Node>,
    },
    Map {
        line: usize,
        anchor: usize,
        entries: Vec<(String, Node)>,
        key: Option<(String, usize)>,
        merged: Vec<Node>,
    },
}

/// A value that aliases may stand for.
struct Anchored {
    node: Node,
    /// How many values it holds, itself counted.
    values: usize,
    /// How many levels it has, 1 for a scalar.
    depth: usize,
}

struct Reader {
    open: Vec<Open>,
    /// By the parser's number.
    anchors: HashMap<usize, Anchored>,
    values: usize,
    /// As many as there may be.
    most: usize,
    root: Option<Node>,
}

impl Reader {
    /// Takes an event; answers whether there is more to read.
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<bool, YamlError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let node = Node { line, tree: scalar(text, style, tag.as_deref()) };
                self.value(node, anchor, 1)?;
            }
            Event::Alias(anchor) => {
                let Some(anchored) = self.anchors.get(&anchor) else {
                    return Err(wrong(line, "an alias stands inside the value that it is for"));
                };
                // Before the copy is made: the bounds are there to prevent it.
                if self.values + anchored.values > self.most {
                    return Err(wrong(line, &format!("there are more than {} values", self.most)));
                }
                if self.open.len() + anchored.depth > DEEPEST {
                    return Err(wrong(line, &format!("values are nested deeper than {DEEPEST} levels")));
                }
                let (node, count) = (anchored.node.clone(), anchored.values);
                self.value(node, 0, count)?;
            }
            Event::SequenceStart(anchor, _) => {
                self.descend(Open::List { line, anchor, items: Vec::new() }, line)?;
            }
            Event::MappingStart(anchor, _) => {
                let (entries, merged) = (Vec::new(), Vec::new());
                self.descend(Open::Map { line, anchor, entries, key: None, merged }, line)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            // Only the first document counts.
            Event::DocumentEnd => return Ok(false),
            _ => {}
        }
        Ok(true)
    }

    fn descend(&mut self, open: Open, line: usize) -> Result<(), YamlError> {
        if self.open.len() >= DEEPEST {
            return Err(wrong(line, &format!("values are nested deeper than {DEEPEST} levels")));
        }
        if let Some(Open::Map { key: None, .. }) = self.open.last() {
            return Err(wrong(line, "a key must be a word, not a list or a map"));
        }
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self) -> Result<(), YamlError> {
        match self.open.pop() {
            Some(Open::List { line, anchor, items }) => {
                self.value(Node { line, tree: Tree::List(items) }, anchor, 1)
            }
            Some(Open::Map { line, anchor, mut entries, merged, .. }) => {
                merge(&mut entries, merged);
                self.value(Node { line, tree: Tree::Map(entries) }, anchor, 1)
            }
            None => Ok(()),
        }
    }

    /// Takes a complete value: as a key, an item, an entry's value, or the whole document.
    fn value(&mut self, mut node: Node, anchor: usize, count: usize) -> Result<(), YamlError> {
        self.values += count;
        if self.values > self.most {
            return Err(wrong(node.line, &format!("there are more than {} values", self.most)));
        }
        if anchor > 0 {
            let (values, depth) = extent(&node);
            // The copy costs as much as what it is of.
            self.values += values;
            self.anchors.insert(anchor, Anchored { node: node.clone(), values, depth });
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { key: slot @ None, .. }) => match node.tree {
                Tree::Scalar(value) => *slot = Some((key_text(value), node.line)),
                Tree::Number(_, text) => *slot = Some((text, node.line)),
                _ => return Err(wrong(node.line, "a key must be a word")),
            },
            Some(Open::Map { key: slot @ Some(_), entries, merged, .. }) => {
                let Some((key, line)) = slot.take() else { return Ok(()) };
                if key == "<<" {
                    match node.tree {
                        Tree::List(items) => merged.extend(items),
                        _ => merged.push(node),
                    }
                    return Ok(());
                }
                // The key's line is what people look for, even if the value begins on the next.
                node.line = line;
                entries.push((key, node));
            }
        }
        Ok(())
    }
}

/// What is merged in by `<<` gives way to what stands beside it.
fn merge(entries: &mut Vec<(String, Node)>, merged: Vec<Node>) {
    if merged.is_empty() {
        return;
    }
    let mut known: HashSet<String> = entries.iter().map(|(name, _)| name.clone()).collect();
    for node in merged {
        let Tree::Map(more) = node.tree else { continue };
        for (key, node) in more {
            if known.insert(key.clone()) {
                entries.push((key, node));
            }
        }
    }
}

fn wrong(line: usize, problem: &str) -> YamlError {
    YamlError { line, problem: problem.to_owned() }
}

fn key_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// How many values a node holds, and how many levels it has.
fn extent(node: &Node) -> (usize, usize) {
    let add = |(values, depth): (usize, usize), node: &Node| {
        let (more, deeper) = extent(node);
        (values + more, depth.max(deeper + 1))
    };
    match &node.tree {
        Tree::Scalar(_) | Tree::Number(..) => (1, 1),
        Tree::List(items) => items.iter().fold((1, 1), add),
        Tree::Map(entries) => entries.iter().map(|(_, node)| node).fold((1, 1), add),
    }
}

/// What a scalar means.
fn scalar(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>) -> Tree {
    let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
    if style != ScalarStyle::Plain || is_text {
        return Tree::Scalar(Value::String(text.into_owned()));
    }
    Tree::Scalar(match text.as_ref() {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => match number(&text) {
            Some(number) => return Tree::Number(number, text.into_owned()),
            None => Value::String(text.into_owned()),
        },
    })
}

fn number(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let first = unsigned.bytes().next()?;
    if !first.is_ascii_digit() && first != b'.' {
        return None;
    }
    if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        let text = text.strip_prefix('+').unwrap_or(text);
        return text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from)).ok();
    }
    if unsigned.len() == text.len() {
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
            if let Some(digits) = text.strip_prefix(prefix) {
                return i64::from_str_radix(digits, radix).ok().map(Number::from);
            }
        }
    }
    let is_float =
        unsigned.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
            && unsigned.bytes().any(|byte| byte.is_ascii_digit());
    if is_float { text.parse::<f64>().ok().and_then(Number::from_f64) } else { None }
}
