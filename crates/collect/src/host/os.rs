//! The operating system, by `os-release(5)`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

/// The families of distributions, by the names that `ID` and `ID_LIKE` have for their members.
const FAMILIES: [(&str, &[&str]); 6] = [
    ("debian", &["debian", "ubuntu", "raspbian", "linuxmint", "pop", "kali"]),
    (
        "redhat",
        &[
            "redhat",
            "rhel",
            "fedora",
            "centos",
            "rocky",
            "almalinux",
            "ol",
            "amzn",
            "scientific",
            "openeuler",
        ],
    ),
    ("suse", &["suse", "sles", "sled", "opensuse", "opensuse-leap", "opensuse-tumbleweed"]),
    ("arch", &["arch", "archarm", "manjaro"]),
    ("alpine", &["alpine"]),
    ("gentoo", &["gentoo"]),
];

/// An operating system, in the words of the common schema's `host.os.*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Os {
    /// `debian`, `redhat`, `suse`, `arch`.
    pub family: Option<String>,
    /// The kernel's release.
    pub kernel: String,
    /// `Debian GNU/Linux`.
    pub name: String,
    /// `debian`, `ubuntu`, `rhel`.
    pub platform: String,
    /// `12 (bookworm)`. A rolling distribution has none.
    pub version: Option<String>,
    /// `bookworm`.
    pub codename: Option<String>,
}

impl Os {
    /// Reads what there is below a root.
    pub(super) fn read(root: &Path, kernel: &str) -> Os {
        let file = |path: &str| fs::read_to_string(root.join(path));
        // `/etc` may replace what the distribution says in `/usr`.
        let text = file("etc/os-release").or_else(|_| file("usr/lib/os-release")).unwrap_or_default();
        Os::parse(&text, kernel)
    }

    fn parse(text: &str, kernel: &str) -> Os {
        let release = pairs(text);
        let value = |key: &str| release.get(key).filter(|value| !value.is_empty()).cloned();
        let platform = value("ID").unwrap_or_else(|| "linux".to_owned());
        let like = value("ID_LIKE").unwrap_or_default();
        let family = std::iter::once(platform.as_str()).chain(like.split_whitespace()).find_map(family);
        Os {
            family: family.map(str::to_owned),
            kernel: kernel.to_owned(),
            name: value("NAME").unwrap_or_else(|| "Linux".to_owned()),
            version: value("VERSION").or_else(|| value("VERSION_ID")),
            codename: value("VERSION_CODENAME"),
            platform,
        }
    }

    /// What kind of system it is; this program runs on one kind alone.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        "linux"
    }

    pub(super) fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        for (name, value) in [("kernel", &self.kernel), ("name", &self.name), ("platform", &self.platform)] {
            fields.insert(name.to_owned(), json!(value));
        }
        fields.insert("type".to_owned(), json!(self.kind()));
        for (name, value) in
            [("family", &self.family), ("version", &self.version), ("codename", &self.codename)]
        {
            if let Some(value) = value {
                fields.insert(name.to_owned(), json!(value));
            }
        }
        fields
    }
}

fn family(id: &str) -> Option<&'static str> {
    FAMILIES.iter().find(|(_, members)| members.contains(&id)).map(|(family, _)| *family)
}

/// Assignments as a shell reads them, but nothing is expanded. The last one of a name counts.
fn pairs(text: &str) -> BTreeMap<&str, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim_end(), unquote(value.trim())))
        .collect()
}

fn unquote(value: &str) -> String {
    let inside = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(literal) = inside('\'') {
        return literal.to_owned();
    }
    let mut text = String::with_capacity(value.len());
    let mut letters = inside('"').unwrap_or(value).chars();
    while let Some(letter) = letters.next() {
        let letter = if letter == '\\' { letters.next().unwrap_or(letter) } else { letter };
        text.push(letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_as_a_shell_would() {
        let text = "# a comment\nNAME=\"Debian GNU/Linux\"\nID=debian\nVERSION=\"12 (bookworm)\"\nVERSION_CODENAME='bookworm'\n";
        let os = Os::parse(text, "6.1.0");
        let expected = Os {
            family: Some("debian".to_owned()),
            kernel: "6.1.0".to_owned(),
            name: "Debian GNU/Linux".to_owned(),
            platform: "debian".to_owned(),
            version: Some("12 (bookworm)".to_owned()),
            codename: Some("bookworm".to_owned()),
        };
        assert_eq!(os, expected);
        assert_eq!(unquote(r#""a \"b\" \$c""#), r#"a "b" $c"#);
        assert_eq!(unquote("\""), "\"");
    }

    #[test]
    fn families_are_those_of_the_nearest_relative() {
        for (text, family) in [
            ("ID=ubuntu\nID_LIKE=debian", Some("debian")),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"", Some("redhat")),
            ("ID=\"own\"\nID_LIKE=\"suse opensuse\"", Some("suse")),
            ("ID=amzn", Some("redhat")),
            ("ID=nixos", None),
            ("", None),
        ] {
            assert_eq!(Os::parse(text, "6").family.as_deref(), family, "{text}");
        }
    }

    #[test]
    fn an_unknown_system_is_linux() {
        let os = Os::parse("", "6.1");
        assert_eq!((os.name.as_str(), os.platform.as_str(), os.version), ("Linux", "linux", None));
    }
}
