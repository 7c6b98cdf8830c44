//! Large messages in pieces.
//!
//! A message that is larger than one may be is sent as several, if both sides have said that they understand that: the
//! first has all single fields and some units, the next ones have units alone, and one without units is the end. All
//! carry the moment at which the first was made: pieces of an older message are dropped, a newer one starts afresh.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use prost_types::Timestamp;

use crate::wire::{Expected, Observed};

/// What comes in pieces takes no more than this in all, in bytes: each piece has a bound of its own.
pub const LARGEST_WHOLE: usize = 2 * crate::MAX_MESSAGE_SIZE;
/// Room for what is not units, in bytes, in each piece.
const OVERHEAD: usize = 1024;

/// A message that can be sent in pieces.
pub trait Chunked: Message + Default + Clone + Sized {
    /// What there may be many of.
    type Unit: Message;

    /// The units.
    fn units(&mut self) -> &mut Vec<Self::Unit>;
    /// When the first piece was made; `None`: the message is whole.
    fn timestamp(&mut self) -> &mut Option<Timestamp>;
    /// What each piece but the first has, beside units.
    fn next_piece(&self) -> Self;
}

impl Chunked for Expected {
    type Unit = crate::wire::UnitExpected;

    fn units(&mut self) -> &mut Vec<Self::Unit> {
        &mut self.units
    }

    fn timestamp(&mut self) -> &mut Option<Timestamp> {
        &mut self.units_timestamp
    }

    fn next_piece(&self) -> Expected {
        Expected::default()
    }
}

impl Chunked for Observed {
    type Unit = crate::wire::UnitObserved;

    fn units(&mut self) -> &mut Vec<Self::Unit> {
        &mut self.units
    }

    fn timestamp(&mut self) -> &mut Option<Timestamp> {
        &mut self.units_timestamp
    }

    fn next_piece(&self) -> Observed {
        Observed { token: self.token.clone(), ..Observed::default() }
    }
}

/// One unit is larger than a message may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a unit takes {size} bytes in a message, of which there may be {max}")]
pub struct TooLarge {
    /// Bytes of the unit.
    pub size: usize,
    /// Bytes of a message.
    pub max: usize,
}

/// The messages to send for this one, each of at most `max` bytes.
///
/// # Errors
/// A single unit does not fit, or the message does not and has only one.
pub fn split<M: Chunked>(mut message: M, max: usize, now: SystemTime) -> Result<Vec<M>, TooLarge> {
    let size = message.encoded_len();
    if size <= max {
        return Ok(vec![message]);
    }
    let units = std::mem::take(message.units());
    if units.len() < 2 {
        return Err(TooLarge { size, max });
    }
    let timestamp = Some(to_timestamp(now));
    *message.timestamp() = timestamp;
    let piece = {
        let mut piece = message.next_piece();
        *piece.timestamp() = timestamp;
        piece
    };
    let mut pieces = Vec::new();
    let mut current = message;
    let mut filled = current.encoded_len() + OVERHEAD.min(max / 8);
    for unit in units {
        let size = unit.encoded_len() + 8;
        if !current.units().is_empty() && filled + size > max {
            pieces.push(std::mem::replace(&mut current, piece.clone()));
            filled = current.encoded_len() + OVERHEAD.min(max / 8);
        }
        if filled + size > max {
            return Err(TooLarge { size, max });
        }
        filled += size;
        current.units().push(unit);
    }
    pieces.push(current);
    pieces.push(piece);
    Ok(pieces)
}

/// Puts pieces together again.
#[derive(Debug)]
pub struct Assembler<M> {
    /// What came so far, and its moment.
    pending: Option<(Moment, M)>,
    /// What it may take in all, in bytes.
    max: usize,
    held: usize,
}

type Moment = (i64, i32);

/// What came in pieces is more than is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message in pieces takes more than {max} bytes")]
pub struct TooMuch {
    /// Bytes that are kept.
    pub max: usize,
}

impl<M: Chunked> Assembler<M> {
    /// For messages of at most `max` bytes in all.
    #[must_use]
    pub fn new(max: usize) -> Assembler<M> {
        Assembler { pending: None, max, held: 0 }
    }

