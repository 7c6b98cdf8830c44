//! The containers that an engine has, or had until now.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::processor::process::container::is_id;

/// So many containers are known.
const MOST: usize = 10_000;

/// So many labels of each are told.
const MOST_LABELS: usize = 128;

/// No name, image or label is longer, in bytes.
const LONGEST: usize = 4 << 10;

/// All that is known of containers has no more bytes.
const MOST_BYTES: usize = 16 << 20;

/// What a container or a label takes beside its texts.
const ENTRY_BYTES: usize = 128;

/// A container as the engine lists it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    image: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// Containers by their ids.
#[derive(Debug)]
pub(super) struct Containers {
    by_id: BTreeMap<String, Known>,
    /// Whether dots in the names of labels become underscores.
    dedot: bool,
    /// How long one that is gone is still known: its last lines may not have been read.
    kept: Duration,
    bytes: usize,
}

#[derive(Debug)]
struct Known {
    /// The object `container` of the common schema.
    fields: Value,
    gone: Option<Instant>,
    bytes: usize,
}

impl Containers {
    pub(super) fn new(dedot: bool, kept: Duration) -> Containers {
        Containers { by_id: BTreeMap::new(), dedot, kept, bytes: 0 }
    }

    /// Takes down what the engine has of some containers.
    pub(super) fn add(&mut self, listed: Vec<Listed>) {
        for container in listed {
            if !is_id(&container.id) {
                continue;
            }
            let fields = fields(&container, self.dedot);
            let bytes = size(&fields);
            // What was known of it is not true any more, even if there is no room for what is.
            self.forget(&container.id);
            if self.by_id.len() < MOST && self.bytes + bytes <= MOST_BYTES {
                self.bytes += bytes;
                self.by_id.insert(container.id, Known { fields, gone: None, bytes });
            }
        }
    }

    /// Takes down all that the engine has: the others are gone.
    pub(super) fn replace(&mut self, listed: Vec<Listed>, now: Instant) {
        let there: HashSet<&str> = listed.iter().map(|container| container.id.as_str()).collect();
        for (id, known) in &mut self.by_id {
            if !there.contains(id.as_str()) {
                known.gone.get_or_insert(now);
            }
        }
        self.add(listed);
    }

    fn forget(&mut self, id: &str) {
        if let Some(known) = self.by_id.remove(id) {
            self.bytes -= known.bytes;
        }
    }

    /// A container is gone.
    pub(super) fn remove(&mut self, id: &str, now: Instant) {
        if let Some(known) = self.by_id.get_mut(id) {
            known.gone.get_or_insert(now);
        }
    }

    /// Forgets those that have been gone for long.
    pub(super) fn sweep(&mut self, now: Instant) {
        let Containers { by_id, kept, bytes, .. } = self;
        by_id.retain(|_, known| {
            let is_kept = known.gone.is_none_or(|gone| now.saturating_duration_since(gone) < *kept);
            if !is_kept {
                *bytes -= known.bytes;
            }
            is_kept
        });
    }

    /// The container with this id.
    pub(super) fn find(&self, id: &str) -> Option<&Value> {
        self.by_id.get(id).map(|known| &known.fields)
    }

    /// The one container whose id begins so.
    pub(super) fn find_short(&self, start: &str) -> Option<&Value> {
        let mut fitting = self.by_id.range(start.to_owned()..).take_while(|(id, _)| id.starts_with(start));
        let (_, known) = fitting.next()?;
        fitting.next().is_none().then_some(&known.fields)
    }
}

fn fields(container: &Listed, dedot: bool) -> Value {
    let mut fields = Map::new();
    fields.insert("id".to_owned(), json!(container.id));
    // Links give a container more names, which have another container's in front.
    let names = container.names.iter().flatten().map(|name| name.trim_start_matches('/'));
    let names = names.filter(|name| name.len() <= LONGEST);
    if let Some(name) = names.min_by_key(|name| (name.contains('/'), name.len())) {
        fields.insert("name".to_owned(), json!(name));
    }
    if !container.image.is_empty() && container.image.len() <= LONGEST {
        fields.insert("image".to_owned(), json!({"name": container.image}));
    }
    let empty = BTreeMap::new();
    let all = container.labels.as_ref().unwrap_or(&empty);
    let mut labels = Map::new();
    let short = all.iter().filter(|(name, value)| name.len() <= LONGEST && value.len() <= LONGEST);
    for (name, value) in short.take(MOST_LABELS) {
        let name = match dedot {
            true => name.replace('.', "_"),
            // With `a.b` beside it, `a` would have to be a text and an object.
            false if has_below(all, name) => format!("{name}.value"),
            false => name.clone(),
        };
        labels.insert(name, json!(value));
    }
    if !labels.is_empty() {
        fields.insert("labels".to_owned(), Value::Object(labels));
    }
    Value::Object(fields)
}

/// About how many bytes they take.
fn size(fields: &Value) -> usize {
    match fields {
        Value::String(text) => text.len(),
        Value::Object(map) => {
            ENTRY_BYTES
                + map.iter().map(|(name, value)| ENTRY_BYTES + name.len() + size(value)).sum::<usize>()
        }
        _ => 0,
    }
}

