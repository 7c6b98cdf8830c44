//! `/api/fleet/agent_download_sources`: where agents fetch new versions of themselves.

use fleet_policy::documents::{AgentPolicy, DownloadAuth, DownloadSource};
use fleet_policy::settings::{Settings, Table};
use serde_json::{Map, Value};

use super::Management;
use super::caller::Caller;
use super::error::ApiError;
use super::fields::bad;
use super::routes::Routes;
use super::settings::address::url;
use super::settings::object::{self, Flag, Object};
use super::settings::uses::{Touched, forget};

/// The most headers of a proof.
const MOST_HEADERS: usize = 100;

/// The routes of this group.
pub(super) fn routes(routes: Routes) -> Routes {
    let paths = ("/api/fleet/agent_download_sources", "/api/fleet/agent_download_sources/{id}");
    let summaries = [
        "Lists download sources of agents",
        "Shows a download source",
        "Makes a download source",
        "Changes a download source",
        "Removes a download source that nobody uses",
    ];
    object::routes::<DownloadSource>(routes, paths, summaries)
}

impl Object for DownloadSource {
    const KIND: &'static str = "download-source";
    const TITLE: &'static str = "Download source";
    const FLAGS: &'static [Flag<DownloadSource>] = &[Flag {
        field: "is_default",
        get: |source| source.is_default,
        set: |source, is_it| source.is_default = is_it,
        place: |defaults| &mut defaults.download_source,
    }];
    const IGNORED: &'static [&'static str] = &[];

    fn table(settings: &Settings) -> &Table<DownloadSource> {
        &settings.download_sources
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

    fn check(&mut self, _: Option<&DownloadSource>, _: &Map<String, Value>) -> Result<(), ApiError> {
        url(&self.host, &["http", "https"]).map_err(|text| bad("host", text))?;
        self.host = self.host.trim().to_owned();
        if let Some(auth) = &self.auth {
            check_auth(auth, self)?;
        }
        Ok(())
    }

    fn check_beside(&self, others: &[&DownloadSource]) -> Result<(), ApiError> {
        match others.iter().find(|other| other.name == self.name) {
            None => Ok(()),
            Some(other) => {
                let text = format!(
                    "[request body.name]: download source {} has the name {:?} already",
                    other.id, self.name
                );
                Err(ApiError::Conflict(text))
            }
        }
    }

    async fn detach(management: &Management, caller: &Caller, id: &str) -> Result<(), ApiError> {
        let forget = |policy: &mut AgentPolicy| forget(&mut policy.download_source_id, id);
        management.forget_in_policies(caller, forget).await
    }

    fn touched(&self, _: &Management) -> Touched {
        Touched {
            download_sources: [self.id.clone()].into(),
            default_download_source: self.is_default,
            ..Touched::default()
        }
    }
}

/// By user and password, or by a key.
fn check_auth(auth: &DownloadAuth, source: &DownloadSource) -> Result<(), ApiError> {
    let secrets = source.secrets.as_ref().and_then(|secrets| secrets.auth.as_ref());
    let has_text = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let has_user = has_text(&auth.username);
    let has_password = has_text(&auth.password) || secrets.is_some_and(|secrets| secrets.password.is_some());
    let has_key = has_text(&auth.api_key) || secrets.is_some_and(|secrets| secrets.api_key.is_some());
    if has_key && (has_user || has_password) {
        return Err(bad("auth", "give either api_key, or username and password"));
    }
    if has_user && !has_password {
        return Err(bad("auth.password", "a user needs one, here or as secrets.auth.password"));
    }
    if has_password && !has_user {
        return Err(bad("auth.username", "a password needs one"));
    }
    let headers = auth.headers.as_deref().unwrap_or_default();
    if headers.len() > MOST_HEADERS {
        return Err(bad("auth.headers", format!("at most {MOST_HEADERS}")));
    }
    for (index, header) in headers.iter().enumerate() {
        // Forms send empty rows.
        let is_empty = header.key.is_empty() && header.value.is_empty();
        let is_header = http::HeaderName::try_from(header.key.as_str()).is_ok()
            && http::HeaderValue::try_from(header.value.as_str()).is_ok();
        if !(is_header || is_empty) {
            return Err(bad(&format!("auth.headers.{index}"), "this is not a header"));
        }
    }
    Ok(())
}
