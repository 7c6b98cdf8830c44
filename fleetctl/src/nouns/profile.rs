//! `fleetctl login` and `fleetctl profile`

use std::path::PathBuf;

use fleet_service::config::value::Secret;
use hyper::Method;
use serde_json::{Value, json};

use super::World;
use super::print::table;
use super::session::Session;
use crate::cli::nouns::{AddProfile, Login, ProfileVerb};
use crate::context::{Failure, Outcome};
use crate::error::io_words;
use crate::management::{Body, Credentials};
use crate::profile::{Profile, ProfileFile, Profiles, Server, is_name, read_secret};
use crate::terminal;

/// `login`
pub(super) async fn login(world: &World<'_>, flags: &Login) -> Outcome {
    let file = ProfileFile::of(world.environment)?;
    let mut profiles = file.read()?;
    let name = match &flags.name {
        Some(name) => checked(name)?.to_owned(),
        None => name_of(&flags.url),
    };
    let credentials = credentials(world, flags).await?;
    let server = Server {
        url: flags.url.clone(),
        ca: ca(world)?,
        insecure_skip_verify: flags.insecure_skip_verify,
        credentials,
    };
    let session = Session::with(world.console, world.settings, world.environment, &server).await?;
    let version = version(&session).await?;
    // Anybody may ask for the version; this only those who have signed in.
    match session.client.get("agents/setup").await {
        // Who may do little has signed in all the same.
        Err(error) if error.status() != Some(403) => return Err(error.into()),
        _ => {}
    }
    let credentials =
        if flags.create_api_key { own_key(&session, &server.credentials).await? } else { server.credentials };
    let mut profile = Profile {
        url: server.url,
        ca: server.ca,
        insecure_skip_verify: server.insecure_skip_verify,
        ..Profile::default()
    };
    match credentials {
        Credentials::ApiKey(key) => profile.api_key = Some(key),
        Credentials::Password { username, password } => {
            profile.username = Some(username);
            profile.password = Some(password);
        }
        Credentials::Nobody => {}
    }
    profiles.all.insert(name.clone(), profile);
    profiles.current = Some(name.clone());
    file.write(&profiles)?;
    world.console.line(format_args!(
        "Signed in at {} (version {version}): profile {name} in {}",
        flags.url,
        file.path().display()
    ));
    Ok(0)
}

async fn credentials(world: &World<'_>, flags: &Login) -> Result<Credentials, Failure> {
    if let Some(path) = &flags.api_key_file {
        return Ok(Credentials::ApiKey(read_secret("--api-key-file", path)?));
    }
    let given = world.environment.get("FLEET_PASSWORD").filter(|password| !password.is_empty());
    let password = match (&flags.password_file, given) {
        (Some(path), _) => read_secret("--password-file", path)?,
        (None, Some(password)) => Secret::new(password.as_str()),
        (None, None) if world.console.is_interactive() => {
            terminal::ask_secret(world.console, &format!("Password of {}: ", flags.user)).await?
        }
        (None, None) => {
            return Err(Failure::new(
                "Nobody can be asked for the password: give --password-file, or set FLEET_PASSWORD",
            ));
        }
    };
    Ok(Credentials::Password { username: flags.user.clone(), password })
}

async fn version(session: &Session) -> Result<String, Failure> {
    let reply = session.client.raw(Method::GET, "api/status", Body::Nothing).await?;
    let status: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    match status.pointer("/version/number").and_then(Value::as_str) {
        Some(version) => Ok(version.to_owned()),
        None => Err(Failure::new(format!(
            "{} is no management API of a fleet-server: it tells no version",
            session.client.url()
        ))),
    }
}

/// A key with the rights of whoever has signed in.
async fn own_key(session: &Session, credentials: &Credentials) -> Result<Credentials, Failure> {
    let Credentials::Password { username, .. } = credentials else { return Ok(credentials.clone()) };
    // Without roles it may do what its owner may.
    let answer = session.client.post("api_keys", &json!({"name": format!("fleetctl of {username}")})).await?;
    match answer.get("api_key").and_then(Value::as_str) {
        Some(key) => Ok(Credentials::ApiKey(Secret::new(key))),
        None => Err(Failure::new("the server made an API key, but does not tell it")),
    }
}

