//! What agents send and read, in the form and size of an unmodified agent 9.6.0.

use std::cell::RefCell;
use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::link::Answer;

/// The head of a gzip stream without name, time and system (RFC 1952, 2.3).
const GZIP: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// Bytes of an answer that are unpacked to see what it carries.
const LOOK: usize = 1024;

thread_local! {
    // Both are large and costly to make: as large as many agents.
    static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
    static DECOMPRESS: RefCell<Decompress> = RefCell::new(Decompress::new(false));
}

/// Compresses a body.
pub(super) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(GZIP.len() + body.len() / 2 + 256);
    packed.extend_from_slice(&GZIP);
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        loop {
            let done = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
            let rest = body.get(done..).unwrap_or_default();
            match compress.compress_vec(rest, &mut packed, FlushCompress::Finish) {
                Ok(flate2::Status::Ok | flate2::Status::BufError) => packed.reserve(body.len() + 256),
                Ok(flate2::Status::StreamEnd) | Err(_) => break,
            }
        }
    });
    let mut crc = Crc::new();
    crc.update(body);
    packed.extend_from_slice(&crc.sum().to_le_bytes());
    packed.extend_from_slice(&crc.amount().to_le_bytes());
    packed
}

/// The head of a request.
pub(super) fn head(method: &str, path: &str, key: &str, number: u64, body: usize, is_gzip: bool) -> String {
    let encoding = if is_gzip { "Content-Encoding: gzip\r\n" } else { "" };
    format!(
        "{method} {path}? HTTP/1.1\r\nHost: localhost:8220\r\nUser-Agent: Elastic Agent v9.6.0\r\n\
         Content-Length: {body}\r\nAccept: application/json\r\nAuthorization: ApiKey {key}\r\n{encoding}\
         Content-Type: application/json\r\nElastic-Api-Version: 2023-06-01\r\nKbn-Xsrf: 1\r\n\
         X-Request-Id: 01K{number:023}\r\nAccept-Encoding: gzip\r\n\r\n"
    )
}

/// The metadata of the machine with this number.
fn metadata(number: usize, id: &str) -> String {
    let [high, low] = [number / 250 % 250, number % 250];
    format!(
        r#"{{"elastic":{{"agent":{{"id":"{id}","version":"9.6.0","snapshot":false,"build.original":"9.6.0 (build: 1f7a4ba3c5d0e2b9c8f6a7d4e3b2c1a0f9e8d7c6 at 2026-07-28 09:14:55 +0000 UTC)","upgradeable":true,"log_level":"info","complete":false,"unprivileged":false,"fips":false}}}},"host":{{"architecture":"x86_64","hostname":"host-{number:06}","name":"host-{number:06}","id":"4c4c4544004b{number:020}","ip":["127.0.0.1/8","::1/128","10.7.{high}.{low}/16","fe80::5054:ff:fe12:{number:x}/64"],"mac":["52-54-00-12-{high:02X}-{low:02X}"],"memory":16655634432}},"os":{{"family":"debian","kernel":"6.12.38+deb13-amd64","platform":"debian","version":"13 (trixie)","name":"Debian GNU/Linux","full":"Debian GNU/Linux trixie(13 (trixie))"}}}}"#
    )
}

/// The body of an enrolment.
pub(super) fn enroll(number: usize) -> String {
    let metadata = metadata(number, "");
    format!(
        r#"{{"type":"PERMANENT","id":"","replace_token":"","metadata":{{"local":{metadata},"user_provided":null,"tags":["bench"]}}}}"#
    )
}

/// What a check-in says beside who the agent is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) status: &'a str,
    pub(super) message: &'a str,
    pub(super) ack_token: &'a str,
    /// The policy that it runs, and its revision.
    pub(super) policy: Option<(&'a str, u64)>,
}

/// The body of a check-in.
pub(super) fn checkin(number: usize, id: &str, said: Said<'_>) -> String {
    let Said { status, message, ack_token, policy } = said;
    let metadata = metadata(number, id);
    let components = if policy.is_some() {
        r#"[{"id":"log-default","type":"log","status":"HEALTHY","message":"Healthy: communicating with pid '1843'","units":[{"id":"log-default","type":"output","status":"HEALTHY","message":"Healthy"},{"id":"log-default-logfile-system-3f6b","type":"input","status":"HEALTHY","message":"Healthy","payload":{"streams":{"logfile-system.auth":{"error":"","status":"HEALTHY"},"logfile-system.syslog":{"error":"","status":"HEALTHY"}}}}]}]"#
    } else {
        "[]"
    };
    let mut text = format!(
        r#"{{"status":"{status}","message":"{message}","local_metadata":{metadata},"components":{components},"upgrade":{{}}"#
    );
    if !ack_token.is_empty() {
        text += &format!(r#","ack_token":"{ack_token}""#);
    }
    if let Some((policy, revision)) = policy {
        text += &format!(r#","agent_policy_id":"{policy}","policy_revision_idx":{revision}"#);
    }
    text.push('}');
    text
}

/// The body of an acknowledgement.
pub(super) fn acks<'a>(agent: &str, actions: impl Iterator<Item = &'a str>) -> String {
    let events: Vec<String> = actions
        .map(|action| {
            format!(
                r#"{{"type":"ACTION_RESULT","subtype":"ACKNOWLEDGED","timestamp":"2026-08-01T12:00:00.00000Z","action_id":"{action}","agent_id":"{agent}","message":"Action '{action}' acknowledged."}}"#
            )
        })
        .collect();
    format!(r#"{{"events":[{}]}}"#, events.join(","))
}

/// An answer to a check-in, as far as it is looked at.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Handed {
    #[serde(default)]
    pub(super) ack_token: String,
    #[serde(default)]
    pub(super) actions: Vec<Action>,
}

/// An action that was handed over.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Action {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default, rename = "data")]
    _data: IgnoredAny,
}

