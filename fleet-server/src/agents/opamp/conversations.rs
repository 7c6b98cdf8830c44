//! What is remembered of collectors from one message to the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleet_policy::opamp::Conversation;

/// The most conversations that are remembered. When there are more, all are forgotten: each collector is asked
/// for everything once.
const MOST: usize = 200_000;

/// The conversations of this server.
#[derive(Debug, Default)]
pub(crate) struct Conversations {
    by_agent: Mutex<HashMap<Arc<str>, Conversation>>,
}

impl Conversations {
    pub(super) fn get(&self, agent_id: &str) -> Conversation {
        self.lock().get(agent_id).cloned().unwrap_or_default()
    }

    pub(super) fn put(&self, agent_id: &Arc<str>, conversation: Conversation) {
        let mut by_agent = self.lock();
        if by_agent.len() >= MOST && !by_agent.contains_key(agent_id) {
            by_agent.clear();
        }
        by_agent.insert(Arc::clone(agent_id), conversation);
    }

    pub(super) fn forget(&self, agent_id: &str) {
        self.lock().remove(agent_id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Conversation>> {
        self.by_agent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded() {
        let conversations = Conversations::default();
        for number in 0..=MOST {
            let conversation = Conversation { sequence_num: Some(7), ..Conversation::default() };
            conversations.put(&Arc::from(number.to_string()), conversation);
        }
        assert_eq!(conversations.lock().len(), 1);
        assert_eq!(conversations.get(&MOST.to_string()).sequence_num, Some(7));
        conversations.forget(&MOST.to_string());
        assert_eq!(conversations.get(&MOST.to_string()), Conversation::default());
    }
}
