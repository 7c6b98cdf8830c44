//! One HTTP/1.1 request, as plain as `curl` makes it.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::error::HarnessError;

const BOUND: Duration = Duration::from_secs(30);
const LARGEST_BODY: usize = 64 << 20;

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Reply {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<serde_json::Value, HarnessError> {
        serde_json::from_str(&self.body)
            .map_err(|error| HarnessError::Unexpected(format!("{error} in the body {:?}", self.body)))
    }
}

/// Sends one request; a body goes out as `application/json`.
///
/// # Errors
/// When there is no whole answer within 30 s. An error status is an answer.
pub async fn request(method: &str, url: &str, body: Option<&str>) -> Result<Reply, HarnessError> {
    let failed =
        |reason: String| HarnessError::Http { method: method.to_owned(), url: url.to_owned(), reason };
    match tokio::time::timeout(BOUND, exchange(method, url, body)).await {
        Ok(reply) => reply.map_err(|error| failed(error.to_string())),
        Err(_) => Err(failed(format!("nothing within {BOUND:?}"))),
    }
}

async fn exchange(
    method: &str,
    url: &str,
    body: Option<&str>,
) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
    let (authority, path) = split(url).ok_or("not an http:// address")?;
    let stream = TcpStream::connect(authority).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = hyper::Request::builder().method(method).uri(path).header(HOST, authority);
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let body = Full::new(Bytes::from(body.unwrap_or_default().to_owned()));
    let response = sender.send_request(request.body(body)?).await?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, LARGEST_BODY).collect().await?.to_bytes();
    connection.abort();
    let headers = head.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    Ok(Reply {
        status: head.status.as_u16(),
        headers: headers.collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn split(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("http://")?;
    let slash = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(slash);
    Some((authority, if path.is_empty() { "/" } else { path }))
}
