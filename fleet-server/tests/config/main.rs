//! The configuration of the server: keys, rules, limits, documentation, and what the check prints.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::Path;

use fleet_server::config::{Config, Input, load};
use fleet_service::config::Warning;
use fleet_service::config::document::Problems;

mod arbitrary;
mod check;
mod documented;
mod files;
mod keys;
mod limits;
mod people;
mod rules;
mod store;
mod tls;

/// Enough for ten thousand agents or so, and always the same.
const MEMORY: u64 = 1 << 30;

/// What a test configuration is made of.
#[derive(Clone, Default)]
struct World {
    text: String,
    overrides: Vec<String>,
    environment: BTreeMap<String, String>,
}

fn yaml(text: &str) -> World {
    World { text: text.to_owned(), ..World::default() }
}

impl World {
    fn with(mut self, override_: &str) -> World {
        self.overrides.push(override_.to_owned());
        self
    }

    fn variable(mut self, name: &str, value: &str) -> World {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    fn input<T>(&self, use_it: impl FnOnce(&Input<'_>) -> T) -> T {
        use_it(&Input {
            file: Some((Path::new("test.yml"), self.text.as_bytes())),
            overrides: &self.overrides,
            environment: Some(&self.environment),
            memory: MEMORY,
        })
    }

    fn load(&self) -> Result<(Config, Vec<Warning>), Problems> {
        self.input(load)
    }

    /// The configuration, which must be good.
    fn config(&self) -> Config {
        match self.load() {
            Ok((config, _)) => config,
            Err(problems) => panic!("{}\n{}", self.text, lines(&problems.mistakes).join("\n")),
        }
    }

    /// The warnings of a good configuration.
    fn warnings(&self) -> Vec<String> {
        match self.load() {
            Ok((_, warnings)) => lines(&warnings),
            Err(problems) => panic!("{}\n{}", self.text, lines(&problems.mistakes).join("\n")),
        }
    }

    /// The mistakes of a bad one.
    fn mistakes(&self) -> Vec<String> {
        match self.load() {
            Ok(_) => panic!("no mistake is found in:\n{}", self.text),
            Err(problems) => lines(&problems.mistakes),
        }
    }
}

fn lines(findings: &[impl ToString]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

/// All that `a.{b,c}.{d,e}` stands for.
fn expand(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else { return vec![pattern.to_owned()] };
    let (choices, after) = rest.split_once('}').expect("a closing brace");
    let tails = expand(after);
    choices
        .split(',')
        .flat_map(|choice| tails.iter().map(move |tail| format!("{before}{choice}{tail}")))
        .collect()
}

/// A certificate and a key that can be read, and what names them under a section.
struct Material {
    directory: tempfile::TempDir,
}

impl Material {
    fn new() -> Material {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let files = [
            ("cert.pem", 0o644, certificate.as_str()),
            ("key.pem", 0o600, &key),
            ("ca.pem", 0o644, &certificate),
            ("secret", 0o600, "text\n"),
        ];
        for (name, mode, text) in files {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        Material { directory }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// The content of a file, as a value in quotes.
    fn inline(&self, name: &str) -> String {
        format!("{:?}", std::fs::read_to_string(self.directory.path().join(name)).unwrap())
    }

    /// `text` with `$cert`, `$key`, `$ca` and `$secret` replaced by paths.
    fn fill(&self, text: &str) -> String {
        text.replace("$cert", &self.path("cert.pem"))
            .replace("$key", &self.path("key.pem"))
            .replace("$ca", &self.path("ca.pem"))
            .replace("$secret", &self.path("secret"))
    }
}
