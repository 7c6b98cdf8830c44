//! What a stream may say.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use regex::Regex;
use reqwest::Url;

use crate::config::{Config, Mistake};
use crate::output::ClientTls;

/// How often is scraped unless a stream says otherwise.
const PERIOD: Duration = Duration::from_secs(10);

/// Where a policy sets no limit, no answer may have more bytes than this, unpacked.
const LARGEST: u64 = 16 << 20;

/// A stream's settings.
pub(super) struct Settings {
    pub(super) period: Duration,
    pub(super) timeout: Duration,
    pub(super) targets: Vec<Url>,
    pub(super) headers: HeaderMap,
    pub(super) login: Option<(String, String)>,
    /// A file, read each time: tokens are renewed.
    pub(super) token_file: Option<String>,
    pub(super) tls: ClientTls,
    /// Bytes of an answer.
    pub(super) most: usize,
    pub(super) form: Form,
}

/// What documents are made.
#[derive(Clone, Debug, Default)]
pub(super) struct Form {
    pub(super) include: Vec<Regex>,
    pub(super) exclude: Vec<Regex>,
    pub(super) types: bool,
    pub(super) rates: bool,
}

impl Form {
    /// Whether this sample of this metric is wanted: patterns may mean either.
    pub(super) fn wants(&self, name: &str, family: &str) -> bool {
        let fits =
            |pattern: &Regex| pattern.is_match(name) || (!family.is_empty() && pattern.is_match(family));
        let any = |patterns: &[Regex]| patterns.iter().any(fits);
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

impl Settings {
    pub(super) fn read(config: &Config) -> Result<Settings, Mistake> {
        for name in config.texts("metricsets")? {
            if name != "collector" {
                let problem = format!("{name:?} is not known: use collector");
                config.or((), Err(config.mistake("metricsets", problem)))?;
            }
        }
        let period = config.duration("period", PERIOD)?;
        if period < Duration::from_millis(100) {
            config.or((), Err(config.mistake("period", "must be 100ms or more")))?;
        }
        let timeout =
            config.maybe_duration("timeout")?.filter(|timeout| !timeout.is_zero()).unwrap_or(period);
        let filters = config.section("metrics_filters")?;
        let form = Form {
            include: filters.patterns("include")?,
            exclude: filters.patterns("exclude")?,
            types: config.boolean("use_types", false)?,
            rates: config.boolean("rate_counters", false)?,
        };
        let most = config.size("body_size_limit", LARGEST)?;
        let most = usize::try_from(if most == 0 { LARGEST } else { most });
        Ok(Settings {
            period,
            timeout,
            targets: config.or(Vec::new(), targets(config))?,
            headers: config.or(HeaderMap::new(), headers(config))?,
            login: match (config.text("username")?, config.text("password")?) {
                (Some(name), password) if !name.is_empty() => Some((name, password.unwrap_or_default())),
                _ => None,
            },
            token_file: config.text("bearer_token_file")?.filter(|path| !path.is_empty()),
            tls: ClientTls::read(config)?,
            most: most.map_err(|_| config.mistake("body_size_limit", "is too large"))?,
            form,
        })
    }
}

fn targets(config: &Config) -> Result<Vec<Url>, Mistake> {
    let path = config.text("metrics_path")?.unwrap_or_else(|| "/metrics".to_owned());
    let path = format!("/{}", path.trim_start_matches('/'));
    let hosts = config.texts("hosts")?;
    if hosts.is_empty() {
        return Err(config.mistake("hosts", "must name what is to be scraped, such as localhost:9090"));
    }
    let target = |host: &String| {
        let text = if host.contains("://") { host.clone() } else { format!("http://{host}") };
        let wrong = |problem: String| config.mistake("hosts", format!("{host:?} {problem}"));
        let mut url = Url::parse(&text).map_err(|error| wrong(format!("is no address: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(wrong(
                "must be host:port or an address that begins with http:// or https://".to_owned(),
            ));
        }
        if url.path() == "/" && url.query().is_none() {
            let (path, query) =
                path.split_once('?').map_or((&*path, None), |(path, query)| (path, Some(query)));
            url.set_path(path);
            url.set_query(query);
        }
        Ok(url)
    };
    hosts.iter().map(target).collect()
}

fn headers(config: &Config) -> Result<HeaderMap, Mistake> {
    let section = config.section("headers")?;
    let mut headers = HeaderMap::new();
    for name in section.map().keys() {
        let value = section.text(name)?.unwrap_or_default();
        let pair = HeaderName::try_from(name.as_str()).ok().zip(HeaderValue::try_from(value).ok());
        let (key, value) = pair.ok_or_else(|| section.mistake(name, "cannot be a header of HTTP"))?;
        headers.insert(key, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn settings(settings: &Value) -> Result<Settings, Mistake> {
        Settings::read(&Config::new(settings.as_object().unwrap()))
    }

    #[test]
    fn hosts_are_addresses() {
        let read = settings(&json!({
            "hosts": ["localhost:9090", "https://a/own?x=1", "http://[::1]:80"], "metrics_path": "federate?match=a",
        }));
        let targets: Vec<String> = read.unwrap().targets.iter().map(ToString::to_string).collect();
        assert_eq!(
            targets,
            ["http://localhost:9090/federate?match=a", "https://a/own?x=1", "http://[::1]/federate?match=a"]
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |value: Value| settings(&value).err().unwrap().to_string();
        assert!(error(json!({})).starts_with("hosts: must name"));
        assert!(error(json!({"hosts": ["unix:///run/x"]})).contains("must be host:port"));
        assert!(
            error(json!({"hosts": ["a"], "metricsets": ["query"]}))
                .starts_with("metricsets: \"query\" is not known")
        );
        assert!(
            error(json!({"hosts": ["a"], "metrics_filters": {"include": ["("]}}))
                .contains("is not a regular expression")
        );
        assert!(
            error(json!({"hosts": ["a"], "headers": {"a b": "c"}})).starts_with("headers.a b: cannot be")
        );
    }
}
