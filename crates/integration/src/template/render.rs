//! Running a template.

use std::borrow::Cow;

use serde_json::Value;

use super::Wrong;
use super::helpers::{self, child_of, contains, is_true, length};
use super::program::{Block, Expression, Kind, Node, Path, Start};

/// The most steps that a template may take: far more than the largest policy needs, done in some 50 ms.
const MOST_STEPS: usize = 1_000_000;
/// The most bytes that a template may say.
const LONGEST_OUTPUT: usize = 4 * 1024 * 1024;
/// Text of this length costs one step, in bytes.
const BYTES_PER_STEP: usize = 64;

/// What `@index` and the like are.
struct Loop {
    index: usize,
    key: Value,
    is_first: bool,
    is_last: bool,
}

struct Run<'a> {
    out: String,
    steps: usize,
    line: usize,
    root: &'a Value,
    contexts: Vec<Cow<'a, Value>>,
    names: Vec<Cow<'a, Value>>,
    loops: Vec<Loop>,
}

pub(super) fn run(nodes: &[Node], variables: &Value) -> Result<String, Wrong> {
    let contexts = vec![Cow::Borrowed(variables)];
    let (out, names, loops) = (String::with_capacity(1024), Vec::new(), Vec::new());
    let mut run = Run { out, steps: 0, line: 1, root: variables, contexts, names, loops };
    run.nodes(nodes)?;
    Ok(run.out)
}

impl<'a> Run<'a> {
    fn step(&mut self, cost: usize) -> Result<(), Wrong> {
        self.steps += 1 + cost;
        if self.steps > MOST_STEPS {
            let problem = "the template takes too many steps: a loop in a loop over long lists?".to_owned();
            return Err(Wrong { line: self.line, problem });
        }
        if self.out.len() > LONGEST_OUTPUT {
            let problem = format!("the template renders more than {LONGEST_OUTPUT} bytes");
            return Err(Wrong { line: self.line, problem });
        }
        Ok(())
    }

