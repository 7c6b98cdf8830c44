//! TLS towards etcd: configuration from PEM files, and words for what went wrong.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

use super::options::Options;
use crate::error::{Error, ErrorKind};

/// The PEM files. They are read anew for every connection, so that a renewed certificate needs no restart.
#[derive(Clone, Debug)]
pub(super) struct Files {
    ca: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
}

impl Files {
    /// The files named by the options.
    pub(super) fn new(options: &Options) -> Result<Files, Error> {
        let identity = match (&options.cert_file, &options.key_file) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
            (Some(_), None) => return Err(invalid("etcd_certfile is set but etcd_keyfile is not: set both")),
            (None, Some(_)) => return Err(invalid("etcd_keyfile is set but etcd_certfile is not: set both")),
        };
        Ok(Files { ca: options.ca_file.clone(), identity })
    }

    /// Reads the files and makes a client configuration of them.
    pub(super) fn load(&self) -> Result<Arc<ClientConfig>, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::caused_by(ErrorKind::Unsuitable, "set up TLS", error))?
            .with_root_certificates(self.roots()?);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = certificates("etcd_certfile", cert)?;
                let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| {
                    file_error("etcd_keyfile", key, "holds no private key in PEM form", error)
                })?;
                builder.with_client_auth_cert(chain, secret).map_err(|error| {
                    let (cert, key) = (cert.display(), key.display());
                    let message =
                        format!("etcd_keyfile {key} does not fit etcd_certfile {cert}: give the pair");
                    Error::caused_by(ErrorKind::Invalid, message, error)
                })?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(path) => {
                for certificate in certificates("etcd_cafile", path)? {
                    roots.add(certificate).map_err(|error| {
                        let message = format!("etcd_cafile {} holds no usable authority", path.display());
                        Error::caused_by(ErrorKind::Invalid, message, error)
                    })?;
                }
            }
            None => {
                // One unreadable file among the system's must not hide the others.
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    return Err(Error::new(
                        ErrorKind::Unsuitable,
                        "this system has no certificate authorities: name one in etcd_cafile",
                    ));
                }
            }
        }
        Ok(roots)
    }
}

fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let fault = |error| file_error(option, path, "is not in PEM form", error);
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(fault)?.collect();
    let certificates = certificates.map_err(fault)?;
    if certificates.is_empty() {
        return Err(invalid(format!("{option} {} holds no certificate in PEM form", path.display())));
    }
    Ok(certificates)
}

fn file_error(option: &str, path: &Path, what: &str, error: rustls::pki_types::pem::Error) -> Error {
    let path = path.display();
    let message = match &error {
        rustls::pki_types::pem::Error::Io(_) => format!("{option} {path} cannot be read"),
        _ => format!("{option} {path} {what}"),
    };
    Error::caused_by(ErrorKind::Invalid, message, error)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

/// What is wrong with a TLS connection, and how to mend it.
pub(super) fn explain(error: &rustls::Error) -> String {
    use CertificateError as Bad;
    use rustls::Error as Tls;
    match error {
        Tls::InvalidCertificate(Bad::UnknownIssuer) => "its certificate is signed by an authority that is \
            not trusted here: name that authority's certificate in etcd_cafile"
            .to_owned(),
        Tls::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            format!("its certificate has expired ({error}): renew it, or mend this machine's clock")
        }
        Tls::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            format!("its certificate is not valid yet ({error}): mend this machine's clock")
        }
        Tls::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            format!(
                "its certificate is for another name ({error}): use a name that it carries in etcd_servers"
            )
        }
        Tls::InvalidCertificate(_) => format!("its certificate does not verify ({error})"),
        Tls::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure) => {
            "it demands a client certificate: set etcd_certfile and etcd_keyfile".to_owned()
        }
        Tls::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError,
        ) => format!(
            "it does not accept our client certificate ({error}): check etcd_certfile and etcd_keyfile"
        ),
        Tls::InvalidMessage(_) => {
            "it does not speak TLS: write http:// instead of https:// in etcd_servers".to_owned()
        }
        other => format!("TLS failed: {other}"),
    }
}
