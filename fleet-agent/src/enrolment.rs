//! Enrolling this machine: once, and the same agent again when that is tried twice.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fleet::{
    ClientError, ConnectionSettings, EnrolError, Enrolment, FleetClient, SettingsError, Told, enrol,
    log_attempt,
};
use crate::fleet_server::FleetServer;
use crate::machine::Machine;
use crate::paths::Paths;
use crate::state::{Identity, Progress, SavedPolicy, StateError, StateStore};

/// What an enrolment is made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// How the server is reached.
    pub connection: ConnectionSettings,
    /// The key that names the policy.
    pub token: String,
    /// The id that it wants; empty: a new one.
    pub id: String,
    /// Proves that it may take over that id.
    pub replace_token: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Enrol although it is enrolled.
    pub force: bool,
    /// How long to try.
    pub within: Duration,
    /// The server to bring up first, and to enrol with.
    #[serde(default)]
    pub bootstrap: Option<Bootstrap>,
}

impl Wanted {
    /// Puts the content of the files that it names in their place: an agent without privileges may not read them.
    /// Returns their names.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn take_in_files(&mut self) -> Result<Vec<String>, SettingsError> {
        let mut taken = self.connection.take_in_files()?;
        if let Some(bootstrap) = &mut self.bootstrap {
            taken.extend(bootstrap.server.take_in_files()?);
        }
        Ok(taken)
    }
}

/// A server that is brought up for the enrolment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// What it is.
    pub server: FleetServer,
    /// How long it may take to be ready.
    pub within: Duration,
}

/// An enrolment that is under way, or put off. It names itself to the server by the same id each time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Attempt {
    enrollment_id: String,
    wanted: Wanted,
    /// To be made when the agent starts.
    is_delayed: bool,
}

/// The document's name.
const ATTEMPT: &str = "enrolment";

