//! The kinds of object of the management API: where they are, what they are called, what of them is shown.

use serde_json::{Map, Value};

use super::list::Query;

/// A kind of object.
#[derive(Debug)]
pub(crate) struct Kind {
    /// The word of the command line.
    pub(crate) noun: &'static str,
    /// What people call one of them.
    pub(crate) title: &'static str,
    /// The list, below `/api/fleet/`. One of them is below that.
    pub(crate) path: &'static str,
    /// The field that names one of them in paths.
    pub(crate) id_field: &'static str,
    /// Where its name is (RFC 6901); empty: it has none.
    pub(crate) name_pointer: &'static str,
    /// The field by which a list can be asked for a name.
    pub(crate) name_field: Option<&'static str>,
    /// Whether one of them can be asked for.
    pub(crate) has_item: bool,
    /// The number of the list's first page.
    pub(crate) first_page: usize,
    /// Whether it is asked for in the shape that people write.
    pub(crate) is_simplified: bool,
    /// What a table shows.
    pub(crate) columns: &'static [Column],
    /// Fields that the server sets: they are no part of what people write.
    pub(crate) server_set: &'static [&'static str],
    /// The only fields that people write, where most are the server's. Empty: all others.
    pub(crate) writable: &'static [&'static str],
    /// Fields of the version that a save is a change of, so that the server can tell if there is a newer one.
    pub(crate) base: &'static [&'static str],
    /// How one of them is deleted.
    pub(crate) deletion: Deletion,
}

/// How an object is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// `DELETE` of its path.
    Delete,
    /// `POST` to this path, with the id in this field.
    Post { path: &'static str, field: &'static str },
}

/// A column of a table.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) cell: Cell,
}

/// What stands in a cell. Places are pointers (RFC 6901).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell {
    /// A text or number; the first place that has one.
    Text(&'static [&'static str]),
    /// The items of a list, with commas.
    Join(&'static str),
    /// How many items a list has, or a number.
    Count(&'static str),
    /// `yes`, or nothing.
    Flag(&'static str),
    /// Two texts with a sign between them.
    Pair(&'static str, char, &'static str),
}

impl Cell {
    /// The cell of an object; `-` for nothing.
    pub(crate) fn of(&self, object: &Value) -> String {
        let text = match self {
            Cell::Text(places) => places.iter().find_map(|place| text_at(object, place)),
            Cell::Join(place) => object
                .pointer(place)
                .and_then(Value::as_array)
                .map(|items| items.iter().filter_map(short_text).collect::<Vec<_>>().join(",")),
            Cell::Count(place) => object.pointer(place).map(|value| match value {
                Value::Array(items) => items.len().to_string(),
                other => short_text(other).unwrap_or_default(),
            }),
            Cell::Flag(place) => {
                object.pointer(place).and_then(Value::as_bool).filter(|flag| *flag).map(|_| "yes".to_owned())
            }
            Cell::Pair(left, sign, right) => text_at(object, left).map(|left| match text_at(object, right) {
                Some(right) => format!("{left}{sign}{right}"),
                None => left,
            }),
        };
        text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
    }
}

fn text_at(object: &Value, place: &str) -> Option<String> {
    object.pointer(place).and_then(short_text).filter(|text| !text.is_empty())
}

fn short_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

impl Kind {
    /// The id of an object.
    pub(crate) fn id_of<'a>(&self, object: &'a Value) -> Option<&'a str> {
        object.get(self.id_field).and_then(Value::as_str)
    }

    /// The name of an object.
    pub(crate) fn name_of<'a>(&self, object: &'a Value) -> Option<&'a str> {
        object.pointer(self.name_pointer).and_then(Value::as_str)
    }

    /// What every request for objects of this kind asks.
    pub(crate) fn query(&self) -> Query {
        if self.is_simplified { Query::default().with("format", "simplified") } else { Query::default() }
    }

    /// The same behind the path of one object.
    pub(crate) fn item_query(&self) -> String {
        self.query().text()
    }

    /// Whether the server sets a field.
    pub(crate) fn is_server_set(&self, field: &str) -> bool {
        self.server_set.contains(&field)
    }

    /// What of an object people write: without its id and what the server sets.
    pub(crate) fn written(&self, object: &Value) -> Map<String, Value> {
        let mut fields = match object {
            Value::Object(fields) => fields.clone(),
            _ => Map::new(),
        };
        fields.retain(|field, value| {
            let is_own = self.writable.is_empty() || self.writable.contains(&field.as_str());
            is_own && field != self.id_field && !self.is_server_set(field) && !value.is_null()
        });
        // Only the name and version of a package are chosen; the rest is told by them.
        if let Some(Value::Object(package)) = fields.get_mut("package") {
            package.retain(|field, _| matches!(field.as_str(), "name" | "version"));
        }
        fields
    }

    /// What a save says of the version that it is a change of.
    pub(crate) fn base_of(&self, object: &Value) -> Map<String, Value> {
        let mut base = Map::new();
        for field in self.base {
            if let Some(value) = object.get(*field).filter(|value| !value.is_null()) {
                base.insert((*field).to_owned(), value.clone());
            }
        }
        base
    }
}

