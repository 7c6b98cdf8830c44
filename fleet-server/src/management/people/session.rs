//! `/api/fleet/session`: sign in, look, sign out.

use std::net::IpAddr;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use fleet_access::documents::SessionDocument;
use fleet_access::rights::{Principal, Proof, Right};
use fleet_access::sessions::{SessionError, Whose, csrf_token};
use fleet_access::timestamp::Timestamp;
use fleet_service::config::value::Secret;
use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::debug;

use super::cookies::{self, Cookie, SESSION};
use crate::management::caller::{Caller, Encrypted, Remote};
use crate::management::error::ApiError;
use crate::management::gate::PATIENCE;
use crate::management::input::Input;
use crate::management::routes::{Routes, delete, get, open};
use crate::management::{Answer, Management, auth};

/// The routes of this group.
pub(in super::super) fn routes(routes: Routes) -> Routes {
    let path = "/api/fleet/session";
    routes
        .add(open(Method::POST, path, "Signs in: sets a cookie").body::<SignIn>(), sign_in)
        .add(get(path, Right::SignedIn, "Who is signed in"), show)
        .add(delete(path, Right::SignedIn, "Signs out"), sign_out)
}

#[derive(Deserialize, JsonSchema)]
pub(in super::super) struct SignIn {
    username: String,
    password: String,
}

/// How a request came.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Way {
    pub(in super::super) remote: Option<IpAddr>,
    pub(in super::super) is_encrypted: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Way {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Way, ApiError> {
        let remote = parts.extensions.get::<Remote>().map(|remote| remote.0);
        let is_encrypted = parts.extensions.get::<Encrypted>().is_some_and(|encrypted| encrypted.0);
        Ok(Way { remote, is_encrypted })
    }
}

async fn sign_in(
    State(management): State<Management>,
    way: Way,
    headers: HeaderMap,
    Input(asked): Input<SignIn>,
) -> Result<Response, ApiError> {
    // Or a page of somebody else could sign its visitors in as somebody else, who then works in a wrong name.
    if cookies::is_from_elsewhere(&headers) {
        return Err(ApiError::Forbidden("sign in from a page of this server".to_owned()));
    }
    let password = Secret::new(asked.password);
    let user = auth::by_password(&management, &asked.username, &password, way.remote, true).await?;
    let user = user.ok_or(ApiError::WrongPassword)?;
    let (cookie, session, token) = begin(&management, Whose::User(&user), way).await?;
    let principal = user.principal(Proof::Session);
    let item = item(&management, &principal, Some((&session, &token)));
    Ok(([(SET_COOKIE, cookie)], Json(json!({"item": item}))).into_response())
}

/// Begins a session: the cookie to set, the session and its token.
pub(in super::super) async fn begin(
    management: &Management,
    whose: Whose<'_>,
    way: Way,
) -> Result<(http::HeaderValue, SessionDocument, Secret), ApiError> {
    let now = management.fleet.clock.now();
    let remote = way.remote.map(|remote| remote.to_canonical().to_string()).unwrap_or_default();
    let begun = management.people.sessions.create(whose, &remote, now).await?;
    let lasts = now.until(begun.document.expires_at).as_secs();
    let cookie = cookie(&begun.token, lasts, way)?;
    let doer = auth::doer(&begun.document.user, way.remote, StatusCode::OK);
    if let Some(kept) = auth::tell(management, &doer, "session", &begun.document.user).await
        && !kept.written(PATIENCE).await
    {
        debug!("a sign-in is answered before its entry in the audit trail is written");
    }
    Ok((cookie, begun.document, begun.token))
}

fn cookie(token: &Secret, seconds: u64, way: Way) -> Result<http::HeaderValue, ApiError> {
    let is_secure = way.is_encrypted;
    let cookie = Cookie { name: SESSION, value: token, path: "/", seconds, same_site: "Strict", is_secure };
    cookie.header().ok_or_else(|| ApiError::Internal("a session's token does not fit into a header".into()))
}

/// What is told of a sign-in. Without a session there is no token, and no end.
fn item(
    management: &Management,
    principal: &Principal,
    session: Option<(&SessionDocument, &Secret)>,
) -> Value {
    let mut item = auth::shown(principal);
    let expiry: Option<Timestamp> = session.map(|(session, _)| management.people.sessions.expiry(session));
    item["csrf_token"] = session.map(|(_, token)| csrf_token(token.reveal()).reveal().to_owned()).into();
    item["expires_at"] = json!(expiry);
    item
}

async fn show(State(management): State<Management>, caller: Caller, headers: HeaderMap) -> Answer {
    let token = (caller.principal.proof == Proof::Session).then(|| cookies::get(&headers, SESSION)).flatten();
    let item = match token {
        Some(token) => {
            let session = management.people.sessions.find(token, management.fleet.clock.now()).await?;
            let session = session.ok_or(ApiError::SignedOut)?;
            item(&management, &caller.principal, Some((&session, &Secret::new(token))))
        }
        None => item(&management, &caller.principal, None),
    };
    Ok(Json(json!({"item": item})))
}

async fn sign_out(
    State(management): State<Management>,
    caller: Caller,
    way: Way,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if caller.principal.proof != Proof::Session {
        return Err(ApiError::BadRequest("there is no session to end: you sign in with each request".into()));
    }
    if let Some(token) = cookies::get(&headers, SESSION) {
        management.people.sessions.end(token).await?;
    }
    caller.changed("session", caller.name(), None, None);
    let cookie = cookie(&Secret::default(), 0, way)?;
    Ok(([(SET_COOKIE, cookie)], Json(json!({"action": "deleted"}))).into_response())
}

impl From<SessionError> for ApiError {
    fn from(error: SessionError) -> ApiError {
        match error {
            SessionError::Read(error) => error.into(),
            SessionError::Write(error) => error.into(),
            error @ SessionError::Random(_) => ApiError::Internal(Box::new(error)),
        }
    }
}
