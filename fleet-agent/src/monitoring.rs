//! Where programs on the machine ask how the agent is: `/liveness`, `/readiness`, `/metrics`.
//!
//! `/liveness?failon=degraded|failed|heartbeat` says 500 for what it names, as existing agents do.

use std::convert::Infallible;
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::fleet::{LinkState, Report};
use crate::policy::{Finding, HttpMonitoring};
use crate::workload::Workloads;

/// Connections at a time.
const CONNECTIONS: usize = 32;
/// A request must be there within it.
const HEADER_MAX: Duration = Duration::from_secs(10);

/// What is told.
#[derive(Clone, Debug)]
pub struct Told {
    /// How the agent is.
    pub report: watch::Receiver<Arc<Report>>,
    /// How the connection to the server is.
    pub link: watch::Receiver<LinkState>,
    /// Whose figures there are.
    pub workloads: Workloads,
}

/// Where it is listened now.
#[derive(Debug, Default)]
pub struct Monitoring(Option<(HttpMonitoring, DropGuard)>);

impl Monitoring {
    /// Begins, ends or moves it, as a policy wants it. Returns what is in its way.
    pub async fn follow(
        &mut self,
        wanted: Option<&HttpMonitoring>,
        told: impl FnOnce() -> Told,
    ) -> Option<Finding> {
        if self.0.as_ref().map(|(at, _)| at) == wanted {
            return None;
        }
        self.end();
        let at = wanted?;
        let token = CancellationToken::new();
        let Err(error) = start(at, told(), token.clone()).await else {
            self.0 = Some((at.clone(), token.drop_guard()));
            return None;
        };
        let message =
            format!("agent.monitoring.http: {}:{} cannot be listened at: {error}", at.host, at.port);
        tracing::warn!("{message}");
        Some(Finding { about: "agent".to_owned(), message })
    }

    /// Ends it.
    pub fn end(&mut self) {
        self.0 = None;
    }
}

/// Listens, and answers until it is cancelled.
async fn start(at: &HttpMonitoring, told: Told, token: CancellationToken) -> io::Result<()> {
    let listener = TcpListener::bind((at.host.as_str(), at.port)).await?;
    tracing::info!(host = at.host, port = at.port, "monitoring over HTTP");
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    tokio::spawn(token.run_until_cancelled_owned(async move {
        loop {
            let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let told = told.clone();
                    tokio::spawn(async move {
                        let service = service_fn(|request| {
                            let answer = answer(&request, &told);
                            async { Ok::<_, Infallible>(answer) }
                        });
                        let served = http1::Builder::new()
                            .timer(TokioTimer::new())
                            .header_read_timeout(HEADER_MAX)
                            .keep_alive(false)
                            .serve_connection(TokioIo::new(stream), service);
                        if let Err(error) = served.await {
                            tracing::debug!(%error, "a request for monitoring broke off");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "monitoring over HTTP cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }));
    Ok(())
}

fn answer(request: &Request<Incoming>, told: &Told) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return respond(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET is answered\n".to_owned());
    }
    match request.uri().path() {
        "/liveness" => liveness(request.uri().query().unwrap_or_default(), told),
        "/readiness" => readiness(told),
        "/metrics" => respond(StatusCode::OK, "text/plain; version=0.0.4", metrics(told)),
        _ => respond(
            StatusCode::NOT_FOUND,
            "text/plain",
            "there are /liveness, /readiness and /metrics\n".to_owned(),
        ),
    }
}

fn liveness(query: &str, told: &Told) -> Response<Full<Bytes>> {
    let status = told.report.borrow().status.to_ascii_lowercase();
    let fail_on = query.split('&').find_map(|pair| pair.strip_prefix("failon=")).unwrap_or_default();
    let is_bad = match fail_on {
        "" | "heartbeat" => false,
        "failed" => status == "error",
        "degraded" => matches!(status.as_str(), "error" | "degraded"),
        other => {
            let text = format!("failon={other}: use degraded, failed or heartbeat\n");
            return respond(StatusCode::BAD_REQUEST, "text/plain", text);
        }
    };
    let code = if is_bad { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    respond(code, "application/json", described(told))
}

/// It is ready when it does what a policy says.
fn readiness(told: &Told) -> Response<Full<Bytes>> {
    let is_ready = told.report.borrow().revision.is_some_and(|revision| revision > 0);
    let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    respond(code, "application/json", described(told))
}

fn described(told: &Told) -> String {
    let report = told.report.borrow();
    let connected = told.link.borrow().connected;
    json!({
        "status": report.status,
        "message": report.message,
        "connected": connected,
        "policy_id": report.policy_id,
        "policy_revision": report.revision,
    })
    .to_string()
}

fn metrics(told: &Told) -> String {
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: u64| {
        // Writing to a text does not fail.
        let _ = writeln!(
            text,
            "# HELP fleet_agent_{name} {help}\n# TYPE fleet_agent_{name} gauge\nfleet_agent_{name} {value}"
        );
    };
    let link = told.link.borrow().clone();
    let report = told.report.borrow().clone();
    let units = report.components.iter().flat_map(|component| &component.units);
    let bad = units.clone().filter(|unit| matches!(unit.status.as_str(), "FAILED" | "DEGRADED")).count();
    gauge("connected", "Whether the server answers.", u64::from(link.connected));
    gauge("failed_checkins", "Check-ins that failed in a row.", u64::from(link.failures));
    gauge(
        "policy_revision",
        "The revision that runs; 0: none.",
        report.revision.and_then(|revision| u64::try_from(revision).ok()).unwrap_or(0),
    );
    gauge("units", "Units of the policy.", units.count() as u64);
    gauge("unhealthy_units", "Units that failed or are degraded.", bad as u64);
    gauge("resident_memory_bytes", "Memory of the agent.", resident_bytes());
    for workload in told.workloads.iter() {
        text.push_str(&workload.metrics());
    }
    text
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", http::HeaderValue::from_static(kind));
    response
}
