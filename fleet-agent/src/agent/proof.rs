//! Whether an agent that was changed reaches its server.

use std::time::Duration;

use tokio::time::Instant;

use crate::fleet::LinkState;

/// A server that holds a check-in for so long has taken it.
const HELD: Duration = Duration::from_secs(10);

/// Since when the server is reached.
#[derive(Debug, Default)]
pub(super) struct Proof {
    connected_since: Option<Instant>,
}

impl Proof {
    /// Whether a check-in was answered, or is held for so long that it was taken.
    pub(super) fn is_there(&mut self, link: &LinkState) -> bool {
        if !link.connected {
            self.connected_since = None;
            return false;
        }
        let since = *self.connected_since.get_or_insert_with(Instant::now);
        link.last_answer > 0 || since.elapsed() >= HELD
    }
}
