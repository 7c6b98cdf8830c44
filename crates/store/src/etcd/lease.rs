//! Leases. Each has a marker key that lives on it, so that a transaction can compare whether it is held:
//! etcd's own conditions know keys only.

use std::time::Duration;

use etcd_client::PutOptions;

use super::Etcd;
use super::failure::What;
use super::session::Effect;
use crate::contract::{Lease, LeaseId};
use crate::error::{Error, ErrorKind, RenewError};

impl Etcd {
    pub(super) async fn grant_lease(&self, ttl: Duration) -> Result<Lease, Error> {
        const OF: &str = "grant a lease";
        let seconds = i64::try_from(ttl.as_millis().div_ceil(1000)).unwrap_or(i64::MAX).max(2);
        // A grant whose answer is lost leaves a lease that nobody knows and that ends by itself.
        let granted = self.session.call(Effect::Idempotent, || {
            let mut client = self.session.client();
            async move { client.lease_grant(seconds, None).await }
        });
        let granted = granted.await.map_err(|failure| failure.into_error(OF))?;
        let id = LeaseId(granted.id());
        let marked = self.session.call(Effect::Idempotent, || {
            let (mut kv, key) = (self.session.kv(), self.keys.marker(id));
            async move { kv.put(key, Vec::new(), Some(PutOptions::new().with_lease(id.0))).await }
        });
        if let Err(failure) = marked.await {
            // Without its marker it can hold nothing. If this fails too, it ends by itself.
            if let Err(error) = self.revoke_lease(id).await {
                tracing::debug!(lease = id.0, error = %error, "a lease that is not used was not revoked");
            }
            return Err(failure.into_error(OF));
        }
        let Ok(ttl) = u64::try_from(granted.ttl()) else {
            return Err(Error::new(ErrorKind::Corrupt, "grant a lease: etcd gave a negative time to live"));
        };
        Ok(Lease { id, ttl: Duration::from_secs(ttl) })
    }

    pub(super) async fn renew_lease(&self, lease: LeaseId) -> Result<(), RenewError> {
        let renewed = self.session.call(Effect::Idempotent, || {
            let mut client = self.session.client();
            // Resolves with the first answer; dropping both halves ends the stream.
            async move { client.lease_keep_alive(lease.0).await.map(drop) }
        });
        renewed.await.map_err(|failure| failure.into_renew_error(format!("renew lease {:016x}", lease.0)))
    }

    pub(super) async fn revoke_lease(&self, lease: LeaseId) -> Result<(), Error> {
        let revoked = self.session.call(Effect::Idempotent, || {
            let mut client = self.session.client();
            async move { client.lease_revoke(lease.0).await.map(drop) }
        });
        match revoked.await {
            Err(failure) if failure.what == What::LeaseNotFound => Ok(()),
            Err(failure) => Err(failure.into_error(format!("revoke lease {:016x}", lease.0))),
            Ok(()) => Ok(()),
        }
    }
}
