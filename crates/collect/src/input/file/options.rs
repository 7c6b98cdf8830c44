//! What the inputs `filestream`, `log` and `logfile` can be told, by the names that each of them has for it.

use std::path::Path;
use std::time::Duration;

use encoding_rs::Encoding;
use regex::Regex;

use super::glob::Glob;
use crate::config::{Config, Mistake};
use crate::parser::Parser;

/// How a file is recognised after a rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// By what it begins with.
    Fingerprint,
    /// By its number on its device.
    Native,
    /// By its path: a renamed file is another one.
    Path,
}

/// How bytes become text, and lines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Charset {
    /// UTF-8; what is not becomes replacement characters.
    Utf8,
    /// Of one or more bytes, in all of which a line ends in the byte 10.
    Other(&'static Encoding),
    /// UTF-16, `true`: the high byte first.
    Utf16(bool),
}

/// All of it.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) globs: Vec<Glob>,
    pub(super) exclude_files: Vec<Regex>,
    pub(super) include_files: Vec<Regex>,
    pub(super) symlinks: bool,
    pub(super) check_interval: Duration,
    pub(super) identity: Identity,
    pub(super) fingerprint_offset: u64,
    pub(super) fingerprint_length: usize,
    pub(super) ignore_older: Option<Duration>,
    pub(super) ignore_inactive: Option<Inactive>,
    pub(super) from_end: bool,
    pub(super) close_inactive: Duration,
    pub(super) close_removed: bool,
    pub(super) close_renamed: bool,
    pub(super) close_eof: bool,
    pub(super) harvester_limit: usize,
    pub(super) backoff: (Duration, Duration),
    pub(super) charset: Charset,
    pub(super) max_bytes: usize,
    pub(super) include_lines: Vec<Regex>,
    pub(super) exclude_lines: Vec<Regex>,
    pub(super) parsers: Vec<Parser>,
    pub(super) gzip: bool,
}

/// Which files that are there already are left out for not having been written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inactive {
    /// Since the first start with this input.
    SinceFirstStart,
    /// Since this start.
    SinceLastStart,
}

/// Open files of one stream, unless it says otherwise. The system's usual limit is 1024 per process; reaching this
/// one closes what has been read to its end.
const OPEN_FILES: usize = 256;

/// The longest line, unless the policy says otherwise.
const MAX_BYTES: u64 = 10 << 20;

impl Options {
    /// Reads them.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub(super) fn read(config: &Config, kind: &str) -> Result<Options, Mistake> {
        if kind == "filestream" { filestream(config) } else { log(config) }
    }

    /// Whether a file of this name is read.
    pub(super) fn wants(&self, path: &Path) -> bool {
        self.globs.iter().any(|glob| glob.fits(path)) && self.passes(path)
    }

    /// Whether files in or below a directory of this name may be read.
    pub(super) fn leads_through(&self, directory: &Path) -> bool {
        self.globs.iter().any(|glob| glob.leads_through(directory))
    }

    /// Whether a file that a pattern finds is read.
    pub(super) fn passes(&self, path: &Path) -> bool {
        let text = path.to_string_lossy();
        let excluded = self.exclude_files.iter().any(|pattern| pattern.is_match(&text));
        let included =
            self.include_files.is_empty() || self.include_files.iter().any(|pattern| pattern.is_match(&text));
        included && !excluded
    }
}

fn globs(config: &Config, recursive: bool) -> Result<Vec<Glob>, Mistake> {
    let paths = config.texts("paths")?;
    if paths.is_empty() {
        return Err(config.mistake("paths", "is missing: name the files to read"));
    }
    paths
        .iter()
        .map(|path| Glob::parse(path, recursive).map_err(|problem| config.mistake("paths", problem)))
        .collect()
}

fn filestream(config: &Config) -> Result<Options, Mistake> {
    let scanner = "prospector.scanner";
    let key = |name: &str| format!("{scanner}.{name}");
    let seconds = Duration::from_secs;
    // Accepted and without effect here: files are matched by content and number, and their order is by age.
    config.allow(&[
        "clean_inactive",
        "clean_removed",
        "prospector.scanner.fingerprint.growing",
        "prospector.scanner.resend_on_touch",
        "close.reader.after_interval",
        "buffer_size",
        "take_over",
        "gzip_experimental",
        "legacy_clean_inactive",
        "rotation",
        "file_identity.fingerprint",
        "file_identity.growing_fingerprint",
        "allow_deprecated_id_duplication",
    ]);
    let fingerprint = config.boolean(&key("fingerprint.enabled"), true)?;
    let identity = if config.mentions("file_identity.path") {
        Identity::Path
    } else if config.mentions("file_identity.native")
        || config.mentions("file_identity.inode_marker")
        || (!fingerprint && !config.mentions("file_identity.fingerprint"))
    {
        Identity::Native
    } else {
        Identity::Fingerprint
    };
    let ignore_inactive = match config.text("ignore_inactive")?.as_deref() {
        None | Some("") => None,
        Some("since_first_start") => Some(Inactive::SinceFirstStart),
        Some("since_last_start") => Some(Inactive::SinceLastStart),
        Some(other) => {
            let problem = format!("{other:?} is unknown: use since_first_start or since_last_start");
            config.or(None, Err(config.mistake("ignore_inactive", problem)))?
        }
    };
    let compression = config.text("compression")?;
    Ok(Options {
        globs: config.or(Vec::new(), globs(config, config.boolean(&key("recursive_glob"), true)?))?,
        exclude_files: [config.patterns(&key("exclude_files"))?, config.patterns("exclude_files")?].concat(),
        include_files: config.patterns(&key("include_files"))?,
        symlinks: config.boolean(&key("symlinks"), false)?,
        check_interval: config.duration(&key("check_interval"), seconds(10))?.max(Duration::from_millis(100)),
        identity,
        fingerprint_offset: config.number(&key("fingerprint.offset"), 0)?,
        fingerprint_length: fingerprint_length(config, &key("fingerprint.length"))?,
        ignore_older: config.maybe_duration("ignore_older")?.filter(|time| !time.is_zero()),
        ignore_inactive,
        from_end: false,
        close_inactive: config.duration("close.on_state_change.inactive", seconds(300))?,
        close_removed: config.boolean("close.on_state_change.removed", true)?,
        close_renamed: config.boolean("close.on_state_change.renamed", false)?,
        close_eof: config.boolean("close.reader.on_eof", false)?,
        harvester_limit: harvester_limit(config)?,
        backoff: (
            config.duration("backoff.init", Duration::from_millis(250))?,
            config.duration("backoff.max", seconds(2))?,
        ),
        charset: charset(config)?,
        max_bytes: max_bytes(config, "message_max_bytes")?,
        include_lines: config.patterns("include_lines")?,
        exclude_lines: config.patterns("exclude_lines")?,
        parsers: config.or(Vec::new(), crate::parser::read(config))?,
        gzip: compression.is_none_or(|text| text != "none"),
    })
}

