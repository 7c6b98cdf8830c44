//! The kinds of object of the management API.

use super::{Cell, Column, Deletion, Kind};

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
