//! The calls of OpenSearch's Index State Management.

use fleet_integration::assets::{Asset, AssetKind, checksum_in};
use http::Method;
use serde_json::{Value, json};
use tracing::warn;

use super::EngineProblem;
use super::calls::or_none;
use super::connection::{Answer, Connection, in_path};
use super::plan::Observed;
use super::streams::in_one_path;

/// So many policies are listed in one request.
const POLICIES: usize = 200;
/// So many are looked at: an engine that gives the same ones without end is left, and none has half as many.
const MOST: usize = 20_000;
const PATH: &str = "/_plugins/_ism/policies";

/// What policies there are.
pub(super) async fn observe(connection: &Connection, observed: &mut Observed) -> Result<(), EngineProblem> {
    for from in (0..MOST).step_by(POLICIES) {
        let path = format!("{PATH}?from={from}&size={POLICIES}");
        let answer = or_none(connection.get(&path).await?, &format!("GET {PATH}"))?;
        let found = answer["policies"].as_array().map_or(&[][..], Vec::as_slice);
        for policy in found {
            let Some(id) = policy["_id"].as_str() else { continue };
            let checksum = checksum_in(AssetKind::IsmPolicy, policy).map(str::to_owned);
            observed.insert((AssetKind::IsmPolicy, id.to_owned()), checksum);
        }
        if found.len() < POLICIES {
            break;
        }
    }
    Ok(())
}

/// Puts a policy there, and lets it count for the indices that are there already.
pub(super) async fn put(connection: &Connection, asset: &Asset, is_there: bool) -> Result<(), EngineProblem> {
    let (name, mut path) = (&asset.name, format!("{PATH}/{}", in_path(&asset.name)));
    if is_there {
        // One that is there is replaced by whoever says which one it is.
        let found = connection.get(&path).await?.good(&format!("GET {PATH}/{name}"))?;
        path = format!("{path}?if_seq_no={}&if_primary_term={}", found["_seq_no"], found["_primary_term"]);
    }
    connection.put(&path, &asset.body).await?.good(&format!("PUT {PATH}/{name}"))?;
    let templates = asset.body["policy"]["ism_template"].as_array().into_iter().flatten();
    let patterns = templates.flat_map(|template| template["index_patterns"].as_array().into_iter().flatten());
    let backing: Vec<&str> =
        patterns.filter_map(Value::as_str).filter(|pattern| pattern.starts_with(".ds-")).collect();
    if backing.is_empty() {
        return Ok(());
    }
    // Templates count for indices that come. Those that have another policy keep it.
    let verb = if is_there { "change_policy" } else { "add" };
    let path = format!("/_plugins/_ism/{verb}/{}", in_one_path(backing));
    let answer = connection.request(Method::POST, &path, Some(&json!({"policy_id": name}))).await?;
    tell(name, verb, &answer);
    Ok(())
}

/// What does not work here is no reason to leave the policy out: it counts from the next roll-over on.
fn tell(policy: &str, verb: &str, answer: &Answer) {
    // There may be no index yet.
    if answer.status == 404 || (answer.is_good() && answer.body["failures"] != true) {
        return;
    }
    let answer = answer.body.to_string();
    warn!(
        policy,
        verb, answer, "indices that are there already go on as they did until their next roll-over"
    );
}
