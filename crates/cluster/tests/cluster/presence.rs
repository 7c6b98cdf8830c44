//! Being a member: registration, takeover, refusal, loss.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleet_cluster::documents::{MACHINES, MachineDocument};
use fleet_cluster::environment::Environment;
use fleet_cluster::heart::heart;
use fleet_cluster::presence::{Identity, MachineInfo, Membership, Presence, leave};
use fleet_simulation::{Condition, Faults};
use fleet_store::{Expect, LeaseId, Typed, Write};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::kit::{Kit, machine, until};

const TTL: Duration = Duration::from_millis(9500);
const SOON: Duration = Duration::from_secs(2);

/// A running presence.
struct Present {
    info: watch::Sender<MachineInfo>,
    membership: watch::Receiver<Membership>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    beating: JoinHandle<()>,
}

fn info(address: &str) -> MachineInfo {
    MachineInfo { public_ip: address.to_owned(), metadata: BTreeMap::new() }
}

fn begin(kit: &Kit, token: &str) -> Present {
    let (heart, beating) = heart();
    let beating = tokio::spawn(beating.run(Arc::clone(&kit.store)));
    let identity =
        Identity { machine: machine(1), token: token.to_owned(), version: "2.0.0".to_owned(), ttl: TTL };
    let environment = Arc::new(Environment::seeded(7));
    let presence = Presence::new(Arc::clone(&kit.store), identity, heart, environment);
    let (info, info_receiver) = watch::channel(info("192.0.2.1"));
    let (sender, membership) = watch::channel(Membership::Joining);
    let stop = CancellationToken::new();
    let task = tokio::spawn(presence.run(info_receiver, sender, stop.clone()));
    Present { info, membership, stop, task, beating }
}

