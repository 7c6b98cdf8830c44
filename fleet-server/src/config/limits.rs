//! `inputs.0.server.limits`: how much at once, how often, how large.
//!
//! `max_agents` picks a row of defaults ([`tiers`]); without it they follow from the memory ([`own`]). Every
//! other key overrides one number. As in the original, 0 means "not set" and takes the row's number, so that
//! 0 switches a limit off only where the row has none.

use std::time::Duration;

use fleet_service::config::document::{Section, read};

pub mod memory;
pub mod own;
pub mod tiers;

/// All limits, with defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `max_agents` as given; 0: it was not.
    pub max_agents: i64,
    /// How many agents the limits are made for; `u64::MAX`: any number.
    pub agents: u64,
    /// The size of a request's headers, in bytes.
    pub max_header_byte_size: usize,
    /// Requests in flight on a listener, above which the answer is 429. Connections above 1.1 times as many
    /// are dropped before TLS. 0: no limit.
    pub max_connections: usize,
    /// Bytes of all files together; 0: there are no files. `None`: what suits the store.
    pub max_file_storage_size: Option<u64>,
    /// The pace at which actions are handed out. Only `interval` and `burst` count.
    pub action: Limit,
    /// The pace at which policies are handed out. Only `interval` and `burst` count; `burst` is at least 1.
    pub policy: Limit,
    /// Check-ins.
    pub checkin: Limit,
    /// Artifacts.
    pub artifact: Limit,
    /// Enrolments.
    pub enroll: Limit,
    /// Acknowledgements.
    pub ack: Limit,
    /// The server's status.
    pub status: Limit,
    /// OpAMP messages.
    pub opamp: Limit,
    /// Beginnings of uploads.
    pub upload_start: Limit,
    /// Ends of uploads.
    pub upload_end: Limit,
    /// Chunks of uploads.
    pub upload_chunk: Limit,
    /// Files sent to agents.
    pub file_delivery: Limit,
    /// Keys that upgrades are signed with.
    pub pgp_retrieval: Limit,
    /// Reports of agents that were uninstalled.
    pub audit_unenroll: Limit,
    /// The size of the cache, unless its own keys say otherwise.
    pub cache: CacheSize,
}

/// One limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// One request in this time, in the long run; zero: any number.
    pub interval: Duration,
    /// So many may come together.
    pub burst: u32,
    /// So many at once; 0: any number.
    pub max: usize,
    /// The largest body in bytes; 0: none.
    pub max_body_byte_size: u64,
    /// The largest body in bytes once it is unpacked; 0: none.
    pub max_body_decompressed: u64,
}

impl Limit {
    const fn new(interval_micros: u64, burst: u32, max: usize) -> Limit {
        let interval = Duration::from_micros(interval_micros);
        Limit { interval, burst, max, max_body_byte_size: 0, max_body_decompressed: 0 }
    }

    const fn body(self, max_body_byte_size: u64) -> Limit {
        Limit { max_body_byte_size, ..self }
    }
}

/// The size of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSize {
    /// How many keys are counted to decide what stays.
    pub num_counters: u64,
    /// The largest sum of sizes, in bytes.
    pub max_cost: u64,
}

/// The most that files may take: 1 PiB.
const LARGEST_STORAGE: u64 = 1 << 50;

/// The size of a request's headers in every row.
const HEADERS: usize = 8192;

/// The bodies, which are the same in every row.
const CHECKIN_BODY: u64 = 1 << 20;
const CHECKIN_BODY_DECOMPRESSED: u64 = 20 << 20;
const ENROLL_BODY: u64 = 512 << 10;
const ACK_BODY: u64 = 2 << 20;
const UPLOAD_START_BODY: u64 = 5 << 20;
const UPLOAD_END_BODY: u64 = 1 << 10;
const AUDIT_UNENROLL_BODY: u64 = 1 << 10;
const OPAMP_BODY: u64 = 3 << 20;
/// The size of a chunk is part of the protocol: no key changes it.
const UPLOAD_CHUNK_BODY: u64 = 4 << 20;

