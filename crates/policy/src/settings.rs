//! Outputs, hosts, proxies, download sources, uninstall tokens and settings of everything, in memory; and what
//! agents get of them.
//!
//! These collections are small and read often: each save of a policy needs them. A [`Snapshot`] is what one
//! composition works with, so that it sees one state; [`Snapshot::parts_for`] is a function of that alone.

mod config_yaml;
mod output;
mod parts;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use fleet_store::Store;

use crate::documents::{
    DOWNLOAD_SOURCES, DownloadSource, FLEET_SERVER_HOSTS, FLEET_SETTINGS, FLEET_SETTINGS_ID, FleetServerHost,
    FleetSettings, OUTPUTS, Output, PROXIES, Proxy, SETTING_DEFAULTS, SETTING_DEFAULTS_ID, SettingDefaults,
    UNINSTALL_TOKENS, UninstallToken,
};

pub use config_yaml::{ConfigYamlError, config_yaml};
pub use parts::{MissingSetting, SettingsParts};
pub use table::{Known, Table};

/// How agents know the default output.
pub const DEFAULT_OUTPUT_NAME: &str = "default";
/// The id of the output that is made at the first start.
pub const FIRST_OUTPUT_ID: &str = "fleet-default-output";
/// The id of the download source that is made at the first start.
pub const FIRST_DOWNLOAD_SOURCE_ID: &str = "fleet-default-download-source";
/// The id of the host that is made at the first start.
pub const FIRST_HOST_ID: &str = "fleet-default-fleet-server-host";
/// Where new versions are fetched when nothing else is said.
pub const PUBLIC_DOWNLOADS: &str = "https://artifacts.elastic.co/downloads/";

/// The collections, in memory.
#[derive(Debug)]
pub struct Settings {
    /// Where agents send data.
    pub outputs: Table<Output>,
    /// Where they find servers.
    pub hosts: Table<FleetServerHost>,
    /// Proxies on their ways.
    pub proxies: Table<Proxy>,
    /// Where they fetch new versions.
    pub download_sources: Table<DownloadSource>,
    /// What lifts their protection, by policy.
    pub uninstall_tokens: Table<UninstallToken>,
    /// Settings of everything.
    pub fleet: Table<FleetSettings>,
    /// Which of the objects are used where none is named.
    pub defaults: Table<SettingDefaults>,
}

impl Settings {
    /// How many collections [`Settings`] has: each is followed for itself.
    pub const COLLECTIONS: usize = 7;

    /// Those in `store`.
    #[must_use]
    pub fn new(store: &Arc<dyn Store>) -> Settings {
        Settings {
            outputs: Table::new(store, &OUTPUTS),
            hosts: Table::new(store, &FLEET_SERVER_HOSTS),
            proxies: Table::new(store, &PROXIES),
            download_sources: Table::new(store, &DOWNLOAD_SOURCES),
            uninstall_tokens: Table::new(store, &UNINSTALL_TOKENS),
            fleet: Table::new(store, &FLEET_SETTINGS),
            defaults: Table::new(store, &SETTING_DEFAULTS),
        }
    }

    /// Follows all of them, for ever. `ready` is called for each once it has been read.
    pub async fn follow(&self, ready: impl Fn() + Send + Sync) {
        tokio::join!(
            self.outputs.follow(&ready),
            self.hosts.follow(&ready),
            self.proxies.follow(&ready),
            self.download_sources.follow(&ready),
            self.uninstall_tokens.follow(&ready),
            self.fleet.follow(&ready),
            self.defaults.follow(&ready),
        );
    }

    /// What compositions work with, as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            outputs: self.outputs.all(),
            hosts: self.hosts.all(),
            proxies: self.proxies.all(),
            download_sources: self.download_sources.all(),
            defaults: self
                .defaults
                .get(SETTING_DEFAULTS_ID)
                .map(|found| found.value.clone())
                .unwrap_or_default(),
        }
    }

    /// The settings of everything; as they are at the start if nobody has changed them.
    #[must_use]
    pub fn everything(&self) -> FleetSettings {
        self.fleet.get(FLEET_SETTINGS_ID).map(|found| found.value.clone()).unwrap_or_default()
    }
}

/// What was known at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Outputs by their ids.
    pub outputs: Known<Output>,
    /// Hosts by their ids.
    pub hosts: Known<FleetServerHost>,
    /// Proxies by their ids.
    pub proxies: Known<Proxy>,
    /// Download sources by their ids.
    pub download_sources: Known<DownloadSource>,
    /// Which of them are used where none is named.
    pub defaults: SettingDefaults,
}
