//! The objects that files describe: `kind`, `id` and `spec`.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::management::{DOWNLOAD_SOURCE, HOST, INTEGRATION, Kind, OUTPUT, POLICY, PROXY};
use crate::yaml::{read_documents, to_text};

/// A kind of object that files describe, in the order in which they are made: what others name comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ObjectKind {
    Proxy,
    FleetServerHost,
    Output,
    DownloadSource,
    AgentPolicy,
    PackagePolicy,
}

impl ObjectKind {
    /// Every kind, in the order in which they are made.
    pub(crate) const ALL: [ObjectKind; 6] = [
        ObjectKind::Proxy,
        ObjectKind::FleetServerHost,
        ObjectKind::Output,
        ObjectKind::DownloadSource,
        ObjectKind::AgentPolicy,
        ObjectKind::PackagePolicy,
    ];

    /// The word of files.
    pub(crate) fn word(self) -> &'static str {
        match self {
            ObjectKind::Proxy => "Proxy",
            ObjectKind::FleetServerHost => "FleetServerHost",
            ObjectKind::Output => "Output",
            ObjectKind::DownloadSource => "DownloadSource",
            ObjectKind::AgentPolicy => "AgentPolicy",
            ObjectKind::PackagePolicy => "PackagePolicy",
        }
    }

    /// The kind of this word.
    pub(crate) fn of_word(word: &str) -> Option<ObjectKind> {
        ObjectKind::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// Every word, for people.
    pub(crate) fn words() -> String {
        ObjectKind::ALL.map(ObjectKind::word).join(", ")
    }

    /// The kind in the management API.
    pub(crate) fn kind(self) -> &'static Kind {
        match self {
            ObjectKind::Proxy => &PROXY,
            ObjectKind::FleetServerHost => &HOST,
            ObjectKind::Output => &OUTPUT,
            ObjectKind::DownloadSource => &DOWNLOAD_SOURCE,
            ObjectKind::AgentPolicy => &POLICY,
            ObjectKind::PackagePolicy => &INTEGRATION,
        }
    }

    /// The directory that files of this kind are exported to.
    pub(crate) fn directory(self) -> &'static str {
        match self {
            ObjectKind::Proxy => "proxies",
            ObjectKind::FleetServerHost => "fleet-server-hosts",
            ObjectKind::Output => "outputs",
            ObjectKind::DownloadSource => "download-sources",
            ObjectKind::AgentPolicy => "agent-policies",
            ObjectKind::PackagePolicy => "package-policies",
        }
    }
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) kind: ObjectKind,
    pub(crate) id: String,
}

impl Key {
    /// Reads what [`Key`] is shown as.
    pub(crate) fn parse(text: &str) -> Option<Key> {
        let (word, id) = text.split_once('/')?;
        Some(Key { kind: ObjectKind::of_word(word)?, id: id.to_owned() }).filter(|key| !key.id.is_empty())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind.word(), self.id)
    }
}

/// An object as a file wants it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Desired {
    pub(crate) key: Key,
    /// The fields that the file says something about.
    pub(crate) spec: Map<String, Value>,
    /// `FILE:LINE`
    pub(crate) place: String,
}

/// A document that describes no object.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{place}: {text}")]
pub(crate) struct Mistake {
    pub(crate) place: String,
    pub(crate) text: String,
}

/// The objects of a file, added to `found`. What is wrong is told, everything at once.
pub(crate) fn read_documents_of(
    name: &str,
    text: &str,
    found: &mut BTreeMap<Key, Desired>,
    mistakes: &mut Vec<Mistake>,
) {
    let documents = match read_documents(text) {
        Ok(documents) => documents,
        Err(error) => {
            let place = format!("{name}:{}", error.line);
            mistakes.push(Mistake { place, text: error.text });
            return;
        }
    };
    for document in documents {
        let place = format!("{name}:{}", document.line);
        match desired(&document.value, &place) {
            Err(text) => mistakes.push(Mistake { place, text }),
            Ok(object) => {
                if let Some(other) = found.get(&object.key) {
                    let text = format!("{} is described in {} already", object.key, other.place);
                    mistakes.push(Mistake { place, text });
                } else {
                    found.insert(object.key.clone(), object);
                }
            }
        }
    }
}

fn desired(value: &Value, place: &str) -> Result<Desired, String> {
    let Value::Object(fields) = value else {
        return Err("an object is needed: kind, id and spec".to_owned());
    };
    if let Some(field) = fields.keys().find(|field| !["kind", "id", "spec"].contains(&field.as_str())) {
        return Err(format!("{field}: there is no such field beside kind, id and spec"));
    }
    let word = text_of(fields, "kind", &format!("one of {}", ObjectKind::words()))?;
    let kind = ObjectKind::of_word(word)
        .ok_or_else(|| format!("kind: {word:?} is none: one of {} is needed", ObjectKind::words()))?;
    let id = text_of(fields, "id", "up to 128 letters, digits, - _ .")?;
    let spec = match fields.get("spec") {
        Some(Value::Object(spec)) => Value::Object(spec.clone()),
        Some(_) => return Err("spec: fields and their values are needed".to_owned()),
        None => return Err("spec: it is missing".to_owned()),
    };
    if kind == ObjectKind::PackagePolicy && spec.get("inputs").is_some_and(Value::is_array) {
        return Err(
            "spec.inputs: a list is the older form: write a map, as `fleetctl export` does".to_owned()
        );
    }
    let mut written = kind.kind().written(&spec);
    // `written` leaves out what is null, which in a file means: reset this.
    for (field, value) in spec.as_object().into_iter().flatten() {
        if value.is_null() && !kind.kind().is_server_set(field) {
            written.insert(field.clone(), Value::Null);
        }
    }
    let key = Key { kind, id: id.to_owned() };
    Ok(Desired { key, spec: written, place: place.to_owned() })
}

fn text_of<'a>(fields: &'a Map<String, Value>, field: &str, needed: &str) -> Result<&'a str, String> {
    match fields.get(field) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(Value::String(_)) | Some(Value::Null) | None => Err(format!("{field}: it is missing: {needed}")),
        Some(other) => Err(format!("{field}: {other} is no text: put it in quotes")),
    }
}

/// An object of a server as a document of a file. The same object always gives the same bytes.
pub(crate) fn document_of(kind: ObjectKind, object: &Value) -> Option<(Key, String)> {
    let id = kind.kind().id_of(object)?.to_owned();
    let spec = Value::Object(kind.kind().written(object));
    let id_line = to_text(&json!({"id": id}));
    let text = format!("kind: {}\n{id_line}{}", kind.word(), to_text(&json!({"spec": spec})));
    Some((Key { kind, id }, text))
}
