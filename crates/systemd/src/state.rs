//! What the calls and the session share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleet_cluster::systemd::Notice;
use tokio::sync::{mpsc, watch};

use crate::error::CallError;
use crate::jobs::Jobs;
use crate::link::Link;
use crate::tracker::Tracker;

/// How many notices wait for the subscriber before they are dropped for a [`Notice::Reset`]: some for each of
/// a few hundred units that start at once.
const NOTICES: usize = 2048;

/// Whether systemd can be asked.
#[derive(Clone, Debug)]
pub(crate) enum Reach {
    /// Nobody knows yet.
    Connecting,
    /// It can.
    Up(Arc<Link>),
    /// It cannot, for this reason.
    Down(String),
}

/// What the calls and the session share.
#[derive(Debug)]
pub(crate) struct Shared {
    reach: watch::Sender<Reach>,
    followed: Mutex<Followed>,
}

/// What follows systemd's signals.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    /// Jobs that are waited for.
    pub(crate) jobs: Jobs,
    /// The installed units' states.
    pub(crate) tracker: Tracker,
    subscriber: Option<mpsc::Sender<Notice>>,
    /// Whether a [`Notice::Reset`] is due. Until it is sent, nothing else is.
    reset_due: bool,
}

impl Shared {
    /// Nothing is known yet.
    pub(crate) fn new() -> Shared {
        Shared { reach: watch::Sender::new(Reach::Connecting), followed: Mutex::default() }
    }

    /// Whether systemd can be asked, and the changes of that.
    pub(crate) fn reach(&self) -> watch::Receiver<Reach> {
        self.reach.subscribe()
    }

    /// The way to systemd.
    pub(crate) fn link(&self) -> Result<Arc<Link>, CallError> {
        match &*self.reach.borrow() {
            Reach::Up(link) => Ok(Arc::clone(link)),
            Reach::Down(why) => Err(CallError::Away(why.clone())),
            Reach::Connecting => Err(CallError::Away("not connected yet".to_owned())),
        }
    }

    /// For a moment; never across an `await`.
    pub(crate) fn followed(&self) -> MutexGuard<'_, Followed> {
        // Nothing is left half done by a panic that a later call could trip over.
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// systemd can be asked, and its signals come.
    pub(crate) fn set_up(&self, link: Link) {
        self.reach.send_replace(Reach::Up(Arc::new(link)));
        // Not earlier: the subscriber asks for each state now.
        self.followed().reset();
    }

    /// systemd is out of reach.
    pub(crate) fn set_down(&self, why: String) {
        self.reach.send_replace(Reach::Down(why));
        self.followed().jobs.lose();
    }
}

impl Followed {
    /// Ends the subscription before, and starts one.
    pub(crate) fn subscribe(&mut self) -> mpsc::Receiver<Notice> {
        let (sender, receiver) = mpsc::channel(NOTICES);
        self.subscriber = Some(sender);
        self.reset_due = false;
        self.tracker.forget();
        receiver
    }

    /// Tells the subscriber of changes.
    pub(crate) fn tell_all(&mut self, notices: impl IntoIterator<Item = Notice>) {
        notices.into_iter().for_each(|notice| self.tell(notice));
    }

    fn tell(&mut self, notice: Notice) {
        if self.reset_due {
            return;
        }
        let Some(subscriber) = &self.subscriber else { return };
        match subscriber.try_send(notice) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => self.reset(),
            Err(mpsc::error::TrySendError::Closed(_)) => self.subscriber = None,
        }
    }

    /// Tells the subscriber that changes may have been missed, as soon as there is room for that.
    pub(crate) fn reset(&mut self) {
        self.tracker.forget();
        let Some(subscriber) = &self.subscriber else { return };
        self.reset_due =
            matches!(subscriber.try_send(Notice::Reset), Err(mpsc::error::TrySendError::Full(_)));
    }

    /// The subscriber that a reset is due to: wait for room, then call [`Followed::reset`].
    pub(crate) fn reset_due(&self) -> Option<mpsc::Sender<Notice>> {
        self.subscriber.clone().filter(|_| self.reset_due)
    }
}

#[cfg(test)]
mod tests {
    use fleet_cluster::systemd::UnitState;
    use fleet_unit::UnitName;

    use super::*;

    fn change(number: usize) -> Notice {
        let unit = UnitName::parse(&format!("u{number}.service")).unwrap();
        Notice::Changed { unit, state: UnitState::default() }
    }

    #[tokio::test]
    async fn a_full_subscriber_gets_a_reset_after_what_it_has() {
        let mut followed = Followed::default();
        let mut receiver = followed.subscribe();
        for number in 0..NOTICES + 10 {
            followed.tell(change(number));
        }
        let due = followed.reset_due().unwrap();
        assert!(due.try_reserve().is_err());
        assert_eq!(receiver.recv().await, Some(change(0)));
        drop(due.reserve().await.unwrap());
        followed.reset();
        assert!(followed.reset_due().is_none());
        for number in 1..NOTICES {
            assert_eq!(receiver.recv().await, Some(change(number)));
        }
        assert_eq!(receiver.recv().await, Some(Notice::Reset));
        followed.tell(change(1));
        assert_eq!(receiver.recv().await, Some(change(1)));
    }

    #[tokio::test]
    async fn a_second_subscription_ends_the_first() {
        let mut followed = Followed::default();
        let mut first = followed.subscribe();
        let mut second = followed.subscribe();
        assert_eq!(first.recv().await, None);
        followed.tell(change(1));
        assert_eq!(second.recv().await, Some(change(1)));
    }
}
