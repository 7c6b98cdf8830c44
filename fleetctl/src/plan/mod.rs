//! What differs between what files say and what a server has, and what to do about it. No I/O.

mod change;

pub(crate) use change::{Change, changes, shown};
