//! `/api/fleet/oidc`: sign-in by an identity provider, with the authorisation code flow of OpenID Connect.
//!
//! What a sign-in that is under way must remember (RFC 6749 10.12, RFC 7636, OpenID Connect Core 3.1.2.1) goes with
//! the browser, sealed, in a cookie of its own: so any server can finish what another one began, and nothing is kept
//! for those who never come back.

mod provider;
mod requests;

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fleet_access::rights::Role;
use fleet_access::seal::Context;
use fleet_access::sessions::Whose;
use fleet_access::timestamp::Timestamp;
use fleet_service::config::value::Secret;
use http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tracing::info;

use super::cookies::{self, Cookie};
use super::session::{self, Way};
use crate::management::error::ApiError;
use crate::management::input::Params;
use crate::management::routes::{Routes, open};
use crate::management::{Management, auth};

pub(in super::super) use provider::OidcError;
pub(crate) use provider::Provider;
use provider::Secrets;

/// The cookie of a sign-in that is under way.
const COOKIE: &str = "fleet_oidc";
/// It is sent nowhere else.
const PATH: &str = "/api/fleet/oidc";
/// How long somebody may take at the provider.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// What it is sealed for.
const PLACE: Context<'static> = Context { collection: "oidc", id: "login", field: "pending" };

/// The routes of this group.
pub(in super::super) fn routes(routes: Routes) -> Routes {
    let (login, callback) = ("/api/fleet/oidc/login", crate::config::management::CALLBACK);
    routes.add(open(Method::GET, login, "Sends the browser to the identity provider"), begin).add(
        open(Method::GET, callback, "Where the identity provider sends the browser back to")
            .query::<Returned>(),
        finish,
    )
}

/// A sign-in that is under way.
#[derive(Serialize, Deserialize)]
struct Pending {
    secrets: Secrets,
    until: Timestamp,
}

/// With what the provider sends the browser back.
#[derive(Deserialize, JsonSchema)]
pub(in super::super) struct Returned {
    code: Option<String>,
    state: Option<String>,
    /// Why there is no code.
    error: Option<String>,
    error_description: Option<String>,
    /// Who the provider is (RFC 9207).
    iss: Option<String>,
}

fn provider(management: &Management) -> Result<&Provider, ApiError> {
    let provider = management.people.provider.as_deref();
    provider.ok_or_else(|| ApiError::not_found("Identity provider", "management.oidc"))
}

async fn begin(State(management): State<Management>, way: Way) -> Result<Response, ApiError> {
    let (url, secrets) = provider(&management)?.begin().await?;
    let pending = Pending { secrets, until: management.fleet.clock.now() + PATIENCE };
    let text = serde_json::to_vec(&pending).map_err(|error| ApiError::Internal(Box::new(error)))?;
    let sealed = management.fleet.keyring.seal(PLACE, &text);
    let sealed = sealed.map_err(|error| ApiError::Internal(Box::new(error)))?;
    let cookie = cookie(&Secret::new(sealed.as_str()), PATIENCE, way)?;
    Ok(redirect(&url, &[cookie]))
}

async fn finish(
    State(management): State<Management>,
    way: Way,
    headers: HeaderMap,
    Params(returned): Params<Returned>,
) -> Result<Response, ApiError> {
    let provider = provider(&management)?;
    let pending = pending(&management, &headers)?;
    let state = returned.state.unwrap_or_default();
    if !bool::from(state.as_bytes().ct_eq(pending.secrets.state.as_bytes())) {
        return Err(ApiError::BadRequest(
            "[request query.state]: this sign-in did not begin in this browser: begin again".to_owned(),
        ));
    }
    if returned.iss.is_some_and(|issuer| issuer != provider.issuer()) {
        return Err(ApiError::BadRequest(
            "[request query.iss]: not the provider of management.oidc".to_owned(),
        ));
    }
    if let Some(error) = returned.error {
        let why = returned.error_description.unwrap_or_default();
        let text = format!("the identity provider refuses: {error} {why}");
        return Err(ApiError::Forbidden(text.trim().chars().take(500).collect()));
    }
    let code =
        returned.code.ok_or_else(|| ApiError::BadRequest("[request query.code]: missing".to_owned()))?;
    let person = provider.finish(code, pending.secrets).await?;
    if person.roles.is_empty() {
        let doer = auth::doer(&person.name, way.remote, StatusCode::FORBIDDEN);
        drop(auth::tell(&management, &doer, "session", &person.name).await);
        return Err(ApiError::Forbidden(format!(
            "{} is in no group that has a role here: ask for one that management.oidc.roles names",
            person.name
        )));
    }
    let whose = Whose::Provided { name: &person.name, roles: &person.roles };
    let (session, _, _) = session::begin(&management, whose, way).await?;
    let roles: Vec<Role> = person.roles.into_iter().collect();
    info!(user = person.name, ?roles, "somebody has signed in by the identity provider");
    let done = cookie(&Secret::default(), Duration::ZERO, way)?;
    Ok(redirect("/", &[session, done]))
}

fn pending(management: &Management, headers: &HeaderMap) -> Result<Pending, ApiError> {
    let none = || {
        ApiError::BadRequest(
            "this sign-in has not begun in this browser, or took too long: begin again".to_owned(),
        )
    };
    let sealed = cookies::get(headers, COOKIE).ok_or_else(none)?;
    let sealed = serde_json::from_value(sealed.into()).map_err(|_| none())?;
    let text = management.fleet.keyring.unseal_text(PLACE, &sealed).map_err(|_| none())?;
    let pending: Pending = serde_json::from_str(text.reveal()).map_err(|_| none())?;
    if pending.until <= management.fleet.clock.now() { Err(none()) } else { Ok(pending) }
}

fn cookie(value: &Secret, lasts: Duration, way: Way) -> Result<HeaderValue, ApiError> {
    // Lax: the browser comes back from a page of the provider.
    let cookie = Cookie {
        name: COOKIE,
        value,
        path: PATH,
        seconds: lasts.as_secs(),
        same_site: "Lax",
        is_secure: way.is_encrypted,
    };
    cookie.header().ok_or_else(|| ApiError::Internal("a sealed text does not fit into a header".into()))
}

fn redirect(url: &str, cookies: &[HeaderValue]) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(url) = HeaderValue::try_from(url) {
        headers.insert(LOCATION, url);
    }
    for cookie in cookies {
        headers.append(SET_COOKIE, cookie.clone());
    }
    response
}

impl From<OidcError> for ApiError {
    fn from(error: OidcError) -> ApiError {
        match error {
            OidcError::NoName(_) | OidcError::BadName(_) => ApiError::Forbidden(error.to_string()),
            error => ApiError::Provider(error),
        }
    }
}
