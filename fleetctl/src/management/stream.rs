//! Events that the server sends while one waits (HTML Living Standard, 9.2: server-sent events).

use serde_json::Value;

use super::client::Client;
use super::error::ApiError;
use crate::client::Pieces;

/// The longest event in bytes, with what has come of the next.
const MAX_EVENT: usize = 1024 * 1024;

/// An event.
#[derive(Debug, PartialEq)]
pub(crate) struct ServerEvent {
    /// Where a stream goes on after it.
    pub(crate) id: Option<String>,
    /// What kind of event.
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// A stream of events.
#[derive(Debug)]
pub(crate) struct EventStream {
    pieces: Pieces,
    url: String,
    buffer: Vec<u8>,
}

impl EventStream {
    /// Begins the stream at `path`, below `/api/fleet/`, after the event `last`.
    pub(crate) async fn open(
        client: &Client,
        path: &str,
        last: Option<&str>,
    ) -> Result<EventStream, ApiError> {
        let pieces = client.stream(&format!("api/fleet/{path}"), last).await?;
        let url = format!("{}/api/fleet/{path}", client.url());
        Ok(EventStream { pieces, url, buffer: Vec::new() })
    }

    /// The next event; nothing: the stream is over, and goes on with another one.
    pub(crate) async fn next(&mut self) -> Result<Option<ServerEvent>, ApiError> {
        loop {
            while let Some(block) = take_block(&mut self.buffer) {
                if let Some(event) = parse(&block) {
                    return Ok(Some(event));
                }
            }
            let failed =
                |source| ApiError::Request { method: "GET".to_owned(), url: self.url.clone(), source };
            let Some(piece) = self.pieces.next().await.map_err(failed)? else { return Ok(None) };
            self.buffer.extend_from_slice(&piece);
            if self.buffer.len() > MAX_EVENT {
                return Err(ApiError::Shape {
                    method: "GET".to_owned(),
                    url: self.url.clone(),
                    what: "end of an event",
                });
            }
        }
    }
}

/// Takes what comes before the next empty line.
fn take_block(buffer: &mut Vec<u8>) -> Option<String> {
    let end = buffer.windows(2).position(|pair| pair == b"\n\n")?;
    let block = buffer.drain(..end + 2).collect::<Vec<u8>>();
    Some(String::from_utf8_lossy(&block).into_owned())
}

/// The event of a block; nothing: it only shows that the server is there.
fn parse(block: &str) -> Option<ServerEvent> {
    let (mut id, mut name, mut data) = (None, "message".to_owned(), String::new());
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => id = Some(value.to_owned()),
            "event" => value.clone_into(&mut name),
            "data" => data.push_str(value),
            _ => {}
        }
    }
    let data = serde_json::from_str(&data).ok()?;
    Some(ServerEvent { id, name, data })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_read_whole_however_they_come() {
        let text = "retry: 2000\n\n:\n\nid: 1\nevent: agent-status\ndata: {\"a\": 1}\n\nid:2\ndata:{\"b\":2}\n\nid: 3\nda";
        let mut buffer = Vec::new();
        let mut events = Vec::new();
        for byte in text.bytes() {
            buffer.push(byte);
            events.extend(take_block(&mut buffer).and_then(|block| parse(&block)));
        }
        let event =
            |id: &str, name: &str, data| ServerEvent { id: Some(id.to_owned()), name: name.to_owned(), data };
        assert_eq!(
            events,
            [event("1", "agent-status", json!({"a": 1})), event("2", "message", json!({"b": 2}))]
        );
        assert_eq!(buffer, b"id: 3\nda");
    }
}
