//! Listing, showing, making, changing and removing: alike for outputs, hosts, proxies and download sources.

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::rights::Right;
use fleet_policy::documents::SettingDefaults;
use fleet_policy::settings::{Settings, Table};
use fleet_store::{Expect, Revision, WriteError};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::edit::{WRITE, edited};
use super::secrets::{self, fields, tell};
use super::uses::{Touched, require_unused};
use crate::management::Management;
use crate::management::caller::Caller;
use crate::management::catalogue::{Item, Items};
use crate::management::error::ApiError;
use crate::management::fields::{bad, check_name, new_id};
use crate::management::input::{AtLeast, Input, Params};
use crate::management::routes::{Routes, delete, get, post, put};

/// The most items of a page, and as many as there are where nothing is asked for.
const LARGEST_PAGE: usize = 10_000;

/// Something that one object of a kind is.
pub(in crate::management) struct Flag<T> {
    /// The field of objects.
    pub(in crate::management) field: &'static str,
    pub(in crate::management) get: fn(&T) -> bool,
    pub(in crate::management) set: fn(&mut T, bool),
    /// Where it stands which one it is.
    pub(in crate::management) place: fn(&mut SettingDefaults) -> &mut Option<String>,
}

/// An object as it is, with its flags.
#[derive(Clone, Debug)]
struct Found<T> {
    revision: Revision,
    value: T,
}

/// What an object says of itself, made of the defaults.
pub(super) fn with_flags<T: Object>(object: &T, defaults: &SettingDefaults) -> T {
    let (mut object, mut defaults) = (object.clone(), defaults.clone());
    for flag in T::FLAGS {
        let is_it = (flag.place)(&mut defaults).as_deref() == Some(object.id());
        (flag.set)(&mut object, is_it);
    }
    object
}

/// A kind of objects.
pub(in crate::management) trait Object:
    Clone + Default + PartialEq + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static
{
    /// What the audit trail calls one.
    const KIND: &'static str;
    /// What people call one.
    const TITLE: &'static str;
    /// What one of them is.
    const FLAGS: &'static [Flag<Self>];
    /// Fields of requests that the server sets itself, or that mean nothing here.
    const IGNORED: &'static [&'static str];

    /// Where they are.
    fn table(settings: &Settings) -> &Table<Self>;
    fn id(&self) -> &str;
    fn set_id(&mut self, id: String);
    fn name(&self) -> &str;
    /// The proxy that it names.
    fn proxy_id(&self) -> Option<&str>;
    /// What stays of the fields that an object has when it is changed, before what is given is laid over them.
    fn base(before: Map<String, Value>, _body: &Map<String, Value>) -> Map<String, Value> {
        before
    }
    /// Puts it into its normal form; refuses what cannot be. `before`: as it was, if it is not new.
    fn check(&mut self, before: Option<&Self>, body: &Map<String, Value>) -> Result<(), ApiError>;
    /// Refuses what cannot be beside the others.
    fn check_beside(&self, _others: &[&Self]) -> Result<(), ApiError> {
        Ok(())
    }
    /// What uses it and keeps it from being removed.
    fn users(_: &Management, _: &str) -> impl Future<Output = Result<Vec<String>, ApiError>> + Send {
        async { Ok(Vec::new()) }
    }
    /// Takes it off what names it, which uses the default then: it is about to be removed.
    fn detach(_: &Management, _: &Caller, _: &str) -> impl Future<Output = Result<(), ApiError>> + Send {
        async { Ok(()) }
    }
    /// Which policies a change of it touches.
    fn touched(&self, management: &Management) -> Touched;
    /// What takes the place of this default before it is removed. `None`: nothing does, so that it stays.
    fn successor(&self, _others: &[&Self]) -> Option<Successor> {
        None
    }
}

/// What takes the place of a default that is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::management) enum Successor {
    /// The object with this id.
    Object(String),
    /// Nothing has to: there may be none of the kind.
    Nobody,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::management) struct ListQuery {
    /// Counts from 1.
    page: Option<AtLeast<1>>,
    /// All, if nothing is asked for.
    per_page: Option<AtLeast<1>>,
}

/// What was removed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(in crate::management) struct Removed {
    id: String,
}

type Answer<T> = Result<Json<T>, ApiError>;

