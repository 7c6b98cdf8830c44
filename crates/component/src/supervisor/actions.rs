//! Asking a component to do something at once, and waiting for what came of it.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::file_name::plain;
use crate::unit::UnitKey;
use crate::wire;

/// So many actions of a component may wait for their answers.
const MOST_PENDING: usize = 64;
/// What of a file's name is kept.
const LONGEST_NAME: usize = 128;

/// Why an action was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// There is no such component, or none that runs.
    #[error("there is no component {component} that could do it")]
    NoComponent {
        /// The component.
        component: String,
    },
    /// It does not run.
    #[error("the component {component} takes no actions at the moment")]
    NotListening {
        /// The component.
        component: String,
    },
    /// Too many wait for it already.
    #[error("the component {component} has too much to do at the moment: try again")]
    Busy {
        /// The component.
        component: String,
    },
    /// It has not answered.
    #[error("the component {component} has not answered within {after:?}")]
    Timeout {
        /// The component.
        component: String,
        /// How long was waited.
        after: Duration,
    },
    /// It says that it could not do it.
    #[error("the component {component} could not do it: {reason}")]
    Failed {
        /// The component.
        component: String,
        /// In its own words.
        reason: String,
    },
    /// Its answer is not a JSON object.
    #[error("the component {component} has answered something that is no JSON object")]
    Answer {
        /// The component.
        component: String,
    },
}

/// A file for whoever looks for the reason of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its name for people.
    pub name: String,
    /// Its name as a file; may be anything, even hostile: `..` and slashes are taken out.
    pub filename: String,
    /// What is in it.
    pub description: String,
    /// Its media type.
    pub content_type: String,
    /// It.
    pub content: Vec<u8>,
    /// When it was made.
    pub generated: SystemTime,
}

/// What is asked of a component.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Custom { unit: UnitKey, name: String, params: Map<String, Value> },
    ComponentDiagnostics { metrics: Vec<String> },
    UnitDiagnostics { unit: UnitKey },
}

pub(super) type Reply = oneshot::Sender<Result<wire::ActionResponse, ActionError>>;

/// The actions that a component is doing.
#[derive(Debug)]
pub(super) struct Actions {
    component: String,
    stream: Option<(u64, mpsc::Sender<wire::ActionRequest>)>,
    pending: HashMap<String, Reply>,
    /// Of the pending ones, those that wait for the stream: a component that has just started opens it a moment after
    /// it has said how it is.
    unsent: Vec<wire::ActionRequest>,
}

impl Actions {
    pub(super) fn new(component: &str) -> Actions {
        Actions { component: component.to_owned(), stream: None, pending: HashMap::new(), unsent: Vec::new() }
    }

    pub(super) fn opened(&mut self, stream: u64, requests: mpsc::Sender<wire::ActionRequest>) {
        for request in self.unsent.drain(..) {
            let id = request.id.clone();
            let is_wanted = self.pending.get(&id).is_some_and(|reply| !reply.is_closed());
            if is_wanted
                && requests.try_send(request).is_err()
                && let Some(reply) = self.pending.remove(&id)
            {
                let _ = reply.send(Err(ActionError::Busy { component: self.component.clone() }));
            }
        }
        self.stream = Some((stream, requests));
    }

    /// What was asked may still be answered on the next stream of the same process.
    pub(super) fn closed(&mut self, stream: u64) {
        self.stream.take_if(|(open, _)| *open == stream);
    }

    /// The process is gone, and with it what it was doing.
    pub(super) fn lost(&mut self) {
        self.stream = None;
        self.unsent.clear();
        for (_, reply) in self.pending.drain() {
            // Who asked may have gone.
            let _ = reply.send(Err(ActionError::NotListening { component: self.component.clone() }));
        }
    }

    /// Asks, or lets it wait until the component that runs listens: who asks knows for how long.
    pub(super) fn ask(&mut self, asked: &Asked, reply: Reply, is_running: bool) {
        self.pending.retain(|_, reply| !reply.is_closed());
        self.unsent.retain(|request| self.pending.contains_key(&request.id));
        let component = self.component.clone();
        if self.stream.is_none() && !is_running {
            let _ = reply.send(Err(ActionError::NotListening { component }));
            return;
        }
        let request = to_request(asked);
        let id = request.id.clone();
        let has_room = self.pending.len() < MOST_PENDING;
        let is_taken = has_room
            && match &self.stream {
                Some((_, requests)) => requests.try_send(request).is_ok(),
                None => {
                    self.unsent.push(request);
                    true
                }
            };
        if is_taken {
            self.pending.insert(id, reply);
        } else {
            let _ = reply.send(Err(ActionError::Busy { component }));
        }
    }

