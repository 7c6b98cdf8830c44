//! The body of a `_bulk` request: an action and a document for each event.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::bulk::Place;
use super::gzip::{self, Packer};
use crate::batch::{Batch, DocumentId};
use crate::event::write_json;

/// What is written at once: what is compressed at once. It stays below what the allocator asks the system for each time.
const PIECE: usize = gzip::PIECE;

/// The events of a request, written piece by piece: what is sent is never in memory as a whole a second time.
#[derive(Debug)]
pub(super) struct Plain {
    events: Events,
    /// Bytes that have not been given out.
    left: u64,
}

/// Writes the events of a request, one after the other.
#[derive(Debug)]
pub(super) struct Events {
    batches: Vec<Arc<Batch>>,
    places: Vec<Place>,
    next: usize,
}

impl Plain {
    pub(super) fn new(events: Events) -> Plain {
        let left = events.length();
        Plain { events, left }
    }

    /// Bytes that have not been given out.
    pub(super) fn len(&self) -> u64 {
        self.left
    }
}

impl Body for Plain {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut piece = Vec::with_capacity(PIECE);
        self.events.write(&mut piece);
        self.left = self.left.saturating_sub(piece.len() as u64);
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The events compressed. Costs processor time: not for a thread that others wait for.
pub(super) fn packed(mut events: Events, level: u32) -> io::Result<Vec<u8>> {
    let size: usize = events.places.iter().map(|place| events.document(*place).len()).sum();
    let mut packer = Packer::new(level, size);
    let mut piece = Vec::with_capacity(PIECE);
    loop {
        piece.clear();
        events.write(&mut piece);
        if piece.is_empty() {
            return packer.finish();
        }
        packer.add(&piece)?;
    }
}

impl Events {
    pub(super) fn new(batches: Vec<Arc<Batch>>, places: Vec<Place>) -> Events {
        Events { batches, places, next: 0 }
    }

    /// Appends events until there is about a piece, or no event more.
    fn write(&mut self, out: &mut Vec<u8>) {
        while let Some(place) = self.places.get(self.next) {
            let batch = &self.batches[place.batch];
            let document = batch.document(place.item);
            // A document that is longer than a piece is one by itself.
            if !out.is_empty() && out.len() + document.len() > PIECE - LONGEST_ACTION {
                return;
            }
            action(batch, place.item, out);
            out.extend_from_slice(document);
            out.push(b'\n');
            self.next += 1;
        }
    }

    /// Bytes of all events.
    fn length(&self) -> u64 {
        // Within a batch, the actions of events that have nothing of their own are equally long.
        let mut usual: Vec<Option<usize>> = vec![None; self.batches.len()];
        let mut written = Vec::new();
        let mut length = |place: &Place| {
            let batch = &self.batches[place.batch];
            let is_usual = matches!(batch.id(place.item), DocumentId::Stable(_))
                && batch.destination(place.item) == batch.stream().index();
            if let (true, Some(known)) = (is_usual, usual[place.batch]) {
                return known;
            }
            written.clear();
            action(batch, place.item, &mut written);
            if is_usual {
                usual[place.batch] = Some(written.len());
            }
            written.len()
        };
        let of_event = |place: &Place| (length(place) + self.document(*place).len() + 1) as u64;
        self.places.iter().map(of_event).sum()
    }

    fn document(&self, place: Place) -> &[u8] {
        self.batches[place.batch].document(place.item)
    }
}

/// As long as an action is, unless a processor has made an id that is longer; then the piece grows.
const LONGEST_ACTION: usize = 1024;

fn action(batch: &Batch, item: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"create\":{\"_index\":");
    write_json(out, batch.destination(item));
    let before = out.len();
    out.extend_from_slice(b",\"_id\":");
    if !batch.id(item).write(out) {
        out.truncate(before);
    }
    if let Some(pipeline) = batch.stream().pipeline() {
        out.extend_from_slice(b",\"pipeline\":");
        write_json(out, pipeline);
    }
    out.extend_from_slice(b"}}\n");
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::stream::{DataStream, Stream};

    fn batch(pipeline: Option<&str>, documents: &[(DocumentId, Option<&str>, &str)]) -> Arc<Batch> {
        let data_stream =
            DataStream { kind: "logs".into(), dataset: "a".into(), namespace: "default".into() };
        let stream = Stream::of_queue("i".into(), "s".into(), data_stream, pipeline.map(str::to_owned));
        let mut batch = Batch::new(Arc::new(stream));
        for (id, index, document) in documents {
            batch.push(id.clone(), index.map(Arc::from), |out| {
                out.extend_from_slice(document.as_bytes());
                true
            });
        }
        Arc::new(batch)
    }

    fn events() -> Events {
        let stable = |byte| DocumentId::Stable([byte; 20]);
        let long = format!("\"{}\"", "x".repeat(3 * PIECE));
        let many: Vec<_> = (0..2000).map(|number| (stable(1), None, format!("{{\"n\":{number}}}"))).collect();
        let many: Vec<_> = many.iter().map(|(id, index, text)| (id.clone(), *index, text.as_str())).collect();
        let batches = vec![
            batch(
                Some("p\"q"),
                &[
                    (DocumentId::Any, None, "{}"),
                    (stable(7), Some("other"), "{\"a\":1}"),
                    (stable(8), None, "{}"),
                ],
            ),
            batch(None, &[(DocumentId::Text("i\"d".into()), None, &long), (stable(9), None, "{}")]),
            batch(None, &many),
        ];
        let all = batches.iter().enumerate();
        let places = all.flat_map(|(batch, one)| (0..one.len()).map(move |item| Place { batch, item }));
        let places = places.collect();
        Events::new(batches, places)
    }

    #[tokio::test]
    async fn events_are_written_in_pieces_that_come_to_what_was_announced() {
        let mut body = Plain::new(events());
        let announced = body.size_hint().exact().unwrap();
        let (mut pieces, mut text) = (Vec::new(), Vec::new());
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            pieces.push(piece.len());
            text.extend_from_slice(&piece);
            assert_eq!(body.is_end_stream(), body.len() == 0);
        }
        assert_eq!((text.len() as u64, body.len()), (announced, 0));
        assert!(pieces.len() > 3 && pieces.iter().filter(|piece| **piece > PIECE).count() == 1, "{pieces:?}");

        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2 * (3 + 2 + 2000));
        let id = "BwcHBwcHBwcHBwcHBwcHBwcHBwc";
        assert_eq!(lines[0], r#"{"create":{"_index":"logs-a-default","pipeline":"p\"q"}}"#);
        assert_eq!(lines[2], format!(r#"{{"create":{{"_index":"other","_id":"{id}","pipeline":"p\"q"}}}}"#));
        assert_eq!(lines[3], "{\"a\":1}");
        assert_eq!(lines[6], r#"{"create":{"_index":"logs-a-default","_id":"i\"d"}}"#);
        assert_eq!(lines.last(), Some(&"{\"n\":1999}"));

        let mut unpacked = String::new();
        GzDecoder::new(packed(events(), 1).unwrap().as_slice()).read_to_string(&mut unpacked).unwrap();
        assert_eq!(unpacked, text);
    }
}
