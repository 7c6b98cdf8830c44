//! Reading a query.

use super::pattern::Pattern;
use super::test::{Bound, Comparison, Test};
use super::tokens::{Token, tokens};
use super::{DEEPEST, Field, Kind, LONGEST, Node, date};
use crate::timestamp::Timestamp;
use crate::version::Version;

/// Why a text is no query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Something else was expected.
    #[error("expected {expected} at character {at}")]
    Expected {
        /// What.
        expected: &'static str,
        /// Where, counted from 1.
        at: usize,
    },
    /// The things have no such field.
    #[error("{things} have no field {field:?} (at character {at}); there are {known}")]
    UnknownField {
        /// What the things are called.
        things: &'static str,
        /// The field that was asked about.
        field: String,
        /// Where, counted from 1.
        at: usize,
        /// Those that there are.
        known: String,
    },
    /// Too many parentheses in each other.
    #[error("parentheses are nested more than {DEEPEST} deep")]
    TooDeep,
    /// Too much to read.
    #[error("a query has at most {LONGEST} bytes")]
    TooLong,
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    end: usize,
    now: Timestamp,
}

pub(super) fn parse<F: Field>(text: &str, now: Timestamp) -> Result<Node<F>, QueryError> {
    if text.len() > LONGEST {
        return Err(QueryError::TooLong);
    }
    let tokens = tokens(text)?;
    if tokens.is_empty() {
        return Ok(Node::All);
    }
    let mut parser = Parser { tokens, next: 0, end: text.chars().count() + 1, now };
    let node = parser.either(0, None)?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.expected("and, or, or the end")),
    }
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(at, _)| *at)
    }

    fn take(&mut self, token: &Token) -> bool {
        let is_there = self.peek() == Some(token);
        self.next += usize::from(is_there);
        is_there
    }

    fn expected(&self, expected: &'static str) -> QueryError {
        QueryError::Expected { expected, at: self.at() }
    }

    /// Alternatives. Within `field:( … )` the values stand alone.
    fn either<F: Field>(&mut self, depth: usize, field: Option<&F>) -> Result<Node<F>, QueryError> {
        let mut nodes = vec![self.all(depth, field)?];
        while self.take(&Token::Or) {
            nodes.push(self.all(depth, field)?);
        }
        Ok(one_or(nodes, Node::Or))
    }

    fn all<F: Field>(&mut self, depth: usize, field: Option<&F>) -> Result<Node<F>, QueryError> {
        let mut nodes = vec![self.single(depth, field)?];
        while self.take(&Token::And) {
            nodes.push(self.single(depth, field)?);
        }
        Ok(one_or(nodes, Node::And))
    }

    fn single<F: Field>(&mut self, depth: usize, field: Option<&F>) -> Result<Node<F>, QueryError> {
        if depth > DEEPEST {
            return Err(QueryError::TooDeep);
        }
        if self.take(&Token::Not) {
            return Ok(Node::Not(Box::new(self.single(depth + 1, field)?)));
        }
        if self.take(&Token::Open) {
            let node = self.either(depth + 1, field)?;
            return if self.take(&Token::Close) { Ok(node) } else { Err(self.expected(")")) };
        }
        if let Some(field) = field {
            return self.value(field.clone());
        }
        let at = self.at();
        let name = match self.peek() {
            Some(Token::Word(parts)) => parts.join("*"),
            Some(Token::Text(text)) => text.clone(),
            _ => return Err(self.expected("a field, not, or (")),
        };
        self.next += 1;
        if let Some(Token::Compare(comparison)) = self.peek() {
            let comparison = *comparison;
            self.next += 1;
            let field: F = known(&name, at)?;
            let bound = self.bound(&field)?;
            return Ok(Node::Is(field, Test::Compares(comparison, bound)));
        }
        if !self.take(&Token::Colon) {
            return if name == "*" { Ok(Node::All) } else { Err(self.expected(": or a comparison")) };
        }
        if name == "*" && matches!(self.peek(), Some(Token::Word(parts)) if is_any(parts)) {
            self.next += 1;
            return Ok(Node::All);
        }
        let field: F = known(&name, at)?;
        if self.take(&Token::Open) {
            let node = self.either(depth + 1, Some(&field))?;
            return if self.take(&Token::Close) { Ok(node) } else { Err(self.expected(")")) };
        }
        // `field:>5` is what people mean by `field > 5`.
        if let Some(Token::Compare(comparison)) = self.peek() {
            let comparison: Comparison = *comparison;
            self.next += 1;
            let bound = self.bound(&field)?;
            return Ok(Node::Is(field, Test::Compares(comparison, bound)));
        }
        self.value(field)
    }

    /// One value that the field is to have.
    fn value<F: Field>(&mut self, field: F) -> Result<Node<F>, QueryError> {
        let pattern = match self.peek() {
            Some(Token::Word(parts)) => Pattern::new(parts),
            Some(Token::Text(text)) => Pattern::exactly(text),
            _ => return Err(self.expected("a value")),
        };
        if pattern.is_any() {
            self.next += 1;
            return Ok(Node::Is(field, Test::Exists));
        }
        let test = match field.kind() {
            Kind::Text | Kind::Version | Kind::Any => Test::Like(pattern),
            Kind::Number => {
                let number = pattern.text().and_then(|text| text.parse().ok());
                Test::Equals(number.ok_or_else(|| self.expected("a number"))?)
            }
            Kind::Time => {
                let (from, length) = self.moment()?;
                self.next += 1;
                return Ok(Node::Is(field, Test::Within(from, from + length)));
            }
        };
        self.next += 1;
        Ok(Node::Is(field, test))
    }

    /// The plain text of the next piece, in the case that it was written in.
    fn plain(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Word(parts)) => match parts.as_slice() {
                [only] => Some(only),
                _ => None,
            },
            Some(Token::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn moment(&self) -> Result<(Timestamp, std::time::Duration), QueryError> {
        let moment = self.plain().and_then(|text| date::parse(text, self.now));
        moment.ok_or_else(|| self.expected("a date such as 2026-01-31, \"2026-01-31T12:00:00Z\" or now-1d"))
    }

    fn bound<F: Field>(&mut self, field: &F) -> Result<Bound, QueryError> {
        let text = self.plain().ok_or_else(|| self.expected("a value without *"))?;
        let bound = match field.kind() {
            Kind::Text => Bound::Text(text.to_owned()),
            // Documents write moments as texts that are in the order of the moments.
            Kind::Any if text.starts_with("now") => Bound::Text(self.moment()?.0.to_string()),
            Kind::Any => Bound::Text(text.to_owned()),
            Kind::Version => {
                let version = Version::parse(text);
                Bound::Version(version.ok_or_else(|| self.expected("a version such as 9.6.0"))?)
            }
            Kind::Number => {
                let number = text.parse();
                Bound::Number(number.map_err(|_| self.expected("a number"))?)
            }
            Kind::Time => Bound::Time(self.moment()?.0),
        };
        self.next += 1;
        Ok(bound)
    }
}

fn is_any(parts: &[String]) -> bool {
    parts.len() > 1 && parts.iter().all(String::is_empty)
}

fn known<F: Field>(name: &str, at: usize) -> Result<F, QueryError> {
    F::named(name).ok_or_else(|| {
        let field = name.chars().take(128).collect();
        QueryError::UnknownField { things: F::THINGS, field, at, known: F::known() }
    })
}

fn one_or<F>(mut nodes: Vec<Node<F>>, many: fn(Vec<Node<F>>) -> Node<F>) -> Node<F> {
    match (nodes.pop(), nodes.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            nodes.extend(last);
            many(nodes)
        }
    }
}
