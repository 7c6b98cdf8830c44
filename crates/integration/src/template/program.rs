//! What a template does, in the form in which it is run.

use std::collections::HashMap;

use handlebars::template::{BlockParam, HelperTemplate, Parameter, TemplateElement};
use handlebars::{Path as ParsedPath, Template as Parsed};
use serde_json::Value;

use super::Wrong;
use super::helpers::Function;
use super::source::{INVERTED, SECTION};

/// A step.
#[derive(Debug)]
pub(super) enum Node {
    /// Says this.
    Text(String),
    /// Says a value.
    Print(Expression),
    /// Decides what is said.
    Block(Box<Block>),
}

/// What a block does with its bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    If,
    Unless,
    Each,
    With,
    Contains,
    /// `{{#name}}`: by what the value is.
    Section,
    /// `{{^name}}`: if there is no value.
    Inverted,
}

/// A block.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) kind: Kind,
    /// From 1.
    pub(super) line: usize,
    pub(super) arguments: Vec<Expression>,
    /// `includeZero=true`.
    pub(super) include_zero: bool,
    /// How many names it gives: `as |value key|`.
    pub(super) names: usize,
    pub(super) body: Vec<Node>,
    pub(super) inverse: Vec<Node>,
}

/// What a value comes from.
#[derive(Debug)]
pub(super) enum Expression {
    Literal(Value),
    Path(Path),
    Call(Function, Vec<Expression>),
}

/// Where a path begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// The context, so many levels up.
    Context(usize),
    /// The variables.
    Root,
    /// `@index` and the like, so many loops up.
    Loop(usize),
    /// A name that a block gave, counted from the outermost.
    Name(usize),
}

/// A way to a value.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) start: Start,
    pub(super) parts: Vec<String>,
}

struct Builder {
    /// The names that blocks gave, outermost first.
    names: Vec<String>,
    line: usize,
}

pub(super) fn build(parsed: &Parsed) -> Result<Vec<Node>, Wrong> {
    Builder { names: Vec::new(), line: 1 }.nodes(parsed)
}

impl Builder {
    fn wrong(&self, problem: impl Into<String>) -> Wrong {
        Wrong { line: self.line, problem: problem.into() }
    }

    fn nodes(&mut self, parsed: &Parsed) -> Result<Vec<Node>, Wrong> {
        let mut nodes = Vec::with_capacity(parsed.elements.len());
        for (index, element) in parsed.elements.iter().enumerate() {
            if let Some(mapping) = parsed.mapping.get(index) {
                self.line = mapping.0;
            }
            match element {
                TemplateElement::RawString(text) => nodes.push(Node::Text(text.clone())),
                TemplateElement::Expression(call) | TemplateElement::HtmlExpression(call) => {
                    nodes.push(Node::Print(self.print(call)?));
                }
                TemplateElement::HelperBlock(block) => nodes.push(Node::Block(Box::new(self.block(block)?))),
                TemplateElement::Comment(_) => {}
                _ => return Err(self.wrong("partials and decorators are not supported")),
            }
        }
        Ok(nodes)
    }

    fn print(&self, call: &HelperTemplate) -> Result<Expression, Wrong> {
        if !call.params.is_empty() || !call.hash.is_empty() {
            return self.call(call);
        }
        match &call.name {
            Parameter::Name(name) => self.named(name),
            Parameter::Path(path) => match Function::of(raw(path)) {
                Some(function) => Ok(Expression::Call(function, Vec::new())),
                None => Ok(Expression::Path(self.path(path))),
            },
            other => self.expression(other),
        }
    }

    fn named(&self, name: &str) -> Result<Expression, Wrong> {
        if let Some(function) = Function::of(name) {
            return Ok(Expression::Call(function, Vec::new()));
        }
        let path = ParsedPath::parse(name).map_err(|_| self.wrong(format!("{name:?} is not a name")))?;
        Ok(Expression::Path(self.path(&path)))
    }

    fn call(&self, call: &HelperTemplate) -> Result<Expression, Wrong> {
        let name = call.name.as_name().unwrap_or_default();
        let Some(function) = Function::of(name) else {
            let known = Function::NAMES.map(|(name, _)| name).join(", ");
            return Err(self.wrong(format!("{name:?} is not a helper: there are {known}")));
        };
        let arguments =
            call.params.iter().map(|parameter| self.expression(parameter)).collect::<Result<_, _>>()?;
        Ok(Expression::Call(function, arguments))
    }

