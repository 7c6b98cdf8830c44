//! Worlds in which everything happens that may happen.
//!
//! A world lives through a few epochs. In each, random things happen to units, machines, daemons, links, the
//! store and systemd; then every fault ends, and within a bound everything must be as people want it. What
//! nobody had a reason to touch must still be the same process as before.
//!
//! `FLEET_SEEDS` is how many worlds there are, `FLEET_SEED` the number of a single one. The number of a world
//! that fails is printed, with what happened in it.

mod events;

use std::env;

use events::Life;

/// How many worlds each run has, unless it is told.
const SEEDS: u64 = 300;
/// The worlds are divided among this many tests, which run beside each other.
const SHARES: u64 = 4;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

fn worlds(share: u64) {
    if let Some(seed) = number("FLEET_SEED") {
        if share == 0 {
            log();
            run(seed);
        }
        return;
    }
    let seeds = number("FLEET_SEEDS").unwrap_or(SEEDS);
    (0..seeds).filter(|seed| seed % SHARES == share).for_each(|seed| {
        run(seed);
    });
}

/// Shows what the daemons of a single world log.
fn log() {
    let writer = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_ansi(false);
    // Another test of this process may have done it already.
    let _ = writer.with_timer(events::Elapsed).with_writer(std::io::stderr).try_init();
}

/// Runs one world. Returns what happened in it.
fn run(seed: u64) -> Vec<String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut life = Life::begin(seed).await;
        for _ in 0..3 {
            life.epoch().await;
        }
        life.end().await
    })
}

#[test]
fn first_share() {
    worlds(0);
}

#[test]
fn second_share() {
    worlds(1);
}

#[test]
fn third_share() {
    worlds(2);
}

#[test]
fn fourth_share() {
    worlds(3);
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in [1, 7] {
        assert_eq!(run(seed), run(seed));
    }
}
