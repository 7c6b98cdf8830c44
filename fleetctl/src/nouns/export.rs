//! `fleetctl export`: what the server has, as files for `apply`.

use std::path::Path;

use serde_json::Value;

use super::World;
use super::folder::{self, replace};
use super::print::counted;
use super::session::Session;
use crate::cli::nouns::Export;
use crate::client::percent_encode;
use crate::context::{Failure, Outcome};
use crate::error::io_words;
use crate::management::list;
use crate::plan::{Desired, Key, ObjectKind, document_of};

/// `export`
pub(super) async fn run(world: &World<'_>, flags: &Export) -> Outcome {
    let kinds = kinds_of(&flags.kind)?;
    let session = world.session(&flags.server).await?;
    let mut documents = Vec::new();
    let mut secrets = 0;
    for kind in kinds {
        let found = list(&session.client, kind.kind(), &kind.kind().query(), 0).await?;
        for object in &found.items {
            secrets += references_in(object);
            documents.extend(document_of(kind, object));
        }
    }
    documents.sort();
    match &flags.directory {
        Some(directory) => write(&session, directory, &documents)?,
        None => {
            let texts: Vec<&str> = documents.iter().map(|(_, text)| text.as_str()).collect();
            session.console.data(texts.join("---\n").as_bytes());
        }
    }
    if secrets > 0 {
        session.console.note(format_args!(
            "{} exported as a reference: no other server knows it",
            counted(secrets, "secret")
        ));
    }
    Ok(0)
}

fn kinds_of(words: &[String]) -> Result<Vec<ObjectKind>, Failure> {
    if words.is_empty() {
        return Ok(ObjectKind::ALL.to_vec());
    }
    let of = |word: &String| {
        ObjectKind::of_word(word).ok_or_else(|| Failure {
            message: format!("Error: --kind {word}: one of {} is needed", ObjectKind::words()),
            code: 2,
        })
    };
    words.iter().map(of).collect()
}

/// How many secrets an object has that only its server knows.
fn references_in(value: &Value) -> usize {
    match value {
        Value::Object(fields) if fields.get("isSecretRef") == Some(&Value::Bool(true)) => 1,
        Value::Object(fields) => {
            let own = |value: &Value| value.as_object().is_some_and(|fields| fields.contains_key("id"));
            let kept = fields.get("secrets").map_or(0, |secrets| leaves(secrets, &own));
            let others = fields.iter().filter(|(field, _)| *field != "secrets");
            kept + others.map(|(_, value)| references_in(value)).sum::<usize>()
        }
        Value::Array(items) => items.iter().map(references_in).sum(),
        _ => 0,
    }
}

fn leaves(value: &Value, is_leaf: &dyn Fn(&Value) -> bool) -> usize {
    match value {
        value if is_leaf(value) => 1,
        Value::Object(fields) => fields.values().map(|value| leaves(value, is_leaf)).sum(),
        _ => 0,
    }
}

fn write(session: &Session, directory: &Path, documents: &[(Key, String)]) -> Result<(), Failure> {
    let failed = |path: &Path, error: &std::io::Error| {
        Failure::new(format!("Cannot write {}: {}", path.display(), io_words(error)))
    };
    std::fs::create_dir_all(directory).map_err(|error| failed(directory, &error))?;
    let described = folder::read(&[directory.to_owned()])?;
    let (mut written, mut unchanged) = (0, 0);
    for (key, text) in documents {
        let path = directory.join(key.kind.directory()).join(format!("{}.yaml", file_name(&key.id)));
        if let Some(other) = elsewhere(&described, key, &path) {
            session.console.note(format_args!("{key} is described in {other}: it is not written again"));
            continue;
        }
        if std::fs::read(&path).is_ok_and(|before| before == text.as_bytes()) {
            unchanged += 1;
            continue;
        }
        let parent = path.parent().unwrap_or(directory);
        std::fs::create_dir_all(parent).map_err(|error| failed(parent, &error))?;
        replace(&path, text).map_err(|error| failed(&path, &error))?;
        written += 1;
    }
    let place = directory.display();
    let files = counted(written, "file");
    session.console.line(format_args!("Wrote {files} below {place}; {unchanged} unchanged"));
    Ok(())
}

/// Where an object is described, if it is in another file than ours.
fn elsewhere<'a>(
    described: &'a std::collections::BTreeMap<Key, Desired>,
    key: &Key,
    path: &Path,
) -> Option<&'a str> {
    let place = described.get(key)?.place.as_str();
    let (file, _) = place.rsplit_once(':')?;
    (Path::new(file) != path).then_some(place)
}

/// An id as the name of a file: no folder, and not hidden.
fn file_name(id: &str) -> String {
    let name = percent_encode(id);
    match name.strip_prefix('.') {
        Some(rest) => format!("%2E{rest}"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_no_paths() {
        for (id, name) in [("web", "web"), ("..", "%2E."), ("a/b", "a%2Fb"), (".x", "%2Ex"), ("é", "%C3%A9")]
        {
            assert_eq!(file_name(id), name);
        }
    }

    #[test]
    fn secrets_are_counted() {
        let object = json!({"vars": {"password": {"id": "s", "isSecretRef": true}, "user": "u"},
            "inputs": [{"x": {"id": "t", "isSecretRef": true}}], "secrets": {"ssl": {"key": {"id": "k"}}}, "id": "o"});
        assert_eq!(references_in(&object), 3);
    }
}
