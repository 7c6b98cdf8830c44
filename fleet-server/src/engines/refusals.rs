//! What an engine refuses of a package, and what rests on that.
//!
//! An engine lacks processors or field types that a package was written for. What is left of the package works
//! without: an index template that names a pipeline which is not there would turn every document away, so that it is
//! held back with it, and all others go in.

use std::collections::BTreeSet;
use std::fmt;

use fleet_integration::assets::Asset;
use serde_json::Value;

use super::EngineProblem;

/// So many refusals are told in full.
const TOLD: usize = 3;

/// What could not be put there.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    problems: Vec<EngineProblem>,
    /// Names of what is not there, or does not work.
    lacking: BTreeSet<String>,
    /// How many of them were not tried.
    held_back: usize,
}

impl Refusals {
    pub(super) fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether the asset is not there, or rests on what is not.
    pub(super) fn concern(&self, asset: &Asset) -> bool {
        self.lacking.contains(&asset.name)
    }

    /// Takes note of a refusal.
    ///
    /// # Errors
    /// The problem itself, if it says nothing of the asset: the login may do nothing, or the engine is busy.
    pub(super) fn add(&mut self, asset: &Asset, problem: EngineProblem) -> Result<(), EngineProblem> {
        match problem {
            EngineProblem::Refused { status: 400 | 404 | 405 | 413 | 422 | 500, .. } => {
                self.problems.push(problem);
                self.lacking.insert(asset.name.clone());
                Ok(())
            }
            other => Err(other),
        }
    }

    /// Holds back whatever rests on what is lacking. Pipelines name each other in any order.
    pub(super) fn spread(&mut self, all: &[Asset]) {
        if self.is_empty() {
            return;
        }
        loop {
            let rests = |asset: &&Asset| !self.concern(asset) && names_any(&asset.body, &self.lacking);
            let more: Vec<String> = all.iter().filter(rests).map(|asset| asset.name.clone()).collect();
            if more.is_empty() {
                return;
            }
            self.held_back += more.len();
            self.lacking.extend(more);
        }
    }
}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().take(TOLD).enumerate() {
            let before = if index == 0 { "" } else { "; " };
            write!(f, "{before}{problem}")?;
        }
        if let Some(more @ 1..) = self.problems.len().checked_sub(TOLD) {
            write!(f, "; {more} more are refused")?;
        }
        if self.held_back > 0 {
            write!(f, "; {} that rest on it are held back", self.held_back)?;
        }
        f.write_str("; the rest of the package is there")
    }
}

impl std::error::Error for Refusals {}

/// Whether one of the names stands in it as a text of its own.
fn names_any(value: &Value, names: &BTreeSet<String>) -> bool {
    match value {
        Value::String(text) => names.contains(text),
        Value::Array(list) => list.iter().any(|item| names_any(item, names)),
        Value::Object(map) => map.values().any(|item| names_any(item, names)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use fleet_integration::assets::AssetKind;
    use serde_json::json;

    use super::*;

    fn asset(kind: AssetKind, name: &str, body: Value) -> Asset {
        let (name, checksum) = (name.to_owned(), String::new());
        Asset { kind, name, body, checksum, is_users: false, is_started: false }
    }

    fn refused(status: u16) -> EngineProblem {
        EngineProblem::Refused { what: "PUT x".to_owned(), status, reason: "no such processor".to_owned() }
    }

    #[test]
    fn what_rests_on_a_refused_pipeline_is_held_back_and_nothing_else() {
        use AssetKind::{ComponentTemplate, IndexTemplate, IngestPipeline};
        let all = [
            asset(IngestPipeline, "first-1", json!({"processors": [{"pipeline": {"name": "second-1"}}]})),
            asset(IngestPipeline, "other-1", json!({"processors": []})),
            asset(IngestPipeline, "second-1", json!({"processors": [{"geo": {}}]})),
            asset(ComponentTemplate, "logs-a@package", json!({"settings": {"default_pipeline": "first-1"}})),
            asset(ComponentTemplate, "logs-b@package", json!({"settings": {"default_pipeline": "other-1"}})),
            asset(IndexTemplate, "logs-a", json!({"composed_of": ["logs-a@package"]})),
            asset(IndexTemplate, "logs-b", json!({"composed_of": ["logs-b@package"]})),
        ];
        let mut refusals = Refusals::default();
        refusals.spread(&all);
        assert!(all.iter().all(|asset| !refusals.concern(asset)));
        refusals.add(&all[2], refused(400)).unwrap();
        refusals.spread(&all);
        let left: Vec<&str> =
            all.iter().filter(|one| !refusals.concern(one)).map(|one| one.name.as_str()).collect();
        assert_eq!(left, ["other-1", "logs-b@package", "logs-b"]);
        let told = refusals.to_string();
        assert!(told.contains("no such processor") && told.contains("3 that rest on it"), "{told}");
    }

    #[test]
    fn a_refusal_of_everything_is_not_one_of_an_asset() {
        let asset = asset(AssetKind::IngestPipeline, "a", json!({}));
        for status in [401, 403, 429, 503] {
            assert!(Refusals::default().add(&asset, refused(status)).is_err(), "{status}");
        }
    }
}
