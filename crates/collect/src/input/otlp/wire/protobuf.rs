//! Fields of a message in protobuf.

use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};

use super::Malformed;

/// The next value of this field, which must be a message or a text; takes it and what stands before it off.
pub(super) fn find<'a>(bytes: &mut &'a [u8], tag: u32) -> Result<Option<&'a [u8]>, Malformed> {
    let cut = || Malformed("the message ends too early".to_owned());
    while !bytes.is_empty() {
        let (found, kind) = decode_key(bytes).map_err(|error| Malformed(error.to_string()))?;
        let length = match kind {
            WireType::LengthDelimited => {
                let length = decode_varint(bytes).map_err(|error| Malformed(error.to_string()))?;
                usize::try_from(length).map_err(|_| cut())?
            }
            WireType::Varint => {
                decode_varint(bytes).map_err(|error| Malformed(error.to_string()))?;
                0
            }
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::StartGroup | WireType::EndGroup => {
                return Err(Malformed("groups are not part of the protocol".to_owned()));
            }
        };
        let value = bytes.get(..length).ok_or_else(cut)?;
        bytes.advance(length);
        if found == tag && kind == WireType::LengthDelimited {
            return Ok(Some(value));
        }
    }
    Ok(None)
}
