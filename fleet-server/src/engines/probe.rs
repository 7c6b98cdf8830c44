//! What stands at an address, and what the login may do there.

use std::collections::BTreeSet;

use fleet_integration::assets::{Engine, Family};
use serde_json::{Value, json};

use super::EngineProblem;
use super::connection::{Answer, Connection};

/// What is needed to install what packages bring.
const OF_TEMPLATES: [&str; 2] = ["manage_index_templates", "manage_ingest_pipelines"];
/// What is needed for policies of indices' lives, and for transforms.
const OF_LIFECYCLES: &str = "manage_ilm";
const OF_TRANSFORMS: &str = "manage_transform";
/// What is needed to make keys.
const OF_KEYS: &str = "manage_own_api_key";

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    /// What it is.
    pub(crate) engine: Engine,
    /// The cluster's own id: another one at the same address knows no keys.
    pub(crate) cluster: String,
    /// Whether the login may make keys for agents.
    pub(crate) makes_keys: bool,
    /// The privileges that are missing to install what packages bring, as far as the engine tells.
    pub(crate) missing: Vec<String>,
}

/// Looks.
pub(super) async fn probe(connection: &Connection) -> Result<Probe, EngineProblem> {
    let root = connection.get("/").await?;
    if matches!(root.status, 401 | 403) {
        return Err(refused(connection));
    }
    let host = connection.host().to_owned();
    let said = root.good("GET /")?;
    let strange = || EngineProblem::Strange(host.clone());
    let (family, version) = identity(&said).ok_or_else(strange)?;
    let cluster = said["cluster_uuid"].as_str().ok_or_else(strange)?.to_owned();
    let mut probe = Probe {
        engine: Engine {
            family,
            version,
            lifecycles: BTreeSet::new(),
            no_lifecycles: None,
            no_transforms: Some("OpenSearch has another kind: make one of its Index Management".to_owned()),
        },
        cluster,
        makes_keys: false,
        missing: Vec::new(),
    };
    if family == Family::Elasticsearch {
        probe.engine.no_transforms = None;
        rights(connection, &mut probe).await?;
        abilities(connection, &mut probe.engine).await?;
    } else {
        probe.engine.no_lifecycles = no_state_management(connection).await?;
    }
    Ok(probe)
}

/// Not every Elasticsearch has everything.
async fn abilities(connection: &Connection, engine: &mut Engine) -> Result<(), EngineProblem> {
    let none = |what: &str| Some(format!("this engine has no {what}"));
    let policies = connection.get("/_ilm/policy").await?;
    match (policies.is_good(), policies.body) {
        (true, Value::Object(policies)) => {
            engine.lifecycles = policies.into_iter().map(|(name, _)| name).collect();
        }
        _ => {
            let other = || none("index lifecycle management");
            engine.no_lifecycles = engine.no_lifecycles.take().or_else(other);
        }
    }
    let transforms = connection.get("/_transform?size=1").await?;
    if !transforms.is_good() {
        engine.no_transforms = engine.no_transforms.take().or_else(|| none("transforms"));
    }
    Ok(())
}

/// Why no policy of indices' lives can be put into an OpenSearch: it makes them of a plugin, and one without it knows no
/// such path.
async fn no_state_management(connection: &Connection) -> Result<Option<String>, EngineProblem> {
    let answer = connection.get("/_plugins/_ism/policies?size=1").await?;
    Ok(match answer.status {
        200..=299 => None,
        401 | 403 => Some(
            "the login may not manage policies of OpenSearch's Index State Management: give it a role with the \
             permission cluster:admin/opendistro/ism/*"
                .to_owned(),
        ),
        // As it answers to a path that it does not know.
        400 | 404 | 405 => Some(
            "this OpenSearch has no Index State Management: install its plugin opensearch-index-management"
                .to_owned(),
        ),
        _ => return Err(answer.refusal("GET /_plugins/_ism/policies")),
    })
}

fn refused(connection: &Connection) -> EngineProblem {
    let hint = if connection.has_login() {
        "check the user and the password, the token or the key"
    } else {
        "give output.elasticsearch in fleet-server.yml a service_token, or a username and a password, or give the \
         output username and password in its advanced YAML"
    };
    EngineProblem::Login { host: connection.host().to_owned(), hint }
}

fn identity(root: &Value) -> Option<(Family, (u32, u32))> {
    let version = &root["version"];
    let mut numbers = version["number"].as_str()?.split('.');
    let (major, minor) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    let family = match version["distribution"].as_str() {
        Some("opensearch") => Family::OpenSearch,
        Some(_) => return None,
        None => Family::Elasticsearch,
    };
    Some((family, (major, minor)))
}

/// Elasticsearch tells. One whose security is off lets everybody do everything, and has no keys.
async fn rights(connection: &Connection, probe: &mut Probe) -> Result<(), EngineProblem> {
    let who = connection.get("/_security/_authenticate").await?;
    match who.status {
        200 => {}
        401 | 403 => return Err(refused(connection)),
        _ => return Ok(()),
    }
    let asked = [OF_KEYS, OF_TEMPLATES[0], OF_TEMPLATES[1], OF_LIFECYCLES, OF_TRANSFORMS];
    let asked = json!({"cluster": asked});
    let answer: Answer = connection.post("/_security/user/_has_privileges", &asked).await?;
    let told = answer.good("POST /_security/user/_has_privileges")?;
    let has = |privilege: &str| told["cluster"][privilege] == true;
    // A key that was made with a key may do nothing.
    probe.makes_keys = has(OF_KEYS) && who.body["authentication_type"] != "api_key";
    let lacks = |right: &str| {
        let text = format!("the login lacks the cluster privilege {right}: give it a role that has it");
        (!has(right)).then_some(text)
    };
    probe.engine.no_lifecycles = lacks(OF_LIFECYCLES);
    probe.engine.no_transforms = lacks(OF_TRANSFORMS);
    probe.missing = OF_TEMPLATES.into_iter().filter(|right| !has(right)).map(str::to_owned).collect();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_by_what_they_say() {
        let elasticsearch = json!({"version": {"number": "8.19.2"}});
        assert_eq!(identity(&elasticsearch), Some((Family::Elasticsearch, (8, 19))));
        let opensearch = json!({"version": {"distribution": "opensearch", "number": "3.6.0"}});
        assert_eq!(identity(&opensearch), Some((Family::OpenSearch, (3, 6))));
        for other in [json!({}), json!({"version": "1.2"}), json!({"version": {"number": "x.y"}})] {
            assert_eq!(identity(&other), None, "{other}");
        }
    }
}
