//! What one server does for all: agents that are silent for too long are unenrolled, and what is over is
//! removed.
//!
//! The keeper is whoever has put the document [`KEEPER`] on a lease of its own. What it writes is written only
//! while that lease is held, so that a keeper that was replaced without knowing it can do no harm.

use std::time::Duration;

use async_trait::async_trait;
use fleet_store::{Collection, Error, Expect, Lease, LeaseId, RenewError, Typed, WriteError};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::actions::Actions;
use crate::agents::Agents;
use crate::documents::Agent;
use crate::files::Files;
use crate::policies::Policies;
use crate::status::OFFLINE_AFTER;
use crate::timestamp::Timestamp;

/// Who the keeper is.
pub static KEEPERS: Collection = Collection { name: "keepers", indexed: &[] };
/// The id of the one document in [`KEEPERS`].
pub const KEEPER: &str = "keeper";

/// A keeper that is silent for so long is replaced.
const TTL: Duration = Duration::from_secs(15);
/// The keeper renews its lease this often; others look this often whether there is one.
const INTERVAL: Duration = Duration::from_secs(5);
/// What there is to do is looked for this often.
const ROUND: Duration = Duration::from_secs(30);

/// Files are looked after in each of so many rounds: that takes a list of all of them.
const FILES_ROUND: u64 = 20;

/// The keeper's document.
#[derive(Debug, Serialize, Deserialize)]
struct Keeper {
    /// The server's name, for people.
    server: String,
}

/// Something else that the keeper does for all.
#[async_trait]
pub trait Duty: Send + Sync + std::fmt::Debug {
    /// Does it, for ever, and writes only while `lease` is held. Dropped when the lease is over.
    ///
    /// # Errors
    /// It cannot go on: then this server is the keeper no longer, and whoever is begins afresh.
    async fn serve(&self, lease: LeaseId) -> Result<(), WriteError>;
}

/// What the keeper looks after.
#[derive(Clone, Copy, Debug)]
pub struct Realm<'a> {
    /// The agents.
    pub agents: &'a Agents,
    /// Their policies.
    pub policies: &'a Policies,
    /// Their actions.
    pub actions: &'a Actions,
    /// Files of theirs, and for them.
    pub files: &'a Files,
    /// Expired actions are kept for so long.
    pub keep_expired: Duration,
    /// What else it does.
    pub duties: &'a [&'a dyn Duty],
}

/// Takes part in being the keeper until `stop` is over; then another may be it at once. `now` tells the time of
/// day.
pub async fn keep(
    realm: Realm<'_>,
    server: &str,
    now: impl Fn() -> Timestamp,
    stop: impl Future<Output = ()>,
) {
    let store = realm.agents.store();
    let keepers: Typed<Keeper> = Typed::new(std::sync::Arc::clone(store), &KEEPERS);
    let mut stop = std::pin::pin!(stop);
    loop {
        let mut is_over = false;
        match claim(&keepers, server).await {
            Ok(Some(lease)) => {
                info!("this server removes what is over, for all");
                let (id, serving) = (lease.id, serve(realm, &keepers, lease, &now));
                tokio::select! {
                    served = serving => if let Err(error) = served {
                        warn!(
                            error = &error as &dyn std::error::Error,
                            "another server may remove what is over now"
                        );
                    },
                    () = &mut stop => is_over = true,
                }
                // A store that does not answer ends the lease by itself.
                let _ = timeout(INTERVAL, store.revoke(id)).await;
            }
            Ok(None) => {}
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "cannot ask whether there is a keeper");
            }
        }
        if is_over {
            return;
        }
        tokio::select! {
            () = sleep(INTERVAL) => {}
            () = &mut stop => return,
        }
    }
}

