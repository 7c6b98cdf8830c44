//! Many packages at a time.

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tracing::warn;

use super::KIND;
use super::install::{InstallQuery, told};
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::gate;
use crate::management::input::{Input, Params};
use crate::management::{Management, Space};
use crate::packages::tasks::{TaskError, TaskResult, TaskStatus, Tasks};
use crate::packages::{Install, InstallSource};

/// The most packages of a request.
const MOST_PACKAGES: usize = 1000;
/// Tasks that may wait or be done on this server.
static TASKS: Semaphore = Semaphore::const_new(8);
/// Tasks that are done at a time.
static AT_A_TIME: Semaphore = Semaphore::const_new(1);

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::management) struct BulkBody {
    /// 1 to 1000 packages.
    packages: Vec<Named>,
    /// Whether going back to an older version is meant; whether it is removed although integrations are of it.
    force: Option<bool>,
    /// Whether the newest version may be one before a release.
    prerelease: Option<bool>,
    /// Whether the integrations of each package are upgraded with it.
    upgrade_package_policies: Option<bool>,
}

/// A package by its name, or by name and version.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Named {
    Name(String),
    Version { name: String, version: Option<String>, prerelease: Option<bool> },
}

impl Named {
    fn name(&self) -> &str {
        match self {
            Named::Name(name) | Named::Version { name, .. } => name,
        }
    }

    fn version(&self) -> Option<&str> {
        match self {
            Named::Name(_) => None,
            Named::Version { version, .. } => version.as_deref(),
        }
    }

