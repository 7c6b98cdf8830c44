//! Texts with `${…}` in them.
//!
//! `${NAME}`, `${NAME:default}`, `${NAME:+alternative}`, `${NAME:?error}`. Name, default and the rest may
//! contain others. `$${` stands for `${`.

/// How deep one may stand in another.
const DEEPEST: usize = 16;

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Reference(Reference),
}

/// A `${…}`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) name: Vec<Part>,
    pub(super) otherwise: Otherwise,
}

/// What follows the name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// Nothing: it must be set.
    Fail,
    /// `:default`, if it is not set.
    Default(Vec<Part>),
    /// `:+alternative`, if it is set; else nothing.
    Alternative(Vec<Part>),
    /// `:?text` of the error if it is not set.
    Error(Vec<Part>),
}

/// Whether there is anything to substitute in a text.
pub(super) fn is_template(text: &str) -> bool {
    text.contains("${")
}

/// Takes a text apart. The error is a sentence about it.
pub(super) fn parse(text: &str) -> Result<Vec<Part>, String> {
    let mut rest = text;
    let parts = parts(&mut rest, &[], 0)?;
    Ok(parts)
}

/// Reads up to one of the ends, which is left, or to the end of the text if there are no ends.
fn parts(rest: &mut &str, ends: &[char], depth: usize) -> Result<Vec<Part>, String> {
    if depth > DEEPEST {
        return Err(format!("${{…}} stand in each other deeper than {DEEPEST} levels"));
    }
    let (mut parts, mut text) = (Vec::new(), String::new());
    loop {
        if let Some(after) = rest.strip_prefix("$${") {
            text.push_str("${");
            *rest = after;
        } else if let Some(after) = rest.strip_prefix("${") {
            *rest = after;
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Reference(reference(rest, depth)?));
        } else {
            let Some(next) = rest.chars().next() else { break };
            if ends.contains(&next) {
                break;
            }
            text.push(next);
            *rest = &rest[next.len_utf8()..];
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

fn reference(rest: &mut &str, depth: usize) -> Result<Reference, String> {
    let name = parts(rest, &[':', '}'], depth + 1)?;
    if name.is_empty() {
        return Err("${…} has no name in it".to_owned());
    }
    let otherwise = if let Some(after) = rest.strip_prefix(":+") {
        *rest = after;
        Otherwise::Alternative(parts(rest, &['}'], depth + 1)?)
    } else if let Some(after) = rest.strip_prefix(":?") {
        *rest = after;
        Otherwise::Error(parts(rest, &['}'], depth + 1)?)
    } else if let Some(after) = rest.strip_prefix(':') {
        *rest = after;
        Otherwise::Default(parts(rest, &['}'], depth + 1)?)
    } else {
        Otherwise::Fail
    };
    match rest.strip_prefix('}') {
        Some(after) => {
            *rest = after;
            Ok(Reference { name, otherwise })
        }
        None => Err("a ${ is not closed by a }".to_owned()),
    }
}