const fn column(title: &'static str, cell: Cell) -> Column {
    Column { title, cell }
}

const BARE: Kind = Kind {
    noun: "",
    title: "",
    path: "",
    id_field: "id",
    name_pointer: "/name",
    name_field: None,
    has_item: true,
    first_page: 1,
    is_simplified: false,
    columns: &[],
    server_set: &["revision", "updated_at", "updated_by", "created_at", "created_by", "is_preconfigured"],
    writable: &[],
    base: &[],
    deletion: Deletion::Delete,
};

/// Enrolled agents.
pub(crate) const AGENT: Kind = Kind {
    noun: "agent",
    title: "agent",
    path: "agents",
    name_pointer: "/local_metadata/host/hostname",
    name_field: Some("local_metadata.host.hostname"),
    columns: &[
        column("ID", Cell::Text(&["/id"])),
        column("HOST", Cell::Text(&["/local_metadata/host/hostname", "/local_metadata/host/name"])),
        column("STATUS", Cell::Text(&["/status"])),
        column("VERSION", Cell::Text(&["/agent/version", "/local_metadata/elastic/agent/version"])),
        column("POLICY", Cell::Pair("/policy_id", '@', "/policy_revision")),
        column("TAGS", Cell::Join("/tags")),
        column("LAST CHECK-IN", Cell::Text(&["/last_checkin"])),
    ],
    writable: &["tags", "user_provided_metadata"],
    ..BARE
};

/// Agent policies.
pub(crate) const POLICY: Kind = Kind {
    noun: "policy",
    title: "agent policy",
    path: "agent_policies",
    columns: &[
        column("ID", Cell::Text(&["/id"])),
        column("NAME", Cell::Text(&["/name"])),
        column("NAMESPACE", Cell::Text(&["/namespace"])),
        column("REVISION", Cell::Text(&["/revision"])),
        column("AGENTS", Cell::Count("/agents")),
        column("UPDATED", Cell::Text(&["/updated_at"])),
        column("BY", Cell::Text(&["/updated_by"])),
    ],
    server_set: &[
        "revision",
        "version",
        "updated_at",
        "updated_by",
        "created_at",
        "created_by",
        "is_preconfigured",
        "status",
        "agents",
        "agents_per_version",
        "unprivileged_agents",
        "fips_agents",
        "package_policies",
        "schema_version",
        "has_fleet_server",
        "is_verifier",
        "agentless",
        "min_agent_version",
        "has_agent_version_conditions",
        "package_agent_version_conditions",
        "agent_count",
    ],
    base: &["revision"],
    deletion: Deletion::Post { path: "agent_policies/delete", field: "agentPolicyId" },
    ..BARE
};

/// Package policies: integrations of agent policies.
pub(crate) const INTEGRATION: Kind = Kind {
    noun: "integration",
    title: "integration",
    path: "package_policies",
    is_simplified: true,
    columns: &[
        column("ID", Cell::Text(&["/id"])),
        column("NAME", Cell::Text(&["/name"])),
        column("PACKAGE", Cell::Pair("/package/name", '@', "/package/version")),
        column("POLICIES", Cell::Join("/policy_ids")),
        column("NAMESPACE", Cell::Text(&["/namespace"])),
        column("REVISION", Cell::Text(&["/revision"])),
        column("UPDATED", Cell::Text(&["/updated_at"])),
        column("BY", Cell::Text(&["/updated_by"])),
    ],
    server_set: &[
        "revision",
        "version",
        "updated_at",
        "updated_by",
        "created_at",
        "created_by",
        "is_preconfigured",
        "secret_references",
        "elasticsearch",
        "spaceIds",
        // The same as the only one of `policy_ids`.
        "policy_id",
        "agents",
    ],
    base: &["version", "revision"],
    ..BARE
};

