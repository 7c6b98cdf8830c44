//! Several hosts: each in its turn, those in trouble rested.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Url;
use tokio::time::Instant;

use super::settings::Settings;

/// The hosts of an output, shared by its workers.
#[derive(Debug)]
pub(super) struct Hosts {
    hosts: Mutex<State>,
    backoff: (Duration, Duration),
}

#[derive(Debug)]
struct State {
    hosts: Vec<Host>,
    next: usize,
}

#[derive(Debug)]
struct Host {
    /// The address of `_bulk`.
    url: Url,
    failures: u32,
    rested_until: Option<Instant>,
}

/// A host to ask now, or when to look again.
#[derive(Debug)]
pub(super) enum Choice {
    Ask(usize, Url),
    Wait(Instant),
}

impl Hosts {
    pub(super) fn new(settings: &Settings) -> Hosts {
        let host = |url: &Url| {
            let mut url = url.clone();
            let path = format!("{}/_bulk", url.path().trim_end_matches('/'));
            url.set_path(&path);
            // A good answer is recognised by its first bytes; of a bad one, what is needed.
            url.query_pairs_mut()
                .append_pair("filter_path", "errors,items.*.status,items.*.error.type,items.*.error.reason");
            Host { url, failures: 0, rested_until: None }
        };
        let hosts = settings.hosts.iter().map(host).collect();
        // Agents with the same policy must not all begin with the same host.
        let next = usize::from(rand::random::<u16>());
        Hosts { hosts: Mutex::new(State { hosts, next }), backoff: settings.backoff }
    }

    /// The next host that is not resting.
    pub(super) fn choose(&self) -> Choice {
        let mut state = self.lock();
        let now = Instant::now();
        let count = state.hosts.len();
        for step in 0..count {
            let index = (state.next + step) % count;
            if state.hosts[index].rested_until.is_none_or(|until| until <= now) {
                state.next = index + 1;
                return Choice::Ask(index, state.hosts[index].url.clone());
            }
        }
        let earliest = state.hosts.iter().filter_map(|host| host.rested_until).min();
        Choice::Wait(earliest.unwrap_or(now))
    }

    /// The host answered.
    pub(super) fn succeeded(&self, index: usize) {
        if let Some(host) = self.lock().hosts.get_mut(index) {
            host.failures = 0;
            host.rested_until = None;
        }
    }

    /// The host did not, or could not take what it was sent: it rests, longer each time.
    pub(super) fn failed(&self, index: usize) {
        let backoff = self.backoff;
        if let Some(host) = self.lock().hosts.get_mut(index) {
            host.rested_until = Some(Instant::now() + delay(backoff, host.failures));
            host.failures = host.failures.saturating_add(1);
        }
    }

    /// How many hosts there are, and how many of them are resting.
    pub(super) fn resting(&self) -> (usize, usize) {
        let state = self.lock();
        let resting = state.hosts.iter().filter(|host| host.failures > 0).count();
        (state.hosts.len(), resting)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Doubled with each failure up to the most, and then anything between half of it and all: agents that were refused
/// together must not come back together.
pub(super) fn delay(backoff: (Duration, Duration), failures: u32) -> Duration {
    let whole = backoff.0.saturating_mul(1 << failures.min(16)).min(backoff.1.max(backoff.0));
    whole.mul_f64(0.5 + rand::random::<f64>() / 2.0)
}
