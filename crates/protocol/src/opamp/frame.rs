//! A message over WebSocket: a header, and the message.

use bytes::{Buf, BufMut};
use prost::encoding::{decode_varint, encode_varint};
use prost::{DecodeError, Message};

/// The one header that there is.
const HEADER: u64 = 0;

/// Why a WebSocket message is not one of OpAMP.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header cannot be read.
    #[error("the message has no header: a varint of 0")]
    NoHeader,
    /// The header is one of a later version.
    #[error("the message's header is {0}; only 0 is known")]
    UnknownHeader(u64),
    /// What follows is no message.
    #[error("the message is not the protobuf that it should be")]
    Malformed(#[source] DecodeError),
}

/// Reads the message in a WebSocket message.
///
/// # Errors
/// [`FrameError`] says what is wrong with it.
pub fn read_frame<M: Message + Default>(mut frame: impl Buf) -> Result<M, FrameError> {
    match decode_varint(&mut frame) {
        Ok(HEADER) => M::decode(frame).map_err(FrameError::Malformed),
        Ok(header) => Err(FrameError::UnknownHeader(header)),
        Err(_) => Err(FrameError::NoHeader),
    }
}

/// Writes a message as a WebSocket message.
#[must_use]
pub fn write_frame(message: &impl Message) -> Vec<u8> {
    let mut frame = Vec::with_capacity(1 + message.encoded_len());
    encode_varint(HEADER, &mut frame);
    frame.put_slice(&message.encode_to_vec());
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{AgentDescription, AgentToServer, KeyValue};
    use super::*;

    #[test]
    fn the_header_is_a_varint_of_zero() {
        let message =
            AgentToServer { instance_uid: vec![7; 16], sequence_num: 3, ..AgentToServer::default() };
        let frame = write_frame(&message);
        assert_eq!(frame[..3], [0, 0x0a, 16]);
        assert_eq!(read_frame::<AgentToServer>(frame.as_slice()), Ok(message));
        // Ten bytes may stand for 0.
        assert_eq!(read_frame::<AgentToServer>(&[0x80, 0][..]), Ok(AgentToServer::default()));
        assert_eq!(read_frame::<AgentToServer>(&[0][..]), Ok(AgentToServer::default()));
        assert_eq!(read_frame::<AgentToServer>(&[][..]), Err(FrameError::NoHeader));
        assert_eq!(read_frame::<AgentToServer>(&[1, 0][..]), Err(FrameError::UnknownHeader(1)));
        assert!(matches!(read_frame::<AgentToServer>(&[0, 0xff][..]), Err(FrameError::Malformed(_))));
    }

    #[test]
    fn what_is_not_known_is_skipped() {
        let mut frame = write_frame(&AgentToServer { sequence_num: 9, ..AgentToServer::default() });
        // Field 14, available components, and field 99.
        frame.extend_from_slice(&[0x72, 2, 0x12, 0, 0x9a, 0x06, 1, 0]);
        assert_eq!(read_frame::<AgentToServer>(frame.as_slice()).unwrap().sequence_num, 9);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(message) = read_frame::<AgentToServer>(bytes.as_slice()) {
                let again = read_frame::<AgentToServer>(write_frame(&message).as_slice());
                // Numbers that are not numbers are not equal to themselves.
                prop_assert_eq!(format!("{:?}", again.unwrap()), format!("{message:?}"));
            }
        }

        #[test]
        fn what_is_written_is_read(key in ".{0,20}", value in ".{0,20}", sequence_num: u64) {
            let description = AgentDescription {
                identifying_attributes: vec![KeyValue::text(&key, &value)],
                non_identifying_attributes: Vec::new(),
            };
            let message = AgentToServer {
                sequence_num,
                agent_description: Some(description),
                ..AgentToServer::default()
            };
            prop_assert_eq!(read_frame::<AgentToServer>(write_frame(&message).as_slice()), Ok(message));
        }
    }
}
