//! `fleetctl __complete`: what the word at the cursor may become, as far as only a server knows it. Commands, verbs
//! and flags are known to the completion scripts themselves.
//!
//! Whoever presses a key waits for this: it is short, and says nothing when it cannot say anything.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::World;
use super::session::Session;
use crate::cli::{Beginning, Given, beginning};
use crate::management::{
    ACTION, AGENT, API_KEY, DOWNLOAD_SOURCE, ENROLL_KEY, HOST, INTEGRATION, Kind, OUTPUT, PACKAGE, POLICY,
    PROXY, Query, SERVICE_TOKEN, UNINSTALL_TOKEN, USER, WEBHOOK, list,
};
use crate::profile::ProfileFile;
use crate::settings::Settings;

/// The longest that is waited for a server.
const LIMIT: Duration = Duration::from_secs(3);
/// The most objects that are looked at.
const MOST: usize = 1000;
/// Statuses of agents.
const STATUSES: [&str; 8] =
    ["degraded", "enrolling", "error", "inactive", "offline", "online", "unenrolled", "updating"];

/// What a word names.
#[derive(Clone, Copy)]
enum Names {
    Of(&'static Kind),
    Profiles,
    Statuses,
}

/// `__complete`
pub(super) async fn run(world: &World<'_>, words: &[String]) {
    let Some((word, before)) = words.split_last() else { return };
    let Some(beginning) = beginning(before) else { return };
    let Some(names) = names_at(&beginning, word) else { return };
    let found = tokio::time::timeout(LIMIT, candidates(world, &beginning, names, word)).await;
    for candidate in found.ok().flatten().into_iter().flatten().filter(|name| name.starts_with(word.as_str()))
    {
        world.console.line(candidate);
    }
}

fn names_at(beginning: &Beginning, word: &str) -> Option<Names> {
    match beginning.flag.as_deref() {
        Some("policy") => return Some(Names::Of(&POLICY)),
        Some("profile") => return Some(Names::Profiles),
        Some("status") => return Some(Names::Statuses),
        Some(_) => return None,
        None if word.starts_with('-') => return None,
        None => {}
    }
    let path: Vec<&str> = beginning.path.iter().map(String::as_str).collect();
    let kind = match path.as_slice() {
        ["profile", "use" | "remove"] => return Some(Names::Profiles),
        [_, "list" | "create" | "install" | "upload" | "export" | "follow"] => return None,
        ["agent", "watch"] | ["action", _] => &ACTION,
        ["agent", _] => &AGENT,
        ["policy", _] => &POLICY,
        ["integration", _] => &INTEGRATION,
        ["package", _] => &PACKAGE,
        ["output", _] => &OUTPUT,
        ["host", _] => &HOST,
        ["proxy", _] => &PROXY,
        ["download-source", _] => &DOWNLOAD_SOURCE,
        ["enroll-key", _] => &ENROLL_KEY,
        ["service-token", _] => &SERVICE_TOKEN,
        ["user", _] => &USER,
        ["api-key", _] => &API_KEY,
        ["webhook", _] => &WEBHOOK,
        ["uninstall-token", _] => &UNINSTALL_TOKEN,
        _ => return None,
    };
    Some(Names::Of(kind))
}

async fn candidates(
    world: &World<'_>,
    beginning: &Beginning,
    names: Names,
    word: &str,
) -> Option<BTreeSet<String>> {
    match names {
        Names::Profiles => {
            Some(ProfileFile::of(world.environment).ok()?.read().ok()?.all.into_keys().collect())
        }
        Names::Statuses => Some(STATUSES.map(str::to_owned).into()),
        Names::Of(kind) => {
            let global = &beginning.global;
            let settings = Settings::read(global, Given::default(), world.environment, world.console).ok()?;
            let flags = beginning.server.flags();
            let session = Session::open(world.console, &settings, world.environment, &flags).await.ok()?;
            let found = list(&session.client, kind, &query(kind, word), MOST).await.ok()?;
            Some(found.items.iter().flat_map(|item| words_of(kind, item)).collect())
        }
    }
}

/// Of agents there may be very many: the server chooses those that fit.
fn query(kind: &Kind, word: &str) -> Query {
    let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    match kind.name_field {
        Some(field) if !word.is_empty() && is_plain => {
            Query::default().with("kuery", format!("{field}:{word}* or id:{word}*"))
        }
        _ => kind.query(),
    }
}

/// The id of an object, and its name where a shell takes that for one word.
fn words_of(kind: &Kind, item: &Value) -> Vec<String> {
    let is_word =
        |text: &&str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-._@/+,".contains(c));
    [kind.id_of(item), kind.name_of(item)].into_iter().flatten().filter(is_word).map(str::to_owned).collect()
}
