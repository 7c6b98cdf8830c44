//! Which packages there are.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::shapes::{InstallationInfo, Status, saved_object};
use crate::management::Management;
use crate::management::catalogue::SortOrder;
use crate::management::error::ApiError;
use crate::management::input::{AtLeast, Params};
use crate::packages::registry::Category;
use crate::packages::summary::{Picture, Summary};
use crate::packages::{Available, InstallSource};

/// Installed packages of a page, unless another number is asked for.
const PAGE: usize = 15;
/// The most of them.
const LARGEST_PAGE: usize = 1000;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::management) struct ListQuery {
    /// As `observability`.
    category: Option<String>,
    /// Whether what comes before a release is listed too.
    prerelease: Option<bool>,
    /// Leaves out what is known of installations.
    exclude_install_status: Option<bool>,
    /// Counts the integrations of each.
    with_package_policies_count: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct Packages {
    items: Vec<ListItem>,
}

/// A package of the list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ListItem {
    id: String,
    #[serde(flatten)]
    summary: Summary,
    /// Where this version comes from. Not `source`: that is an object with the package's licence in the API.
    origin: InstallSource,
    latest_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    installation_info: Option<InstallationInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    saved_object: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_policies_info: Option<Count>,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
struct Count {
    count: usize,
}

impl ListItem {
    fn of(
        management: &Management,
        available: Available,
        query: &ListQuery,
        counts: &HashMap<String, usize>,
    ) -> ListItem {
        let engines = management.engines_that_have(&available.summary.name);
        let record = available.installed.as_ref();
        let shows_status = query.exclude_install_status != Some(true);
        let shown = record.filter(|_| shows_status);
        let count = || Count { count: counts.get(&available.summary.name).copied().unwrap_or(0) };
        ListItem {
            id: available.summary.name.clone(),
            origin: available.source,
            latest_version: available.latest,
            status: shows_status.then(|| Status::of(record)),
            installation_info: shown.map(|record| InstallationInfo::of(record, &engines)),
            saved_object: shown.map(|record| saved_object(record, &engines)),
            package_policies_info: query.with_package_policies_count.unwrap_or(false).then(count),
            summary: available.summary,
        }
    }
}

/// All packages, by name.
pub(super) async fn list(
    State(management): State<Management>,
    Params(query): Params<ListQuery>,
) -> Result<Json<Packages>, ApiError> {
    let mut available = management.fleet.packages.available(query.prerelease == Some(true)).await;
    if let Some(category) = query.category.as_deref().filter(|category| !category.is_empty()) {
        available.retain(|one| one.summary.all_categories().contains(category));
    }
    let counts = count_uses(&management);
    let items = available.into_iter().map(|one| ListItem::of(&management, one, &query, &counts)).collect();
    Ok(Json(Packages { items }))
}

/// How many integrations each package has.
fn count_uses(management: &Management) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for row in management.fleet.integrations.rows.all().values() {
        if let Some(package) = &row.value.package {
            *counts.entry(package.name.to_string()).or_default() += 1;
        }
    }
    counts
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::management) struct InstalledQuery {
    /// As `logs`.
    data_stream_type: Option<String>,
    /// Only data streams that the engine has.
    show_only_active_data_streams: Option<bool>,
    /// A part of the name or the title.
    name_query: Option<String>,
    /// What the page before said.
    search_after: Vec<String>,
    per_page: Option<AtLeast<1>>,
    sort_order: Option<SortOrder>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::management) struct InstalledPackages {
    items: Vec<InstalledItem>,
    total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    search_after: Option<[String; 1]>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct InstalledItem {
    name: String,
    version: String,
    status: Status,
    title: String,
    description: String,
    icons: Vec<Picture>,
    data_streams: Vec<NamedStream>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct NamedStream {
    name: String,
    title: String,
}

/// What is installed, in pages.
pub(super) async fn installed(
    State(management): State<Management>,
    Params(query): Params<InstalledQuery>,
) -> Result<Json<InstalledPackages>, ApiError> {
    let wanted = query.name_query.as_deref().unwrap_or_default().to_lowercase();
    let mut found = Vec::new();
    for record in management.fleet.packages.all_installed() {
        let summary = management.fleet.packages.summary(&record.name, &record.version);
        let Some(summary) = summary else { continue };
        let of_type = query.data_stream_type.as_ref();
        let has_type = of_type.is_none_or(|kind| summary.data_streams.iter().any(|one| one.kind == *kind));
        let is_wanted = summary.name.contains(&wanted) || summary.title.to_lowercase().contains(&wanted);
        if has_type && is_wanted {
            found.push(item(summary, &query));
        }
    }
    if query.sort_order == Some(SortOrder::Desc) {
        found.reverse();
    }
    let total = found.len();
    if let Some(after) = query.search_after.first() {
        let at = found.iter().position(|one| one.name == *after).map_or(total, |at| at + 1);
        found.drain(..at);
    }
    found.truncate(query.per_page.map_or(PAGE, AtLeast::get).min(LARGEST_PAGE));
    let search_after = found.last().map(|last| [last.name.clone()]);
    Ok(Json(InstalledPackages { items: found, total, search_after }))
}

fn item(summary: Summary, query: &InstalledQuery) -> InstalledItem {
    let is_wanted = |kind: &str| {
        // The engine is not asked yet: it has none.
        query.show_only_active_data_streams != Some(true)
            && query.data_stream_type.as_ref().is_none_or(|wanted| wanted == kind)
    };
    let streams = summary.data_streams.into_iter().filter(|one| is_wanted(&one.kind));
    InstalledItem {
        name: summary.name,
        version: summary.version,
        status: Status::Installed,
        title: summary.title,
        description: summary.description,
        icons: summary.icons,
        data_streams: streams
            .map(|one| NamedStream { name: format!("{}-{}-*", one.kind, one.dataset), title: one.title })
            .collect(),
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct Names {
    items: Vec<String>,
}

/// Installed packages of which an agent policy has one integration at most.
pub(super) async fn limited(State(management): State<Management>) -> Result<Json<Names>, ApiError> {
    let packages = &management.fleet.packages;
    let is_limited = |summary: &Summary| {
        let templates = &summary.policy_templates;
        !templates.is_empty() && templates.iter().all(|template| template.multiple == Some(false))
    };
    let installed = packages.all_installed().into_iter();
    let installed = installed.filter_map(|record| packages.summary(&record.name, &record.version));
    let items = installed.filter(is_limited).map(|summary| summary.name).collect();
    Ok(Json(Names { items }))
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::management) struct CategoryQuery {
    /// Whether what comes before a release counts too.
    prerelease: Option<bool>,
    /// Whether each way to use a package counts for itself.
    include_policy_templates: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::management) struct Categories {
    items: Vec<Category>,
}

/// The categories that packages stand in, and how many stand in each.
pub(super) async fn categories(
    State(management): State<Management>,
    Params(query): Params<CategoryQuery>,
) -> Result<Json<Categories>, ApiError> {
    let prerelease = query.prerelease == Some(true);
    let packages = &management.fleet.packages;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for one in packages.available(prerelease).await {
        let summary = &one.summary;
        if query.include_policy_templates == Some(true) {
            let of_templates = summary.policy_templates.iter().flat_map(|template| &template.categories);
            for category in summary.categories.iter().chain(of_templates) {
                *counts.entry(category.clone()).or_default() += 1;
            }
        } else {
            for category in summary.all_categories() {
                *counts.entry(category.to_owned()).or_default() += 1;
            }
        }
    }
    let known = match packages.registry() {
        // A registry knows what they are called; what they are called is not worth a failure.
        Some(registry) => registry.categories(prerelease).await.unwrap_or_default(),
        None => std::sync::Arc::default(),
    };
    let items = counts.into_iter().map(|(id, count)| {
        let known = known.iter().find(|category| category.id == id).cloned();
        let named = known.unwrap_or_else(|| Category { title: title(&id), ..Category::default() });
        Category { id, count, ..named }
    });
    Ok(Json(Categories { items: items.collect() }))
}

/// `os_system` as `Os System`.
fn title(id: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_uppercase().collect::<String>());
        format!("{}{}", first.unwrap_or_default(), letters.as_str())
    };
    id.split(['_', '-']).map(word).collect::<Vec<_>>().join(" ")
}
