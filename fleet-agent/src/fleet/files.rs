//! What files hold that only root may read, for an agent that is not root.

use std::fs::File;
use std::io::{self, Read};

use serde_json::{Map, Value};

use super::settings::{Ssl, wrong};
use super::{ConnectionSettings, SettingsError};

/// Certificates and keys are no larger.
const LARGEST: u64 = 1024 * 1024;

impl ConnectionSettings {
    /// Puts the content of the files that the settings name in their place. Returns their names.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn take_in_files(&mut self) -> Result<Vec<String>, SettingsError> {
        let mut taken = Vec::new();
        let Ssl { certificate_authorities, certificate, key, key_passphrase, key_passphrase_path, .. } =
            &mut self.ssl;
        for authority in certificate_authorities {
            take_in("certificate_authorities", authority, &mut taken)?;
        }
        take_in("certificate", certificate, &mut taken)?;
        take_in("key", key, &mut taken)?;
        if !key_passphrase_path.is_empty() {
            let mut text = std::mem::take(key_passphrase_path);
            take_in("key_passphrase_path", &mut text, &mut taken)?;
            text.trim_end().clone_into(key_passphrase);
        }
        Ok(taken)
    }
}

/// The same for the section `ssl` of a server.
///
/// # Errors
/// One cannot be read.
pub(crate) fn take_in_files(ssl: &mut Map<String, Value>) -> Result<Vec<String>, SettingsError> {
    let mut taken = Vec::new();
    for name in ["certificate", "key", "certificate_authorities"] {
        let values = match ssl.get_mut(name) {
            Some(Value::Array(values)) => values.iter_mut().collect(),
            Some(value) => vec![value],
            None => Vec::new(),
        };
        for value in values {
            if let Value::String(text) = value {
                take_in(name, text, &mut taken)?;
            }
        }
    }
    if let Some(Value::String(path)) = ssl.remove("key_passphrase_path") {
        let mut text = path;
        take_in("key_passphrase_path", &mut text, &mut taken)?;
        ssl.insert("key_passphrase".to_owned(), text.trim_end().into());
    }
    Ok(taken)
}

fn take_in(name: &str, text: &mut String, taken: &mut Vec<String>) -> Result<(), SettingsError> {
    // A text of PEM is there as it is.
    if text.is_empty() || text.contains("-----") {
        return Ok(());
    }
    let content = read(text)
        .map_err(|error| wrong(&format!("ssl.{name}"), format!("{text} cannot be read: {error}")))?;
    taken.push(std::mem::replace(text, content));
    Ok(())
}

fn read(path: &str) -> io::Result<String> {
    let mut content = String::new();
    File::open(path)?.take(LARGEST).read_to_string(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn contents_take_the_place_of_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.to_string_lossy().into_owned()
        };
        let (ca, key, phrase) = (file("ca", "-----A"), file("key", "-----K"), file("phrase", "secret\n"));
        let ssl = Ssl {
            certificate_authorities: vec![ca.clone(), "-----B".to_owned()],
            key: key.clone(),
            key_passphrase_path: phrase.clone(),
            ..Ssl::default()
        };
        let mut settings = ConnectionSettings { ssl, ..ConnectionSettings::default() };
        assert_eq!(settings.take_in_files().unwrap(), [ca.clone(), key.clone(), phrase]);
        assert_eq!(settings.ssl.certificate_authorities, ["-----A", "-----B"]);
        assert_eq!((settings.ssl.key.as_str(), settings.ssl.key_passphrase.as_str()), ("-----K", "secret"));
        assert_eq!(settings.take_in_files().unwrap(), Vec::<String>::new());

        let Value::Object(mut server) = json!({"key": key, "certificate_authorities": [ca]}) else {
            panic!()
        };
        assert_eq!(take_in_files(&mut server).unwrap().len(), 2);
        assert_eq!(Value::Object(server), json!({"key": "-----K", "certificate_authorities": ["-----A"]}));
        settings.ssl.certificate = "/no/such/file".to_owned();
        assert_eq!(settings.take_in_files().unwrap_err().field, "ssl.certificate");
    }
}
