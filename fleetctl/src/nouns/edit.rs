//! Changing an object, in an editor or by flags, without losing what others change meanwhile.
//!
//! The save says which version it is a change of. If the object has another one by then, nothing is saved: the
//! user's text and the server's are kept side by side, and the difference is shown.

use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::input::{fields_of, read_fields, set_fields};
use super::print;
use super::session::{Session, read_line};
use crate::cli::nouns::Edit;
use crate::client::percent_encode;
use crate::context::{Failure, Outcome};
use crate::error::io_words;
use crate::management::{ApiError, Kind};
use crate::plan::{changes, shown};
use crate::yaml::to_text;

/// How many directories of the same name may have been left by earlier runs.
const MOST_LEFTOVERS: u32 = 1000;

/// `edit`
pub(crate) async fn run(session: &Session, kind: &Kind, flags: &Edit) -> Outcome {
    let object = session.object(kind, &flags.name).await?;
    let before = kind.written(&object);
    let is_by_flags = flags.file.is_some() || !flags.fields.is_empty();
    if is_by_flags {
        let mut after = match &flags.file {
            Some(path) => kind.written(&Value::Object(read_fields(path)?)),
            None => before.clone(),
        };
        set_fields(&mut after, &flags.fields)?;
        return by_flags(session, kind, &object, &before, &after).await;
    }
    let desk = Desk::new(session, kind, &object)
        .map_err(|error| Failure::new(format!("Cannot keep a text to edit: {}", io_words(&error))))?;
    let outcome = in_editor(session, kind, &object, &before, &desk).await;
    if outcome.is_ok() {
        desk.clear();
    }
    outcome
}

async fn by_flags(
    session: &Session,
    kind: &Kind,
    object: &Value,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
) -> Outcome {
    match save(session, kind, object, before, after).await? {
        Saved::Done | Saved::Unchanged => Ok(0),
        Saved::Conflict(theirs) => {
            let desk = Desk::new(session, kind, object)
                .map_err(|error| Failure::new(format!("Cannot keep both texts: {}", io_words(&error))))?;
            Err(conflict(kind, &desk, after, &theirs))
        }
    }
}

/// What came of a save.
enum Saved {
    Done,
    Unchanged,
    /// Somebody else changed the object: this is what it is now.
    Conflict(Value),
}

/// Saves what differs. Fields that are gone are reset.
async fn save(
    session: &Session,
    kind: &Kind,
    object: &Value,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
) -> Result<Saved, ApiError> {
    if before == after {
        session.console.line(format_args!("No change of {}", print::called(kind, object)));
        return Ok(Saved::Unchanged);
    }
    let id = kind.id_of(object).unwrap_or_default();
    let path = format!("{}/{}{}", kind.path, percent_encode(id), kind.item_query());
    let base = kind.base_of(object);
    let now = item(session.client.get(&path).await?);
    // A server that does not compare versions itself must not make us overwrite what others wrote.
    if !is_the_same(kind, &now, object) {
        return Ok(Saved::Conflict(now));
    }
    let mut body = after.clone();
    for field in before.keys().filter(|field| !after.contains_key(*field)) {
        body.insert(field.clone(), Value::Null);
    }
    body.extend(base);
    match session.client.put(&path, &Value::Object(body)).await {
        Ok(answer) => {
            session.console.line(format_args!("Changed {}", print::called(kind, &item(answer))));
            Ok(Saved::Done)
        }
        Err(error) if error.is_conflict() => {
            // A name that another object has is a conflict too, but none with another editor.
            let now = item(session.client.get(&path).await?);
            if is_the_same(kind, &now, object) { Err(error) } else { Ok(Saved::Conflict(now)) }
        }
        Err(error) => Err(error),
    }
}

fn is_the_same(kind: &Kind, now: &Value, before: &Value) -> bool {
    kind.base_of(now) == kind.base_of(before) && kind.written(now) == kind.written(before)
}

fn item(mut answer: Value) -> Value {
    answer.get_mut("item").map(Value::take).unwrap_or(answer)
}

