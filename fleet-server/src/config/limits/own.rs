//! The limits that follow from the memory, when `max_agents` is not given.
//!
//! What protects this server is a bound on what it holds at once; a rate is limited only where one request is
//! costly, or where anybody may send it. A fleet that comes back after an outage is let in as fast as it is
//! served.

use super::{CacheSize, HEADERS, Limit, Limits, with_bodies};

/// What a held agent may take, in bytes: two connections of at most 16 KiB each, as the real agent has them.
const PER_AGENT: u64 = 2 * 16 * 1024;

/// The part of the memory that connections may take.
const SHARE_OF_CONNECTIONS: u64 = 2;

/// The fewest and the most agents that limits are made for.
const AGENTS: (u64, u64) = (500, 100_000);

/// The part of the memory that chunks of files may take, and the size of one, in bytes.
const SHARE_OF_CHUNKS: u64 = 8;
const CHUNK: u64 = 4 << 20;

/// How many agents the memory is enough for.
#[must_use]
pub fn agents(memory: u64) -> u64 {
    (memory / SHARE_OF_CONNECTIONS / PER_AGENT).clamp(AGENTS.0, AGENTS.1)
}

/// The limits for so much memory, in bytes.
#[must_use]
pub fn limits(memory: u64) -> Limits {
    let agents = usize::try_from(agents(memory)).unwrap_or(usize::MAX);
    let chunks = usize::try_from((memory / SHARE_OF_CHUNKS / CHUNK).clamp(4, 80)).unwrap_or(4);
    let unpaced = Limit::new(0, 0, 0);
    // Each request may hold a body of a megabyte or so while it is read.
    let short = Limit::new(0, 0, (agents / 8).clamp(256, 4096));
    let limits = Limits {
        max_agents: 0,
        agents: agents as u64,
        max_header_byte_size: HEADERS,
        // A held check-in and another request of each agent, and some more for people and probes.
        max_connections: 2 * agents + 1000,
        max_file_storage_size: None,
        action: unpaced,
        policy: Limit { burst: 1, ..unpaced },
        checkin: Limit { max: agents + agents / 4, ..unpaced },
        artifact: short,
        // As fast as they can be stored; who comes beyond that many at once is told to come again.
        enroll: short,
        // A roll-out is acknowledged by every agent in the same second.
        ack: Limit { max: agents + agents / 4, ..unpaced },
        // Anybody may ask, without a key.
        status: Limit::new(5000, 200, 400),
        opamp: Limit { max: agents + agents / 4, ..unpaced },
        upload_start: Limit::new(10_000, 100, chunks),
        upload_end: Limit::new(10_000, 100, chunks),
        upload_chunk: Limit::new(3000, 40, chunks),
        file_delivery: Limit::new(10_000, 100, chunks),
        pgp_retrieval: Limit::new(5000, 25, 50),
        audit_unenroll: short,
        cache: CacheSize {
            // Ten for each thing that may be in it, as such caches want it.
            num_counters: 10 * agents as u64,
            max_cost: (memory / 16).clamp(16 << 20, 512 << 20),
        },
    };
    with_bodies(limits)
}
