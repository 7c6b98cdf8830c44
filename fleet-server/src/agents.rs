//! The API of the agents, and the connections that they hold.
//!
//! | module | what |
//! |---|---|
//! | `auth` | whose key it is |
//! | `opamp` | the route of collectors, which speak OpAMP |
//! | `enroll`, `checkin`, `acks`, `audit`, `status`, `upload`, `file`, `artifact`, `pgp` | the routes |
//! | `answer` | the answer to a check-in: actions, and a policy whose text all agents share |
//! | `farewell` | sending agents away in good order whose key is not good any more |
//! | `report` | what an agent says of itself, as it is stored |
//! | `limit` | how often and how many at a time |
//! | `measured` | counting what is answered |
//! | `error` | what agents are told when something cannot be done |

mod acks;
mod answer;
mod artifact;
mod audit;
mod auth;
mod beat;
mod checkin;
mod compress;
mod enroll;
mod error;
mod farewell;
mod file;
mod limit;
mod measured;
mod opamp;
mod pgp;
mod range;
mod report;
mod status;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleet_access::key::KeyDigest;
use fleet_access::replace_token::ReplaceTokens;
use fleet_protocol::agent::API_VERSION;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::fleet::Fleet;
use crate::http::{Body, Handler, Outcome, Request, Response, Upgrade};
use answer::Answers;
use error::ApiError;
use farewell::Farewells;
use limit::{Gate, RouteLimits};
use opamp::Conversations;

pub use beat::beat;
pub use limit::RouteLimit;
pub use measured::Measured;
pub use pgp::SignerKey;

const ELASTIC_API_VERSION: HeaderName = HeaderName::from_static("elastic-api-version");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How agents are served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The version that the server says it is.
    pub version: String,
    /// How long a check-in is held when the agent does not say.
    pub long_poll: Duration,
    /// The random part that is taken off that.
    pub jitter: Duration,
    /// The longest that a check-in is held.
    pub max_poll: Duration,
    /// The time for a request's body.
    pub read: Duration,
    /// The level of gzip, 0 for none.
    pub compression_level: u32,
    /// Smaller answers are not compressed.
    pub compression_threshold: usize,
    /// Whether a check-in's own word on the policy that it runs is not used.
    pub ignore_checkin_policy_id: bool,
    /// Whether agents whose key is not good are sent away in good order, and the bytes that may be kept for that.
    pub graceful_force_unenroll: Option<u64>,
    /// Whether `/v1/opamp` is served.
    pub enable_opamp: bool,
    /// Where the key is that upgrades are signed with.
    pub signer_key: SignerKey,
    /// Enrolment keys that are not in the store.
    pub static_tokens: Vec<StaticToken>,
    /// Limits by route.
    pub limits: Limits,
}

/// An enrolment key that the configuration names: whatever its id, its secret lets agents enrol into a policy.
#[derive(Clone, Debug)]
pub struct StaticToken {
    /// What the secret is checked against.
    pub digest: KeyDigest,
    /// The policy.
    pub policy_id: String,
}

/// Limits by route.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Enrolments.
    pub enroll: RouteLimit,
    /// Check-ins.
    pub checkin: RouteLimit,
    /// Acknowledgements.
    pub ack: RouteLimit,
    /// Words of farewell.
    pub audit_unenroll: RouteLimit,
    /// Questions for the server's status.
    pub status: RouteLimit,
    /// Messages of collectors.
    pub opamp: RouteLimit,
    /// Beginnings of uploads.
    pub upload_start: RouteLimit,
    /// Chunks of uploads.
    pub upload_chunk: RouteLimit,
    /// Ends of uploads.
    pub upload_end: RouteLimit,
    /// Artifacts.
    pub artifact: RouteLimit,
    /// Keys that upgrades are signed with.
    pub pgp_retrieval: RouteLimit,
    /// Files sent to agents.
    pub file_delivery: RouteLimit,
}

impl Limits {
    /// The same limit for every route.
    #[must_use]
    pub fn all(limit: RouteLimit) -> Limits {
        Limits {
            enroll: limit,
            checkin: limit,
            ack: limit,
            audit_unenroll: limit,
            status: limit,
            opamp: limit,
            upload_start: limit,
            upload_chunk: limit,
            upload_end: limit,
            artifact: limit,
            pgp_retrieval: limit,
            file_delivery: limit,
        }
    }
}