    pub(super) fn answered(&mut self, response: wire::ActionResponse) {
        // One that nobody waits for any more is late.
        if let Some(reply) = self.pending.remove(&response.id) {
            let _ = reply.send(Ok(response));
        }
    }
}

fn to_request(asked: &Asked) -> wire::ActionRequest {
    let id = Uuid::new_v4().to_string();
    match asked {
        Asked::Custom { unit, name, params } => wire::ActionRequest {
            id,
            name: name.clone(),
            params: Value::Object(params.clone()).to_string().into_bytes(),
            unit_id: unit.id.clone(),
            unit_type: unit.kind.to_wire(),
            r#type: wire::ActionType::Custom.into(),
            level: wire::ActionLevel::All.into(),
        },
        Asked::ComponentDiagnostics { metrics } => {
            let metrics = if metrics.is_empty() { Value::Null } else { json!(metrics) };
            wire::ActionRequest {
                id,
                params: json!({"additional_metrics": metrics}).to_string().into_bytes(),
                r#type: wire::ActionType::Diagnostics.into(),
                level: wire::ActionLevel::Component.into(),
                ..wire::ActionRequest::default()
            }
        }
        Asked::UnitDiagnostics { unit } => wire::ActionRequest {
            id,
            unit_id: unit.id.clone(),
            unit_type: unit.kind.to_wire(),
            r#type: wire::ActionType::Diagnostics.into(),
            level: wire::ActionLevel::Unit.into(),
            ..wire::ActionRequest::default()
        },
    }
}

/// What a component has answered, as JSON.
pub(super) fn result(
    component: &str,
    response: &wire::ActionResponse,
) -> Result<Map<String, Value>, ActionError> {
    succeeded(component, response)?;
    json_object(&response.result).ok_or_else(|| ActionError::Answer { component: component.to_owned() })
}

fn succeeded(component: &str, response: &wire::ActionResponse) -> Result<(), ActionError> {
    if response.status == i32::from(wire::ActionStatus::Success) {
        return Ok(());
    }
    let result = json_object(&response.result).unwrap_or_default();
    let reason = result.get("error").and_then(Value::as_str).unwrap_or("it does not say why");
    Err(ActionError::Failed {
        component: component.to_owned(),
        reason: super::tracker::shorten(reason, 4096),
    })
}

/// Nothing is an object without fields: `null` is what a map that nobody has made becomes in Go.
fn json_object(bytes: &[u8]) -> Option<Map<String, Value>> {
    match bytes {
        [] => Some(Map::new()),
        bytes => {
            serde_json::from_slice::<Option<Map<String, Value>>>(bytes).ok().map(Option::unwrap_or_default)
        }
    }
}

