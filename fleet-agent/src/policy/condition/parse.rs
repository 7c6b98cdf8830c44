//! From words to a tree.

use serde_json::{Number, Value};

use super::tokens::{Token, tokens};

/// Longer conditions are not read.
const LONGEST: usize = 64 * 1024;
/// Deeper nesting is not read.
const DEEPEST: usize = 64;

/// Why a text is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Something does not belong where it stands.
    #[error("unexpected {found:?} at character {at}")]
    Unexpected {
        /// Where, in bytes.
        at: usize,
        /// What.
        found: String,
    },
    /// The text ends too early.
    #[error("it ends where {0} is expected")]
    Ends(&'static str),
    /// Something is never closed.
    #[error("{what} at character {at} is never closed")]
    Unclosed {
        /// Where.
        at: usize,
        /// What.
        what: &'static str,
    },
    /// Too long.
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
    /// Too deep.
    #[error("it is nested deeper than {DEEPEST} levels")]
    TooDeep,
}

/// A condition, read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Value(Value),
    Variable(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
    Not(Box<Node>),
    Negative(Box<Node>),
    Both(&'static str, Box<Node>, Box<Node>),
    Call(String, Vec<Node>),
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<(usize, Token)>>,
    depth: usize,
}

/// How tightly signs bind, the loosest first.
const LEVELS: [&[&str]; 6] =
    [&["or"], &["and"], &["==", "!="], &["<", "<=", ">", ">="], &["+", "-"], &["*", "/", "%"]];

pub(super) fn parse(text: &str) -> Result<Node, ParseError> {
    if text.len() > LONGEST {
        return Err(ParseError::TooLong);
    }
    let mut parser = Parser { tokens: tokens(text)?.into_iter().peekable(), depth: 0 };
    let node = parser.level(0)?;
    match parser.tokens.next() {
        None => Ok(node),
        Some((at, token)) => Err(unexpected(at, &token)),
    }
}

impl Parser {
    fn level(&mut self, level: usize) -> Result<Node, ParseError> {
        let Some(signs) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.level(level + 1)?;
        // A long chain is as deep a tree as parentheses make.
        let mut length = 0;
        while let Some(sign) = self.take_one_of(signs) {
            length += 1;
            if length > DEEPEST * 8 {
                return Err(ParseError::TooDeep);
            }
            let right = self.level(level + 1)?;
            left = Node::Both(sign, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn take_one_of(&mut self, signs: &[&'static str]) -> Option<&'static str> {
        let (_, token) = self.tokens.peek()?;
        let found = match token {
            Token::Sign(sign) => signs.iter().find(|one| *one == sign),
            Token::Name(name) => signs.iter().find(|one| name.eq_ignore_ascii_case(one)),
            _ => None,
        };
        let found = found.copied()?;
        self.tokens.next();
        Some(found)
    }

    fn unary(&mut self) -> Result<Node, ParseError> {
        self.deeper(|parser| {
            if parser.take_one_of(&["not"]).is_some() {
                // `not a == b` is about the comparison.
                return parser.level(2).map(|node| Node::Not(Box::new(node)));
            }
            if parser.take_one_of(&["-"]).is_some() {
                return parser.unary().map(|node| Node::Negative(Box::new(node)));
            }
            parser.primary()
        })
    }

    fn deeper<T>(
        &mut self,
        read: impl FnOnce(&mut Parser) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(ParseError::TooDeep);
        }
        let outcome = read(self);
        self.depth -= 1;
        outcome
    }

    fn primary(&mut self) -> Result<Node, ParseError> {
        let (at, token) = self.tokens.next().ok_or(ParseError::Ends("a value"))?;
        match token {
            Token::Text(text) => Ok(Node::Value(text.into())),
            Token::Number(number) => Ok(Node::Value(Value::Number(number))),
            Token::Variable(inside) => Ok(Node::Variable(inside)),
            Token::Sign("(") => {
                let node = self.level(0)?;
                self.expect(")", at, "(")?;
                Ok(node)
            }
            Token::Sign("[") => self.several("]", at, "[").map(Node::List),
            Token::Sign("{") => self.members(at),
            Token::Name(name) => match name.to_ascii_lowercase().as_str() {
                "true" => Ok(Node::Value(true.into())),
                "false" => Ok(Node::Value(false.into())),
                "null" => Ok(Node::Value(Value::Null)),
                _ if self.take_one_of(&["("]).is_some() => {
                    self.several(")", at, "(").map(|arguments| Node::Call(name, arguments))
                }
                _ => Err(ParseError::Unexpected { at, found: name }),
            },
            token @ Token::Sign(_) => Err(unexpected(at, &token)),
        }
    }

    fn several(&mut self, end: &'static str, at: usize, what: &'static str) -> Result<Vec<Node>, ParseError> {
        let mut items = Vec::new();
        if self.take_one_of(&[end]).is_some() {
            return Ok(items);
        }
        loop {
            items.push(self.level(0)?);
            if self.take_one_of(&[","]).is_none() {
                self.expect(end, at, what)?;
                return Ok(items);
            }
        }
    }

    fn members(&mut self, at: usize) -> Result<Node, ParseError> {
        let mut members = Vec::new();
        if self.take_one_of(&["}"]).is_some() {
            return Ok(Node::Map(members));
        }
        loop {
            let key = match self.tokens.next().ok_or(ParseError::Ends("a key"))? {
                (_, Token::Text(text) | Token::Name(text)) => text,
                (at, token) => return Err(unexpected(at, &token)),
            };
            self.expect(":", at, "{")?;
            members.push((key, self.level(0)?));
            if self.take_one_of(&[","]).is_none() {
                self.expect("}", at, "{")?;
                return Ok(Node::Map(members));
            }
        }
    }

    fn expect(&mut self, sign: &'static str, at: usize, what: &'static str) -> Result<(), ParseError> {
        if self.take_one_of(&[sign]).is_some() {
            return Ok(());
        }
        match self.tokens.next() {
            None => Err(ParseError::Unclosed { at, what }),
            Some((at, token)) => Err(unexpected(at, &token)),
        }
    }
}

fn unexpected(at: usize, token: &Token) -> ParseError {
    let found = match token {
        Token::Text(text) | Token::Name(text) => text.chars().take(40).collect(),
        Token::Number(number) => Number::to_string(number),
        Token::Variable(inside) => format!("${{{inside}}}"),
        Token::Sign(sign) => (*sign).to_owned(),
    };
    ParseError::Unexpected { at, found }
}
