//! The store contract and its backends.
//!
//! A store keeps *documents*: JSON, in named *collections*, each with an id and an opaque, growing
//! [`Revision`]. It answers `get` and `list`, writes one document at a time by compare-and-swap, tells
//! watchers of every change in order, and holds *leases*: a document that lives on a lease is gone when
//! the lease is not renewed in time.
//!
//! What this crate must not know: units, machines, policies, agents. A [`Collection`] names what lists
//! filter on, and that is all a backend knows of its content. And no caller may know its backend: whatever
//! only one engine can do is not in the contract. There is no transaction over several documents, because
//! not every engine has one.
//!
//! | module | what |
//! |---|---|
//! | [`contract`] | the words: [`Store`], [`Collection`], [`Document`], [`Write`], [`Watch`], leases |
//! | [`error`] | [`Error`] and the three answers a write can have, [`WriteError`] |
//! | [`timestamp`] | a moment, as documents write it |
//! | [`typed`] | the same calls for one Rust type, malformed documents set aside instead of failing a list |
//! | [`etcd`] | the contract on etcd v3 |
//! | [`embedded`] | the contract on SQLite, in the process |
//! | [`decorate`] | metrics, deadlines and seeded faults around any store |

mod check;
pub mod contract;
pub mod decorate;
pub mod embedded;
pub mod error;
pub mod etcd;
mod samples;
pub mod timestamp;
pub mod typed;

pub use contract::{
    Action, Change, Changes, Collection, Document, Expect, Lease, LeaseId, ListRequest, Page, PageToken,
    Revision, Scope, Store, Watch, Write,
};
pub use error::{Error, ErrorKind, RenewError, WatchError, WriteError};
pub use typed::{Listing, Malformed, Typed, TypedChange, TypedWatch, Versioned};
