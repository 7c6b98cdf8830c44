//! The policy in the configuration file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Map, Value};

use crate::config::{LARGEST, read_file};

/// The policy's id.
pub const ID: &str = "standalone";
/// What of the file is a policy, beside the settings of the agent.
pub(crate) const SECTIONS: [&str; 8] =
    ["inputs", "outputs", "receivers", "processors", "exporters", "connectors", "extensions", "service"];
/// What of the settings of the agent is a policy's.
const OF_AGENT: [&str; 3] = ["agent.features", "agent.limits", "agent.monitoring"];

/// Tells one content of a file from the next, as far as its directory knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(path: &Path) -> Option<Stamp> {
        let file = fs::metadata(path).ok()?;
        Some(Stamp { inode: file.ino(), size: file.len(), changed: (file.ctime(), file.ctime_nsec()) })
    }
}

/// The policy that a file has, as this revision. `None`: it says nothing of inputs and outputs, or is not there.
///
/// # Errors
/// It cannot be read, or is no map in YAML.
pub fn policy(path: &Path, revision: i64) -> Result<Option<Map<String, Value>>, String> {
    let failed = |problem: String| format!("{}: {problem}", path.display());
    let bytes = match read_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
        Ok(bytes) if bytes.len() as u64 > LARGEST => {
            return Err(failed(format!("it is larger than {LARGEST} bytes")));
        }
        Ok(bytes) => bytes,
    };
    let text = String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8 text".to_owned()))?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    // The lines around a mistake may hold a password, and what is wrong goes into the log.
    let options = serde_saphyr::options! { with_snippet: false };
    let read: Value =
        serde_saphyr::from_str_with_options(&text, options).map_err(|error| failed(error.to_string()))?;
    let Value::Object(mut file) = read else { return Ok(None) };
    if let Some(key) = file.keys().find(|key| is_dotted(key, &SECTIONS)) {
        return Err(failed(nested(key)));
    }
    let mut policy = Map::new();
    for name in SECTIONS {
        if let Some(section) = file.remove(name).filter(|section| !section.is_null()) {
            policy.insert(name.to_owned(), section);
        }
    }
    if policy.is_empty() {
        return Ok(None);
    }
    if let Some(key) = file.keys().find(|key| is_dotted(key, &OF_AGENT) || OF_AGENT.contains(&key.as_str())) {
        return Err(failed(nested(key)));
    }
    if let Some(agent) = file.remove("agent") {
        policy.insert("agent".to_owned(), agent);
    }
    policy.insert("id".to_owned(), ID.into());
    policy.insert("revision".to_owned(), revision.into());
    Ok(Some(policy))
}

/// Whether a key is below one of these, with dots. Policies are nested: it would have no effect.
fn is_dotted(key: &str, sections: &[&str]) -> bool {
    sections.iter().any(|section| key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.')))
}

fn nested(key: &str) -> String {
    let (section, rest) = key.split_once('.').unwrap_or((key, ""));
    format!("{key}: write it nested, as a policy has it ({section}: {{{rest}: …}}), not with dots")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Map<String, Value>>, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fleet-agent.yml");
        fs::write(&path, text).unwrap();
        policy(&path, 7)
    }

    #[test]
    fn a_file_with_inputs_or_outputs_has_a_policy() {
        let found =
            read("outputs:\n  default: {type: console}\nagent.x: 1\nagent: {monitoring: {logs: true}}\n");
        let found = Value::Object(found.unwrap().unwrap());
        assert_eq!((&found["id"], &found["revision"]), (&ID.into(), &7.into()));
        assert_eq!(found["agent"]["monitoring"]["logs"], true);
        assert!(found.get("agent.x").is_none());
        for none in ["", "# nothing\n", "agent: {}\n", "inputs:\n", "7\n"] {
            assert_eq!(read(none), Ok(None), "{none:?}");
        }
        assert!(read("inputs: [").unwrap_err().contains("fleet-agent.yml"));
        for dotted in ["agent.monitoring.logs: true", "agent.features: {}", "outputs.default.type: file"] {
            let told = read(&format!("{dotted}\ninputs: []\n")).unwrap_err();
            assert!(told.contains("write it nested"), "{told}");
        }
        // Alone, it is of no policy.
        assert_eq!(read("agent.monitoring.logs: true"), Ok(None));
        assert!(read("outputs.default.type: file").unwrap_err().contains("outputs: {default.type: …}"));
        assert_eq!(policy(Path::new("/no/such/file"), 1), Ok(None));
    }

    #[test]
    fn what_is_wrong_with_a_file_tells_nothing_that_is_in_it() {
        for wrong in [
            "outputs:\n  default:\n    password: s3cret\n    - x\n",
            "outputs: {default: {password: s3cret}\ninputs: []\n",
            "outputs:\n  default:\n    password: s3cret\n    password: s3cret\n",
        ] {
            let told = read(wrong).unwrap_err();
            assert!(told.contains("line") && !told.contains("s3cret"), "{told}");
        }
    }
}
