//! What etcd says of itself: its revision, its counters, who leads. Over its JSON gateway, so that a look costs a
//! request and not a process.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleet_tests::Cluster;
use serde::Deserialize;

use crate::client::Client;
use crate::error::BenchError;

const LEADER_KEY: &str = "/_coreos.com/fleet/engine/leader";

/// A member, asked over HTTP.
#[derive(Debug)]
pub(crate) struct Etcd(Client);

#[derive(Debug, Deserialize)]
struct Range {
    header: Header,
    #[serde(default)]
    kvs: Vec<KeyValue>,
}

#[derive(Debug, Deserialize)]
struct Header {
    revision: String,
}

#[derive(Debug, Deserialize)]
struct KeyValue {
    value: String,
}

#[derive(Debug, Deserialize)]
struct Leader {
    machine: String,
}

/// Counters of etcd since its start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    /// Revision of the store: one for each transaction that writes.
    pub(crate) revision: f64,
    /// Keys put.
    pub(crate) puts: f64,
    /// Leases renewed, each by a message of a stream that is open anyway; not written to disk.
    pub(crate) renewals: f64,
}

impl Etcd {
    /// The first member of a cluster.
    pub(crate) fn of(cluster: &Cluster) -> Result<Etcd, BenchError> {
        match cluster.etcd().first() {
            Some(member) => Ok(Etcd(Client::new(&member.endpoint()))),
            None => Err(BenchError::Wrong("the cluster has no etcd".to_owned())),
        }
    }

    /// The member with this address.
    pub(crate) fn at(endpoint: &str) -> Etcd {
        Etcd(Client::new(endpoint))
    }

    async fn range(&mut self, key: &str) -> Result<Range, BenchError> {
        self.0.post("/v3/kv/range", format!("{{\"key\":\"{}\"}}", STANDARD.encode(key))).await
    }

    /// The id of the machine whose engine leads.
    pub(crate) async fn leader(&mut self) -> Result<Option<String>, BenchError> {
        let Some(found) = self.range(LEADER_KEY).await?.kvs.pop() else { return Ok(None) };
        let unreadable = || BenchError::Wrong(format!("{LEADER_KEY} in etcd cannot be read"));
        let document = STANDARD.decode(&found.value).map_err(|_| unreadable())?;
        let leader: Leader = serde_json::from_slice(&document).map_err(|_| unreadable())?;
        Ok(Some(leader.machine))
    }

    /// Its counters now.
    pub(crate) async fn counters(&mut self) -> Result<Counters, BenchError> {
        let revision = self.range(LEADER_KEY).await?.header.revision.parse().unwrap_or_default();
        let body = self.0.ask("GET", "/metrics", None).await?;
        let text = String::from_utf8_lossy(&body);
        let counter = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse().ok())
                .ok_or_else(|| BenchError::Wrong(format!("etcd has no counter {name}")))
        };
        Ok(Counters {
            revision,
            puts: counter("etcd_debugging_mvcc_put_total")?,
            renewals: counter("etcd_debugging_lease_renewed_total")?,
        })
    }
}
