//! What policies name: it must be there when it is named.

use fleet_policy::documents::AgentPolicy;
use fleet_policy::settings::Table;
use fleet_store::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Management;
use super::error::ApiError;

/// The fields of an agent policy that name something, and what that is.
const FIELDS: [(&str, &str); 4] = [
    ("data_output_id", "output"),
    ("monitoring_output_id", "output"),
    ("fleet_server_host_id", "Fleet Server host"),
    ("download_source_id", "download source"),
];

/// What a policy names in each of [`FIELDS`].
fn named(policy: &AgentPolicy) -> [Option<&str>; 4] {
    [
        policy.data_output_id.as_deref(),
        policy.monitoring_output_id.as_deref(),
        policy.fleet_server_host_id.as_deref(),
        policy.download_source_id.as_deref(),
    ]
}

/// Something that is named and is not there.
pub(super) fn missing(field: &str, kind: &str, id: &str) -> ApiError {
    let id: String = id.chars().take(256).collect();
    ApiError::BadRequest(format!("[request body.{field}]: {kind} {id} is not there: make it first"))
}

/// Whether an object is there. Another server may have made it just now: so the store is asked, too.
pub(super) async fn is_there<T>(table: &Table<T>, id: &str) -> Result<bool, Error>
where
    T: Serialize + DeserializeOwned + Send + Sync,
{
    Ok(table.get(id).is_some() || table.read(id).await?.is_some())
}

/// Clients that know no null send an empty text where nothing is named.
pub(super) fn name_nothing_by_empty_texts(fields: &mut Map<String, Value>) {
    for (field, _) in FIELDS {
        if let Some(value) = fields.get_mut(field).filter(|value| **value == "") {
            *value = Value::Null;
        }
    }
}

impl Management {
    /// Refuses a policy that names what is not there, unless it did so before.
    pub(super) async fn check_references(
        &self,
        policy: &AgentPolicy,
        before: Option<&AgentPolicy>,
    ) -> Result<(), ApiError> {
        let earlier = before.map(named).unwrap_or_default();
        for (index, (field, kind)) in FIELDS.into_iter().enumerate() {
            let Some(id) = named(policy)[index].filter(|id| earlier[index] != Some(*id)) else { continue };
            if !self.knows(kind, id).await? {
                return Err(missing(field, kind, id));
            }
        }
        Ok(())
    }

    /// Refuses to take a revision back that names what is gone.
    pub(super) async fn check_restored(
        &self,
        revision: u64,
        policy: &AgentPolicy,
        integrations: &[Value],
    ) -> Result<(), ApiError> {
        let gone = |of: &str, field: &str, kind: &str, id: &str| {
            ApiError::BadRequest(format!(
                "revision {revision} cannot be taken back: {field} of {of} is {kind} {id}, which is gone: make it again \
                 with this id, or go back to another revision"
            ))
        };
        for ((field, kind), id) in FIELDS.into_iter().zip(named(policy)) {
            if let Some(id) = id
                && !self.knows(kind, id).await?
            {
                return Err(gone(&format!("agent policy {}", policy.id), field, kind, id));
            }
        }
        for integration in integrations {
            if let Some(id) = integration["output_id"].as_str()
                && !self.knows("output", id).await?
            {
                let name = integration["name"].as_str().unwrap_or_default();
                return Err(gone(&format!("integration {name:?}"), "output_id", "output", id));
            }
        }
        Ok(())
    }

    async fn knows(&self, kind: &str, id: &str) -> Result<bool, Error> {
        let settings = &self.fleet.settings;
        match kind {
            "output" => is_there(&settings.outputs, id).await,
            "Fleet Server host" => is_there(&settings.hosts, id).await,
            _ => is_there(&settings.download_sources, id).await,
        }
    }
}
