//! The program as it is shipped: its command line, and its life beside a scripted systemd, with the embedded
//! store. Real systemds have tests of their own.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails, fails its test")]

mod bus;
mod command_line;
mod daemon;
mod life;

use std::time::Duration;

/// A test that waits for longer has found a hang.
const LIMIT: Duration = Duration::from_secs(60);

/// Looks again and again until there is something to see.
async fn wait_for<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let seen = tokio::time::timeout(LIMIT, waiting).await;
    seen.unwrap_or_else(|_| panic!("in vain: {what}"))
}
