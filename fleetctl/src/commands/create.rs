//! Bringing units into the cluster: what `submit`, `load` and `start` begin with.

use std::io;
use std::path::{Path, PathBuf};

use fleet_protocol::fleet_v1::Unit;
use fleet_unit::{Requirements, UnitFile, UnitName};
use futures_util::StreamExt;

use crate::client::JobState;
use crate::context::{Context, Failure};
use crate::error::{io_words, report};
use crate::names::{unit_name, with_type};
use crate::wait::{Goal, Task, wait_for};

/// The largest unit file that is read. The store takes documents of 1 MiB.
const MAX_FILE: u64 = 1024 * 1024;

/// What the command allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    /// Replace units that differ from the files.
    pub(super) replace: bool,
    /// Only units that shall be in one of these states may be replaced.
    pub(super) replaceable: &'a [JobState],
    /// How long to wait, see [`crate::wait::limit`].
    pub(super) attempts: i64,
}

/// What was made of the arguments.
#[derive(Debug, Default)]
pub(super) struct Created {
    /// Names of units that may go on to their target state.
    pub(super) names: Vec<String>,
    /// Whether a unit was left as it is, though the user wanted another.
    pub(super) refused: bool,
}

enum Outcome {
    Created(String),
    Unchanged(String),
    Refused,
}

/// Makes sure that a unit exists for each argument, and waits until those that are new have arrived.
pub(super) async fn create_units(
    context: &Context,
    arguments: &[String],
    rules: Rules<'_>,
) -> Result<Created, Failure> {
    let failed = |why: String| Failure::new(format!("Error creating units: {why}"));
    let work: Vec<_> = arguments.iter().map(|argument| create_unit(context, argument, rules)).collect();
    let mut outcomes = futures_util::stream::iter(work).buffered(context.cluster.concurrency());
    let mut created = Created::default();
    let mut arriving = Vec::new();
    while let Some(outcome) = outcomes.next().await {
        match outcome.map_err(failed)? {
            Outcome::Created(name) => {
                arriving.push(Task::new(name.clone(), Goal::State(JobState::Inactive)));
                created.names.push(name);
            }
            Outcome::Unchanged(name) => created.names.push(name),
            Outcome::Refused => created.refused = true,
        }
    }
    let missed = wait_for(context, arriving, crate::wait::limit(rules.attempts)).await;
    for unit in &missed {
        context.console.note(format_args!("Error waiting on unit creation: {}", unit.reason));
    }
    if missed.is_empty() { Ok(created) } else { Err(failed("One or more errors creating units".to_owned())) }
}

async fn create_unit(context: &Context, argument: &str, rules: Rules<'_>) -> Result<Outcome, String> {
    let path = PathBuf::from(with_type(argument));
    let name = unit_name(argument);
    let stored = context
        .cluster
        .unit(&name)
        .await
        .map_err(|error| format!("error retrieving Unit({name}) from Registry: {}", report(&error)))?;
    if let Some(stored) = stored {
        match compare(context, &path, &stored, rules)? {
            Comparison::Leave => return Ok(Outcome::Unchanged(name)),
            Comparison::Refuse => return Ok(Outcome::Refused),
            Comparison::Replace => {}
        }
    }
    let file = find_file(context, &path, &name, rules).await?;
    put(context, &name, file).await?;
    Ok(Outcome::Created(name))
}

enum Comparison {
    Leave,
    Replace,
    Refuse,
}

/// Compares a unit of the cluster with the file, or with the template's file, and decides what to do.
fn compare(context: &Context, path: &Path, stored: &Unit, rules: Rules<'_>) -> Result<Comparison, String> {
    let Some((local, kind)) = local_file(path)? else {
        if rules.replace {
            return Err(format!("--replace needs the unit file, and there is none at {}", path.display()));
        }
        return Ok(Comparison::Leave);
    };
    let same = local == UnitFile::from_options(stored.options.clone());
    match (rules.replace, same) {
        (false, true) => Ok(Comparison::Leave),
        (false, false) => {
            warn_different(context, &stored.name, kind, path);
            Ok(Comparison::Leave)
        }
        (true, true) => {
            context.console.line(format_args!("Found same Unit({}) in Registry, nothing to do", stored.name));
            Ok(Comparison::Leave)
        }
        (true, false) if rules.replaceable.iter().any(|state| state.as_str() == stored.desired_state) => {
            Ok(Comparison::Replace)
        }
        (true, false) => {
            context.console.note(format_args!(
                "Warning: can not replace Unit({}) in state '{}', use the appropriate command",
                stored.name, stored.desired_state
            ));
            Ok(Comparison::Refuse)
        }
    }
}

