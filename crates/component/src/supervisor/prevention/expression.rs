//! A small language of conditions: comparisons of `${names}` and constants, `and`, `or`, `not`, parentheses.

use std::cmp::Ordering;

/// Deeper ones are refused: they are read by recursion.
const DEEPEST: usize = 32;

/// A constant, or what a name stands for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Null,
    Boolean(bool),
    Number(f64),
    Text(String),
}

/// Why a condition cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExpressionError {
    /// Something else was expected.
    #[error("{expected} is expected at {found:?}")]
    Unexpected {
        /// What.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// It is too deep.
    #[error("it is nested deeper than {DEEPEST} levels")]
    TooDeep,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    Value(Operand),
    Compare(Operand, Comparison, Operand),
    Not(Box<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    Name(String),
    Literal(Literal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    LessOrEqual,
    MoreOrEqual,
    Less,
    More,
}

/// Longer ones first: `<` begins `<=`.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::MoreOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::More),
];

impl Expression {
    pub(super) fn parse(text: &str) -> Result<Expression, ExpressionError> {
        let mut parser = Parser { rest: text, depth: 0 };
        let expression = parser.any_of()?;
        if parser.rest.trim().is_empty() { Ok(expression) } else { Err(parser.unexpected("the end")) }
    }

    pub(super) fn holds(&self, find: &dyn Fn(&str) -> Literal) -> bool {
        match self {
            Expression::Value(operand) => operand.value(find) == Literal::Boolean(true),
            Expression::Not(inner) => !inner.holds(find),
            Expression::And(parts) => parts.iter().all(|part| part.holds(find)),
            Expression::Or(parts) => parts.iter().any(|part| part.holds(find)),
            Expression::Compare(left, comparison, right) => {
                comparison.holds(&left.value(find), &right.value(find))
            }
        }
    }
}

impl Operand {
    fn value(&self, find: &dyn Fn(&str) -> Literal) -> Literal {
        match self {
            Operand::Name(name) => find(name),
            Operand::Literal(literal) => literal.clone(),
        }
    }
}

impl Comparison {
    fn holds(self, left: &Literal, right: &Literal) -> bool {
        let order = match (left, right) {
            (Literal::Number(left), Literal::Number(right)) => left.partial_cmp(right),
            (Literal::Text(left), Literal::Text(right)) => Some(left.cmp(right)),
            _ => None,
        };
        match self {
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::Less => order == Some(Ordering::Less),
            Comparison::More => order == Some(Ordering::Greater),
            Comparison::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Comparison::MoreOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn any_of(&mut self) -> Result<Expression, ExpressionError> {
        let mut parts = vec![self.all_of()?];
        while self.word("or") {
            parts.push(self.all_of()?);
        }
        Ok(single(parts, Expression::Or))
    }

    fn all_of(&mut self) -> Result<Expression, ExpressionError> {
        let mut parts = vec![self.one()?];
        while self.word("and") {
            parts.push(self.one()?);
        }
        Ok(single(parts, Expression::And))
    }

    fn one(&mut self) -> Result<Expression, ExpressionError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(ExpressionError::TooDeep);
        }
        let expression = if self.word("not") {
            Expression::Not(Box::new(self.one()?))
        } else if self.token("(") {
            let inner = self.any_of()?;
            if !self.token(")") {
                return Err(self.unexpected("a closing parenthesis"));
            }
            inner
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn comparison(&mut self) -> Result<Expression, ExpressionError> {
        let left = self.operand()?;
        for (token, comparison) in COMPARISONS {
            if self.token(token) {
                return Ok(Expression::Compare(left, comparison, self.operand()?));
            }
        }
        Ok(Expression::Value(left))
    }

    fn operand(&mut self) -> Result<Operand, ExpressionError> {
        self.rest = self.rest.trim_start();
        if let Some(rest) = self.rest.strip_prefix("${") {
            let end = rest.find('}').ok_or_else(|| self.unexpected("a closing brace"))?;
            let name = rest[..end].trim().to_owned();
            self.rest = &rest[end + 1..];
            return Ok(Operand::Name(name));
        }
        for quote in ['\'', '"'] {
            if let Some(rest) = self.rest.strip_prefix(quote) {
                let end = rest.find(quote).ok_or_else(|| self.unexpected("a closing quote"))?;
                let text = rest[..end].to_owned();
                self.rest = &rest[end + 1..];
                return Ok(Operand::Literal(Literal::Text(text)));
            }
        }
        for (word, literal) in
            [("true", Literal::Boolean(true)), ("false", Literal::Boolean(false)), ("null", Literal::Null)]
        {
            if self.word(word) {
                return Ok(Operand::Literal(literal));
            }
        }
        let end = self.rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-');
        let (number, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        let number =
            number.parse().map_err(|_| self.unexpected("a name, a text, a number, true or false"))?;
        self.rest = rest;
        Ok(Operand::Literal(Literal::Number(number)))
    }

    fn token(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// A word, not the beginning of a longer one.
    fn word(&mut self, word: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(word);
        let rest = rest.filter(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn unexpected(&self, expected: &'static str) -> ExpressionError {
        ExpressionError::Unexpected { expected, found: self.rest.chars().take(40).collect() }
    }
}

fn single(mut parts: Vec<Expression>, several: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.len() {
        1 => parts.swap_remove(0),
        _ => several(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str) -> bool {
        let find = |name: &str| match name {
            "runtime.arch" => Literal::Text("amd64".to_owned()),
            "runtime.major" => Literal::Number(12.0),
            "user.root" => Literal::Boolean(true),
            _ => Literal::Null,
        };
        Expression::parse(text).expect(text).holds(&find)
    }

    #[test]
    fn conditions_are_decided() {
        assert!(holds("${runtime.arch} == 'amd64'"));
        assert!(!holds("${runtime.arch} == \"arm64\""));
        assert!(holds("${runtime.major} >= 12 and ${runtime.major} < 12.5"));
        assert!(holds("${runtime.arch} == 'x' or ${user.root}"));
        assert!(holds("not (${runtime.arch} == 'x' or ${user.root} == false)"));
        assert!(!holds("${runtime.unknown} == 'x'"));
        assert!(!holds("${runtime.arch} < 3"));
        assert!(holds("${user.root} == true and not ${runtime.arch} != 'amd64'"));
    }

    #[test]
    fn broken_conditions_are_errors() {
        let deep = format!("{}true", "(".repeat(100));
        for broken in ["", "${a", "'x", "1 ==", "(true", "true true", "== 1", "${a} == ", deep.as_str()] {
            assert!(Expression::parse(broken).is_err(), "{broken}");
        }
    }
}
