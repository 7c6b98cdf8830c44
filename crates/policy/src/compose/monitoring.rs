//! What agents tell of themselves.

use serde_json::{Value, json};

use crate::documents::AgentPolicy;

/// The parts of an agent that tell of themselves: `<type>-elastic_agent.<part>-<namespace>`.
const PARTS: [&str; 16] = [
    "apm_server",
    "auditbeat",
    "cloudbeat",
    "elastic_agent",
    "endpoint_security",
    "filebeat",
    "filebeat_input",
    "fleet_server",
    "heartbeat",
    "metricbeat",
    "osquerybeat",
    "packetbeat",
    "pf_elastic_collector",
    "pf_elastic_symbolizer",
    "pf_host_agent",
    "status_change",
];

/// The kinds of data that there are.
const KINDS: [&str; 3] = ["logs", "metrics", "traces"];

fn is_on(policy: &AgentPolicy, kind: &str) -> bool {
    policy.monitoring_enabled.iter().any(|enabled| enabled == kind)
}

/// `agent.monitoring`.
pub(super) fn section(policy: &AgentPolicy, output: &str) -> Value {
    let is_enabled = !policy.monitoring_enabled.is_empty() || policy.keep_monitoring_alive == Some(true);
    let mut section = json!({
        "enabled": is_enabled,
        "logs": is_on(policy, "logs"),
        "metrics": is_on(policy, "metrics"),
        "traces": is_on(policy, "traces"),
    });
    if !policy.monitoring_enabled.is_empty() {
        section["use_output"] = output.into();
        section["namespace"] = policy.namespace.clone().into();
    }
    if let Some(http) = &policy.monitoring_http {
        section["http"] = json!(http);
    }
    if let Some(is_profiled) = policy.monitoring_pprof_enabled {
        section["pprof"] = json!({"enabled": is_profiled});
    }
    if let Some(diagnostics) = &policy.monitoring_diagnostics {
        section["diagnostics"] = json!(diagnostics);
    }
    section
}

/// What that needs to be written; `None`: nothing is told.
pub(super) fn permissions(policy: &AgentPolicy) -> Option<Value> {
    let mut names = Vec::new();
    for kind in KINDS.into_iter().filter(|kind| is_on(policy, kind)) {
        let namespace = &policy.namespace;
        names.push(format!("{kind}-elastic_agent-{namespace}"));
        names.extend(PARTS.iter().map(|part| format!("{kind}-elastic_agent.{part}-{namespace}")));
    }
    (!names.is_empty())
        .then(|| json!({"indices": [{"names": names, "privileges": ["auto_configure", "create_doc"]}]}))
}
