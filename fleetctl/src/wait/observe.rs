//! One look at the units that are waited for.

use std::collections::BTreeMap;

use fleet_protocol::fleet_v1::{Unit, UnitState};
use futures_util::{StreamExt, TryStreamExt};

use super::task::Task;
use crate::client::ClientError;
use crate::context::{Context, FEW};

/// What is seen of one unit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observation {
    /// The unit; `None`: it does not exist.
    pub(crate) unit: Option<Unit>,
    /// Its states on machines, if they were asked for.
    pub(crate) states: Vec<UnitState>,
}

/// What is seen of all.
#[derive(Debug, Default)]
pub(super) struct Observations {
    units: BTreeMap<String, Observation>,
}

impl Observations {
    /// What is seen of the unit of this name.
    pub(super) fn of(&self, name: &str) -> Observation {
        self.units.get(name).cloned().unwrap_or_default()
    }
}

/// Looks at the units of `tasks`: one by one when they are few, else by lists.
pub(super) async fn observe(context: &Context, tasks: &[Task]) -> Result<Observations, ClientError> {
    if tasks.len() <= FEW { one_by_one(context, tasks).await } else { by_lists(context, tasks).await }
}

async fn one_by_one(context: &Context, tasks: &[Task]) -> Result<Observations, ClientError> {
    let look = |task: &Task| {
        let (name, with_states) = (task.name().to_owned(), task.needs_states());
        async move {
            let unit = context.cluster.unit(&name).await?;
            let states = if with_states { context.cluster.states(Some(&name)).await? } else { Vec::new() };
            Ok::<_, ClientError>((name, Observation { unit, states }))
        }
    };
    let looks: Vec<_> = tasks.iter().map(look).collect();
    let units =
        futures_util::stream::iter(looks).buffered(context.cluster.concurrency()).try_collect().await?;
    Ok(Observations { units })
}

async fn by_lists(context: &Context, tasks: &[Task]) -> Result<Observations, ClientError> {
    let mut units: BTreeMap<String, Observation> = BTreeMap::new();
    for unit in context.cluster.units().await? {
        let seen = units.entry(unit.name.clone()).or_default();
        seen.unit = Some(unit);
    }
    if tasks.iter().any(Task::needs_states) {
        for state in context.cluster.states(None).await? {
            let seen = units.entry(state.name.clone()).or_default();
            seen.states.push(state);
        }
    }
    Ok(Observations { units })
}
