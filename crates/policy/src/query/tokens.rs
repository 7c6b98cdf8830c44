//! A query in pieces.

use super::parse::QueryError;
use super::test::Comparison;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Open,
    Close,
    Colon,
    Compare(Comparison),
    And,
    Or,
    Not,
    /// What stands between the asterisks of a word.
    Word(Vec<String>),
    /// In quotes: nothing in it has a meaning.
    Text(String),
}

/// The pieces, each with the number of its first character, counted from 1.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, QueryError> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().zip(1..).peekable();
    while let Some((first, at)) = chars.next() {
        let token = match first {
            _ if first.is_whitespace() => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            ':' => Token::Colon,
            '<' | '>' => {
                let or_equal = chars.next_if(|(next, _)| *next == '=').is_some();
                Token::Compare(match (first, or_equal) {
                    ('<', false) => Comparison::Less,
                    ('<', true) => Comparison::LessOrEqual,
                    (_, false) => Comparison::Greater,
                    (_, true) => Comparison::GreaterOrEqual,
                })
            }
            '"' => Token::Text(quoted(&mut chars, at)?),
            _ => word(first, &mut chars),
        };
        tokens.push((at, token));
    }
    Ok(tokens)
}

fn quoted(chars: &mut impl Iterator<Item = (char, usize)>, at: usize) -> Result<String, QueryError> {
    let mut inner = String::new();
    loop {
        match chars.next() {
            None => return Err(QueryError::Expected { expected: "the closing quote", at }),
            Some(('"', _)) => return Ok(inner),
            Some(('\\', _)) => inner.extend(chars.next().map(|(escaped, _)| escaped)),
            Some((other, _)) => inner.push(other),
        }
    }
}

/// A word. A backslash takes the meaning from what follows it.
fn word<I: Iterator<Item = (char, usize)>>(first: char, chars: &mut std::iter::Peekable<I>) -> Token {
    let mut parts = vec![String::new()];
    let mut is_plain = true;
    let mut next = Some(first);
    while let Some(char) = next {
        match (char, parts.last_mut()) {
            ('\\', Some(part)) => {
                is_plain = false;
                part.extend(chars.next().map(|(escaped, _)| escaped));
            }
            ('*', _) => parts.push(String::new()),
            (_, Some(part)) => part.push(char),
            (_, None) => {}
        }
        let more = chars.next_if(|(next, _)| !next.is_whitespace() && !"():\"<>".contains(*next));
        next = more.map(|(char, _)| char);
    }
    if is_plain && let [only] = parts.as_slice() {
        match only.to_ascii_lowercase().as_str() {
            "and" => return Token::And,
            "or" => return Token::Or,
            "not" => return Token::Not,
            _ => {}
        }
    }
    Token::Word(parts)
}