async fn claim(keepers: &Typed<Keeper>, server: &str) -> Result<Option<Lease>, Error> {
    if keepers.store().get(&KEEPERS, KEEPER).await?.is_some() {
        return Ok(None);
    }
    let lease = keepers.store().grant(TTL).await?;
    let me = Keeper { server: server.to_owned() };
    match keepers.put(KEEPER, &me, Expect::Absent, Some(lease.id), None).await {
        Ok(_) => Ok(Some(lease)),
        Err(error) => {
            // Whether it was written or not: it goes with the lease.
            keepers.store().revoke(lease.id).await?;
            match error {
                WriteError::NotDone(error) | WriteError::Unknown(error) => Err(error),
                WriteError::Conflict { .. } | WriteError::LeaseLost => Ok(None),
            }
        }
    }
}

/// Does the keeper's work until the lease is over.
async fn serve(
    realm: Realm<'_>,
    keepers: &Typed<Keeper>,
    lease: Lease,
    now: &impl Fn() -> Timestamp,
) -> Result<(), WriteError> {
    let renewing = renew(keepers, lease);
    let working = async {
        for number in 0_u64.. {
            round(realm, lease.id, now()).await?;
            if number % FILES_ROUND == 0 {
                let removed = realm.files.clean_up(now(), Some(lease.id)).await?;
                if removed > 0 {
                    info!(files = removed, "files and uploads that are over are removed");
                }
            }
            sleep(ROUND).await;
        }
        Ok::<(), WriteError>(())
    };
    // Each of them ends only in trouble.
    let duties = try_join_all(realm.duties.iter().map(|duty| duty.serve(lease.id)));
    tokio::select! {
        () = renewing => Err(WriteError::LeaseLost),
        worked = async { tokio::try_join!(working, duties) } => worked.map(drop),
    }
}

/// Keeps the lease; returns when it is, or may be, over.
async fn renew(keepers: &Typed<Keeper>, lease: Lease) {
    let mut last = Instant::now();
    loop {
        sleep(INTERVAL).await;
        let began = Instant::now();
        match timeout(INTERVAL, keepers.store().renew(lease.id)).await {
            Ok(Ok(())) => last = began,
            Ok(Err(RenewError::Lost)) => return,
            Ok(Err(RenewError::Failed(_))) | Err(_) if last.elapsed() < lease.ttl => {}
            _ => return,
        }
    }
}

/// Everything that is to be done now, once.
async fn round(realm: Realm<'_>, lease: LeaseId, now: Timestamp) -> Result<(), WriteError> {
    let silent = silent_agents(realm, now);
    if !silent.is_empty() {
        let unenroll = |agent: &mut Agent| {
            let was_active = agent.active;
            agent.active = false;
            agent.unenrolled_at = Some(now);
            agent.unenrolled_reason = Some("timeout".into());
            was_active
        };
        realm.agents.change_many(&silent, unenroll, Some(lease)).await?;
        info!(agents = silent.len(), "agents that were silent for too long are unenrolled");
    }
    let moment = now - realm.keep_expired;
    let removed = realm.actions.clean_up(moment, Some(lease)).await?;
    if removed > 0 {
        info!(actions = removed, "actions that expired long ago are removed");
    }
    realm.agents.forget_progress(|seq_no| realm.actions.is_over(seq_no));
    Ok(())
}

/// Agents that were silent for longer than the unenrolment timeout of their policy.
fn silent_agents(realm: Realm<'_>, now: Timestamp) -> Vec<String> {
    let mut silent = Vec::new();
    realm.agents.for_each(|agent| {
        if !agent.agent.active {
            return;
        }
        let head = realm.policies.head(&agent.agent.policy_id);
        let limit = head.map_or(Duration::ZERO, |head| head.unenroll_timeout);
        let last = agent.state.last_checkin.unwrap_or(agent.agent.enrolled_at);
        // An agent that is there is written only each BEAT: a shorter timeout would meet healthy ones.
        if !limit.is_zero() && last.until(now) > limit.max(OFFLINE_AFTER) {
            silent.push(agent.id.to_string());
        }
    });
    silent
}
