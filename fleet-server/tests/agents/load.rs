//! Servers that are killed, drained and cut off from their store while many agents speak to them.
//!
//! Whatever happens meanwhile: no agent enrols twice, no action is lost, none is handed again after its
//! acknowledgement was answered, every agent ends with the newest revision, and none is ever told that its key
//! is not good. When something is done to a server is decided by what the agents have done so far, and not by a
//! clock.

mod crowd;
mod life;
mod proxy;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::agent::Way;
use crate::etcd::Etcd;
use crate::manager::Manager;
use crate::server::Server;
use crate::stores::Store;
use crowd::{Crowd, Office};
use proxy::Proxy;

/// Servers stop this long after they were asked to.
const DRAIN: &str = "inputs.0.server.timeouts.drain=2s";
/// Longer than servers wait for their store.
const OUTAGE: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_servers_one_is_killed_and_one_drained() {
    let store = Store::Etcd(Etcd::start());
    let mut settings = store.settings();
    settings.push(DRAIN.to_owned());
    let mut killed = Server::start(&settings);
    let (mut drained, stays) = (killed.start_beside(), killed.start_beside());
    let manager = Manager::of(&stays);
    let (policy, key) = manager.make_policy("load").await;
    let proxy = Proxy::before(&[&killed, &drained, &stays]).await;
    let mut crowd = Crowd::new(Way::to(&killed).through(proxy.port()), &key);
    crowd.join(120);
    let office = Office::open(&manager, &policy, &crowd);
    crowd.go_on(200).await;
    crowd.join(40);
    killed.kill();
    crowd.go_on(200).await;
    let back = block_in_place(|| killed.restart());
    drained.terminate();
    crowd.go_on(200).await;
    assert!(block_in_place(|| drained.wait()), "the drained server ended badly: {:?}", drained.log());
    crowd.go_on(200).await;
    let (revision, asked) = office.close().await;
    crowd.settle(&manager, revision, &asked).await;
    crowd.settle(&Manager::of(&back), revision, &asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_outlives_every_kill() {
    let mut random = StdRng::seed_from_u64(11);
    let mut server = Server::start(&[]);
    let manager = Manager::of(&server);
    let (policy, key) = manager.make_policy("load").await;
    let mut crowd = Crowd::new(Way::to(&server), &key);
    let office = Office::open(&manager, &policy, &crowd);
    for _ in 0..6 {
        crowd.join(25);
        crowd.go_on(random.random_range(20..200)).await;
        sleep(Duration::from_micros(random.random_range(0..50_000))).await;
        server.kill();
        let (enrolled, saved) = (crowd.ids(), office.saved());
        server = block_in_place(|| server.restart());
        for id in enrolled {
            assert_eq!(manager.agent(&id).await["active"], true);
        }
        let shown = manager.get(&format!("/api/fleet/agent_policies/{policy}")).await;
        assert!(shown["item"]["revision"].as_u64().unwrap() >= saved, "{saved} was saved: {shown}");
    }
    let (revision, asked) = office.close().await;
    crowd.settle(&manager, revision, &asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_costs_no_agent() {
    let store = Store::Etcd(Etcd::start());
    let first = store.start_server();
    let second = first.start_beside();
    let manager = Manager::of(&first);
    let (policy, key) = manager.make_policy("load").await;
    let proxy = Proxy::before(&[&first, &second]).await;
    let mut crowd = Crowd::new(Way::to(&first).through(proxy.port()), &key);
    crowd.join(100);
    let office = Office::open(&manager, &policy, &crowd);
    crowd.go_on(100).await;
    let Store::Etcd(etcd) = &store else { unreachable!() };
    let refused = crowd.answered(503);
    crowd.join(20);
    etcd.pause(true);
    sleep(OUTAGE).await;
    etcd.pause(false);
    assert!(crowd.answered(503) > refused, "nothing was refused: the store was not missed");
    crowd.go_on(200).await;
    let (revision, asked) = office.close().await;
    crowd.settle(&manager, revision, &asked).await;
    crowd.settle(&Manager::of(&second), revision, &asked).await;
}