fn log(config: &Config) -> Result<Options, Mistake> {
    let seconds = Duration::from_secs;
    config.allow(&[
        "clean_inactive",
        "clean_removed",
        "allow_deprecated_use",
        "harvester_buffer_size",
        "close_timeout",
        "backoff_factor",
        "scan.sort",
        "scan.order",
        "file_identity",
    ]);
    let identity = if config.mentions("file_identity.path") {
        Identity::Path
    } else if config.mentions("file_identity.native") {
        Identity::Native
    } else {
        Identity::Fingerprint
    };
    Ok(Options {
        globs: config.or(Vec::new(), globs(config, config.boolean("recursive_glob.enabled", true)?))?,
        exclude_files: config.patterns("exclude_files")?,
        include_files: Vec::new(),
        symlinks: config.boolean("symlinks", false)?,
        check_interval: config.duration("scan_frequency", seconds(10))?.max(Duration::from_millis(100)),
        identity,
        fingerprint_offset: 0,
        fingerprint_length: 1024,
        ignore_older: config.maybe_duration("ignore_older")?.filter(|time| !time.is_zero()),
        ignore_inactive: None,
        from_end: config.boolean("tail_files", false)?,
        close_inactive: config.duration("close_inactive", seconds(300))?,
        close_removed: config.boolean("close_removed", true)?,
        close_renamed: config.boolean("close_renamed", false)?,
        close_eof: config.boolean("close_eof", false)?,
        harvester_limit: harvester_limit(config)?,
        backoff: (
            config.duration("backoff", Duration::from_millis(250))?,
            config.duration("max_backoff", seconds(2))?,
        ),
        charset: charset(config)?,
        max_bytes: max_bytes(config, "max_bytes")?,
        include_lines: config.patterns("include_lines")?,
        exclude_lines: config.patterns("exclude_lines")?,
        parsers: config.or(Vec::new(), crate::parser::of_log(config))?,
        gzip: true,
    })
}

fn fingerprint_length(config: &Config, key: &str) -> Result<usize, Mistake> {
    let length = config.count(key, 1024)?;
    if (64..=1 << 20).contains(&length) {
        return Ok(length);
    }
    config.or(length, Err(config.mistake(key, "must be between 64 and 1048576 bytes")))
}

fn harvester_limit(config: &Config) -> Result<usize, Mistake> {
    Ok(match config.count("harvester_limit", 0)? {
        0 => OPEN_FILES,
        some => some,
    })
}

fn max_bytes(config: &Config, key: &str) -> Result<usize, Mistake> {
    let size = config.size(key, MAX_BYTES)?;
    match usize::try_from(size) {
        Ok(size) if (64..=64 << 20).contains(&size) => Ok(size),
        _ => config.or(64, Err(config.mistake(key, "must be between 64 bytes and 64 MiB"))),
    }
}

fn charset(config: &Config) -> Result<Charset, Mistake> {
    config.allow(&["line_terminator"]);
    let name = config.text("encoding")?.unwrap_or_default().to_ascii_lowercase();
    Ok(match name.as_str() {
        "" | "plain" | "nop" | "utf-8" | "utf8" => Charset::Utf8,
        "utf-16be" | "utf-16be-bom" | "utf-16-bom" => Charset::Utf16(true),
        "utf-16le" | "utf-16le-bom" => Charset::Utf16(false),
        "hz-gb-2312" => {
            let problem = "hz-gb-2312 is not supported: write the files in utf-8";
            config.or(Charset::Utf8, Err(config.mistake("encoding", problem)))?
        }
        other => {
            // Names that users of Go's tables know, beside the labels of the web's.
            let label = other.strip_suffix("e").filter(|rest| rest.starts_with("iso8859-")).unwrap_or(other);
            let label = label.replace("iso8859-", "iso-8859-").replace("cp12", "windows-12");
            match Encoding::for_label(label.as_bytes()) {
                Some(encoding) if encoding == encoding_rs::UTF_16LE => Charset::Utf16(false),
                Some(encoding) if encoding == encoding_rs::UTF_16BE => Charset::Utf16(true),
                Some(encoding) if encoding != encoding_rs::REPLACEMENT => Charset::Other(encoding),
                _ => {
                    let problem = format!(
                        "{name:?} is unknown: use utf-8, utf-16le, latin1, gbk or another of the web's labels"
                    );
                    config.or(Charset::Utf8, Err(config.mistake("encoding", problem)))?
                }
            }
        }
    })
}
