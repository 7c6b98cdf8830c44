//! `otlp`: logs, metrics and traces by OpenTelemetry's protocol, over gRPC and HTTP.
//!
//! Each signal is a stream of its own, with its own data stream and processors; the streams of one input share the
//! addresses that are listened on. What was sent is answered with success once it is safe in the queue on disk. While
//! the queue has no room, senders wait for a few seconds and are then told to come again: UNAVAILABLE with how long to
//! wait over gRPC, 503 with `Retry-After` over HTTP; RESOURCE_EXHAUSTED and 429 when too much is on its way at once. A
//! signal that no stream takes is answered with UNIMPLEMENTED, or 404. A record that cannot be used is counted in
//! `partial_success`, and does not keep the others of its request out.
//!
//! | module | what |
//! |---|---|
//! | [`settings`], [`cors`] | what a policy may say |
//! | [`hub`], [`route`] | the addresses that streams share, and which stream takes a signal |
//! | [`server`], [`grpc`], [`web`] | connections, and the two ways of sending |
//! | [`intake`] | bodies, bounded |
//! | [`reply`] | answers |
//! | [`wire`] | the protocol's messages |
//! | [`export`], [`document`] | from a request to documents |

mod cors;
mod document;
mod export;
mod grpc;

mod hub;
mod intake;
mod reply;
mod route;
mod server;
mod settings;
mod signal;
#[cfg(test)]
mod tests;
mod web;
mod wire;

pub(crate) use hub::Hub;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::{Map, json};

use crate::config::Mistake;
use crate::input::{Builder, Context, Definition, Input};
use crate::stream::OwnFields;
use hub::Seat;
use route::Route;
use settings::{Endpoint, Settings};
use signal::Signal;

/// `otlp`.
pub(crate) const DEFINITION: Definition = Definition { kinds: &["otlp"], signal: "logs", build };

fn build(builder: &mut Builder<'_>) -> Result<Box<dyn Input>, Mistake> {
    let Settings { signal, endpoints } = Settings::read(builder.config)?;
    builder.signal = signal.name();
    builder.stream(OwnFields::Any)?;
    Ok(Box::new(Otlp { signal, endpoints, hub: Arc::clone(builder.hub) }))
}

/// One signal at its addresses.
#[derive(Debug)]
struct Otlp {
    signal: Signal,
    endpoints: Vec<Endpoint>,
    hub: Arc<Hub>,
}

#[async_trait]
impl Input for Otlp {
    async fn run(&mut self, context: &Context) -> Result<(), String> {
        let mut seats = Vec::new();
        let result = match self.sit_down(context, &mut seats).await {
            Ok(()) => {
                context.stop.cancelled().await;
                Ok(())
            }
            Err(problem) => Err(problem),
        };
        join_all(seats.into_iter().map(Seat::leave)).await;
        result
    }
}

impl Otlp {
    async fn sit_down(&self, context: &Context, seats: &mut Vec<Seat>) -> Result<(), String> {
        for endpoint in &self.endpoints {
            seats.push(self.hub.join(endpoint).await?);
        }
        let mut payload = Map::new();
        let mut places = Vec::new();
        for (endpoint, seat) in self.endpoints.iter().zip(seats.iter()) {
            let name = endpoint.protocol.name();
            payload.insert(name.to_owned(), json!(seat.address()));
            let tls = if endpoint.tls.is_some() { " with TLS" } else { "" };
            places.push(format!("{name}://{}{tls}", seat.address()));
        }
        let message = format!("takes {} at {}", self.signal.name(), places.join(" and "));
        let route = Arc::new(Route::new(self.signal, context, (message, payload)));
        for seat in seats {
            seat.take(&route)?;
        }
        route.healthy();
        Ok(())
    }
}
