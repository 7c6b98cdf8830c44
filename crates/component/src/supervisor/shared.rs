//! What the runners of a supervisor share.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use tokio::sync::watch;

use super::authority::{Authority, Identity};
use super::process::{self, Spawner};
use super::spec::Variable;
use super::states::{ComponentState, States};
use super::{AgentFacts, Settings};
use crate::wire;

/// So many bytes of a hash name a component's socket: a path of a socket has 108 in all.
const HASH: usize = 24;

/// What a component is called.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) id: String,
    /// The type of its inputs.
    pub(super) kind: String,
}

impl Named {
    /// The variables of its processes: those of its spec file, and what it is called.
    pub(super) fn environment(&self, of_spec: &[Variable]) -> Vec<(String, String)> {
        let of_spec = of_spec.iter().map(|variable| (variable.name.clone(), variable.value.clone()));
        let own = [("AGENT_COMPONENT_ID", &self.id), ("AGENT_COMPONENT_TYPE", &self.kind)];
        of_spec.chain(own.map(|(name, value)| (name.to_owned(), value.clone()))).collect()
    }
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) authority: Authority,
    pub(super) spawner: Spawner,
    /// What stands before a component's program.
    pub(super) prefix: Vec<std::ffi::OsString>,
    /// Where components connect to.
    pub(super) address: String,
    pub(super) states: watch::Sender<Arc<States>>,
    pub(super) facts: Mutex<AgentFacts>,
}

impl Shared {
    pub(super) fn facts(&self) -> AgentFacts {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn agent(&self) -> wire::AgentInfo {
        self.facts().to_wire()
    }

    /// What a new process reads first.
    pub(super) fn start_up(&self, identity: &Identity) -> wire::StartUp {
        let supports =
            if self.settings.sends_chunks { vec![wire::Feature::Chunks.into()] } else { Vec::new() };
        wire::StartUp {
            address: self.address.clone(),
            server_name: identity.server_name.clone(),
            token: identity.token.clone(),
            authority: self.authority.pem().as_bytes().to_vec(),
            certificate: identity.certificate_pem.as_bytes().to_vec(),
            key: identity.key_pem.as_bytes().to_vec(),
            services: vec![wire::Service::CheckinV2.into()],
            supports,
            max_message_size: u32::try_from(self.settings.max_message_size).unwrap_or(u32::MAX),
            agent: Some(self.agent()),
        }
    }

    /// Where a component may keep what belongs to it.
    pub(super) fn directory(&self, component: &str) -> PathBuf {
        process::directory(&self.settings.home, component)
    }

    /// Tells how a component is, if that is new.
    pub(super) fn publish(&self, state: ComponentState) {
        self.states.send_if_modified(|states| {
            let is_new = states.components.get(&state.id).is_none_or(|known| **known != state);
            if is_new {
                Arc::make_mut(states).components.insert(state.id.clone(), Arc::new(state));
            }
            is_new
        });
    }

    pub(super) fn forget(&self, component: &str) {
        self.states.send_if_modified(|states| {
            let is_there = states.components.contains_key(component);
            if is_there {
                Arc::make_mut(states).components.remove(component);
            }
            is_there
        });
    }
}

/// Where a component serves its figures.
pub(super) fn metrics_socket(folder: &Path, component: &str) -> PathBuf {
    let hash = digest(&SHA256, component.as_bytes());
    let name = URL_SAFE_NO_PAD.encode(&hash.as_ref()[..HASH]);
    folder.join(format!("{name}.sock"))
}
