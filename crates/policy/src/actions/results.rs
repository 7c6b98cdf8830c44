//! What came of actions.

use fleet_store::{Error, Expect, WriteError};

use super::Actions;
use crate::documents::{ActionResult, Outcome};

/// So often is it tried to write what came of an action, when others change the same document.
const ATTEMPTS: usize = 4;

impl Actions {
    /// Keeps what an agent told of an action. A repetition changes nothing.
    pub async fn record(&self, result: &ActionResult) -> Result<(), WriteError> {
        let id = format!("{}:{}", result.action_id, result.agent_id);
        match self.results.put(&id, result, Expect::Absent, None, None).await {
            Ok(_) | Err(WriteError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What these agents told of an action, as far as they did.
    pub async fn results(&self, action_id: &str, agents: &[String]) -> Result<Vec<ActionResult>, Error> {
        let ids: Vec<String> = agents.iter().map(|agent| format!("{action_id}:{agent}")).collect();
        let found = self.results.get_many(&ids).await?;
        Ok(found.into_iter().flatten().map(|result| result.value).collect())
    }

    /// Keeps what came of an action that agents are not told of. One that is gone meanwhile stays so.
    pub async fn finish(&self, document_id: &str, outcome: Outcome) -> Result<(), WriteError> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let found = self.actions.get(document_id).await.map_err(WriteError::NotDone)?;
            let Some(mut found) = found else { return Ok(()) };
            found.value.outcome = Some(outcome);
            let expect = Expect::Revision(found.revision);
            // A batch by itself, as when it was stored: its revision must be its alone.
            let write = self.actions.encode(document_id, &found.value, expect, None);
            let answers = self.actions.write_many(vec![write.map_err(WriteError::NotDone)?], None).await;
            match answers.into_iter().try_for_each(|answer| answer.map(drop)) {
                Ok(()) => return Ok(()),
                Err(error @ WriteError::Conflict { .. }) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        last.map_or(Ok(()), Err)
    }
}
