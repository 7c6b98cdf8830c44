//! Units: what people submit, want and destroy.

use std::collections::{BTreeMap, BTreeSet};

use fleet_cluster::documents::{StateDocument, TargetState, UnitDocument, split_state_id, state_id};
use fleet_protocol::fleet_v1::{CONTENT_TYPE, Unit, UnitPage, decode};
use fleet_store::{Expect, Scope, Versioned};
use fleet_unit::{Requirements, UnitFile, UnitName};
use http::{HeaderMap, StatusCode, header};

use super::answer::{Answer, Failure};
use super::route::Query;
use super::write::Attempts;
use super::{Api, page};

impl Api {
    pub(super) async fn list_units(&self, query: &Query) -> Result<Answer, Failure> {
        let token = page::token(query, self.token_limit)?;
        let all = self.snapshots.units.entries(token.page == 1, self.read_units()).await?;
        let (units, next_page_token) = page::cut(all.iter(), token);
        Ok(Answer::json(&UnitPage { next_page_token, units }))
    }

    async fn read_units(&self) -> Result<Vec<Unit>, Failure> {
        let (units, states, machines) = tokio::try_join!(
            self.units.list(Scope::All),
            self.states.list(Scope::All),
            self.machines.list(Scope::All)
        )?;
        let there: BTreeSet<&str> = machines.values.iter().map(|machine| machine.id.as_str()).collect();
        let states: BTreeMap<(&str, &str), TargetState> = states
            .values
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
        Ok(units.values.into_iter().map(represent).collect())
    }

    pub(super) async fn get_unit(&self, name: &str) -> Result<Answer, Failure> {
        let unit = self.units.get(name).await?.ok_or_else(Failure::no_such_unit)?;
        let Some(machine) = unit.value.machine.clone() else {
            let current = (!is_global(&unit)).then_some(TargetState::Inactive);
            return Ok(Answer::json(&represent(unit, current)));
        };
        let id = state_id(name, &machine);
        let (state, there) = tokio::try_join!(self.states.get(&id), self.machines.get(&machine.0))?;
        let current =
            state.map_or(TargetState::Inactive, |state: Versioned<StateDocument>| state.value.current);
        let mut represented = represent(unit, Some(current));
        if there.is_none() {
            represented.machine_id.clear();
        }
        Ok(Answer::json(&represented))
    }

