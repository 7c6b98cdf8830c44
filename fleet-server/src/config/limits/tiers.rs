//! The limits of the original, by the number of agents.

use super::{CacheSize, HEADERS, Limit, Limits, with_bodies};

/// A limit as `(interval in microseconds, burst, max)`.
type Cell = (u64, u32, usize);

/// A row.
struct Tier {
    /// The largest number of agents that it is for.
    agents: i64,
    /// Counters, and mebibytes.
    cache: (u64, u64),
    connections: usize,
    action: (u64, u32),
    policy: (u64, u32),
    checkin: Cell,
    /// Also the keys that upgrades are signed with.
    artifact: Cell,
    /// Also the reports of agents that were uninstalled.
    ack: Cell,
    enroll: Cell,
    status: Cell,
    /// Also the ends of uploads.
    upload_start: Cell,
    upload_chunk: Cell,
    file_delivery: Cell,
}

const TIERS: [Tier; 7] = [
    Tier {
        agents: 500,
        cache: (5000, 50),
        connections: 1500,
        action: (5000, 1),
        policy: (5000, 1),
        checkin: (5000, 100, 500),
        artifact: (5000, 100, 200),
        ack: (4000, 100, 200),
        enroll: (10_000, 10, 20),
        status: (5000, 10, 20),
        upload_start: (2_000_000, 5, 5),
        upload_chunk: (3000, 5, 5),
        file_delivery: (100_000, 5, 5),
    },
    Tier {
        agents: 1000,
        cache: (10_000, 50),
        connections: 3000,
        action: (5000, 1),
        policy: (5000, 1),
        checkin: (5000, 200, 1000),
        artifact: (5000, 200, 400),
        ack: (4000, 200, 400),
        enroll: (10_000, 20, 40),
        status: (5000, 20, 40),
        upload_start: (2_000_000, 5, 10),
        upload_chunk: (3000, 5, 10),
        file_delivery: (100_000, 5, 10),
    },
    Tier {
        agents: 2500,
        cache: (20_000, 50),
        connections: 7000,
        action: (5000, 1),
        policy: (5000, 1),
        checkin: (5000, 500, 2500),
        artifact: (5000, 500, 1000),
        ack: (4000, 500, 1000),
        enroll: (10_000, 50, 100),
        status: (5000, 50, 100),
        upload_start: (2_000_000, 10, 20),
        upload_chunk: (3000, 10, 20),
        file_delivery: (100_000, 10, 20),
    },
    Tier {
        agents: 5000,
        cache: (40_000, 50),
        connections: 12_000,
        action: (5000, 5),
        policy: (5000, 1),
        checkin: (2000, 1000, 5000),
        artifact: (2000, 1000, 2000),
        ack: (2000, 1000, 2000),
        enroll: (10_000, 100, 200),
        status: (5000, 100, 200),
        upload_start: (2_000_000, 20, 40),
        upload_chunk: (3000, 20, 40),
        file_delivery: (100_000, 20, 40),
    },
    Tier {
        agents: 10_000,
        cache: (80_000, 50),
        connections: 22_000,
        action: (1000, 10),
        policy: (5000, 1),
        checkin: (1000, 2000, 10_000),
        artifact: (1000, 2000, 4000),
        ack: (1000, 2000, 4000),
        enroll: (10_000, 100, 200),
        status: (5000, 200, 400),
        upload_start: (2_000_000, 40, 80),
        upload_chunk: (3000, 40, 80),
        file_delivery: (100_000, 40, 80),
    },
    Tier {
        agents: 20_000,
        cache: (1_600_000, 128),
        connections: 42_000,
        action: (1000, 100),
        policy: (5000, 1),
        checkin: (500, 4000, 20_000),
        artifact: (500, 4000, 8000),
        ack: (500, 4000, 8000),
        enroll: (10_000, 100, 200),
        status: (5000, 200, 400),
        upload_start: (2_000_000, 40, 80),
        upload_chunk: (3000, 40, 80),
        file_delivery: (100_000, 40, 80),
    },
    Tier {
        agents: 40_000,
        cache: (1_600_000, 256),
        connections: 0,
        action: (500, 100),
        policy: (2000, 1),
        checkin: (500, 4000, 40_000),
        artifact: (500, 4000, 8000),
        ack: (500, 4000, 8000),
        enroll: (10_000, 100, 200),
        status: (5000, 200, 400),
        upload_start: (2_000_000, 40, 80),
        upload_chunk: (3000, 40, 80),
        file_delivery: (100_000, 40, 80),
    },
];

/// What is above all others.
const LARGEST: Tier = Tier {
    agents: i64::MAX,
    cache: (6_400_000, 512),
    connections: 0,
    action: (250, 100),
    policy: (250, 1),
    checkin: (250, 8000, 80_000),
    artifact: (250, 8000, 16_000),
    ack: (250, 8000, 16_000),
    enroll: (10_000, 200, 400),
    status: (5000, 200, 400),
    upload_start: (2_000_000, 40, 80),
    upload_chunk: (3000, 40, 80),
    file_delivery: (100_000, 40, 80),
};

/// For a negative number of agents.
const WITHOUT_TIER: Tier = Tier {
    agents: i64::MAX,
    cache: (500_000, 50),
    connections: 0,
    action: (0, 5),
    policy: (5000, 1),
    checkin: (1000, 1000, 0),
    artifact: (5000, 25, 50),
    ack: (10_000, 50, 100),
    enroll: (10_000, 50, 100),
    status: (5000, 25, 50),
    upload_start: (2_000_000, 5, 10),
    upload_chunk: (3000, 5, 10),
    file_delivery: (100_000, 5, 10),
};

/// The limits for so many agents; a negative number means the ones of no row.
#[must_use]
pub fn limits(max_agents: i64) -> Limits {
    if max_agents < 0 {
        return of(&WITHOUT_TIER, max_agents);
    }
    let tier = TIERS.iter().find(|tier| max_agents <= tier.agents).unwrap_or(&LARGEST);
    of(tier, max_agents)
}

fn of(tier: &Tier, max_agents: i64) -> Limits {
    let limit = |(interval, burst, max): Cell| Limit::new(interval, burst, max);
    let pace = |(interval, burst): (u64, u32)| Limit::new(interval, burst, 0);
    with_bodies(Limits {
        max_agents,
        agents: u64::try_from(max_agents).unwrap_or(u64::MAX),
        max_header_byte_size: HEADERS,
        max_connections: tier.connections,
        max_file_storage_size: None,
        action: pace(tier.action),
        policy: pace(tier.policy),
        checkin: limit(tier.checkin),
        artifact: limit(tier.artifact),
        enroll: limit(tier.enroll),
        ack: limit(tier.ack),
        status: limit(tier.status),
        opamp: limit((1000, 1000, 0)),
        upload_start: limit(tier.upload_start),
        upload_end: limit(tier.upload_start),
        upload_chunk: limit(tier.upload_chunk),
        file_delivery: limit(tier.file_delivery),
        pgp_retrieval: limit(tier.artifact),
        audit_unenroll: limit(tier.ack),
        cache: CacheSize { num_counters: tier.cache.0, max_cost: tier.cache.1 << 20 },
    })
}