/// `profile`
pub(super) fn run(world: &World<'_>, verb: &ProfileVerb) -> Outcome {
    let file = ProfileFile::of(world.environment)?;
    let mut profiles = file.read()?;
    match verb {
        ProfileVerb::List => {
            world.console.data(table(&rows(&profiles)).as_bytes());
            return Ok(0);
        }
        ProfileVerb::Add(flags) => {
            let name = checked(&flags.name)?.to_owned();
            profiles.all.insert(name.clone(), added(world, flags)?);
            profiles.current.get_or_insert(name);
        }
        ProfileVerb::Use { name } => {
            known(&profiles, name)?;
            profiles.current = Some(name.clone());
        }
        ProfileVerb::Remove { name } => {
            known(&profiles, name)?;
            profiles.all.remove(name);
            profiles.current = profiles.current.filter(|current| current != name);
        }
    }
    file.write(&profiles)?;
    Ok(0)
}

fn added(world: &World<'_>, flags: &AddProfile) -> Result<Profile, Failure> {
    let api_key = match &flags.api_key_file {
        Some(path) => Some(read_secret("--api-key-file", path)?),
        None => None,
    };
    Ok(Profile {
        url: flags.url.clone(),
        ca: ca(world)?,
        insecure_skip_verify: flags.insecure_skip_verify,
        username: flags.user.clone(),
        password: None,
        password_file: flags.password_file.as_ref().map(absolute).transpose()?,
        api_key,
    })
}

/// The file of `--ca-file`: a profile is used from any directory.
fn ca(world: &World<'_>) -> Result<Option<PathBuf>, Failure> {
    world.settings.tls.ca.as_ref().map(absolute).transpose()
}

fn absolute(path: &PathBuf) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::new(format!("Cannot find {}: {}", path.display(), io_words(&error))))
}

fn checked(name: &str) -> Result<&str, Failure> {
    if is_name(name) {
        return Ok(name);
    }
    Err(Failure {
        message: format!("Error: {name:?} cannot be the name of a profile: 1 to 64 letters, digits, - _ ."),
        code: 2,
    })
}

fn known(profiles: &Profiles, name: &str) -> Result<(), Failure> {
    if profiles.all.contains_key(name) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "there is no profile {name:?}: `fleetctl profile list` shows those that there are"
    )))
}

/// The name of a server's host, as far as it can be one of a profile.
fn name_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = crate::client::split_port(authority).map(|(host, _)| host).unwrap_or_default();
    let name: String = host.chars().map(|c| if c == ':' { '-' } else { c }).take(64).collect();
    if is_name(&name) { name } else { "default".to_owned() }
}

fn rows(profiles: &Profiles) -> Vec<Vec<String>> {
    let mut rows = vec![["", "NAME", "SERVER", "SIGNS IN AS"].map(str::to_owned).to_vec()];
    for (name, profile) in &profiles.all {
        let is_current = profiles.current.as_ref() == Some(name);
        let who = match (&profile.api_key, &profile.username) {
            (Some(_), _) => "API key".to_owned(),
            (None, Some(user)) => user.clone(),
            (None, None) => "-".to_owned(),
        };
        rows.push(vec![if is_current { "*" } else { "" }.to_owned(), name.clone(), profile.url.clone(), who]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_called_like_their_servers() {
        for (url, name) in [
            ("https://fleet.example.com:5601", "fleet.example.com"),
            ("http://127.0.0.1:5601/base", "127.0.0.1"),
            ("https://[fd00::1]:5601", "fd00--1"),
            ("https://[::1]:5601", "default"),
            ("nonsense here", "default"),
        ] {
            assert_eq!(name_of(url), name, "{url}");
        }
    }
}
