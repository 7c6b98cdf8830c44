//! What a server proves itself with when it was given nothing for that.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use time::OffsetDateTime;

/// Certificates of agents hold so long: nobody renews them.
const YEARS: i32 = 10;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[error(
    "a certificate for the Fleet Server cannot be made: give --fleet-server-cert and --fleet-server-cert-key"
)]
pub struct CertificateError(#[source] rcgen::Error);

/// A certificate and what belongs to it, as PEM texts.
#[derive(Clone)]
pub struct Made {
    /// Whom to trust. Its key is gone.
    pub authority: String,
    /// The server's.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made").finish_non_exhaustive()
    }
}

/// Makes a certificate for these names and addresses, and for this machine as it speaks to itself.
///
/// # Errors
/// A name cannot be in a certificate.
pub fn make(names: &[String]) -> Result<Made, CertificateError> {
    let mut all: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    all.extend(
        names.iter().filter(|name| !name.is_empty() && !all.contains(name)).cloned().collect::<Vec<_>>(),
    );
    let key = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CertificateError);
    let authority_key = key()?;
    let mut params = CertificateParams::default();
    hold_for_years(&mut params);
    params.distinguished_name = named("Fleet Server of this agent");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let authority = params.self_signed(&authority_key).map_err(CertificateError)?.pem();
    let issuer = Issuer::new(params, authority_key);

    let own_key = key()?;
    let common = all.last().cloned().unwrap_or_default();
    let mut params = CertificateParams::new(all).map_err(CertificateError)?;
    hold_for_years(&mut params);
    params.distinguished_name = named(&common);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.signed_by(&own_key, &issuer).map_err(CertificateError)?.pem();
    Ok(Made { authority, certificate, key: own_key.serialize_pem() })
}

fn hold_for_years(params: &mut CertificateParams) {
    let year = OffsetDateTime::now_utc().year();
    // Clocks of other machines may be behind.
    params.not_before = date_time_ymd(year - 1, 1, 1);
    params.not_after = date_time_ymd(year + YEARS, 1, 1);
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

    #[test]
    fn a_certificate_is_made_for_all_names() {
        let made =
            make(&["fleet.example.com".to_owned(), "10.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        assert!(made.authority.contains("BEGIN CERTIFICATE") && made.key.contains("PRIVATE KEY"));
        assert_ne!(made.authority, made.certificate);
        assert!(!format!("{made:?}").contains("BEGIN"));
        assert!(make(&["not a näme".to_owned()]).is_err());
    }
}
