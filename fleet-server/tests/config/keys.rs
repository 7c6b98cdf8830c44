//! Each key: a good value arrives, a bad one is a mistake that names key and line.

use std::collections::BTreeSet;

use crate::{Material, expand, yaml};

/// What a row's key needs beside it, so that its value matters.
const NOTHING: &str = "";
const REGISTRY: &str = "registry_url: https://registry.example\n";
const ETCD: &str = "store.type: etcd\nstore.etcd.endpoints: https://e:1\n";
const ETCD_USER: &str = "store.type: etcd\nstore.etcd.endpoints: https://e:1\nstore.etcd.username: me\n";
const ETCD_PASSWORD: &str = "store.type: etcd\nstore.etcd.endpoints: https://e:1\nstore.etcd.password: x\n";
const ES: &str = "store: embedded\noutput.elasticsearch.timeout: 1\n";
const ES_TLS: &str =
    "store: embedded\noutput.elasticsearch.ssl.certificate: $cert\noutput.elasticsearch.ssl.key: $key\n";
const TLS: &str = "inputs.0.server.ssl.certificate: $cert\ninputs.0.server.ssl.key: $key\n";
const MANAGEMENT_TLS: &str = "management.ssl.certificate: $cert\nmanagement.ssl.key: $key\n";
const OIDC: &str = "management.oidc.issuer: https://a\nmanagement.oidc.client_id: a\nmanagement.oidc.roles.admin: a\n\
                    management.oidc.redirect_uri: https://b/api/fleet/oidc/callback\n";
const TOKENS: &str = "inputs.0.server.static_policy_tokens.enabled: true\n\
                      inputs.0.server.static_policy_tokens.policy_tokens.0.token_key: a\n\
                      inputs.0.server.static_policy_tokens.policy_tokens.0.policy_id: b\n";
const FILES: &str = "logging.to_files: true\n";
const STDERR: &str = "logging.to_stderr: true\n";
const HTTP: &str = "http.enabled: true\n";
const GRACEFUL: &str = "inputs.0.server.feature_flags.graceful_force_unenroll.enabled: true\n";
const PROFILER: &str = "inputs.0.server.profiler.enabled: true\n";

/// What is no number, no word of a set, no URL …
const BAD: &str = "'no such/ value'";
/// For keys that take any text: it is not a single value.
const LIST: &str = "[x]";