/// The files that a component has answered with, whatever its result is.
pub(super) fn diagnostics(
    component: &str,
    response: wire::ActionResponse,
) -> Result<Vec<Diagnostic>, ActionError> {
    succeeded(component, &response)?;
    let files = response.diagnostics.into_iter().enumerate();
    let files = files
        .map(|(index, file)| Diagnostic {
            filename: plain(&file.filename, LONGEST_NAME).unwrap_or_else(|| format!("file-{index}")),
            generated: file
                .generated
                .and_then(|at| SystemTime::try_from(at).ok())
                .unwrap_or_else(SystemTime::now),
            name: file.name,
            description: file.description,
            content_type: file.content_type,
            content: file.content,
        })
        .collect();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit() -> Asked {
        Asked::Custom { unit: UnitKey::input("u"), name: "n".to_owned(), params: Map::new() }
    }

    fn open() -> (Actions, mpsc::Receiver<wire::ActionRequest>) {
        let mut actions = Actions::new("c");
        let (requests, waiting) = mpsc::channel(200);
        actions.opened(1, requests);
        (actions, waiting)
    }

    #[test]
    fn answers_find_who_asked_in_any_order() {
        let (mut actions, mut waiting) = open();
        let mut asked = Vec::new();
        for _ in 0..3 {
            let (reply, answer) = oneshot::channel();
            actions.ask(&unit(), reply, true);
            asked.push((waiting.try_recv().expect("a request").id, answer));
        }
        for (id, _) in asked.iter().rev() {
            actions.answered(wire::ActionResponse { id: id.clone(), ..wire::ActionResponse::default() });
        }
        actions
            .answered(wire::ActionResponse { id: "unknown".to_owned(), ..wire::ActionResponse::default() });
        for (id, mut answer) in asked {
            assert_eq!(answer.try_recv().expect("an answer").expect("done").id, id);
        }
    }

    #[test]
    fn what_cannot_be_asked_fails_at_once() {
        let (mut actions, _waiting) = open();
        let mut kept = Vec::new();
        for _ in 0..MOST_PENDING {
            let (reply, answer) = oneshot::channel();
            actions.ask(&unit(), reply, true);
            kept.push(answer);
        }
        let (reply, mut answer) = oneshot::channel();
        actions.ask(&unit(), reply, true);
        assert!(matches!(answer.try_recv(), Ok(Err(ActionError::Busy { .. }))));
        kept.clear();
        let (reply, mut answer) = oneshot::channel();
        actions.ask(&unit(), reply, true);
        assert!(answer.try_recv().is_err());
        actions.lost();
        assert!(matches!(answer.try_recv(), Ok(Err(ActionError::NotListening { .. }))));
        let (reply, mut answer) = oneshot::channel();
        actions.ask(&unit(), reply, false);
        assert!(matches!(answer.try_recv(), Ok(Err(ActionError::NotListening { .. }))));
    }

    #[test]
    fn what_is_asked_before_a_component_listens_waits_for_it() {
        let mut actions = Actions::new("c");
        let ask = |actions: &mut Actions| {
            let (reply, answer) = oneshot::channel();
            actions.ask(&unit(), reply, true);
            answer
        };
        let (mut first, given_up) = (ask(&mut actions), ask(&mut actions));
        drop(given_up);
        let (requests, mut waiting) = mpsc::channel(200);
        actions.opened(1, requests);
        let id = waiting.try_recv().expect("a request").id;
        assert!(waiting.try_recv().is_err(), "nobody waits for the other");
        actions.answered(wire::ActionResponse { id, ..wire::ActionResponse::default() });
        assert!(matches!(first.try_recv(), Ok(Ok(_))));
        // What a process was asked that is gone, another is not.
        actions.closed(1);
        let mut lost = ask(&mut actions);
        actions.lost();
        assert!(matches!(lost.try_recv(), Ok(Err(ActionError::NotListening { .. }))));
        let (requests, mut waiting) = mpsc::channel(200);
        actions.opened(2, requests);
        assert!(waiting.try_recv().is_err());
    }

    #[test]
    fn a_failure_has_the_words_of_the_component() {
        let failed = |result: &[u8]| wire::ActionResponse {
            status: wire::ActionStatus::Failed.into(),
            result: result.to_vec(),
            ..wire::ActionResponse::default()
        };
        let reason = |result: &[u8]| match self::result("c", &failed(result)) {
            Err(ActionError::Failed { reason, .. }) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(br#"{"error":"action undefined"}"#), "action undefined");
        assert_eq!(reason(b"garbage"), "it does not say why");
        let done = |result: &[u8]| wire::ActionResponse { result: result.to_vec(), ..Default::default() };
        assert!(matches!(result("c", &done(b"[]")), Err(ActionError::Answer { .. })));
        for nothing in ["", "null", "{}"] {
            assert_eq!(result("c", &done(nothing.as_bytes())), Ok(Map::new()), "{nothing:?}");
        }
        assert_eq!(diagnostics("c", done(b"anything")), Ok(Vec::new()));
        assert!(diagnostics("c", failed(b"{}")).is_err());
    }

    #[test]
    fn files_of_a_component_are_called_as_files_can_be() {
        let named = |filename: &str| wire::Diagnostic { filename: filename.to_owned(), ..Default::default() };
        let response = wire::ActionResponse {
            diagnostics: vec![named("a.yml"), named("../../etc/passwd"), named("..")],
            ..wire::ActionResponse::default()
        };
        let files = diagnostics("c", response).expect("files");
        let names: Vec<&str> = files.iter().map(|file| file.filename.as_str()).collect();
        assert_eq!(names, ["a.yml", ".._.._etc_passwd", "file-2"]);
    }
}
