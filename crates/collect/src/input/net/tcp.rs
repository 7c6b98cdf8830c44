//! `tcp`: messages over connections, with TLS or without.

use std::sync::Arc;

use async_trait::async_trait;
use fleet_service::error::chain;
use fleet_service::tls::{Acceptor, Reload, ServerTls, reload};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::address::Host;
use super::connection::Reading;
use super::listener::{self, Listener, Service};
use super::message::Shape;
use super::shared::Shared;
use super::{listens, options, ssl};
use crate::config::{Config, Mistake};
use crate::input::{Context, Input};

/// Messages over TCP.
#[derive(Debug)]
pub(super) struct Tcp {
    host: Host,
    reading: Reading,
    connections: usize,
    tls: Option<ServerTls>,
    shape: Arc<Shape>,
}

impl Tcp {
    pub(super) fn read(config: &Config, shape: Shape) -> Result<Tcp, Mistake> {
        options::allow(config);
        Ok(Tcp {
            reading: options::reading(config)?,
            connections: options::connections(config)?,
            tls: config.or(None, ssl::read(config))?,
            host: Host::read(config)?,
            shape: Arc::new(shape),
        })
    }

    /// Reads the certificates, and follows their files until the token is cancelled.
    async fn acceptor(&self, stop: &CancellationToken) -> Result<Option<Acceptor>, String> {
        let Some(settings) = self.tls.clone() else { return Ok(None) };
        let started = tokio::task::spawn_blocking(move || Reload::start(settings)).await;
        let (acceptor, follow) =
            started.map_err(|error| error.to_string())?.map_err(|error| format!("ssl: {}", chain(&error)))?;
        tokio::spawn(follow.run(reload::INTERVAL, stop.clone()));
        Ok(Some(acceptor))
    }
}

#[async_trait]
impl Input for Tcp {
    async fn run(&mut self, context: &Context) -> Result<(), String> {
        let following = CancellationToken::new();
        let _guard = following.clone().drop_guard();
        let tls = self.acceptor(&following).await?;
        let listener = bind(&self.host).await?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        listens(context, if tls.is_some() { "tls" } else { "tcp" }, &address.to_string(), "");
        let shared = Shared::new(context, &self.shape, self.reading.most);
        let service = Service { reading: self.reading.clone(), tls, connections: self.connections };
        listener::serve(&Listener::Tcp(listener), service, &shared).await;
        Ok(())
    }
}

async fn bind(host: &Host) -> Result<TcpListener, String> {
    let mut problem = String::new();
    for address in host.addresses().await.map_err(|error| format!("host: {error}"))? {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) => problem = super::cannot_listen("tcp", &address.to_string(), &error),
        }
    }
    Err(problem)
}
