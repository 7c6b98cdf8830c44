//! What a check-in and an acknowledgement change, and what is answered.
//!
//! Nothing here waits, writes or reads a clock: the caller gives what is known and what was said, and carries
//! out what comes back. What an agent says is never a reason to lose what it did not say.

mod ack;
mod checkin;
mod offer;

pub use ack::{Acknowledged, Effect, Said, acknowledge};
pub use checkin::{BEAT, Report, apply};
pub use offer::{MOST_ACTIONS, Offer, PolicyOffer, offer, policy_offer};

/// The start of `text`, of at most `most` bytes: what agents say may be of any length, what is kept may not.
#[must_use]
pub fn shorten(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
