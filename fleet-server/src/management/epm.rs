//! `/api/fleet/epm`: packages of integrations.
//!
//! | module | what |
//! |---|---|
//! | `list` | which packages there are, which are installed, and in which categories |
//! | `show` | one package: all that is known of it, what uses it, its inputs as an example |
//! | `shapes` | what is answered of an installation |
//! | `install` | installing, settings, removing |
//! | `upgrade` | integrations that go with their package |
//! | `upload` | archives that somebody sends |
//! | `bulk` | many at a time, and the tasks of that |
//! | `custom` | packages that are made here |
//! | `files` | files of packages |
//! | `assets` | what packages would put into an engine or a console that is none of ours |

mod assets;
mod bulk;
mod custom;
mod files;
mod install;
mod list;
mod shapes;
mod show;
mod upgrade;
mod upload;

use axum::extract::FromRequestParts;
use fleet_access::rights::Right::{ReadPackages, WritePackages};
use http::request::Parts;

use super::error::ApiError;
use super::routes::{Routes, delete, get, post, put};
use crate::packages::version::split_key;

/// What the audit trail calls a package.
const KIND: &str = "package";

const PACKAGES: &str = "/api/fleet/epm/packages";
const ONE: &str = "/api/fleet/epm/packages/{name}";
const VERSION: &str = "/api/fleet/epm/packages/{name}/{version}";

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    routes.group(lists).group(packages).group(bulks).group(others).group(assets::routes)
}

fn lists(routes: Routes) -> Routes {
    routes
        .add(
            get(PACKAGES, ReadPackages, "Lists packages")
                .query::<list::ListQuery>()
                .answers::<list::Packages>(),
            list::list,
        )
        .add(
            get("/api/fleet/epm/packages/installed", ReadPackages, "Lists installed packages")
                .query::<list::InstalledQuery>()
                .answers::<list::InstalledPackages>(),
            list::installed,
        )
        .add(
            get("/api/fleet/epm/packages/limited", ReadPackages, "Lists packages that a policy has once")
                .answers::<list::Names>(),
            list::limited,
        )
        .add(
            get("/api/fleet/epm/categories", ReadPackages, "Lists categories of packages")
                .query::<list::CategoryQuery>()
                .answers::<list::Categories>(),
            list::categories,
        )
}

fn packages(routes: Routes) -> Routes {
    let show =
        |path, summary| get(path, ReadPackages, summary).query::<show::ShowQuery>().answers::<show::Shown>();
    let install = |path, summary| {
        post(path, WritePackages, summary)
            .query::<install::InstallQuery>()
            .body::<install::InstallBody>()
            .answers::<shapes::Done>()
    };
    let set = |path| {
        put(path, WritePackages, "Sets whether integrations are upgraded with their package")
            .body::<install::SettingsBody>()
            .ignores(&install::OTHERS)
            .answers::<show::Shown>()
    };
    let remove = |path, summary| {
        delete(path, WritePackages, summary)
            .query::<install::RemoveQuery>()
            .body::<install::RemoveBody>()
            .answers::<shapes::Removed>()
    };
    routes
        .add(
            post(PACKAGES, WritePackages, "Keeps and installs the archive that is sent")
                .bounds_body()
                .answers::<shapes::Done>(),
            upload::upload,
        )
        .add(show(ONE, "Shows a package"), show::show)
        .add(show(VERSION, "Shows a version of a package"), show::show)
        .add(install(ONE, "Installs the newest version of a package"), install::install)
        .add(install(VERSION, "Installs a version of a package"), install::install)
        .add(set(ONE), install::set)
        .add(set(VERSION), install::set)
        .add(remove(ONE, "Removes a package"), install::remove)
        .add(remove(VERSION, "Removes a version of a package"), install::remove)
        .add(
            get("/api/fleet/epm/packages/{name}/stats", ReadPackages, "Counts what uses a package")
                .answers::<show::StatsAnswer>(),
            show::stats,
        )
        .add(
            post("/api/fleet/epm/packages/{name}/rollback", WritePackages, "Goes back to the version before")
                .answers::<shapes::RolledBack>(),
            install::roll_back,
        )
        .add(
            get(
                "/api/fleet/epm/packages/{name}/{version}/{*file}",
                ReadPackages,
                "Reads a file of a package",
            )
            .media("application/octet-stream"),
            files::read,
        )
}