/// The unit file for a new unit: the file, else the template of the cluster, else the template's file. What
/// replaces a unit is always a file, the one that it was compared with.
async fn find_file(context: &Context, path: &Path, name: &str, rules: Rules<'_>) -> Result<UnitFile, String> {
    if path.exists() {
        return read_file(path)
            .map_err(|why| format!("failed getting Unit({}) from file: {why}", path.display()));
    }
    let template = UnitName::parse(name)
        .map_err(|error| format!("error extracting information from unit name {name}: {error}"))?
        .template()
        .ok_or_else(|| {
            format!(
                "unable to find Unit({name}) in Registry or on filesystem: there is no file {}",
                path.display()
            )
        })?;
    let failed = |why: String| format!("failed getting Unit({name}) from template: {why}");
    let local = path.with_file_name(template.as_str());
    if !rules.replace {
        let stored = context.cluster.unit(template.as_str()).await.map_err(|error| {
            failed(format!("error retrieving template Unit({template}) from Registry: {}", report(&error)))
        })?;
        if let Some(stored) = stored {
            let file = UnitFile::from_options(stored.options);
            if local.exists() && read_file(&local).is_ok_and(|local| local != file) {
                warn_different(context, template.as_str(), FileKind::Template, &local);
            }
            return Ok(file);
        }
    }
    if !local.exists() {
        return Err(failed(format!("unable to find template Unit({template}) in Registry or on filesystem")));
    }
    read_file(&local)
        .map_err(|why| failed(format!("unable to load template Unit({template}) from file: {why}")))
}

#[derive(Clone, Copy)]
enum FileKind {
    Unit,
    Template,
}

fn warn_different(context: &Context, name: &str, kind: FileKind, path: &Path) {
    let kind = match kind {
        FileKind::Unit => "unit file",
        FileKind::Template => "template unit file",
    };
    context.console.note(format_args!(
        "WARNING: Unit {name} in registry differs from local {kind} {}. Add --replace to override.",
        path.display()
    ));
}

/// The file of a unit, or of its template beside it; `None`: there is neither.
fn local_file(path: &Path) -> Result<Option<(UnitFile, FileKind)>, String> {
    if path.exists() {
        let file = read_file(path).map_err(|why| format!("failed reading {}: {why}", path.display()))?;
        return Ok(Some((file, FileKind::Unit)));
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(template) = UnitName::parse(&name).ok().and_then(|name| name.template()) else {
        return Ok(None);
    };
    let path = path.with_file_name(template.as_str());
    if !path.exists() {
        return Ok(None);
    }
    let file = read_file(&path).map_err(|why| format!("failed reading {}: {why}", path.display()))?;
    Ok(Some((file, FileKind::Template)))
}

fn read_file(path: &Path) -> Result<UnitFile, String> {
    let words = |error: io::Error| format!("{}: {}", path.display(), io_words(&error));
    let size = std::fs::metadata(path).map_err(words)?.len();
    if size > MAX_FILE {
        return Err(format!("{} is larger than {MAX_FILE} bytes", path.display()));
    }
    let text = std::fs::read_to_string(path).map_err(words)?;
    UnitFile::parse(&text).map_err(|error| error.to_string())
}

async fn put(context: &Context, name: &str, file: UnitFile) -> Result<(), String> {
    UnitName::parse(name).map_err(|error| error.to_string())?;
    Requirements::validate(&file).map_err(|error| error.to_string())?;
    for key in Requirements::unknown_keys(&file) {
        context
            .console
            .warn(format_args!("Unit {name}: unrecognized requirement in [X-Fleet] section: {key:?}"));
    }
    let unit = Unit { name: name.to_owned(), options: file.into_options(), ..Unit::default() };
    context
        .cluster
        .create(&unit)
        .await
        .map_err(|error| format!("failed creating unit {name}: {}", report(&error)))
}
