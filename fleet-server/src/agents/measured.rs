//! Counting what is answered.

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::exporter::Requests;
use crate::http::{Body, Handler, Outcome, Request};

/// A handler whose answers are counted by route and status.
#[derive(Clone, Debug)]
pub struct Measured<H> {
    handler: H,
    requests: Requests,
}

impl<H> Measured<H> {
    /// Counts what `handler` answers.
    #[must_use]
    pub fn new(handler: H, requests: Requests) -> Measured<H> {
        Measured { handler, requests }
    }
}

impl<H: Handler> Handler for Measured<H> {
    fn handle<'a>(&'a self, request: Request, body: Body<'a>) -> BoxFuture<'a, Outcome> {
        let route = label(&request.path);
        let began = Instant::now();
        Box::pin(async move {
            match self.handler.handle(request, body).await {
                Outcome::Answer(response) => {
                    self.requests.observe(route, response.status.as_u16(), began.elapsed());
                    Outcome::Answer(response)
                }
                held => {
                    // As if it were answered well: what becomes of it is another matter.
                    self.requests.observe(route, 200, began.elapsed());
                    held
                }
            }
        })
    }
}

/// The route without what differs from request to request.
fn label(path: &str) -> &'static str {
    let mut segments = path.trim_matches('/').split('/').skip(2);
    match (segments.next(), segments.next(), segments.next()) {
        (Some("agents"), Some("enroll"), None) => "enroll",
        (Some("agents"), Some(_), Some("checkin")) => "checkin",
        (Some("agents"), Some(_), Some("acks")) => "acks",
        (Some("agents"), Some(_), Some("audit")) => "audit_unenroll",
        (Some("uploads"), ..) => "uploads",
        (Some("file"), ..) => "file",
        (Some("artifacts"), ..) => "artifacts",
        (None, ..) if path.starts_with("/api/status") => "status",
        (None, ..) if path.starts_with("/v1/opamp") => "opamp",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_few_labels() {
        for (path, expected) in [
            ("/api/fleet/agents/enroll", "enroll"),
            ("/api/fleet/agents/a-b-c/checkin", "checkin"),
            ("/api/fleet/agents/a-b-c/audit/unenroll", "audit_unenroll"),
            ("/api/fleet/uploads/1/2", "uploads"),
            ("/api/status", "status"),
            ("/v1/opamp", "opamp"),
            ("/", "other"),
            ("/api/fleet/whatever/else", "other"),
        ] {
            assert_eq!(label(path), expected, "{path}");
        }
    }
}
