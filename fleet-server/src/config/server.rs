//! `inputs.0.server`: the API of the agents.

use std::path::PathBuf;
use std::time::Duration;

use fleet_service::config::document::{Scalar, Section, read};
use fleet_service::config::value::{Expected, Secret};

use super::instrumentation::{self, Instrumentation};
use super::limits::Limits;
use super::tls::{ListenerTls, read_listener};

/// The API of the agents.
#[derive(Clone, Debug)]
pub struct Server {
    /// The address to bind, without brackets.
    pub host: String,
    /// The port; 0: any free one.
    pub port: u16,
    /// The port on `localhost`, for the agent that supervises the server. Never 0.
    pub internal_port: u16,
    /// The certificate, of both.
    pub tls: ListenerTls,
    /// How long what may take.
    pub timeouts: Timeouts,
    /// How much at once, how often, how large.
    pub limits: Limits,
    /// The server of profiles, which ours does not have: `None` unless it was asked for.
    pub profiler: Option<String>,
    /// The gzip level of answers to check-ins, from -2 (Huffman codes alone) over 0 (off) to 9 (smallest).
    pub compression_level: i32,
    /// The size in bytes above which an answer is compressed.
    pub compression_threshold: u64,
    /// Settings of Go's memory management, without effect here.
    pub runtime: Runtime,
    /// How writes to Elasticsearch would be gathered.
    pub bulk: Bulk,
    /// The clean-up of what has expired.
    pub gc: Gc,
    /// Enrolment tokens that are not in the store: the key half of `id:key`, and the policy. Empty: none.
    pub static_policy_tokens: Vec<StaticToken>,
    /// The keys that upgrades are signed with.
    pub pgp: Pgp,
    /// The slow hash of an agent's replace token.
    pub pbkdf2: Pbkdf2,
    /// What can be switched.
    pub feature_flags: FeatureFlags,
    /// Traces of the server itself.
    pub instrumentation: Instrumentation,
}

/// How long what may take. 0 means no limit, where nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A whole request, with the TLS handshake before it.
    pub read: Duration,
    /// The headers of a request, with the TLS handshake before them.
    pub read_header: Duration,
    /// An answer.
    pub write: Duration,
    /// A connection without a request.
    pub idle: Duration,
    /// How often a waiting check-in refreshes when the agent was last seen.
    pub checkin_timestamp: Duration,
    /// How long a check-in waits if the agent does not say.
    pub checkin_long_poll: Duration,
    /// The random part that is taken off that; 0: none.
    pub checkin_jitter: Duration,
    /// The longest that a check-in waits, whatever the agent says.
    pub checkin_max_poll: Duration,
    /// How long requests are still served once the server was told to stop.
    pub drain: Duration,
}

/// Settings of Go's memory management.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// `runtime.gc_percent`
    pub gc_percent: i32,
    /// `runtime.memory_limit`, in bytes.
    pub memory_limit: u64,
}

/// How writes to Elasticsearch would be gathered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bulk {
    /// After this time.
    pub flush_interval: Duration,
    /// After so many operations.
    pub flush_threshold_cnt: u32,
    /// After so many bytes.
    pub flush_threshold_size: u64,
    /// So many requests at once.
    pub flush_max_pending: u32,
    /// So many operations may wait; 0: any number.
    pub max_pending_bulk_dispatches: u64,
    /// The same as `flush_interval` for enrolments' searches.
    pub enroll_flush_interval: Duration,
    /// The same as `flush_threshold_cnt` for enrolments' searches.
    pub enroll_flush_threshold_cnt: u32,
}

/// The clean-up of what has expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gc {
    /// How often. Never 0.
    pub schedule_interval: Duration,
    /// How long an expired action is kept.
    pub cleanup_after_expired: Duration,
}

/// An enrolment token that is not in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticToken {
    /// The key half of `id:key`.
    pub token_key: Secret,
    /// The policy that an agent with it gets.
    pub policy_id: String,
}

