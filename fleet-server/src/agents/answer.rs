//! The answer to a check-in: actions, and a policy whose text all agents share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use fleet_policy::actions::Due;
use fleet_policy::policies::Head;
use fleet_policy::render::Rendered;
use fleet_policy::session::Offer;
use fleet_protocol::agent::{Action, Signed, policy_action_id};
use http::header::CONTENT_ENCODING;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use std::io::Write;

use super::compress::Shared;
use crate::http::Response;
use crate::signing::SignedAgain;

/// What follows the policy in an answer.
const END: &[u8] = b"}]}";

/// How answers are made.
#[derive(Debug)]
pub(super) struct Answers {
    level: u32,
    /// The newest rendering of each policy, compressed.
    shared: Mutex<HashMap<String, Compressed>>,
}

/// What was rendered, and the same compressed.
type Compressed = (Arc<Rendered>, Arc<Shared>);

/// How an answer may be compressed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encoding {
    pub(super) accepts_gzip: bool,
    pub(super) threshold: usize,
}

#[derive(Serialize)]
struct PolicyChange<'a> {
    agent_id: &'a str,
    created_at: &'a str,
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl Answers {
    pub(super) fn new(level: u32) -> Answers {
        Answers { level, shared: Mutex::default() }
    }

    /// The answer that carries `offer`. Without actions the agent keeps the token that it has.
    /// `own`: the policy as it is for this agent alone; `signed`: actions that are signed for it with another key.
    pub(super) fn answer(
        &self,
        agent_id: &str,
        offer: &Offer,
        own: Option<&[u8]>,
        signed: &SignedAgain,
        token: &str,
        encoding: Encoding,
    ) -> Response {
        let token = offer.actions.last().map_or(token, |due| due.action.document_id.as_str());
        let mut text = br#"{"action":"checkin","ack_token":"#.to_vec();
        append(&mut text, &token);
        for (due, index) in offer.actions.iter().zip(0..) {
            text.extend_from_slice(if index == 0 { br#","actions":["# } else { b"," });
            append_action(&mut text, agent_id, due, signed.get(&due.action.seq_no));
        }
        let Some(head) = &offer.policy else {
            text.extend_from_slice(if offer.actions.is_empty() { b"}" } else { b"]}" });
            return self.plain(text, encoding);
        };
        text.extend_from_slice(if offer.actions.is_empty() { br#","actions":["# } else { b"," });
        let rendered = &head.rendered;
        append(
            &mut text,
            &PolicyChange {
                agent_id,
                created_at: &rendered.created_at,
                id: &policy_action_id(&rendered.policy_id, rendered.revision),
                kind: "POLICY_CHANGE",
            },
        );
        // The object goes on with what all agents share.
        text.pop();
        text.extend_from_slice(br#","data":"#);
        if let Some(own) = own {
            text.extend_from_slice(own);
            text.extend_from_slice(END);
            return self.plain(text, encoding);
        }
        self.with_policy(text, head, encoding)
    }

    fn with_policy(&self, text: Vec<u8>, head: &Head, encoding: Encoding) -> Response {
        let shared = self.shared(&head.rendered);
        let length = text.len() + shared.plain.len() + END.len();
        let response = Response::json(StatusCode::OK, Bytes::new());
        if self.level > 0 && encoding.accepts_gzip && length > encoding.threshold {
            let response = response.with_pieces(shared.gzip(&text, END));
            return response.with_header(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response.with_pieces(vec![text.into(), shared.plain.clone(), Bytes::from_static(END)])
    }

    fn plain(&self, text: Vec<u8>, encoding: Encoding) -> Response {
        if self.level > 0 && encoding.accepts_gzip && text.len() > encoding.threshold {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::new(self.level.min(9)));
            if let Ok(compressed) = encoder.write_all(&text).and_then(|()| encoder.finish()) {
                let response = Response::json(StatusCode::OK, compressed);
                return response.with_header(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
        }
        Response::json(StatusCode::OK, text)
    }

    /// What the answers with this rendering have in common, made with the first of them.
    fn shared(&self, rendered: &Arc<Rendered>) -> Arc<Shared> {
        let mut known = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, shared)) = known.get(&rendered.policy_id)
            && Arc::ptr_eq(of, rendered)
        {
            return Arc::clone(shared);
        }
        let shared = Arc::new(Shared::new(rendered.data.text(), self.level));
        known.insert(rendered.policy_id.clone(), (Arc::clone(rendered), Arc::clone(&shared)));
        shared
    }
}

fn append_action(text: &mut Vec<u8>, agent_id: &str, due: &Due, again: Option<&Signed>) {
    let action = &due.action.action;
    let (start_time, expiration) =
        (due.start_time.map(|at| at.to_string()), action.expiration.map(|at| at.to_string()));
    append(
        text,
        &Action {
            agent_id,
            created_at: &action.timestamp.to_string(),
            id: &action.action_id,
            kind: due.action.kind,
            data: action.data.as_deref(),
            input_type: &action.input_type,
            start_time: start_time.as_deref(),
            expiration: expiration.as_deref(),
            timeout: action.timeout,
            traceparent: action.traceparent.as_deref(),
            signed: again.or(action.signed.as_ref()),
        },
    );
}

/// Appends JSON text. What these types hold can always be written.
fn append(text: &mut Vec<u8>, value: &impl Serialize) {
    let _ = serde_json::to_writer(text, value);
}
