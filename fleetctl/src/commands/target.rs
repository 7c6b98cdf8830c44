//! Setting what is wanted of units.

use fleet_protocol::fleet_v1::Unit;
use futures_util::StreamExt;

use crate::client::JobState;
use crate::context::Context;
use crate::error::report;

/// Wants `state` of the units `names`. Returns those of which something else was wanted before.
pub(super) async fn set_target(
    context: &Context,
    names: &[String],
    state: JobState,
) -> Result<Vec<Unit>, String> {
    let work: Vec<_> = names.iter().map(|name| set_one(context, name, state)).collect();
    let mut answers = futures_util::stream::iter(work).buffered(context.cluster.concurrency());
    let mut triggered = Vec::new();
    while let Some(answer) = answers.next().await {
        triggered.extend(answer?);
    }
    Ok(triggered)
}

async fn set_one(context: &Context, name: &str, state: JobState) -> Result<Option<Unit>, String> {
    let unit = context
        .cluster
        .unit(name)
        .await
        .map_err(|error| format!("error retrieving unit {name} from registry: {}", report(&error)))?
        .ok_or_else(|| format!("unable to find unit {name}"))?;
    if unit.desired_state == state.as_str() {
        tracing::debug!("Unit({name}) is wanted {state} already");
        return Ok(None);
    }
    context.cluster.set_target(name, state).await.map_err(|error| report(&error))?;
    Ok(Some(unit))
}
