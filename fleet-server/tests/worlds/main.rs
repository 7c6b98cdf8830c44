//! Whole worlds of servers and agents over a faulty store, in one thread, in paused time.
//!
//! A world lives through a few epochs. In each, random things happen: policies are saved, actions asked for,
//! servers killed and started, the store and the ways to it fail, answers get lost. Then every fault ends, and
//! within a bound every agent must run the newest revision and every action must be done; and never may an
//! agent be told that its key is wrong, or be handed again what it acknowledged.
//!
//! `FLEET_SEEDS` is how many worlds there are, `FLEET_SEED` the number of a single one. The number of a world
//! that fails is printed, with what happened in it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a world that cannot go on has failed")]

mod agent;
mod bodies;
mod hostile;
mod lag;
mod numbers;
mod servers;
mod world;

use std::env;

use world::World;

/// How many worlds each run has, unless it is told.
const SEEDS: u64 = 240;
/// The worlds are divided among this many tests, which run beside each other.
const SHARES: u64 = 2;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

fn worlds(share: u64) {
    if let Some(seed) = number("FLEET_SEED") {
        if share == 0 {
            run(seed);
        }
        return;
    }
    let seeds = number("FLEET_SEEDS").unwrap_or(SEEDS);
    (0..seeds).filter(|seed| seed % SHARES == share).for_each(run);
}

fn run(seed: u64) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::begin(seed).await;
        for _ in 0..3 {
            world.epoch().await;
        }
        world.end().await;
    });
}

#[test]
fn first_share() {
    worlds(0);
}

#[test]
fn second_share() {
    worlds(1);
}
