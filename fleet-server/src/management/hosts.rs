//! `/api/fleet/fleet_server_hosts`: where agents find their servers.

use fleet_policy::documents::{AgentPolicy, FleetServerHost};
use fleet_policy::settings::{FIRST_HOST_ID, Settings, Table};
use serde_json::{Map, Value};

use super::Management;
use super::caller::Caller;
use super::error::ApiError;
use super::fields::bad;
use super::routes::Routes;
use super::settings::address::with_port;
use super::settings::object::{self, Flag, Object, Successor};
use super::settings::uses::{Touched, forget};

/// The most addresses.
const MOST_URLS: usize = 10;

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    let paths = ("/api/fleet/fleet_server_hosts", "/api/fleet/fleet_server_hosts/{id}");
    let summaries = [
        "Lists Fleet Server hosts",
        "Shows a Fleet Server host",
        "Makes a Fleet Server host",
        "Changes a Fleet Server host",
        "Removes a Fleet Server host that nobody uses",
    ];
    object::routes::<FleetServerHost>(routes, paths, summaries)
}

impl Object for FleetServerHost {
    const KIND: &'static str = "fleet-server-host";
    const TITLE: &'static str = "Fleet Server host";
    const FLAGS: &'static [Flag<FleetServerHost>] = &[Flag {
        field: "is_default",
        get: |host| host.is_default,
        set: |host, is_it| host.is_default = is_it,
        place: |defaults| &mut defaults.fleet_server_host,
    }];
    const IGNORED: &'static [&'static str] = &["is_preconfigured"];

    fn table(settings: &Settings) -> &Table<FleetServerHost> {
        &settings.hosts
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
        self.proxy_id.as_deref()
    }

    fn check(&mut self, _: Option<&FleetServerHost>, _: &Map<String, Value>) -> Result<(), ApiError> {
        if self.host_urls.is_empty() || self.host_urls.len() > MOST_URLS {
            return Err(bad("host_urls", format!("1 to {MOST_URLS} addresses are needed")));
        }
        for (index, url) in self.host_urls.iter_mut().enumerate() {
            *url = with_port(url).map_err(|text| bad(&format!("host_urls.{index}"), text))?;
        }
        Ok(())
    }

    async fn detach(management: &Management, caller: &Caller, id: &str) -> Result<(), ApiError> {
        let forget = |policy: &mut AgentPolicy| forget(&mut policy.fleet_server_host_id, id);
        management.forget_in_policies(caller, forget).await
    }

    fn touched(&self, _: &Management) -> Touched {
        Touched { hosts: [self.id.clone()].into(), default_host: self.is_default, ..Touched::default() }
    }

    /// The host that was made at the first start takes its place back. There may be none: then agents stay with the
    /// servers that they know, as before there was any.
    fn successor(&self, others: &[&FleetServerHost]) -> Option<Successor> {
        let first = others.iter().find(|other| other.id == FIRST_HOST_ID);
        Some(first.map_or(Successor::Nobody, |first| Successor::Object(first.id.clone())))
    }
}