pub(super) fn read(section: &Section<'_>, memory: u64) -> Limits {
    let max_agents = section.get("max_agents", 0, read::integer(-1_000_000_000..=1_000_000_000_i64));
    let row = if max_agents == 0 { own::limits(memory) } else { tiers::limits(max_agents) };
    if section.has("max_connections") {
        let text = format!(
            "{} is deprecated: {} sets all limits together",
            section.full_key("max_connections"),
            section.full_key("max_agents")
        );
        section.warning("max_connections", text);
    }
    let limit = |key: &str, default: Limit| read_limit(&section.section(key), default);
    let mut policy = limit("policy_limit", row.policy);
    policy.burst = policy.burst.max(1);
    Limits {
        max_agents,
        agents: row.agents,
        max_header_byte_size: or(section, "max_header_byte_size", row.max_header_byte_size),
        max_connections: or(section, "max_connections", row.max_connections),
        max_file_storage_size: section.optional("max_file_storage_size", read::integer(0..=LARGEST_STORAGE)),
        action: limit("action_limit", row.action),
        policy,
        checkin: limit("checkin_limit", row.checkin),
        artifact: limit("artifact_limit", row.artifact),
        enroll: limit("enroll_limit", row.enroll),
        ack: limit("ack_limit", row.ack),
        status: limit("status_limit", row.status),
        opamp: limit("opamp_limit", row.opamp),
        upload_start: limit("upload_start_limit", row.upload_start),
        upload_end: limit("upload_end_limit", row.upload_end),
        upload_chunk: limit("upload_chunk_limit", row.upload_chunk).body(UPLOAD_CHUNK_BODY),
        file_delivery: limit("file_delivery_limit", row.file_delivery),
        pgp_retrieval: limit("pgp_retrieval_limit", row.pgp_retrieval),
        audit_unenroll: limit("audit_unenroll_limit", row.audit_unenroll),
        cache: row.cache,
    }
}

fn read_limit(section: &Section<'_>, row: Limit) -> Limit {
    Limit {
        interval: super::duration_or(section, "interval", row.interval),
        burst: or(section, "burst", row.burst),
        max: or(section, "max", row.max),
        max_body_byte_size: or(section, "max_body_byte_size", row.max_body_byte_size),
        max_body_decompressed: or(section, "max_body_decompressed", row.max_body_decompressed),
    }
}

/// A number; 0 is as good as none.
fn or<T>(section: &Section<'_>, key: &str, row: T) -> T
where
    T: TryFrom<i64> + PartialOrd + std::fmt::Display + From<u8> + Copy,
{
    // 2³¹: more than any of these can mean, and within every type that is used.
    const LARGEST: i64 = i32::MAX as i64;
    let largest =
        |scalar: &_| read::integer(0..=LARGEST)(scalar).map(|number| T::try_from(number).unwrap_or(row));
    match section.get(key, row, largest) {
        zero if zero == T::from(0) => row,
        number => number,
    }
}

/// Puts the bodies into a row, which every one has alike.
fn with_bodies(limits: Limits) -> Limits {
    Limits {
        checkin: Limit {
            max_body_decompressed: CHECKIN_BODY_DECOMPRESSED,
            ..limits.checkin.body(CHECKIN_BODY)
        },
        enroll: limits.enroll.body(ENROLL_BODY),
        ack: limits.ack.body(ACK_BODY),
        opamp: limits.opamp.body(OPAMP_BODY),
        upload_start: limits.upload_start.body(UPLOAD_START_BODY),
        upload_end: limits.upload_end.body(UPLOAD_END_BODY),
        upload_chunk: limits.upload_chunk.body(UPLOAD_CHUNK_BODY),
        audit_unenroll: limits.audit_unenroll.body(AUDIT_UNENROLL_BODY),
        ..limits
    }
}