/// Integration packages.
pub(crate) const PACKAGE: Kind = Kind {
    noun: "package",
    title: "package",
    path: "epm/packages",
    id_field: "name",
    name_pointer: "/title",
    columns: &[
        column("NAME", Cell::Text(&["/name"])),
        column("VERSION", Cell::Text(&["/version"])),
        column("TITLE", Cell::Text(&["/title"])),
        column("TYPE", Cell::Text(&["/type"])),
        column("STATUS", Cell::Text(&["/status"])),
    ],
    ..BARE
};

/// Outputs.
pub(crate) const OUTPUT: Kind = Kind {
    noun: "output",
    title: "output",
    path: "outputs",
    columns: &[
        column("ID", Cell::Text(&["/id"])),
        column("NAME", Cell::Text(&["/name"])),
        column("TYPE", Cell::Text(&["/type"])),
        column("HOSTS", Cell::Join("/hosts")),
        column("DEFAULT", Cell::Flag("/is_default")),
        column("FOR MONITORING", Cell::Flag("/is_default_monitoring")),
    ],
    ..BARE
};

/// Fleet server hosts: the addresses that agents are told.
pub(crate) const HOST: Kind = Kind {
    noun: "host",
    title: "fleet server host",
    path: "fleet_server_hosts",
    columns: &[
        column("ID", Cell::Text(&["/id"])),
        column("NAME", Cell::Text(&["/name"])),
        column("URLS", Cell::Join("/host_urls")),
        column("DEFAULT", Cell::Flag("/is_default")),
        column("PROXY", Cell::Text(&["/proxy_id"])),
    ],
    ..BARE
};

/// Proxies.
pub(crate) const PROXY: Kind = Kind {
    noun: "proxy",
    title: "proxy",
    path: "proxies",
    columns: &[
        column("ID", Cell::Text(&["/id"])),
        column("NAME", Cell::Text(&["/name"])),
        column("URL", Cell::Text(&["/url"])),
    ],
    ..BARE
};

/// Where agents download their binaries.
pub(crate) const DOWNLOAD_SOURCE: Kind = Kind {
    noun: "download-source",
    title: "download source",
    path: "agent_download_sources",
    columns: &[
        column("ID", Cell::Text(&["/id"])),
        column("NAME", Cell::Text(&["/name"])),
        column("HOST", Cell::Text(&["/host"])),
        column("DEFAULT", Cell::Flag("/is_default")),
        column("PROXY", Cell::Text(&["/proxy_id"])),
    ],
    ..BARE
};

/// Enrolment keys.
pub(crate) const ENROLL_KEY: Kind = Kind {
    noun: "enroll-key",
    title: "enrolment key",
    path: "enrollment_api_keys",
    columns: &[
        column("ID", Cell::Text(&["/id"])),
        column("NAME", Cell::Text(&["/name"])),
        column("POLICY", Cell::Text(&["/policy_id"])),
        column("ACTIVE", Cell::Flag("/active")),
        column("CREATED", Cell::Text(&["/created_at"])),
        column("EXPIRES", Cell::Text(&["/expire_at"])),
    ],
    ..BARE
};

/// Tokens of servers that work for this one.
pub(crate) const SERVICE_TOKEN: Kind = Kind {
    noun: "service-token",
    title: "service token",
    path: "service_tokens",
    has_item: false,
    columns: &[
        column("ID", Cell::Text(&["/id"])),
        column("NAME", Cell::Text(&["/name"])),
        column("CREATED", Cell::Text(&["/created_at"])),
        column("REVOKED", Cell::Flag("/revoked")),
    ],
    ..BARE
};