/// Why there is no enrolment.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    /// The agent is enrolled.
    #[error("this machine is enrolled as agent {0} already: give --force to enrol it anew")]
    Already(String),
    /// A directory cannot be used.
    #[error("the data directory {} cannot be made or secured (--path.data)", path.display())]
    Data {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The state cannot be used.
    #[error("the enrolment cannot be kept")]
    State(#[source] StateError),
    /// The settings are wrong.
    #[error("the server cannot be reached")]
    Client(#[source] ClientError),
    /// The server does not want it.
    #[error("the enrolment failed")]
    Enrol(#[source] EnrolError),
    /// The client could not be made.
    #[error("the enrolment was interrupted")]
    Interrupted,
}

/// Opens the state of the agent that lies at these paths.
///
/// # Errors
/// It cannot be opened.
pub fn open_state(paths: &Paths, credentials: Option<&Path>) -> Result<StateStore, EnrolmentError> {
    crate::install::secure_data(paths)
        .map_err(|source| EnrolmentError::Data { path: paths.data.clone(), source })?;
    StateStore::open(&paths.state(), credentials).map_err(EnrolmentError::State)
}

/// Enrols, and keeps who the agent is; `told` hears of attempts that failed and are made again.
///
/// # Errors
/// [`EnrolmentError`].
pub async fn enroll(
    paths: &Paths,
    credentials: Option<PathBuf>,
    wanted: &Wanted,
    told: Told<'_>,
) -> Result<Identity, EnrolmentError> {
    let store = open_state(paths, credentials.as_deref())?;
    refuse_twice(&store, wanted)?;
    carry_out(&store, wanted, told).await
}

/// Writes down an enrolment with a server that is brought up for it, for when the agent starts. Who the agent was is
/// forgotten, if that is wanted: an agent that has enrolled does not look for it.
///
/// # Errors
/// [`EnrolmentError`].
pub fn prepare(store: &StateStore, wanted: &Wanted) -> Result<(), EnrolmentError> {
    refuse_twice(store, wanted)?;
    begin(store, wanted, true)?;
    let forgotten = store.remove(Identity::NAME).and_then(|()| store.remove(SavedPolicy::NAME));
    forgotten.map_err(EnrolmentError::State)
}

/// Refuses an enrolment of an agent that is enrolled, unless that is wanted.
pub(crate) fn refuse_twice(store: &StateStore, wanted: &Wanted) -> Result<(), EnrolmentError> {
    let (identity, _) = store.load::<Identity>(Identity::NAME).map_err(EnrolmentError::State)?.split();
    match identity {
        Some(identity) if !wanted.force => Err(EnrolmentError::Already(identity.id)),
        _ => Ok(()),
    }
}

/// Enrols with a server that is there.
pub(crate) async fn carry_out(
    store: &StateStore,
    wanted: &Wanted,
    told: Told<'_>,
) -> Result<Identity, EnrolmentError> {
    // One that was put off stays so: an agent that is stopped meanwhile goes on with it.
    let is_delayed = delayed(store)?.is_some();
    let attempt = begin(store, wanted, is_delayed)?;
    let connection = wanted.connection.clone();
    let client = tokio::task::spawn_blocking(move || FleetClient::new(&connection)).await;
    let client = client.map_err(|_| EnrolmentError::Interrupted)?.map_err(EnrolmentError::Client)?;
    let enrolment = Enrolment {
        token: wanted.token.clone(),
        id: wanted.id.clone(),
        replace_token: wanted.replace_token.clone(),
        enrollment_id: attempt.enrollment_id,
        tags: wanted.tags.clone(),
        metadata: Machine::read().metadata(&wanted.id, "info", false),
    };
    let enrolled = enrol(&client, &enrolment, wanted.within, told).await.map_err(EnrolmentError::Enrol)?;
    let identity = Identity {
        id: enrolled.id,
        access_api_key: enrolled.access_api_key,
        connection: wanted.connection.clone(),
        policy_id: enrolled.policy_id,
        enrolled_at: crate::clock::now_text(),
        replace_token: wanted.replace_token.clone(),
        tags: wanted.tags.clone(),
        fleet_server: wanted.bootstrap.as_ref().map(|bootstrap| bootstrap.server.clone()),
    };
    // What belonged to another enrolment means nothing to this one. The identity is last: with it, all is done.
    let kept = store
        .remove(SavedPolicy::NAME)
        .and_then(|()| store.remove(Progress::NAME))
        .and_then(|()| store.save(Identity::NAME, &identity))
        .and_then(|()| store.remove(ATTEMPT));
    kept.map_err(EnrolmentError::State)?;
    Ok(identity)
}

/// Writes down that an enrolment begins. One that began with the same settings goes on under its id, so that the
/// server, which may have done its part, makes no second agent.
fn begin(store: &StateStore, wanted: &Wanted, is_delayed: bool) -> Result<Attempt, EnrolmentError> {
    let (before, _) = store.load::<Attempt>(ATTEMPT).map_err(EnrolmentError::State)?.split();
    let same = before.filter(|before| before.wanted.token == wanted.token && before.wanted.id == wanted.id);
    let enrollment_id = same.map_or_else(|| uuid::Uuid::new_v4().to_string(), |before| before.enrollment_id);
    let attempt = Attempt { enrollment_id, wanted: wanted.clone(), is_delayed };
    store.save(ATTEMPT, &attempt).map_err(EnrolmentError::State)?;
    Ok(attempt)
}

/// Writes down an enrolment for when the agent starts.
///
/// # Errors
/// [`EnrolmentError`].
pub fn delay(paths: &Paths, credentials: Option<&Path>, wanted: &Wanted) -> Result<(), EnrolmentError> {
    let store = open_state(paths, credentials)?;
    refuse_twice(&store, wanted)?;
    begin(&store, wanted, true).map(drop)
}

/// Makes the enrolment that was put off. `None`: there is none.
///
/// # Errors
/// [`EnrolmentError`].
pub async fn enroll_delayed(store: &StateStore) -> Result<Option<Identity>, EnrolmentError> {
    match delayed(store)? {
        Some(wanted) => carry_out(store, &wanted, &log_attempt).await.map(Some),
        None => Ok(None),
    }
}

/// The enrolment that was put off.
///
/// # Errors
/// The state cannot be read.
pub fn delayed(store: &StateStore) -> Result<Option<Wanted>, EnrolmentError> {
    let (attempt, _) = store.load::<Attempt>(ATTEMPT).map_err(EnrolmentError::State)?.split();
    Ok(attempt.filter(|attempt| attempt.is_delayed).map(|attempt| attempt.wanted))
}
