//! A template's text, before it is parsed.
//!
//! The parser's grammar has no sections over paths (`{{#a.b}}`) and no inverted ones (`{{^a}}`), which
//! Handlebars in JavaScript has: here they become blocks with a helper's name. What would make the parser
//! recurse without a bound is refused. Lines stay where they are.

use super::Wrong;

/// The helpers that have blocks.
pub(super) const BLOCKS: [&str; 5] = ["if", "unless", "each", "with", "contains"];
/// What `{{#a.b}}` becomes.
pub(super) const SECTION: &str = "section";
/// What `{{^a.b}}` becomes.
pub(super) const INVERTED: &str = "inverted";

/// How deep blocks may stand in each other; each `else if` counts.
const DEEPEST: usize = 64;
/// The longest tag, in bytes.
const LONGEST_TAG: usize = 4096;
/// The most brackets that open in one tag.
const MOST_BRACKETS: usize = 16;
/// The most tags.
const MOST_TAGS: usize = 20_000;

struct Open<'a> {
    line: usize,
    /// As it is written.
    name: &'a str,
    /// As the parser gets it.
    spelled: &'a str,
    /// How many levels it takes.
    levels: usize,
}

struct Scan<'a> {
    out: String,
    open: Vec<Open<'a>>,
    depth: usize,
    line: usize,
}

/// The template as the parser understands it.
pub(super) fn prepare(text: &str) -> Result<String, Wrong> {
    let mut scan = Scan { out: String::with_capacity(text.len() + 64), open: Vec::new(), depth: 0, line: 1 };
    let (mut rest, mut tags) = (text, 0);
    while let Some(start) = rest.find("{{") {
        let (before, tag) = rest.split_at(start);
        scan.pass(before);
        if before.ends_with('\\') {
            // Escaped: these braces are text.
            scan.pass("{{");
            rest = &tag[2..];
            continue;
        }
        tags += 1;
        if tags > MOST_TAGS {
            return Err(scan.wrong(format!("the template has more than {MOST_TAGS} tags")));
        }
        let length = tag_length(tag).ok_or_else(|| scan.wrong("a {{ is not closed by }}".to_owned()))?;
        scan.tag(&tag[..length])?;
        rest = &tag[length..];
    }
    scan.pass(rest);
    match scan.open.pop() {
        Some(open) => {
            let problem = format!("{{{{#{}}}}} is not closed by {{{{/{}}}}}", open.name, open.name);
            Err(Wrong { line: open.line, problem })
        }
        None => Ok(scan.out),
    }
}

/// How long the tag at the beginning of a text is.
fn tag_length(text: &str) -> Option<usize> {
    let inner = text[2..].trim_start_matches('~');
    if inner.starts_with("!--") {
        return text.find("--}}").map(|at| at + 4).or_else(|| text.find("--~}}").map(|at| at + 5));
    }
    if inner.starts_with('!') {
        return text.find("}}").map(|at| at + 2);
    }
    let end = if inner.starts_with('{') { "}}}" } else { "}}" };
    let mut quote = None;
    for (at, letter) in text.char_indices().skip(2) {
        match (quote, letter) {
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            (None, '}') if text[at..].starts_with(end) => return Some(at + end.len()),
            // `{{~{x}~}}`: the tilde stands between the braces.
            (None, '}') if end == "}}}" && text[at..].starts_with("}~}}") => return Some(at + 4),
            _ => {}
        }
    }
    None
}

impl<'a> Scan<'a> {
    fn wrong(&self, problem: String) -> Wrong {
        Wrong { line: self.line, problem }
    }

    fn pass(&mut self, text: &str) {
        self.out.push_str(text);
        self.line += text.bytes().filter(|byte| *byte == b'\n').count();
    }

    fn tag(&mut self, tag: &'a str) -> Result<(), Wrong> {
        let inner = tag[2..tag.len() - 2].trim_start_matches('~').trim_end_matches('~');
        if inner.starts_with('!') {
            // The parser keeps no comment either; an empty one is safe from what stands in it.
            self.comment(tag);
            return Ok(());
        }
        if tag.len() > LONGEST_TAG {
            return Err(self.wrong(format!("a tag is longer than {LONGEST_TAG} bytes")));
        }
        if inner.matches(['(', '[', '{']).count() > MOST_BRACKETS {
            return Err(self.wrong(format!("a tag has more than {MOST_BRACKETS} brackets")));
        }
        let content = inner.trim();
        match content.chars().next() {
            Some('#') if content.starts_with("#>") || content.starts_with("#*") => {
                Err(self.wrong("partials and decorators ({{#> }}, {{#* }}) are not supported".to_owned()))
            }
            Some('>' | '*') => {
                Err(self.wrong("partials and decorators ({{> }}, {{* }}) are not supported".to_owned()))
            }
            Some('{') if content.starts_with("{{") => {
                Err(self.wrong("raw blocks ({{{{ }}}}) are not supported".to_owned()))
            }
            Some('#') => self.start(tag, content[1..].trim(), SECTION),
            Some('^') if content.len() > 1 => self.start(tag, content[1..].trim(), INVERTED),
            Some('^') => self.alternative(tag, ""),
            Some('/') => self.end(tag, content[1..].trim()),
            Some('.') if content == "." => {
                self.around(tag, "this");
                Ok(())
            }
            _ => match content.strip_prefix("else") {
                Some(rest) if rest.is_empty() || rest.starts_with(char::is_whitespace) => {
                    self.alternative(tag, rest)
                }
                // The parser would take the beginning of a name for `else`.
                Some(_) if !content.contains(char::is_whitespace) => {
                    self.around(tag, &format!("this.{content}"));
                    Ok(())
                }
                _ => {
                    self.pass(tag);
                    Ok(())
                }
            },
        }
    }

