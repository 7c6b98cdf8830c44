//! Reading a query.

use super::{DEEPEST, Named, Node, Pattern};

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
    /// What is asked about has no such field.
    #[error("there is no field {0:?}")]
    UnknownField(String),
    /// Too many parentheses in each other.
    #[error("parentheses are nested more than {DEEPEST} deep")]
    TooDeep,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Colon,
    And,
    Or,
    Not,
    Word(String),
    /// In quotes: nothing in it has a meaning.
    Text(String),
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    end: usize,
}

pub(super) fn parse<F: Named>(text: &str) -> Result<Node<F>, QueryError> {
    let tokens = tokens(text)?;
    if tokens.is_empty() {
        return Ok(Node::All);
    }
    let mut parser = Parser { tokens, next: 0, end: text.chars().count() + 1 };
    let node = parser.either(0, None)?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.expected("and, or, or the end")),
    }
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, QueryError> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().zip(1..).peekable();
    while let Some((first, at)) = chars.next() {
        let token = match first {
            _ if first.is_whitespace() => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            ':' => Token::Colon,
            '"' => {
                let mut inner = String::new();
                loop {
                    match chars.next() {
                        None => return Err(QueryError::Expected { expected: "the closing quote", at }),
                        Some(('"', _)) => break,
                        Some(('\\', _)) => inner.extend(chars.next().map(|(escaped, _)| escaped)),
                        Some((other, _)) => inner.push(other),
                    }
                }
                Token::Text(inner)
            }
            _ => {
                let mut word = String::from(first);
                while let Some((next, _)) =
                    chars.next_if(|(next, _)| !next.is_whitespace() && !"():\"".contains(*next))
                {
                    word.push(next);
                }
                match word.to_ascii_lowercase().as_str() {
                    "and" => Token::And,
                    "or" => Token::Or,
                    "not" => Token::Not,
                    _ => Token::Word(word),
                }
            }
        };
        tokens.push((at, token));
    }
    Ok(tokens)
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn take(&mut self, token: &Token) -> bool {
        let is_there = self.peek() == Some(token);
        self.next += usize::from(is_there);
        is_there
    }

    fn expected(&self, expected: &'static str) -> QueryError {
        let at = self.tokens.get(self.next).map_or(self.end, |(at, _)| *at);
        QueryError::Expected { expected, at }
    }

    /// Alternatives. Within `field:( … )` the values stand alone.
    fn either<F: Named>(&mut self, depth: usize, field: Option<&F>) -> Result<Node<F>, QueryError> {
        let mut nodes = vec![self.all(depth, field)?];
        while self.take(&Token::Or) {
            nodes.push(self.all(depth, field)?);
        }
        Ok(one_or(nodes, Node::Or))
    }

    fn all<F: Named>(&mut self, depth: usize, field: Option<&F>) -> Result<Node<F>, QueryError> {
        let mut nodes = vec![self.single(depth, field)?];
        while self.take(&Token::And) {
            nodes.push(self.single(depth, field)?);
        }
        Ok(one_or(nodes, Node::And))
    }

    fn single<F: Named>(&mut self, depth: usize, field: Option<&F>) -> Result<Node<F>, QueryError> {
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
            return self.value(field);
        }
        let Some(Token::Word(name)) = self.peek().cloned() else {
            return Err(self.expected("a field, not, or ("));
        };
        self.next += 1;
        if !self.take(&Token::Colon) {
            return if name == "*" { Ok(Node::All) } else { Err(self.expected(":")) };
        }
        let field = F::named(&name).ok_or(QueryError::UnknownField(name))?;
        if self.take(&Token::Open) {
            let node = self.either(depth + 1, Some(&field))?;
            return if self.take(&Token::Close) { Ok(node) } else { Err(self.expected(")")) };
        }
        self.value(&field)
    }

    fn value<F: Named>(&mut self, field: &F) -> Result<Node<F>, QueryError> {
        let pattern = match self.peek() {
            Some(Token::Word(word)) => Pattern::new(word),
            Some(Token::Text(text)) => Pattern(vec![text.to_lowercase()]),
            _ => return Err(self.expected("a value")),
        };
        self.next += 1;
        Ok(Node::Is(field.clone(), pattern))
    }
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