    fn prerelease(&self) -> Option<bool> {
        match self {
            Named::Name(_) => None,
            Named::Version { prerelease, .. } => *prerelease,
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct Installed {
    items: Vec<InstalledOne>,
}

/// What became of one package.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum InstalledOne {
    Done {
        name: String,
        version: String,
        result: InstallResult,
    },
    #[serde(rename_all = "camelCase")]
    Failed {
        name: String,
        status_code: u16,
        error: String,
    },
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct InstallResult {
    assets: Vec<Value>,
    status: &'static str,
    install_source: InstallSource,
    install_type: &'static str,
}

/// Installs packages, one after the other. One that cannot be installed keeps no other from it.
pub(super) async fn install(
    State(management): State<Management>,
    caller: Caller,
    space: Space,
    Params(query): Params<InstallQuery>,
    Input(mut body): Input<BulkBody>,
) -> Result<Json<Installed>, ApiError> {
    check(&body)?;
    body.prerelease = body.prerelease.or(query.prerelease);
    let mut items = Vec::with_capacity(body.packages.len());
    for one in &body.packages {
        items.push(management.install_one(one, &body, &space, &caller).await);
    }
    Ok(Json(Installed { items }))
}

fn check(body: &BulkBody) -> Result<(), ApiError> {
    if body.packages.is_empty() || body.packages.len() > MOST_PACKAGES {
        let text = format!("[request body.packages]: 1 to {MOST_PACKAGES} packages are needed");
        return Err(ApiError::BadRequest(text));
    }
    Ok(())
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct Started {
    task_id: String,
}

/// What a task does with each package.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Upgrade,
    Uninstall,
    RollBack,
}

/// Installs packages, as a task.
pub(super) async fn upgrade(
    State(management): State<Management>,
    caller: Caller,
    space: Space,
    Input(body): Input<BulkBody>,
) -> Result<Json<Started>, ApiError> {
    management.start(Deed::Upgrade, body, space, caller).await
}

/// Removes packages, as a task.
pub(super) async fn uninstall(
    State(management): State<Management>,
    caller: Caller,
    space: Space,
    Input(body): Input<BulkBody>,
) -> Result<Json<Started>, ApiError> {
    management.start(Deed::Uninstall, body, space, caller).await
}

/// Takes packages back, as a task.
pub(super) async fn roll_back(
    State(management): State<Management>,
    caller: Caller,
    space: Space,
    Input(body): Input<BulkBody>,
) -> Result<Json<Started>, ApiError> {
    management.start(Deed::RollBack, body, space, caller).await
}

/// How far a task is.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct Task {
    status: TaskStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<TaskError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<TaskResult>>,
}

/// How far a task is.
pub(super) async fn show(
    State(management): State<Management>,
    Path(id): Path<String>,
) -> Result<Json<Task>, ApiError> {
    let tasks = Tasks::new(&management.fleet.store);
    let task = tasks.get(&id, management.fleet.clock.now()).await?;
    let task = task.ok_or_else(|| ApiError::not_found("Task", &id))?;
    let results = Some(task.results).filter(|_| task.status != TaskStatus::Pending);
    Ok(Json(Task { status: task.status, error: task.error, results }))
}

impl Management {
    async fn install_one(
        &self,
        one: &Named,
        body: &BulkBody,
        space: &Space,
        caller: &Caller,
    ) -> InstalledOne {
        let name = one.name().to_owned();
        let before = self.fleet.packages.attempted(&name).await.ok().flatten();
        match self.fleet.packages.install(&self.install_of(one, body, space)).await {
            Ok(installed) => {
                let record = &installed.record;
                caller.changed(KIND, &name, before.as_ref().map(told), Some(told(record)));
                let asked = body.upgrade_package_policies == Some(true);
                let problems = self.upgrade_with(record, asked, caller).await;
                if !problems.is_empty() {
                    return InstalledOne::Failed { name, status_code: 400, error: not_upgraded(&problems) };
                }
                let status = if installed.was_installed { "already_installed" } else { "installed" };
                let install_type = match (&before, installed.was_installed) {
                    (_, true) => "reinstall",
                    (Some(before), _) if before.is_installed() => "update",
                    _ => "install",
                };
                let install_source = record.install_source;
                let result = InstallResult { assets: Vec::new(), status, install_source, install_type };
                InstalledOne::Done { name, version: record.version.clone(), result }
            }
            Err(error) => {
                let error = ApiError::from(error);
                InstalledOne::Failed { name, status_code: error.status().as_u16(), error: error.to_string() }
            }
        }
    }

    fn install_of<'a>(&self, one: &'a Named, body: &BulkBody, space: &'a Space) -> Install<'a> {
        Install {
            name: one.name(),
            version: one.version(),
            force: body.force == Some(true),
            ignore_constraints: false,
            prerelease: one.prerelease().or(body.prerelease) == Some(true),
            space: &space.0,
            now: self.fleet.clock.now(),
        }
    }

    async fn start(
        self,
        deed: Deed,
        body: BulkBody,
        space: Space,
        caller: Caller,
    ) -> Result<Json<Started>, ApiError> {
        check(&body)?;
        let place = TASKS.try_acquire().map_err(|_| ApiError::Busy)?;
        let tasks = Tasks::new(&self.fleet.store);
        let (id, now) = (uuid::Uuid::new_v4().to_string(), self.fleet.clock.now());
        tasks.begin(&id, now).await?;
        for one in &body.packages {
            // The trail has what was asked for: the task goes on after it is written.
            let asked = json!({"task": id, "deed": format!("{deed:?}"), "version": one.version()});
            caller.changed(KIND, one.name(), None, Some(asked));
        }
        let task_id = id.clone();
        tokio::spawn(async move {
            let _place = place;
            // Never closed.
            let _turn = AT_A_TIME.acquire().await.ok();
            let mut results = Vec::with_capacity(body.packages.len());
            for one in &body.packages {
                let done = self.do_one(deed, one, &body, &space, &caller).await;
                let error = done.err().map(|error| TaskError { message: error.to_string() });
                results.push(TaskResult { name: one.name().to_owned(), success: error.is_none(), error });
            }
            if let Ok(place) = self.people.audit.admit().await {
                gate::keep(place, &caller, format!("{deed:?} {id}"), StatusCode::OK).await;
            }
            if let Err(error) = tasks.end(&id, now, results).await {
                let error = &error as &dyn std::error::Error;
                warn!(error, task = id, "what became of packages cannot be written");
            }
        });
        Ok(Json(Started { task_id }))
    }

    async fn do_one(
        &self,
        deed: Deed,
        one: &Named,
        body: &BulkBody,
        space: &Space,
        caller: &Caller,
    ) -> Result<(), ApiError> {
        let packages = &self.fleet.packages;
        let name = one.name();
        let before = packages.attempted(name).await?;
        let after = match deed {
            Deed::Upgrade => {
                let installed = packages.install(&self.install_of(one, body, space)).await?;
                let asked = body.upgrade_package_policies == Some(true);
                let problems = self.upgrade_with(&installed.record, asked, caller).await;
                if !problems.is_empty() {
                    return Err(ApiError::BadRequest(not_upgraded(&problems)));
                }
                Some(installed.record)
            }
            Deed::Uninstall => {
                packages.uninstall(name, one.version(), body.force == Some(true)).await?;
                None
            }
            Deed::RollBack => Some(packages.roll_back(name, &space.0, self.fleet.clock.now()).await?.record),
        };
        caller.changed(KIND, name, before.as_ref().map(told), after.as_ref().map(told));
        Ok(())
    }
}

fn not_upgraded(problems: &[String]) -> String {
    format!("the package is installed; integrations stay at their version: {}", problems.join("; "))
}
