//! Shell patterns over unit names, as Go's `path.Match` has them.
//!
//! `*` is any text and `?` any one character, both without `/`; `[a-z]` one of these characters, `[^a-z]`
//! one that is not; `\` takes the meaning from what follows. The pattern must match the whole name.

/// One character's worth of a pattern.
enum Token {
    /// `*`
    AnyText,
    /// `?`
    AnyChar,
    /// `[...]`: ranges, both ends included
    Class { negated: bool, ranges: Vec<(char, char)> },
    /// Itself.
    Literal(char),
}

/// Whether the whole name matches. A malformed pattern matches nothing.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    tokens(pattern).is_some_and(|tokens| tokens_match(&tokens, &name.chars().collect::<Vec<_>>()))
}

/// Whether a pattern is well-formed: each `[` has its `]`, no class is empty, and something follows a `\`.
#[must_use]
pub fn is_valid(pattern: &str) -> bool {
    tokens(pattern).is_some()
}

/// Reads a pattern; `None` if it is malformed.
fn tokens(pattern: &str) -> Option<Vec<Token>> {
    let mut chars = pattern.chars();
    let mut tokens = Vec::new();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::AnyText,
            '?' => Token::AnyChar,
            '[' => class(&mut chars)?,
            '\\' => Token::Literal(chars.next()?),
            c => Token::Literal(c),
        });
    }
    Some(tokens)
}

/// Reads a class from behind its `[`.
fn class(chars: &mut std::str::Chars<'_>) -> Option<Token> {
    let negated = chars.as_str().starts_with('^');
    if negated {
        chars.next();
    }
    let mut ranges = Vec::new();
    loop {
        if chars.as_str().starts_with(']') && !ranges.is_empty() {
            chars.next();
            return Some(Token::Class { negated, ranges });
        }
        let low = class_char(chars)?;
        let high = if chars.as_str().starts_with('-') {
            chars.next();
            class_char(chars)?
        } else {
            low
        };
        ranges.push((low, high));
    }
}

/// One end of a range: `-` and `]` must be escaped there.
fn class_char(chars: &mut std::str::Chars<'_>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

/// Walks both at once; where it gets stuck, the last `*` takes one character more. That is enough: what
/// stands before a `*` can be settled as early as possible.
fn tokens_match(tokens: &[Token], name: &[char]) -> bool {
    let (mut token, mut position) = (0, 0);
    // After the last `*`: the next token, and how far that `*` reaches.
    let mut last_star: Option<(usize, usize)> = None;
    loop {
        match (tokens.get(token), name.get(position)) {
            (None, None) => return true,
            (Some(Token::AnyText), _) => {
                token += 1;
                last_star = Some((token, position));
                continue;
            }
            (Some(one), Some(c)) if one.matches(*c) => {
                token += 1;
                position += 1;
                continue;
            }
            _ => {}
        }
        match last_star {
            Some((after, reach)) if name.get(reach).is_some_and(|c| *c != '/') => {
                last_star = Some((after, reach + 1));
                (token, position) = (after, reach + 1);
            }
            _ => return false,
        }
    }
}

impl Token {
    /// Whether this token is this one character.
    fn matches(&self, c: char) -> bool {
        match self {
            Token::AnyText => false,
            Token::AnyChar => c != '/',
            Token::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
            Token::Literal(literal) => *literal == c,
        }
    }
}
