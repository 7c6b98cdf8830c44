//! The words of a condition.

use super::parse::ParseError;

/// A word, and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Text(String),
    Number(serde_json::Number),
    /// What stands between `${` and `}`.
    Variable(String),
    /// A name: `and`, `true`, a function.
    Name(String),
    /// `==`, `(`, …
    Sign(&'static str),
}

const SIGNS: [&str; 19] =
    ["==", "!=", "<=", ">=", "<", ">", "(", ")", "[", "]", "{", "}", ",", ":", "+", "-", "*", "/", "%"];

pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, ParseError> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(char) = text[at..].chars().next() {
        let rest = &text[at..];
        let (token, length) = if char.is_whitespace() {
            at += char.len_utf8();
            continue;
        } else if let Some(inside) = rest.strip_prefix("${") {
            let end = end_of_variable(inside).ok_or(ParseError::Unclosed { at, what: "${" })?;
            (Token::Variable(inside[..end].to_owned()), end + 3)
        } else if matches!(char, '\'' | '"') {
            text_token(rest, char).ok_or(ParseError::Unclosed { at, what: "a quote" })?
        } else if char.is_ascii_digit() {
            number(rest)
                .ok_or_else(|| ParseError::Unexpected { at, found: rest.chars().take(20).collect() })?
        } else if char.is_alphabetic() || char == '_' {
            let end = rest.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(rest.len());
            (Token::Name(rest[..end].to_owned()), end)
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            (Token::Sign(sign), sign.len())
        } else {
            return Err(ParseError::Unexpected { at, found: char.to_string() });
        };
        found.push((at, token));
        at += length;
    }
    Ok(found)
}

fn end_of_variable(inside: &str) -> Option<usize> {
    let mut quote = None;
    for (at, char) in inside.char_indices() {
        match (quote, char) {
            (None, '}') => return Some(at),
            (None, '\'' | '"') => quote = Some(char),
            (Some(open), char) if open == char => quote = None,
            _ => {}
        }
    }
    None
}

/// The text and how long it is with its quotes.
fn text_token(rest: &str, quote: char) -> Option<(Token, usize)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, char)) = chars.next() {
        match char {
            char if char == quote => return Some((Token::Text(text), at + 1)),
            '\\' => match chars.next()?.1 {
                'n' => text.push('\n'),
                'r' => text.push('\r'),
                't' => text.push('\t'),
                other @ ('\\' | '\'' | '"') => text.push(other),
                // What means nothing stays as it is: a pattern's `\d` needs no second backslash.
                other => text.extend(['\\', other]),
            },
            other => text.push(other),
        }
    }
    None
}

fn number(rest: &str) -> Option<(Token, usize)> {
    let end = rest.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(rest.len());
    let text = &rest[..end];
    let number = match text.parse::<i64>() {
        Ok(whole) => serde_json::Number::from(whole),
        Err(_) => serde_json::Number::from_f64(text.parse().ok()?)?,
    };
    Some((Token::Number(number), end))
}
