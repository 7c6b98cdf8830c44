//! Who asks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleet_access::rights::{Principal, Proof};
use fleet_service::config::value::Secret;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::Management;
use super::error::ApiError;

/// The cookie of a session.
pub(super) const COOKIE: &str = "fleet_session";

/// Who asks. `changes`: whether the request could change something.
pub(super) async fn identify(
    management: &Management,
    headers: &HeaderMap,
    _changes: bool,
) -> Result<Principal, ApiError> {
    let (name, password) = basic(headers).ok_or(ApiError::Unauthorized)?;
    let user = management.users.verify(&name, &password, false).await?;
    Ok(user.ok_or(ApiError::Unauthorized)?.principal(Proof::Password))
}

fn basic(headers: &HeaderMap) -> Option<(String, Secret)> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(token.trim()).ok()?).ok()?;
    let (name, password) = pair.split_once(':')?;
    (!name.is_empty() && name.len() <= 256).then(|| (name.to_owned(), Secret::new(password)))
}
