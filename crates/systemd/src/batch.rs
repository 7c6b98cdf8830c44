//! One call for all who wait for the same kind of call.
//!
//! Some of systemd's calls take a list and cost nearly the same for one unit and for a hundred: `DisableUnitFiles`
//! looks through all directories of unit files each time.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fleet_unit::UnitName;
use tokio::sync::oneshot;

/// Units that wait for a call. While one call is under way, those who come wait for the next one.
#[derive(Debug)]
pub(crate) struct Batches<T> {
    waiting: Mutex<Vec<(UnitName, oneshot::Sender<T>)>>,
    turn: tokio::sync::Mutex<()>,
}

impl<T: Clone> Batches<T> {
    /// Nobody waits.
    pub(crate) fn new() -> Batches<T> {
        Batches { waiting: Mutex::default(), turn: tokio::sync::Mutex::new(()) }
    }

    /// The answer to a call that `unit` took part in. Who has the turn makes the call for all who wait. If it is
    /// dropped in the middle of that, the others join the next call.
    pub(crate) async fn join<F>(&self, unit: &UnitName, call: impl Fn(Vec<UnitName>) -> F) -> T
    where
        F: Future<Output = T>,
    {
        loop {
            let (sender, mut receiver) = oneshot::channel();
            self.waiting().push((unit.clone(), sender));
            let _turn = self.turn.lock().await;
            match receiver.try_recv() {
                Ok(answer) => return answer,
                Err(oneshot::error::TryRecvError::Closed) => continue,
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            // Who was dropped while waiting does not want it any more.
            let mut batch = std::mem::take(&mut *self.waiting());
            batch.retain(|(_, sender)| !sender.is_closed());
            let answer = call(batch.iter().map(|(unit, _)| unit.clone()).collect()).await;
            for (_, sender) in batch {
                // An error means that it was dropped meanwhile.
                drop(sender.send(answer.clone()));
            }
            return answer;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<(UnitName, oneshot::Sender<T>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures_util::FutureExt;

    use super::*;

    fn unit(name: &str) -> UnitName {
        UnitName::parse(name).unwrap()
    }

    #[tokio::test]
    async fn those_who_wait_share_the_next_call() {
        let batches = Batches::new();
        let calls = RefCell::new(Vec::new());
        let join = |name: &str| {
            let unit = unit(name);
            let (batches, calls) = (&batches, &calls);
            async move {
                let call = |units: Vec<UnitName>| async move {
                    let names: Vec<String> = units.iter().map(ToString::to_string).collect();
                    calls.borrow_mut().push(names.clone());
                    tokio::task::yield_now().await;
                    names.len()
                };
                batches.join(&unit, call).await
            }
        };
        let answers = tokio::join!(join("a.service"), join("b.service"), join("c.service"));
        assert_eq!(answers, (1, 2, 2));
        assert_eq!(*calls.borrow(), [vec!["a.service"], vec!["b.service", "c.service"]]);
    }

    #[tokio::test]
    async fn a_dropped_call_is_made_again_for_the_others() {
        let batches = Batches::new();
        let never = |_| std::future::pending::<usize>();
        let slow = |_| async {
            tokio::task::yield_now().await;
            0
        };
        let count = |units: Vec<UnitName>| async move { units.len() };
        let (a, b, c) = (unit("a.service"), unit("b.service"), unit("c.service"));
        let mut first = Box::pin(batches.join(&a, slow));
        let mut second = Box::pin(batches.join(&b, never));
        let mut third = Box::pin(batches.join(&c, count));
        assert_eq!((&mut first).now_or_never(), None, "has the turn");
        assert_eq!((&mut second).now_or_never(), None, "waits");
        assert_eq!((&mut third).now_or_never(), None, "waits");
        assert_eq!(first.await, 0);
        assert_eq!((&mut second).now_or_never(), None, "makes the call for itself and the third");
        drop(second);
        assert_eq!(third.await, 1);
    }
}
