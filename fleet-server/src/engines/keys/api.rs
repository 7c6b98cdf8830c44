//! The engine's calls.

use http::Method;
use serde_json::{Map, Value, json};

use crate::engines::EngineProblem;
use crate::engines::connection::{Connection, in_path};

/// A key that was made.
pub(super) struct Made {
    pub(super) id: String,
    /// `id:key`.
    pub(super) whole: String,
}

/// Makes a key.
pub(super) async fn create(
    connection: &Connection,
    agent_id: &str,
    output: &str,
    roles: &Map<String, Value>,
) -> Result<Made, EngineProblem> {
    let what = "POST /_security/api_key";
    let body = json!({
        "name": format!("{agent_id}:{output}"),
        "role_descriptors": roles,
        "metadata": {
            "agent_id": agent_id, "output_name": output, "managed": true, "managed_by": "fleet-server",
            "type": "output",
        },
    });
    let made = connection.post("/_security/api_key", &body).await?.good(what)?;
    match (made["id"].as_str(), made["api_key"].as_str()) {
        (Some(id), Some(key)) => Ok(Made { id: id.to_owned(), whole: format!("{id}:{key}") }),
        _ => Err(EngineProblem::Strange(connection.host().to_owned())),
    }
}

/// The rights that a key has; `None`: there is no such key any more.
pub(super) async fn roles_of(
    connection: &Connection,
    id: &str,
) -> Result<Option<Map<String, Value>>, EngineProblem> {
    let answer = connection.get(&format!("/_security/api_key?id={}&owner=true", in_path(id))).await?;
    if answer.status == 404 {
        return Ok(None);
    }
    let mut found = answer.good("GET /_security/api_key")?;
    let key = &mut found["api_keys"][0];
    if key.is_null() || key["invalidated"] == true {
        return Ok(None);
    }
    match key["role_descriptors"].take() {
        Value::Object(roles) => Ok(Some(roles)),
        // Older engines do not tell.
        _ => Ok(None),
    }
}

/// Gives a key other rights; false: it cannot have them, and another one must be made.
pub(super) async fn update(
    connection: &Connection,
    id: &str,
    roles: &Map<String, Value>,
) -> Result<bool, EngineProblem> {
    let path = format!("/_security/api_key/{}", in_path(id));
    let answer = connection.put(&path, &json!({"role_descriptors": roles})).await?;
    match answer.status {
        200..=299 => Ok(true),
        // It is gone, or of another owner, or the engine is older than this call.
        400 | 403 | 404 | 405 => Ok(false),
        _ => Err(answer.refusal("PUT /_security/api_key")),
    }
}

/// Invalidates keys. Those that are not there are invalid already.
pub(super) async fn invalidate(connection: &Connection, ids: &[String]) -> Result<(), EngineProblem> {
    let path = "/_security/api_key";
    let what = "DELETE /_security/api_key";
    let own = json!({"ids": ids, "owner": true});
    let answer = connection.request(Method::DELETE, path, Some(&own)).await?;
    if answer.status == 404 {
        return Ok(());
    }
    let told = answer.good(what)?;
    let count = |field: &str| told[field].as_array().map_or(0, Vec::len);
    if count("invalidated_api_keys") + count("previously_invalidated_api_keys") >= ids.len() {
        return Ok(());
    }
    // Whoever made them was another user, before the login was changed: whoever may, invalidates those too.
    let all = connection.request(Method::DELETE, path, Some(&json!({"ids": ids}))).await?;
    if all.status == 404 { Ok(()) } else { all.good(what).map(drop) }
}
