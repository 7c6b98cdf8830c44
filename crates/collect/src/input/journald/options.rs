//! The settings of the input, as collectors of the journal document them.

use std::path::PathBuf;
use std::time::Duration;

use super::command::{Query, Source};
use super::matches::Filter;
use crate::config::{self, Config, Mistake};
use crate::parser::{self, Parser};
use crate::syslog::fields::facility_code;

/// Each journal is read by a process of its own.
const MAX_PATHS: usize = 64;

/// Where to begin in a journal that was never read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seek {
    /// At its oldest entry.
    Head,
    /// Behind its newest.
    Tail,
    /// This long ago.
    Since(Duration),
}

/// What the input is told.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) query: Query,
    pub(super) sources: Vec<Source>,
    pub(super) seek: Seek,
    pub(super) save_remote_hostname: bool,
    pub(super) parsers: Vec<Parser>,
}

impl Options {
    pub(super) fn read(config: &Config) -> Result<Options, Mistake> {
        // Of inputs that read the journal by themselves: how long they wait for it.
        config.allow(&["backoff", "max_backoff"]);
        let mut sources: Vec<Source> = config.texts("paths")?.iter().map(|path| Source::of(path)).collect();
        if sources.is_empty() {
            sources.push(Source::Local);
        }
        sources.dedup();
        if sources.len() > MAX_PATHS {
            let problem = format!("has more than {MAX_PATHS} journals: name a directory of them");
            config.or((), Err(config.mistake("paths", problem)))?;
        }
        Ok(Options {
            sources,
            seek: config.or(Seek::Head, seek(config))?,
            parsers: config.or(Vec::new(), parser::read(config))?,
            save_remote_hostname: config.boolean("save_remote_hostname", false)?,
            query: Query {
                program: config.or(PathBuf::new(), program(config))?,
                units: config.or(Vec::new(), units(config))?,
                merge: config.boolean("merge", false)?,
                filter: filter(config)?,
            },
        })
    }
}

/// `journalctl_path`. Whoever edits policies must not be able to run any other program by it.
fn program(config: &Config) -> Result<PathBuf, Mistake> {
    let path = PathBuf::from(config.text("journalctl_path")?.unwrap_or_else(|| "journalctl".to_owned()));
    if path.file_name().is_some_and(|name| name == "journalctl") {
        Ok(path)
    } else {
        Err(config.mistake("journalctl_path", "must be the path of a program that is named journalctl"))
    }
}

fn units(config: &Config) -> Result<Vec<String>, Mistake> {
    let units = config.texts("units")?;
    if units.iter().any(|unit| unit.is_empty() || unit.contains('\0')) {
        return Err(config.mistake("units", "has an empty name: take it out"));
    }
    Ok(units)
}

fn filter(config: &Config) -> Result<Filter, Mistake> {
    let facility = |name: &String| {
        let code = facility_code(name).map(|code| code.to_string());
        code.ok_or_else(|| {
            config.mistake("facilities", format!("{name:?} is no facility: use 0 to 23, or its name"))
        })
    };
    let facilities = config.texts("facilities")?.iter().map(facility).collect();
    let facilities = config.or(Vec::new(), facilities)?;
    let priorities = config.texts("priorities")?;
    if let Some(bad) = priorities.iter().find(|text| text.parse::<u8>().map_or(true, |number| number > 7)) {
        let problem = format!("{bad:?} is no priority: use 0 to 7");
        config.or((), Err(config.mistake("priorities", problem)))?;
    }
    let mut transports = config.texts("transports")?;
    if config.boolean("kernel", false)? {
        transports.push("kernel".to_owned());
    }
    let more = [
        ("SYSLOG_IDENTIFIER", config.texts("syslog_identifiers")?),
        ("SYSLOG_FACILITY", facilities),
        ("PRIORITY", priorities),
        ("_TRANSPORT", transports),
    ];
    if let Some((field, _)) = more.iter().find(|(_, values)| values.iter().any(|value| value.contains('\0')))
    {
        return Err(Mistake::new(*field, "has a value with a zero byte: take it out"));
    }
    Filter::read("include_matches", config.value("include_matches"), &more)
}

/// `seek`, `since`, and what `cursor` falls back to. A journal that was read before goes on where it was, whatever
/// these say.
fn seek(config: &Config) -> Result<Seek, Mistake> {
    let fallback = config.text("cursor_seek_fallback")?;
    let since = config.text("since")?;
    let (key, name) = match config.text("seek")?.as_deref() {
        Some("cursor") => ("cursor_seek_fallback", fallback.unwrap_or_else(|| "head".to_owned())),
        Some(name) => ("seek", name.to_owned()),
        None => ("seek", "head".to_owned()),
    };
    match name.as_str() {
        "head" => Ok(Seek::Head),
        "tail" => Ok(Seek::Tail),
        "since" => {
            let text =
                since.ok_or_else(|| config.mistake("since", "is missing: say how long ago, such as -24h"))?;
            let ago = config::duration(text.trim().trim_start_matches('-'));
            ago.map(Seek::Since).ok_or_else(|| config.mistake("since", "must be a time ago, such as -24h"))
        }
        _ => Err(config.mistake(key, "must be head, tail, since or cursor")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn options(settings: &serde_json::Value) -> Result<Options, Mistake> {
        let config = Config::new(settings.as_object().unwrap());
        let options = Options::read(&config);
        assert!(options.is_err() || config.unknown().is_empty(), "{:?}", config.unknown());
        options
    }

    #[test]
    fn everything_is_read() {
        let options = options(&json!({
            "units": ["a.service"], "syslog_identifiers": ["x"], "facilities": [10, "local0"], "priorities": [3, "4"],
            "transports": ["audit"], "kernel": true, "include_matches.match": ["_UID=0"], "seek": "since",
            "since": "-24h", "paths": ["", "/var/log/journal/"], "save_remote_hostname": true, "merge": true,
        }))
        .unwrap();
        let words = "_UID=0 SYSLOG_IDENTIFIER=x SYSLOG_FACILITY=10 SYSLOG_FACILITY=16 PRIORITY=3 PRIORITY=4 \
            _TRANSPORT=audit _TRANSPORT=kernel";
        assert_eq!(options.query.filter.words().join(" "), words);
        assert_eq!(options.seek, Seek::Since(Duration::from_secs(86_400)));
        assert_eq!(options.sources, [Source::Local, Source::Directory("/var/log/journal/".into())]);
    }

    #[test]
    fn a_cursor_falls_back() {
        let seek = |settings| options(&settings).unwrap().seek;
        assert_eq!(seek(json!({})), Seek::Head);
        assert_eq!(seek(json!({"seek": "cursor"})), Seek::Head);
        assert_eq!(seek(json!({"seek": "cursor", "cursor_seek_fallback": "tail"})), Seek::Tail);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |settings| options(&settings).unwrap_err().to_string();
        assert!(error(json!({"seek": "since"})).starts_with("since: is missing"));
        assert!(error(json!({"seek": "end"})).starts_with("seek: must be"));
        assert!(error(json!({"seek": "since", "since": "yesterday"})).starts_with("since: must be"));
        assert!(
            error(json!({"facilities": ["nobody"]})).starts_with("facilities: \"nobody\" is no facility")
        );
        assert!(error(json!({"journalctl_path": "/bin/sh"})).starts_with("journalctl_path: must be"));
        assert!(error(json!({"priorities": [8]})).starts_with("priorities: \"8\" is no priority"));
        assert!(error(json!({"include_matches.match": ["x"]})).starts_with("include_matches.match: "));
    }
}
