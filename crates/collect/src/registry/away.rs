//! Streams that left the policy: their positions are kept for a while, for policies are changed back, and then forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Memory, Registry};

/// For so long a stream may be away and go on where it was.
const AWAY_MS: u64 = 30 * 24 * 3600 * 1000;

/// Where it is noted, among the positions, since when each is away (milliseconds since 1970). No stream of a policy is
/// called so.
const AWAY: &str = "\u{0}away";

impl Registry {
    /// Told which streams the plan has: notes which others have left, and forgets those that left long ago. Returns
    /// how many were forgotten.
    pub(crate) fn keep(&self, streams: &BTreeSet<String>, now: u64) -> usize {
        let memory = &mut *self.memory();
        let away: Arc<str> = AWAY.into();
        let before = memory.positions.remove(&away).unwrap_or_default();
        let (mut after, mut forgotten) = (BTreeMap::new(), 0);
        let kept: Vec<Arc<str>> = memory.positions.keys().cloned().collect();
        for stream in kept.into_iter().filter(|stream| !streams.contains(&**stream)) {
            let since = before.get(&*stream).and_then(|text| text.parse::<u64>().ok());
            // A clock that was set back must not make it older than it is.
            let since = since.unwrap_or(now).min(now);
            if now - since > AWAY_MS {
                forget(memory, &stream);
                forgotten += 1;
            } else {
                after.insert(stream.to_string(), since.to_string().into_boxed_str());
            }
        }
        let changed = before.keys().chain(after.keys()).filter(|key| before.get(*key) != after.get(*key));
        memory.dirty.extend(changed.map(|key| (Arc::clone(&away), key.clone())));
        if !after.is_empty() {
            memory.positions.insert(away, after);
        }
        forgotten
    }
}

fn forget(memory: &mut Memory, stream: &Arc<str>) {
    let keys = memory.positions.remove(stream).unwrap_or_default();
    memory.dirty.extend(keys.into_keys().map(|key| (Arc::clone(stream), key)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DAY: u64 = 24 * 3600 * 1000;

    fn open(directory: &std::path::Path) -> Arc<Registry> {
        Arc::new(Registry::open(directory).unwrap().0)
    }

    fn streams<const N: usize>(ids: [&str; N]) -> BTreeSet<String> {
        ids.into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn positions_are_forgotten_long_after_their_stream_left_and_not_before() {
        let directory = tempfile::tempdir().unwrap();
        let registry = open(directory.path());
        for stream in ["stays", "leaves", "comes-back"] {
            registry.positions(stream).set("file", &json!(7));
        }
        assert_eq!(registry.keep(&streams(["stays"]), DAY), 0);
        registry.flush().unwrap();

        // A restart forgets nothing of it.
        let registry = open(directory.path());
        assert_eq!(registry.keep(&streams(["stays", "comes-back"]), 20 * DAY), 0);
        assert_eq!(registry.keep(&streams(["stays"]), 31 * DAY), 0, "30 days are not over");
        assert_eq!(registry.keep(&streams(["stays"]), 32 * DAY), 1);
        registry.flush().unwrap();

        let registry = open(directory.path());
        assert_eq!(registry.positions("leaves").all().len(), 0);
        for stream in ["stays", "comes-back"] {
            assert_eq!(registry.positions(stream).get("file"), Some(json!(7)), "{stream}");
        }
        // What came back has been away for a day since, not for a month.
        assert_eq!(registry.keep(&streams(["stays"]), 40 * DAY), 0);
    }

    #[test]
    fn a_clock_that_goes_back_and_forth_forgets_nothing_early() {
        let directory = tempfile::tempdir().unwrap();
        let registry = open(directory.path());
        registry.positions("leaves").set("file", &json!(7));
        assert_eq!(registry.keep(&streams([]), 100 * DAY), 0);
        assert_eq!(registry.keep(&streams([]), DAY), 0);
        assert_eq!(registry.keep(&streams([]), 2 * DAY), 0);
        assert_eq!(registry.positions("leaves").get("file"), Some(json!(7)));
    }
}
