//! `ssl`: TLS for those who connect.

use fleet_service::config::value::Secret;
use fleet_service::tls::{ClientAuthentication, Passphrase, Pem, ServerTls};

use crate::config::{Config, Mistake};

/// Reads `ssl`; nothing if there is none, or it is switched off.
pub(in crate::input) fn read(config: &Config) -> Result<Option<ServerTls>, Mistake> {
    let ssl = config.section("ssl")?;
    if ssl.map().is_empty() || !ssl.boolean("enabled", true)? {
        config.allow(&["ssl"]);
        return Ok(None);
    }
    let pem = |key: &str| -> Result<Pem, Mistake> {
        let text = ssl.text(key)?.filter(|text| !text.is_empty());
        text.map(|text| Pem::from_setting(&text))
            .ok_or_else(|| ssl.mistake(key, "is missing: give a file, or the text in PEM form"))
    };
    let mut tls = ServerTls::new(pem("certificate")?, pem("key")?);
    tls.key_passphrase = match (ssl.text("key_passphrase")?, ssl.text("key_passphrase_path")?) {
        (Some(secret), _) if !secret.is_empty() => Some(Passphrase::Inline(Secret::new(secret))),
        (_, Some(path)) if !path.is_empty() => Some(Passphrase::File(path.into())),
        _ => None,
    };
    tls.client_authorities =
        ssl.texts("certificate_authorities")?.iter().map(|text| Pem::from_setting(text)).collect();
    tls.client_authentication = match ssl.text("client_authentication")?.as_deref() {
        None if tls.client_authorities.is_empty() => ClientAuthentication::None,
        // Whoever names authorities wants them to be asked for.
        None | Some("required") => ClientAuthentication::Required,
        Some("none") => ClientAuthentication::None,
        Some("optional") => ClientAuthentication::Optional,
        Some(_) => return Err(ssl.mistake("client_authentication", "must be none, optional or required")),
    };
    tls.versions = ssl.texts("supported_protocols")?;
    tls.cipher_suites = ssl.texts("cipher_suites")?;
    tls.curves = ssl.texts("curve_types")?;
    // Of a server's certificates nothing is verified beyond what client_authentication says.
    ssl.allow(&["verification_mode", "renegotiation"]);
    let unknown = ssl.unknown();
    if let Some(name) = unknown.first() {
        return Err(Mistake::new(name.clone(), "is not known for servers: take it out"));
    }
    config.allow(&["ssl"]);
    Ok(Some(tls))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tls(settings: &serde_json::Value) -> Result<Option<ServerTls>, Mistake> {
        read(&Config::new(settings.as_object().unwrap()))
    }

    #[test]
    fn authorities_mean_that_clients_are_asked() {
        let mode = |extra: serde_json::Value| {
            let mut ssl = json!({"certificate": "/c.pem", "key": "/k.pem"});
            ssl.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            tls(&json!({"ssl": ssl})).unwrap().unwrap().client_authentication
        };
        assert_eq!(mode(json!({})), ClientAuthentication::None);
        assert_eq!(mode(json!({"certificate_authorities": ["/a.pem"]})), ClientAuthentication::Required);
        let optional = json!({"certificate_authorities": ["/a.pem"], "client_authentication": "optional"});
        assert_eq!(mode(optional), ClientAuthentication::Optional);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(tls(&json!({})).unwrap().is_none());
        assert!(tls(&json!({"ssl": {"enabled": false, "key": "x"}})).unwrap().is_none());
        let error = |ssl| tls(&json!({ "ssl": ssl })).unwrap_err().to_string();
        assert!(error(json!({"key": "/k.pem"})).starts_with("ssl.certificate: is missing"));
        let wrong = json!({"certificate": "/c", "key": "/k", "client_authentication": "maybe"});
        assert!(error(wrong).starts_with("ssl.client_authentication: must be"));
    }
}