    fn expression(&self, parameter: &Parameter) -> Result<Expression, Wrong> {
        match parameter {
            Parameter::Literal(value) => Ok(Expression::Literal(value.clone())),
            Parameter::Path(path) => Ok(Expression::Path(self.path(path))),
            Parameter::Name(name) => self.named(name),
            Parameter::Subexpression(inner) => match inner.as_element() {
                TemplateElement::Expression(call) => self.print(call),
                _ => Err(self.wrong("an expression in brackets is not a call")),
            },
            _ => Err(self.wrong("this kind of parameter is not supported")),
        }
    }

    fn block(&mut self, block: &HelperTemplate) -> Result<Block, Wrong> {
        let line = self.line;
        let name = block.name.as_name().unwrap_or_default();
        let kind = match name {
            "if" => Kind::If,
            "unless" => Kind::Unless,
            "each" => Kind::Each,
            "with" => Kind::With,
            "contains" => Kind::Contains,
            SECTION => Kind::Section,
            INVERTED => Kind::Inverted,
            _ => return Err(self.wrong(format!("{name:?} is not a helper with a block"))),
        };
        let arguments: Vec<Expression> =
            block.params.iter().map(|parameter| self.expression(parameter)).collect::<Result<_, _>>()?;
        let wanted = if kind == Kind::Contains { 2 } else { 1 };
        if arguments.len() != wanted {
            return Err(
                self.wrong(format!("{{{{#{name}}}}} takes {wanted} argument(s), not {}", arguments.len()))
            );
        }
        let outside = self.names.len();
        match &block.block_param {
            Some(BlockParam::Single(name)) => self.give(name),
            Some(BlockParam::Pair((value, key))) => {
                self.give(value);
                self.give(key);
            }
            _ => {}
        }
        let names = self.names.len() - outside;
        let body = block.template.as_ref().map_or_else(|| Ok(Vec::new()), |body| self.nodes(body))?;
        self.names.truncate(outside);
        let inverse = block.inverse.as_ref().map_or_else(|| Ok(Vec::new()), |inverse| self.nodes(inverse))?;
        let include_zero = flag(&block.hash, "includeZero");
        Ok(Block { kind, line, arguments, include_zero, names, body, inverse })
    }

    fn give(&mut self, name: &Parameter) {
        self.names.push(name.as_name().unwrap_or_default().to_owned());
    }

    fn path(&self, path: &ParsedPath) -> Path {
        let mut parts = divide(raw(path));
        let mut up = 0;
        let is_loop = parts.first().is_some_and(|part| part == "@");
        if is_loop {
            parts.remove(0);
        }
        let mut is_explicit = false;
        while let Some(first) = parts.first() {
            match first.as_str() {
                ".." => up += 1,
                "this" | "." => {}
                _ => break,
            }
            is_explicit = true;
            parts.remove(0);
        }
        if is_loop {
            return Path { start: Start::Loop(up), parts };
        }
        if parts.first().is_some_and(|part| part == "@root") {
            parts.remove(0);
            return Path { start: Start::Root, parts };
        }
        let name = parts.first().filter(|_| !is_explicit);
        if let Some(index) = name.and_then(|name| self.names.iter().rposition(|known| known == name)) {
            parts.remove(0);
            return Path { start: Start::Name(index), parts };
        }
        Path { start: Start::Context(up), parts }
    }
}

fn flag(hash: &HashMap<String, Parameter>, key: &str) -> bool {
    matches!(hash.get(key), Some(Parameter::Literal(Value::Bool(true))))
}

fn raw(path: &ParsedPath) -> &str {
    match path {
        ParsedPath::Relative((_, raw)) | ParsedPath::Local((_, _, raw)) => raw,
    }
}

/// `../a.b/[c d]` → `..`, `a`, `b`, `c d`; `@../index` → `@`, `..`, `index`.
fn divide(raw: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = raw.trim();
    if let Some(local) = rest.strip_prefix('@').filter(|rest| !rest.starts_with("root")) {
        parts.push("@".to_owned());
        rest = local;
    }
    while !rest.is_empty() {
        if let Some(literal) = rest.strip_prefix('[') {
            let end = literal.find(']').unwrap_or(literal.len());
            parts.push(literal[..end].to_owned());
            rest = literal.get(end + 1..).unwrap_or_default();
        } else if rest.starts_with("..") {
            parts.push("..".to_owned());
            rest = &rest[2..];
        } else {
            let end = rest.find(['.', '/']).unwrap_or(rest.len());
            if end > 0 {
                parts.push(rest[..end].to_owned());
            }
            rest = &rest[end..];
        }
        rest = rest.strip_prefix(['.', '/']).unwrap_or(rest);
    }
    parts
}
