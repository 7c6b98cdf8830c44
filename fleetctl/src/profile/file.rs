//! The profile file: named servers and how to sign in there. It may hold secrets, so that it is its owner's alone.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fleet_service::config::value::Secret;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::cli::Environment;
use crate::yaml::{YamlError, read_one, to_text};

/// Read and write for the owner alone.
const PRIVATE: u32 = 0o600;

/// A server that has a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    /// Where the management API is.
    pub(crate) url: String,
    /// The authority that signed its certificate.
    pub(crate) ca: Option<PathBuf>,
    /// Whether any certificate will do.
    pub(crate) insecure_skip_verify: bool,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) api_key: Option<Secret>,
}

/// Every profile, and the one that is meant when none is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Profiles {
    pub(crate) current: Option<String>,
    pub(crate) all: BTreeMap<String, Profile>,
}

/// The file that profiles are kept in.
#[derive(Clone, Debug)]
pub(crate) struct ProfileFile {
    path: PathBuf,
}

/// Why there are no profiles.
#[derive(Debug, Error)]
pub(crate) enum ProfileError {
    #[error("there is no home for profiles: set HOME or XDG_CONFIG_HOME")]
    NoHome,
    #[error("cannot read the profiles in {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("others can read {0}, and it may hold passwords: chmod 600 {0}", path.display())]
    Open { path: PathBuf },
    #[error("the profiles in {} cannot be understood", path.display())]
    Yaml {
        path: PathBuf,
        #[source]
        source: YamlError,
    },
    #[error("the profiles in {}: {field}: {reason}", path.display())]
    Field { path: PathBuf, field: String, reason: &'static str },
    #[error("cannot write the profiles to {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Whether a profile can have this name: it is a word of the command line.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

impl ProfileFile {
    /// The file of the user: `$XDG_CONFIG_HOME/fleet/profiles.yaml`, or `~/.config/…`.
    pub(crate) fn of(environment: &Environment) -> Result<ProfileFile, ProfileError> {
        let set = |name: &str| environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        // A path that is not absolute is to be ignored (XDG Base Directory Specification).
        let base = set("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
        let base = base.or_else(|| set("HOME").map(|home| home.join(".config")));
        Ok(ProfileFile { path: base.ok_or(ProfileError::NoHome)?.join("fleet/profiles.yaml") })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it. A file that is not there has no profiles.
    pub(crate) fn read(&self) -> Result<Profiles, ProfileError> {
        let failed = |source| ProfileError::Read { path: self.path.clone(), source };
        let mode = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata.mode(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Profiles::default()),
            Err(error) => return Err(failed(error)),
        };
        if mode & 0o077 != 0 {
            return Err(ProfileError::Open { path: self.path.clone() });
        }
        let text = std::fs::read_to_string(&self.path).map_err(failed)?;
        let value =
            read_one(&text).map_err(|source| ProfileError::Yaml { path: self.path.clone(), source })?;
        profiles(&value).map_err(|(field, reason)| ProfileError::Field {
            path: self.path.clone(),
            field,
            reason,
        })
    }

    /// Writes it: at any moment the file is either as before or as it shall be.
    pub(crate) fn write(&self, profiles: &Profiles) -> Result<(), ProfileError> {
        self.replace(&format!("# Servers of fleetctl: `fleetctl profile list`.\n{}", text_of(profiles)))
            .map_err(|source| ProfileError::Write { path: self.path.clone(), source })
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let next = self.path.with_extension(format!("yaml.{}", std::process::id()));
        // One that an interrupted run of the same number left could be open to others.
        match std::fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&next)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&next, &self.path)
    }
}

type Wrong = (String, &'static str);

fn profiles(value: &Value) -> Result<Profiles, Wrong> {
    let Some(fields) = object(value, "the file")? else { return Ok(Profiles::default()) };
    let mut profiles = Profiles::default();
    for (field, value) in fields {
        match field.as_str() {
            "current" => profiles.current = text(value, field)?,
            "profiles" => {
                for (name, value) in object(value, field)?.into_iter().flatten() {
                    let place = format!("profiles.{name}");
                    if !is_name(name) {
                        return Err((place, "a name is 1 to 64 letters, digits, - _ ."));
                    }
                    profiles.all.insert(name.clone(), profile(value, &place)?);
                }
            }
            _ => return Err((field.clone(), "there is no such field")),
        }
    }
    Ok(profiles)
}

fn profile(value: &Value, place: &str) -> Result<Profile, Wrong> {
    let mut profile = Profile::default();
    for (field, value) in object(value, place)?.into_iter().flatten() {
        let place = format!("{place}.{field}");
        match field.as_str() {
            "url" => profile.url = text(value, &place)?.unwrap_or_default(),
            "ca" => profile.ca = text(value, &place)?.map(PathBuf::from),
            "insecure_skip_verify" => {
                profile.insecure_skip_verify = value.as_bool().ok_or((place, "true or false is needed"))?;
            }
            "username" => profile.username = text(value, &place)?,
            "password" => profile.password = text(value, &place)?.map(Secret::new),
            "password_file" => profile.password_file = text(value, &place)?.map(PathBuf::from),
            "api_key" => profile.api_key = text(value, &place)?.map(Secret::new),
            _ => return Err((place, "there is no such field")),
        }
    }
    if profile.url.is_empty() {
        return Err((format!("{place}.url"), "it is missing"));
    }
    Ok(profile)
}

fn object<'a>(value: &'a Value, place: &str) -> Result<Option<&'a Map<String, Value>>, Wrong> {
    match value {
        Value::Object(fields) => Ok(Some(fields)),
        Value::Null => Ok(None),
        _ => Err((place.to_owned(), "keys and values are needed")),
    }
}

