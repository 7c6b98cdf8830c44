//! Keys that nobody asked for.

use std::collections::BTreeSet;

use super::tree::{Node, Value, join};
use crate::config::nearest::nearest;
use crate::config::settings::Warning;

/// The longest key that is compared with the known ones, in bytes.
const LONGEST_COMPARED: usize = 100;

/// Warns of each topmost key that is not known and leads to none that is.
pub(super) fn warn(
    root: &Node,
    known: &BTreeSet<String>,
    open: &BTreeSet<String>,
    warnings: &mut Vec<Warning>,
) {
    Walk { known, open, warnings }.below(root, "");
}

struct Walk<'a> {
    known: &'a BTreeSet<String>,
    open: &'a BTreeSet<String>,
    warnings: &'a mut Vec<Warning>,
}

impl Walk<'_> {
    fn below(&mut self, node: &Node, path: &str) {
        match &node.value {
            Value::Map(map) => {
                for (key, node) in map {
                    self.key(node, path, key);
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.key(item, path, &index.to_string());
                }
            }
            _ => {}
        }
    }

    fn key(&mut self, node: &Node, above: &str, key: &str) {
        let path = join(above, key);
        if self.open.contains(&path) || self.known.contains(&path) {
            return;
        }
        if self.leads_to_known(&path) {
            self.below(node, &path);
            return;
        }
        let text = match self.meant(above, key) {
            Some(meant) => format!("unknown key {path}: was {meant} meant?"),
            None => format!("unknown key {path}"),
        };
        self.warnings.push(Warning { place: node.place.clone(), text });
    }

    fn leads_to_known(&self, path: &str) -> bool {
        let start = format!("{path}.");
        let leads = |keys: &BTreeSet<String>| {
            keys.range(start.clone()..).next().is_some_and(|key| key.starts_with(&start))
        };
        leads(self.known) || leads(self.open)
    }

    /// The key that may have been meant: one of the same section that is spelled nearly so, or the only one
    /// elsewhere that is called so.
    fn meant(&self, above: &str, key: &str) -> Option<String> {
        // Comparing takes time with the length, and no known key is nearly as long.
        if key.len() > LONGEST_COMPARED {
            return None;
        }
        let start = if above.is_empty() { String::new() } else { format!("{above}.") };
        let siblings: BTreeSet<&str> =
            self.known.iter().filter_map(|known| known.strip_prefix(&start)?.split('.').next()).collect();
        if let Some(sibling) = nearest(key, siblings) {
            return Some(join(above, sibling));
        }
        if let Some(dotted) = dotted_index(key) {
            return Some(join(above, &dotted));
        }
        let elsewhere: BTreeSet<&str> = self.known.iter().filter_map(|known| called(known, key)).collect();
        match elsewhere.len() {
            1 => elsewhere.first().map(|key| (*key).to_owned()),
            _ => None,
        }
    }
}

/// `name.0` for `name[0]`, which is how other programs write it.
fn dotted_index(key: &str) -> Option<String> {
    let (name, index) = key.strip_suffix(']')?.split_once('[')?;
    index.bytes().all(|byte| byte.is_ascii_digit()).then(|| format!("{name}.{index}"))
}

/// As much of a known key as ends in a part of this name.
fn called<'a>(known: &'a str, name: &str) -> Option<&'a str> {
    let mut end = 0;
    for part in known.split('.') {
        end += part.len();
        if part == name {
            return known.get(..end);
        }
        end += 1;
    }
    None
}
