//! A batch as bytes, with a length and a checksum before them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::batch::{Batch, DocumentId};
use crate::stream::{DataStream, Stream};

/// Length and checksum.
pub(super) const HEAD: usize = 8;

/// No batch is longer: a length beyond it is damage.
const MOST: usize = 256 << 20;

/// What of a stream its events need after a restart, when the stream may be gone.
#[derive(Serialize, Deserialize)]
struct Header {
    input: String,
    id: String,
    kind: String,
    dataset: String,
    namespace: String,
    pipeline: Option<String>,
}

/// Writes a batch.
pub(super) fn encode(batch: &Batch) -> Vec<u8> {
    let stream = batch.stream();
    let DataStream { kind, dataset, namespace } = stream.data_stream().clone();
    let header = Header {
        input: stream.input().to_owned(),
        id: stream.id().to_owned(),
        kind,
        dataset,
        namespace,
        pipeline: stream.pipeline().map(str::to_owned),
    };
    let mut out = vec![0; HEAD];
    let mut text = Vec::new();
    crate::event::write_json(&mut text, &header);
    part(&mut out, &text);
    for index in 0..batch.len() {
        match batch.id(index) {
            DocumentId::Any => out.push(0),
            DocumentId::Stable(id) => {
                out.push(1);
                out.extend_from_slice(id);
            }
            DocumentId::Text(text) => {
                out.push(2);
                part(&mut out, text.as_bytes());
            }
        }
        let destination = batch.destination(index);
        let own = if destination == stream.index() { "" } else { destination };
        part(&mut out, own.as_bytes());
        part(&mut out, batch.document(index));
    }
    let length = u32::try_from(out.len() - HEAD).unwrap_or(u32::MAX);
    let checksum = crc32fast::hash(&out[HEAD..]);
    out[..4].copy_from_slice(&length.to_le_bytes());
    out[4..8].copy_from_slice(&checksum.to_le_bytes());
    out
}

fn part(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// What stands at a place in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A record with this many bytes behind its head.
    Whole(usize),
    /// The bytes end before it does.
    Short,
    /// Something else.
    Damaged,
}

/// Looks at the record that the bytes begin with.
pub(super) fn look(bytes: &[u8]) -> Found {
    let Some((length, checksum)) = head(bytes) else { return Found::Short };
    if length > MOST || length == 0 {
        return Found::Damaged;
    }
    match bytes.get(HEAD..HEAD + length) {
        None => Found::Short,
        Some(body) if crc32fast::hash(body) == checksum => Found::Whole(length),
        Some(_) => Found::Damaged,
    }
}

fn head(bytes: &[u8]) -> Option<(usize, u32)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, _) = rest.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*length) as usize, u32::from_le_bytes(*checksum)))
}

/// Reads a batch from a record's bytes behind its head.
pub(super) fn decode(body: &[u8]) -> Option<Batch> {
    let mut rest = body;
    let header: Header = serde_json::from_slice(take(&mut rest)?).ok()?;
    let data_stream = DataStream { kind: header.kind, dataset: header.dataset, namespace: header.namespace };
    let mut batch =
        Batch::new(Arc::new(Stream::of_queue(header.input, header.id, data_stream, header.pipeline)));
    while let Some((kind, after)) = rest.split_first() {
        rest = after;
        let id = match kind {
            0 => DocumentId::Any,
            1 => {
                let (id, after) = rest.split_first_chunk::<20>()?;
                rest = after;
                DocumentId::Stable(*id)
            }
            _ => DocumentId::Text(std::str::from_utf8(take(&mut rest)?).ok()?.into()),
        };
        let own = std::str::from_utf8(take(&mut rest)?).ok()?;
        let index = (!own.is_empty()).then(|| Arc::from(own));
        let document = take(&mut rest)?;
        batch.push(id, index, |out| {
            out.extend_from_slice(document);
            true
        });
    }
    Some(batch)
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (bytes, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = after;
    Some(bytes)
}
