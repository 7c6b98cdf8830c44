//! What comes with a request, and what is wrong with it in words that name the field.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::request::Parts;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::ApiError;
use super::numbers::without_fractions;
use super::shape::{Shape, check_depth};

/// A body of JSON, whatever its `Content-Type` says. No body is an empty object.
#[derive(Debug)]
pub(super) struct Input<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Input<T>, ApiError> {
        let shape = request.extensions().get::<Arc<Shape>>().cloned();
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|rejection| ApiError::Body(rejection.status(), rejection.body_text()))?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        check_depth(text)?;
        let text = without_fractions(text);
        let body: Value = serde_json::from_slice(&text).map_err(|error| bad("request body", ".", &error))?;
        if let Some(shape) = shape {
            shape.check(&body)?;
        }
        serde_path_to_error::deserialize(body)
            .map(Input)
            .map_err(|error| bad("request body", &error.path().to_string(), error.inner()))
    }
}

/// What stands behind the `?`. A name may stand there several times; what is unknown is ignored.
#[derive(Debug)]
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Params<T>, ApiError> {
        let text = parts.uri.query().unwrap_or_default();
        let deserializer = serde_html_form::Deserializer::from_bytes(text.as_bytes());
        serde_path_to_error::deserialize(deserializer)
            .map(Params)
            .map_err(|error| bad("request query", &error.path().to_string(), error.inner()))
    }
}

/// A whole number from `LEAST` on, such as that of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct AtLeast<const LEAST: usize>(usize);

impl<const LEAST: usize> AtLeast<LEAST> {
    /// The number.
    pub(super) fn get(self) -> usize {
        self.0
    }
}

impl<const LEAST: usize> TryFrom<String> for AtLeast<LEAST> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = text.parse().ok().filter(|number| *number >= LEAST);
        number.map(AtLeast).ok_or_else(|| format!("a whole number from {LEAST} on is needed"))
    }
}

impl<const LEAST: usize> JsonSchema for AtLeast<LEAST> {
    fn schema_name() -> Cow<'static, str> {
        format!("AtLeast{LEAST}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": LEAST})
    }
}

/// The most objects that are asked for by their ids at a time.
const MOST_IDS: usize = 1000;

/// Ids of a body, each once and not too many: what is answered is held in memory.
pub(super) fn several(field: &str, mut ids: Vec<String>) -> Result<Vec<String>, ApiError> {
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(id.clone()));
    if ids.len() > MOST_IDS {
        return Err(ApiError::BadRequest(format!(
            "[request body.{field}]: at most {MOST_IDS} ids at a time"
        )));
    }
    Ok(ids)
}

fn bad(place: &str, path: &str, error: &dyn std::fmt::Display) -> ApiError {
    let dot = if path == "." { "" } else { "." };
    let path = if path == "." { "" } else { path };
    ApiError::BadRequest(format!("[{place}{dot}{path}]: {error}"))
}
