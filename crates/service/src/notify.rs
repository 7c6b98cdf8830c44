//! Telling systemd how the daemon is (sd_notify(3)).
//!
//! Without systemd, that is, without `NOTIFY_SOCKET`, nothing is told. What cannot be told is logged and not
//! an error: the daemon works all the same.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

/// The daemon has started, or has read its configuration again.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// The daemon is reading its configuration again; [`ready`] ends that.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "systemd is not told of the reload"),
    }
}

/// The daemon is stopping.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(&one_line(status))]);
}

/// What `systemctl status` shows.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(&one_line(status))]);
}

/// Tells systemd that the daemon is alive, in half the time that its `WatchdogSec=` allows, until the token
/// is cancelled. Without a watchdog it ends at once.
///
/// It must run on the runtime that does the work: what is shown is that this one still turns.
pub async fn keep_watchdog(token: CancellationToken) {
    let Some(period) = sd_notify::watchdog_enabled().map(|limit| limit / 2) else { return };
    beat(period, token, || tell(&[NotifyState::Watchdog])).await;
}

async fn beat(period: Duration, token: CancellationToken, mut tell: impl FnMut()) {
    let period = period.max(Duration::from_millis(1));
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tell();
        if token.run_until_cancelled(ticks.tick()).await.is_none() {
            return;
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd is not told");
    }
}

/// A newline would start another assignment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    use super::{beat, one_line};

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_beats_until_it_is_cancelled() {
        let token = CancellationToken::new();
        let (sender, mut beats) = mpsc::channel(16);
        let tell = move || sender.try_send(tokio::time::Instant::now()).unwrap();
        let task = tokio::spawn(beat(Duration::from_secs(5), token.clone(), tell));
        let first = beats.recv().await.unwrap();
        let second = beats.recv().await.unwrap();
        assert_eq!(second - first, Duration::from_secs(5));
        token.cancel();
        task.await.unwrap();
        assert_eq!(beats.recv().await, None);
    }

    #[test]
    fn a_status_is_one_line() {
        assert_eq!(one_line("a\nREADY=1\r\n"), "a READY=1  ");
    }
}
