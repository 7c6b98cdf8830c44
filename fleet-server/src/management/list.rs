//! Lists, in pages.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

/// The most items of a page.
const LARGEST_PAGE: usize = 10_000;

/// Which page is asked for. Both count from 1; a list begins with its first page of 20.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Page {
    pub(super) page: Option<usize>,
    pub(super) per_page: Option<usize>,
    pub(super) kuery: Option<String>,
    pub(super) show_inactive: Option<bool>,
}

impl Page {
    fn number(&self) -> usize {
        self.page.unwrap_or(1).max(1)
    }

    fn size(&self) -> usize {
        self.per_page.unwrap_or(20).clamp(1, LARGEST_PAGE)
    }

    /// The items of the page.
    pub(super) fn of<T>(&self, items: impl IntoIterator<Item = T>) -> Vec<T> {
        let skip = (self.number() - 1).saturating_mul(self.size());
        items.into_iter().skip(skip).take(self.size()).collect()
    }

    /// The answer with a page of `total` items.
    pub(super) fn answer(&self, items: &[Value], total: usize) -> Value {
        json!({"items": items, "total": total, "page": self.number(), "perPage": self.size()})
    }
}
