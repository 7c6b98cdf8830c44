//! What happens, one document each: agents that come, go and change, actions that fail, revisions that go out.
//!
//! Events are derived, not sent: the keeper compares what its views show with what it told last (the *ledger*) and
//! tells the difference. So nothing that lasts is missed when servers change, however long nobody looked; what came
//! and went between two looks is not told.
//!
//! Each difference is told once. The ledger and the events that follow from its change are one write
//! (`ledger::Shard`), the events are then written under the ids that they were given there, and a keeper that takes
//! over writes once more what may be missing: under the same ids, and only what is not there.
//!
//! Ids are UUIDs of version 7 and grow, also from keeper to keeper: whoever has seen an event has seen all before it.
//!
//! | module | what |
//! |---|---|
//! | [`event`] | an event, its kinds, its id |
//! | [`log`] | the newest events in memory, the ids of all, and reading on from any of them |
//! | [`filter`] | which events somebody wants |
//! | [`watcher`] | what the keeper does: look, compare, tell, remove what is old |
//! | `ledger` | what was told last, in compact documents |
//! | `term`, `tell` | the rounds of one keeper, and one shard of the ledger in a round |
//! | `look` | the comparison of one agent: no clock, no store |

pub mod event;
pub mod filter;
mod ledger;
pub mod log;
mod look;
mod tell;
mod term;
#[cfg(test)]
mod tests;
pub mod watcher;

pub use event::{EVENTS, Event, EventId, EventKind};
pub use filter::Filter;
pub use ledger::EVENT_LEDGER;
pub use log::{Events, Stretch};
pub use watcher::Watcher;