/// The API of the agents.
#[derive(Debug)]
pub struct AgentsApi {
    fleet: Arc<Fleet>,
    settings: Settings,
    limits: RouteLimits,
    answers: Answers,
    replace_tokens: ReplaceTokens,
    conversations: Conversations,
    farewells: Option<Farewells>,
    signer_key: pgp::Keeper,
    /// Held check-ins are answered when this is cancelled.
    drain: CancellationToken,
}

/// A route with what its path names.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Enroll,
    Checkin(&'a str),
    Acks(&'a str),
    AuditUnenroll(&'a str),
    Status,
    Opamp,
    UploadBegin,
    UploadChunk(&'a str, &'a str),
    UploadFinish(&'a str),
    File(&'a str),
    PgpPublicKey(&'a str),
    Artifact(&'a str, &'a str),
}

impl Route<'_> {
    fn of<'a>(method: &Method, path: &'a str) -> Result<Route<'a>, ApiError> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (expected, route) = match segments.as_slice() {
            ["api", "fleet", "agents", "enroll"] => (Method::POST, Route::Enroll),
            // Agents from 7.13 enrol by a path that begins with their id, which is not used.
            ["api", "fleet", "agents", id, "checkin"] => (Method::POST, Route::Checkin(id)),
            ["api", "fleet", "agents", id, "acks"] => (Method::POST, Route::Acks(id)),
            ["api", "fleet", "agents", id, "audit", "unenroll"] => (Method::POST, Route::AuditUnenroll(id)),
            ["api", "fleet", "uploads"] => (Method::POST, Route::UploadBegin),
            ["api", "fleet", "uploads", id] => (Method::POST, Route::UploadFinish(id)),
            ["api", "fleet", "uploads", id, number] => (Method::PUT, Route::UploadChunk(id, number)),
            ["api", "fleet", "file", id] => (Method::GET, Route::File(id)),
            ["api", "fleet", "artifacts", identifier, sha256] => {
                (Method::GET, Route::Artifact(identifier, sha256))
            }
            ["api", "agents", "upgrades", version, "pgp-public-key"] => {
                (Method::GET, Route::PgpPublicKey(version))
            }
            ["api", "status"] => (Method::GET, Route::Status),
            // A GET asks for WebSocket.
            ["v1", "opamp"] if method == Method::GET => (Method::GET, Route::Opamp),
            ["v1", "opamp"] => (Method::POST, Route::Opamp),
            _ => return Err(ApiError::NoRoute),
        };
        if *method == expected { Ok(route) } else { Err(ApiError::Method) }
    }
}

impl AgentsApi {
    /// The API over what `fleet` knows.
    #[must_use]
    pub fn new(
        fleet: Arc<Fleet>,
        settings: Settings,
        replace_tokens: ReplaceTokens,
        drain: CancellationToken,
    ) -> Arc<AgentsApi> {
        Arc::new(AgentsApi {
            limits: RouteLimits::new(&settings.limits),
            answers: Answers::new(settings.compression_level),
            farewells: settings.graceful_force_unenroll.map(Farewells::new),
            signer_key: pgp::Keeper::new(settings.signer_key.clone()),
            fleet,
            settings,
            replace_tokens,
            conversations: Conversations::default(),
            drain,
        })
    }

    /// The whole body, unpacked, within the bounds of its route.
    async fn read_body(
        &self,
        gate: &Gate,
        request: &Request,
        body: &mut Body<'_>,
    ) -> Result<Bytes, ApiError> {
        let (most, most_decoded) = (gate.limit.max_body, gate.limit.max_body_decoded);
        Ok(body.read_decoded(&request.headers, most, most_decoded, self.settings.read).await?)
    }

    async fn route(
        self: &Arc<AgentsApi>,
        request: &Request,
        body: &mut Body<'_>,
    ) -> Result<Outcome, ApiError> {
        let route = Route::of(&request.method, &request.path)?;
        let leave = self.limits.of(&route).enter()?;
        check_api_version(request)?;
        match route {
            Route::Enroll => self.enroll(request, body).await.map(Outcome::Answer),
            Route::Checkin(id) => self.checkin(id, request, body).await,
            Route::Acks(id) => self.acks(id, request, body).await.map(Outcome::Answer),
            Route::AuditUnenroll(id) => self.audit_unenroll(id, request, body).await.map(Outcome::Answer),
            Route::Status => self.status(request).await.map(Outcome::Answer),
            Route::Opamp if !self.settings.enable_opamp => Err(ApiError::NoRoute),
            Route::Opamp if request.method == Method::GET => self.opamp_socket(request).await,
            Route::Opamp => self.opamp(request, body).await.map(Outcome::Answer),
            Route::UploadBegin => self.upload_begin(request, body).await.map(Outcome::Answer),
            Route::UploadChunk(id, number) => {
                self.upload_chunk(id, number, request, body).await.map(Outcome::Answer)
            }
            Route::Artifact(identifier, sha256) => {
                self.artifact(identifier, sha256, request).await.map(Outcome::Answer)
            }
            Route::PgpPublicKey(version) => self.pgp_public_key(version, request).await.map(Outcome::Answer),
            Route::File(id) => self.file(id, request, leave).await.map(Outcome::Answer),
            Route::UploadFinish(id) => self.upload_finish(id, request, body).await.map(Outcome::Answer),
        }
    }
}

/// Reads a body, which is a JSON object. (An array of an object's values in their order would do for serde.)
fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(ApiError::BadRequest("the body is not a JSON object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| ApiError::BadRequest(error.to_string()))
}

fn check_api_version(request: &Request) -> Result<(), ApiError> {
    let Some(value) = request.headers.get(ELASTIC_API_VERSION) else { return Ok(()) };
    let text = value.to_str().map_err(|_| ApiError::ApiVersionFormat)?;
    let is_date = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    match text {
        API_VERSION => Ok(()),
        _ if is_date => Err(ApiError::ApiVersion(text.to_owned())),
        _ => Err(ApiError::ApiVersionFormat),
    }
}

/// What every answer carries: the version of the API, and the request's id, made where there is none.
#[derive(Clone, Debug)]
struct Marks {
    request_id: HeaderValue,
}

impl Marks {
    fn of(request: &Request) -> Marks {
        let given = request.headers.get(X_REQUEST_ID).filter(|id| !id.is_empty() && id.len() <= 128);
        let request_id =
            given.cloned().or_else(|| HeaderValue::from_str(&uuid::Uuid::new_v4().simple().to_string()).ok());
        Marks { request_id: request_id.unwrap_or_else(|| HeaderValue::from_static("none")) }
    }

    fn put_on(self, response: Response) -> Response {
        response
            .with_header(ELASTIC_API_VERSION, HeaderValue::from_static(API_VERSION))
            .with_header(X_REQUEST_ID, self.request_id)
    }
}

/// The API as a handler of connections.
#[derive(Clone, Debug)]
pub struct AgentsHandler(pub Arc<AgentsApi>);

impl Handler for AgentsHandler {
    fn handle<'a>(&'a self, request: Request, mut body: Body<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let marks = Marks::of(&request);
            match self.0.route(&request, &mut body).await {
                Ok(Outcome::Answer(response)) => Outcome::Answer(marks.put_on(response)),
                Ok(Outcome::Upgrade(Upgrade { response, then })) => {
                    Outcome::Upgrade(Upgrade { response: marks.put_on(response), then })
                }
                Ok(Outcome::Hold(held)) => Outcome::Hold(Box::pin(async move { marks.put_on(held.await) })),
                Err(error) => Outcome::Answer(marks.put_on(error.response())),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_routes() {
        let of = |method: Method, path| Route::of(&method, path);
        assert_eq!(of(Method::POST, "/api/fleet/agents/enroll").unwrap(), Route::Enroll);
        assert_eq!(of(Method::POST, "/api/fleet/agents/a/checkin").unwrap(), Route::Checkin("a"));
        assert_eq!(of(Method::POST, "/api/fleet/agents/a/acks").unwrap(), Route::Acks("a"));
        assert_eq!(of(Method::GET, "/api/status").unwrap(), Route::Status);
        assert_eq!(of(Method::POST, "/v1/opamp").unwrap(), Route::Opamp);
        assert_eq!(of(Method::GET, "/v1/opamp").unwrap(), Route::Opamp);
        assert!(matches!(of(Method::PUT, "/v1/opamp"), Err(ApiError::Method)));
        assert!(matches!(of(Method::GET, "/api/fleet/agents/enroll"), Err(ApiError::Method)));
        assert!(matches!(of(Method::GET, "/api/fleet/agents"), Err(ApiError::NoRoute)));
    }
}