    /// An empty comment that takes as many lines and as much whitespace around it.
    fn comment(&mut self, tag: &str) {
        let left = if tag[2..].starts_with('~') { "~" } else { "" };
        let right = if tag[..tag.len() - 2].ends_with('~') { "~" } else { "" };
        if left.is_empty() && right.is_empty() {
            let lines = tag.bytes().filter(|byte| *byte == b'\n').count();
            self.pass(&format!("{{{{!--{}--}}}}", "\n".repeat(lines)));
        } else {
            // The parser's comments know no tilde: a helper that says nothing does.
            self.pass(&format!("{{{{{left}log \"\"{right}}}}}"));
            self.line += tag.bytes().filter(|byte| *byte == b'\n').count();
        }
    }

    /// The tag with something else in it; its tildes and lines stay.
    fn around(&mut self, tag: &str, content: &str) {
        let left = if tag[2..].starts_with('~') { "~" } else { "" };
        let right = if tag[..tag.len() - 2].ends_with('~') { "~" } else { "" };
        let lines = tag.bytes().filter(|byte| *byte == b'\n').count();
        let (left, lines) = (left, "\n".repeat(lines));
        self.pass(&format!("{{{{{left}{content}{lines}{right}}}}}"));
    }

    fn descend(&mut self) -> Result<(), Wrong> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.wrong(format!("blocks are nested deeper than {DEEPEST} levels")));
        }
        Ok(())
    }

    fn start(&mut self, tag: &'a str, content: &'a str, kind: &'static str) -> Result<(), Wrong> {
        let (name, arguments) = content.split_once(char::is_whitespace).unwrap_or((content, ""));
        self.descend()?;
        let line = self.line;
        if kind == SECTION && BLOCKS.contains(&name) {
            self.open.push(Open { line, name, spelled: name, levels: 1 });
            self.pass(tag);
            return Ok(());
        }
        let arguments = arguments.trim();
        if !arguments.is_empty() && !arguments.starts_with("as ") && !arguments.starts_with("as|") {
            return Err(self.wrong(format!(
                "{{{{#{name}}}}} is not a helper: those with blocks are {}",
                BLOCKS.join(", ")
            )));
        }
        let path = if name == "." { "this" } else { name };
        self.open.push(Open { line, name, spelled: kind, levels: 1 });
        self.around(tag, &format!("#{kind} {path} {arguments}"));
        Ok(())
    }

    fn alternative(&mut self, tag: &str, chained: &str) -> Result<(), Wrong> {
        if self.open.is_empty() {
            return Err(self.wrong("{{else}} stands outside of any block".to_owned()));
        }
        let chained = chained.trim();
        if chained.is_empty() {
            self.pass(tag);
            return Ok(());
        }
        self.descend()?;
        if let Some(open) = self.open.last_mut() {
            open.levels += 1;
        }
        let (name, arguments) = chained.split_once(char::is_whitespace).unwrap_or((chained, ""));
        if BLOCKS.contains(&name) {
            self.pass(tag);
        } else if arguments.trim().is_empty() {
            self.around(tag, &format!("else {SECTION} {name}"));
        } else {
            return Err(self.wrong(format!(
                "{{{{else {name}}}}} is not a helper: those with blocks are {}",
                BLOCKS.join(", ")
            )));
        }
        Ok(())
    }

    fn end(&mut self, tag: &str, name: &str) -> Result<(), Wrong> {
        let Some(open) = self.open.pop() else {
            return Err(self.wrong(format!("{{{{/{name}}}}} closes nothing")));
        };
        if open.name != name {
            let problem =
                format!("{{{{/{name}}}}} closes {{{{#{}}}}}, which begins on line {}", open.name, open.line);
            return Err(self.wrong(problem));
        }
        self.depth -= open.levels;
        self.around(tag, &format!("/{}", open.spelled));
        Ok(())
    }
}
