//! SSH, by a client of its own: nothing has to be installed, and the tunnel is the same everywhere.

mod connection;
mod error;
mod host_key;
mod keys;
mod known_hosts;
mod run;
mod terminal;
mod tunnel;

pub(crate) use connection::{Address, Connection, Connector};
pub(crate) use error::SshError;
pub(crate) use host_key::HostKeyChecker;
pub(crate) use keys::KeySources;
pub(crate) use known_hosts::KnownHosts;
pub(crate) use run::{Input, execute, shell};
pub(crate) use tunnel::{CommandTunnel, TcpTunnel, quote};
