//! What the system tells of itself in files: below `/proc` and `/sys`, and who has an account. Inputs measure by it, and
//! processors look processes up in it.

pub(crate) mod root;
pub(crate) mod stat;
pub(crate) mod text;
pub(crate) mod users;
