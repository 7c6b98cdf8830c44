//! Web pages that may send: `cors`.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue};

use crate::config::{Config, Mistake};

/// The origins that are allowed; none: pages of other origins cannot send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cors {
    origins: Vec<String>,
    headers: Vec<String>,
    /// For so many seconds a browser need not ask again.
    max_age: u64,
}

impl Cors {
    pub(super) fn read(config: &Config) -> Result<Cors, Mistake> {
        Ok(Cors {
            origins: config.texts("allowed_origins")?,
            headers: config.texts("allowed_headers")?,
            max_age: config.number("max_age", 0)?,
        })
    }

    /// Adds what lets the page of this request read the answer.
    pub(super) fn answer(&self, request: &HeaderMap, answer: &mut HeaderMap) -> bool {
        let Some(origin) = request.get(ORIGIN) else { return false };
        if !origin.to_str().is_ok_and(|origin| self.origins.iter().any(|pattern| fits(pattern, origin))) {
            return false;
        }
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        answer.insert(VARY, HeaderValue::from_static("origin"));
        true
    }

    /// Adds what a browser wants to know before it sends.
    pub(super) fn preflight(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        if !self.answer(request, answer) {
            return;
        }
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
        answer.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.into());
        let named = HeaderValue::from_str(&self.headers.join(", ")).ok().filter(|_| !self.headers.is_empty());
        // Without a list, those that the protocol itself needs are allowed, whatever more the page asks for.
        let usual = || {
            let asked = request.get(ACCESS_CONTROL_REQUEST_HEADERS)?.to_str().ok()?;
            let usual =
                ["content-type", "content-encoding", "accept", "x-requested-with", "traceparent", "baggage"];
            let allowed =
                asked.split(',').map(str::trim).filter(|name| usual.contains(&name.to_lowercase().as_str()));
            HeaderValue::from_str(&allowed.collect::<Vec<_>>().join(", ")).ok()
        };
        if let Some(headers) = named.or_else(usual) {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers);
        }
    }
}

/// One `*` in a pattern stands for anything.
fn fits(pattern: &str, origin: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == origin,
        Some((before, after)) => {
            origin.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).is_some()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_fit_patterns() {
        assert!(fits("*", "https://a"));
        assert!(fits("https://*.example.com", "https://a.example.com"));
        assert!(!fits("https://*.example.com", "https://example.com"));
        assert!(!fits("https://a", "https://ab"));
    }
}
