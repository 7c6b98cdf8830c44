//! `/api/fleet/proxies`: between agents and what they speak to.

use fleet_policy::documents::Proxy;
use fleet_policy::settings::{Settings, Table};
use serde_json::{Map, Value};

use super::Management;
use super::error::ApiError;
use super::fields::bad;
use super::routes::Routes;
use super::settings::address::url;
use super::settings::object::{self, Flag, Object};
use super::settings::uses::Touched;

/// What an agent can speak to a proxy.
const SCHEMES: [&str; 3] = ["http", "https", "socks5"];
/// Fields that a change takes away when it does not give them: whoever has no certificate any more sends none.
const GIVEN_ANEW: [&str; 3] = ["certificate", "certificate_authorities", "certificate_key"];

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    let paths = ("/api/fleet/proxies", "/api/fleet/proxies/{id}");
    let summaries = [
        "Lists proxies",
        "Shows a proxy",
        "Makes a proxy",
        "Changes a proxy; a certificate that is not given is taken away",
        "Removes a proxy that nothing goes through",
    ];
    object::routes::<Proxy>(routes, paths, summaries)
}

impl Object for Proxy {
    const KIND: &'static str = "proxy";
    const TITLE: &'static str = "Proxy";
    const FLAGS: &'static [Flag<Proxy>] = &[];
    const IGNORED: &'static [&'static str] = &["is_preconfigured"];

    fn table(settings: &Settings) -> &Table<Proxy> {
        &settings.proxies
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn set_id(&mut self, id: String) {
        self.id = id;
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn proxy_id(&self) -> Option<&str> {
        None
    }

    fn base(mut before: Map<String, Value>, _: &Map<String, Value>) -> Map<String, Value> {
        before.retain(|key, _| !GIVEN_ANEW.contains(&key.as_str()));
        before
    }

    fn check(&mut self, _: Option<&Proxy>, _: &Map<String, Value>) -> Result<(), ApiError> {
        url(&self.url, &SCHEMES).map_err(|text| bad("url", text))?;
        self.url = self.url.trim().to_owned();
        for (name, value) in self.proxy_headers.iter().flatten() {
            let field = format!("proxy_headers.{name}");
            if http::HeaderName::try_from(name.as_str()).is_err() {
                return Err(bad(&field, "this is not the name of a header"));
            }
            match value {
                Value::Number(_) | Value::Bool(_) => {}
                Value::String(text) if http::HeaderValue::try_from(text.as_str()).is_ok() => {}
                _ => return Err(bad(&field, "a text of one line, a number, true or false is needed")),
            }
        }
        Ok(())
    }

    async fn users(management: &Management, id: &str) -> Result<Vec<String>, ApiError> {
        let settings = &management.fleet.settings;
        settings.outputs.refresh().await?;
        settings.hosts.refresh().await?;
        settings.download_sources.refresh().await?;
        let through = Touched::through(id, &settings.snapshot());
        let outputs = through.outputs.iter().map(|id| format!("output {id}"));
        let hosts = through.hosts.iter().map(|id| format!("Fleet Server host {id}"));
        let sources = through.download_sources.iter().map(|id| format!("download source {id}"));
        Ok(outputs.chain(hosts).chain(sources).collect())
    }

    fn touched(&self, management: &Management) -> Touched {
        Touched::through(&self.id, &management.fleet.settings.snapshot())
    }
}