    pub(super) async fn put_unit(
        &self,
        item: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Answer, Failure> {
        check_content_type(headers)?;
        let request: Unit =
            decode(body).map_err(|error| Failure::bad_request(format!("unable to decode body: {error}")))?;
        if !request.name.is_empty() && request.name != item {
            let message =
                format!("name in URL {item:?} differs from unit name in request body {:?}", request.name);
            return Err(Failure::bad_request(message));
        }
        let name = UnitName::parse(item).map_err(|error| Failure::bad_request(error.to_string()))?;
        let wanted = desired_state(&request.desired_state)?;
        if name.is_template() && wanted.is_some_and(|wanted| wanted != TargetState::Inactive) {
            return Err(Failure::bad_request(format!("cannot activate template {item:?}")));
        }
        let file = (!request.options.is_empty()).then(|| UnitFile::from_options(request.options));
        let mut attempts = Attempts::new();
        loop {
            let there = self.units.get(item).await?;
            let expect = there.as_ref().map_or(Expect::Absent, |found| Expect::Revision(found.revision));
            let change = change(&name, there.map(|found| found.value), file.as_ref(), wanted)?;
            let (document, status) = match change {
                Change::None => return Ok(Answer::empty(StatusCode::NO_CONTENT)),
                Change::State(document) => (document, StatusCode::NO_CONTENT),
                Change::File(document) => (document, StatusCode::CREATED),
            };
            let written = self.units.put(item, &document, expect, None, None).await;
            if attempts.settled(written)? {
                return Ok(Answer::empty(status));
            }
        }
    }

    pub(super) async fn delete_unit(&self, name: &str) -> Result<Answer, Failure> {
        let mut attempts = Attempts::new();
        let mut tried = false;
        loop {
            // What was there when we looked first, and is gone now, we have removed ourselves, or somebody
            // else has: either way it is as asked.
            let Some(there) = self.units.get(name).await? else {
                let gone = Answer::empty(StatusCode::NO_CONTENT);
                return if tried { Ok(gone) } else { Err(Failure::no_such_unit()) };
            };
            tried = true;
            let written = self.units.delete(name, Expect::Revision(there.revision), None).await;
            if attempts.settled(written)? {
                return Ok(Answer::empty(StatusCode::NO_CONTENT));
            }
        }
    }

    /// Asks for a restart: each machine that runs the unit restarts it once.
    pub(super) async fn restart_unit(&self, name: &str) -> Result<Answer, Failure> {
        let mut attempts = Attempts::new();
        loop {
            let there = self.units.get(name).await?.ok_or_else(Failure::no_such_unit)?;
            let mut document = there.value;
            if document.desired_state != TargetState::Launched {
                let message = format!(
                    "cannot restart unit {name:?}: its desired state is {}, not launched",
                    document.desired_state.as_str()
                );
                return Err(Failure::new(StatusCode::CONFLICT, message));
            }
            document.restarts += 1;
            let written = self.units.put(name, &document, Expect::Revision(there.revision), None, None).await;
            if attempts.settled(written)? {
                return Ok(Answer::empty(StatusCode::NO_CONTENT));
            }
        }
    }
}

enum Change {
    None,
    State(UnitDocument),
    File(UnitDocument),
}

/// What a PUT changes.
fn change(
    name: &UnitName,
    there: Option<UnitDocument>,
    file: Option<&UnitFile>,
    wanted: Option<TargetState>,
) -> Result<Change, Failure> {
    match (there, file) {
        (None, None) => {
            Err(Failure::new(StatusCode::CONFLICT, "unit does not exist and options field empty"))
        }
        (None, Some(file)) => {
            check_file(name, file)?;
            let options = file.options().to_vec();
            let desired_state = wanted.unwrap_or(TargetState::Inactive);
            Ok(Change::File(UnitDocument { options, desired_state, machine: None, restarts: 0 }))
        }
        (Some(there), Some(file)) if there.file() != *file => {
            check_file(name, file)?;
            let options = file.options().to_vec();
            let desired_state = wanted.unwrap_or(TargetState::Inactive);
            Ok(Change::File(UnitDocument { options, desired_state, ..there }))
        }
        (Some(there), _) => match wanted {
            None => {
                Err(Failure::new(StatusCode::CONFLICT, "must provide DesiredState to update existing unit"))
            }
            Some(wanted) if wanted == there.desired_state => Ok(Change::None),
            Some(wanted) => Ok(Change::State(UnitDocument { desired_state: wanted, ..there })),
        },
    }
}

fn check_file(name: &UnitName, file: &UnitFile) -> Result<(), Failure> {
    Requirements::validate(file).map_err(|error| Failure::bad_request(error.to_string()))?;
    if !name.is_template() {
        Requirements::of(name, file).map_err(|error| Failure::bad_request(error.to_string()))?;
    }
    Ok(())
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Failure> {
    let unsupported = |message: String| Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    let values: Vec<_> = headers.get_all(header::CONTENT_TYPE).iter().collect();
    let [value] = values.as_slice() else {
        return unsupported(format!("expected 1 Content-Type, got {}", values.len()));
    };
    let media_type = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    if media_type.trim_ascii() == CONTENT_TYPE.as_bytes() {
        return Ok(());
    }
    unsupported("only acceptable Content-Type is application/json".to_owned())
}

fn desired_state(text: &str) -> Result<Option<TargetState>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    match TargetState::parse(text) {
        Some(state) => Ok(Some(state)),
        None => Err(Failure::bad_request(format!(
            "invalid value {text:?} for desiredState: expect inactive, loaded or launched"
        ))),
    }
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
