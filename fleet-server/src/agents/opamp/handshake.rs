//! The way from HTTP to WebSocket (RFC 6455, 4.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, StatusCode};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::agents::error::ApiError;
use crate::http::{Request, Response};

/// What the client's key is hashed with (RFC 6455, 1.3).
const MARK: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The answer that changes the protocol.
///
/// # Errors
/// The request does not ask for WebSocket of version 13.
pub(super) fn accept(request: &Request) -> Result<Response, ApiError> {
    let is_asked =
        has(&request.headers, &UPGRADE, "websocket") && has(&request.headers, &CONNECTION, "upgrade");
    let is_known = request.header(&SEC_WEBSOCKET_VERSION) == Some("13");
    let key = request.header(&SEC_WEBSOCKET_KEY).unwrap_or_default();
    let has_key = STANDARD.decode(key).is_ok_and(|key| key.len() == 16);
    if !(is_asked && is_known && has_key) {
        let text = "a GET must ask for WebSocket of version 13; a message over plain HTTP is a POST";
        return Err(ApiError::BadRequest(text.to_owned()));
    }
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{MARK}").as_bytes());
    let hash = HeaderValue::from_str(&STANDARD.encode(hash));
    let hash = hash.map_err(|error| ApiError::Internal(Box::new(error)))?;
    Ok(Response::empty(StatusCode::SWITCHING_PROTOCOLS)
        .with_header(UPGRADE, HeaderValue::from_static("websocket"))
        .with_header(CONNECTION, HeaderValue::from_static("Upgrade"))
        .with_header(SEC_WEBSOCKET_ACCEPT, hash))
}

fn has(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn request(headers: &[(&'static str, &'static str)]) -> Request {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        Request {
            method: Method::GET,
            path: "/v1/opamp".to_owned(),
            query: String::new(),
            headers: HeaderMap::from_iter(headers),
            peer: None,
            is_encrypted: true,
        }
    }

    #[test]
    fn the_key_is_answered_as_the_standard_has_it() {
        let good = [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let response = accept(&request(&good)).unwrap();
        assert_eq!(response.status, StatusCode::SWITCHING_PROTOCOLS);
        let accept_header = response.headers.iter().find(|(name, _)| name == SEC_WEBSOCKET_ACCEPT).unwrap();
        assert_eq!(accept_header.1, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for left_out in 0..good.len() {
            let mut headers = good.to_vec();
            headers.remove(left_out);
            assert!(matches!(accept(&request(&headers)), Err(ApiError::BadRequest(_))), "{left_out}");
        }
    }
}