impl Action {
    /// Policy and revision, where it is a policy.
    pub(super) fn policy(&self) -> Option<(&str, u64)> {
        let mut parts = self.id.strip_prefix("policy:")?.split(':');
        let (policy, revision) = (parts.next()?, parts.next()?.parse().ok()?);
        (self.kind == "POLICY_CHANGE").then_some((policy, revision))
    }
}

/// Reads an answer to a check-in. Unless `is_thorough`, what follows the head of a policy is not unpacked: a
/// simulated agent does nothing with it, and thousands of them share the processors with the server.
pub(super) fn handed(answer: &Answer, is_thorough: bool) -> Result<Handed, String> {
    if answer.is_gzip && !is_thorough {
        let head = look(&answer.body);
        if let Some(handed) = policy_alone(&head) {
            return Ok(handed);
        }
    }
    let mut text = Vec::new();
    let plain = if answer.is_gzip {
        MultiGzDecoder::new(&*answer.body).read_to_end(&mut text).map_err(|error| error.to_string())?;
        &*text
    } else {
        &*answer.body
    };
    serde_json::from_slice(plain).map_err(|error| error.to_string())
}

/// The first bytes of a gzip stream, unpacked.
fn look(packed: &[u8]) -> Vec<u8> {
    let mut head = Vec::with_capacity(LOOK);
    // A stream with names and the like in its head is read the long way.
    if let Some(rest) = packed.strip_prefix(&GZIP[..4]).and_then(|rest| rest.get(6..)) {
        DECOMPRESS.with_borrow_mut(|decompress| {
            decompress.reset(false);
            // A broken stream is seen when it is read the long way.
            let _ = decompress.decompress_vec(rest, &mut head, FlushDecompress::None);
        });
    }
    head
}

/// What an answer carries whose first action is a policy: nothing follows a policy.
fn policy_alone(head: &[u8]) -> Option<Handed> {
    let head = std::str::from_utf8(head).ok().or_else(|| {
        // The look may end within a character.
        std::str::from_utf8(head.get(..LOOK / 2)?).ok()
    })?;
    let value = |from: &str, name: &str| {
        let start = from.find(name)? + name.len();
        let rest = from.get(start..)?;
        rest.get(..rest.find('"')?).map(str::to_owned)
    };
    let (before, actions) = head.split_once(r#""actions":[{"#)?;
    let kind = value(actions, r#""type":""#)?;
    if kind != "POLICY_CHANGE" {
        return None;
    }
    let action = Action { id: value(actions, r#""id":""#)?, kind, _data: IgnoredAny };
    Some(Handed { ack_token: value(before, r#""ack_token":""#).unwrap_or_default(), actions: vec![action] })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::Value;

    use super::*;

    fn answer(text: &str) -> Answer {
        Answer { status: 200, is_gzip: true, is_last: false, body: Bytes::from(gzip(text.as_bytes())) }
    }

    #[test]
    fn bodies_are_json_of_the_real_size() {
        let said = Said { status: "online", message: "Running", ack_token: "t", policy: Some(("p", 3)) };
        let text = checkin(7, "an-id", said);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["policy_revision_idx"], 3);
        assert_eq!(value["local_metadata"]["host"]["hostname"], "host-000007");
        assert!((1200..1700).contains(&text.len()), "{}", text.len());
        let _: Value = serde_json::from_str(&enroll(7)).unwrap();
        let acks: Value = serde_json::from_str(&acks("a", ["x", "y"].into_iter())).unwrap();
        assert_eq!(acks["events"][1]["action_id"], "y");
    }

    #[test]
    fn what_is_compressed_can_be_read() {
        let text = checkin(7, "an-id", Said { status: "online", message: "", ack_token: "", policy: None });
        for _ in 0..2 {
            let mut plain = String::new();
            MultiGzDecoder::new(&*gzip(text.as_bytes())).read_to_string(&mut plain).unwrap();
            assert_eq!(plain, text);
        }
    }

    #[test]
    fn a_policy_is_known_by_the_head_of_its_answer() {
        let text = format!(
            r#"{{"action":"checkin","ack_token":"t","actions":[{{"agent_id":"a","created_at":"c","id":"policy:p:4","type":"POLICY_CHANGE","data":{{"policy":{{"id":"p","x":"{}"}}}}}}]}}"#,
            "x".repeat(5000)
        );
        for is_thorough in [false, true] {
            let handed = handed(&answer(&text), is_thorough).unwrap();
            assert_eq!(handed.ack_token, "t");
            assert_eq!(handed.actions[0].policy(), Some(("p", 4)));
        }
    }

    #[test]
    fn actions_are_read_whole() {
        let text = r#"{"action":"checkin","ack_token":"t","actions":[{"id":"x","type":"SETTINGS","data":{"a":1}},{"id":"policy:p:4","type":"POLICY_CHANGE"}]}"#;
        let handed = handed(&answer(text), false).unwrap();
        assert_eq!(handed.actions.len(), 2);
        assert_eq!(handed.actions[0].policy(), None);
    }
}
