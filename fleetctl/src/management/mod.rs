//! The management API of a fleet-server, as commands see it.
//!
//! | module | what |
//! |---|---|
//! | `client` | requests, who asks, what is tried again |
//! | `error` | what is told when something cannot be done |
//! | `list` | lists, page after page |
//! | `kind` | the kinds of object: where they are, what they are called, what of them is shown |
//! | `stream` | events that the server sends while one waits |
//! | `find` | from what people type to one object |

mod client;
mod error;
mod find;
mod kind;
mod list;
mod stream;

pub(crate) use client::{Body, Client, Credentials};
pub(crate) use error::ApiError;
pub(crate) use find::{FindError, find, find_id, quoted};
pub(crate) use kind::kinds::{
    ACTION, AGENT, API_KEY, AUDIT, DOWNLOAD_SOURCE, ENROLL_KEY, EVENT, HOST, INTEGRATION, OUTPUT, PACKAGE,
    POLICY, PROXY, SERVICE_TOKEN, SIGNING_KEY, UNINSTALL_TOKEN, USER, WEBHOOK,
};
pub(crate) use kind::{Cell, Column, Deletion, Kind};
pub(crate) use list::{List, Query, list, list_at};
pub(crate) use stream::{EventStream, ServerEvent};
