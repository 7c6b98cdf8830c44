//! Lists, page after page.

use serde_json::Value;

use super::client::Client;
use super::error::ApiError;
use super::kind::Kind;
use crate::client::percent_encode;

/// Items of a page: few round trips, and answers of some hundred KiB.
const PAGE: usize = 200;
/// A server that always says that there is more would keep us for ever.
const MOST_PAGES: usize = 100_000;

/// What is asked of a list beside its pages.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// The query with one more parameter.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Query {
        self.0.push((name, value.into()));
        self
    }

    /// As it stands behind a path: `?a=b&c=d`, or nothing.
    pub(crate) fn text(&self) -> String {
        let pairs: Vec<String> =
            self.0.iter().map(|(name, value)| format!("{name}={}", percent_encode(value))).collect();
        if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
    }
}

/// The items that were asked for.
#[derive(Debug, Default)]
pub(crate) struct List {
    pub(crate) items: Vec<Value>,
    /// How many there are altogether, as far as the server says.
    pub(crate) total: Option<u64>,
    /// Whether there are more than were asked for.
    pub(crate) is_cut: bool,
}

/// The first `limit` objects of a kind; 0 is all.
pub(crate) async fn list(
    client: &Client,
    kind: &Kind,
    query: &Query,
    limit: usize,
) -> Result<List, ApiError> {
    follow(client, (kind.path, kind.first_page), query, limit).await
}

/// The first `limit` items of the list at `path`; 0 is all.
pub(crate) async fn list_at(
    client: &Client,
    path: &str,
    query: &Query,
    limit: usize,
) -> Result<List, ApiError> {
    follow(client, (path, 1), query, limit).await
}

/// Follows a list, by cursors where the server gives some, else by page numbers.
async fn follow(
    client: &Client,
    (path, first_page): (&str, usize),
    query: &Query,
    limit: usize,
) -> Result<List, ApiError> {
    let mut list = List::default();
    let mut cursor: Option<String> = None;
    let size = if limit == 0 { PAGE } else { PAGE.min(limit) };
    for page in first_page..first_page + MOST_PAGES {
        let mut asked = query.clone().with("perPage", size.to_string());
        asked = match &cursor {
            Some(cursor) => asked.with("cursor", cursor.as_str()),
            None => asked.with("page", page.to_string()),
        };
        let path = format!("{path}{}", asked.text());
        let mut answer = client.get(&path).await?;
        let items = items_of(client, &path, &mut answer)?;
        let count = items.len();
        // A server that knows no pages gives the whole list, again and again.
        if page > first_page
            && cursor.is_none()
            && count > 0
            && list.items.get(..count) == Some(items.as_slice())
        {
            return Ok(list);
        }
        list.total = answer.get("total").and_then(Value::as_u64).or(list.total);
        list.items.extend(items);
        cursor = answer.get("nextCursor").and_then(Value::as_str).map(str::to_owned);
        // A page may be shorter than was asked for: servers have limits of their own.
        let has_all = list.total.map_or(count != size, |total| list.items.len() as u64 >= total);
        let is_last = cursor.is_none() && has_all;
        if limit > 0 && list.items.len() >= limit {
            list.is_cut = list.items.len() > limit || !is_last;
            list.items.truncate(limit);
            return Ok(list);
        }
        if is_last || count == 0 {
            return Ok(list);
        }
    }
    Ok(list)
}

fn items_of(client: &Client, path: &str, answer: &mut Value) -> Result<Vec<Value>, ApiError> {
    match answer.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => Ok(items),
        _ => Err(ApiError::Shape {
            method: "GET".to_owned(),
            url: format!("{}/api/fleet/{path}", client.url()),
            what: "items",
        }),
    }
}