/// The keys that upgrades are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pgp {
    /// Where the key is fetched from if it is not in `dir`.
    pub upstream_url: String,
    /// The directory with `default.pgp`. `None`: `elastic-agent-upgrade-keys` in the data directory.
    pub dir: Option<PathBuf>,
}

/// The slow hash of an agent's replace token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pbkdf2 {
    /// Rounds.
    pub iterations: u32,
    /// Bytes of the result.
    pub key_length: u32,
    /// Bytes of the salt.
    pub salt_length: u32,
}

/// What can be switched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureFlags {
    /// Ignore the policy's id and revision in a check-in: each change of policy must be acknowledged.
    pub ignore_checkin_policy_id: bool,
    /// Serve `/v1/opamp`.
    pub enable_opamp: bool,
    /// Whether agents whose key is not valid are sent away in good order, and the bytes that are kept for
    /// that at most. `None`: they get a 401.
    pub graceful_force_unenroll: Option<u64>,
}

const LARGEST: u64 = i64::MAX as u64;

pub(super) fn read(section: &Section<'_>, limits: Limits) -> Server {
    let internal_port = match super::port(section, "internal_port", 8221) {
        0 => 8221,
        port => port,
    };
    let profiler = section.get("profiler.enabled", false, read::boolean);
    let bind = section.get("profiler.bind", "localhost:6060".to_owned(), read::text);
    if profiler {
        let text = format!("{} has no effect: there is no profiler", section.full_key("profiler.enabled"));
        section.warning("profiler.enabled", text);
    }
    Server {
        host: section.get("host", "0.0.0.0".to_owned(), super::host),
        port: super::port(section, "port", 8220),
        internal_port,
        tls: read_listener(&section.section("ssl")),
        timeouts: timeouts(&section.section("timeouts")),
        limits,
        profiler: profiler.then_some(bind),
        compression_level: section.get("compression_level", 1, read::integer(-2..=9)),
        compression_threshold: section.get("compression_threshold", 1024, read::integer(0..=LARGEST)),
        runtime: runtime(&section.section("runtime")),
        bulk: bulk(&section.section("bulk")),
        gc: gc(&section.section("gc")),
        static_policy_tokens: static_tokens(&section.section("static_policy_tokens")),
        pgp: pgp(&section.section("pgp")),
        pbkdf2: pbkdf2(&section.section("pdkdf2")),
        feature_flags: feature_flags(&section.section("feature_flags")),
        instrumentation: instrumentation::read(&section.section("instrumentation")),
    }
}

fn timeouts(section: &Section<'_>) -> Timeouts {
    let seconds = |key, default| super::duration(section, key, Duration::from_secs(default));
    Timeouts {
        read: seconds("read", 60),
        read_header: seconds("read_header", 5),
        write: seconds("write", 600),
        idle: seconds("idle", 35),
        checkin_timestamp: seconds("checkin_timestamp", 30),
        checkin_long_poll: seconds("checkin_long_poll", 300),
        checkin_jitter: seconds("checkin_jitter", 30),
        checkin_max_poll: seconds("checkin_max_poll", 3600),
        drain: seconds("drain", 10),
    }
}

fn runtime(section: &Section<'_>) -> Runtime {
    let runtime = Runtime {
        gc_percent: section.get("gc_percent", 0, read::integer(i32::MIN..=i32::MAX)),
        memory_limit: section.get("memory_limit", 0, read::integer(0..=LARGEST)),
    };
    for key in ["gc_percent", "memory_limit"] {
        if section.has(key) {
            let text = format!("{} has no effect: it is a setting of Go's runtime", section.full_key(key));
            section.warning(key, text);
        }
    }
    runtime
}

fn bulk(section: &Section<'_>) -> Bulk {
    Bulk {
        flush_interval: super::duration(section, "flush_interval", Duration::from_millis(250)),
        flush_threshold_cnt: section.get("flush_threshold_cnt", 2048, read::integer(0..=u32::MAX)),
        flush_threshold_size: section.get("flush_threshold_size", 1 << 20, read::integer(0..=LARGEST)),
        flush_max_pending: section.get("flush_max_pending", 8, read::integer(0..=u32::MAX)),
        max_pending_bulk_dispatches: section.get(
            "max_pending_bulk_dispatches",
            0,
            read::integer(0..=LARGEST),
        ),
        enroll_flush_interval: super::duration(section, "enroll.flush_interval", Duration::from_secs(1)),
        enroll_flush_threshold_cnt: section.get(
            "enroll.flush_threshold_cnt",
            50,
            read::integer(0..=u32::MAX),
        ),
    }
}

