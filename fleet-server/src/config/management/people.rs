//! `management.sessions`, `management.audit`, `management.oidc`: how people sign in, and what is kept of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use fleet_access::rights::Role;
use fleet_service::config::document::{Scalar, Section, TextFile, read};
use fleet_service::config::value::{Expected, Secret};

/// The path of the route that a provider sends people back to.
pub const CALLBACK: &str = "/api/fleet/oidc/callback";

const HOUR: u64 = 3600;

/// How long people stay signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// Without doing anything.
    pub idle_timeout: Duration,
    /// At most.
    pub lifetime: Duration,
}

/// How much of what people do is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The most entries.
    pub max_entries: usize,
    /// The oldest.
    pub max_age: Duration,
}

/// An identity provider that vouches for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oidc {
    /// Its URL, below which its description is found.
    pub issuer: String,
    /// Who we are to it.
    pub client_id: String,
    /// What proves that; a public client has none.
    pub client_secret: Option<Secret>,
    /// Where it sends people back to: our address as they see it, with [`CALLBACK`].
    pub redirect_uri: String,
    /// What it is asked for, beside `openid`.
    pub scopes: Vec<String>,
    /// The claim that is somebody's name.
    pub name_claim: String,
    /// The claim that holds their groups.
    pub roles_claim: String,
    /// Which roles a group gives.
    pub roles: BTreeMap<String, BTreeSet<Role>>,
    /// PEM file of the authorities to trust; `None`: the system's.
    pub ca: Option<PathBuf>,
}

pub(super) fn read_sessions(section: &Section<'_>) -> Sessions {
    let duration = |key: &str, default| {
        let value = crate::config::duration_or(section, key, default);
        let least = Duration::from_secs(60);
        if value < least {
            section.mistake(key, format!("{} must be at least 1m", section.full_key(key)));
        }
        value.max(least)
    };
    Sessions {
        idle_timeout: duration("idle_timeout", Duration::from_secs(8 * HOUR)),
        lifetime: duration("lifetime", Duration::from_secs(168 * HOUR)),
    }
}

pub(super) fn read_audit(section: &Section<'_>) -> Audit {
    Audit {
        max_entries: section.get("max_entries", 100_000, read::integer(100..=10_000_000)),
        max_age: crate::config::duration_or(section, "max_age", Duration::from_secs(8760 * HOUR)),
    }
}

pub(super) fn read_oidc(section: &Section<'_>) -> Option<Oidc> {
    let required = ["issuer", "client_id", "redirect_uri"];
    let issuer = section.optional("issuer", url);
    let client_id = section.optional("client_id", read::text);
    let client_secret = section.secret_or_file("client_secret", "client_secret_path", TextFile::Line);
    let redirect_uri = section.optional("redirect_uri", redirect);
    let claims = section.section("claims");
    let roles = read_roles(&section.section("roles"));
    let default = ["profile", "email"].map(str::to_owned).to_vec();
    let oidc = (
        section.list("scopes", default, word),
        claims.get("name", "sub".to_owned(), read::text),
        claims.get("roles", "groups".to_owned(), read::text),
        section.optional("ca", read::path),
    );
    if !section.is_present() {
        return None;
    }
    if let Some(path) = &oidc.3
        && let Err(error) = std::fs::File::open(path)
    {
        let text = format!("{}: {} cannot be read: {error}", section.full_key("ca"), path.display());
        section.mistake("ca", text);
    }
    for key in required.into_iter().filter(|key| !section.has(key)) {
        section.mistake(key, format!("{} is missing", section.full_key(key)));
    }
    if roles.is_empty() {
        let text = format!("{} is missing: without it nobody gets a role", section.full_key("roles"));
        section.mistake("roles", text);
    }
    let (scopes, name_claim, roles_claim, ca) = oidc;
    Some(Oidc {
        issuer: issuer?,
        client_id: client_id?,
        client_secret,
        redirect_uri: redirect_uri?,
        scopes,
        name_claim,
        roles_claim,
        roles,
        ca,
    })
}

fn read_roles(section: &Section<'_>) -> BTreeMap<String, BTreeSet<Role>> {
    let mut roles: BTreeMap<String, BTreeSet<Role>> = BTreeMap::new();
    for (key, role) in [("admin", Role::Admin), ("editor", Role::Editor), ("viewer", Role::Viewer)] {
        for group in section.list(key, Vec::new(), read::text) {
            roles.entry(group).or_default().insert(role);
        }
    }
    roles
}

fn word(scalar: &Scalar) -> Result<String, Expected> {
    let text = scalar.text().trim();
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err(Expected::new("one word"));
    }
    Ok(text.to_owned())
}

/// A URL over TLS; without it where nobody between can listen.
fn url(scalar: &Scalar) -> Result<String, Expected> {
    let expected = || Expected::new("a URL with https://, or http:// on a loopback address, without a query");
    let text = scalar.text().trim();
    let uri: http::Uri = text.parse().map_err(|_| expected())?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let is_safe = match uri.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => is_loopback,
        _ => false,
    };
    if is_safe && uri.query().is_none() { Ok(text.to_owned()) } else { Err(expected()) }
}

fn redirect(scalar: &Scalar) -> Result<String, Expected> {
    let text = url(scalar)?;
    if text.ends_with(CALLBACK) {
        return Ok(text);
    }
    Err(Expected::new(format!("a URL that ends in {CALLBACK}")))
}
