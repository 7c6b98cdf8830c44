//! The keys for a policy that is about to be sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet_policy::keyed::KeyedOutput;
use fleet_policy::render::Rendered;
use fleet_store::{Expect, WriteError};
use tracing::{info, warn};

use super::decide::{Need, need, retire, retire_unneeded, roles, with_old};
use super::document::{AgentKeys, OutputKey, context};
use super::{KeysError, OutputKeys, api};
use crate::engines::{Access, EngineProblem};
use crate::fleet::Fleet;

/// The keys are decided upon again so often when another server changes them at the same moment.
const ATTEMPTS: usize = 5;

/// One agent's keys, while they are looked after.
struct Work<'a> {
    fleet: &'a Fleet,
    agent_id: &'a str,
    keys: AgentKeys,
    /// Whether there is something to write.
    is_changed: bool,
    /// Keys that were made and are not kept yet.
    made: Vec<(Arc<Access>, String)>,
}

impl OutputKeys {
    /// The keys of an agent that is about to get `rendered`, `id:key` by the names of its outputs. What is missing
    /// is made; what has other rights gets the right ones; what is not needed is over once the agent runs it.
    pub(crate) async fn ensure(
        &self,
        fleet: &Fleet,
        agent_id: &str,
        rendered: &Rendered,
        outputs: &[KeyedOutput],
    ) -> Result<BTreeMap<String, String>, KeysError> {
        let _turn = self.working.acquire().await.map_err(|_| KeysError::Busy)?;
        for _ in 0..ATTEMPTS {
            let found = self.documents.get(agent_id).await;
            let found = found.map_err(|error| KeysError::Store(WriteError::NotDone(error)))?;
            let (expect, keys) = match found {
                Some(found) => (Expect::Revision(found.revision), found.value),
                None => (Expect::Absent, AgentKeys::default()),
            };
            let mut work = Work { fleet, agent_id, keys, is_changed: false, made: Vec::new() };
            let outcome = work.all(outputs).await;
            if work.is_changed {
                work.keys.policy_id.clone_from(&rendered.policy_id);
                work.keys.revision = rendered.revision;
                // What was made is kept even if not all of it could be.
                match self.documents.put(agent_id, &work.keys, expect, None, None).await {
                    Ok(_) => {}
                    Err(error) => {
                        work.undo().await;
                        match error {
                            WriteError::Conflict { .. } => continue,
                            error => return Err(KeysError::Store(error)),
                        }
                    }
                }
            }
            outcome?;
            return work.opened().await;
        }
        Err(KeysError::Busy)
    }
}

impl Work<'_> {
    async fn all(&mut self, outputs: &[KeyedOutput]) -> Result<(), KeysError> {
        for output in outputs {
            self.output(output).await?;
        }
        self.is_changed |= retire_unneeded(&mut self.keys, outputs, self.fleet.clock.now());
        Ok(())
    }

    async fn output(&mut self, output: &KeyedOutput) -> Result<(), KeysError> {
        let access = self.fleet.engines.open(self.fleet, &output.output_id).await;
        let cluster = access.as_ref().ok().map(|access| access.probe.cluster.clone());
        let kept = self.keys.outputs.get(&output.name);
        match (need(kept, output, cluster.as_deref()), kept) {
            // An engine that is away for a while takes no key away.
            (Need::Nothing, _) => Ok(()),
            (Need::Rights, Some(key)) => {
                let (id, access) = (key.api_key_id.clone(), access.map_err(of(output))?);
                if self.renew(&access, output, &id).await? {
                    Ok(())
                } else {
                    self.make(&access, output).await
                }
            }
            _ => self.make(&access.map_err(of(output))?, output).await,
        }
    }

    /// Gives a key the rights that it needs beside those that it has. False: it cannot have them.
    async fn renew(&mut self, access: &Access, output: &KeyedOutput, id: &str) -> Result<bool, KeysError> {
        let has = api::roles_of(&access.connection, id).await.map_err(of(output))?;
        let Some(has) = has else { return Ok(false) };
        let rights = with_old(&output.permissions, &has);
        if !api::update(&access.connection, id, &rights).await.map_err(of(output))? {
            return Ok(false);
        }
        if let Some(key) = self.keys.outputs.get_mut(&output.name) {
            key.permissions.clone_from(&output.permissions);
            key.permissions_hash.clone_from(&output.permissions_hash);
            key.is_stale = true;
        }
        self.keys.pending = true;
        self.is_changed = true;
        Ok(true)
    }

    /// Makes a key in place of the one that there may be.
    async fn make(&mut self, access: &Arc<Access>, output: &KeyedOutput) -> Result<(), KeysError> {
        let rights = roles(&output.permissions);
        let made = match api::create(&access.connection, self.agent_id, &output.name, &rights).await {
            Ok(made) => made,
            Err(problem) => {
                self.fleet.engines.forget(&output.output_id).await;
                return Err(of(output)(problem));
            }
        };
        self.made.push((Arc::clone(access), made.id.clone()));
        let sealed = self.fleet.keyring.seal(context(self.agent_id, &output.name), made.whole.as_bytes());
        let Ok(sealed) = sealed else {
            self.undo().await;
            return Err(KeysError::Sealed(output.output_id.clone()));
        };
        retire(&mut self.keys, &output.name, self.fleet.clock.now());
        info!(agent = self.agent_id, output = output.output_id, key = made.id, "an agent has a key");
        let key = OutputKey {
            output_id: output.output_id.clone(),
            cluster: access.probe.cluster.clone(),
            api_key_id: made.id,
            api_key: sealed,
            permissions: output.permissions.clone(),
            permissions_hash: output.permissions_hash.clone(),
            is_stale: false,
        };
        self.keys.outputs.insert(output.name.clone(), key);
        self.is_changed = true;
        Ok(())
    }

    /// Keys that nobody will know of are no good.
    async fn undo(&mut self) {
        for (access, id) in self.made.drain(..) {
            if let Err(problem) = api::invalidate(&access.connection, std::slice::from_ref(&id)).await {
                let problem = problem.to_string();
                warn!(agent = self.agent_id, key = id, problem, "a key that is not used stays good");
            }
        }
    }

    async fn opened(&self) -> Result<BTreeMap<String, String>, KeysError> {
        let mut opened = BTreeMap::new();
        for (name, key) in &self.keys.outputs {
            let plain = self.fleet.keyring.unseal_fresh(context(self.agent_id, name), &key.api_key).await;
            let plain = plain.map_err(|_| KeysError::Sealed(key.output_id.clone()))?;
            opened.insert(name.clone(), String::from_utf8_lossy(&plain).into_owned());
        }
        Ok(opened)
    }
}

fn of(output: &KeyedOutput) -> impl FnOnce(EngineProblem) -> KeysError {
    let output = output.output_id.clone();
    move |problem| KeysError::Engine { output, problem }
}