fn bulks(routes: Routes) -> Routes {
    let kinds = [
        ("/api/fleet/epm/packages/_bulk_upgrade", "/api/fleet/epm/packages/_bulk_upgrade/{task_id}"),
        ("/api/fleet/epm/packages/_bulk_uninstall", "/api/fleet/epm/packages/_bulk_uninstall/{task_id}"),
        ("/api/fleet/epm/packages/_bulk_rollback", "/api/fleet/epm/packages/_bulk_rollback/{task_id}"),
    ];
    let [upgrade, uninstall, rollback] = kinds;
    let start = |path, summary| {
        post(path, WritePackages, summary).body::<bulk::BulkBody>().answers::<bulk::Started>()
    };
    let routes = routes
        .add(
            post("/api/fleet/epm/packages/_bulk", WritePackages, "Installs packages")
                .query::<install::InstallQuery>()
                .body::<bulk::BulkBody>()
                .answers::<bulk::Installed>(),
            bulk::install,
        )
        .add(start(upgrade.0, "Installs packages, as a task"), bulk::upgrade)
        .add(start(uninstall.0, "Removes packages, as a task"), bulk::uninstall)
        .add(start(rollback.0, "Takes packages back to the version before, as a task"), bulk::roll_back);
    [upgrade.1, uninstall.1, rollback.1].into_iter().fold(routes, |routes, path| {
        let show = get(path, ReadPackages, "How far a task is").answers::<bulk::Task>();
        routes.add(show, bulk::show)
    })
}

fn others(routes: Routes) -> Routes {
    let custom = "/api/fleet/epm/custom_integrations";
    let inputs = "/api/fleet/epm/templates/{name}/{version}/inputs";
    routes
        .add(
            get(inputs, ReadPackages, "A package's inputs as an example")
                .query::<show::InputsQuery>()
                .or_media("text/yaml"),
            show::inputs,
        )
        .add(
            post(custom, WritePackages, "Makes a package of a name and datasets")
                .body::<custom::Make>()
                .answers::<shapes::Done>(),
            custom::make,
        )
        .add(
            put(
                "/api/fleet/epm/custom_integrations/{name}",
                WritePackages,
                "Changes the text of a package that was made here",
            )
            .body::<custom::Change>()
            .answers::<custom::Changed>(),
            custom::change,
        )
}

/// Which package the path is about: `{name}/{version}`, `{name}`, or, as it used to be, `{name}-{version}`.
#[derive(Debug)]
pub(super) struct Which {
    pub(super) name: String,
    pub(super) version: Option<String>,
    /// Whether it was spelled in the old way.
    pub(super) is_old: bool,
}

impl FromRequestParts<super::Management> for Which {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        management: &super::Management,
    ) -> Result<Which, ApiError> {
        let path = axum::extract::RawPathParams::from_request_parts(parts, management).await;
        let path = path.map_err(|rejection| ApiError::BadRequest(rejection.body_text()))?;
        let param = |name: &str| path.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
        let name = param("name").unwrap_or_default();
        if let Some(version) = param("version").filter(|version| !version.is_empty()) {
            return Ok(Which { name: name.to_owned(), version: Some(version.to_owned()), is_old: false });
        }
        // A name may look like a name with a version.
        let is_name = management.fleet.packages.available_here(name).is_some();
        match split_key(name).filter(|_| !is_name) {
            Some((name, version)) => {
                Ok(Which { name: name.to_owned(), version: Some(version.to_owned()), is_old: true })
            }
            None => Ok(Which { name: name.to_owned(), version: None, is_old: false }),
        }
    }
}
