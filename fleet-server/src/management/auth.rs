//! Who asks: by name and password, by API key, or by a session.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleet_access::api_keys::KeyRefusal;
use fleet_access::audit::{Deed, Doer, Kept};
use fleet_access::documents::User;
use fleet_access::key::ApiKey;
use fleet_access::rights::{Principal, Proof};
use fleet_access::sessions::{fits, is_csrf_token};
use fleet_service::config::value::Secret;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::Management;
use super::error::ApiError;
use super::people::cookies;

/// The longest name of somebody.
const MAX_NAME: usize = 256;

/// Who asks. `changes`: whether the request could change something.
pub(super) async fn identify(
    management: &Management,
    headers: &HeaderMap,
    changes: bool,
    remote: Option<IpAddr>,
) -> Result<Principal, ApiError> {
    if let Some(text) = headers.get(AUTHORIZATION) {
        let text = text.to_str().unwrap_or_default();
        let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
        return match scheme.to_ascii_lowercase().as_str() {
            "basic" => {
                let (name, password) = basic(token).ok_or(ApiError::Unauthorized)?;
                let user = by_password(management, &name, &password, remote, false).await?;
                Ok(user.ok_or_else(|| refusal(headers))?.principal(Proof::Password))
            }
            "apikey" => by_key(management, token.trim()).await,
            _ => Err(ApiError::Unauthorized),
        };
    }
    match cookies::get(headers, cookies::SESSION) {
        Some(token) => by_session(management, headers, token, changes).await,
        None => Err(refusal(headers)),
    }
}

/// A browser that is told how to ask for a password asks its user, over the page.
fn refusal(headers: &HeaderMap) -> ApiError {
    if cookies::is_from_page(headers) { ApiError::SignedOut } else { ApiError::Unauthorized }
}

/// Whose name and password these are. Attempts are counted; those that fail for somebody who exists are in the
/// trail. `is_fresh` asks the store; otherwise what is remembered is good enough.
pub(super) async fn by_password(
    management: &Management,
    name: &str,
    password: &Secret,
    remote: Option<IpAddr>,
    is_fresh: bool,
) -> Result<Option<Arc<User>>, ApiError> {
    let people = &management.people;
    let address = remote.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let attempt = people.throttle.begin(name, address).map_err(ApiError::Locked)?;
    let user = people.users.verify(name, password, is_fresh).await?;
    match &user {
        Some(_) => attempt.succeeded(),
        None => {
            attempt.failed();
            // Names that nobody has would fill the trail with what strangers type.
            if people.users.known(name).await?.is_some() {
                let doer = doer(name, remote, StatusCode::UNAUTHORIZED);
                drop(tell(management, &doer, "session", name).await);
            }
        }
    }
    Ok(user)
}

/// Keeps something that changes no object. Where there is no room in the trail, it is done without: whoever only
/// tries must not be able to hold up others.
pub(super) async fn tell(management: &Management, doer: &Doer, kind: &str, object: &str) -> Option<Kept> {
    let deed = Deed { kind: kind.to_owned(), object: object.to_owned(), before: None, after: None };
    match management.people.audit.admit().await {
        Ok(place) => Some(place.keep(doer, vec![deed])),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(user = doer.user, remote = doer.remote, status = doer.status, kind, object, error);
            None
        }
    }
}

/// Who did something, for the trail.
pub(super) fn doer(name: &str, remote: Option<IpAddr>, status: StatusCode) -> Doer {
    let remote = remote.map(|remote| remote.to_canonical().to_string()).unwrap_or_default();
    Doer { user: name.to_owned(), remote, status: status.as_u16() }
}

async fn by_key(management: &Management, token: &str) -> Result<Principal, ApiError> {
    let key = ApiKey::parse(token).map_err(|error| ApiError::BadKey(error.to_string()))?;
    management.people.keys.verify(&key, management.fleet.clock.now()).await.map_err(|error| match error {
        KeyRefusal::Read(error) => error.into(),
        refusal => ApiError::BadKey(refusal.to_string()),
    })
}

async fn by_session(
    management: &Management,
    headers: &HeaderMap,
    token: &str,
    changes: bool,
) -> Result<Principal, ApiError> {
    let people = &management.people;
    let session = people.sessions.find(token, management.fleet.clock.now()).await?;
    let session = session.ok_or(ApiError::SignedOut)?;
    let principal = match &session.stamp {
        Some(_) => {
            let user = people.users.known(&session.user).await?;
            let mut user = user.filter(|user| fits(&session, user));
            if user.is_none() {
                // What is remembered may be older than the session.
                let fresh = people.users.get(&session.user).await?;
                user = fresh.map(|found| Arc::new(found.value)).filter(|user| fits(&session, user));
            }
            user.ok_or(ApiError::SignedOut)?.principal(Proof::Session)
        }
        None => Principal {
            name: session.user.as_str().into(),
            proof: Proof::Session,
            roles: session.roles,
            grants: [].into(),
        },
    };
    if changes {
        let carried = headers.get(cookies::CSRF).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !is_csrf_token(token, carried) || cookies::is_from_elsewhere(headers) {
            return Err(ApiError::Forbidden(format!(
                "[request header.{}]: a change in a session needs the csrf_token that GET /api/fleet/session tells",
                cookies::CSRF
            )));
        }
    }
    Ok(principal)
}

/// What is said of somebody who is signed in.
pub(super) fn shown(principal: &Principal) -> serde_json::Value {
    json!({"username": &*principal.name, "roles": principal.roles, "grants": principal.grants})
}

fn basic(token: &str) -> Option<(String, Secret)> {
    let pair = String::from_utf8(STANDARD.decode(token.trim()).ok()?).ok()?;
    let (name, password) = pair.split_once(':')?;
    (!name.is_empty() && name.len() <= MAX_NAME).then(|| (name.to_owned(), Secret::new(password)))
}
