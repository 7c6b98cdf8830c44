//! Files of packages: pictures, texts, manifests.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use serde::Deserialize;

use crate::management::Management;
use crate::management::error::ApiError;
use crate::packages::PackagesError;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    name: String,
    version: String,
    file: String,
}

/// A file of a package.
pub(super) async fn read(
    State(management): State<Management>,
    Path(Which { name, version, file }): Path<Which>,
) -> Result<Response, ApiError> {
    let found = management.package_file(&name, &version, &file).await?;
    let found = found.ok_or_else(|| ApiError::not_found("File", &format!("{name}-{version}/{file}")))?;
    let mut response = Response::new(Body::from(found));
    let headers = response.headers_mut();
    // Whoever wrote the package: a browser shows it, and runs none of it.
    for (name, value) in [
        (CONTENT_TYPE, media_type(&file)),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"),
        // A version may be sent again with another content.
        (CACHE_CONTROL, "private, max-age=60"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

impl Management {
    /// A file of a package that is here, or else in the registry.
    pub(super) async fn package_file(
        &self,
        name: &str,
        version: &str,
        file: &str,
    ) -> Result<Option<Bytes>, PackagesError> {
        let packages = &self.fleet.packages;
        if let Some(bytes) = packages.file(name, version, file).await? {
            return Ok(Some(bytes));
        }
        match packages.registry() {
            Some(registry) if packages.open(name, version).await?.is_none() => {
                registry.file(name, version, file).await.map_err(PackagesError::Registry)
            }
            _ => Ok(None),
        }
    }
}

/// What a file is, by its name. What a browser would run is a text.
fn media_type(path: &str) -> &'static str {
    let ending = path.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "md" => "text/markdown; charset=utf-8",
        "json" => "application/json",
        "yml" | "yaml" => "text/yaml; charset=utf-8",
        "txt" | "hbs" | "html" | "htm" | "xhtml" | "xml" | "js" | "css" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
