//! Messages that others send: `tcp`, `udp`, `unix`, and `syslog` over any of them.
//!
//! What has been read from a socket is nowhere else any more: it is safe once it is in the queue on disk. While the
//! output takes nothing, connections and Unix sockets are not read, and their senders wait; UDP has no such way,
//! and what the kernel drops is counted and told.
//!
//! | module | what |
//! |---|---|
//! | [`framing`] | from a stream of bytes to messages |
//! | [`message`] | from a message to an event |
//! | [`shared`] | what all connections of an input have in common: batches, room |
//! | [`connection`], [`listener`] | one connection, and all of them |
//! | [`datagram`], [`drops`] | datagrams, and those that the kernel dropped |
//! | [`tcp`], [`udp`], [`unix`] | the inputs |
//! | [`address`], [`options`], [`ssl`] | their settings |

mod accept;
mod address;
mod connection;
mod datagram;
mod drops;
mod framing;
mod listener;
mod message;
mod options;
mod shared;
mod ssl;
mod tcp;
mod udp;
mod unix;

#[cfg(test)]
mod tests;

use std::io;

use serde_json::{Map, json};

use crate::config::{Config, Mistake};
use crate::input::{Builder, Context, Definition, Input};
use crate::syslog::{Format, Settings};
use message::{OWN_FIELDS, Shape};
use tcp::Tcp;
use udp::Udp;
use unix::Unix;

pub(in crate::input) use accept::accept;
pub(in crate::input) use message::Ids;
pub(in crate::input) use ssl::read as server_tls;

/// `tcp`, `udp` and `unix`.
pub(crate) const DEFINITION: Definition =
    Definition { kinds: &["tcp", "udp", "unix"], signal: "logs", build: |builder| build(builder) };

/// `syslog`.
pub(crate) const SYSLOG: Definition =
    Definition { kinds: &["syslog"], signal: "logs", build: |builder| syslog(builder) };

fn build(builder: &mut Builder<'_>) -> Result<Box<dyn Input>, Mistake> {
    let input = transport(builder.kind, builder.config, Shape::default())?;
    builder.stream(OWN_FIELDS)?;
    Ok(input)
}

fn transport(kind: &str, config: &Config, shape: Shape) -> Result<Box<dyn Input>, Mistake> {
    Ok(match kind {
        "udp" => Box::new(Udp::read(config, shape)?),
        "unix" => Box::new(Unix::read(config, shape)?),
        _ => Box::new(Tcp::read(config, shape)?),
    })
}

/// `format`, `timezone`, and the settings of one transport in `protocol`.
fn syslog(builder: &mut Builder<'_>) -> Result<Box<dyn Input>, Mistake> {
    let config = builder.config;
    let shape = Shape { syslog: Some(Settings::read(config, Format::Rfc3164)?) };
    let protocol = config.section("protocol")?;
    let mut kinds = protocol.map().keys();
    let (kind, None) = (kinds.next(), kinds.next()) else {
        return Err(config.mistake("protocol", "must have one of tcp, udp and unix, not several"));
    };
    let Some(kind) = kind.filter(|kind| matches!(kind.as_str(), "tcp" | "udp" | "unix")) else {
        let problem = "is missing or unknown: write protocol.tcp, protocol.udp or protocol.unix";
        return Err(config.mistake("protocol", problem));
    };
    let settings = protocol.section(kind)?;
    let input = transport(kind, &settings, shape)?;
    if let Some(name) = settings.unknown().first() {
        tracing::warn!(stream = builder.id, setting = name, "a setting is not known and not used");
    }
    builder.stream(OWN_FIELDS)?;
    Ok(input)
}

/// Says that all is well, and where.
fn listens(context: &Context, scheme: &str, address: &str, note: &str) {
    let payload = Map::from_iter([("address".to_owned(), json!(address))]);
    context.healthy_with(format!("listens on {scheme}://{address}{note}"), payload);
}

/// Why it cannot be listened there, and what can be done.
pub(in crate::input) fn cannot_listen(scheme: &str, address: &str, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            ": another program or input has it; stop that one, or choose another address"
        }
        io::ErrorKind::PermissionDenied => {
            ": ports below 1024 and foreign directories need more rights; choose another, or give the agent the right"
        }
        io::ErrorKind::AddrNotAvailable => ": this machine does not have that address",
        _ => "",
    };
    format!("cannot listen on {scheme}://{address}: {error}{hint}")
}
