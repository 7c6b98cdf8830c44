//! The engine's calls for what packages bring.

use fleet_integration::assets::{Asset, AssetKind, Family, checksum_in};
use http::Method;
use serde_json::{Value, json};
use tracing::warn;

use super::connection::{Answer, Connection, in_path};
use super::plan::{Observed, Plan};
use super::record::InstalledAsset;
use super::refusals::Refusals;
use super::streams::in_one_path;
use super::{Access, EngineProblem, ism};

/// So many transforms are listed in one request: the most that an engine gives.
const TRANSFORMS: usize = 1000;

/// What an engine has, in a request for each kind.
pub(super) async fn observe(access: &Access) -> Result<Observed, EngineProblem> {
    let (connection, mut observed) = (&access.connection, Observed::new());
    if access.probe.engine.no_lifecycles.is_none() && access.probe.engine.family == Family::OpenSearch {
        ism::observe(connection, &mut observed).await?;
    } else if access.probe.engine.no_lifecycles.is_none() {
        // With something that each of them has: those of others are there too.
        let answer = connection.get("/_ilm/policy?filter_path=*.version,*.policy._meta").await?;
        for (name, body) in or_none(answer, "GET /_ilm/policy")?.as_object().into_iter().flatten() {
            let checksum = checksum_in(AssetKind::IlmPolicy, body).map(str::to_owned);
            observed.insert((AssetKind::IlmPolicy, name.clone()), checksum);
        }
    }
    if access.probe.engine.no_transforms.is_none() {
        observe_transforms(connection, &mut observed).await?;
    }
    let pipelines = connection.get("/_ingest/pipeline?filter_path=*.description").await?;
    let pipelines = or_none(pipelines, "GET /_ingest/pipeline")?;
    for (name, body) in pipelines.as_object().into_iter().flatten() {
        let checksum = checksum_in(AssetKind::IngestPipeline, body).map(str::to_owned);
        observed.insert((AssetKind::IngestPipeline, name.clone()), checksum);
    }
    for (kind, list, inner) in [
        (AssetKind::ComponentTemplate, "component_templates", "component_template"),
        (AssetKind::IndexTemplate, "index_templates", "index_template"),
    ] {
        let path = kind.path().trim_end_matches('/');
        let path = format!("{path}?filter_path={list}.name,{list}.{inner}._meta");
        let answer = or_none(connection.get(&path).await?, &format!("GET {path}"))?;
        for item in answer[list].as_array().into_iter().flatten() {
            let Some(name) = item["name"].as_str() else { continue };
            let checksum = checksum_in(kind, &item[inner]).map(str::to_owned);
            observed.insert((kind, name.to_owned()), checksum);
        }
    }
    Ok(observed)
}

/// What is answered; nothing, if there is nothing.
pub(super) fn or_none(answer: Answer, what: &str) -> Result<Value, EngineProblem> {
    if answer.status == 404 { Ok(json!({})) } else { answer.good(what) }
}

async fn observe_transforms(connection: &Connection, observed: &mut Observed) -> Result<(), EngineProblem> {
    for from in (0..).step_by(TRANSFORMS) {
        let path =
            format!("/_transform?from={from}&size={TRANSFORMS}&filter_path=transforms.id,transforms._meta");
        let answer = or_none(connection.get(&path).await?, "GET /_transform")?;
        let Some(found) = answer["transforms"].as_array().filter(|found| !found.is_empty()) else { break };
        for transform in found {
            let Some(id) = transform["id"].as_str() else { continue };
            let checksum = checksum_in(AssetKind::Transform, transform).map(str::to_owned);
            observed.insert((AssetKind::Transform, id.to_owned()), checksum);
        }
        if found.len() < TRANSFORMS {
            break;
        }
    }
    Ok(())
}

