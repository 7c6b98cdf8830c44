//! The certificates that listeners show.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use fleet_access::authority::{Authority, ServerCertificate};
use fleet_access::timestamp::Timestamp;
use fleet_service::config::value::Secret;
use fleet_service::drain::Drain;
use fleet_service::tls::{Acceptor, Pem, Reload, ServerTls};
use tracing::{error, info};

use super::Error;
use crate::config::tls::ListenerTls;

/// It is looked this often whether the server's own certificate must be renewed.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(3600);

/// What listeners' certificates are made with.
pub(super) struct Listening<'a> {
    pub(super) authority: &'a Authority,
    /// Names for the server's own certificate, beside those that it finds out.
    pub(super) names: &'a [String],
    pub(super) drain: &'a Drain,
}

impl Listening<'_> {
    /// What accepts connections; `None`: they are not encrypted. `with_h2`: HTTP/2 is offered.
    pub(super) fn acceptor(
        &self,
        place: &'static str,
        config: &ListenerTls,
        with_h2: bool,
    ) -> Result<Option<Acceptor>, Error> {
        let mut alpn: Vec<Vec<u8>> = vec![b"http/1.1".to_vec()];
        if with_h2 {
            alpn.insert(0, b"h2".to_vec());
        }
        match config {
            ListenerTls::Off => Ok(None),
            ListenerTls::Own => self.own(place, &alpn).map(Some),
            ListenerTls::Given(given) => {
                let started =
                    Reload::start(given.settings(alpn)).map_err(|source| Error::Tls { place, source });
                let (acceptor, reload) = started?;
                if let Some(interval) = given.common.reload {
                    self.drain.spawn("tls-reload", reload.run(interval, self.drain.token().clone()));
                }
                Ok(Some(acceptor))
            }
        }
    }

    /// With a certificate that the authority makes, and makes again before it ends.
    fn own(&self, place: &'static str, alpn: &[Vec<u8>]) -> Result<Acceptor, Error> {
        let names = names(self.names);
        let issued = self.authority.issue(&names, Timestamp::now()).map_err(Error::Authority)?;
        let loaded = own_settings(&issued, alpn).load().map_err(|source| Error::Tls { place, source })?;
        let acceptor = Acceptor::new(loaded.config);
        let (token, authority) = (self.drain.token().clone(), self.authority.clone());
        let (renewed, alpn) = (acceptor.clone(), alpn.to_vec());
        self.drain.spawn("tls-renewal", async move {
            let renewing = renew(&authority, &names, &alpn, issued.renew_at, &renewed);
            token.run_until_cancelled(renewing).await
        });
        Ok(acceptor)
    }
}

async fn renew(
    authority: &Authority,
    names: &[String],
    alpn: &[Vec<u8>],
    mut at: Timestamp,
    acceptor: &Acceptor,
) {
    loop {
        tokio::time::sleep(RENEWAL_INTERVAL).await;
        let now = Timestamp::now();
        if now < at {
            continue;
        }
        match authority.issue(names, now) {
            Ok(issued) => match own_settings(&issued, alpn).load() {
                Ok(loaded) => {
                    acceptor.swap(loaded.config);
                    at = issued.renew_at;
                    info!(until = %issued.not_after, "the server's certificate is renewed");
                }
                Err(error) => {
                    error!(error = &error as &dyn std::error::Error, "the new certificate cannot be used");
                }
            },
            Err(error) => {
                error!(error = &error as &dyn std::error::Error, "the certificate cannot be renewed");
            }
        }
    }
}

fn own_settings(issued: &ServerCertificate, alpn: &[Vec<u8>]) -> ServerTls {
    let certificate = Pem::Inline(Secret::new(issued.chain_pem.clone()));
    let key = Pem::Inline(issued.key_pem.clone());
    ServerTls { alpn: alpn.to_vec(), ..ServerTls::new(certificate, key) }
}

/// Names and addresses by which this machine is reached, as far as it knows, and those that are given.
fn names(given: &[String]) -> Vec<String> {
    let mut names: BTreeSet<String> = given.iter().cloned().collect();
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    names.extend(super::welcome::hostname());
    names.extend(addresses());
    names.into_iter().collect()
}

/// The addresses of this machine, by the kernel's table of local routes.
fn addresses() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let mut last = None;
    let mut found = BTreeSet::new();
    for line in table.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<IpAddr>().ok();
        } else if line.contains("/32 host LOCAL") {
            found.extend(last.take());
        }
    }
    found.into_iter().map(|address| address.to_string()).collect()
}
