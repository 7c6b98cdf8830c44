//! The cluster, as the commands see it, and the ways to it.

mod cluster;
mod dial;
mod endpoint;
mod etcd;
mod exchange;
mod http;
mod open;
mod stream;
mod tls;
mod transport;

pub(crate) use cluster::{ClientError, Cluster, JobState, is_global};
pub(crate) use dial::{Dial, DialError, Stream};
pub(crate) use endpoint::{percent_encode, split_port};
pub(crate) use open::{missing_socket, open, open_management};
pub(crate) use stream::Pieces;
pub(crate) use tls::TlsFiles;
pub(crate) use transport::{Ask, Reply, Transport, TransportError};
