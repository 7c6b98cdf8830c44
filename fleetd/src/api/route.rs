//! From method and path to what is asked, with the odd cases of the original's router.

use http::Method;
use percent_encoding::percent_decode_str;

use super::answer::Failure;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Redirect(String),
    Discovery,
    ListMachines(Query),
    PatchMachines,
    ListUnits(Query),
    GetUnit(String),
    PutUnit(String),
    DeleteUnit(String),
    RestartUnit(String),
    ExplainUnit(String),
    ListStates(Query),
    GetState(String),
}

/// The parameters behind the question mark, in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: Option<&str>) -> Query {
        let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        // Go drops a pair that is not well encoded.
        let decoded = pairs.filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode_query(key)?, decode_query(value)?))
        });
        Query(decoded.collect())
    }

    /// All values of a parameter.
    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter; empty when there is none.
    pub(super) fn first(&self, key: &str) -> &str {
        self.0.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }
}

fn decode_query(text: &str) -> Option<String> {
    if bad_escape(text).is_some() {
        return None;
    }
    percent_decode_str(&text.replace('+', " ")).decode_utf8().ok().map(Into::into)
}

/// The first `%` that two hexadecimal digits do not follow, with what follows.
fn bad_escape(text: &str) -> Option<&str> {
    let is_bad = |(at, _): &(usize, &str)| {
        let digits = text.as_bytes().get(at + 1..at + 3);
        !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let (at, _) = text.match_indices('%').find(is_bad)?;
    let end = text.char_indices().map(|(index, _)| index).find(|index| *index >= at + 3);
    text.get(at..end.unwrap_or(text.len()))
}

/// Finds out what is asked.
pub(super) fn route(method: &Method, path: &str, query: Option<&str>) -> Result<Route, Failure> {
    // `CONNECT` has no path.
    let path = if path.is_empty() { "/" } else { path };
    if let Some(escape) = bad_escape(path) {
        return Err(Failure::bad_request(format!("invalid URL escape {escape:?}")));
    }
    let Ok(decoded) = percent_decode_str(path).decode_utf8() else {
        return Err(Failure::bad_request("the path is not UTF-8"));
    };
    let clean = clean(&decoded);
    if clean != decoded {
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        return Ok(Route::Redirect(format!("{}{query}", encode_path(&clean))));
    }
    let Some(rest) = ["/fleet/v1", "/v1-alpha"].iter().find_map(|prefix| clean.strip_prefix(prefix)) else {
        return Err(if clean == "/" { Failure::method("", "") } else { Failure::not_found() });
    };
    let query = || Query::parse(query);
    match rest.split('/').collect::<Vec<_>>().as_slice() {
        [""] => Err(Failure::method("", "")),
        ["", "discovery"] => match *method {
            Method::GET => Ok(Route::Discovery),
            _ => Err(Failure::bad_request("only HTTP GET supported against this resource")),
        },
        ["", "machines"] => match *method {
            Method::GET => Ok(Route::ListMachines(query())),
            Method::PATCH => Ok(Route::PatchMachines),
            _ => Err(Failure::method("GET and PATCH", "GET, PATCH")),
        },
        ["", "units"] => only_get(method, Route::ListUnits(query())),
        ["", "units", name] if !name.is_empty() => match *method {
            Method::GET => Ok(Route::GetUnit((*name).to_owned())),
            Method::PUT => Ok(Route::PutUnit((*name).to_owned())),
            Method::DELETE => Ok(Route::DeleteUnit((*name).to_owned())),
            _ => Err(Failure::method("GET, PUT and DELETE", "GET, PUT, DELETE")),
        },
        ["", "units", name, "explain"] if !name.is_empty() => {
            only_get(method, Route::ExplainUnit((*name).to_owned()))
        }
        ["", "units", name, "restart"] if !name.is_empty() => match *method {
            Method::POST => Ok(Route::RestartUnit((*name).to_owned())),
            _ => Err(Failure::method("POST", "POST")),
        },
        ["", "state"] => only_get(method, Route::ListStates(query())),
        ["", "state", name] if !name.is_empty() => only_get(method, Route::GetState((*name).to_owned())),
        _ => Err(Failure::not_found()),
    }
}

fn only_get(method: &Method, route: Route) -> Result<Route, Failure> {
    if *method == Method::GET { Ok(route) } else { Err(Failure::method("GET", "GET")) }
}

/// The path as Go's `ServeMux` wants it: rooted, without `.`, `..` and empty segments; a slash at the end
/// stays.
fn clean(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let mut clean = format!("/{}", segments.join("/"));
    if path.ends_with('/') && clean != "/" {
        clean.push('/');
    }
    clean
}

fn encode_path(path: &str) -> String {
    /// What Go's `URL.EscapedPath` leaves as it is in a path.
    const KEPT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~')
        .remove(b'$')
        .remove(b'&')
        .remove(b'+')
        .remove(b',')
        .remove(b'/')
        .remove(b':')
        .remove(b';')
        .remove(b'=')
        .remove(b'@');
    percent_encoding::utf8_percent_encode(path, KEPT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_the_original_does() {
        for (path, expected) in [
            ("/fleet/v1/units//x", "/fleet/v1/units/x"),
            ("/fleet/v1/../v1/units", "/fleet/v1/units"),
            ("/./", "/"),
            ("//", "/"),
            ("/fleet/v1/units/", "/fleet/v1/units/"),
        ] {
            assert_eq!(clean(path), expected, "{path}");
        }
    }

    #[test]
    fn names_are_decoded_once() {
        let route = route(&Method::GET, "/v1-alpha/units/foo%401.service", None).unwrap();
        assert_eq!(route, Route::GetUnit("foo@1.service".to_owned()));
    }

    #[test]
    fn an_encoded_slash_makes_no_unit_name() {
        assert!(route(&Method::GET, "/fleet/v1/units/a%2Fb.service", None).is_err());
    }

    #[test]
    fn parameters_keep_their_order_and_repetitions() {
        let query = Query::parse(Some("nextPageToken=a%3D&x=1&nextPageToken=b+c&bad=%zz"));
        assert_eq!(query.all("nextPageToken").collect::<Vec<_>>(), ["a=", "b c"]);
        assert_eq!(query.first("x"), "1");
        assert_eq!(query.first("missing"), "");
    }
}
