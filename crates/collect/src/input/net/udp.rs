//! `udp`: a message in each datagram.

use std::sync::Arc;

use async_trait::async_trait;
use rustix::net::sockopt;
use tokio::net::UdpSocket;

use super::address::Host;
use super::datagram::{self, Ended, Socket};
use super::drops::{self, Drops, News};
use super::message::Shape;
use super::shared::Shared;
use super::{listens, options};
use crate::config::{Config, Mistake};
use crate::input::{Context, Input};

/// No datagram of UDP is longer.
const LONGEST: usize = 65_535;

/// Messages over UDP.
#[derive(Debug)]
pub(super) struct Udp {
    host: Host,
    most: usize,
    /// What the kernel is asked to keep for us; none: what it keeps by itself.
    buffer: Option<usize>,
    shape: Arc<Shape>,
}

impl Udp {
    pub(super) fn read(config: &Config, shape: Shape) -> Result<Udp, Mistake> {
        options::allow(config);
        // There is nothing that could time out: datagrams come, or they do not.
        config.allow(&["timeout"]);
        let buffer = config.size("read_buffer", 0)?;
        let buffer = usize::try_from(buffer).ok().filter(|size| *size <= 1 << 30);
        let wrong = || config.mistake("read_buffer", "must be 1GiB at most");
        let buffer = config.or(0, buffer.ok_or_else(wrong))?;
        Ok(Udp {
            most: options::longest(config, 10 << 10)?.min(LONGEST),
            host: Host::read(config)?,
            buffer: Some(buffer).filter(|size| *size > 0),
            shape: Arc::new(shape),
        })
    }

    /// Asks for the buffer, and says what became of that if it was not all.
    fn enlarge(&self, socket: &UdpSocket) -> String {
        let Some(wanted) = self.buffer else { return String::new() };
        if let Err(error) = sockopt::set_socket_recv_buffer_size(socket, wanted) {
            return format!("; read_buffer: {error}");
        }
        // The kernel tells twice what it was asked for: the other half is for its own use.
        match sockopt::socket_recv_buffer_size(socket) {
            Ok(size) if size / 2 < wanted => {
                format!(
                    "; read_buffer is {} bytes: the system allows no more, see net.core.rmem_max",
                    size / 2
                )
            }
            _ => String::new(),
        }
    }
}

#[async_trait]
impl Input for Udp {
    async fn run(&mut self, context: &Context) -> Result<(), String> {
        let socket = bind(&self.host).await?;
        let note = self.enlarge(&socket);
        let address = socket.local_addr().map_err(|error| error.to_string())?.to_string();
        let inode = rustix::fs::fstat(&socket).map_err(|error| error.to_string())?.st_ino;
        let mut drops = Drops::new(inode);
        listens(context, "udp", &address, &note);
        let shared = Shared::new(context, &self.shape, self.most);
        let counters = context.stream().counters().clone();
        let look = || match drops.look() {
            News::None => {}
            News::Over => listens(context, "udp", &address, &note),
            News::Dropped { more, total } => {
                counters.datagrams_dropped.add(more);
                context.degraded(format!(
                    "listens on udp://{address}, but the system dropped {more} datagrams within {} s ({total} in \
                     all) because they were not read in time: raise read_buffer, or see whether the output keeps up",
                    drops::INTERVAL.as_secs(),
                ));
            }
        };
        match datagram::serve(&Socket::Udp(socket), self.most, &shared, drops::INTERVAL, look).await {
            Ended::Stopped => Ok(()),
            Ended::Broken(error) => Err(format!("udp://{address} cannot be read: {error}")),
        }
    }
}

async fn bind(host: &Host) -> Result<UdpSocket, String> {
    let mut problem = String::new();
    for address in host.addresses().await.map_err(|error| format!("host: {error}"))? {
        match UdpSocket::bind(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => problem = super::cannot_listen("udp", &address.to_string(), &error),
        }
    }
    Err(problem)
}
