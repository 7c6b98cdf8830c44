//! Variables: what people set.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::PackageError;
use super::reader::{Section, text};
use crate::yaml::{Node, Tree};

/// What a variable's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VarType {
    /// A line; what packages of a newer format call otherwise is one, too.
    Text,
    /// Lines.
    Textarea,
    /// True or false.
    Bool,
    /// A whole number.
    Integer,
    /// YAML that goes into the template as YAML.
    Yaml,
    /// A line that is not shown.
    Password,
    /// One of the options.
    Select,
    /// An address of a person.
    Email,
    /// An address of a machine.
    Url,
    /// As `30s`, `1h30m`.
    Duration,
}

impl VarType {
    /// By its name in manifests.
    #[must_use]
    pub fn of(name: &str) -> VarType {
        match name {
            "textarea" => VarType::Textarea,
            "bool" | "boolean" => VarType::Bool,
            "integer" | "number" => VarType::Integer,
            "yaml" => VarType::Yaml,
            "password" => VarType::Password,
            "select" => VarType::Select,
            "email" => VarType::Email,
            "url" => VarType::Url,
            "duration" => VarType::Duration,
            _ => VarType::Text,
        }
    }

    /// Its name in manifests and policies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            VarType::Text => "text",
            VarType::Textarea => "textarea",
            VarType::Bool => "bool",
            VarType::Integer => "integer",
            VarType::Yaml => "yaml",
            VarType::Password => "password",
            VarType::Select => "select",
            VarType::Email => "email",
            VarType::Url => "url",
            VarType::Duration => "duration",
        }
    }
}

/// One of the values that a variable may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SelectOption {
    /// For people.
    pub text: String,
    /// What counts.
    pub value: String,
}

/// A variable of a package, a policy template, an input or a stream.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Variable {
    /// May have dots in it: `ssl.verification_mode`.
    pub name: String,
    /// What its value is.
    #[serde(rename = "type")]
    pub kind: VarType,
    /// For people.
    pub title: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether its value is a list.
    pub multi: bool,
    /// Whether it must have a value where it is used.
    pub required: bool,
    /// Whether it is shown at once, not behind "advanced".
    pub show_user: bool,
    /// What it is where nobody says otherwise. A list if `multi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The values of a `select`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<SelectOption>,
    /// Whether its value is kept with the secrets.
    pub secret: bool,
    /// As `10s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_duration: Option<String>,
    /// As `24h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<String>,
    /// As `https`; any where none is named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub url_allowed_schemes: Vec<String>,
    /// Where it is not shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hide_in_deployment_modes: Vec<String>,
    /// What it was called in an earlier version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migrate_from: Option<String>,
}

/// The variables of a section. One without a name is nobody's.
pub(super) fn read_all(section: &Section<'_>) -> Result<Vec<Variable>, PackageError> {
    section.sections("vars", |var| read(&var))
}

fn read(section: &Section<'_>) -> Result<Variable, PackageError> {
    let name = section.need("name")?;
    let kind = VarType::of(&section.text_or_empty("type"));
    let multi = section.flag("multi").unwrap_or(false);
    let default = section.node.get("default").filter(|node| !node.is_null());
    Ok(Variable {
        title: section.text("title").unwrap_or_else(|| name.clone()),
        description: section.text_or_empty("description"),
        multi,
        required: section.flag("required").unwrap_or(false),
        show_user: section.flag("show_user").unwrap_or(false),
        default: default.map(|node| default_value(node, kind, multi)),
        options: options(section),
        secret: section.flag("secret").unwrap_or(false),
        min_duration: section.text("min_duration"),
        max_duration: section.text("max_duration"),
        url_allowed_schemes: section.texts("url_allowed_schemes"),
        hide_in_deployment_modes: section.texts("hide_in_deployment_modes"),
        migrate_from: section.text("migrate_from"),
        name,
        kind,
    })
}

/// Options are maps; a word alone is its own text.
fn options(section: &Section<'_>) -> Vec<SelectOption> {
    let Some(Node { tree: Tree::List(items), .. }) = section.node.get("options") else { return Vec::new() };
    let read = |item: &Node| {
        let value = item.get("value").map_or_else(|| text(item), text)?;
        Some(SelectOption { text: item.get("text").and_then(text).unwrap_or_else(|| value.clone()), value })
    };
    items.iter().filter_map(read).collect()
}

/// A default as the variable's type has it: many a manifest writes `default: 8080` for a text.
fn default_value(node: &Node, kind: VarType, multi: bool) -> Value {
    match (&node.tree, multi) {
        (Tree::List(items), true) => Value::Array(items.iter().map(|item| one_default(item, kind)).collect()),
        (_, true) => Value::Array(vec![one_default(node, kind)]),
        _ => one_default(node, kind),
    }
}

fn one_default(node: &Node, kind: VarType) -> Value {
    match (&node.tree, kind) {
        (Tree::Scalar(Value::String(text)), VarType::Bool) => {
            text.parse().map_or_else(|_| Value::String(text.clone()), Value::Bool)
        }
        (Tree::Scalar(Value::String(text)), VarType::Integer) => {
            text.parse::<i64>().map_or_else(|_| Value::String(text.clone()), Value::from)
        }
        // What people compare it with and type in is a text.
        (Tree::Number(_, text), VarType::Select) => Value::String(text.clone()),
        (Tree::Scalar(Value::Bool(flag)), VarType::Select) => Value::String(flag.to_string()),
        // A default that is YAML itself, not a text of it.
        (Tree::Map(_) | Tree::List(_), VarType::Yaml) => Value::String(node.clone().into_json().to_string()),
        _ => node.clone().into_json(),
    }
}
