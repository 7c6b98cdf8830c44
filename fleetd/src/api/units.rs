//! Units: what is wanted, where it is, and how it is removed and restarted.

use std::collections::{BTreeMap, BTreeSet};

use fleet_cluster::documents::{TargetState, UnitDocument, split_state_id, state_id};
use fleet_protocol::fleet_v1::{Unit, UnitPage};
use fleet_store::{Expect, Malformed, Versioned};
use fleet_unit::{Requirements, UnitName};
use http::StatusCode;

use super::answer::{Answer, Failure};
use super::documents::Found;
use super::route::Query;
use super::write::Attempts;
use super::{Api, Client, page};

impl Api {
    pub(super) async fn list_units(&self, query: &Query, client: Option<Client>) -> Result<Answer, Failure> {
        let token = page::token(query, self.token_limit)?;
        let all = self.snapshots.units.entries(token, client, self.read_units()).await?;
        let (units, next_page_token) = page::cut(all.iter(), token);
        Ok(Answer::json(&UnitPage { next_page_token, units }))
    }

    async fn read_units(&self) -> Result<Vec<Unit>, Failure> {
        let (units, states, machines) =
            tokio::try_join!(self.units.list(), self.states.list(), self.machines.list())?;
        let there: BTreeSet<&str> = machines.iter().map(|machine| machine.id.as_str()).collect();
        let states: BTreeMap<(&str, &str), TargetState> = states
            .iter()
            .filter_map(|state| Some((split_state_id(&state.id)?, state.value.current)))
            .collect();
        let represent = |unit: Versioned<UnitDocument>| {
            let machine = unit.value.machine.as_ref().map(|machine| machine.0.as_str());
            let current = machine.and_then(|machine| states.get(&(unit.id.as_str(), machine)).copied());
            let away = !machine.is_some_and(|machine| there.contains(machine));
            let mut represented = represent(unit, Some(current.unwrap_or(TargetState::Inactive)));
            if away {
                represented.machine_id.clear();
            }
            represented
        };
        Ok(units.into_iter().map(represent).collect())
    }

    pub(super) async fn get_unit(&self, name: &str) -> Result<Answer, Failure> {
        let unit = self.readable_unit(name).await?;
        let Some(machine) = unit.value.machine.clone() else {
            let current = (!is_global(&unit)).then_some(TargetState::Inactive);
            return Ok(Answer::json(&represent(unit, current)));
        };
        let id = state_id(name, &machine);
        let (state, there) = tokio::try_join!(self.states.find(&id), self.machines.find(&machine.0))?;
        let current = state.value().map_or(TargetState::Inactive, |state| state.value.current);
        let mut represented = represent(unit, Some(current));
        if there.value().is_none() {
            represented.machine_id.clear();
        }
        Ok(Answer::json(&represented))
    }

    /// Removes a unit, a malformed one too.
    pub(super) async fn delete_unit(&self, name: &str) -> Result<Answer, Failure> {
        let _turn = self.queues.turn(name).await;
        let mut attempts = Attempts::new();
        let mut tried = false;
        loop {
            let there = self.units.find(name).await?;
            if matches!(there, Found::Nothing) {
                // What was there when we looked first, and is gone now, we have removed ourselves, or somebody
                // else has: either way it is as asked.
                let gone = Answer::empty(StatusCode::NO_CONTENT);
                return if tried { Ok(gone) } else { Err(Failure::no_such_unit()) };
            }
            tried = true;
            let expect = there.expect();
            attempts.begin(expect)?;
            if attempts.settle(expect, self.units.delete(name, expect).await)? {
                return Ok(Answer::empty(StatusCode::NO_CONTENT));
            }
        }
    }

    /// Asks for a restart: each machine that runs the unit restarts it once.
    pub(super) async fn restart_unit(&self, name: &str) -> Result<Answer, Failure> {
        let _turn = self.queues.turn(name).await;
        let mut attempts = Attempts::new();
        let mut perhaps = None;
        loop {
            let mut unit = self.readable_unit(name).await?;
            // Who finds this count, or a higher one, has been restarted since we were asked.
            if attempts.is_in_doubt() && perhaps.is_some_and(|restarts| unit.value.restarts >= restarts) {
                return Ok(Answer::empty(StatusCode::NO_CONTENT));
            }
            let expect = Expect::Revision(unit.revision);
            attempts.begin(expect)?;
            let document = &mut unit.value;
            if document.desired_state != TargetState::Launched {
                let message = format!(
                    "cannot restart unit {name:?}: its desired state is {}, not launched",
                    document.desired_state.as_str()
                );
                return Err(Failure::new(StatusCode::CONFLICT, message));
            }
            document.ask_for_restart(unit.revision);
            perhaps = Some(document.restarts);
            if attempts.settle(expect, self.units.put(name, document, expect).await)? {
                return Ok(Answer::empty(StatusCode::NO_CONTENT));
            }
        }
    }

    /// The unit, if it is there and can be read.
    pub(super) async fn readable_unit(&self, name: &str) -> Result<Versioned<UnitDocument>, Failure> {
        match self.units.find(name).await? {
            Found::Value(unit) => Ok(unit),
            Found::Nothing => Err(Failure::no_such_unit()),
            Found::Malformed(malformed) => {
                Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, unreadable(&malformed)))
            }
        }
    }
}

/// What to tell about a unit that is there and cannot be read.
pub(super) fn unreadable(malformed: &Malformed) -> String {
    format!(
        "unit {:?} is in the store but cannot be read ({}): submit it again with its options, or destroy it",
        malformed.id, malformed.error
    )
}

fn is_global(unit: &Versioned<UnitDocument>) -> bool {
    let Ok(name) = UnitName::parse(&unit.id) else { return false };
    Requirements::of(&name, &unit.value.file()).is_ok_and(|requirements| requirements.global)
}

fn represent(unit: Versioned<UnitDocument>, current: Option<TargetState>) -> Unit {
    Unit {
        current_state: current.map(TargetState::as_str).unwrap_or_default().to_owned(),
        desired_state: unit.value.desired_state.as_str().to_owned(),
        machine_id: unit.value.machine.map(|machine| machine.0).unwrap_or_default(),
        name: unit.id,
        options: unit.value.options,
    }
}
