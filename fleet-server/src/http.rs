//! Serving HTTP to a great many connections that mostly wait.
//!
//! HTTP/1.1 is served by a loop of our own on a parser crate: an agent's connection waits for minutes, and
//! while it waits it holds no buffer, no request and no handler, only its socket and its session of TLS.
//! HTTP/2 is hyper's. Handlers see no difference.
//!
//! What this module must not know: agents, routes, stores.

mod body;
mod http1;
mod http2;
mod request;
mod response;
mod serve;
mod transport;

pub use body::{Body, BodyError};
pub use request::Request;
pub use response::{Outcome, Response, ResponseBody, Streamed, TakeOver, Turn, Upgrade};
pub use serve::{Ending, Limits, Port, serve};
pub use transport::Transport;

use futures_util::future::BoxFuture;

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request, or holds it. Dropped when the client goes away.
    fn handle<'a>(&'a self, request: Request, body: Body<'a>) -> BoxFuture<'a, Outcome>;
}
