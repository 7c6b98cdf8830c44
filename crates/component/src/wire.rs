//! The messages, generated from `proto/component.proto`; `tests/wire.rs` makes them anew.

#[expect(
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    missing_docs,
    reason = "generated"
)]
#[rustfmt::skip]
mod generated;

pub use generated::*;
