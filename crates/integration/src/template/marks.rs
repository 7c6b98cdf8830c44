//! Values that must not be told letter by letter, marked on their way through a template.
//!
//! What a YAML variable holds has to be put in at the right indentation, and a text of digits must stay a
//! text: both depend on where a template puts them. So they go through the template between letters that
//! no policy has, and are settled in what was rendered.

use std::borrow::Cow;

use serde_json::Value;

use crate::yaml;

/// Before and after YAML.
const YAML: [char; 2] = ['\u{e000}', '\u{e001}'];
/// Before and after a text that looks like a number.
const DIGITS: [char; 2] = ['\u{e002}', '\u{e003}'];
/// How each of the marks begins in UTF-8: what has no such byte has no mark.
const FIRST_BYTE: u8 = 0xee;

fn is_mark(letter: char) -> bool {
    ('\u{e000}'..='\u{e003}').contains(&letter)
}

/// A text without marks: what came with one of its own, and what is compared.
pub(crate) fn removed(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte == FIRST_BYTE) && text.contains(is_mark) {
        Cow::Owned(text.replace(is_mark, ""))
    } else {
        Cow::Borrowed(text)
    }
}

/// What a variable of YAML is to a template; without any value in it, an empty text.
pub(crate) fn yaml(text: &str) -> String {
    let says_nothing = |line: &str| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line == "---"
    };
    if text.lines().all(says_nothing) {
        return String::new();
    }
    format!("{}{}{}", YAML[0], removed(text), YAML[1])
}

/// What a text is to a template.
pub(crate) fn text(text: &str) -> String {
    let plain = removed(text);
    if !plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_digit()) {
        return format!("{}{plain}{}", DIGITS[0], DIGITS[1]);
    }
    plain.into_owned()
}

/// Puts in what was marked.
pub(crate) fn settle(rendered: String) -> String {
    if !rendered.bytes().any(|byte| byte == FIRST_BYTE) {
        return rendered;
    }
    let mut out = String::with_capacity(rendered.len());
    let mut rest = rendered.as_str();
    while let Some(at) = rest.find(is_mark) {
        let (before, marked) = rest.split_at(at);
        out.push_str(before);
        let end = if marked.starts_with(YAML[0]) { Some(YAML[1]) } else { None };
        let end = end.or_else(|| marked.starts_with(DIGITS[0]).then_some(DIGITS[1]));
        let inside = &marked[YAML[0].len_utf8()..];
        let Some((inside, after)) = end.and_then(|end| inside.split_once(end)) else {
            // An end alone: a helper has cut the text.
            rest = inside;
            continue;
        };
        let tail = after.split('\n').next().unwrap_or_default();
        if end == Some(YAML[1]) {
            splice(&mut out, inside, tail);
        } else {
            digits(&mut out, inside, tail);
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The line that is being written.
fn head(out: &str) -> &str {
    out.rsplit('\n').next().unwrap_or_default()
}

fn is_comment_or_blank(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || text.starts_with('#')
}

/// Digits that are a whole scalar go into quotes.
fn digits(out: &mut String, text: &str, tail: &str) {
    let head = head(out);
    let before = head.trim_end();
    let in_flow = before.matches(['[', '{']).count() > before.matches([']', '}']).count();
    let begins = before.is_empty()
        || (before.len() < head.len()
            && (before.ends_with(':') || before.trim_start() == "-" || before.ends_with(" -")))
        || (in_flow && before.ends_with(['[', ',', '{']));
    let after = tail.trim_start();
    let ends = after.is_empty() || (after.len() < tail.len() && after.starts_with('#'));
    let ends = ends || (in_flow && after.starts_with([',', ']', '}']));
    let in_quotes = before.matches('"').count() % 2 == 1 || before.matches('\'').count() % 2 == 1;
    if begins && ends && !in_quotes {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(text);
    }
}

/// YAML goes in as a block where it has its lines for itself, and in one line elsewhere.
fn splice(out: &mut String, text: &str, tail: &str) {
    let head = head(out);
    if !(head.trim().is_empty() && is_comment_or_blank(tail)) {
        let inline = inline(text);
        out.push_str(&inline);
        return;
    }
    let token = head.len();
    let before = &out[..out.len() - token];
    let indentation = indentation(before, token, is_list(text));
    out.truncate(out.len() - token);
    let own = text.lines().find(|line| !is_comment_or_blank(line)).map_or(0, leading);
    let mut first = true;
    for line in text.lines() {
        if !std::mem::take(&mut first) {
            out.push('\n');
        }
        if line.trim().is_empty() {
            continue;
        }
        out.push_str(&" ".repeat(indentation));
        out.push_str(&line[leading(line).min(own)..]);
    }
}

fn leading(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

fn is_list(text: &str) -> bool {
    text.lines().find(|line| !is_comment_or_blank(line)).is_some_and(is_item)
}

fn is_item(line: &str) -> bool {
    let line = line.trim();
    line == "-" || line.starts_with("- ")
}

/// Where a block begins that follows these lines, if the template wanted it there.
fn indentation(before: &str, wanted: usize, is_list: bool) -> usize {
    let mut item = None;
    for line in before.lines().rev().filter(|line| !is_comment_or_blank(line)) {
        // `- key:`: what belongs to the key counts from the key.
        let key = line.trim_start_matches([' ', '-']);
        let column = if is_item(line) { line.len() - key.len() } else { leading(line) };
        let opens = without_comment(line).trim_end().ends_with(':');
        if item.is_none() && opens {
            // The value of that key, unless it is a key beside it.
            let least = if is_list { column } else { column + 1 };
            return if wanted >= least || column > wanted {
                wanted
            } else {
                column + if is_list { 0 } else { 2 }
            };
        }
        if !is_list || leading(line) < wanted || (opens && leading(line) <= wanted && !is_item(line)) {
            break;
        }
        if is_item(line) {
            // More items of the list that is there.
            item = Some(item.map_or(leading(line), |known: usize| known.min(leading(line))));
        }
    }
    item.unwrap_or(wanted)
}

fn without_comment(line: &str) -> &str {
    line.find(" #").map_or(line, |at| &line[..at])
}

/// The same as a part of a line.
fn inline(text: &str) -> Cow<'_, str> {
    let trimmed = text.trim();
    match yaml::parse_json(text) {
        Ok(value @ (Value::Array(_) | Value::Object(_))) => Cow::Owned(value.to_string()),
        Ok(value) if trimmed.contains('\n') => Cow::Owned(value.to_string()),
        // What is wrong with it is told where the whole is read.
        _ => Cow::Borrowed(trimmed),
    }
}