/// What is around it, the key, a value that is not the default, one that is wrong.
const KEYS: &[(&str, &str, &str, &str)] = &[
    (NOTHING, "version", "9.5.1", "9"),
    (NOTHING, "data_dir", "/other", LIST),
    (NOTHING, "master_key_file", "/other", LIST),
    (NOTHING, "admin_password_file", "$secret", "/does/not/exist"),
    (NOTHING, "tls_names", "[fleet.example, 192.0.2.1]", BAD),
    (NOTHING, "registry_url", "https://registry.example/packages", "registry.example"),
    (REGISTRY, "registry_proxy_url", "http://proxy.example:3128", "https://proxy.example"),
    (REGISTRY, "registry_certificate_authorities", "$ca", "/does/not/exist"),
    (NOTHING, "store.type", "etcd", "redis"),
    (NOTHING, "store.path", "/other", LIST),
    (ETCD, "store.etcd.key_prefix", "/other", LIST),
    ("store: etcd\n", "store.etcd.endpoints", "[https://a:1, http://b]", "a:1"),
    (ETCD_PASSWORD, "store.etcd.username", "other", LIST),
    (ETCD_USER, "store.etcd.password", "x", LIST),
    (ETCD_USER, "store.etcd.password_file", "$secret", "/does/not/exist"),
    (ETCD, "store.etcd.request_timeout", "3s", "0"),
    (ETCD, "store.etcd.ssl.certificate_authorities", "[$ca]", "[$ca, $cert]"),
    (NOTHING, "management.host", "0.0.0.0", BAD),
    (NOTHING, "management.port", "1", "70000"),
    (NOTHING, "management.trusted_proxies", "[10.0.0.0/8, '::1']", BAD),
    (NOTHING, "management.sessions.{idle_timeout,lifetime}", "90m", "1s"),
    (NOTHING, "management.audit.max_entries", "500", "1"),
    (NOTHING, "management.audit.max_age", "90m", BAD),
    (OIDC, "management.oidc.issuer", "https://c", "http://c"),
    (OIDC, "management.oidc.client_id", "x", LIST),
    (OIDC, "management.oidc.client_secret", "x", LIST),
    (OIDC, "management.oidc.client_secret_path", "$secret", "/does/not/exist"),
    (OIDC, "management.oidc.redirect_uri", "https://c/api/fleet/oidc/callback", "https://c"),
    (OIDC, "management.oidc.scopes", "[groups]", "['a b']"),
    (OIDC, "management.oidc.claims.{name,roles}", "x", LIST),
    (OIDC, "management.oidc.roles.{admin,editor,viewer}", "[x]", "[[x]]"),
    (OIDC, "management.oidc.ca", "$ca", "/does/not/exist"),
    (NOTHING, "fleet.{agent,host}.id", "x", LIST),
    (NOTHING, "fleet.agent.version", "x", LIST),
    (NOTHING, "fleet.host.name", "x", LIST),
    (NOTHING, "inputs.0.policy.id", "x", LIST),
    (NOTHING, "inputs.0.server.host", "127.0.0.1", BAD),
    (NOTHING, "inputs.0.server.{port,internal_port}", "1", "-1"),
    (
        NOTHING,
        "inputs.0.server.timeouts.{read,read_header,write,idle,checkin_timestamp,checkin_long_poll,checkin_jitter,checkin_max_poll,drain}",
        "7",
        "7d",
    ),
    (NOTHING, "inputs.0.server.profiler.enabled", "true", BAD),
    (PROFILER, "inputs.0.server.profiler.bind", "localhost:1", LIST),
    (NOTHING, "inputs.0.server.compression_level", "9", "10"),
    (NOTHING, "inputs.0.server.compression_threshold", "9", "-1"),
    (NOTHING, "inputs.0.server.runtime.gc_percent", "9", BAD),
    (NOTHING, "inputs.0.server.runtime.memory_limit", "9", "math.MaxInt64"),
    (NOTHING, "inputs.0.server.bulk.{,enroll.}flush_interval", "9s", BAD),
    (NOTHING, "inputs.0.server.bulk.{,enroll.}flush_threshold_cnt", "9", "-1"),
    (
        NOTHING,
        "inputs.0.server.bulk.{flush_threshold_size,flush_max_pending,max_pending_bulk_dispatches}",
        "9",
        "-1",
    ),
    (NOTHING, "inputs.0.server.gc.schedule_interval", "9s", BAD),
    (NOTHING, "inputs.0.server.gc.cleanup_after_expired_interval", "2w", "2 weeks"),
    (TOKENS, "inputs.0.server.static_policy_tokens.enabled", "false", BAD),
    (NOTHING, "inputs.0.server.pgp.upstream_url", "http://h/x", BAD),
    (NOTHING, "inputs.0.server.pgp.dir", "/x", LIST),
    (NOTHING, "inputs.0.server.pdkdf2.iterations", "1000", "999"),
    (NOTHING, "inputs.0.server.pdkdf2.key_length", "14", "13"),
    (NOTHING, "inputs.0.server.pdkdf2.salt_length", "16", "15"),
    (NOTHING, "inputs.0.server.feature_flags.ignore_checkin_policy_id", "true", BAD),
    (NOTHING, "inputs.0.server.feature_flags.enable_opamp", "false", BAD),
    (NOTHING, "inputs.0.server.feature_flags.graceful_force_unenroll.enabled", "true", BAD),
    (GRACEFUL, "inputs.0.server.feature_flags.graceful_force_unenroll.max_bytes", "9", "-1"),
    (NOTHING, "inputs.0.server.instrumentation.{enabled,tls.skip_verify}", "true", BAD),
    (NOTHING, "inputs.0.server.instrumentation.hosts", "[http://h:8200]", BAD),
    (NOTHING, "inputs.0.server.instrumentation.{environment,global_labels}", "x", LIST),
    (NOTHING, "inputs.0.server.instrumentation.transaction_sample_rate", "0.5", "2"),
    (NOTHING, "inputs.0.server.instrumentation.{api_key,secret_token}", "x", LIST),
    (NOTHING, "inputs.0.server.instrumentation.{api_key,secret_token}_path", "$secret", "/does/not/exist"),
    (NOTHING, "inputs.0.server.instrumentation.tls.{server_certificate,server_ca}", "/x", "'-----BEGIN'"),
    (NOTHING, "inputs.0.server.limits.max_agents", "700", BAD),
    (
        NOTHING,
        "inputs.0.server.limits.{max_header_byte_size,max_connections,max_file_storage_size}",
        "7",
        "-1",
    ),
    (NOTHING, "inputs.0.server.limits.$limits_limit.interval", "7s", BAD),
    (NOTHING, "inputs.0.server.limits.$limits_limit.{burst,max,max_body_decompressed}", "7", "-1"),
    (NOTHING, "inputs.0.server.limits.$bodies_limit.max_body_byte_size", "7", "-1"),
    (NOTHING, "inputs.0.cache.{num_counters,max_cost}", "7", "-1"),
    (NOTHING, "inputs.0.cache.{ttl_action,ttl_enroll_key,ttl_artifact,ttl_api_key,jitter_api_key}", "7", BAD),
    (NOTHING, "inputs.0.monitor.fetch_size", "7", BAD),
    (NOTHING, "inputs.0.monitor.{poll_timeout,policy_debounce_time}", "7", BAD),
    (NOTHING, "logging.level", "debug", "loud"),
    (NOTHING, "logging.{to_stderr,to_files}", "true", BAD),
    (STDERR, "logging.pretty", "true", BAD),
    (FILES, "logging.files.{path,name}", "x", LIST),
    (FILES, "logging.files.rotateeverybytes", "1", "0"),
    (FILES, "logging.files.keepfiles", "1024", "1025"),
    (FILES, "logging.files.permissions", "0640", "0888"),
    (FILES, "logging.files.interval", "1h", "1d"),
    (FILES, "logging.files.rotateonstartup", "false", BAD),
    (FILES, "logging.files.redirect_stderr", "true", BAD),
    (NOTHING, "http.enabled", "true", BAD),
    (HTTP, "http.host", "unix:///run/x", BAD),
    (HTTP, "http.port", "1", "70000"),
    (ES, "output.elasticsearch.hosts", "[a, https://b:1/c]", "'::1'"),
    (ES, "output.elasticsearch.protocol", "https", "ftp"),
    (ES, "output.elasticsearch.path", "x", LIST),
    (ES, "output.elasticsearch.service_token", "x", LIST),
    (ES, "output.elasticsearch.service_token_path", "$secret", "/does/not/exist"),
    (ES, "output.elasticsearch.{username,password,api_key}", "x", LIST),
    (ES, "output.elasticsearch.{headers,proxy_headers}", "{X-A: b}", "x"),
    (ES, "output.elasticsearch.proxy_url", "proxy:1", "'http://'"),
    (ES, "output.elasticsearch.proxy_disable", "true", BAD),
    (ES, "output.elasticsearch.timeout", "7", BAD),
    (ES, "output.elasticsearch.{max_conn_per_host,max_content_length}", "7", "-1"),
];

