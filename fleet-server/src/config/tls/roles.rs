//! What a listener and a client have each for themselves.

use fleet_service::config::document::{Scalar, Section, read};
use fleet_service::config::value::Expected;
use fleet_service::tls::{self, ClientAuthentication};

use super::{Common, Identity, Verification, identity, read_common};

/// How a listener does TLS.
#[derive(Clone, Debug)]
pub enum ListenerTls {
    /// With a certificate that the server makes itself.
    Own,
    /// With the certificate that is given.
    Given(Box<ServerTls>),
    /// Not at all.
    Off,
}

/// A listener's certificate, and whom it lets in.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// Who we are.
    pub identity: Identity,
    /// Whether the other side must show a certificate.
    pub client_authentication: ClientAuthentication,
    /// What both sides have.
    pub common: Common,
}

impl ServerTls {
    /// The same, as listeners take it, with these protocols offered, the preferred one first.
    #[must_use]
    pub fn settings(&self, alpn: Vec<Vec<u8>>) -> tls::ServerTls {
        let Common { oldest, newest, cipher_suites, curves, authorities, .. } = &self.common;
        tls::ServerTls {
            certificate: self.identity.certificate.clone(),
            key: self.identity.key.clone(),
            key_passphrase: self.identity.passphrase.clone(),
            client_authorities: authorities.clone().unwrap_or_default(),
            client_authentication: self.client_authentication,
            versions: [oldest, newest].map(|version| version.name().to_owned()).to_vec(),
            cipher_suites: cipher_suites.iter().map(|suite| suite.0.to_string()).collect(),
            curves: curves.iter().map(|curve| curve.name().to_owned()).collect(),
            alpn,
        }
    }
}

/// A client's certificate, and whom it trusts.
#[derive(Clone, Debug)]
pub struct ClientTls {
    /// Who we are; `None`: nobody.
    pub identity: Option<Identity>,
    /// SHA-256 of a certificate that is trusted as an authority when it is in the chain.
    pub trusted_fingerprint: Option<[u8; 32]>,
    /// Whether the other side may negotiate again. Our TLS never does.
    pub renegotiation: Renegotiation,
    /// What both sides have.
    pub common: Common,
}

/// How often the other side may negotiate again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renegotiation {
    /// Not at all.
    Never,
    /// Once in a connection.
    Once,
    /// Any number of times.
    Freely,
}

/// Reads a listener's section.
pub(in crate::config) fn read_listener(section: &Section<'_>) -> ListenerTls {
    let enabled = section.get("enabled", true, read::boolean);
    let identity = identity(section);
    let common = read_common(section);
    let default = match common.authorities {
        Some(_) => ClientAuthentication::Required,
        None => ClientAuthentication::None,
    };
    let client_authentication = section.get("client_authentication", default, client_authentication);
    if !section.is_present() {
        return ListenerTls::Own;
    }
    if !enabled {
        let text = format!(
            "{} is false: what is sent, keys and policies among it, can be read on the way",
            section.full_key("enabled")
        );
        section.warning("enabled", text);
        return ListenerTls::Off;
    }
    match identity {
        Some(identity) => {
            let server = ServerTls { identity, client_authentication, common };
            check(section, &server);
            ListenerTls::Given(Box::new(server))
        }
        None => {
            // Half a certificate was told already.
            if !section.has("certificate") && !section.has("key") {
                let (certificate, key) = (section.full_key("certificate"), section.full_key("key"));
                let text = format!(
                    "{certificate} and {key} are missing: give both, or leave out the section, and the server \
                     makes a certificate itself"
                );
                section.mistake("certificate", text);
            }
            ListenerTls::Own
        }
    }
}

/// Tells what is not done, and what is wrong with the material itself.
fn check(section: &Section<'_>, server: &ServerTls) {
    let asks = server.client_authentication != ClientAuthentication::None;
    let common = &server.common;
    let refused = [
        ("verification_mode", asks && common.verification == Verification::None),
        ("ca_sha256", !common.ca_sha256.is_empty()),
        ("disable_legacy_pem_support", common.disable_legacy_pem),
    ];
    for (key, is_refused) in refused {
        if is_refused {
            let text = format!("{} cannot be set to this for a listener: remove it", section.full_key(key));
            section.mistake(key, text);
        }
    }
    if let Err(error) = server.settings(Vec::new()).load() {
        // The error begins with the setting that it is about.
        let text = error.to_string();
        let setting = text.split([' ', ':']).next().unwrap_or_default();
        section.error(if section.has(setting) { setting } else { "certificate" }, &error);
    }
}

/// Reads a client's section; `None` if it is not there, or off.
pub(in crate::config) fn read_client(section: &Section<'_>) -> Option<ClientTls> {
    let enabled = section.get("enabled", true, read::boolean);
    let client = ClientTls {
        identity: identity(section),
        trusted_fingerprint: section.optional("ca_trusted_fingerprint", fingerprint),
        renegotiation: section.get("renegotiation", Renegotiation::Never, renegotiation),
        common: read_common(section),
    };
    if client.renegotiation != Renegotiation::Never {
        let text = format!("{} has no effect: it is never allowed", section.full_key("renegotiation"));
        section.warning("renegotiation", text);
    }
    (section.is_present() && enabled).then_some(client)
}

fn client_authentication(scalar: &Scalar) -> Result<ClientAuthentication, Expected> {
    match scalar.text().trim().to_ascii_lowercase().as_str() {
        "none" | "0" => Ok(ClientAuthentication::None),
        "optional" | "3" => Ok(ClientAuthentication::Optional),
        "required" | "4" => Ok(ClientAuthentication::Required),
        _ => Err(Expected::new("none, optional or required")),
    }
}

fn renegotiation(scalar: &Scalar) -> Result<Renegotiation, Expected> {
    let words =
        [("never", Renegotiation::Never), ("once", Renegotiation::Once), ("freely", Renegotiation::Freely)];
    read::one_of(&words)(scalar)
}

/// Hexadecimal, also with colons as OpenSSL shows it.
fn fingerprint(scalar: &Scalar) -> Result<[u8; 32], Expected> {
    let expected = || Expected::new("the SHA-256 of a certificate in hexadecimal (64 digits)");
    let digits = scalar.text().trim().replace(':', "");
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(expected());
    }
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        let pair = digits.get(2 * index..2 * index + 2).ok_or_else(expected)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| expected())?;
    }
    Ok(bytes)
}
