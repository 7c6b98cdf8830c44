//! `/api/fleet/docs`: a page that shows the description of the API, and lets one try it.
//!
//! One file with its style and its script in it, which loads nothing but `openapi.json` from beside it. The policy
//! that goes with it names both by their digests, so that nothing else can run in it.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use ring::digest::{SHA256, digest};

const PAGE: &str = include_str!("docs_page/page.html");
const STYLE: &str = include_str!("docs_page/style.css");
const SCRIPT: &str = include_str!("docs_page/script.js");

/// Serves the page. Anybody may read it: it holds nothing of this server.
pub(super) fn served() -> Router {
    let page: Arc<str> = page().into();
    let policy = policy();
    Router::new().route(
        "/api/fleet/docs",
        get(async move || {
            let headers = [
                (CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
                (CONTENT_SECURITY_POLICY, policy),
                (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
                (REFERRER_POLICY, "no-referrer".to_owned()),
                (CACHE_CONTROL, "no-cache".to_owned()),
            ];
            (headers, page.to_string())
        }),
    )
}

fn page() -> String {
    PAGE.replace("/* style */", STYLE).replace("/* script */", SCRIPT)
}

fn policy() -> String {
    let source = |text: &str| format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, text.as_bytes())));
    format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        source(STYLE),
        source(SCRIPT)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_loads_nothing_from_elsewhere() {
        let page = page();
        assert!(page.contains(&format!("<style>{STYLE}</style>")));
        assert!(page.contains(&format!("<script>{SCRIPT}</script>")));
        for foreign in ["http://", "https://", "src=", "<link", "@import", "innerHTML", "style=", "onclick="]
        {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }
}
