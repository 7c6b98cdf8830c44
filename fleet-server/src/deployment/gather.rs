//! What a policy is composed of, as the store has it now.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_policy::compose::Parts;
use fleet_policy::documents::AgentPolicy;
use fleet_store::{Collection, Error, Typed};
use serde_json::{Map, Value, json};

use super::revisions::Integration;
use crate::fleet::Fleet;

/// Integrations as people set them up, by their ids.
pub static PACKAGE_POLICIES: Collection = Collection { name: "package-policies", indexed: &[] };

/// What was read.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) parts: Parts,
    pub(super) integrations: Vec<Integration>,
}

/// The integrations that a policy lists. One that is gone is left out.
pub(super) async fn integrations(fleet: &Fleet, policy: &AgentPolicy) -> Result<Vec<Integration>, Error> {
    let documents: Typed<Value> = Typed::new(Arc::clone(&fleet.store), &PACKAGE_POLICIES);
    let found = documents.get_many(&policy.package_policies).await?;
    let integrations = found.into_iter().flatten().map(|found| Integration {
        revision: found.value.get("revision").and_then(Value::as_u64).unwrap_or(0),
        id: found.id,
        document: found.value,
    });
    Ok(integrations.collect())
}

/// Reads what `policy` is composed of.
pub(super) async fn gather(fleet: &Fleet, policy: &AgentPolicy) -> Result<Gathered, Error> {
    let integrations = integrations(fleet, policy).await?;
    let made_of = integrations.iter().map(|one| (format!("package-policy:{}", one.id), one.revision));
    let parts = Parts {
        outputs: Map::from_iter([(
            "default".to_owned(),
            json!({"type": "elasticsearch", "hosts": ["http://localhost:9200"]}),
        )]),
        data_output: "default".to_owned(),
        monitoring_output: "default".to_owned(),
        download: json!({"sourceURI": "https://artifacts.elastic.co/downloads/"}),
        made_of: made_of.collect::<BTreeMap<String, u64>>(),
        ..Parts::default()
    };
    Ok(Gathered { parts, integrations })
}