    /// Takes a message. Returns it if it is whole, or the whole that it was the end of.
    ///
    /// # Errors
    /// There is more of it than is kept; it is forgotten.
    pub fn take(&mut self, mut message: M) -> Result<Option<M>, TooMuch> {
        let Some(timestamp) = message.timestamp().take() else {
            self.forget();
            return Ok(Some(message));
        };
        let moment = (timestamp.seconds, timestamp.nanos);
        let size = message.encoded_len();
        match &mut self.pending {
            Some((at, _)) if moment < *at => Ok(None),
            Some((at, pending)) if moment == *at => {
                if message.units().is_empty() {
                    let whole = self.pending.take().map(|(_, whole)| whole);
                    self.held = 0;
                    return Ok(whole);
                }
                if self.held + size > self.max {
                    self.forget();
                    return Err(TooMuch { max: self.max });
                }
                self.held += size;
                pending.units().append(message.units());
                Ok(None)
            }
            // An end without a beginning is the end of what was dropped.
            _ if message.units().is_empty() => {
                self.forget();
                Ok(None)
            }
            _ => {
                self.held = size;
                self.pending = Some((moment, message));
                Ok(None)
            }
        }
    }

    fn forget(&mut self) {
        self.pending = None;
        self.held = 0;
    }
}

fn to_timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::{UnitExpected, UnitObserved};

    fn expected(units: usize, length: usize) -> Expected {
        let unit =
            |number: usize| UnitExpected { id: format!("{number:0length$}"), ..UnitExpected::default() };
        Expected { units: (0..units).map(unit).collect(), features_idx: 3, ..Expected::default() }
    }

    #[test]
    fn a_small_message_is_sent_whole() {
        let message = expected(3, 10);
        assert_eq!(split(message.clone(), 10_000, SystemTime::now()), Ok(vec![message]));
    }

    #[test]
    fn pieces_make_the_whole_again() {
        let message = expected(100, 200);
        let pieces = split(message.clone(), 3000, SystemTime::now()).expect("pieces");
        assert!(pieces.len() > 5, "{}", pieces.len());
        assert!(pieces.iter().all(|piece| piece.encoded_len() <= 3000));
        assert!(pieces.iter().all(|piece| piece.units_timestamp == pieces[0].units_timestamp));
        assert!(pieces.last().is_some_and(|last| last.units.is_empty()));
        let mut assembler = Assembler::new(1 << 20);
        let mut whole = Vec::new();
        for piece in pieces {
            whole.extend(assembler.take(piece).expect("within bounds"));
        }
        assert_eq!(whole, [message]);
    }

    #[test]
    fn observed_pieces_keep_the_token() {
        let unit = |number: usize| UnitObserved { id: format!("{number:0100}"), ..UnitObserved::default() };
        let units = (0..50).map(unit).collect();
        let message = Observed { token: "t".to_owned(), units, pid: 7, ..Observed::default() };
        let pieces = split(message, 2000, SystemTime::now()).expect("pieces");
        assert!(pieces.iter().all(|piece| piece.token == "t"));
        assert!(pieces.iter().skip(1).all(|piece| piece.pid == 0));
    }

    #[test]
    fn one_unit_that_is_too_large_cannot_be_sent() {
        assert!(split(expected(1, 5000), 3000, SystemTime::now()).is_err());
        assert!(split(expected(2, 5000), 3000, SystemTime::now()).is_err());
    }

    #[test]
    fn a_newer_message_starts_afresh_and_an_older_one_is_dropped() {
        let now = SystemTime::now();
        let older = split(expected(40, 100), 1500, now).expect("pieces");
        let newer = split(expected(41, 100), 1500, now + Duration::from_secs(1)).expect("pieces");
        let mut assembler = Assembler::new(1 << 20);
        assert_eq!(assembler.take(older[0].clone()), Ok(None));
        assert_eq!(assembler.take(newer[0].clone()), Ok(None));
        assert_eq!(assembler.take(older[1].clone()), Ok(None));
        let mut whole = None;
        for piece in &newer[1..] {
            whole = assembler.take(piece.clone()).expect("within bounds");
        }
        assert_eq!(whole.map(|whole| whole.units.len()), Some(41));
        assert_eq!(assembler.take(older.last().expect("an end").clone()), Ok(None));
    }

    #[test]
    fn what_comes_in_pieces_has_a_bound() {
        let pieces = split(expected(100, 200), 3000, SystemTime::now()).expect("pieces");
        let mut assembler = Assembler::new(5000);
        assert!(pieces.into_iter().any(|piece| assembler.take(piece).is_err()));
    }
}