fn has_below(labels: &BTreeMap<String, String>, name: &str) -> bool {
    let start = format!("{name}.");
    labels.range(start.clone()..).next().is_some_and(|(other, _)| other.starts_with(&start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(containers: &Value) -> Vec<Listed> {
        serde_json::from_value(containers.clone()).unwrap()
    }

    fn id(letter: &str) -> String {
        letter.repeat(64)
    }

    #[test]
    fn a_container_is_told_in_the_words_of_the_common_schema() {
        let list = listed(&json!([{
            "Id": id("a"), "Names": ["/other/web", "/web"], "Image": "nginx:1", "State": "running",
            "Labels": {"a": "1", "a.b": "2", "a-b": "3", "long": "x".repeat(LONGEST + 1)},
        }, {"Id": "short", "Names": null}, {"Id": id("b"), "Names": null, "Labels": null}]));
        let labels = json!({"a": "1", "a_b": "2", "a-b": "3"});
        let mut containers = Containers::new(true, Duration::ZERO);
        containers.add(list);
        let expected = json!({"id": id("a"), "name": "web", "image": {"name": "nginx:1"}, "labels": labels});
        assert_eq!(containers.find(&id("a")), Some(&expected));
        assert_eq!(containers.find(&id("b")), Some(&json!({"id": id("b")})));
        assert_eq!(containers.find("short"), None);
        let dotted = listed(&json!([{"Id": id("a"), "Labels": {"a": "1", "a.b": "2"}}]));
        let mut containers = Containers::new(false, Duration::ZERO);
        containers.add(dotted);
        assert_eq!(containers.find(&id("a")).unwrap()["labels"], json!({"a.value": "1", "a.b": "2"}));
    }

    #[test]
    fn a_container_is_known_for_a_while_after_its_end() {
        let kept = Duration::from_secs(60);
        let mut containers = Containers::new(true, kept);
        let both = json!([{"Id": id("a")}, {"Id": id("b")}]);
        containers.add(listed(&both));
        let now = Instant::now();
        containers.remove(&id("a"), now);
        containers.replace(listed(&json!([{"Id": id("b")}])), now + kept / 2);
        containers.sweep(now + kept / 2);
        assert!(containers.find(&id("a")).is_some());
        containers.sweep(now + kept);
        assert_eq!((containers.find(&id("a")), containers.find(&id("b")).is_some()), (None, true));
        containers.replace(Vec::new(), now + kept);
        containers.add(listed(&both));
        containers.sweep(now + kept * 3);
        assert!(containers.find(&id("b")).is_some(), "one that is back is not gone");
    }

    #[test]
    fn a_short_id_is_of_one_container_or_of_none() {
        let mut containers = Containers::new(true, Duration::ZERO);
        let (first, second) = (format!("{}{}", "a".repeat(63), 1), format!("{}{}", "a".repeat(63), 2));
        containers.add(listed(&json!([{"Id": first}, {"Id": second}, {"Id": id("b")}])));
        assert_eq!(containers.find_short("bbbbbbbbbbbb").unwrap()["id"], id("b"));
        assert_eq!((containers.find_short("aaaaaaaaaaaa"), containers.find_short("cc")), (None, None));
    }

    #[test]
    fn there_are_so_many_containers_and_no_more() {
        let mut containers = Containers::new(true, Duration::ZERO);
        let many: Vec<Value> = (0..=MOST).map(|number| json!({"Id": format!("{number:064x}")})).collect();
        containers.add(listed(&json!(many)));
        assert_eq!(containers.by_id.len(), MOST);
        containers.add(listed(&json!([{"Id": format!("{:064x}", 0), "Names": ["/again"]}])));
        assert_eq!(containers.find(&format!("{:064x}", 0)).unwrap()["name"], "again");
    }

    #[test]
    fn what_is_known_of_containers_is_bounded() {
        let mut containers = Containers::new(true, Duration::ZERO);
        let text = |length: usize| "x".repeat(length);
        let labels: serde_json::Map<_, _> =
            (0..MOST_LABELS).map(|label| (format!("{label}{}", text(2000)), json!(text(2000)))).collect();
        let of = |number: usize| json!({"Id": format!("{number:064x}"), "Labels": labels});
        for number in 0..100 {
            containers.add(listed(&json!([of(number)])));
        }
        let texts: usize = containers.by_id.values().map(|known| known.fields.to_string().len()).sum();
        assert!(texts < MOST_BYTES && texts > MOST_BYTES / 2, "{texts}");
        // Room is made by what goes, and by what shrinks.
        let known = containers.by_id.len();
        containers.add(listed(&json!([{"Id": format!("{:064x}", 0)}, of(100)])));
        assert_eq!(
            (containers.by_id.len(), containers.find(&format!("{:064x}", 0)).unwrap().get("labels")),
            (known + 1, None)
        );
        containers.replace(Vec::new(), Instant::now());
        containers.sweep(Instant::now());
        assert_eq!((containers.by_id.len(), containers.bytes), (0, 0));
        let long = json!([{"Id": id("a"), "Names": [text(5000)], "Image": text(5000), "Labels": {(text(5000)): "x"}}]);
        containers.add(listed(&long));
        assert_eq!(containers.find(&id("a")), Some(&json!({"id": id("a")})));
    }
}
