//! Integrations that go with their package.

use std::cmp::Ordering;

use fleet_integration::PackagePolicy;
use tracing::warn;

use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::packages::{InstalledPackage, version};

impl Management {
    /// Brings the integrations of a package to the version that is installed now: if somebody asks for it, or if
    /// the package is set to. Returns why some could not be.
    pub(super) async fn upgrade_with(
        &self,
        record: &InstalledPackage,
        asked: bool,
        caller: &Caller,
    ) -> Vec<String> {
        if !asked && !record.keep_policies_up_to_date {
            return Vec::new();
        }
        let mut problems = Vec::new();
        let rows = self.fleet.integrations.rows.all();
        for (id, row) in rows.iter() {
            let is_older = row.value.package.as_ref().is_some_and(|package| {
                *package.name == *record.name
                    && version::compare(&package.version, &record.version) == Ordering::Less
            });
            if !is_older {
                continue;
            }
            let upgraded: Result<PackagePolicy, ApiError> =
                Box::pin(self.upgrade_integration(id, Some(&record.version), caller)).await;
            if let Err(error) = upgraded {
                warn!(integration = id, %error, "an integration does not go with its package");
                problems.push(format!("{}: {error}", row.value.name));
            }
        }
        problems
    }
}
