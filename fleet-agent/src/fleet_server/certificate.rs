//! What a server proves itself with when it was given nothing for that, and its successor before it is over.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::machine::Machine;

/// A certificate of a server holds so long without another word. Half of that is left when it is renewed.
pub const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// Its authority holds so long: other agents have it as a file, which nobody renews for them.
const OF_AUTHORITY: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
/// Clocks of other machines may be behind by so much.
const BEHIND: Duration = Duration::from_secs(24 * 3600);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[error(
    "a certificate for the Fleet Server cannot be made: give --fleet-server-cert and --fleet-server-cert-key"
)]
pub struct CertificateError(#[source] rcgen::Error);

/// Who certifies a server: what is needed to do it again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// Its key, in PEM form.
    key: String,
    /// By which names agents know the server, beside those of its machine.
    names: Vec<String>,
    /// When the certificate that the server has now is over, in seconds since 1970.
    expires: i64,
    /// When the authority was made: no certificate is needed for a time before, and each holds from then on.
    #[serde(default)]
    since: Option<i64>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Authority { names, expires, .. } = self;
        f.debug_struct("Authority").field("names", names).field("expires", expires).finish_non_exhaustive()
    }
}

/// A server's certificate, as PEM texts.
#[derive(Clone)]
pub struct Certified {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl std::fmt::Debug for Certified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certified").finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes an authority for a server of these names. Returns its certificate, too, for whoever is to trust it.
    ///
    /// # Errors
    /// The system makes no key.
    pub fn make(names: Vec<String>) -> Result<(Authority, String), CertificateError> {
        let key = key()?;
        let mut params = of_authority();
        let now = OffsetDateTime::now_utc();
        hold(&mut params, now, now + OF_AUTHORITY);
        let certificate = params.self_signed(&key).map_err(CertificateError)?.pem();
        let since = Some(now.unix_timestamp());
        Ok((Authority { key: key.serialize_pem(), names, expires: 0, since }, certificate))
    }

    /// Certifies the server anew, by its names and those that its machine has now.
    ///
    /// # Errors
    /// A name cannot be in a certificate.
    pub fn certify(&mut self, now: i64, lifetime: Duration) -> Result<Certified, CertificateError> {
        let issuer_key = KeyPair::from_pem(&self.key).map_err(CertificateError)?;
        let issuer = Issuer::new(of_authority(), issuer_key);
        let machine = Machine::read();
        let mut all: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        let names =
            self.names.iter().cloned().chain(machine.reachable_at()).chain([machine.hostname.clone()]);
        for name in names.filter(|name| !name.is_empty()) {
            if !all.contains(&name) {
                all.push(name);
            }
        }
        let common = all.last().cloned().unwrap_or_default();
        let own_key = key()?;
        let mut params = CertificateParams::new(all).map_err(CertificateError)?;
        // The clock of this machine may be wrong, and those of the agents right: they take it for valid all the same.
        let now = self.sane(now);
        let moment = |seconds: i64| {
            OffsetDateTime::from_unix_timestamp(seconds).unwrap_or_else(|_| OffsetDateTime::now_utc())
        };
        hold(&mut params, moment(self.since.unwrap_or(now)), moment(now.saturating_add(seconds(lifetime))));
        params.distinguished_name = named(&common);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&own_key, &issuer).map_err(CertificateError)?.pem();
        self.expires = now.saturating_add(seconds(lifetime));
        Ok(Certified { certificate, key: own_key.serialize_pem() })
    }

    /// A time of day before the authority was made is wrong.
    fn sane(&self, now: i64) -> i64 {
        now.max(self.since.unwrap_or(now))
    }

    /// Whether the server's certificate is to be renewed: half of its time is over, or it holds longer than it may.
    #[must_use]
    pub fn is_due(&self, now: i64, lifetime: Duration) -> bool {
        let left = self.expires.saturating_sub(self.sane(now));
        left <= seconds(lifetime) / 2 || left > seconds(lifetime)
    }
}

fn key() -> Result<KeyPair, CertificateError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CertificateError)
}

/// What is the same whenever something is certified: the name and the rights of the authority.
fn of_authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Fleet Server of this agent");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn hold(params: &mut CertificateParams, begins: OffsetDateTime, ends: OffsetDateTime) {
    params.not_before = begins - BEHIND;
    params.not_after = ends;
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn named(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "fleet");
    name.push(DnType::CommonName, common);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn a_certificate_is_made_for_all_names_and_renewed_in_time() {
        let names = ["fleet.example.com", "10.0.0.1", "localhost"].map(str::to_owned).to_vec();
        let (mut authority, trusted) = Authority::make(names).unwrap();
        authority.since = Some(500);
        let first = authority.certify(1_000, 2 * DAY).unwrap();
        assert!(trusted.contains("BEGIN CERTIFICATE") && first.key.contains("PRIVATE KEY"));
        assert_ne!(trusted, first.certificate);
        assert!(!format!("{authority:?}{first:?}").contains("BEGIN"));
        let day = seconds(DAY);
        assert!(!authority.is_due(1_000, 2 * DAY) && !authority.is_due(999 + day, 2 * DAY));
        assert!(authority.is_due(1_000 + day, 2 * DAY), "half of its time is over");
        assert!(authority.is_due(1_000, DAY), "it holds longer than it may now");
        // It is kept with the agent's identity.
        let kept = serde_json::to_string(&authority).unwrap();
        let mut kept: Authority = serde_json::from_str(&kept).unwrap();
        let second = kept.certify(1_000 + day, 2 * DAY).unwrap();
        assert_ne!(first.certificate, second.certificate);
        assert!(!kept.is_due(1_000 + day, 2 * DAY));
        // A clock that was set to a time before there was an authority is wrong, and one that is set back is right.
        kept.certify(1_000 + 3_650 * day, 2 * DAY).unwrap();
        assert!(kept.is_due(1_000 + day, 2 * DAY));
        kept.certify(1_000 - 3_650 * day, 2 * DAY).unwrap();
        assert_eq!(kept.expires, 500 + 2 * day);
        assert!(!kept.is_due(-3_650 * day, 2 * DAY));
        assert!(Authority::make(vec!["not a n\u{e4}me".to_owned()]).unwrap().0.certify(0, DAY).is_err());
    }
}
