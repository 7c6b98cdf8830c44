//! The file of known host keys, in OpenSSH's format (`SSH_KNOWN_HOSTS FILE FORMAT` in sshd(8)).
//!
//! Read: comma-separated patterns with `*`, `?` and `!`, `[host]:port`, hashed names, and `@revoked`.
//! A line of `@cert-authority` is passed over: host certificates are not asked for.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::{Algorithm, PublicKey};
use sha1::Sha1;

/// What a file of known hosts says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the host's.
    Known,
    /// Nothing is known of the host.
    Unknown,
    /// The host has another one.
    Mismatch,
    /// It was withdrawn.
    Revoked,
}

/// A file of known host keys.
#[derive(Clone, Debug)]
pub(crate) struct KnownHosts {
    path: PathBuf,
}

/// The lines that could be read, and why others could not (`file:line - why`).
#[derive(Debug, Default)]
pub(crate) struct Entries {
    entries: Vec<Entry>,
    pub(crate) warnings: Vec<String>,
}

#[derive(Debug)]
struct Entry {
    hosts: Hosts,
    revoked: bool,
    key: PublicKey,
}

#[derive(Debug)]
enum Hosts {
    Patterns(Vec<String>),
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

impl KnownHosts {
    /// The file at `path`; it need not exist.
    pub(crate) fn new(path: PathBuf) -> KnownHosts {
        KnownHosts { path }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it. A file that does not exist knows nobody.
    pub(crate) fn read(&self) -> io::Result<Entries> {
        let text = match std::fs::read(&self.path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut entries = Entries::default();
        for (index, line) in text.lines().enumerate() {
            match parse_line(line) {
                Ok(entry) => entries.entries.extend(entry),
                Err(why) => entries.warnings.push(format!("{}:{} - {why}", self.path.display(), index + 1)),
            }
        }
        Ok(entries)
    }

    /// Remembers `key` for `host`, on a line of its own even where an editor left the last line without its end.
    pub(crate) fn add(&self, host: &str, key: &PublicKey) -> io::Result<()> {
        if let Some(directory) = self.path.parent().filter(|path| !path.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let encoded = key.to_openssh().map_err(io::Error::other)?;
        let key: Vec<&str> = encoded.split(' ').take(2).collect();
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&self.path)?;
        let end = if ends_inside_a_line(&mut file)? { "\n" } else { "" };
        file.write_all(format!("{end}{host} {}\n", key.join(" ")).as_bytes())
    }
}

impl Entries {
    /// Judges the key that a host, known by any of `names`, shows.
    pub(crate) fn judge(&self, names: &[String], key: &PublicKey) -> Verdict {
        let about_host = || self.entries.iter().filter(|entry| entry.hosts.matches(names));
        let same = |entry: &&Entry| entry.key.key_data() == key.key_data();
        if about_host().filter(|entry| entry.revoked).any(|entry| same(&entry)) {
            return Verdict::Revoked;
        }
        let mut known = about_host().filter(|entry| !entry.revoked).peekable();
        if known.peek().is_none() {
            Verdict::Unknown
        } else if known.any(|entry| same(&entry)) {
            Verdict::Known
        } else {
            Verdict::Mismatch
        }
    }

    /// The kinds of key that a host is known by: it is asked for those first.
    pub(crate) fn algorithms(&self, names: &[String]) -> Vec<Algorithm> {
        self.entries
            .iter()
            .filter(|entry| !entry.revoked && entry.hosts.matches(names))
            .map(|entry| entry.key.algorithm())
            .collect()
    }
}

impl Hosts {
    fn matches(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.matches_name(&name.to_ascii_lowercase()))
    }

    fn matches_name(&self, name: &str) -> bool {
        match self {
            Hosts::Hashed { salt, hash } => hash_name(salt, name).is_some_and(|mac| mac == *hash),
            Hosts::Patterns(patterns) => {
                let refused = patterns
                    .iter()
                    .filter_map(|p| p.strip_prefix('!'))
                    .any(|pattern| wildcard(pattern, name));
                !refused && patterns.iter().any(|pattern| wildcard(pattern, name))
            }
        }
    }
}

/// The names a host is looked up by: `host`, or `[host]:port` when the port is not 22. For an IPv6 address
/// at port 22 both forms are in use.
pub(crate) fn names_of(host: &str, port: u16) -> Vec<String> {
    if port != 22 {
        vec![format!("[{host}]:{port}")]
    } else if host.contains(':') {
        vec![host.to_owned(), format!("[{host}]")]
    } else {
        vec![host.to_owned()]
    }
}

fn ends_inside_a_line(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn parse_line(line: &str) -> Result<Option<Entry>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let mut fields = line.split_ascii_whitespace();
    let mut first = fields.next().unwrap_or_default();
    let mut revoked = false;
    match first {
        "@cert-authority" => return Ok(None),
        "@revoked" => {
            revoked = true;
            first = fields.next().ok_or("bad format (insufficient fields)")?;
        }
        marker if marker.starts_with('@') => return Err("unknown marker"),
        _ => {}
    }
    let (Some(kind), Some(key)) = (fields.next(), fields.next()) else {
        return Err("bad format (insufficient fields)");
    };
    let key = PublicKey::from_openssh(&format!("{kind} {key}")).map_err(|_| "error parsing key")?;
    Ok(Some(Entry { hosts: parse_hosts(first)?, revoked, key }))
}

fn parse_hosts(field: &str) -> Result<Hosts, &'static str> {
    let Some(hashed) = field.strip_prefix('|') else {
        return Ok(Hosts::Patterns(field.split(',').map(str::to_ascii_lowercase).collect()));
    };
    let parts: Vec<&str> = hashed.split('|').collect();
    let ["1", salt, hash] = parts[..] else { return Err("unknown hash of a host name") };
    let decode = |text| BASE64_STANDARD.decode(text).map_err(|_| "bad hash of a host name");
    Ok(Hosts::Hashed { salt: decode(salt)?, hash: decode(hash)? })
}

fn hash_name(salt: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut mac = Hmac::<Sha1>::new_from_slice(salt).ok()?;
    mac.update(name.as_bytes());
    Some(mac.finalize().into_bytes().to_vec())
}

/// Whether a pattern of `*` (anything) and `?` (one character) fits the whole name.
fn wildcard(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                // The last star takes one character more.
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
#[path = "known_hosts_tests.rs"]
mod tests;
