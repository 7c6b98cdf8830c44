//! What is to be created, changed and deleted, and in which order.
//!
//! What others name is made before them and deleted after them: proxies, then hosts, outputs and download
//! sources, then policies, then their integrations; deletions come last, the other way round.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::change::{Change, changes};
use super::object::{Desired, Key};
use super::overlay::{is_secret, overlay};

/// Fields that only one object of a kind has set.
const DEFAULTS: [&str; 3] = ["is_default", "is_default_monitoring", "is_default_fleet_server"];

/// What a server has of the objects that matter.
pub(crate) type Actual = BTreeMap<Key, Value>;

/// What is asked of a plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// What files say.
    pub(crate) desired: BTreeMap<Key, Desired>,
    /// What may be deleted where no file names it.
    pub(crate) prunable: BTreeSet<Key>,
    /// Whether secrets are sent again.
    pub(crate) sends_secrets: bool,
}

/// What is done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Create,
    Update,
    Delete,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) action: Action,
    pub(crate) key: Key,
    /// The fields that change, of an update.
    pub(crate) changes: Vec<Change>,
    /// What is sent.
    pub(crate) body: Map<String, Value>,
}

/// Everything to do, in its order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// How many objects are as the files say.
    pub(crate) unchanged: usize,
}

impl Plan {
    /// How many steps of a kind there are.
    pub(crate) fn count(&self, action: Action) -> usize {
        self.steps.iter().filter(|step| step.action == action).count()
    }
}

/// Decides. The same request and objects always give the same plan.
pub(crate) fn plan(request: &Request, actual: &Actual) -> Plan {
    let mut plan = Plan::default();
    // Keys are in the order in which objects are made.
    for (key, desired) in &request.desired {
        match actual.get(key) {
            None => plan.steps.push(create(desired)),
            Some(object) => match update(desired, object, request.sends_secrets) {
                Some(step) => plan.steps.push(step),
                None => plan.unchanged += 1,
            },
        }
    }
    plan.steps.sort_by_key(|step| (step.key.kind, !takes_default(step)));
    let is_gone = |key: &&Key| !request.desired.contains_key(*key) && actual.contains_key(*key);
    for key in request.prunable.iter().rev().filter(is_gone) {
        let step = Step { action: Action::Delete, key: key.clone(), changes: Vec::new(), body: Map::new() };
        plan.steps.push(step);
    }
    plan
}

/// One object of a kind is the default, and the server takes that from the one that was: a new default comes before
/// the old one gives it up, which it may not do alone.
fn takes_default(step: &Step) -> bool {
    let is_set = |field: &str| step.body.get(field) == Some(&Value::Bool(true));
    let changes = |field: &str| {
        step.action == Action::Create || step.changes.iter().any(|change| change.path == format!("/{field}"))
    };
    DEFAULTS.iter().any(|field| is_set(field) && changes(field))
}

fn create(desired: &Desired) -> Step {
    let mut body = desired.spec.clone();
    body.retain(|_, value| !value.is_null());
    body.insert(desired.key.kind.kind().id_field.to_owned(), desired.key.id.as_str().into());
    Step { action: Action::Create, key: desired.key.clone(), changes: Vec::new(), body }
}

fn update(desired: &Desired, object: &Value, sends_secrets: bool) -> Option<Step> {
    let kind = desired.key.kind;
    let current = kind.kind().written(object);
    let mut body = overlay(kind, &current, &desired.spec, sends_secrets);
    let mut changes = changes(&Value::Object(current), &Value::Object(body.clone()));
    if changes.is_empty() {
        return None;
    }
    for change in &mut changes {
        mask(change);
    }
    body.extend(kind.kind().base_of(object));
    Some(Step { action: Action::Update, key: desired.key.clone(), changes, body })
}

/// A new value of a secret is not shown.
fn mask(change: &mut Change) {
    let was_secret = matches!(&change.before, Some(Value::Object(fields)) if is_secret(fields));
    let is_below_secrets = change.path.starts_with("/secrets/");
    for side in [&mut change.before, &mut change.after] {
        if (was_secret || is_below_secrets) && side.as_ref().is_some_and(Value::is_string) {
            *side = Some("(secret)".into());
        }
    }
}

/// The fields that a server still has otherwise after it took what the file says: each apply would set them
/// again.
pub(crate) fn remaining(desired: &Desired, object: &Value) -> Vec<Change> {
    update(desired, object, false).map(|step| step.changes).unwrap_or_default()
}