    fn nodes(&mut self, nodes: &'a [Node]) -> Result<(), Wrong> {
        for node in nodes {
            self.step(0)?;
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Print(expression) => {
                    let value = self.value(expression)?;
                    helpers::print(&value, &mut self.out);
                }
                Node::Block(block) => self.block(block)?,
            }
        }
        Ok(())
    }

    fn block(&mut self, block: &'a Block) -> Result<(), Wrong> {
        self.line = block.line;
        let mut arguments = block.arguments.iter();
        let first = arguments.next().map_or(Ok(Cow::Owned(Value::Null)), |argument| self.value(argument))?;
        match block.kind {
            Kind::If => self.either(block, is_true(&first, block.include_zero)),
            Kind::Unless => self.either(block, !is_true(&first, block.include_zero)),
            Kind::Contains => {
                let place =
                    arguments.next().map_or(Ok(Cow::Owned(Value::Null)), |argument| self.value(argument))?;
                self.step(cost(&place))?;
                self.either(block, contains(&first, &place))
            }
            Kind::Each => self.each(block, first),
            Kind::With if is_true(&first, false) => self.within(block, first),
            Kind::With => self.nodes(&block.inverse),
            Kind::Section => self.section(block, first),
            Kind::Inverted => {
                let is_absent = match first.as_ref() {
                    Value::Null | Value::Bool(false) => true,
                    Value::Array(items) => items.is_empty(),
                    _ => false,
                };
                self.either(block, is_absent)
            }
        }
    }

    fn either(&mut self, block: &'a Block, is_body: bool) -> Result<(), Wrong> {
        self.nodes(if is_body { &block.body } else { &block.inverse })
    }

    fn section(&mut self, block: &'a Block, value: Cow<'a, Value>) -> Result<(), Wrong> {
        match value.as_ref() {
            Value::Null | Value::Bool(false) => self.nodes(&block.inverse),
            Value::Bool(true) => self.nodes(&block.body),
            Value::Array(_) => self.each(block, value),
            _ => self.within(block, value),
        }
    }

    /// The body with a value as its context.
    fn within(&mut self, block: &'a Block, value: Cow<'a, Value>) -> Result<(), Wrong> {
        let named = self.names.len();
        self.name(block, value.clone(), &Value::Null);
        self.contexts.push(value);
        self.nodes(&block.body)?;
        self.contexts.pop();
        self.names.truncate(named);
        Ok(())
    }

    fn name(&mut self, block: &Block, value: Cow<'a, Value>, key: &Value) {
        if block.names > 0 {
            self.names.push(value);
        }
        if block.names > 1 {
            self.names.push(Cow::Owned(key.clone()));
        }
    }

    fn each(&mut self, block: &'a Block, value: Cow<'a, Value>) -> Result<(), Wrong> {
        match value {
            Cow::Borrowed(Value::Array(items)) if !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    self.turn(block, Cow::Borrowed(item), Value::from(index), index, items.len())?;
                }
                Ok(())
            }
            Cow::Borrowed(Value::Object(map)) if !map.is_empty() => {
                for (index, (key, item)) in map.iter().enumerate() {
                    self.turn(block, Cow::Borrowed(item), Value::from(key.as_str()), index, map.len())?;
                }
                Ok(())
            }
            // What a helper made, or what it took out of that.
            Cow::Owned(Value::Array(items)) if !items.is_empty() => {
                let count = items.len();
                for (index, item) in items.into_iter().enumerate() {
                    self.turn(block, Cow::Owned(item), Value::from(index), index, count)?;
                }
                Ok(())
            }
            Cow::Owned(Value::Object(map)) if !map.is_empty() => {
                let count = map.len();
                for (index, (key, item)) in map.into_iter().enumerate() {
                    self.turn(block, Cow::Owned(item), Value::from(key), index, count)?;
                }
                Ok(())
            }
            _ => self.nodes(&block.inverse),
        }
    }

    fn turn(
        &mut self,
        block: &'a Block,
        item: Cow<'a, Value>,
        key: Value,
        index: usize,
        count: usize,
    ) -> Result<(), Wrong> {
        self.line = block.line;
        self.step(0)?;
        let named = self.names.len();
        self.name(block, item.clone(), &key);
        self.contexts.push(item);
        self.loops.push(Loop { index, key, is_first: index == 0, is_last: index + 1 == count });
        self.nodes(&block.body)?;
        self.loops.pop();
        self.contexts.pop();
        self.names.truncate(named);
        Ok(())
    }

    fn value(&mut self, expression: &'a Expression) -> Result<Cow<'a, Value>, Wrong> {
        match expression {
            Expression::Literal(value) => Ok(Cow::Borrowed(value)),
            Expression::Path(path) => Ok(self.look_up(path)),
            Expression::Call(function, arguments) => {
                let values =
                    arguments.iter().map(|argument| self.value(argument)).collect::<Result<Vec<_>, _>>()?;
                let values: Vec<&Value> = values.iter().map(AsRef::as_ref).collect();
                self.step(values.iter().map(|value| cost(value)).sum())?;
                Ok(Cow::Owned(function.call(&values)))
            }
        }
    }

    fn look_up(&self, path: &Path) -> Cow<'a, Value> {
        let start = match path.start {
            Start::Root => Some(Cow::Borrowed(self.root)),
            Start::Context(up) => self.contexts.iter().rev().nth(up).cloned(),
            Start::Name(index) => self.names.get(index).cloned(),
            Start::Loop(up) => return self.of_loop(up, &path.parts),
        };
        let mut value = start.unwrap_or(Cow::Owned(Value::Null));
        for part in &path.parts {
            value = match value {
                Cow::Borrowed(whole) => match child_of(whole, part) {
                    Some(child) => Cow::Borrowed(child),
                    None => Cow::Owned(length_or_null(whole, part)),
                },
                Cow::Owned(whole) => match child_of(&whole, part) {
                    Some(child) => Cow::Owned(child.clone()),
                    None => Cow::Owned(length_or_null(&whole, part)),
                },
            };
        }
        value
    }

    fn of_loop(&self, up: usize, parts: &[String]) -> Cow<'a, Value> {
        let Some(of) = self.loops.iter().rev().nth(up) else { return Cow::Owned(Value::Null) };
        Cow::Owned(match parts.first().map(String::as_str) {
            Some("index") => Value::from(of.index),
            Some("key") => of.key.clone(),
            Some("first") => Value::Bool(of.is_first),
            Some("last") => Value::Bool(of.is_last),
            _ => Value::Null,
        })
    }
}

fn length_or_null(value: &Value, name: &str) -> Value {
    if name == "length" { length(value).map_or(Value::Null, Value::from) } else { Value::Null }
}

/// What it costs to look at all of a value, in steps.
fn cost(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() / BYTES_PER_STEP,
        Value::Array(items) => items.iter().map(|item| 1 + cost(item)).sum(),
        Value::Object(map) => map.values().map(|item| 1 + cost(item)).sum(),
        _ => 0,
    }
}
