//! Which server a run is about, and who asks there: flags, then variables, then profiles.
//!
//! What a profile knows is for its own server alone: `--server` never sends a password that was kept for another.

use std::io;
use std::path::{Path, PathBuf};

use fleet_service::config::value::Secret;
use thiserror::Error;

use super::file::{Profile, ProfileError, ProfileFile};
use crate::cli::Environment;
use crate::management::Credentials;

/// The largest file with a password or key in it, in bytes.
const LARGEST_SECRET: u64 = 64 * 1024;

/// What the command line says about the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerFlags {
    pub(crate) server: Option<String>,
    pub(crate) profile: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) api_key_file: Option<PathBuf>,
    pub(crate) insecure_skip_verify: bool,
}

/// A server, and who asks there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) insecure_skip_verify: bool,
    pub(crate) credentials: Credentials,
}

/// Why it is not known which server is meant, or who asks.
#[derive(Debug, Error)]
pub(crate) enum SelectError {
    #[error(transparent)]
    Profiles(#[from] ProfileError),
    #[error(
        "no server is named: give --server URL or FLEET_SERVER_URL, or keep one with `fleetctl login URL` \
         (fleet-server tells its address and password at its first start)"
    )]
    NoServer,
    #[error("--server and --profile name two servers: give one of them")]
    Both,
    #[error("there is no profile {name:?}: `fleetctl profile list` shows those that there are")]
    NoProfile { name: String },
    #[error("{place} names the user {user:?} without a password: give --password-file or FLEET_PASSWORD")]
    NoPassword { place: &'static str, user: String },
    #[error("a password without a user: give --user or FLEET_USERNAME")]
    NoUser,
    #[error("cannot read {what} {}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{what} {} holds no text of one line", path.display())]
    Empty { what: &'static str, path: PathBuf },
}

/// The server that is meant.
pub(crate) fn select(flags: &ServerFlags, environment: &Environment) -> Result<Server, SelectError> {
    if flags.server.is_some() && flags.profile.is_some() {
        return Err(SelectError::Both);
    }
    let mut profile = base(flags, environment)?;
    if let Some(ca) = variable(environment, "FLEET_SERVER_CA") {
        profile.ca = Some(PathBuf::from(ca));
    }
    let credentials = match explicit(flags, environment)? {
        Some(credentials) => credentials,
        None => kept(&profile)?,
    };
    Ok(Server {
        url: profile.url,
        ca: profile.ca,
        insecure_skip_verify: profile.insecure_skip_verify || flags.insecure_skip_verify,
        credentials,
    })
}

fn variable<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
    environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// The server, with what its profile knows.
fn base(flags: &ServerFlags, environment: &Environment) -> Result<Profile, SelectError> {
    let bare = |url: &str| Profile { url: url.to_owned(), ..Profile::default() };
    if let Some(url) = &flags.server {
        return Ok(bare(url));
    }
    let named = match &flags.profile {
        Some(name) => Some(name.clone()),
        None => match variable(environment, "FLEET_SERVER_URL") {
            Some(url) => return Ok(bare(url)),
            None => variable(environment, "FLEET_PROFILE").map(str::to_owned),
        },
    };
    let mut profiles = ProfileFile::of(environment)?.read()?;
    let name = named.or(profiles.current).ok_or(SelectError::NoServer)?;
    profiles.all.remove(&name).ok_or(SelectError::NoProfile { name })
}

/// Who asks, as far as flags and variables say.
fn explicit(flags: &ServerFlags, environment: &Environment) -> Result<Option<Credentials>, SelectError> {
    if let Some(path) = &flags.api_key_file {
        return Ok(Some(Credentials::ApiKey(read_secret("--api-key-file", path)?)));
    }
    let password = match &flags.password_file {
        Some(path) => Some(read_secret("--password-file", path)?),
        None => variable(environment, "FLEET_PASSWORD").map(Secret::new),
    };
    let user = flags.user.as_deref().or_else(|| variable(environment, "FLEET_USERNAME"));
    // A user who is named on the command line goes before a key that the environment has.
    if flags.user.is_none()
        && flags.password_file.is_none()
        && let Some(key) = variable(environment, "FLEET_API_KEY")
    {
        return Ok(Some(Credentials::ApiKey(Secret::new(key))));
    }
    match (user, password) {
        (None, None) => Ok(None),
        (Some(user), Some(password)) => {
            Ok(Some(Credentials::Password { username: user.to_owned(), password }))
        }
        (Some(user), None) => {
            let place = if flags.user.is_some() { "--user" } else { "FLEET_USERNAME" };
            Err(SelectError::NoPassword { place, user: user.to_owned() })
        }
        (None, Some(_)) => Err(SelectError::NoUser),
    }
}

/// Who asks, as the profile says.
fn kept(profile: &Profile) -> Result<Credentials, SelectError> {
    if let Some(key) = &profile.api_key {
        return Ok(Credentials::ApiKey(key.clone()));
    }
    let password = match &profile.password_file {
        Some(path) => Some(read_secret("the password file", path)?),
        None => profile.password.clone(),
    };
    match (&profile.username, password) {
        (Some(username), Some(password)) => {
            Ok(Credentials::Password { username: username.clone(), password })
        }
        (Some(user), None) => Err(SelectError::NoPassword { place: "the profile", user: user.clone() }),
        (None, Some(_)) => Err(SelectError::NoUser),
        (None, None) => Ok(Credentials::Nobody),
    }
}

/// A secret of one line from a file; `-` is standard input.
pub(crate) fn read_secret(what: &'static str, path: &Path) -> Result<Secret, SelectError> {
    use std::io::Read;
    let failed = |source| SelectError::File { what, path: path.to_owned(), source };
    let mut text = String::new();
    if path == Path::new("-") {
        io::stdin().take(LARGEST_SECRET).read_to_string(&mut text).map_err(failed)?;
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(LARGEST_SECRET).read_to_string(&mut text).map_err(failed)?;
    }
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() || secret.contains('\n') {
        return Err(SelectError::Empty { what, path: path.to_owned() });
    }
    Ok(Secret::new(secret))
}

#[cfg(test)]
mod tests {
    use super::super::file::Profiles;
    use super::*;

    struct World {
        directory: tempfile::TempDir,
        environment: Environment,
    }

    impl World {
        fn new(variables: &[(&str, &str)]) -> World {
            let directory = tempfile::tempdir().unwrap();
            let mut environment: Environment =
                variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            environment.insert("XDG_CONFIG_HOME".to_owned(), directory.path().display().to_string());
            let mut profiles = Profiles { current: Some("prod".to_owned()), ..Profiles::default() };
            let prod = Profile {
                url: "https://prod".to_owned(),
                api_key: Some(Secret::new("prod-key")),
                ..Profile::default()
            };
            let lab =
                Profile { url: "http://lab".to_owned(), username: Some("me".to_owned()), ..prod.clone() };
            let lab = Profile { api_key: None, password: Some(Secret::new("lab-password")), ..lab };
            profiles.all.insert("prod".to_owned(), prod);
            profiles.all.insert("lab".to_owned(), lab);
            ProfileFile::of(&environment).unwrap().write(&profiles).unwrap();
            World { directory, environment }
        }

        fn select(&self, flags: &ServerFlags) -> Result<(String, Credentials), String> {
            select(flags, &self.environment)
                .map(|server| (server.url, server.credentials))
                .map_err(|error| error.to_string())
        }

        fn secret(&self, text: &str) -> PathBuf {
            let path = self.directory.path().join("secret");
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    fn key(text: &str) -> Credentials {
        Credentials::ApiKey(Secret::new(text))
    }

    fn person(username: &str, password: &str) -> Credentials {
        Credentials::Password { username: username.to_owned(), password: Secret::new(password) }
    }

    fn at(server: &str) -> ServerFlags {
        ServerFlags { server: Some(server.to_owned()), ..ServerFlags::default() }
    }

    fn of(profile: &str) -> ServerFlags {
        ServerFlags { profile: Some(profile.to_owned()), ..ServerFlags::default() }
    }

    #[test]
    fn the_nearest_word_counts() {
        let world = World::new(&[]);
        assert_eq!(world.select(&ServerFlags::default()), Ok(("https://prod".to_owned(), key("prod-key"))));
        assert_eq!(world.select(&of("lab")), Ok(("http://lab".to_owned(), person("me", "lab-password"))));
        let world = World::new(&[("FLEET_PROFILE", "lab")]);
        assert_eq!(world.select(&ServerFlags::default()).unwrap().0, "http://lab");
        assert_eq!(world.select(&of("prod")).unwrap().0, "https://prod");
        let world = World::new(&[("FLEET_SERVER_URL", "http://env"), ("FLEET_PROFILE", "lab")]);
        assert_eq!(world.select(&ServerFlags::default()).unwrap().0, "http://env");
        assert_eq!(world.select(&of("lab")).unwrap().0, "http://lab");
        let world = World::new(&[("FLEET_API_KEY", "env-key")]);
        assert_eq!(world.select(&ServerFlags::default()).unwrap().1, key("env-key"));
        let flags = ServerFlags {
            user: Some("you".to_owned()),
            password_file: Some(world.secret("file-password\n")),
            ..ServerFlags::default()
        };
        assert_eq!(world.select(&flags).unwrap().1, person("you", "file-password"));
    }

    #[test]
    fn a_password_is_for_the_server_that_it_was_kept_for() {
        let world = World::new(&[]);
        assert_eq!(world.select(&at("https://prod")), Ok(("https://prod".to_owned(), Credentials::Nobody)));
        assert_eq!(world.select(&at("http://evil")), Ok(("http://evil".to_owned(), Credentials::Nobody)));
    }

    #[test]
    fn what_is_missing_is_named() {
        let world = World::new(&[]);
        let both = ServerFlags { profile: Some("lab".to_owned()), ..at("http://a") };
        assert!(world.select(&both).unwrap_err().contains("--server and --profile"));
        assert!(world.select(&of("none")).unwrap_err().contains("there is no profile \"none\""));
        let user = ServerFlags { user: Some("me".to_owned()), ..at("http://a") };
        assert!(world.select(&user).unwrap_err().contains("--user names the user \"me\" without a password"));
        let empty = ServerFlags { api_key_file: Some(world.secret("\n")), ..at("http://a") };
        assert!(world.select(&empty).unwrap_err().contains("holds no text"));
        let nothing = Environment::from([("HOME".to_owned(), "/nonexistent".to_owned())]);
        let error = select(&ServerFlags::default(), &nothing).unwrap_err();
        assert!(matches!(error, SelectError::NoServer), "{error}");
    }
}
