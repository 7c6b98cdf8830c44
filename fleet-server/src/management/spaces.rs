//! `/api/spaces/space`: the names of spaces.
//!
//! Every space is served alike here, and `/s/<any space>` may stand before each path. Policies say which spaces
//! they are seen in. So a space is a name that people can list and describe, and nothing more.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use fleet_access::rights::Right::{ReadSettings, WriteSettings};
use fleet_store::{Collection, Expect, Scope, Typed, Versioned, WriteError};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Management;
use super::caller::Caller;
use super::error::ApiError;
use super::input::Input;
use super::routes::{Routes, delete, get, post, put};

/// [`Space`] by its id.
static SPACES: Collection = Collection { name: "spaces", indexed: &[] };
/// What the audit trail calls a space.
const KIND: &str = "space";
/// The space of whoever names none.
const DEFAULT: &str = "default";
/// The most spaces: lists have all of them.
const MOST: usize = 1000;
/// The largest space in bytes of JSON: a picture may be in it.
const LARGEST: usize = 64 * 1024;

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    let (all, one) = ("/api/spaces/space", "/api/spaces/space/{id}");
    routes
        .add(get(all, ReadSettings, "Lists spaces").answers::<Vec<Space>>(), list)
        .add(post(all, WriteSettings, "Makes a space").body::<Space>().answers::<Space>(), create)
        .add(get(one, ReadSettings, "Shows a space").answers::<Space>(), show)
        .add(put(one, WriteSettings, "Changes a space").body::<Space>().answers::<Space>(), update)
        .add(delete(one, WriteSettings, "Removes a space"), remove)
}

/// A space, as clients know it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Space {
    /// What stands in paths: small letters, digits, `_` and `-`.
    id: String,
    /// For people.
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// One or two letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    initials: Option<String>,
    /// As `#aabbcc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    color: Option<String>,
    /// A picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image_url: Option<String>,
    /// Kept, and means nothing here.
    #[serde(default)]
    disabled_features: Vec<String>,
    /// Kept, and means nothing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    solution: Option<String>,
    /// Kept, and means nothing here.
    #[serde(rename = "projectRouting", default, skip_serializing_if = "Option::is_none")]
    project_routing: Option<String>,
    /// Whether it is always there.
    #[serde(rename = "_reserved", default, skip_serializing_if = "Option::is_none")]
    reserved: Option<bool>,
}

impl Space {
    /// The space that is always there.
    fn first() -> Space {
        Space {
            id: DEFAULT.to_owned(),
            name: "Default".to_owned(),
            description: Some("The space of whoever names none".to_owned()),
            reserved: Some(true),
            ..Space::default()
        }
    }

    fn check(&mut self) -> Result<(), ApiError> {
        let bad =
            |field: &str, text: &str| Err(ApiError::BadRequest(format!("[request body.{field}]: {text}")));
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        if self.id.is_empty() || self.id.len() > 128 || !self.id.bytes().all(allowed) {
            return bad("id", "1 to 128 small letters, digits, _ - are needed");
        }
        if self.name.trim().is_empty() || self.name.len() > 1024 {
            return bad("name", "1 to 1024 bytes are needed");
        }
        if json!(self).to_string().len() > LARGEST {
            return bad("imageUrl", "the space comes to more than 64 KiB");
        }
        self.reserved = (self.id == DEFAULT).then_some(true);
        Ok(())
    }
}

impl Management {
    fn spaces(&self) -> Typed<Space> {
        Typed::new(Arc::clone(&self.fleet.store), &SPACES)
    }

    async fn find_space(&self, id: &str) -> Result<(Space, Expect), ApiError> {
        match self.spaces().get(id).await? {
            Some(Versioned { revision, value, .. }) => Ok((value, Expect::Revision(revision))),
            None if id == DEFAULT => Ok((Space::first(), Expect::Absent)),
            None => Err(ApiError::not_found("Space", id)),
        }
    }
}

async fn list(State(management): State<Management>) -> Result<Json<Vec<Space>>, ApiError> {
    let found = management.spaces().list(Scope::All).await?.values;
    let mut spaces: Vec<Space> = found.into_iter().map(|found| found.value).collect();
    if !spaces.iter().any(|space| space.id == DEFAULT) {
        spaces.insert(0, Space::first());
    }
    Ok(Json(spaces))
}

async fn show(State(management): State<Management>, Path(id): Path<String>) -> Result<Json<Space>, ApiError> {
    Ok(Json(management.find_space(&id).await?.0))
}

async fn create(
    State(management): State<Management>,
    caller: Caller,
    Input(mut space): Input<Space>,
) -> Result<Json<Space>, ApiError> {
    space.check()?;
    let exists = || ApiError::Conflict(format!("[request body.id]: space {} exists already", space.id));
    if space.id == DEFAULT {
        return Err(exists());
    }
    if management.spaces().list(Scope::All).await?.values.len() >= MOST {
        return Err(ApiError::BadRequest(format!(
            "there are {MOST} spaces, which is the most: remove one first"
        )));
    }
    match management.spaces().put(&space.id, &space, Expect::Absent, None, None).await {
        Ok(_) => {}
        Err(WriteError::Conflict { .. }) => return Err(exists()),
        Err(error) => return Err(error.into()),
    }
    caller.changed(KIND, &space.id, None, Some(json!(space)));
    Ok(Json(space))
}

async fn update(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
    Input(mut space): Input<Space>,
) -> Result<Json<Space>, ApiError> {
    space.check()?;
    if space.id != id {
        return Err(ApiError::BadRequest(format!(
            "[request body.id]: {} is not {id}: an id does not change",
            space.id
        )));
    }
    let (before, expect) = management.find_space(&id).await?;
    management.spaces().put(&id, &space, expect, None, None).await?;
    caller.changed(KIND, &id, Some(json!(before)), Some(json!(space)));
    Ok(Json(space))
}

async fn remove(
    State(management): State<Management>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    if id == DEFAULT {
        return Err(ApiError::BadRequest("the space default is always there".to_owned()));
    }
    let (before, expect) = management.find_space(&id).await?;
    management.spaces().delete(&id, expect, None).await?;
    caller.changed(KIND, &id, Some(json!(before)), None);
    Ok(StatusCode::NO_CONTENT)
}
