//! The cluster through the fleet API.

use bytes::Bytes;
use fleet_protocol::fleet_v1::{
    ErrorBody, Explanation, Machine, MachinePage, Unit, UnitPage, UnitState, UnitStatePage, decode, encode,
};
use hyper::Method;
use serde::de::DeserializeOwned;

use super::cluster::{ClientError, Cluster, JobState};
use super::endpoint::percent_encode;
use super::exchange::{Answer, Exchange};

/// A server that always says that there is more would keep us for ever.
const MAX_PAGES: usize = 100_000;

/// A client of the API.
pub(crate) struct HttpCluster {
    exchange: Box<dyn Exchange>,
    base_url: String,
    base_path: String,
}

/// A page of a list.
trait Page: DeserializeOwned + Default {
    type Item;
    fn open(self) -> (Vec<Self::Item>, String);
}

impl Page for MachinePage {
    type Item = Machine;
    fn open(self) -> (Vec<Machine>, String) {
        (self.machines, self.next_page_token)
    }
}

impl Page for UnitPage {
    type Item = Unit;
    fn open(self) -> (Vec<Unit>, String) {
        (self.units, self.next_page_token)
    }
}

impl Page for UnitStatePage {
    type Item = UnitState;
    fn open(self) -> (Vec<UnitState>, String) {
        (self.states, self.next_page_token)
    }
}

impl HttpCluster {
    /// A client of the API that `exchange` leads to. Errors show `base_url`; `base_path` is its path.
    pub(crate) fn new(exchange: Box<dyn Exchange>, base_url: &str, base_path: &str) -> HttpCluster {
        HttpCluster { exchange, base_url: base_url.to_owned(), base_path: base_path.to_owned() }
    }

    /// Follows a list to its end. `query` is what is asked for beside the page.
    async fn list<P: Page>(&self, resource: &str, query: &str) -> Result<Vec<P::Item>, ClientError> {
        let mut all = Vec::new();
        let mut token = String::new();
        for _ in 0..MAX_PAGES {
            let page = if token.is_empty() {
                String::new()
            } else {
                format!("&nextPageToken={}", percent_encode(&token))
            };
            let page: P = self.get(&format!("{resource}?alt=json{page}{query}")).await?;
            let (items, next) = page.open();
            all.extend(items);
            if next.is_empty() || next == token {
                break;
            }
            token = next;
        }
        Ok(all)
    }

    async fn get<T: DeserializeOwned>(&self, resource: &str) -> Result<T, ClientError> {
        let answer = self.send(Method::GET, resource, None).await?;
        decode(&answer.body).map_err(|source| ClientError::Answer {
            method: "Get".to_owned(),
            url: format!("{}{resource}", self.base_url),
            source,
        })
    }

    async fn get_if_there<T: DeserializeOwned>(&self, resource: &str) -> Result<Option<T>, ClientError> {
        match self.get(resource).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn put(&self, unit: &Unit) -> Result<(), ClientError> {
        let body = encode(unit).map_err(|source| ClientError::Encode { name: unit.name.clone(), source })?;
        self.send(Method::PUT, &unit_path(&unit.name, ""), Some(Bytes::from(body))).await?;
        Ok(())
    }

    async fn send(&self, method: Method, resource: &str, body: Option<Bytes>) -> Result<Answer, ClientError> {
        let url = format!("{}{resource}", self.base_url);
        tracing::debug!("HTTP {method} {url}");
        let path = format!("{}{resource}", self.base_path);
        let answer = self.exchange.send(&method, &path, body).await.map_err(|source| {
            ClientError::Request { method: capitalised(&method), url: url.clone(), source }
        })?;
        tracing::debug!("HTTP {method} {url} {}", answer.status);
        if answer.status.is_success() {
            return Ok(answer);
        }
        let code = answer.status.as_u16();
        let message = decode::<ErrorBody>(&answer.body).map(|body| body.error.message).unwrap_or_default();
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        Err(ClientError::Refused { code, message, body })
    }
}

#[async_trait::async_trait]
impl Cluster for HttpCluster {
    async fn machines(&self) -> Result<Vec<Machine>, ClientError> {
        self.list::<MachinePage>("machines", "").await
    }

    async fn units(&self) -> Result<Vec<Unit>, ClientError> {
        self.list::<UnitPage>("units", "").await
    }

    async fn unit(&self, name: &str) -> Result<Option<Unit>, ClientError> {
        self.get_if_there(&unit_path(name, "")).await
    }

    async fn states(&self, name: Option<&str>) -> Result<Vec<UnitState>, ClientError> {
        let query = name.map(|name| format!("&unitName={}", percent_encode(name))).unwrap_or_default();
        self.list::<UnitStatePage>("state", &query).await
    }

    async fn create(&self, unit: &Unit) -> Result<(), ClientError> {
        self.put(unit).await
    }

    async fn set_target(&self, name: &str, target: JobState) -> Result<(), ClientError> {
        let unit =
            Unit { name: name.to_owned(), desired_state: target.as_str().to_owned(), ..Unit::default() };
        self.put(&unit).await
    }

    async fn destroy(&self, name: &str) -> Result<bool, ClientError> {
        match self.send(Method::DELETE, &unit_path(name, ""), None).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn restart(&self, name: &str) -> Result<bool, ClientError> {
        match self.send(Method::POST, &unit_path(name, "/restart"), None).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_unsupported() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn explain(&self, name: &str) -> Result<Option<Explanation>, ClientError> {
        match self.get(&unit_path(name, "/explain")).await {
            Ok(explanation) => Ok(Some(explanation)),
            Err(error) if error.is_unsupported() || error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn concurrency(&self) -> usize {
        self.exchange.concurrency()
    }
}

fn unit_path(name: &str, action: &str) -> String {
    format!("units/{}{action}?alt=json", percent_encode(name))
}

/// A method as Go's client names it in errors: `Get`.
fn capitalised(method: &Method) -> String {
    let name = method.as_str();
    let (first, rest) = name.split_at(1.min(name.len()));
    format!("{first}{}", rest.to_ascii_lowercase())
}
