//! `add_cloud_metadata`: what the cloud says of the machine.

mod lookup;
mod provider;
#[cfg(test)]
mod tests;

pub(super) use lookup::{Lookup, Way};

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::shared::Shared;
use super::{Flow, Processor};
use crate::config::{Config, Mistake};
use crate::event::{Event, FieldPath};
use provider::Provider;

/// Where machines ask their cloud: the address of the link that all clouds use.
const ADDRESS: &str = "169.254.169.254";

/// How long may be asked, unless the policy says otherwise; and at most.
const WITHIN: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(60));

/// Clouds that policies may name, and that are not asked here.
const NOT_ASKED: [&str; 6] = ["alibaba", "ecs", "tencent", "qcloud", "openstack-ssl", "nova-ssl"];

#[derive(Debug)]
struct AddCloud {
    lookup: Arc<Lookup>,
    overwrite: bool,
    place: FieldPath,
}

impl Processor for AddCloud {
    fn run(&self, event: &mut Event) -> Flow {
        if let Some(Some(cloud)) = self.lookup.answer() {
            let there =
                event.get(&self.place).and_then(Value::as_object).is_some_and(|there| !there.is_empty());
            if self.overwrite || !there {
                event.deep_merge(&self.place, cloud.clone());
            }
        }
        Flow::Keep
    }

    fn touches(&self) -> Option<Vec<String>> {
        // Once it is known, it is the same for all events.
        self.lookup.answer().map(|_| vec![self.place.first().to_owned()])
    }

    fn prepare(&self) -> Option<BoxFuture<'static, ()>> {
        if self.lookup.answer().is_some() {
            return None;
        }
        let lookup = Arc::clone(&self.lookup);
        Some(Box::pin(async move {
            // Whoever waits may have no more patience: it goes on.
            let asked = tokio::spawn(async move { lookup.ask().await }).await;
            if let Err(error) = asked {
                tracing::debug!(%error, "the cloud was not asked to the end");
            }
        }))
    }

    fn is_idle(&self) -> bool {
        matches!(self.lookup.answer(), Some(None))
    }
}

/// `timeout`, `providers`, `overwrite`, `host`.
pub(super) fn build(config: &Config, shared: &Shared) -> Result<Box<dyn Processor>, Mistake> {
    config.allow(&["ssl"]);
    let within = config.duration("timeout", WITHIN.0)?;
    if within.is_zero() || within > WITHIN.1 {
        return Err(config.mistake("timeout", "must be more than 0 and at most 1m"));
    }
    let names = config.texts("providers")?;
    let known = |name: &str| Provider::ALL.into_iter().find(|provider| provider.names().contains(&name));
    if let Some(unknown) =
        names.iter().find(|name| known(name).is_none() && !NOT_ASKED.contains(&name.as_str()))
    {
        let all: Vec<&str> = Provider::ALL.iter().flat_map(|provider| provider.names()).copied().collect();
        let problem = format!("{unknown:?} is unknown: choose from {}", all.join(", "));
        return Err(config.mistake("providers", problem));
    }
    let is_asked = |provider: &Provider| {
        names.is_empty() || names.iter().any(|name| provider.names().contains(&name.as_str()))
    };
    let way = Way {
        address: address(config)?,
        providers: Provider::ALL.into_iter().filter(is_asked).collect(),
        within,
    };
    Ok(Box::new(AddCloud {
        lookup: shared.cloud(way),
        overwrite: config.boolean("overwrite", false)?,
        place: FieldPath::top("cloud".to_owned()),
    }))
}

/// `host`, with a port in the end.
fn address(config: &Config) -> Result<String, Mistake> {
    let host = config.text("host")?.unwrap_or_else(|| ADDRESS.to_owned());
    let full = if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        host
    } else {
        format!("{host}:80")
    };
    let address = full.parse::<http::uri::Authority>();
    match address {
        Ok(address) if address.port_u16().is_some() && !address.as_str().contains('@') => Ok(full),
        _ => Err(config.mistake("host", "must be a host and a port, such as 169.254.169.254:80")),
    }
}