impl Present {
    async fn member(&self) -> (LeaseId, Option<LeaseId>) {
        until("a member", SOON, || matches!(*self.membership.borrow(), Membership::Member { .. })).await;
        match *self.membership.borrow() {
            Membership::Member { lease, former } => (lease, former),
            ref other => panic!("{other:?}"),
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

async fn document(kit: &Kit) -> Option<MachineDocument> {
    let machines = Typed::new(Arc::clone(&kit.admin), &MACHINES);
    machines.get(&machine(1).0).await.unwrap().map(|found| found.value)
}

#[tokio::test(start_paused = true)]
async fn a_machine_registers_and_stays_registered() {
    let kit = Kit::new();
    let present = begin(&kit, "mine");
    let (lease, former) = present.member().await;
    assert_eq!(former, None);
    sleep(TTL * 20).await;
    let document = document(&kit).await.unwrap();
    assert_eq!((document.lease, document.token.as_str()), (lease, "mine"));
    // What others wait is what the store has granted: it counts whole seconds.
    assert_eq!(document.ttl_ms, 10_000);
    present.end().await;
    assert!(self::document(&kit).await.is_some(), "whoever stops may be back");
    leave(&*kit.store, lease).await.unwrap();
    assert!(self::document(&kit).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_restarted_daemon_takes_over_and_another_machine_is_refused() {
    let kit = Kit::new();
    let first = begin(&kit, "mine");
    let (old, _) = first.member().await;
    first.end().await;
    let second = begin(&kit, "mine");
    let (lease, former) = second.member().await;
    assert_eq!(former, Some(old));
    assert_ne!(lease, old);
    let stranger = begin(&kit, "other");
    sleep(TTL * 5).await;
    assert_eq!(*stranger.membership.borrow(), Membership::Refused);
    assert_eq!(document(&kit).await.unwrap().token, "mine");
    assert!(matches!(*second.membership.borrow(), Membership::Member { .. }));
    second.end().await;
    sleep(TTL + SOON).await;
    assert!(matches!(*stranger.membership.borrow(), Membership::Member { .. }));
}

/// A restarted fleetd takes over what is known of its registration; one that was given up begins anew.
#[tokio::test(start_paused = true)]
async fn who_was_registered_for_long_enough_says_so() {
    let kit = Kit::new();
    let settled = async || document(&kit).await.unwrap().settled;
    let first = begin(&kit, "mine");
    first.member().await;
    sleep(TTL).await;
    assert!(!settled().await);
    first.end().await;
    let second = begin(&kit, "mine");
    second.member().await;
    sleep(TTL).await;
    assert!(!settled().await, "nobody knows for how long it was registered before");
    sleep(Duration::from_secs(1)).await;
    assert!(settled().await);
    second.info.send_replace(info("192.0.2.2"));
    sleep(Duration::from_millis(10)).await;
    assert!(settled().await);
    second.end().await;
    let third = begin(&kit, "mine");
    third.member().await;
    assert!(settled().await);
    kit.link.set(Condition::Silent);
    sleep(TTL + SOON).await;
    kit.link.set(Condition::Up);
    sleep(SOON * 2).await;
    third.member().await;
    assert!(!settled().await);
}

#[tokio::test(start_paused = true)]
async fn a_document_that_nobody_can_answer_for_is_replaced() {
    let stranger = "{\"token\":\"other\",\"lease\":4711,\"version\":\"2.0.0\",\"ttl_ms\":10000}";
    for body in ["{\"token\":7}", "no JSON", "{\"token\":\"other\",\"lease\":4711}", stranger] {
        let kit = Kit::new();
        kit.memory.overwrite(&MACHINES, &machine(1).0, body);
        let present = begin(&kit, "mine");
        let (lease, former) = present.member().await;
        assert_eq!(former, None, "{body}");
        assert_eq!(document(&kit).await.unwrap().lease, lease, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_document_that_says_too_little_still_says_whose_it_is() {
    for (token, is_ours) in [("mine", true), ("other", false)] {
        let kit = Kit::new();
        let held = kit.admin.grant(TTL * 2).await.unwrap();
        let body = format!("{{\"token\":\"{token}\",\"lease\":{}}}", held.id.0);
        let write = Write::put_on_lease(machine(1).0, Expect::Any, body, held.id);
        kit.admin.write(&MACHINES, write, None).await.unwrap();
        let present = begin(&kit, "mine");
        sleep(SOON).await;
        if is_ours {
            assert_eq!(present.member().await.1, Some(held.id));
        } else {
            assert_eq!(*present.membership.borrow(), Membership::Refused);
            // Asking does not keep it alive.
            sleep(TTL * 2).await;
            present.member().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_was_given_up_registers_again() {
    let kit = Kit::new();
    let present = begin(&kit, "mine");
    let (lease, _) = present.member().await;
    kit.link.set(Condition::Silent);
    sleep(TTL + Duration::from_secs(1)).await;
    assert_eq!(*present.membership.borrow(), Membership::Late);
    assert!(document(&kit).await.is_none());
    kit.link.set(Condition::Up);
    until(
        "a new lease",
        Duration::from_secs(3),
        || matches!(*present.membership.borrow(), Membership::Member { lease: new, .. } if new != lease),
    )
    .await;
    assert!(document(&kit).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_machine_whose_lease_stood_the_outage_is_a_member_again() {
    let kit = Kit::new();
    let present = begin(&kit, "mine");
    let before = present.member().await;
    kit.memory.freeze();
    kit.link.set(Condition::Refusing);
    sleep(TTL * 3).await;
    assert_eq!(*present.membership.borrow(), Membership::Late);
    kit.memory.thaw();
    kit.link.set(Condition::Up);
    assert_eq!(present.member().await, before);
}

#[tokio::test(start_paused = true)]
async fn what_it_says_of_itself_is_kept_up_to_date() {
    let kit = Kit::new();
    let present = begin(&kit, "mine");
    let (lease, _) = present.member().await;
    present.info.send_replace(info("192.0.2.2"));
    sleep(Duration::from_millis(10)).await;
    let now = document(&kit).await.unwrap();
    assert_eq!((now.public_ip.as_str(), now.lease, now.ttl_ms), ("192.0.2.2", lease, 10_000));
    // While the store is away it is tried again, and the lease is watched all the same.
    kit.link.set(Condition::Silent);
    present.info.send_replace(info("192.0.2.3"));
    sleep(TTL + Duration::from_secs(1)).await;
    assert_eq!(*present.membership.borrow(), Membership::Late);
    kit.link.set(Condition::Up);
    sleep(Duration::from_secs(4)).await;
    assert_eq!(document(&kit).await.unwrap().public_ip, "192.0.2.3");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_leaves_one_registration() {
    let kit = Kit::new();
    kit.link.set_faults(Faults { lost_answers: 0.5, delayed_writes: 1.0, ..Faults::default() });
    let present = begin(&kit, "mine");
    until("a member", Duration::from_secs(120), || {
        matches!(*present.membership.borrow(), Membership::Member { .. })
    })
    .await;
    kit.link.set_faults(Faults::default());
    sleep(TTL * 3).await;
    let (lease, _) = present.member().await;
    assert_eq!(document(&kit).await.unwrap().lease, lease);
    assert_eq!(kit.memory.leases(), [lease], "leases of attempts without an answer have run out");
}

#[tokio::test(start_paused = true)]
async fn without_a_heart_the_store_is_not_kept_busy() {
    let kit = Kit::new();
    let latency = Duration::from_millis(1);
    kit.link.set_faults(Faults { latency: latency..=latency, ..Faults::default() });
    let present = begin(&kit, "mine");
    present.beating.abort();
    let before = kit.link.requests();
    sleep(Duration::from_secs(60)).await;
    let requests = kit.link.requests() - before;
    assert!(requests < 1000, "{requests} requests in a minute");
}

#[tokio::test(start_paused = true)]
async fn it_ends_at_once_whatever_it_is_doing() {
    for condition in [Condition::Up, Condition::Refusing, Condition::Silent] {
        let kit = Kit::new();
        kit.link.set(condition);
        let present = begin(&kit, "mine");
        sleep(Duration::from_millis(300)).await;
        present.info.send_replace(info("192.0.2.9"));
        sleep(Duration::from_millis(300)).await;
        tokio::time::timeout(Duration::from_millis(10), present.end()).await.unwrap();
    }
}
