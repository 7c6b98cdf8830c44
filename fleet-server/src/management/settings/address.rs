//! Addresses that people write.

use http::Uri;
use http::uri::Authority;

/// The longest address in bytes.
const LONGEST: usize = 2048;

/// An address with `http://` or `https://`, as agents take it: with its port, since theirs is another when
/// there is none.
pub(in crate::management) fn with_port(text: &str) -> Result<String, String> {
    let uri = url(text, &["http", "https"])?;
    let scheme = uri.scheme_str().unwrap_or_default();
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    let host = uri.host().unwrap_or_default();
    let path = Some(uri.path()).filter(|path| *path != "/").unwrap_or_default();
    if uri.query().is_some() {
        return Err("it must end before the ?".to_owned());
    }
    Ok(format!("{scheme}://{host}:{port}{path}"))
}

/// An address with one of these schemes.
pub(in crate::management) fn url(text: &str, schemes: &[&str]) -> Result<Uri, String> {
    let needed = || {
        let schemes: Vec<String> = schemes.iter().map(|scheme| format!("{scheme}://")).collect();
        format!("an address that begins with {} is needed", schemes.join(" or "))
    };
    if text.len() > LONGEST {
        return Err(format!("an address has at most {LONGEST} bytes"));
    }
    let uri: Uri = text.trim().parse().map_err(|_| needed())?;
    let authority = uri.authority().ok_or_else(needed)?;
    if !uri.scheme_str().is_some_and(|scheme| schemes.contains(&scheme)) {
        return Err(needed());
    }
    check(authority)?;
    Ok(uri)
}

/// `host:port`.
pub(in crate::management) fn host_and_port(text: &str, needs_port: bool) -> Result<String, String> {
    let text = text.trim();
    if text.contains("://") || text.contains('/') {
        return Err("host:port is needed, without a protocol and a path".to_owned());
    }
    if text.len() > LONGEST {
        return Err(format!("an address has at most {LONGEST} bytes"));
    }
    let authority: Authority = text.parse().map_err(|_| "host:port is needed".to_owned())?;
    check(&authority)?;
    if needs_port && authority.port_u16().is_none() {
        return Err("host:port is needed: the port is missing".to_owned());
    }
    Ok(text.to_owned())
}

fn check(authority: &Authority) -> Result<(), String> {
    let text = authority.as_str();
    if text.contains('@') {
        return Err("a user and a password have fields of their own".to_owned());
    }
    if authority.host().is_empty() || authority.host() == "[]" {
        return Err("the host is missing".to_owned());
    }
    let rest = text.strip_prefix(authority.host()).unwrap_or_default();
    if !rest.is_empty() && authority.port_u16().is_none_or(|port| port == 0) {
        return Err("a port is 1 to 65535".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_written_out() {
        for (text, expected) in [
            ("https://es:9200", "https://es:9200"),
            (" https://es ", "https://es:443"),
            ("http://es/", "http://es:80"),
            ("https://es/path/", "https://es:443/path/"),
            ("https://[::1]:8220", "https://[::1]:8220"),
        ] {
            assert_eq!(with_port(text).unwrap(), expected);
        }
        for text in [
            "es:9200",
            "ftp://es",
            "https://",
            "https://u:p@es",
            "https://es:0",
            "https://es:99999",
            "https://es?a",
            "",
            "https://a b",
        ] {
            assert!(with_port(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_have_no_protocol() {
        assert_eq!(host_and_port(" logstash:5044", true).unwrap(), "logstash:5044");
        assert_eq!(host_and_port("[::1]:9092", true).unwrap(), "[::1]:9092");
        assert_eq!(host_and_port("logstash", false).unwrap(), "logstash");
        for text in ["http://l:5044", "l", "l:x", "l:0", "u@l:1", ":1", "", "l:1/a"] {
            assert!(host_and_port(text, true).is_err(), "{text}");
        }
    }
}
