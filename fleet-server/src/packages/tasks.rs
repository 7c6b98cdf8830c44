//! Tasks: what is done to many packages after whoever asked has been answered.

use std::sync::Arc;
use std::time::Duration;

use fleet_policy::timestamp::Timestamp;
use fleet_store::{Collection, Error, Expect, Scope, Store, Typed, WriteError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// [`Task`] by its id.
static PACKAGE_TASKS: Collection = Collection { name: "package-tasks", indexed: &[] };
/// A task is told of for so long.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// A task that takes longer was cut off with its server.
const LONGEST: Duration = Duration::from_secs(3600);

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    /// It is being done.
    Pending,
    /// It is done, with each package or without some: its results tell.
    Success,
    /// It was cut off, or nothing of it could be done.
    Failed,
}

/// What is told of something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskError {
    /// For people.
    pub message: String,
}

/// What became of one package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskResult {
    /// Its name.
    pub name: String,
    /// Whether it is done.
    pub success: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TaskError>,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// When it began.
    pub started_at: Timestamp,
    /// How far it is.
    pub status: TaskStatus,
    /// Why it failed as a whole.
    #[serde(default)]
    pub error: Option<TaskError>,
    /// What became of each package.
    #[serde(default)]
    pub results: Vec<TaskResult>,
}

/// The tasks.
#[derive(Clone, Debug)]
pub struct Tasks(Typed<Task>);

impl Tasks {
    /// Those in `store`.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>) -> Tasks {
        Tasks(Typed::new(Arc::clone(store), &PACKAGE_TASKS))
    }

    /// Begins a task, and forgets old ones.
    ///
    /// # Errors
    /// The store does not take it.
    pub async fn begin(&self, id: &str, now: Timestamp) -> Result<(), WriteError> {
        let task = Task { started_at: now, status: TaskStatus::Pending, error: None, results: Vec::new() };
        self.0.put(id, &task, Expect::Absent, None, None).await?;
        let all = self.0.list(Scope::All).await.map_err(WriteError::NotDone)?;
        for old in all.values.iter().filter(|task| task.value.started_at.until(now) > KEPT) {
            self.0.delete(&old.id, Expect::Any, None).await?;
        }
        Ok(())
    }

    /// Ends a task.
    ///
    /// # Errors
    /// The store does not take it.
    pub async fn end(
        &self,
        id: &str,
        started_at: Timestamp,
        results: Vec<TaskResult>,
    ) -> Result<(), WriteError> {
        let has_some = results.is_empty() || results.iter().any(|result| result.success);
        let task = Task {
            started_at,
            status: if has_some { TaskStatus::Success } else { TaskStatus::Failed },
            error: results.iter().find_map(|result| result.error.clone()).filter(|_| !has_some),
            results,
        };
        self.0.put(id, &task, Expect::Any, None, None).await.map(|_| ())
    }

    /// A task; `None`: there is none such, or it was long ago.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn get(&self, id: &str, now: Timestamp) -> Result<Option<Task>, Error> {
        if uuid::Uuid::try_parse(id).is_err() {
            return Ok(None);
        }
        let Some(found) = self.0.get(id).await? else { return Ok(None) };
        let mut task = found.value;
        if task.status == TaskStatus::Pending && task.started_at.until(now) > LONGEST {
            task.status = TaskStatus::Failed;
            task.error = Some(TaskError { message: "the server that did it ended: ask again".to_owned() });
        }
        Ok(Some(task))
    }
}
