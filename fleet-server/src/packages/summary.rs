//! What lists tell of a package: enough to choose one, and small enough to keep all of them in memory.

use fleet_integration::Package;
use fleet_integration::package::{Image, PackageType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A package in a list. Registries answer the same shape, in which almost everything may be missing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// As `nginx`.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub title: String,
    /// A semantic version.
    pub version: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// `integration`, `input` or `content`.
    #[serde(rename = "type", default = "integration")]
    pub kind: String,
    /// Of the format that it is written in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format_version: Option<String>,
    /// `ga`, `beta` or `experimental`, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Where it stands in a catalogue.
    #[serde(default)]
    pub categories: Vec<String>,
    /// What it needs.
    #[serde(default)]
    pub conditions: Conditions,
    /// Who looks after it.
    #[serde(default)]
    pub owner: Map<String, Value>,
    /// Its logos.
    #[serde(default)]
    pub icons: Vec<Picture>,
    /// The ways to use it.
    #[serde(default)]
    pub policy_templates: Vec<TemplateSummary>,
    /// `all`, `combined_policy` or `individual_policies`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_templates_behavior: Option<String>,
    /// Where its data goes.
    #[serde(default)]
    pub data_streams: Vec<DataStreamSummary>,
    /// What its pictures' addresses begin with.
    #[serde(default)]
    pub path: String,
    /// Where a registry has its archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download: Option<String>,
}

/// What a package needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Conditions {
    /// Of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kibana: Option<VersionCondition>,
    /// A subscription; told, and never asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elastic: Option<SubscriptionCondition>,
    /// Of the agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<VersionCondition>,
}

/// A range of versions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VersionCondition {
    /// As `^8.12.0 || ^9.0.0`.
    #[serde(default)]
    pub version: String,
}

/// A subscription.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SubscriptionCondition {
    /// As `basic`.
    #[serde(default)]
    pub subscription: String,
}

/// A picture.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Picture {
    /// From the package's root.
    pub src: String,
    /// From the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// As `32x32`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// A media type.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
}

/// One way to use a package.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TemplateSummary {
    /// Unique in the package.
    pub name: String,
    /// For people.
    #[serde(default)]
    pub title: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Its own logos.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub icons: Vec<Picture>,
    /// Whether one agent policy may have it more than once; it may if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple: Option<bool>,
    /// Where it stands in a catalogue for itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
}

/// Where data goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DataStreamSummary {
    /// As `logs`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// As `nginx.access`.
    #[serde(default)]
    pub dataset: String,
    /// For people.
    #[serde(default)]
    pub title: String,
}

fn integration() -> String {
    "integration".to_owned()
}

/// What a type of package is called.
pub(crate) fn kind_name(kind: PackageType) -> &'static str {
    match kind {
        PackageType::Integration => "integration",
        PackageType::Input => "input",
        PackageType::Content => "content",
    }
}

fn pictures(images: &[Image]) -> Vec<Picture> {
    let picture = |image: &Image| Picture {
        src: image.src.clone(),
        path: Some(image.path.clone()),
        title: image.title.clone(),
        size: image.size.clone(),
        media_type: image.media_type.clone(),
    };
    images.iter().map(picture).collect()
}

impl Summary {
    /// What there is to tell of a package.
    #[must_use]
    pub fn of(package: &Package) -> Summary {
        let templates = package.policy_templates.iter().map(|template| TemplateSummary {
            name: template.name.clone(),
            title: template.title.clone(),
            description: template.description.clone(),
            icons: pictures(&template.icons),
            multiple: Some(template.multiple),
            categories: template.categories.clone(),
        });
        let data_streams = package.data_streams.iter().map(|stream| DataStreamSummary {
            kind: stream.kind.clone(),
            dataset: stream.dataset.clone(),
            title: stream.title.clone(),
        });
        let version = |range: &Option<String>| range.clone().map(|version| VersionCondition { version });
        let conditions = &package.conditions;
        let subscription = conditions.elastic_subscription.clone();
        Summary {
            name: package.name.clone(),
            title: package.title.clone(),
            version: package.version.clone(),
            description: package.description.clone(),
            kind: kind_name(package.kind).to_owned(),
            format_version: Some(package.format_version.clone()).filter(|version| !version.is_empty()),
            release: package.release.clone(),
            categories: package.categories.clone(),
            conditions: Conditions {
                kibana: version(&conditions.kibana_version),
                elastic: subscription.map(|subscription| SubscriptionCondition { subscription }),
                agent: version(&conditions.agent_version),
            },
            owner: package.owner.clone(),
            icons: pictures(&package.icons),
            policy_templates: templates.collect(),
            policy_templates_behavior: package.policy_templates_behavior.clone(),
            data_streams: data_streams.collect(),
            path: package.path(),
            download: None,
        }
    }

    /// All categories that it stands in, each once.
    pub fn all_categories(&self) -> std::collections::BTreeSet<&str> {
        let own = self.categories.iter();
        let of_templates = self.policy_templates.iter().flat_map(|template| &template.categories);
        own.chain(of_templates).map(String::as_str).collect()
    }
}