fn text(value: &Value, place: &str) -> Result<Option<String>, Wrong> {
    match value {
        Value::String(text) => Ok(Some(text.clone())),
        Value::Null => Ok(None),
        // What looks like a number is still a password.
        Value::Number(number) => Ok(Some(number.to_string())),
        _ => Err((place.to_owned(), "a text is needed")),
    }
}

fn text_of(profiles: &Profiles) -> String {
    let all: Map<String, Value> =
        profiles.all.iter().map(|(name, profile)| (name.clone(), value_of(profile))).collect();
    let mut value = json!({"profiles": all});
    if let Some(current) = &profiles.current {
        value["current"] = current.as_str().into();
    }
    to_text(&value)
}

fn value_of(profile: &Profile) -> Value {
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let secret = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.reveal().to_owned());
    let fields = [
        ("ca", path(&profile.ca)),
        ("username", profile.username.clone()),
        ("password", secret(&profile.password)),
        ("password_file", path(&profile.password_file)),
        ("api_key", secret(&profile.api_key)),
    ];
    let mut value = json!({"url": profile.url});
    for (field, text) in fields {
        if let Some(text) = text {
            value[field] = text.into();
        }
    }
    if profile.insecure_skip_verify {
        value["insecure_skip_verify"] = true.into();
    }
    value
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn in_directory(directory: &Path) -> ProfileFile {
        let environment =
            [("XDG_CONFIG_HOME".to_owned(), directory.display().to_string())].into_iter().collect();
        ProfileFile::of(&environment).unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_nobody_elses() {
        let directory = tempfile::tempdir().unwrap();
        let file = in_directory(directory.path());
        assert_eq!(file.read().unwrap(), Profiles::default());
        let mut profiles = Profiles { current: Some("prod".to_owned()), ..Profiles::default() };
        let prod = Profile {
            url: "https://fleet.example.com:5601".to_owned(),
            ca: Some("/etc/fleet/ca.pem".into()),
            username: Some("admin".to_owned()),
            password: Some(Secret::new("12345")),
            ..Profile::default()
        };
        profiles.all.insert("prod".to_owned(), prod);
        let lab = Profile {
            url: "http://127.0.0.1:5601".to_owned(),
            insecure_skip_verify: true,
            api_key: Some(Secret::new("yes")),
            ..Profile::default()
        };
        profiles.all.insert("lab".to_owned(), lab);
        for _ in 0..2 {
            file.write(&profiles).unwrap();
            assert_eq!(file.read().unwrap(), profiles);
            assert_eq!(std::fs::metadata(file.path()).unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(
            std::fs::read_dir(file.path().parent().unwrap()).unwrap().count(),
            1,
            "nothing is left over"
        );
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = file.read().unwrap_err().to_string();
        assert!(error.contains("chmod 600 ") && error.contains("profiles.yaml"), "{error}");
    }

    #[test]
    fn mistakes_name_the_field() {
        let directory = tempfile::tempdir().unwrap();
        let file = in_directory(directory.path());
        file.write(&Profiles::default()).unwrap();
        for (text, words) in [
            ("profiles: {a: {}}", "profiles.a.url: it is missing"),
            ("profiles: {a: {url: x, pasword: y}}", "profiles.a.pasword: there is no such field"),
            ("profiles: {a: {url: [x]}}", "profiles.a.url: a text is needed"),
            ("profiles: {\"a b\": {url: x}}", "profiles.a b: a name is"),
            ("profile: {}", "profile: there is no such field"),
            ("profiles: [", "line"),
        ] {
            std::fs::write(file.path(), text).unwrap();
            let error = crate::error::report(&file.read().unwrap_err());
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn the_file_is_where_the_user_keeps_configuration() {
        let of = |variables: &[(&str, &str)]| {
            let environment =
                variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            ProfileFile::of(&environment).map(|file| file.path).ok()
        };
        assert_eq!(of(&[("HOME", "/h")]), Some(PathBuf::from("/h/.config/fleet/profiles.yaml")));
        assert_eq!(
            of(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/c")]),
            Some(PathBuf::from("/c/fleet/profiles.yaml"))
        );
        assert_eq!(of(&[("XDG_CONFIG_HOME", "c")]), None);
    }
}
