//! What the configuration means for the parts.

use fleet_access::audit::AuditBounds;
use fleet_access::key::KeyDigest;
use fleet_access::sessions::SessionOptions;
use fleet_policy::files::FileLimits;

use crate::agents::{Limits, RouteLimit, Settings, SignerKey, StaticToken};
use crate::config::Config;
use crate::config::limits::Limit;
use crate::config::store::Store;
use crate::fleet::ArtifactCache;
use crate::http;
use crate::management::PeopleOptions;
use crate::packages::Setup;
use crate::packages::registry::{Registry, RegistryError, RegistryOptions};

/// Bytes of all files, unless the configuration says it.
const EMBEDDED_STORAGE: u64 = 10 << 30;
const ETCD_STORAGE: u64 = 256 << 20;
/// Chunks that come in at a time: 2 MiB of memory each.
const MOST_RECEIVING: usize = 16;

/// Where packages come from, and what they have conditions on. Reads the files of authorities.
pub(super) fn packages(config: &Config) -> Result<Setup, RegistryError> {
    let registry = config.registry.as_ref().map(|registry| {
        let options = RegistryOptions {
            url: registry.url.clone(),
            proxy_url: registry.proxy_url.clone(),
            authorities: registry.authorities.clone(),
        };
        Registry::new(options, &config.version)
    });
    Ok(Setup { server_version: config.version.clone(), registry: registry.transpose()? })
}

pub(super) fn agents(config: &Config) -> Settings {
    let server = &config.server;
    let limits = &server.limits;
    Settings {
        version: config.version.clone(),
        long_poll: server.timeouts.checkin_long_poll,
        jitter: server.timeouts.checkin_jitter,
        max_poll: server.timeouts.checkin_max_poll,
        read: server.timeouts.read,
        // -1 is the usual level, -2 means Huffman codes alone.
        compression_level: match server.compression_level {
            -1 => 6,
            -2 => 1,
            level => u32::try_from(level).unwrap_or(1),
        },
        compression_threshold: usize::try_from(server.compression_threshold).unwrap_or(usize::MAX),
        ignore_checkin_policy_id: server.feature_flags.ignore_checkin_policy_id,
        graceful_force_unenroll: server.feature_flags.graceful_force_unenroll,
        enable_opamp: server.feature_flags.enable_opamp,
        signer_key: SignerKey {
            dir: server.pgp.dir.clone().unwrap_or_else(|| config.data_dir.join("elastic-agent-upgrade-keys")),
            upstream_url: server.pgp.upstream_url.clone(),
        },
        static_tokens: server
            .static_policy_tokens
            .iter()
            .map(|token| StaticToken {
                digest: KeyDigest::of(token.token_key.reveal()),
                policy_id: token.policy_id.clone(),
            })
            .collect(),
        limits: Limits {
            enroll: route(&limits.enroll),
            checkin: route(&limits.checkin),
            ack: route(&limits.ack),
            audit_unenroll: route(&limits.audit_unenroll),
            status: route(&limits.status),
            opamp: route(&limits.opamp),
            upload_start: route(&limits.upload_start),
            upload_chunk: route(&limits.upload_chunk),
            upload_end: route(&limits.upload_end),
            file_delivery: route(&limits.file_delivery),
            artifact: route(&limits.artifact),
            pgp_retrieval: route(&limits.pgp_retrieval),
        },
    }
}

/// How much files may take. etcd has a quota of 2 GiB for everything, where nobody has changed it.
pub(super) fn files(config: &Config) -> FileLimits {
    let limits = &config.server.limits;
    let by_store = match config.store {
        Store::Embedded { .. } => EMBEDDED_STORAGE,
        Store::Etcd(_) => ETCD_STORAGE,
    };
    let receiving = match limits.upload_chunk.max {
        0 => MOST_RECEIVING,
        most => most.min(MOST_RECEIVING),
    };
    FileLimits { storage: limits.max_file_storage_size.unwrap_or(by_store), receiving }
}

/// What of artifacts is kept in memory.
pub(super) fn artifact_cache(config: &Config) -> ArtifactCache {
    let cache = &config.cache;
    let size = usize::try_from(cache.max_cost).unwrap_or(usize::MAX);
    ArtifactCache { size, keep: cache.ttl_artifact }
}

fn route(limit: &Limit) -> RouteLimit {
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    RouteLimit {
        interval: limit.interval,
        burst: limit.burst,
        max: limit.max,
        max_body: bytes(limit.max_body_byte_size),
        // Only check-ins have a limit of their own; others may not grow beyond what a plain one may be.
        max_body_decoded: bytes(limit.max_body_decompressed.max(limit.max_body_byte_size)),
    }
}

pub(super) fn connections(config: &Config) -> http::Limits {
    let server = &config.server;
    let requests = server.limits.max_connections;
    http::Limits {
        // A tenth more than the requests at a time, as in the original.
        connections: requests + requests / 10,
        max_header_bytes: server.limits.max_header_byte_size,
        read_header: server.timeouts.read_header,
        read: server.timeouts.read,
        idle: server.timeouts.idle,
        ..http::Limits::default()
    }
}

/// How long people stay signed in, and how much of what they do is kept.
pub(super) fn people(config: &Config) -> PeopleOptions {
    let management = &config.management;
    PeopleOptions {
        sessions: SessionOptions {
            idle: management.sessions.idle_timeout,
            absolute: management.sessions.lifetime,
            ..SessionOptions::default()
        },
        audit: AuditBounds { most: management.audit.max_entries, oldest: management.audit.max_age },
        oidc: management.oidc.clone(),
    }
}
