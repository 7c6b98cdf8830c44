//! Writing what somebody else may be writing too.

use fleet_store::{Revision, WriteError};

use super::answer::Failure;

/// So many others may come first before a client is told to try again.
const ATTEMPTS: u32 = 32;

/// The attempts of one read-modify-write. Each attempt begins with reading, so that a conflict, and a write
/// of which it is unknown whether it was done, are treated alike: look again, and do what is still missing.
pub(super) struct Attempts {
    left: u32,
}

impl Attempts {
    pub(super) fn new() -> Attempts {
        Attempts { left: ATTEMPTS }
    }

    /// `true`: it is written. `false`: read again.
    pub(super) fn settled(&mut self, written: Result<Revision, WriteError>) -> Result<bool, Failure> {
        self.left -= 1;
        match written {
            Ok(_) => Ok(true),
            Err(WriteError::NotDone(error)) => Err(error.into()),
            Err(WriteError::Unknown(error)) if self.left == 0 => Err(error.into()),
            Err(WriteError::Conflict { .. } | WriteError::LeaseLost) if self.left == 0 => {
                Err(Failure::unavailable(": too many changes at once, try again"))
            }
            Err(WriteError::Conflict { .. } | WriteError::LeaseLost | WriteError::Unknown(_)) => Ok(false),
        }
    }
}