fn gc(section: &Section<'_>) -> Gc {
    let days = |count: u64| Duration::from_secs(count * 24 * 60 * 60);
    Gc {
        schedule_interval: super::duration_or(section, "schedule_interval", Duration::from_secs(3600)),
        cleanup_after_expired: section.get("cleanup_after_expired_interval", days(30), calendar_interval),
    }
}

/// A whole number and one of `y M w d h H m s`, as Elasticsearch's date arithmetic has them; a year is 365
/// days and a month 30. The original takes anything else for 30 days without a word; here it is a mistake.
fn calendar_interval(scalar: &Scalar) -> Result<Duration, Expected> {
    let expected = || Expected::new("a whole number and a unit of y M w d h m s, such as 30d");
    let text = scalar.text().trim();
    let unit = text.chars().last().ok_or_else(expected)?;
    let seconds = match unit {
        'y' => 365 * 24 * 3600,
        'M' => 30 * 24 * 3600,
        'w' => 7 * 24 * 3600,
        'd' => 24 * 3600,
        'h' | 'H' => 3600,
        'm' => 60,
        's' => 1,
        _ => return Err(expected()),
    };
    let digits = &text[..text.len() - unit.len_utf8()];
    let count: u64 = digits.parse().map_err(|_| expected())?;
    let duration = count.checked_mul(seconds).map(Duration::from_secs);
    duration.filter(|duration| *duration <= read::LONGEST).ok_or_else(expected)
}

fn static_tokens(section: &Section<'_>) -> Vec<StaticToken> {
    let enabled = section.get("enabled", false, read::boolean);
    let mut tokens = Vec::new();
    for item in section.sections("policy_tokens") {
        let token_key = item.secret("token_key");
        let policy_id = item.optional("policy_id", read::text);
        match (token_key, policy_id) {
            (Some(token_key), Some(policy_id)) => tokens.push(StaticToken { token_key, policy_id }),
            (None, _) => item.mistake("token_key", format!("{} is missing", item.full_key("token_key"))),
            (_, None) => item.mistake("policy_id", format!("{} is missing", item.full_key("policy_id"))),
        }
    }
    if enabled { tokens } else { Vec::new() }
}

fn pgp(section: &Section<'_>) -> Pgp {
    let default = "https://artifacts.elastic.co/GPG-KEY-elastic-agent".to_owned();
    Pgp {
        upstream_url: section.get("upstream_url", default, instrumentation::url),
        dir: section.optional("dir", read::path),
    }
}

fn pbkdf2(section: &Section<'_>) -> Pbkdf2 {
    // The bounds from above are ours: nobody should be able to stop the server by one enrolment.
    Pbkdf2 {
        iterations: section.get("iterations", 210_000, read::integer(1000..=10_000_000)),
        key_length: section.get("key_length", 32, read::integer(14..=1024)),
        salt_length: section.get("salt_length", 64, read::integer(16..=1024)),
    }
}

fn feature_flags(section: &Section<'_>) -> FeatureFlags {
    const DEFAULT_BYTES: u64 = 50_000_000;
    let graceful = section.get("graceful_force_unenroll.enabled", false, read::boolean);
    let key = "graceful_force_unenroll.max_bytes";
    let bytes = match section.get(key, DEFAULT_BYTES, read::integer(0..=LARGEST)) {
        0 => DEFAULT_BYTES,
        bytes => bytes,
    };
    FeatureFlags {
        ignore_checkin_policy_id: section.get("ignore_checkin_policy_id", false, read::boolean),
        enable_opamp: section.get("enable_opamp", true, read::boolean),
        graceful_force_unenroll: graceful.then_some(bytes),
    }
}
