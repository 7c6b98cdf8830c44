//! Deployed policies in the store, however large they are.
//!
//! A policy of several hundred integrations is larger than a document may be. Then its document is a *head*, which
//! names the *parts* that hold the policy, compressed. The ids of parts are made of the policy's revision and of the
//! hash of what they hold, so that a part never changes: parts are written first, then the head, and then what no
//! head can name any more is removed. A reader that misses a part has been overtaken by the next head, and reads
//! again.

use std::io::{Read, Write as _};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use fleet_store::contract::MAX_BODY;
use fleet_store::{
    Error, ErrorKind, Expect, ListRequest, Revision, Store, Typed, Versioned, Write, WriteError,
};
use ring::digest::{SHA256, digest};
use tokio::task::spawn_blocking;

use crate::documents::{DeployedPolicy, POLICIES, POLICY_PARTS, PolicyParts};
use crate::files::{PART, decode_part, encode_part};

/// The largest policy as JSON in bytes: each server holds it in memory, and each of its agents.
pub const LARGEST_POLICY: usize = 16 << 20;
/// A reader that is overtaken reads again so often.
const MOST_READS: usize = 5;

/// The deployed policies in a store.
#[derive(Clone, Debug)]
pub struct DeployedPolicies {
    heads: Typed<DeployedPolicy>,
}

impl DeployedPolicies {
    /// Those in `store`.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>) -> DeployedPolicies {
        DeployedPolicies { heads: Typed::new(Arc::clone(store), &POLICIES) }
    }

    /// The documents as they lie in the store: heads, where policies are in parts.
    #[must_use]
    pub fn heads(&self) -> &Typed<DeployedPolicy> {
        &self.heads
    }

    /// The newest revision of a policy; `None`: it is not deployed.
    ///
    /// # Errors
    /// The store does not answer; [`ErrorKind::Corrupt`]: what it has cannot be read.
    pub async fn get(&self, id: &str) -> Result<Option<Versioned<DeployedPolicy>>, Error> {
        match self.heads.get(id).await? {
            Some(head) => self.whole(head).await,
            None => Ok(None),
        }
    }

    /// The policy that a head stands for, or a newer one; `None`: it was removed meanwhile.
    ///
    /// # Errors
    /// As for [`DeployedPolicies::get`].
    pub async fn whole(
        &self,
        mut head: Versioned<DeployedPolicy>,
    ) -> Result<Option<Versioned<DeployedPolicy>>, Error> {
        for _ in 0..MOST_READS {
            let Some(parts) = &head.value.parts else { return Ok(Some(head)) };
            if let Some(whole) = self.load(&head.value, parts).await? {
                let value = DeployedPolicy { parts: head.value.parts, ..whole };
                return Ok(Some(Versioned { id: head.id, revision: head.revision, value }));
            }
            match self.heads.get(&head.id).await? {
                Some(newer) if newer.revision > head.revision => head = newer,
                Some(_) => return Err(corrupt(&head.id)),
                None => return Ok(None),
            }
        }
        let text = format!("policies/{} is replaced faster than it can be read", head.id);
        Err(Error::new(ErrorKind::Unavailable, text))
    }

    /// Writes a revision in the place of the one `before`; `None`: there is none.
    ///
    /// # Errors
    /// See [`WriteError`]; [`ErrorKind::Invalid`]: it is larger than [`LARGEST_POLICY`].
    pub async fn put(
        &self,
        id: &str,
        policy: &DeployedPolicy,
        before: Option<&Versioned<DeployedPolicy>>,
    ) -> Result<Revision, WriteError> {
        let expect = before.map_or(Expect::Absent, |before| Expect::Revision(before.revision));
        let text = serde_json::to_vec(policy).map_err(|error| {
            WriteError::NotDone(Error::caused_by(ErrorKind::Invalid, format!("encode policies/{id}"), error))
        })?;
        if text.len() <= MAX_BODY {
            let written = self.heads.store().write(&POLICIES, Write::put(id, expect, text), None).await?;
            if before.is_some_and(|before| before.value.parts.is_some()) {
                let _ = self.remove_parts(id, Some((policy.revision_idx, &[]))).await;
            }
            return Ok(written);
        }
        if text.len() > LARGEST_POLICY {
            let text = format!(
                "agent policy {id} comes to {} bytes with its integrations, and {LARGEST_POLICY} is the most: \
                 distribute them to several policies",
                text.len()
            );
            return Err(WriteError::NotDone(Error::new(ErrorKind::Invalid, text)));
        }
        let divided = blocking(move || split(&text)).await.flatten();
        let (parts, bodies) = divided.map_err(WriteError::NotDone)?;
        let ids = part_ids(id, policy.revision_idx, &parts);
        let writes = ids.iter().zip(bodies).map(|(id, body)| Write::put(id.as_str(), Expect::Any, body));
        for written in self.heads.store().write_many(&POLICY_PARTS, writes.collect(), None).await {
            written?;
        }
        let head = DeployedPolicy { parts: Some(parts), ..without_content(policy) };
        let written = self.heads.put(id, &head, expect, None, None).await?;
        // What stays is removed with the next revision.
        let _ = self.remove_parts(id, Some((policy.revision_idx, &ids))).await;
        Ok(written)
    }

    /// Removes a policy.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn delete(&self, id: &str) -> Result<(), WriteError> {
        self.delete_as(id, Expect::Any).await
    }

    /// The same, if the head is as it is expected.
    ///
    /// # Errors
    /// The store does not take it.
    pub async fn delete_as(&self, id: &str, expect: Expect) -> Result<(), WriteError> {
        self.heads.delete(id, expect, None).await?;
        self.remove_parts(id, None).await
    }

    async fn load(
        &self,
        head: &DeployedPolicy,
        parts: &PolicyParts,
    ) -> Result<Option<DeployedPolicy>, Error> {
        let ids = part_ids(&head.policy_id, head.revision_idx, parts);
        let found = self.heads.store().get_many(&POLICY_PARTS, &ids).await?;
        let Some(found) = found.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
        let (id, wanted) = (head.policy_id.clone(), parts.sha256.clone());
        blocking(move || {
            let mut packed = Vec::new();
            for part in &found {
                packed.extend_from_slice(&decode_part(&part.body).ok_or_else(|| corrupt(&id))?);
            }
            if hex::encode(digest(&SHA256, &packed).as_ref()) != wanted {
                return Err(corrupt(&id));
            }
            let mut text = Vec::new();
            let most = u64::try_from(LARGEST_POLICY).unwrap_or(u64::MAX);
            let unpacked = ZlibDecoder::new(packed.as_slice()).take(most).read_to_end(&mut text);
            unpacked.map_err(|_| corrupt(&id))?;
            serde_json::from_slice(&text).map(Some).map_err(|_| corrupt(&id))
        })
        .await?
    }

    /// Removes parts of a policy: all of them, or those of this revision and older ones that its head does not name.
    /// Parts of newer revisions are on their way.
    async fn remove_parts(&self, id: &str, keep: Option<(u64, &[String])>) -> Result<(), WriteError> {
        let store = self.heads.store();
        let request = ListRequest::prefix(format!("{id}/"));
        let page = store.list(&POLICY_PARTS, request).await.map_err(WriteError::NotDone)?;
        let is_over = |part: &String| match keep {
            None => true,
            Some((revision, kept)) => {
                revision_of(part).is_none_or(|other| other <= revision) && !kept.contains(part)
            }
        };
        let over = page.documents.into_iter().map(|document| document.id).filter(is_over);
        let writes = over.map(|part| Write::delete(part, Expect::Any)).collect();
        store.write_many(&POLICY_PARTS, writes, None).await.into_iter().try_for_each(|done| done.map(drop))
    }
}

