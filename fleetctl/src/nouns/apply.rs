//! `fleetctl apply`: makes the server what files say.
//!
//! Which objects an apply has created is remembered beside the files ([`Lock`]): `--prune` deletes nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt, TryStreamExt};
use serde_json::Value;

use super::World;
use super::folder::{self, Lock};
use super::generic::remove;
use super::print::counted;
use super::session::Session;
use crate::cli::nouns::Apply;
use crate::client::percent_encode;
use crate::context::{Failure, Outcome};
use crate::error::report;
use crate::management::ApiError;
use crate::plan::{Action, Actual, Key, Plan, Request, Step, plan, remaining, shown};

/// The exit code of `--check` when the server is not as the files say.
const DRIFT: u8 = 2;

/// `apply`
pub(super) async fn run(world: &World<'_>, flags: &Apply) -> Outcome {
    let folder = folder_of(flags)?;
    let desired = folder::read(&flags.file)?;
    let session = world.session(&flags.server).await?;
    let server = session.client.url().to_owned();
    let lock = match &folder {
        Some(folder) => Lock::read(folder)?,
        None => Lock::default(),
    };
    let prunable = if flags.prune { lock.created(&server) } else { BTreeSet::new() };
    let request = Request { desired, prunable, sends_secrets: flags.secrets };
    let keys: BTreeSet<&Key> = request.desired.keys().chain(&request.prunable).collect();
    let actual = fetch(&session, keys).await?;
    let plan = plan(&request, &actual);
    show(&session, &request, &plan);
    if plan.steps.is_empty() {
        return Ok(0);
    }
    if flags.check || flags.dry_run {
        return Ok(if flags.check { DRIFT } else { 0 });
    }
    session.confirm(flags.yes, "Apply this?").await?;
    let mut lock = Remembered { lock, folder, server };
    carry_out(&session, (&request, &actual), &plan, &mut lock).await
}

/// The folder whose lock counts: the only one that is given.
fn folder_of(flags: &Apply) -> Result<Option<PathBuf>, Failure> {
    let folders: Vec<&PathBuf> = flags.file.iter().filter(|path| path.is_dir()).collect();
    match folders.as_slice() {
        [folder] => Ok(Some((*folder).clone())),
        _ if flags.prune => Err(Failure {
            message: "Error: --prune needs one directory: what was created is remembered in it".to_owned(),
            code: 2,
        }),
        _ => Ok(None),
    }
}

