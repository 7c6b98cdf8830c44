//! What is made of lines, and of entries of the journal, before they are events: JSON, container logs, several lines as
//! one.

mod syslog;

use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use serde_json::{Map, Value, json};

use crate::config::{Config, Mistake, Mistakes};
use syslog::Syslog;

/// A line, or what has been made of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Record {
    pub(crate) text: String,
    /// Where it begins: the offset in its file, or the number of the entry.
    pub(crate) start: u64,
    /// What it is called where a number does not say it: the cursor of the entry.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) flags: Vec<&'static str>,
    /// Fields beside the message, merged into the event over its own.
    pub(crate) fields: Map<String, Value>,
    /// The record has no message left.
    pub(crate) silent: bool,
}

/// One parser, as the policy has it.
#[derive(Clone, Debug)]
pub(crate) enum Parser {
    Multiline(Multiline),
    Ndjson(Ndjson),
    Container(Container),
    Include(Vec<Regex>),
    Syslog(Syslog),
}

#[derive(Clone, Debug)]
pub(crate) struct Multiline {
    /// None: lines are counted.
    pattern: Option<Regex>,
    negate: bool,
    /// `after`: what matches is appended to what came before.
    after: bool,
    flush: Option<Regex>,
    /// Lines in one event whatever they are; 0: the pattern decides.
    count: usize,
    max_lines: usize,
    max_bytes: usize,
    timeout: Duration,
    skip_newline: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Ndjson {
    target: Option<String>,
    message_key: Option<String>,
    overwrite: bool,
    expand: bool,
    add_error: bool,
    ignore_error: bool,
    document_id: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Container {
    stream: Option<String>,
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Auto,
    Docker,
    Cri,
}

/// What a parser keeps between lines of one file.
#[derive(Debug, Default)]
pub(crate) struct Held {
    record: Option<Record>,
    lines: usize,
    /// Milliseconds, of the clock of the reader.
    since: u64,
    /// `match: before`: the lines held do not end the event.
    open: bool,
}

/// The parsers of one file with what they keep.
#[derive(Debug)]
pub(crate) struct Pipeline {
    held: Vec<Held>,
}

impl Pipeline {
    pub(crate) fn new(parsers: &[Parser]) -> Pipeline {
        Pipeline { held: parsers.iter().map(|_| Held::default()).collect() }
    }

    /// Sends a record through; what comes out is given to `emit`.
    pub(crate) fn push(
        &mut self,
        parsers: &[Parser],
        record: Record,
        now: u64,
        emit: &mut dyn FnMut(Record),
    ) {
        run(parsers, &mut self.held, record, now, emit);
    }

    /// Where the oldest line begins that is held here.
    pub(crate) fn held_from(&self) -> Option<u64> {
        self.held.iter().filter_map(|held| held.record.as_ref()).map(|record| record.start).min()
    }

    /// When what is held has waited long enough, if anything is.
    pub(crate) fn due(&self, parsers: &[Parser]) -> Option<u64> {
        parsers.iter().zip(&self.held).filter_map(|(parser, held)| held.due(parser)).min()
    }

    /// Gives out what is held: all of it, or what has waited long enough.
    pub(crate) fn flush(&mut self, parsers: &[Parser], now: u64, all: bool, emit: &mut dyn FnMut(Record)) {
        for index in 0..parsers.len() {
            let due = self.held[index].due(&parsers[index]);
            if !(all || due.is_some_and(|due| due <= now)) {
                continue;
            }
            let held = std::mem::take(&mut self.held[index]);
            if let Some(record) = held.record {
                run(&parsers[index + 1..], &mut self.held[index + 1..], record, now, emit);
            }
        }
    }
}

impl Held {
    fn due(&self, parser: &Parser) -> Option<u64> {
        match (parser, &self.record) {
            (Parser::Multiline(multiline), Some(_)) => {
                let timeout = u64::try_from(multiline.timeout.as_millis()).unwrap_or(u64::MAX);
                Some(self.since.saturating_add(timeout))
            }
            _ => None,
        }
    }
}

fn run(parsers: &[Parser], held: &mut [Held], record: Record, now: u64, emit: &mut dyn FnMut(Record)) {
    let (Some((parser, parsers)), Some((mine, rest))) = (parsers.split_first(), held.split_first_mut())
    else {
        emit(record);
        return;
    };
    let mut next = |record| run(parsers, rest, record, now, emit);
    match parser {
        Parser::Include(patterns) => {
            if patterns.iter().any(|pattern| pattern.is_match(&record.text)) {
                next(record);
            }
        }
        Parser::Ndjson(ndjson) => next(ndjson.apply(record)),
        Parser::Syslog(syslog) => next(syslog.apply(record)),
        Parser::Container(container) => {
            if let Some(record) = container.apply(record, mine) {
                next(record);
            }
        }
        Parser::Multiline(multiline) => multiline.apply(record, mine, now, &mut next),
    }
}

impl Multiline {
    fn apply(&self, record: Record, held: &mut Held, now: u64, next: &mut dyn FnMut(Record)) {
        if self.count > 0 {
            self.append(record, held, now);
            if held.lines >= self.count {
                give(held, next);
            }
            return;
        }
        let fits = |pattern: &Option<Regex>| pattern.as_ref().is_some_and(|one| one.is_match(&record.text));
        let matches = fits(&self.pattern) != self.negate;
        let flush = fits(&self.flush);
        let belongs = if self.after { matches } else { held.open };
        if !belongs {
            give(held, next);
        }
        self.append(record, held, now);
        held.open = matches;
        if flush || (!self.after && !matches) {
            give(held, next);
        }
    }

    /// Adds a line to what is held; beyond the bounds the event is cut, and says so.
    fn append(&self, record: Record, held: &mut Held, now: u64) {
        held.lines += 1;
        held.since = now;
        let Some(whole) = &mut held.record else {
            held.record = Some(record);
            return;
        };
        let room = whole.text.len() + record.text.len() < self.max_bytes && held.lines <= self.max_lines;
        if room {
            if !self.skip_newline {
                whole.text.push('\n');
            }
            whole.text.push_str(&record.text);
        } else if !whole.flags.contains(&"truncated") {
            whole.flags.push("truncated");
        }
        if !whole.flags.contains(&"multiline") {
            whole.flags.push("multiline");
        }
    }
}

fn give(held: &mut Held, next: &mut dyn FnMut(Record)) {
    if let Some(record) = std::mem::take(held).record {
        next(record);
    }
}

impl Ndjson {
    fn apply(&self, mut record: Record) -> Record {
        match serde_json::from_str::<Map<String, Value>>(&record.text) {
            Ok(map) => self.place(&mut record, map),
            Err(error) => {
                if self.add_error {
                    let message = format!("the line is no JSON object: {error}");
                    record.fields.insert("error".to_owned(), json!({"message": message, "type": "json"}));
                }
                if !self.ignore_error {
                    tracing::debug!(%error, "a line is no JSON object");
                }
            }
        }
        record
    }

    fn place(&self, record: &mut Record, mut map: Map<String, Value>) {
        if self.expand {
            map = crate::config::nested(&map);
        }
        if let Some(Value::String(id)) = self.document_id.as_ref().and_then(|key| map.remove(key)) {
            record.fields.insert("@metadata".to_owned(), json!({"_id": id}));
        }
        let message = self.message_key.as_ref().and_then(|key| map.get(key)).and_then(Value::as_str);
        match message {
            Some(text) => record.text = text.to_owned(),
            None => record.silent = true,
        }
        match self.target.as_deref() {
            Some("") => {
                for (key, value) in map {
                    // What the event has of itself is overwritten only when the policy says so.
                    let own = matches!(
                        key.as_str(),
                        "@timestamp" | "message" | "log" | "agent" | "host" | "ecs" | "data_stream" | "input"
                    );
                    let own = own || record.fields.contains_key(&key);
                    if self.overwrite || !own || (key == "message" && record.silent) {
                        crate::config::merge(&mut record.fields, key, value);
                    }
                }
            }
            target => {
                let target = target.unwrap_or("json").to_owned();
                let nested = crate::config::nested(&Map::from_iter([(target, Value::Object(map))]));
                nested
                    .into_iter()
                    .for_each(|(key, value)| crate::config::merge(&mut record.fields, key, value));
            }
        }
    }
}

impl Container {
    /// Docker's JSON lines, or the lines of the container runtime interface; parts of a line are joined.
    fn apply(&self, mut record: Record, held: &mut Held) -> Option<Record> {
        let docker =
            self.format == Format::Docker || (self.format == Format::Auto && record.text.starts_with('{'));
        let parsed = if docker { docker_line(&record.text) } else { cri_line(&record.text) };
        let Some((time, stream, text, partial)) = parsed else {
            record
                .fields
                .insert("error".to_owned(), json!({"message": "the line is not one of a container's log"}));
            return Some(record);
        };
        if self.stream.as_ref().is_some_and(|wanted| *wanted != stream) {
            return None;
        }
        let mut whole = held.record.take().unwrap_or_else(|| {
            let mut first = record.clone();
            first.text.clear();
            first.fields.insert("@timestamp".to_owned(), json!(time));
            first.fields.insert("stream".to_owned(), json!(stream));
            first
        });
        whole.text.push_str(&text);
        // A bound on what is joined.
        if partial && whole.text.len() < 10 << 20 {
            held.record = Some(whole);
            return None;
        }
        Some(whole)
    }
}

fn docker_line(text: &str) -> Option<(String, String, String, bool)> {
    let value: Value = serde_json::from_str(text).ok()?;
    let part = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let log = part("log")?;
    let partial = !log.ends_with('\n');
    let log = log.trim_end_matches(['\n', '\r']).to_owned();
    Some((part("time")?, part("stream").unwrap_or_default(), log, partial))
}

/// `2017-09-12T22:32:21.212861448Z stdout F text`; the flag is missing in old ones.
fn cri_line(text: &str) -> Option<(String, String, String, bool)> {
    let mut parts = text.splitn(3, ' ');
    let (time, stream, rest) = (parts.next()?, parts.next()?, parts.next().unwrap_or_default());
    if stream != "stdout" && stream != "stderr" {
        return None;
    }
    let (partial, log) = match rest.split_once(' ') {
        Some((tag, log)) if matches!(tag.split(':').next(), Some("P" | "F")) => (tag.starts_with('P'), log),
        None if rest == "F" => (false, ""),
        _ => (false, rest),
    };
    Some((time.to_owned(), stream.to_owned(), log.to_owned(), partial))
}

/// `parsers` of `filestream` and `journald`.
pub(crate) fn read(config: &Config) -> Result<Vec<Parser>, Mistake> {
    let list = match config.value("parsers") {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return config.or(Vec::new(), Err(config.mistake("parsers", "must be a list"))),
    };
    let mut parsers = Vec::with_capacity(list.len());
    for (index, item) in list.iter().enumerate() {
        match parser(&config.name(&format!("parsers[{index}]")), item) {
            Ok(parser) => parsers.push(parser),
            Err(mistakes) => {
                mistakes.into_iter().try_for_each(|mistake| config.or((), Err(mistake)))?;
            }
        }
    }
    Ok(parsers)
}

/// One parser, or all mistakes in its settings.
fn parser(place: &str, item: &Value) -> Result<Parser, Mistakes> {
    let wrong = || Mistake::new(place, "must be a map with one key, the parser's name");
    let map = item.as_object().filter(|map| map.len() == 1).ok_or_else(wrong)?;
    let (name, settings) = map.iter().next().ok_or_else(wrong)?;
    let place = format!("{place}.{name}");
    let config = match settings {
        Value::Null => Config::gathering(&Map::new()),
        Value::Object(settings) => Config::gathering(settings),
        _ => return Err(Mistake::new(place, "must be a map of settings").into()),
    };
    let parser = match name.as_str() {
        "multiline" => multiline(&config).map(Parser::Multiline),
        "ndjson" => ndjson(&config).map(Parser::Ndjson),
        "container" => container(&config).map(Parser::Container),
        "syslog" => Syslog::read(&config).map(Parser::Syslog),
        "include_message" => config.patterns("patterns").map(Parser::Include),
        _ => {
            let problem = "is no parser: use multiline, ndjson, container, syslog or include_message";
            return Err(Mistake::new(place, problem).into());
        }
    };
    config.judge(parser).map_err(|mistakes| mistakes.within(&place))
}

/// `json.*` and `multiline.*` of `log`: JSON comes first.
pub(crate) fn of_log(config: &Config) -> Result<Vec<Parser>, Mistake> {
    let mut parsers = Vec::new();
    if config.mentions("json") {
        let json = config.section("json")?;
        let mut parser = ndjson(&json)?;
        parser.target = Some(if json.boolean("keys_under_root", false)? { "" } else { "json" }.to_owned());
        parsers.push(Parser::Ndjson(parser));
    }
    if config.mentions("multiline") {
        parsers.push(Parser::Multiline(multiline(&config.section("multiline")?)?));
    }
    Ok(parsers)
}

fn multiline(config: &Config) -> Result<Multiline, Mistake> {
    let kind = config.text("type")?.unwrap_or_else(|| "pattern".to_owned());
    let after = match (kind.as_str(), config.text("match")?.as_deref()) {
        ("count" | "while_pattern", _) | ("pattern", Some("after")) => Ok(true),
        ("pattern", Some("before")) => Ok(false),
        ("pattern", _) => Err(config.mistake("match", "must be after or before")),
        (other, _) => {
            Err(config.mistake("type", format!("{other:?} is unknown: use pattern, count or while_pattern")))
        }
    };
    let count = config.count("count_lines", 0)?;
    if kind == "count" && count == 0 {
        config.or((), Err(config.mistake("count_lines", "must be 1 or more")))?;
    }
    let pattern = config.maybe_pattern("pattern")?;
    if kind != "count" && pattern.is_none() {
        config.or((), Err(config.mistake("pattern", "is missing")))?;
    }
    Ok(Multiline {
        pattern,
        negate: config.boolean("negate", false)?,
        after: config.or(true, after)?,
        flush: config.maybe_pattern("flush_pattern")?,
        count: if kind == "count" { count } else { 0 },
        max_lines: config.count("max_lines", 500)?,
        max_bytes: usize::try_from(config.size("max_bytes", 10 << 20)?).unwrap_or(10 << 20).min(64 << 20),
        timeout: config.duration("timeout", Duration::from_secs(5))?,
        skip_newline: config.boolean("skip_newline", false)?,
    })
}

fn ndjson(config: &Config) -> Result<Ndjson, Mistake> {
    Ok(Ndjson {
        target: config.text("target")?,
        message_key: config.text("message_key")?,
        overwrite: config.boolean("overwrite_keys", false)?,
        expand: config.boolean("expand_keys", false)?,
        add_error: config.boolean("add_error_key", false)?,
        ignore_error: config.boolean("ignore_decoding_error", false)?,
        document_id: config.text("document_id")?,
    })
}

fn container(config: &Config) -> Result<Container, Mistake> {
    let format = match config.text("format")?.as_deref() {
        None | Some("auto") => Format::Auto,
        Some("docker" | "json-file") => Format::Docker,
        Some("cri") => Format::Cri,
        Some(other) => {
            let problem = format!("{other:?} is unknown: use auto, docker or cri");
            config.or(Format::Auto, Err(config.mistake("format", problem)))?
        }
    };
    let stream = config.text("stream")?.filter(|stream| stream != "all");
    Ok(Container { stream, format })
}

#[cfg(test)]
mod tests;