/// Keeps and shows both texts.
fn conflict(kind: &Kind, desk: &Desk, mine: &Map<String, Value>, theirs: &Value) -> Failure {
    let theirs_written = Value::Object(kind.written(theirs));
    let kept = desk
        .write("mine.yaml", &to_text(&Value::Object(mine.clone())))
        .and_then(|mine| Ok((mine, desk.write("theirs.yaml", &to_text(&theirs_written))?)));
    let who = theirs.get("updated_by").and_then(Value::as_str).unwrap_or("somebody else");
    let mut text = format!(
        "Nothing was saved: {} was changed by {who} meanwhile. From theirs to yours:\n",
        print::called(kind, theirs)
    );
    for change in changes(&theirs_written, &Value::Object(mine.clone())) {
        text.push_str(&format!("  {}\n", shown(&change)));
    }
    match kept {
        Ok((mine, theirs)) => text.push_str(&format!(
            "Both texts are kept:\n  yours   {0}\n  theirs  {1}\nJoin them, then: fleetctl {2} edit {3} --file {0}",
            mine.display(),
            theirs.display(),
            kind.noun,
            desk.id,
        )),
        Err(error) => text.push_str(&format!("They cannot be kept: {}", io_words(&error))),
    }
    Failure::new(text)
}

/// Lets the user edit until the server takes the text.
async fn in_editor(
    session: &Session,
    kind: &Kind,
    object: &Value,
    before: &Map<String, Value>,
    desk: &Desk,
) -> Outcome {
    let head = format!(
        "# {}\n# Lines with # at their beginning are not read. A field that is taken away is reset.\n",
        print::called(kind, object)
    );
    let text = format!("{head}{}", to_text(&Value::Object(before.clone())));
    let path = desk
        .write("edit.yaml", &text)
        .map_err(|error| Failure::new(format!("Cannot keep a text to edit: {}", io_words(&error))))?;
    loop {
        open_editor(session, &path).await?;
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Failure::new(format!("Cannot read {}: {}", path.display(), io_words(&error))))?;
        let why = match fields_of(&text) {
            Err(why) => why,
            // An emptied text is how people say that they have thought better of it.
            Ok(after) if after.is_empty() => {
                session.console.line(format_args!("No change of {}", print::called(kind, object)));
                return Ok(0);
            }
            Ok(after) => {
                let after = kind.written(&Value::Object(after));
                match save(session, kind, object, before, &after).await {
                    Ok(Saved::Done | Saved::Unchanged) => return Ok(0),
                    Ok(Saved::Conflict(theirs)) => {
                        return Err(conflict(kind, desk, &after, &theirs));
                    }
                    Err(error) => crate::error::report(&error),
                }
            }
        };
        let kept = format!("{why}\nYour text is kept in {}", path.display());
        if !session.console.is_interactive() {
            return Err(Failure::new(kept));
        }
        session.console.ask(format_args!("{kept}\nEdit it again? (yes/no) "));
        let answer = tokio::task::spawn_blocking(read_line).await.unwrap_or_default();
        if !matches!(answer.trim().to_lowercase().as_str(), "yes" | "y" | "") {
            return Err(Failure::new("Nothing was saved."));
        }
    }
}

async fn open_editor(session: &Session, path: &Path) -> Result<(), Failure> {
    let set = |name: &str| session.environment.get(name).filter(|value| !value.trim().is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).map_or("vi", String::as_str);
    // Through a shell, because people write `code --wait`.
    let status = tokio::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(path)
        .status()
        .await
        .map_err(|error| Failure::new(format!("Cannot run the editor {editor}: {}", io_words(&error))))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "The editor {editor} ended with {status}. Nothing was saved; the text is in {}",
        path.display()
    )))
}

/// A directory for the texts of one edit, which nobody else can read: policies may hold keys.
struct Desk {
    directory: PathBuf,
    id: String,
}

impl Desk {
    fn new(session: &Session, kind: &Kind, object: &Value) -> io::Result<Desk> {
        let base = session.environment.get("TMPDIR").filter(|path| !path.is_empty());
        let base = base.map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
        let id = kind.id_of(object).unwrap_or_default().to_owned();
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700);
        for number in 0..MOST_LEFTOVERS {
            let directory = base.join(format!("fleetctl-{}-{}-{number}", kind.noun, std::process::id()));
            match builder.create(&directory) {
                Ok(()) => return Ok(Desk { directory, id }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other(format!("{} is full of texts of earlier edits", base.display())))
    }

    fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        use std::io::Write;
        let path = self.directory.join(name);
        let mut file = std::fs::OpenOptions::new();
        file.write(true).create(true).truncate(true).mode(0o600).open(&path)?.write_all(text.as_bytes())?;
        Ok(path)
    }

    fn clear(&self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            tracing::debug!(%error, "a text of an edit is left over");
        }
    }
}
