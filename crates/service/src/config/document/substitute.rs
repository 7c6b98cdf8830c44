//! Puts values in the place of `${…}`.
//!
//! A name is first looked for among the keys of the configuration, then in the environment. A variable that
//! is empty counts as not set. A key that refers to itself (`token: ${token}`) means the variable.

use std::collections::BTreeMap;

use super::template::{self, Otherwise, Part, Reference};
use super::tree::{Map, Node, Scalar, Style, Value};

/// The most work for one configuration, in values and references: a few lines that refer to each other in
/// twos would otherwise never end.
const MOST_STEPS: usize = 200_000;
/// The most text that may come out for one configuration, in bytes: four times what a file may have.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// How many references may be on the way to a value.
const LONGEST_CHAIN: usize = 16;

/// The same tree with everything substituted. What cannot be is [`Value::Unresolved`].
pub(super) fn substitute(root: &Node, environment: &BTreeMap<String, String>) -> Node {
    Substitution { root, environment, steps: 0, bytes: 0, active: Vec::new() }.node(root)
}

struct Substitution<'a> {
    root: &'a Node,
    environment: &'a BTreeMap<String, String>,
    steps: usize,
    bytes: usize,
    /// The keys that are being looked at, by name, each for the one before it.
    active: Vec<String>,
}

impl<'a> Substitution<'a> {
    fn node(&mut self, node: &Node) -> Node {
        let value = match &node.value {
            Value::List(items) => Value::List(items.iter().map(|item| self.node(item)).collect()),
            Value::Map(map) => {
                Value::Map(map.iter().map(|(key, node)| (key.clone(), self.node(node))).collect())
            }
            Value::Scalar(scalar) if template::is_template(&scalar.text) => {
                self.scalar(scalar).unwrap_or_else(Value::Unresolved)
            }
            other => other.clone(),
        };
        Node::new(node.place.clone(), value)
    }

    fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return Err(format!("the configuration has more than {MOST_STEPS} substitutions"));
        }
        Ok(())
    }

    fn scalar(&mut self, scalar: &Scalar) -> Result<Value, String> {
        let parts = template::parse(&scalar.text)?;
        if let [Part::Reference(reference)] = parts.as_slice() {
            return self.whole(reference);
        }
        let text = self.text(&parts)?;
        Ok(Value::Scalar(Scalar::new(text, Style::Inserted)))
    }

    /// A value that is nothing but a reference may be a list or a section.
    fn whole(&mut self, reference: &Reference) -> Result<Value, String> {
        if matches!(reference.otherwise, Otherwise::Fail) {
            let name = self.text(&reference.name)?;
            if let Some(node) = self.key(&name)
                && matches!(node.value, Value::List(_) | Value::Map(_))
            {
                return self.copy(&name, node);
            }
        }
        let text = self.reference(reference)?;
        Ok(Value::Scalar(Scalar::new(text, Style::Inserted)))
    }

    fn copy(&mut self, name: &str, node: &Node) -> Result<Value, String> {
        self.enter(name)?;
        let copied = self.counted(node);
        self.active.pop();
        copied.map(|node| node.value)
    }

    /// Like [`Self::node`], but copies count, as they can be of copies.
    fn counted(&mut self, node: &Node) -> Result<Node, String> {
        self.step()?;
        let value = match &node.value {
            Value::List(items) => {
                Value::List(items.iter().map(|item| self.counted(item)).collect::<Result<_, _>>()?)
            }
            Value::Map(map) => {
                let mut copied = Map::new();
                for (key, node) in map {
                    copied.insert(key.clone(), self.counted(node)?);
                }
                Value::Map(copied)
            }
            Value::Scalar(scalar) if template::is_template(&scalar.text) => {
                self.scalar(scalar).unwrap_or_else(Value::Unresolved)
            }
            other => other.clone(),
        };
        Ok(Node::new(node.place.clone(), value))
    }

    fn text(&mut self, parts: &[Part]) -> Result<String, String> {
        let mut text = String::new();
        for part in parts {
            let before = text.len();
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Reference(reference) => text.push_str(&self.reference(reference)?),
            }
            self.bytes += text.len() - before;
            if self.bytes > MOST_BYTES {
                return Err(format!("the configuration's substitutions yield more than {MOST_BYTES} bytes"));
            }
        }
        Ok(text)
    }

    fn reference(&mut self, reference: &Reference) -> Result<String, String> {
        self.step()?;
        let name = self.text(&reference.name)?;
        match &reference.otherwise {
            Otherwise::Fail => self
                .look_up(&name)?
                .ok_or_else(|| format!("${{{name}}} is not set: set it, or write ${{{name}:default}}")),
            Otherwise::Default(default) => match self.set(&name)? {
                Some(text) => Ok(text),
                None => self.text(default),
            },
            Otherwise::Alternative(alternative) => match self.set(&name)? {
                Some(_) => self.text(alternative),
                None => Ok(String::new()),
            },
            Otherwise::Error(error) => match self.set(&name)? {
                Some(text) => Ok(text),
                None => Err(format!("${{{name}}} is not set: {}", self.text(error)?)),
            },
        }
    }

    /// The text of a name that is set to something.
    fn set(&mut self, name: &str) -> Result<Option<String>, String> {
        Ok(self.look_up(name)?.filter(|text| !text.is_empty()))
    }

    fn look_up(&mut self, name: &str) -> Result<Option<String>, String> {
        let value = match self.key(name).map(|node| &node.value) {
            None | Some(Value::Null) => None,
            Some(Value::Scalar(scalar)) => {
                self.enter(name)?;
                let text = template::parse(&scalar.text).and_then(|parts| self.text(&parts));
                self.active.pop();
                Some(text?)
            }
            Some(Value::Unresolved(reason)) => return Err(reason.clone()),
            Some(Value::List(_) | Value::Map(_)) => {
                return Err(format!("${{{name}}} is a list or a section, which cannot stand inside a text"));
            }
        };
        let variable = || self.environment.get(name).filter(|text| !text.is_empty()).cloned();
        Ok(value.or_else(variable))
    }

    /// What stands at a key, unless it is the one that is being looked at.
    fn key(&self, name: &str) -> Option<&'a Node> {
        if self.active.iter().any(|active| active == name) {
            return None;
        }
        self.root.descend(name)
    }

    fn enter(&mut self, name: &str) -> Result<(), String> {
        if self.active.len() >= LONGEST_CHAIN {
            return Err(format!("${{{name}}} is reached over more than {LONGEST_CHAIN} others"));
        }
        self.active.push(name.to_owned());
        Ok(())
    }
}