/// The keys of `ssl`: below which sections, what is around it.
const SECTIONS: [(&str, &str); 3] = [
    ("inputs.0.server.ssl.", TLS),
    ("management.ssl.", MANAGEMENT_TLS),
    ("output.elasticsearch.ssl.", ES_TLS),
];

const TLS_KEYS: &[(&str, &str, &str)] = &[
    ("verification_mode", "none", BAD),
    ("supported_protocols", "[TLSv1.3]", "[TLSv1.0]"),
    ("cipher_suites", "[TLS-AES-128-GCM-SHA256]", BAD),
    ("curve_types", "[X25519]", BAD),
    ("certificate_authorities", "[$ca]", "/does/not/exist"),
    ("key_passphrase", "x", LIST),
    ("key_passphrase_path", "$secret", "/does/not/exist"),
    ("certificate_reload.enabled", "false", BAD),
    ("certificate_reload.reload_interval", "1m", BAD),
];

const CLIENT_KEYS: &[(&str, &str, &str)] = &[
    ("disable_legacy_pem_support", "true", BAD),
    ("ca_sha256", "'47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='", BAD),
    ("ca_trusted_fingerprint", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "e3"),
    ("renegotiation", "once", BAD),
];

const SERVER_KEYS: &[(&str, &str, &str)] = &[("client_authentication", "optional", BAD)];

