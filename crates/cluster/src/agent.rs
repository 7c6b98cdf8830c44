//! The agent: makes its machine run what it should, and says how that goes.
//!
//! It follows two documents, what is placed on its machine and the global units, and decides for each unit
//! by itself what the next step is ([`decide::next_step`]). Steps of one unit follow each other; units do not
//! wait for one another, with one exception: nothing is started while files are being installed, so that
//! units that arrive together find each other (`After=`, `Requires=`).
//!
//! What it must not do: stop a unit because something else is in trouble. It acts only on documents that it
//! has read, and what it knew last stays true until it reads otherwise.

mod adopt;
pub mod decide;
mod events;
mod guard;
pub mod outbox;
pub mod reconciler;
mod slot;
mod work;

pub use outbox::Outbox;
pub use reconciler::{Agent, Sources};