/// What agents were asked to do.
pub(crate) const ACTION: Kind = Kind {
    noun: "action",
    title: "action",
    path: "agents/action_status",
    id_field: "actionId",
    name_pointer: "",
    has_item: false,
    // As in the original, of this list alone.
    first_page: 0,
    columns: &[
        column("ID", Cell::Text(&["/actionId"])),
        column("TYPE", Cell::Text(&["/type"])),
        column("STATUS", Cell::Text(&["/status"])),
        column("AGENTS", Cell::Text(&["/nbAgentsActioned"])),
        column("DONE", Cell::Text(&["/nbAgentsAck"])),
        column("FAILED", Cell::Text(&["/nbAgentsFailed"])),
        column("CREATED", Cell::Text(&["/creationTime"])),
    ],
    ..BARE
};

/// People.
pub(crate) const USER: Kind = Kind {
    noun: "user",
    title: "user",
    path: "users",
    id_field: "username",
    name_pointer: "/username",
    columns: &[
        column("NAME", Cell::Text(&["/username"])),
        column("ROLES", Cell::Join("/roles")),
        column("GRANTS", Cell::Count("/grants")),
        column("CREATED", Cell::Text(&["/created_at"])),
    ],
    writable: &["full_name", "roles", "grants", "enabled"],
    ..BARE
};

/// Keys of scripts.
pub(crate) const API_KEY: Kind = Kind {
    noun: "api-key",
    title: "API key",
    path: "api_keys",
    has_item: false,
    columns: &[
        column("ID", Cell::Text(&["/id"])),
        column("NAME", Cell::Text(&["/name"])),
        column("ROLES", Cell::Join("/roles")),
        column("GRANTS", Cell::Count("/grants")),
        column("OWNER", Cell::Text(&["/owner", "/username", "/created_by"])),
        column("EXPIRES", Cell::Text(&["/expires_at"])),
    ],
    ..BARE
};

/// What was changed by whom.
pub(crate) const AUDIT: Kind = Kind {
    noun: "audit",
    title: "audit entry",
    path: "audit",
    name_pointer: "",
    has_item: false,
    columns: &[
        column("TIME", Cell::Text(&["/@timestamp"])),
        column("USER", Cell::Text(&["/user"])),
        column("FROM", Cell::Text(&["/remote"])),
        column("KIND", Cell::Text(&["/kind"])),
        column("OBJECT", Cell::Text(&["/object"])),
        column("STATUS", Cell::Text(&["/status"])),
    ],
    ..BARE
};

/// Who is told of what happens.
pub(crate) const WEBHOOK: Kind = Kind {
    noun: "webhook",
    title: "webhook",
    path: "webhooks",
    columns: &[
        column("ID", Cell::Text(&["/id"])),
        column("NAME", Cell::Text(&["/name"])),
        column("URL", Cell::Text(&["/url"])),
        column("ENABLED", Cell::Flag("/enabled")),
        column("KINDS", Cell::Join("/kinds")),
        column("POLICIES", Cell::Join("/policy_ids")),
    ],
    server_set: &["created_at", "updated_at", "delivery"],
    ..BARE
};

/// What lifts the protection of a policy's agents.
pub(crate) const UNINSTALL_TOKEN: Kind = Kind {
    noun: "uninstall-token",
    title: "uninstall token",
    path: "uninstall_tokens",
    name_pointer: "/policy_name",
    columns: &[
        column("ID", Cell::Text(&["/id"])),
        column("POLICY", Cell::Text(&["/policy_id"])),
        column("NAME", Cell::Text(&["/policy_name"])),
        column("CREATED", Cell::Text(&["/created_at"])),
    ],
    ..BARE
};

/// What signs for agents. There is one.
pub(crate) const SIGNING_KEY: Kind = Kind {
    noun: "signing-key",
    title: "signing key",
    path: "message_signing_service",
    name_pointer: "",
    has_item: false,
    ..BARE
};

/// What happened.
pub(crate) const EVENT: Kind = Kind {
    noun: "event",
    title: "event",
    path: "events/list",
    name_pointer: "",
    has_item: false,
    columns: &[
        column("TIME", Cell::Text(&["/@timestamp"])),
        column("KIND", Cell::Text(&["/kind"])),
        column("AGENT", Cell::Text(&["/hostname", "/agent_id"])),
        column("POLICY", Cell::Pair("/policy_id", '@', "/revision")),
        column("FROM", Cell::Text(&["/from"])),
        column("TO", Cell::Text(&["/to"])),
        column("ACTION", Cell::Text(&["/action_id"])),
    ],
    ..BARE
};
