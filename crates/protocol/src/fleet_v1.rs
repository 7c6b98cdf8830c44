//! `/fleet/v1` (and its old name `/v1-alpha`): units, their states, machines.
//!
//! Objects are written as coreos/fleet 1.0.0 writes them, to the byte: keys in alphabetical order, empty
//! fields left out, so that an empty list is `{}`. Unknown fields are ignored and `null` is an empty value.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET /machines?nextPageToken=` | | [`MachinePage`] |
//! | `PATCH /machines` | list of [`MetadataOperation`] | 204 |
//! | `GET /units?nextPageToken=` | | [`UnitPage`] |
//! | `GET /units/NAME` | | [`Unit`] |
//! | `PUT /units/NAME` | [`Unit`] | 201, 204 |
//! | `DELETE /units/NAME` | | 204 |
//! | `GET /state?nextPageToken=&machineID=&unitName=` | | [`UnitStatePage`] |
//! | `GET /state/NAME` | | [`UnitState`] |
//! | `GET /discovery` | | [`DISCOVERY`] |
//! | `GET /units/NAME/explain` (ours) | | [`Explanation`] |
//! | `POST /units/NAME/restart` (ours) | none or [`RestartRequest`] | 204 |
//!
//! Whatever goes wrong is answered with an [`ErrorBody`].

mod explanation;
mod json;
mod metadata;
mod page_token;
mod types;

pub use explanation::{ExplainedState, Explanation, Reason, RestartRequest};
pub use fleet_unit::UnitOption;
pub use json::{DecodeError, decode, encode};
pub use metadata::{MetadataChange, MetadataError, MetadataOperation};
pub use page_token::{PageToken, PageTokenError};
pub use types::{ErrorBody, ErrorDetail, Machine, MachinePage, Unit, UnitPage, UnitState, UnitStatePage};

/// The content type of every body.
pub const CONTENT_TYPE: &str = "application/json";

/// The discovery document: what generators of clients read. `$ENDPOINT` stands there literally, because a
/// server does not know under which name it is reached.
pub const DISCOVERY: &str = include_str!("fleet_v1/discovery.json");
