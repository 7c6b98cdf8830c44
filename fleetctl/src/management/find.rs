//! From what people type to one object: its id, or its name where only one has it.

use serde_json::Value;
use thiserror::Error;

use super::client::Client;
use super::error::ApiError;
use super::kind::Kind;
use super::list::{Query, list};
use crate::client::percent_encode;

/// The most ids that are told where a name is that of several.
const MOST_TOLD: usize = 10;

/// No object, or too many.
#[derive(Debug, Error)]
pub(crate) enum FindError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("no {title} has the id or name {word:?}: `fleetctl {noun} list` shows those that there are")]
    Nothing { title: &'static str, noun: &'static str, word: String },
    #[error("{count} {title} objects have the name {word:?}: give the id: {}", ids.join(", "))]
    Several { title: &'static str, word: String, count: usize, ids: Vec<String> },
    #[error("an empty word names no {title}")]
    Empty { title: &'static str },
}

/// The object that `word` names.
pub(crate) async fn find(client: &Client, kind: &Kind, word: &str) -> Result<Value, FindError> {
    if word.is_empty() {
        return Err(FindError::Empty { title: kind.title });
    }
    if kind.has_item && is_possible_id(word) {
        let path = format!("{}/{}{}", kind.path, percent_encode(word), kind.item_query());
        match client.get(&path).await {
            Ok(mut answer) => {
                return Ok(answer.get_mut("item").map(Value::take).unwrap_or(answer));
            }
            // What cannot be an id is a bad request to some servers.
            Err(error) if matches!(error.status(), Some(404 | 400)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    by_name(client, kind, word).await
}

/// The id of the object that `word` names.
pub(crate) async fn find_id(client: &Client, kind: &Kind, word: &str) -> Result<String, FindError> {
    let object = find(client, kind, word).await?;
    Ok(kind.id_of(&object).unwrap_or(word).to_owned())
}

async fn by_name(client: &Client, kind: &Kind, word: &str) -> Result<Value, FindError> {
    let query = kind.by_name(word);
    let all = list(client, kind, &query, 0).await?;
    let mut fitting: Vec<Value> = all
        .items
        .into_iter()
        .filter(|item| kind.id_of(item) == Some(word) || kind.name_of(item) == Some(word))
        .collect();
    match fitting.pop() {
        Some(object) if fitting.is_empty() => Ok(object),
        Some(last) => {
            let ids = fitting.iter().chain([&last]).filter_map(|item| kind.id_of(item));
            let ids = ids.take(MOST_TOLD).map(str::to_owned).collect();
            let count = fitting.len() + 1;
            Err(FindError::Several { title: kind.title, word: word.to_owned(), count, ids })
        }
        None => Err(FindError::Nothing { title: kind.title, noun: kind.noun, word: word.to_owned() }),
    }
}

/// A segment of a path that is one: `.` and `..` would be taken for steps.
fn is_possible_id(word: &str) -> bool {
    !matches!(word, "." | "..") && word.len() <= 256
}

/// Used by lists that need nothing else.
impl Kind {
    fn by_name(&self, word: &str) -> Query {
        match self.name_field {
            Some(field) => self.query().with("kuery", format!("{field}:{}", quoted(word))),
            None => self.query(),
        }
    }
}

/// A text as a value of a query.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
