//! What is made at the first start, by whichever server comes first.

use fleet_policy::documents::{DownloadSource, FleetServerHost, Output, OutputPreset, SettingDefaults};
use fleet_policy::settings::{FIRST_DOWNLOAD_SOURCE_ID, FIRST_HOST_ID, FIRST_OUTPUT_ID, PUBLIC_DOWNLOADS};
use fleet_store::{Expect, WriteError};

use super::object::Object;
use crate::management::Management;
use crate::management::error::ApiError;

/// Where data goes until somebody says something else.
const LOCAL_ENGINE: &str = "http://localhost:9200";

/// Makes a default of each kind that there is nothing of. `own_address`: where agents find this server, if it
/// knows that; without it they stay with the servers that they enrolled with.
pub(in crate::management) async fn ensure_first(
    management: &Management,
    own_address: Option<String>,
) -> Result<(), ApiError> {
    let output = Output {
        id: FIRST_OUTPUT_ID.to_owned(),
        name: "default".to_owned(),
        hosts: vec![LOCAL_ENGINE.to_owned()],
        is_default: true,
        is_default_monitoring: true,
        preset: Some(OutputPreset::Balanced),
        ..Output::default()
    };
    ensure(management, output).await?;
    let source = DownloadSource {
        id: FIRST_DOWNLOAD_SOURCE_ID.to_owned(),
        name: "Elastic Artifacts".to_owned(),
        host: PUBLIC_DOWNLOADS.to_owned(),
        is_default: true,
        ..DownloadSource::default()
    };
    ensure(management, source).await?;
    if let Some(address) = own_address {
        let host = FleetServerHost {
            id: FIRST_HOST_ID.to_owned(),
            name: "Default".to_owned(),
            host_urls: vec![address],
            is_default: true,
            ..FleetServerHost::default()
        };
        ensure(management, host).await?;
    }
    Ok(())
}

async fn ensure<T: Object>(management: &Management, first: T) -> Result<(), ApiError> {
    let table = T::table(&management.fleet.settings);
    if table.refresh().await?.is_empty() {
        let id = first.id().to_owned();
        match table.put(&id, first, Expect::Absent).await {
            // Another server was faster, or the answer was lost: what is there now is what counts.
            Ok(_) | Err(WriteError::Conflict { .. } | WriteError::Unknown(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    choose::<T>(management).await
}

/// Chooses a default where there is none: a server may have ended between two writes.
async fn choose<T: Object>(management: &Management) -> Result<(), ApiError> {
    let all = T::table(&management.fleet.settings).refresh().await?;
    for flag in T::FLAGS {
        let flagged = all.values().filter(|one| (flag.get)(&one.value)).max_by_key(|one| one.revision);
        let Some(chosen) = flagged else { continue };
        let fill = |defaults: &mut SettingDefaults| {
            let place = (flag.place)(defaults);
            if place.as_ref().is_none_or(|id| !all.contains_key(id)) {
                *place = Some(chosen.id.clone());
            }
        };
        management.change_defaults(fill).await?;
    }
    Ok(())
}
