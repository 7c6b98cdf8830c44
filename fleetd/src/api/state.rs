//! What systemd says of units.

use fleet_cluster::documents::{StateDocument, TargetState, split_state_id};
use fleet_protocol::fleet_v1::{UnitState, UnitStatePage};
use fleet_store::Versioned;
use http::StatusCode;

use super::answer::{Answer, Failure};
use super::route::Query;
use super::{Api, Client, page};

impl Api {
    pub(super) async fn list_states(&self, query: &Query, client: Option<Client>) -> Result<Answer, Failure> {
        let token = page::token(query, self.token_limit)?;
        let (machine, unit) = (query.first("machineID"), query.first("unitName"));
        let (states, next_page_token) = if unit.is_empty() {
            let read = self.read_states(None);
            let all = self.snapshots.states.entries(token, client, read).await?;
            let chosen = all.iter().filter(|state| machine.is_empty() || state.machine_id == machine);
            page::cut(chosen, token)
        } else {
            // Scripts wait for one unit by asking for it again and again: that must cost little.
            let all = self.read_states(Some(unit)).await?;
            let chosen = all.iter().filter(|state| machine.is_empty() || state.machine_id == machine);
            page::cut(chosen, token)
        };
        Ok(Answer::json(&UnitStatePage { next_page_token, states }))
    }

    pub(super) async fn get_state(&self, unit: &str) -> Result<Answer, Failure> {
        let states = self.read_states(Some(unit)).await?;
        match states.first() {
            Some(state) => Ok(Answer::json(state)),
            None => Err(Failure::new(StatusCode::NOT_FOUND, "unit state does not exist")),
        }
    }

    async fn read_states(&self, unit: Option<&str>) -> Result<Vec<UnitState>, Failure> {
        let documents = match unit {
            Some(unit) => self.states.list_prefix(format!("{unit}/")).await?,
            None => self.states.list().await?,
        };
        let mut states: Vec<UnitState> = documents.into_iter().filter_map(unit_state).collect();
        states.sort_by(|one, other| (&one.name, &one.machine_id).cmp(&(&other.name, &other.machine_id)));
        Ok(states)
    }
}

/// What a document says in the words of the API; `None` where nothing is installed (yet).
fn unit_state(document: Versioned<StateDocument>) -> Option<UnitState> {
    let (unit, _) = split_state_id(&document.id)?;
    let state = document.value;
    (state.current != TargetState::Inactive).then(|| UnitState {
        hash: state.hash.to_string(),
        machine_id: state.machine.0,
        name: unit.to_owned(),
        systemd_active_state: state.active,
        systemd_load_state: state.load,
        systemd_sub_state: state.sub,
    })
}
