//! `registry_…`: where packages are that nobody has uploaded.

use fleet_service::config::document::{Scalar, Section, read};
use fleet_service::config::value::{Expected, Secret};
use fleet_service::tls::Pem;

/// A registry of packages, and how it is reached.
#[derive(Clone, Debug)]
pub struct Registry {
    /// `http://…` or `https://…`, perhaps with a path.
    pub url: String,
    /// `http://host:port` of a proxy. It may have a password in it.
    pub proxy_url: Option<Secret>,
    /// Whom to trust; nobody in particular: whom the system trusts.
    pub authorities: Vec<Pem>,
}

/// Reads it; `None` if there is no `registry_url`.
pub(super) fn read(root: &Section<'_>) -> Option<Registry> {
    let url = root.optional("registry_url", url);
    let proxy_url = root.optional("registry_proxy_url", proxy_url);
    let pem = |scalar: &Scalar| Ok(Pem::from_setting(scalar.text().trim()));
    let authorities = root.list("registry_certificate_authorities", Vec::new(), pem);
    for path in authorities.iter().filter_map(Pem::file) {
        if let Err(error) = std::fs::File::open(path) {
            let text = format!(
                "registry_certificate_authorities: the file {} cannot be read: {error}",
                path.display()
            );
            root.mistake("registry_certificate_authorities", text);
        }
    }
    if url.is_none() {
        for key in ["registry_proxy_url", "registry_certificate_authorities"] {
            if root.has(key) {
                root.warning(key, format!("{key} has no effect: there is no registry_url"));
            }
        }
    }
    Some(Registry { url: url?, proxy_url, authorities })
}

fn url(scalar: &Scalar) -> Result<String, Expected> {
    let expected = || Expected::new("a URL such as https://registry.example, without a user or a query");
    let text = scalar.text().trim().trim_end_matches('/');
    let uri: http::Uri = text.parse().map_err(|_| expected())?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let is_plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    if is_web && is_plain && has_host && uri.query().is_none() {
        Ok(text.to_owned())
    } else {
        Err(expected())
    }
}

fn proxy_url(scalar: &Scalar) -> Result<Secret, Expected> {
    match crate::upstream::Proxy::parse(scalar.text().trim()) {
        Some(_) => read::secret(scalar),
        None => Err(Expected::new("the URL of a proxy such as http://proxy.example:3128")),
    }
}
