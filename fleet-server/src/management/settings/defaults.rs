//! What is used where nothing is named: one object of each kind.
//!
//! Which one is in one document, so that there is always one and never two, whoever changes it at the same time.
//! What an object says of itself is made of that whenever it is read.

use fleet_policy::documents::{SETTING_DEFAULTS_ID, SettingDefaults};
use fleet_store::{Expect, WriteError};

use crate::management::Management;
use crate::management::error::ApiError;

/// When others change it at the same time it is tried so often.
const MOST_ATTEMPTS: usize = 20;

impl Management {
    /// The defaults, as the store has them.
    pub(super) async fn defaults(&self) -> Result<SettingDefaults, ApiError> {
        let found = self.fleet.settings.defaults.read(SETTING_DEFAULTS_ID).await?;
        Ok(found.map(|found| found.value.clone()).unwrap_or_default())
    }

    /// Changes the defaults. Answers what they were.
    pub(super) async fn change_defaults(
        &self,
        change: impl Fn(&mut SettingDefaults) + Send,
    ) -> Result<SettingDefaults, ApiError> {
        let table = &self.fleet.settings.defaults;
        let mut last = None;
        for _ in 0..MOST_ATTEMPTS {
            let found = table.read(SETTING_DEFAULTS_ID).await?;
            let before = found.as_ref().map(|found| found.value.clone()).unwrap_or_default();
            let mut after = before.clone();
            change(&mut after);
            if after == before {
                return Ok(before);
            }
            let expect = found.map_or(Expect::Absent, |found| Expect::Revision(found.revision));
            match table.put(SETTING_DEFAULTS_ID, after, expect).await {
                Ok(_) => return Ok(before),
                Err(error @ (WriteError::Conflict { .. } | WriteError::Unknown(_))) => last = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(last.map_or(ApiError::Busy, ApiError::from))
    }
}
