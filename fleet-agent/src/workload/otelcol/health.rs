//! How a collector is, by its extension `health_check`.

use std::time::Duration;

use bytes::Bytes;
use fleet_service::error::chain;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Where it listens without another word.
const ENDPOINT: &str = "localhost:13133";
/// It must answer within it.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Where a collector says how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HealthCheck {
    endpoint: String,
    path: String,
}

impl HealthCheck {
    /// That of a collector's configuration; `None`: it has none that can be asked from here.
    pub(super) fn of(config: &Map<String, Value>) -> Option<HealthCheck> {
        let on = config.get("service")?.get("extensions")?.as_array()?;
        let is_one = |name: &&str| matches!(name.split('/').next(), Some("health_check" | "healthcheck"));
        let name = on.iter().filter_map(Value::as_str).find(is_one)?;
        let settings = config.get("extensions").and_then(|extensions| extensions.get(name));
        let text = |key: &str| settings.and_then(|settings| settings.get(key)?.as_str());
        if settings.is_some_and(|settings| settings.get("tls").is_some_and(Value::is_object)) {
            return None;
        }
        let endpoint = text("endpoint").unwrap_or(ENDPOINT);
        // The collector replaces variables itself.
        if endpoint.contains('$') {
            return None;
        }
        let (host, port) = endpoint.rsplit_once(':')?;
        let host = match host {
            "" | "0.0.0.0" | "[::]" => "localhost",
            host => host,
        };
        let path = text("path").unwrap_or("/");
        Some(HealthCheck { endpoint: format!("{host}:{port}"), path: path.to_owned() })
    }

    /// Whether it is well, or what is wrong.
    pub(super) async fn ask(&self) -> Result<(), String> {
        let status = timeout(ANSWER_MAX, self.status()).await;
        match status.unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER_MAX.as_secs()))) {
            Ok(status) if status.is_success() => Ok(()),
            Ok(status) => Err(format!("the answer is {status}")),
            Err(problem) => Err(problem),
        }
        .map_err(|problem| format!("health_check at {}: {problem}", self.endpoint))
    }

    async fn status(&self) -> Result<StatusCode, String> {
        let told = |error: &dyn std::error::Error| chain(error);
        let stream = TcpStream::connect(&self.endpoint).await.map_err(|error| told(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| told(&error))?;
        let request = Request::get(&self.path).header("host", &self.endpoint).body(Empty::<Bytes>::new());
        let request = request.map_err(|error| told(&error))?;
        // It ends with the answer, or with the sender.
        tokio::spawn(connection);
        let answer = sender.send_request(request).await;
        answer.map(|answer| answer.status()).map_err(|error| told(&error))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(config: &Value) -> Option<String> {
        HealthCheck::of(config.as_object().unwrap()).map(|check| check.endpoint + &check.path)
    }

    #[test]
    fn it_is_found_where_the_service_has_it() {
        let on = json!({"extensions": ["zpages", "health_check/a"]});
        let at = |settings: Value| of(&json!({"service": on, "extensions": {"health_check/a": settings}}));
        assert_eq!(at(Value::Null).as_deref(), Some("localhost:13133/"));
        assert_eq!(at(json!({"endpoint": "0.0.0.0:1", "path": "/h"})).as_deref(), Some("localhost:1/h"));
        assert_eq!(at(json!({"endpoint": "${env:HOST}:1"})), None);
        assert_eq!(at(json!({"tls": {"cert_file": "x"}})), None);
        assert_eq!(of(&json!({"service": {}, "extensions": {"health_check": {}}})), None);
    }
}