/// Puts there what is planned, and lets it count. Answers what the engine does not take.
pub(super) async fn apply(
    connection: &Connection,
    plan: &Plan<'_>,
    all: &[Asset],
    observed: &Observed,
) -> Result<Refusals, EngineProblem> {
    let mut refusals = Refusals::default();
    for (index, asset) in plan.put.iter().enumerate() {
        // Each kind refers to those before it.
        if index > 0 && plan.put[index - 1].kind != asset.kind {
            refusals.spread(all);
        }
        if !refusals.concern(asset)
            && let Err(problem) = put(connection, asset, observed).await
        {
            refusals.add(asset, problem)?;
        }
    }
    refusals.spread(all);
    for name in &plan.roll_over {
        let template = all.iter().find(|asset| asset.kind == AssetKind::IndexTemplate && asset.name == *name);
        let template = template.filter(|template| !refusals.concern(template));
        let pattern = template.and_then(|template| template.body["index_patterns"][0].as_str());
        if let Some(pattern) = pattern {
            roll_over(connection, name, pattern).await?;
        }
    }
    Ok(refusals)
}

async fn put(connection: &Connection, asset: &Asset, observed: &Observed) -> Result<(), EngineProblem> {
    let what = format!("PUT {}{}", asset.kind.path(), asset.name);
    if asset.kind == AssetKind::IsmPolicy {
        let is_there = observed.contains_key(&(asset.kind, asset.name.clone()));
        return ism::put(connection, asset, is_there).await;
    }
    let mut path = format!("{}{}", asset.kind.path(), in_path(&asset.name));
    if asset.kind == AssetKind::Transform {
        if observed.contains_key(&(asset.kind, asset.name.clone())) {
            // One that is there cannot be made to do something else.
            remove_transform(connection, &asset.name).await?;
        }
        // What it reads may not be there before the first agent sends.
        path.push_str("?defer_validation=true");
    }
    connection.put(&path, &asset.body).await?.good(&what).map(drop)
}

/// Data streams that are there begin a new index, so that what comes next is mapped by what was put there now.
async fn roll_over(connection: &Connection, template: &str, pattern: &str) -> Result<(), EngineProblem> {
    let found = connection.get(&format!("/_data_stream/{}", in_one_path([pattern]))).await?;
    if !found.is_good() {
        return Ok(());
    }
    let streams = found.body["data_streams"].as_array().into_iter().flatten();
    for stream in streams.filter(|stream| stream["template"] == template) {
        let Some(name) = stream["name"].as_str() else { continue };
        let answer = connection.request(Method::POST, &format!("/{}/_rollover", in_path(name)), None).await?;
        if !answer.is_good() {
            let problem = answer.refusal("POST _rollover").to_string();
            warn!(data_stream = name, problem, "goes on with the old mappings until its next roll-over");
        }
    }
    Ok(())
}

/// Lets a transform run.
pub(super) async fn start(connection: &Connection, name: &str) -> Result<(), EngineProblem> {
    let path = format!("/_transform/{}/_start", in_path(name));
    let answer = connection.request(Method::POST, &path, None).await?;
    // It runs already.
    if answer.status == 409 {
        return Ok(());
    }
    answer.good(&format!("POST /_transform/{name}/_start")).map(drop)
}

async fn remove_transform(connection: &Connection, name: &str) -> Result<(), EngineProblem> {
    let path = format!("/_transform/{}", in_path(name));
    let stop = format!("{path}/_stop?force=true&wait_for_completion=true&timeout=20s");
    for (method, path) in [(Method::POST, stop), (Method::DELETE, format!("{path}?force=true"))] {
        let what = format!("{method} /_transform/{name}");
        or_none(connection.request(method, &path, None).await?, &what)?;
    }
    Ok(())
}

/// Removes what it can. Answers what the engine keeps because something uses it.
pub(super) async fn remove(
    connection: &Connection,
    assets: &[InstalledAsset],
) -> Result<Vec<InstalledAsset>, EngineProblem> {
    let mut left = Vec::new();
    for asset in assets {
        if asset.kind == AssetKind::Transform {
            remove_transform(connection, &asset.id).await?;
            continue;
        }
        let path = format!("{}{}", asset.kind.path(), in_path(&asset.id));
        let answer = connection.request(Method::DELETE, &path, None).await?;
        match answer.status {
            200..=299 | 404 => {}
            400 | 409 => left.push(asset.clone()),
            _ => return Err(answer.refusal(&format!("DELETE {}{}", asset.kind.path(), asset.id))),
        }
    }
    Ok(left)
}
