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
/// Before and after a text that is something else where it stands alone, as digits are.
const GUARDED: [char; 2] = ['\u{e002}', '\u{e003}'];
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
    // A document's beginning has no place inside of another.
    let text = text.trim_start_matches('\u{feff}');
    let text = text.strip_prefix("---").filter(|rest| rest.starts_with(char::is_whitespace)).unwrap_or(text);
    format!("{}{}{}", YAML[0], removed(text), YAML[1])
}

/// What a text is to a template.
pub(crate) fn text(text: &str) -> String {
    let plain = removed(text);
    let is_digits = !plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_digit());
    // Where a scalar begins so, YAML reads an alias, an anchor, or nothing at all.
    if (is_digits || plain.starts_with(['*', '&', '@', '`'])) && !plain.contains('\n') {
        return format!("{}{plain}{}", GUARDED[0], GUARDED[1]);
    }
    plain.into_owned()
}

/// The most marked values in one text, and its longest, in bytes: looking around each takes its time.
const MOST_MARKED: usize = 10_000;
const LONGEST: usize = 8 * 1024 * 1024;
/// How far is looked in a line, in bytes, and over how many lines.
const WINDOW: usize = 4096;
const LINES: usize = 200;

/// Puts in what was marked.
///
/// # Errors
/// More than there may be.
pub(crate) fn settle(rendered: String) -> Result<String, String> {
    if !rendered.bytes().any(|byte| byte == FIRST_BYTE) {
        return Ok(rendered);
    }
    let mut out = String::with_capacity(rendered.len());
    let (mut rest, mut count) = (rendered.as_str(), 0);
    while let Some(at) = rest.find(is_mark) {
        let (before, marked) = rest.split_at(at);
        out.push_str(before);
        count += 1;
        if count > MOST_MARKED {
            return Err(format!("there are more than {MOST_MARKED} values of variables in it"));
        }
        let end = if marked.starts_with(YAML[0]) { Some(YAML[1]) } else { None };
        let end = end.or_else(|| marked.starts_with(GUARDED[0]).then_some(GUARDED[1]));
        let inside = &marked[YAML[0].len_utf8()..];
        let Some((inside, after)) = end.and_then(|end| inside.split_once(end)) else {
            // An end alone: a helper has cut the text.
            rest = inside;
            continue;
        };
        let tail = &after[..after.floor_char_boundary(WINDOW)];
        let tail = tail.split('\n').next().unwrap_or_default();
        if end == Some(YAML[1]) {
            splice(&mut out, inside, tail)?;
        } else {
            guarded(&mut out, inside, tail);
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// The line that is being written, or its end.
fn head(out: &str) -> &str {
    let end = &out[out.floor_char_boundary(out.len().saturating_sub(WINDOW))..];
    end.rsplit('\n').next().unwrap_or_default()
}

fn is_comment_or_blank(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || text.starts_with('#')
}

/// A text that is a whole scalar goes into quotes.
fn guarded(out: &mut String, text: &str, tail: &str) {
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
        out.push_str(&Value::from(text).to_string());
    } else {
        out.push_str(text);
    }
}

/// YAML goes in as a block where it has its lines for itself, and in one line elsewhere.
fn splice(out: &mut String, text: &str, tail: &str) -> Result<(), String> {
    let head = head(out);
    if !(head.trim().is_empty() && is_comment_or_blank(tail)) {
        let inline = inline(text);
        out.push_str(&inline);
        return Ok(());
    }
    let token = head.len();
    let before = &out[..out.len() - token];
    let indentation = indentation(before, token, is_list(text));
    out.truncate(out.len() - token);
    if out.len() + text.len() + text.lines().count() * indentation > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
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
    Ok(())
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
    let lines = || before.lines().rev().take(LINES).filter(|line| !is_comment_or_blank(line));
    let Some(last) = lines().next() else { return wanted };
    if without_comment(last).trim_end().ends_with(':') {
        // The value of that key, unless it is a key beside it. In `- key:` it counts from the key.
        let column = last.len() - last.trim_start_matches([' ', '-']).len();
        let column = if is_item(last) { column } else { leading(last) };
        let least = if is_list { column } else { column + 1 };
        let is_outer = |line: &str| leading(line) == wanted && is_item(line) == is_list;
        let stays = wanted >= least || (wanted < column && lines().skip(1).any(is_outer));
        return if stays { wanted } else { column + if is_list { 0 } else { 2 } };
    }
    if !is_list {
        return wanted;
    }
    // More items of the list that is there: all that is deeper than what the list is the value of.
    let items =
        lines().take_while(|line| leading(line) > wanted || (leading(line) == wanted && is_item(line)));
    items.filter(|line| is_item(line)).map(leading).min().unwrap_or(wanted)
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What a template comes to in which `@` stands for YAML and `#n` for a text of digits.
    fn settled(template: &str, text: &str) -> Value {
        let rendered = template.replace('@', &yaml(text)).replace("NUMBER", &super::text("42"));
        let settled = settle(rendered).unwrap();
        crate::yaml::parse_json(&settled).unwrap_or_else(|error| panic!("{error}\n{settled}"))
    }

    #[test]
    fn yaml_is_put_in_where_it_belongs() {
        let list = "- a: 1\n  b: 2\n- c\n";
        let items = json!([{"a": 1, "b": 2}, "c"]);
        let map = "x: 1\ny:\n  - z # last\n";
        let entries = json!({"x": 1, "y": ["z"]});
        for (template, text, wanted) in [
            ("p:\n@\n", list, json!({"p": items})),
            ("p:\n  @\n", list, json!({"p": items})),
            ("p:\n    @\nq: 1", list, json!({"p": items, "q": 1})),
            ("p: @\nq: 1", list, json!({"p": items, "q": 1})),
            ("p: # ours\n@\n", list, json!({"p": items})),
            ("p:\n@\n", map, json!({"p": entries})),
            ("p:\n  @\n", map, json!({"p": entries})),
            ("p: @\n", map, json!({"p": entries})),
            ("q: 1\n@\n", map, json!({"q": 1, "x": 1, "y": ["z"]})),
            ("@\nq: 1\n", map, json!({"q": 1, "x": 1, "y": ["z"]})),
            ("p:\n- q\n@\n", list, json!({"p": ["q", {"a": 1, "b": 2}, "c"]})),
            ("p:\n  - q:\n      r: 1\n@\n", list, json!({"p": [{"q": {"r": 1}}, {"a": 1, "b": 2}, "c"]})),
            ("p:\n  - q: 1\n  @\n", list, json!({"p": [{"q": 1}, {"a": 1, "b": 2}, "c"]})),
            ("- p:\n@\n", map, json!([{"p": entries}])),
            ("p:\n  q:\n  @\n", map, json!({"p": {"q": entries}})),
            ("p: @", "just a text", json!({"p": "just a text"})),
            ("p: @", "12", json!({"p": 12})),
            ("p: \"is @\"", "12", json!({"p": "is 12"})),
            ("p: {q: @, r: 1}", list, json!({"p": {"q": items, "r": 1}})),
            ("p:\n@\n", "    - a: 1\n      b: 2\n    - c", json!({"p": items})),
            ("p:\n@\n", "# first\n\n- a: 1\n  b: 2\n# then\n- c\n", json!({"p": items})),
            ("p:\n@\n", "- |\n  two\n  lines\n", json!({"p": ["two\nlines\n"]})),
            ("p:\n@\nq: 1\n", "---\n- a: 1\n  b: 2\n- c\n", json!({"p": items, "q": 1})),
            ("p:\n@\nq: 1\n", "- a: 1\r\n  b: 2\r\n- c\r\n", json!({"p": items, "q": 1})),
            ("p: @", "\"text\" # said", json!({"p": "text"})),
            ("p: @\nq: 1", "a: 1", json!({"p": {"a": 1}, "q": 1})),
            ("p: '@'", "a", json!({"p": "a"})),
            ("p:\n@\n", "# nothing\n", json!({"p": null})),
        ] {
            assert_eq!(settled(template, text), wanted, "{template:?} with {text:?}");
        }
    }

    #[test]
    fn digits_stay_text_where_they_are_all_of_it() {
        for (template, wanted) in [
            ("p: NUMBER", json!({"p": "42"})),
            ("p: NUMBER # ours", json!({"p": "42"})),
            ("p:\n  - NUMBER\n", json!({"p": ["42"]})),
            ("p: [NUMBER, NUMBER]", json!({"p": ["42", "42"]})),
            ("p: {q: NUMBER}", json!({"p": {"q": "42"}})),
            ("p: \"NUMBER\"", json!({"p": "42"})),
            ("p: 'NUMBER'", json!({"p": "42"})),
            ("p: localhost:NUMBER", json!({"p": "localhost:42"})),
            ("p: NUMBERs", json!({"p": "42s"})),
            ("p: [\"a:NUMBER\"]", json!({"p": ["a:42"]})),
            ("p: http://h:NUMBER/x", json!({"p": "http://h:42/x"})),
            ("p: a, NUMBER", json!({"p": "a, 42"})),
        ] {
            assert_eq!(settled(template, ""), wanted, "{template:?}");
        }
    }

    #[test]
    fn marks_that_come_from_outside_are_none() {
        assert_eq!(text("\u{e000}1\u{e003}"), "\u{e002}1\u{e003}");
        assert_eq!(settle("a \u{e001}b \u{e000}c".to_owned()).unwrap(), "a b c");
        assert_eq!(yaml("\u{e001}"), "\u{e000}\u{e001}");
    }
}