/// What the server has of these.
async fn fetch(session: &Session, keys: BTreeSet<&Key>) -> Result<Actual, ApiError> {
    let fetches = keys.into_iter().map(|key| async move {
        let kind = key.kind.kind();
        let path = format!("{}/{}{}", kind.path, percent_encode(&key.id), kind.item_query());
        let answer = session.client.get_if_there(&path).await?;
        Ok::<_, ApiError>(answer.map(|answer| (key.clone(), item(answer))))
    });
    let found = futures_util::stream::iter(fetches).buffered(session.client.concurrency());
    let found: Vec<Option<(Key, Value)>> = found.try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

fn item(mut answer: Value) -> Value {
    answer.get_mut("item").map(Value::take).unwrap_or(answer)
}

/// Shows the plan.
fn show(session: &Session, request: &Request, plan: &Plan) {
    for step in &plan.steps {
        let place = request.desired.get(&step.key).map(|desired| desired.place.as_str());
        match (step.action, place) {
            (Action::Create, Some(place)) => session.console.line(format_args!("+ {}  ({place})", step.key)),
            (Action::Update, Some(place)) => session.console.line(format_args!("~ {}  ({place})", step.key)),
            _ => session.console.line(format_args!("- {}", step.key)),
        }
        for change in &step.changes {
            session.console.line(format_args!("    {}", shown(change)));
        }
    }
    if plan.steps.is_empty() {
        let objects = counted(plan.unchanged, "object");
        session.console.line(format_args!("No changes: {objects} as the files say"));
        return;
    }
    session.console.line(format_args!(
        "{} to create, {} to change, {} to delete, {} unchanged",
        plan.count(Action::Create),
        plan.count(Action::Update),
        plan.count(Action::Delete),
        plan.unchanged
    ));
}

/// The lock of the folder, where there is one.
struct Remembered {
    lock: Lock,
    folder: Option<PathBuf>,
    server: String,
}

impl Remembered {
    fn remember(&mut self, step: &Step) {
        match step.action {
            Action::Create => self.lock.add(&self.server, &step.key),
            Action::Delete => self.lock.remove(&self.server, &step.key),
            Action::Update => {}
        }
    }

    fn write(&self) -> Result<(), Failure> {
        self.folder.as_deref().map_or(Ok(()), |folder: &Path| self.lock.write(folder))
    }
}

/// Does what the plan says, one step after the other, up to the first that fails.
async fn carry_out(
    session: &Session,
    (request, actual): (&Request, &Actual),
    plan: &Plan,
    lock: &mut Remembered,
) -> Outcome {
    for (done, step) in plan.steps.iter().enumerate() {
        session.console.progress(format_args!("{done} of {}: {}", plan.steps.len(), step.key));
        match take(session, step, actual).await {
            Ok(object) => {
                lock.remember(step);
                tell_remaining(session, request, step, &object);
            }
            Err(error) => {
                // What was created before must not be forgotten.
                lock.write()?;
                let hint = if error.is_conflict() && is_changed(session, step, actual).await.unwrap_or(false)
                {
                    "\nIt was changed while this ran: apply again to see the difference"
                } else {
                    error.hint()
                };
                return Err(Failure::new(format!(
                    "{}: {}{hint}\nDone before: {done} of {}",
                    step.key,
                    report(&error),
                    counted(plan.steps.len(), "step")
                )));
            }
        }
    }
    lock.write()?;
    session.console.line(format_args!("Applied {}", counted(plan.steps.len(), "step")));
    Ok(0)
}

/// Whether an object is not as it was when the plan was made. (A name that another object has is a conflict too.)
async fn is_changed(session: &Session, step: &Step, actual: &Actual) -> Result<bool, ApiError> {
    let kind = step.key.kind.kind();
    let now = fetch(session, BTreeSet::from([&step.key])).await?;
    let state = |object: Option<&Value>| object.map(|object| (kind.base_of(object), kind.written(object)));
    Ok(step.action == Action::Update && state(now.get(&step.key)) != state(actual.get(&step.key)))
}

/// Takes one step; returns the object as the server has it then.
async fn take(session: &Session, step: &Step, actual: &Actual) -> Result<Value, ApiError> {
    let kind = step.key.kind.kind();
    let body = Value::Object(step.body.clone());
    match step.action {
        Action::Create => {
            Ok(item(session.client.post(&format!("{}{}", kind.path, kind.item_query()), &body).await?))
        }
        Action::Update => {
            let path = format!("{}/{}{}", kind.path, percent_encode(&step.key.id), kind.item_query());
            if kind.base.is_empty() && is_changed(session, step, actual).await? {
                return Err(ApiError::Refused {
                    status: 409,
                    message: "somebody else changed it".to_owned(),
                });
            }
            Ok(item(session.client.put(&path, &body).await?))
        }
        Action::Delete => match remove(session, kind, &step.key.id, false).await {
            // What it was part of may have taken it along.
            Err(error) if error.is_not_found() => Ok(Value::Null),
            other => other.map(|()| Value::Null),
        },
    }
}

/// Warns of fields that the server keeps otherwise than the file says: each apply would change them again.
fn tell_remaining(session: &Session, request: &Request, step: &Step, object: &Value) {
    let Some(desired) = request.desired.get(&step.key).filter(|_| step.action != Action::Delete) else {
        return;
    };
    for change in remaining(desired, object) {
        session.console.warn(format_args!(
            "{}: the server keeps this otherwise, and each apply will change it again: {}",
            desired.place,
            shown(&change)
        ));
    }
}
