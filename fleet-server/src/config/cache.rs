//! `inputs.0.cache` and `inputs.0.monitor`.

use std::time::Duration;

use fleet_service::config::document::{Section, read};

use super::limits::CacheSize;

/// What is kept in memory, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// How many keys are counted to decide what stays.
    pub num_counters: u64,
    /// The largest sum of sizes, in bytes.
    pub max_cost: u64,
    /// How long an action stays.
    pub ttl_action: Duration,
    /// How long an enrolment key stays.
    pub ttl_enroll_key: Duration,
    /// How long an artifact stays.
    pub ttl_artifact: Duration,
    /// How long a key that was found right is not looked up again.
    pub ttl_api_key: Duration,
    /// The random part that is taken off that.
    pub jitter_api_key: Duration,
}

pub(super) fn read_cache(section: &Section<'_>, size: CacheSize) -> Cache {
    let positive = |key, default: u64| match section.get(key, 0, read::integer(0..=i64::MAX as u64)) {
        0 => default,
        number => number,
    };
    let minutes = |count: u64| Duration::from_secs(60 * count);
    Cache {
        num_counters: positive("num_counters", size.num_counters),
        max_cost: positive("max_cost", size.max_cost),
        ttl_action: super::duration_or(section, "ttl_action", minutes(5)),
        ttl_enroll_key: super::duration_or(section, "ttl_enroll_key", minutes(1)),
        ttl_artifact: super::duration_or(section, "ttl_artifact", minutes(24 * 60)),
        ttl_api_key: super::duration_or(section, "ttl_api_key", minutes(15)),
        jitter_api_key: super::duration_or(section, "jitter_api_key", minutes(5)),
    }
}

/// How an Elasticsearch index would be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// How many documents are fetched at once.
    pub fetch_size: u32,
    /// How long a poll waits.
    pub poll_timeout: Duration,
    /// How long a policy's change waits for the next one.
    pub policy_debounce_time: Duration,
}

pub(super) fn read_monitor(section: &Section<'_>) -> Monitor {
    let fetch_size = section.get("fetch_size", 1000, read::integer(i32::MIN..=i32::MAX));
    Monitor {
        fetch_size: u32::try_from(fetch_size).ok().filter(|size| *size > 0).unwrap_or(1000),
        poll_timeout: super::duration(section, "poll_timeout", Duration::from_secs(240)),
        policy_debounce_time: super::duration(section, "policy_debounce_time", Duration::from_secs(1)),
    }
}
