//! Requests as they travel, protobuf or JSON, walked piece by piece.
//!
//! A request is never decoded as a whole: two bytes of it can stand for an empty record, which would take a hundred
//! times as much in memory. [`Node`] finds what lies inside it, and only a single record, span or data point is
//! decoded, into the [`types`].

mod json;
mod protobuf;
pub(super) mod types;

use prost::Message;
use serde::de::DeserializeOwned;

/// A record, span or data point that is longer is refused. What it takes decoded is bounded with it.
const LONGEST_RECORD: usize = 4 << 20;

/// How a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Protobuf,
    Json,
}

/// What was sent is not what the protocol says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub(super) String);

/// A field by its number in protobuf and its name in JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field(pub(super) u32, pub(super) &'static str);

/// A message inside a request, not decoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    encoding: Encoding,
    pub(super) bytes: &'a [u8],
}

impl<'a> Node<'a> {
    /// The whole request.
    pub(super) fn root(encoding: Encoding, bytes: &'a [u8]) -> Node<'a> {
        Node { encoding, bytes }
    }

    /// The messages of a repeated field.
    pub(super) fn children(self, field: Field) -> Result<Children<'a>, Malformed> {
        Ok(match self.encoding {
            Encoding::Protobuf => Children::Protobuf { bytes: self.bytes, tag: field.0 },
            Encoding::Json => match json::member(self.bytes, field.1)? {
                Some(list) => Children::Json(json::Elements::new(list)?),
                None => Children::Empty,
            },
        })
    }

    /// The message of a field, if it is there.
    pub(super) fn child(self, field: Field) -> Result<Option<Node<'a>>, Malformed> {
        let bytes = match self.encoding {
            Encoding::Json => json::member(self.bytes, field.1)?,
            Encoding::Protobuf => {
                let mut last = None;
                for found in (Children::Protobuf { bytes: self.bytes, tag: field.0 }) {
                    last = Some(found?.bytes);
                }
                last
            }
        };
        Ok(bytes.map(|bytes| Node { encoding: self.encoding, bytes }))
    }

    /// The text of a field; empty if it is not there.
    pub(super) fn text(self, field: Field) -> Result<String, Malformed> {
        let Some(found) = self.child(field)? else { return Ok(String::new()) };
        match self.encoding {
            Encoding::Protobuf => String::from_utf8(found.bytes.to_vec())
                .map_err(|_| Malformed(format!("{} is not UTF-8", field.1))),
            Encoding::Json => json::parse(found.bytes),
        }
    }

    /// Decodes it.
    pub(super) fn parse<T: Message + Default + DeserializeOwned>(self) -> Result<T, Malformed> {
        if self.bytes.len() > LONGEST_RECORD {
            let (length, most) = (self.bytes.len(), LONGEST_RECORD >> 20);
            return Err(Malformed(format!("one record has {length} bytes, more than {most} MiB")));
        }
        match self.encoding {
            Encoding::Protobuf => T::decode(self.bytes).map_err(|error| Malformed(error.to_string())),
            Encoding::Json => json::parse(self.bytes),
        }
    }
}

/// The messages of a repeated field, found one after the other. After an error there are no more.
#[derive(Debug)]
pub(super) enum Children<'a> {
    Protobuf { bytes: &'a [u8], tag: u32 },
    Json(json::Elements<'a>),
    Empty,
}

impl<'a> Iterator for Children<'a> {
    type Item = Result<Node<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let (encoding, found) = match self {
            Children::Empty => return None,
            Children::Json(elements) => (Encoding::Json, elements.next()),
            Children::Protobuf { bytes, tag } => (Encoding::Protobuf, protobuf::find(bytes, *tag)),
        };
        match found {
            Ok(Some(bytes)) => Some(Ok(Node { encoding, bytes })),
            Ok(None) => None,
            Err(error) => {
                *self = Children::Empty;
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::types::{LogRecord, NumberDataPoint, Span};
    use super::*;

    const LIST: Field = Field(1, "list");

    #[test]
    fn what_lies_inside_is_found_and_what_is_not_known_is_passed_over() {
        // Field 2 as varint, 1 twice, 3 as 64 bits, 4 as 32 bits.
        let bytes = b"\x10\x96\x01\x0a\x02ab\x19\0\0\0\0\0\0\0\0\x0a\x00\x25\0\0\0\0";
        let found = Node::root(Encoding::Protobuf, bytes).children(LIST).unwrap();
        let found: Vec<&[u8]> = found.map(|node| node.unwrap().bytes).collect();
        assert_eq!(found, [b"ab".as_slice(), b""]);

        let text = br#"{"x": [1], "list" : [ {"a":[]} , {},3 ] }"#;
        let found = Node::root(Encoding::Json, text).children(LIST).unwrap();
        let found: Vec<&[u8]> = found.map(|node| node.unwrap().bytes).collect();
        assert_eq!(found, [br#"{"a":[]}"#.as_slice(), b"{}", b"3"]);
    }

    #[test]
    fn what_is_broken_is_told_and_ends_there() {
        for (encoding, bytes) in [
            (Encoding::Protobuf, b"\x0a\x00\x0a\x05ab".as_slice()),
            (Encoding::Protobuf, b"\x0a\x00\x0b"),
            (Encoding::Protobuf, b"\x0a\x00\x08"),
            (Encoding::Json, br#"{"list": [{} {}]}"#),
            (Encoding::Json, br#"{"list": [{}, ]}"#),
            (Encoding::Json, br#"{"list": {}}"#),
            (Encoding::Json, b"[]"),
            (Encoding::Json, b"{"),
        ] {
            let found = match Node::root(encoding, bytes).children(LIST) {
                Ok(children) => children.take(10).collect::<Vec<_>>(),
                Err(error) => vec![Err(error)],
            };
            assert!(found.last().unwrap().is_err(), "{bytes:?}");
            assert!(found.len() <= 2);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_it_down(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            walk(Encoding::Protobuf, &bytes, 0);
            walk(Encoding::Json, &bytes, 0);
        }

        #[test]
        fn no_text_breaks_it_down(text in r#"([\[\]{}:,"x0-9 -]|"list"|"body"|"intValue"|"asInt"|null){0,40}"#) {
            walk(Encoding::Json, text.as_bytes(), 0);
        }
    }

    fn walk(encoding: Encoding, bytes: &[u8], depth: usize) {
        let node = Node::root(encoding, bytes);
        let _ = (node.parse::<LogRecord>(), node.parse::<Span>(), node.parse::<NumberDataPoint>());
        let _ = node.text(LIST);
        if let Ok(children) = node.children(LIST)
            && depth < 5
        {
            children.flatten().for_each(|child| walk(encoding, child.bytes, depth + 1));
        }
    }
}
