//! How often somebody may try to sign in.
//!
//! Three things are counted, each with failures that are forgotten with time:
//!
//! * a *name from an address*: after [`ThrottleOptions::pair`] failures the next attempt must wait, twice as long
//!   each time, up to a quarter of an hour. The right password is a way out of that only when the wait is over.
//! * an *address*, whatever the names: whoever tries one password on many names is stopped by that. A success does
//!   not clear it, or an own account would be the way to go on guessing.
//! * a *name*, from wherever: whoever guesses from many addresses is stopped by that, unless the address is one
//!   from which this name has signed in before, or this machine itself.
//!
//! The trade: who is locked out can be somebody else's doing. So the wait for a name, which strangers can bring
//! about, is short (a minute) and does not hold for addresses that are known to be
//! its owner's; that for an address, and for a name from it, can be brought about only from that address. What
//! remains: whoever shares an address with an attacker (a proxy that does not tell its clients' addresses) waits
//! with them, and an owner who comes from a new address while their name is under attack waits up to a minute,
//! perhaps again and again; sessions that are open and API keys are not counted and go on. Guessing is then
//! bounded to some 1 500 attempts a day for a name from new addresses, and to a hundred for each known one.
//!
//! The memory is this server's own and bounded: others count for themselves, a restart forgets. Addresses are
//! counted as networks of /64 in IPv6, which is what one subscriber has.

mod strikes;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

pub use strikes::Limit;
use table::Table;

/// How many addresses of a name are known as its owner's.
const KNOWN_ADDRESSES: usize = 16;

/// How many failures are free, and how long is waited then.
#[derive(Clone, Copy, Debug)]
pub struct ThrottleOptions {
    /// For a name from an address.
    pub pair: Limit,
    /// For an address.
    pub address: Limit,
    /// For a name.
    pub name: Limit,
    /// How many names, addresses and pairs are remembered, each.
    pub most: usize,
}

impl Default for ThrottleOptions {
    fn default() -> ThrottleOptions {
        let second = Duration::from_secs(1);
        let quarter = Duration::from_secs(15 * 60);
        let hour = Duration::from_secs(3600);
        ThrottleOptions {
            // Mistyped a few times, or an old password in a script.
            pair: Limit { free: 5, first: second, longest: quarter, forget: hour },
            // An office behind one address mistypes more.
            address: Limit { free: 30, first: second, longest: quarter, forget: hour },
            name: Limit { free: 50, first: second, longest: Duration::from_secs(60), forget: hour },
            // Some 3 MB at most.
            most: 10_000,
        }
    }
}

/// An attempt is refused, whatever the password is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many sign-ins have failed: try again in {} s", wait.as_secs().max(1))]
pub struct Locked {
    /// When to come again.
    pub wait: Duration,
}

/// Counts attempts. Clones count together.
#[derive(Clone, Debug)]
pub struct Throttle {
    options: ThrottleOptions,
    counted: Arc<Mutex<Counted>>,
}

/// What is counted.
struct Counted {
    pairs: Table<(Box<str>, IpAddr)>,
    addresses: Table<IpAddr>,
    names: Table<Box<str>>,
    known: BTreeMap<Box<str>, Vec<IpAddr>>,
}

impl fmt::Debug for Counted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Counted").finish_non_exhaustive()
    }
}

/// An attempt that may be made. Dropped, it was neither right nor wrong.
#[derive(Debug)]
#[must_use = "whether it was right must be told"]
pub struct Attempt<'a> {
    throttle: &'a Throttle,
    name: Box<str>,
    network: IpAddr,
    is_known: bool,
}

impl Throttle {
    /// Nothing is counted yet.
    #[must_use]
    pub fn new(options: ThrottleOptions) -> Throttle {
        let counted = Counted {
            pairs: Table::new(options.most),
            addresses: Table::new(options.most),
            names: Table::new(options.most),
            known: BTreeMap::new(),
        };
        Throttle { options, counted: Arc::new(Mutex::new(counted)) }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `name` may be tried from `address` now.
    ///
    /// # Errors
    /// [`Locked`] says when it may.
    pub fn begin(&self, name: &str, address: IpAddr) -> Result<Attempt<'_>, Locked> {
        let now = Instant::now();
        let network = network(address);
        let pair = (Box::from(name), network);
        let mut counted = self.counted();
        let is_known = network.is_loopback() || counted.knows(name, network);
        let name_wait = match is_known {
            true => Duration::ZERO,
            false => counted.names.wait(&pair.0, now),
        };
        let wait = counted.pairs.wait(&pair, now).max(counted.addresses.wait(&network, now)).max(name_wait);
        if !wait.is_zero() {
            return Err(Locked { wait });
        }
        // Who has failed before is checked a few at a time: many at once would all be free of the wait.
        if !counted.pairs.enter(&pair, self.options.pair) {
            return Err(Locked { wait: self.options.pair.first });
        }
        drop(counted);
        Ok(Attempt { throttle: self, name: pair.0, network, is_known })
    }
}

impl Attempt<'_> {
    /// The password was right.
    pub fn succeeded(self) {
        let mut counted = self.throttle.counted();
        counted.pairs.clear(&(self.name.clone(), self.network));
        let most = self.throttle.options.most;
        counted.remember(&self.name, self.network, most);
    }

    /// It was not.
    pub fn failed(self) {
        let now = Instant::now();
        let options = self.throttle.options;
        let mut counted = self.throttle.counted();
        counted.pairs.strike(&(self.name.clone(), self.network), options.pair, now);
        if !self.network.is_loopback() {
            // What comes from this machine itself has many origins: a tunnel, a proxy.
            counted.addresses.strike(&self.network, options.address, now);
        }
        if !self.is_known {
            counted.names.strike(&self.name, options.name, now);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let pair = (std::mem::take(&mut self.name), self.network);
        self.throttle.counted().pairs.leave(&pair);
    }
}

impl Counted {
    fn knows(&self, name: &str, network: IpAddr) -> bool {
        self.known.get(name).is_some_and(|known| known.contains(&network))
    }

    /// This name has signed in from there.
    fn remember(&mut self, name: &str, network: IpAddr, most: usize) {
        if !self.known.contains_key(name) && self.known.len() >= most {
            self.known.pop_first();
        }
        let known = self.known.entry(Box::from(name)).or_default();
        // The latest stands last.
        known.retain(|other| *other != network);
        if known.len() >= KNOWN_ADDRESSES {
            known.remove(0);
        }
        known.push(network);
    }
}

/// What is counted of an address: all of it in IPv4, the network of /64 in IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) if address.is_loopback() => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests;
