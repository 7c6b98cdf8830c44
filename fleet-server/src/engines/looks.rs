//! Looking into engines for people: several at a time, none for long, and each told apart. A dead engine costs its
//! own part of an answer and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::timeout;

use super::{Access, EngineProblem};
use crate::fleet::Fleet;

/// One engine may take so long, with being connected to.
const PATIENCE: Duration = Duration::from_secs(8);
/// So many engines are looked into at a time.
const AT_A_TIME: usize = 8;

/// Where data lies: what the data streams of agents are called.
pub(super) const DATA: &str = "logs-*-*,metrics-*-*,traces-*-*,synthetics-*-*,profiling-*-*";

/// Why nothing is told of an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct NotSeen {
    /// The output that names it.
    pub(crate) output_id: String,
    /// Why, and what to do.
    pub(crate) message: String,
}

/// What was seen in engines.
#[derive(Debug)]
pub(crate) struct Seen<T> {
    /// By the ids of their outputs. Of outputs with the same engine one is here.
    pub(crate) found: Vec<(String, T)>,
    /// The outputs of which nothing was seen.
    pub(crate) not_seen: Vec<NotSeen>,
}

/// Looks into the engines of outputs with `look`. Each engine is asked once, though several outputs name it, as long
/// as it answers.
pub(super) async fn look_into<T, F>(
    fleet: &Fleet,
    outputs: BTreeSet<String>,
    look: impl Fn(Arc<Access>, Vec<String>) -> F + Sync,
) -> Seen<T>
where
    F: Future<Output = Result<T, EngineProblem>>,
{
    let opened = stream::iter(outputs)
        .map(|id| async move { (within(&id, fleet.engines.open(fleet, &id)).await, id) })
        .buffer_unordered(AT_A_TIME);
    let (mut clusters, mut not_seen) = (BTreeMap::<String, Vec<(String, Arc<Access>)>>::new(), Vec::new());
    for (outcome, id) in opened.collect::<Vec<_>>().await {
        match outcome {
            Ok(access) => clusters.entry(access.probe.cluster.clone()).or_default().push((id, access)),
            Err(problem) => not_seen.push(NotSeen { output_id: id, message: problem.to_string() }),
        }
    }
    let look = &look;
    let looking = clusters.into_values().map(|mut ways| async move {
        ways.sort_by(|(a, _), (b, _)| a.cmp(b));
        let names: Vec<String> = ways.iter().map(|(id, _)| id.clone()).collect();
        let mut problems = Vec::new();
        for (id, access) in ways {
            match within(&id, look(access, names.clone())).await {
                Ok(seen) => return (Some((id, seen)), Vec::new()),
                Err(problem) => problems.push(NotSeen { output_id: id, message: problem.to_string() }),
            }
        }
        (None, problems)
    });
    let looked = stream::iter(looking).buffer_unordered(AT_A_TIME).collect::<Vec<_>>().await;
    let mut seen = Seen { found: Vec::new(), not_seen };
    for (found, problems) in looked {
        seen.found.extend(found);
        seen.not_seen.extend(problems);
    }
    seen.found.sort_by(|(a, _), (b, _)| a.cmp(b));
    seen.not_seen.sort_by(|a, b| a.output_id.cmp(&b.output_id));
    seen
}

async fn within<T>(
    output_id: &str,
    work: impl Future<Output = Result<T, EngineProblem>>,
) -> Result<T, EngineProblem> {
    let slow = |_| EngineProblem::Slow { output: output_id.to_owned(), seconds: PATIENCE.as_secs() };
    timeout(PATIENCE, work).await.map_err(slow)?
}
