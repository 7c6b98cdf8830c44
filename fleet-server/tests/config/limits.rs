//! Limits by the number of agents, by the memory, and by their own keys.

use std::time::Duration;

use fleet_server::config::limits::{Limit, own, tiers};
use fleet_server::config::{Input, load};

use crate::yaml;

fn cell(limit: Limit) -> (u64, u32, usize) {
    (u64::try_from(limit.interval.as_micros()).unwrap(), limit.burst, limit.max)
}

#[test]
fn the_number_of_agents_picks_the_row() {
    // The largest number of a row, the first of the next one, and what tells them apart.
    let cases = [
        (1, 1500),
        (500, 1500),
        (501, 3000),
        (1000, 3000),
        (1001, 7000),
        (2500, 7000),
        (2501, 12_000),
        (5000, 12_000),
        (5001, 22_000),
        (10_000, 22_000),
        (10_001, 42_000),
        (20_000, 42_000),
        (20_001, 0),
        (40_000, 0),
        (40_001, 0),
        (1_000_000, 0),
    ];
    for (agents, connections) in cases {
        let config = yaml(&format!("inputs.0.server.limits.max_agents: {agents}")).config();
        assert_eq!(config.server.limits.max_connections, connections, "{agents}");
        assert_eq!(config.server.limits, tiers::limits(agents));
    }
    assert_eq!(cell(tiers::limits(40_000).checkin), (500, 4000, 40_000));
    assert_eq!(cell(tiers::limits(40_001).checkin), (250, 8000, 80_000));
    assert_eq!(cell(tiers::limits(-1).checkin), (1000, 1000, 0));
    assert_eq!(cell(tiers::limits(-1).action), (0, 5, 0));
}

#[test]
fn the_rows_hold_the_numbers_of_the_original() {
    let small = tiers::limits(500);
    assert_eq!(cell(small.action), (5000, 1, 0));
    assert_eq!(cell(small.artifact), (5000, 100, 200));
    assert_eq!(cell(small.pgp_retrieval), (5000, 100, 200));
    assert_eq!(cell(small.ack), (4000, 100, 200));
    assert_eq!(cell(small.audit_unenroll), (4000, 100, 200));
    assert_eq!(cell(small.enroll), (10_000, 10, 20));
    assert_eq!(cell(small.status), (5000, 10, 20));
    assert_eq!(cell(small.upload_start), (2_000_000, 5, 5));
    assert_eq!(cell(small.upload_end), (2_000_000, 5, 5));
    assert_eq!(cell(small.upload_chunk), (3000, 5, 5));
    assert_eq!(cell(small.file_delivery), (100_000, 5, 5));
    assert_eq!(cell(small.opamp), (1000, 1000, 0));
    let large = tiers::limits(100_000);
    assert_eq!(cell(large.policy), (250, 1, 0));
    assert_eq!(cell(large.ack), (250, 8000, 16_000));
    assert_eq!((large.cache.num_counters, large.cache.max_cost), (6_400_000, 512 << 20));
}

#[test]
fn bodies_are_the_same_in_every_row() {
    for limits in [tiers::limits(1), tiers::limits(-1), tiers::limits(50_000), own::limits(1 << 30)] {
        let checkin = limits.checkin;
        assert_eq!((checkin.max_body_byte_size, checkin.max_body_decompressed), (1_048_576, 20_971_520));
        let sizes = [
            limits.enroll,
            limits.ack,
            limits.upload_start,
            limits.upload_end,
            limits.audit_unenroll,
            limits.opamp,
            limits.upload_chunk,
            limits.artifact,
        ];
        let sizes = sizes.map(|limit| limit.max_body_byte_size);
        assert_eq!(sizes, [524_288, 2_097_152, 5_242_880, 1024, 1024, 3_145_728, 4_194_304, 0]);
        assert_eq!(limits.max_header_byte_size, 8192);
    }
}

#[test]
fn a_key_overrides_one_number_and_zero_none() {
    let text = "inputs.0.server.limits:\n  max_agents: 500\n  max_connections: 0\n  checkin_limit: {interval: 0, burst: 7, max: 0}\n  \
                policy_limit.burst: 0\n  upload_chunk_limit.max_body_byte_size: 5";
    let limits = yaml(text).config().server.limits;
    assert_eq!(limits.max_connections, 1500);
    assert_eq!(cell(limits.checkin), (5000, 7, 500));
    assert_eq!(limits.policy.burst, 1);
    assert_eq!(limits.upload_chunk.max_body_byte_size, 4 << 20);
    // Where the row has no limit, neither has 0.
    let text = "inputs.0.server.limits: {max_agents: 50000, max_connections: 0}";
    assert_eq!(yaml(text).config().server.limits.max_connections, 0);
}

#[test]
fn without_a_number_the_memory_counts() {
    let load_with = |memory| load(&Input { memory, ..Input::default() }).unwrap().0;
    let cases: [(u64, u64); 4] = [(0, 500), (512 << 20, 8192), (2 << 30, 32_768), (1 << 40, 100_000)];
    for (memory, agents) in cases {
        let limits = load_with(memory).server.limits;
        assert_eq!((limits.agents, limits.max_agents), (agents, 0));
        assert_eq!(limits, own::limits(memory));
        assert!(limits.max_connections as u64 > 2 * agents);
        // Everybody can check in, and acknowledge, at the same moment.
        assert!(limits.checkin.max as u64 > agents && limits.ack.max as u64 > agents);
        // What agents may do together after an outage is not paced.
        for limit in [limits.checkin, limits.ack, limits.enroll] {
            assert_eq!(limit.interval, Duration::ZERO);
        }
        assert_eq!(load_with(memory).cache.max_cost, limits.cache.max_cost);
    }
}
