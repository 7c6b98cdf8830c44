//! The options that say how etcd is reached.

use std::path::PathBuf;

use fleet_service::config::value::Expected;
use fleet_service::config::{Settings, value};

use super::{HOUR, MILLISECOND, Options, StoreKind, take};

/// Reads them, and checks what goes together.
pub(super) fn read(settings: &mut Settings, options: &mut Options) {
    take(settings, "etcd_servers", &mut options.etcd_servers, servers);
    take(settings, "etcd_username", &mut options.etcd_username, value::text);
    take(settings, "etcd_password", &mut options.etcd_password, value::secret);
    take(settings, "etcd_keyfile", &mut options.etcd_keyfile, path);
    take(settings, "etcd_certfile", &mut options.etcd_certfile, path);
    take(settings, "etcd_cafile", &mut options.etcd_cafile, path);
    take(settings, "etcd_key_prefix", &mut options.etcd_key_prefix, key_prefix);
    take(
        settings,
        "etcd_request_timeout",
        &mut options.etcd_request_timeout,
        value::seconds(MILLISECOND..=HOUR),
    );
    take(settings, "etcd_compaction", &mut options.etcd_compaction, value::boolean);
    check(settings, options);
}

fn check(settings: &mut Settings, options: &Options) {
    match (&options.etcd_certfile, &options.etcd_keyfile) {
        (Some(_), None) => {
            settings.mistake("etcd_certfile", "etcd_certfile needs etcd_keyfile, its private key");
        }
        (None, Some(_)) => {
            settings.mistake("etcd_keyfile", "etcd_keyfile needs etcd_certfile, its certificate");
        }
        _ => {}
    }
    if options.etcd_username.is_empty() && !options.etcd_password.is_empty() {
        settings.mistake("etcd_password", "etcd_password needs etcd_username");
    }
    if !options.etcd_username.is_empty() && options.etcd_password.is_empty() {
        settings.mistake("etcd_username", "etcd_username needs etcd_password");
    }
    let is_plain = options.etcd_servers.iter().all(|server| server.starts_with("http://"));
    if options.store != StoreKind::Etcd || !is_plain {
        return;
    }
    let files = [("etcd_cafile", &options.etcd_cafile), ("etcd_certfile", &options.etcd_certfile)];
    for (key, _) in files.into_iter().filter(|(_, file)| file.is_some()) {
        settings.warning(key, format!("{key} has no effect: no URL of etcd_servers begins with https://"));
    }
    if !options.etcd_password.is_empty() {
        settings.warning("etcd_password", "etcd_password is sent in clear: use https:// in etcd_servers");
    }
}

fn servers(text: &str) -> Result<Vec<String>, Expected> {
    let servers = value::list(text)?;
    let expected = "a list of URLs such as http://127.0.0.1:2379";
    if servers.is_empty() {
        return Err(Expected::new(expected));
    }
    let parse = |server: String| match url_problem(&server) {
        None => Ok(server.trim_end_matches('/').to_owned()),
        Some(problem) => Err(Expected(format!("{expected} ({problem})"))),
    };
    servers.into_iter().map(parse).collect()
}

/// What keeps a text from being a server's URL. It does not repeat the text, which may contain a password.
fn url_problem(url: &str) -> Option<&'static str> {
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
        return Some("each begins with http:// or https://");
    };
    let authority = rest.trim_end_matches('/');
    let port = authority.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    if authority.contains('@') {
        Some("a user goes into etcd_username and etcd_password")
    } else if authority.is_empty() || authority.starts_with(':') {
        Some("one has no host")
    } else if authority.contains(['/', '?', '#']) || authority.contains(char::is_whitespace) {
        Some("one has more than a host and a port")
    } else if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        Some("one has a port that is no number up to 65535")
    } else {
        None
    }
}

fn path(text: &str) -> Result<Option<PathBuf>, Expected> {
    value::absolute_path(text).map(Some)
}

/// With exactly one `/` at each end, as etcd's v2 API saw it.
fn key_prefix(text: &str) -> Result<String, Expected> {
    let inner = text.trim_matches('/');
    Ok(if inner.is_empty() { "/".to_owned() } else { format!("/{inner}/") })
}
