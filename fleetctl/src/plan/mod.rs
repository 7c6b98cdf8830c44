//! What differs between what files say and what a server has, and what to do about it. No I/O.
//!
//! | module | what |
//! |---|---|
//! | `object` | the objects that files describe |
//! | `change` | field-level differences |
//! | `overlay` | what an object becomes when a file is laid over it |
//! | `planner` | what is to be created, changed and deleted, in which order |

mod change;
mod object;
mod overlay;
mod planner;

pub(crate) use change::{Change, changes, shown};
pub(crate) use object::{Desired, Key, ObjectKind, document_of, read_documents_of};
pub(crate) use planner::{Action, Actual, Plan, Request, Step, plan, remaining};

#[cfg(test)]
mod tests;
