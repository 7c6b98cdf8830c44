//! Advanced settings: scripts name them in one word, agents know them by paths.

/// The names that scripts use, and the paths that agents read.
const PATHS: [(&str, &str); 13] = [
    ("agent_download_target_directory", "agent.download.target_directory"),
    ("agent_download_timeout", "agent.download.timeout"),
    (
        "agent_features_disable_policy_change_acks_enabled",
        "agent.features.disable_policy_change_acks.enabled",
    ),
    ("agent_features_include_tags_in_events_enabled", "agent.features.include_tags_in_events.enabled"),
    ("agent_internal", "agent.internal"),
    ("agent_limits_go_max_procs", "agent.limits.go_max_procs"),
    ("agent_logging_files_interval", "agent.logging.files.interval"),
    ("agent_logging_files_keepfiles", "agent.logging.files.keepfiles"),
    ("agent_logging_files_rotateeverybytes", "agent.logging.files.rotateeverybytes"),
    ("agent_logging_level", "agent.logging.level"),
    ("agent_logging_metrics_period", "agent.logging.metrics.period"),
    ("agent_logging_to_files", "agent.logging.to_files"),
    ("agent_monitoring_runtime_experimental", "agent.monitoring._runtime_experimental"),
];

/// Where a setting goes. What is not known by a name is a path already.
pub(super) fn path(name: &str) -> &str {
    PATHS.iter().find(|(known, _)| *known == name).map_or(name, |(_, path)| path)
}