/// Keys whose values cannot be looked at like this: they have tests of their own, or no effect.
const ELSEWHERE: &[&str] = &[
    "inputs.0.{type,id,name,use_output,revision,data_stream,meta}",
    "inputs.0.server.limits.upload_chunk_limit.max_body_byte_size",
    "inputs.0.server.static_policy_tokens.policy_tokens.0.{token_key,policy_id}",
    "{inputs.0.server,management,output.elasticsearch,store.etcd}.ssl.{enabled,certificate,key}",
    "store.etcd.ssl.{verification_mode,supported_protocols,cipher_suites,curve_types,ca_sha256}",
    "store.etcd.ssl.{key_passphrase,key_passphrase_path,disable_legacy_pem_support,ca_trusted_fingerprint}",
    "store.etcd.ssl.{renegotiation,certificate_reload.enabled,certificate_reload.reload_interval}",
    "{inputs.0.server,management}.ssl.{ca_sha256,disable_legacy_pem_support}",
    "fleet.agent.logging.level",
    "http.named_pipe.{user,security_descriptor}",
    "output.elasticsearch.{bootstrap,max_retries}",
];

/// The limits, and of these the ones whose body has a size that can be set.
const LIMITS: &str = "{action,policy,checkin,artifact,enroll,ack,status,opamp,upload_start,upload_end,\
                      upload_chunk,file_delivery,pgp_retrieval,audit_unenroll}";
const BODIES: &str = "{action,policy,checkin,artifact,enroll,ack,status,opamp,upload_start,upload_end,\
                      file_delivery,pgp_retrieval,audit_unenroll}";

/// Every row, spelled out.
fn rows() -> Vec<(String, String, String, String)> {
    let mut rows = Vec::new();
    for (around, keys, good, bad) in KEYS {
        for key in expand(&keys.replace("$limits", LIMITS).replace("$bodies", BODIES)) {
            rows.push(((*around).to_owned(), key, (*good).to_owned(), (*bad).to_owned()));
        }
    }
    for (index, (section, around)) in SECTIONS.into_iter().enumerate() {
        let own = if index < 2 { SERVER_KEYS } else { CLIENT_KEYS };
        for (key, good, bad) in TLS_KEYS.iter().chain(own) {
            rows.push((around.to_owned(), format!("{section}{key}"), (*good).to_owned(), (*bad).to_owned()));
        }
    }
    rows
}

/// What is around a key may have it already.
fn without_key(around: &str, key: &str) -> String {
    let others = around.lines().filter(|line| !line.starts_with(&format!("{key}:")));
    others.map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_good_value_arrives() {
    let material = Material::new();
    for (around, key, good, _) in rows() {
        let without = yaml(&material.fill(&around)).load();
        let around = without_key(&around, &key);
        let with = yaml(&material.fill(&format!("{around}{key}: {good}\n"))).config();
        // Half of a pair alone is a mistake.
        if let Ok((without, _)) = without {
            let is_changed = format!("{without:?}") != format!("{with:?}");
            assert!(is_changed, "{key}: {good} changes nothing");
        }
    }
}

#[test]
fn a_bad_value_is_a_mistake_with_key_and_line() {
    let material = Material::new();
    for (around, key, _, bad) in rows() {
        let around = without_key(&around, &key);
        let text = material.fill(&format!("{around}{key}: {bad}\n"));
        let line = text.lines().count();
        let mistakes = yaml(&text).mistakes();
        let expected = format!("test.yml:{line}: {key}");
        assert!(mistakes.iter().any(|mistake| mistake.starts_with(&expected)), "{text}{mistakes:?}");
    }
}

#[test]
fn no_key_is_left_out() {
    let rows = rows().into_iter().map(|(_, key, _, _)| key);
    let elsewhere = ELSEWHERE.iter().flat_map(|keys| expand(keys));
    let tested: BTreeSet<String> = rows.chain(elsewhere).collect();
    let known: BTreeSet<String> = yaml(TOKENS).input(fleet_server::config::known_keys).into_iter().collect();
    let untested: Vec<&String> = known.difference(&tested).collect();
    let unknown: Vec<&String> = tested.difference(&known).collect();
    assert!(untested.is_empty() && unknown.is_empty(), "untested {untested:#?}, unknown {unknown:#?}");
}
