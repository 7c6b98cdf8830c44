//! What the client prints: to whom, how aligned, in which form.

mod console;
mod tabwriter;

pub(crate) use console::Console;
pub use console::Streams;
pub(crate) use tabwriter::{align, printable};