/// The routes of a kind.
pub(in crate::management) fn routes<T: Object>(
    routes: Routes,
    (all, one): (&'static str, &'static str),
    summaries: [&'static str; 5],
) -> Routes {
    let read = Right::ReadSettings;
    let [lists, shows, makes, changes, removes] = summaries;
    routes
        .add(get(all, read, lists).query::<ListQuery>().answers::<Items<T>>(), list::<T>)
        .add(get(one, read, shows).answers::<Item<T>>(), show::<T>)
        .add(post(all, WRITE, makes).body::<T>().ignores(T::IGNORED).answers::<Item<T>>(), create::<T>)
        .add(put(one, WRITE, changes).body::<T>().ignores(T::IGNORED).answers::<Item<T>>(), update::<T>)
        .add(delete(one, WRITE, removes).answers::<Removed>(), remove::<T>)
}

async fn list<T: Object>(
    State(management): State<Management>,
    Params(query): Params<ListQuery>,
) -> Answer<Items<T>> {
    let all = T::table(&management.fleet.settings).refresh().await?;
    let defaults = management.defaults().await?;
    let page = query.page.map_or(1, AtLeast::get);
    let per_page = query.per_page.map_or(LARGEST_PAGE, AtLeast::get).min(LARGEST_PAGE);
    let skip = (page - 1).saturating_mul(per_page);
    let items =
        all.values().skip(skip).take(per_page).map(|found| with_flags(&found.value, &defaults)).collect();
    Ok(Json(Items { items, total: all.len(), page, per_page }))
}

async fn find<T: Object>(management: &Management, id: &str) -> Result<Found<T>, ApiError> {
    let found = T::table(&management.fleet.settings).read(id).await?;
    let found = found.ok_or_else(|| ApiError::not_found(T::TITLE, id))?;
    let value = with_flags(&found.value, &management.defaults().await?);
    Ok(Found { revision: found.revision, value })
}

async fn show<T: Object>(State(management): State<Management>, Path(id): Path<String>) -> Answer<Item<T>> {
    let found = find::<T>(&management, &id).await?;
    Ok(Json(Item { item: found.value }))
}

async fn create<T: Object>(
    State(management): State<Management>,
    caller: Caller,
    Input(body): Input<Map<String, Value>>,
) -> Answer<Item<T>> {
    let id = new_id(&body)?;
    let mut made: T = edited(fields(&T::default()), &body, &[T::IGNORED, &["id"]].concat())?;
    made.set_id(id.clone());
    check(&management, &mut made, None, &body).await?;
    let taken = || ApiError::Conflict(format!("{} {id} exists already", T::TITLE));
    let table = T::table(&management.fleet.settings);
    if table.read(&id).await?.is_some() {
        return Err(taken());
    }
    let kept = secrets::keep(&management.fleet, None, &mut made).await?;
    let made = match table.put(&id, made, Expect::Absent).await {
        Ok(made) => made,
        Err(error) => {
            return Err(match error {
                WriteError::Conflict { .. } => {
                    kept.undo(&management.fleet).await;
                    taken()
                }
                error => error.into(),
            });
        }
    };
    tell(&caller, &id, None, Some(&made.value));
    follow_up(&management, &caller, None, &made.value).await?;
    Ok(Json(Item { item: made.value.clone() }))
}

async fn update<T: Object>(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Input(body): Input<Map<String, Value>>,
) -> Answer<Item<T>> {
    let found = find::<T>(&management, &id).await?;
    if let Some(given) = body.get("id").filter(|given| !given.is_null() && **given != *id) {
        return Err(bad("id", format!("{given} is not {id}: an id does not change")));
    }
    let base = T::base(fields(&found.value), &body);
    let mut made: T = edited(base, &body, &[T::IGNORED, &["id"]].concat())?;
    made.set_id(id.clone());
    check(&management, &mut made, Some(&found.value), &body).await?;
    let left = left(&management, &found.value, |flag| !(flag.get)(&made)).map_err(|flag| {
        let text =
            format!("{} {id} is the only one: set it on another one, which takes it from here", T::TITLE);
        bad(flag.field, text)
    })?;
    let kept = secrets::keep(&management.fleet, Some(&found.value), &mut made).await?;
    if made == found.value {
        return Ok(Json(Item { item: made }));
    }
    let table = T::table(&management.fleet.settings);
    let made = match table.put(&id, made, Expect::Revision(found.revision)).await {
        Ok(made) => made,
        Err(WriteError::Conflict { .. }) => {
            kept.undo(&management.fleet).await;
            let current = json!(find::<T>(&management, &id).await?.value);
            let text = format!("{} {id} was changed by somebody else meanwhile", T::TITLE);
            return Err(ApiError::Changed { text, current });
        }
        Err(error) => return Err(error.into()),
    };
    tell(&caller, &id, Some(&found.value), Some(&made.value));
    give_up(&management, &caller, &id, left).await?;
    follow_up(&management, &caller, Some(&found.value), &made.value).await?;
    kept.done(&management.fleet).await;
    Ok(Json(Item { item: made.value.clone() }))
}

async fn remove<T: Object>(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<Removed> {
    let found = find::<T>(&management, &id).await?;
    let what = format!("{} {id}", T::TITLE);
    require_unused(&what, &T::users(&management, &id).await?)?;
    let is_default = T::FLAGS.iter().any(|flag| (flag.get)(&found.value));
    let touched = is_default.then(|| found.value.touched(&management));
    let left = left(&management, &found.value, |_| true).map_err(|flag| {
        let text = format!("{what} is the default ({}): make another one the default first", flag.field);
        ApiError::BadRequest(text)
    })?;
    T::detach(&management, &caller, &id).await?;
    T::table(&management.fleet.settings).delete(&id, Expect::Revision(found.revision)).await?;
    tell(&caller, &id, Some(&found.value), None);
    give_up(&management, &caller, &id, left).await?;
    if let Some(touched) = touched {
        management.redeploy(caller.name(), touched).await?;
    }
    secrets::forget_all(&management.fleet, &found.value).await;
    Ok(Json(Removed { id }))
}

/// The flags that an object has and is to lose, and what takes each. An error: the one that it cannot lose.
fn left<T: Object>(
    management: &Management,
    object: &T,
    loses: impl Fn(&Flag<T>) -> bool,
) -> Result<Vec<(&'static Flag<T>, Successor)>, &'static Flag<T>> {
    let all = T::table(&management.fleet.settings).all();
    let others: Vec<&T> = all.values().filter(|one| one.id != object.id()).map(|one| &one.value).collect();
    let flags = T::FLAGS.iter().filter(|flag| (flag.get)(object) && loses(flag));
    flags.map(|flag| object.successor(&others).map(|next| (flag, next)).ok_or(flag)).collect()
}

/// Gives flags that an object had to what takes its place.
async fn give_up<T: Object>(
    management: &Management,
    caller: &Caller,
    id: &str,
    left: Vec<(&'static Flag<T>, Successor)>,
) -> Result<(), ApiError> {
    for (flag, successor) in left {
        match successor {
            Successor::Object(next) => hand_over(management, caller, flag, &next).await?,
            Successor::Nobody => {
                let vacate = |defaults: &mut SettingDefaults| {
                    let place = (flag.place)(defaults);
                    if place.as_deref() == Some(id) {
                        *place = None;
                    }
                };
                management.change_defaults(vacate).await?;
            }
        }
    }
    Ok(())
}

/// Gives the flag to another object.
async fn hand_over<T: Object>(
    management: &Management,
    caller: &Caller,
    flag: &Flag<T>,
    id: &str,
) -> Result<(), ApiError> {
    let before = find::<T>(management, id).await?.value;
    management.change_defaults(|defaults| *(flag.place)(defaults) = Some(id.to_owned())).await?;
    let mut after = before.clone();
    (flag.set)(&mut after, true);
    tell(caller, id, Some(&before), Some(&after));
    Ok(())
}

async fn check<T: Object>(
    management: &Management,
    made: &mut T,
    before: Option<&T>,
    body: &Map<String, Value>,
) -> Result<(), ApiError> {
    check_name("name", made.name())?;
    made.check(before, body)?;
    let settings = &management.fleet.settings;
    if let Some(proxy) = made.proxy_id()
        && before.and_then(T::proxy_id) != Some(proxy)
        && settings.proxies.read(proxy).await?.is_none()
    {
        return Err(bad("proxy_id", format!("there is no proxy {proxy}")));
    }
    let all = T::table(settings).refresh().await?;
    let others: Vec<&T> = all.values().filter(|one| one.id != made.id()).map(|one| &one.value).collect();
    made.check_beside(&others)
}

/// What a change brings with it: another object is the default no more, and policies are shipped again. Something
/// new touches policies too: they may name what was gone.
async fn follow_up<T: Object>(
    management: &Management,
    caller: &Caller,
    before: Option<&T>,
    made: &T,
) -> Result<(), ApiError> {
    let mut touched = made.touched(management);
    if let Some(before) = before {
        touched.add(before.touched(management));
    }
    for flag in T::FLAGS {
        let is_news = (flag.get)(made) && before.is_none_or(|before| !(flag.get)(before));
        if !is_news {
            continue;
        }
        let id = made.id();
        let was =
            management.change_defaults(|defaults| *(flag.place)(defaults) = Some(id.to_owned())).await?;
        let holder = (flag.place)(&mut was.clone()).clone().filter(|holder| holder != id);
        let Some(holder) = holder else { continue };
        if let Some(found) = T::table(&management.fleet.settings).read(&holder).await? {
            let before = with_flags(&found.value, &was);
            let mut after = before.clone();
            (flag.set)(&mut after, false);
            touched.add(before.touched(management));
            tell(caller, &holder, Some(&before), Some(&after));
        }
    }
    management.redeploy(caller.name(), touched).await
}