/// What stands in a head beside the names of parts: what lists need.
fn without_content(policy: &DeployedPolicy) -> DeployedPolicy {
    DeployedPolicy {
        policy_id: policy.policy_id.clone(),
        revision_idx: policy.revision_idx,
        timestamp: policy.timestamp,
        namespaces: policy.namespaces.clone(),
        default_fleet_server: policy.default_fleet_server,
        unenroll_timeout: policy.unenroll_timeout,
        inactivity_timeout: policy.inactivity_timeout,
        ..DeployedPolicy::default()
    }
}

/// The documents of parts, and what a head says of them.
fn split(text: &[u8]) -> Result<(PolicyParts, Vec<Vec<u8>>), Error> {
    let failed = |error| Error::caused_by(ErrorKind::Invalid, "compress a policy", error);
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).map_err(failed)?;
    let packed = encoder.finish().map_err(failed)?;
    let bodies: Vec<Vec<u8>> = packed.chunks(PART).map(encode_part).collect();
    let sha256 = hex::encode(digest(&SHA256, &packed).as_ref());
    Ok((PolicyParts { sha256, count: bodies.len() }, bodies))
}

/// The ids of parts. Ids of policies hold no slash.
fn part_ids(id: &str, revision: u64, parts: &PolicyParts) -> Vec<String> {
    let hash = parts.sha256.get(..16).unwrap_or(&parts.sha256);
    (0..parts.count).map(|number| format!("{id}/{revision:010}/{hash}/{number}")).collect()
}

fn revision_of(part: &str) -> Option<u64> {
    part.rsplit('/').nth(2)?.parse().ok()
}

fn corrupt(id: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the parts of policies/{id} are not what was written"))
}

/// Where it holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let done = spawn_blocking(work).await;
    done.map_err(|error| Error::caused_by(ErrorKind::Unavailable, "the server ends", error))
}

#[cfg(test)]
mod tests;
