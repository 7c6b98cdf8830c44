//! Pages: that they are what a whole sorted list would show, and that a cursor meets everybody once.

use std::collections::BTreeSet;
use std::time::Duration;

use fleet_store::embedded::Embedded;
use fleet_store::{Revision, Store, Versioned};
use proptest::prelude::*;

use super::*;
use crate::documents::AgentState;
use crate::query::{AgentQuery, Query};

const NOW: i64 = 10_000;

struct Nobody;

impl Presence for Nobody {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix(NOW)
    }

    fn inactivity_timeout(&self, policy_id: &str) -> Duration {
        Duration::from_secs(if policy_id == "p1" { 5000 } else { 0 })
    }

    fn is_held(&self, agent_id: &str) -> bool {
        self.held().iter().any(|held| **held == *agent_id)
    }

    fn held(&self) -> Vec<Arc<str>> {
        vec!["agent-7".into(), "agent-9".into()]
    }
}

#[derive(Clone, Debug)]
struct Told {
    enrolled_at: i64,
    last_checkin: Option<i64>,
    policy: u8,
    host: u8,
    version: u8,
    is_active: bool,
}

prop_compose! {
    fn told()(
        enrolled_at in 0..6_i64,
        last_checkin in prop::option::of(0..NOW),
        policy in 0..3_u8,
        host in 0..4_u8,
        version in 0..12_u8,
        is_active in prop::bool::weighted(0.9),
    ) -> Told {
        Told { enrolled_at, last_checkin, policy, host, version, is_active }
    }
}

struct World {
    agents: Agents,
    revision: u64,
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Embedded::open(&directory.path().join("store")).unwrap());
        World { agents: Agents::new(&store, Box::new(|_| ())), revision: 0, _directory: directory }
    }

    fn put(&mut self, number: usize, told: &Told) {
        let mut agent = Agent {
            active: told.is_active,
            enrolled_at: Timestamp::from_unix(told.enrolled_at),
            policy_id: format!("p{}", told.policy).into(),
            ..Agent::default()
        };
        // Names that are alike for longer than the light keys are.
        agent.host.hostname = format!("a-rather-long-name-of-a-host-{}", told.host).into();
        agent.agent.version = format!("9.{}.0", told.version).into();
        self.revision += 1;
        let (id, revision) = (format!("agent-{number}"), Revision(self.revision));
        let last_checkin = told.last_checkin.map(Timestamp::from_unix);
        let state = AgentState { last_checkin, policy_revision_idx: 1, ..AgentState::default() };
        let mut known = self.agents.write();
        known.put_agent(Versioned { id: id.clone(), revision, value: agent });
        known.put_state(Versioned { id, revision, value: state });
    }

    fn remove(&mut self, number: usize) {
        self.revision += 1;
        let id = format!("agent-{number}");
        let mut known = self.agents.write();
        known.delete_agent(&id, Revision(self.revision));
        known.delete_state(&id, Revision(self.revision));
    }

    fn page(&self, request: &PageRequest) -> AgentsPage {
        self.agents.page(&Filter::new(&Query::all()), request, &Nobody)
    }
}

fn order() -> impl Strategy<Value = Order> {
    let by = prop::sample::select(SORT_FIELDS.as_slice());
    (by, any::<bool>()).prop_map(|((_, by), is_descending)| Order { by, is_descending })
}

fn ids(page: &AgentsPage) -> Vec<String> {
    page.items.iter().map(|(agent, _)| agent.id.to_string()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pages_by_number_and_by_cursor_are_parts_of_one_list(
        told in prop::collection::vec(told(), 0..60), order in order(), take in 1..10_usize,
    ) {
        let mut world = World::new();
        for (number, told) in told.iter().enumerate() {
            world.put(number, told);
        }
        let whole = world.page(&PageRequest { order, take: usize::MAX, ..PageRequest::default() });
        prop_assert_eq!(whole.items.len(), told.len());
        prop_assert!(whole.next.is_none());
        let (mut after, mut by_cursor) = (None, Vec::new());
        for number in 0.. {
            let by_number = world.page(&PageRequest { order, after: None, skip: number * take, take });
            let page = world.page(&PageRequest { order, after: after.take(), skip: 0, take });
            prop_assert_eq!(ids(&by_number), ids(&page));
            prop_assert_eq!(page.total, told.len());
            by_cursor.extend(ids(&page));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        prop_assert_eq!(by_cursor, ids(&whole));
    }

    #[test]
    fn a_cursor_meets_everybody_once_while_others_come_go_and_change(
        told in prop::collection::vec(told(), 1..50),
        changes in prop::collection::vec((0..50_usize, prop::option::of(told())), 0..60),
        order in order(),
        take in 1..8_usize,
    ) {
        let mut world = World::new();
        for (number, told) in told.iter().enumerate() {
            world.put(number, told);
        }
        let mut touched = BTreeSet::new();
        let (mut changes, mut met, mut after) = (changes.into_iter(), Vec::new(), None);
        loop {
            let page = world.page(&PageRequest { order, after: after.take(), skip: 0, take });
            met.extend(ids(&page));
            after = page.next;
            if after.is_none() {
                break;
            }
            for (number, told) in changes.by_ref().take(3) {
                touched.insert(number);
                match told {
                    Some(told) => world.put(number, &told),
                    None => world.remove(number),
                }
            }
        }
        for number in (0..told.len()).filter(|number| !touched.contains(number)) {
            let id = format!("agent-{number}");
            prop_assert_eq!(met.iter().filter(|met| **met == id).count(), 1, "{}", id);
        }
    }

    #[test]
    fn what_is_counted_is_what_is_listed(told in prop::collection::vec(told(), 0..60), only: bool) {
        let mut world = World::new();
        for (number, told) in told.iter().enumerate() {
            world.put(number, told);
        }
        let policies: BTreeSet<String> = ["p1".to_owned()].into();
        let only = only.then_some(&policies);
        let query = AgentQuery::all();
        let filter = Filter { policies: only, ..Filter::new(&query) };
        let page = world.agents.page(&filter, &PageRequest { take: usize::MAX, ..PageRequest::default() }, &Nobody);
        let mut counts = Counts::default();
        for (agent, status) in &page.items {
            prop_assert_eq!(*status, world.agents.status_of(agent, &Nobody));
            counts.add(*status);
        }
        prop_assert_eq!(page.counts, counts);
        prop_assert_eq!(world.agents.count(only, &Nobody), counts);
        prop_assert_eq!(world.agents.facets(&filter, &Nobody).statuses, counts);
        for policy in ["p0", "p1", "p2"] {
            let left = |told: &&Told| told.is_active && format!("p{}", told.policy) == policy;
            prop_assert_eq!(world.agents.assigned_to(policy), told.iter().filter(left).count() as u64);
        }
    }
}

#[test]
fn versions_are_sorted_as_versions() {
    let mut world = World::new();
    for version in [2, 10, 9] {
        let told = Told { enrolled_at: 0, last_checkin: None, policy: 0, host: 0, version, is_active: true };
        world.put(usize::from(version), &told);
    }
    let order = Order { by: "agent.version".parse().unwrap(), is_descending: true };
    let page = world.page(&PageRequest { order, take: 2, ..PageRequest::default() });
    assert_eq!(ids(&page), ["agent-10", "agent-9"]);
    assert!("colour".parse::<SortField>().unwrap_err().to_string().contains("enrolled_at"));
}

#[test]
fn a_place_that_was_left_is_used_again() {
    let mut world = World::new();
    let told = Told { enrolled_at: 0, last_checkin: None, policy: 0, host: 0, version: 0, is_active: true };
    for round in 0..3 {
        for number in 0..10 {
            world.put(round * 10 + number, &told);
        }
        for number in 0..10 {
            world.remove(round * 10 + number);
        }
    }
    assert_eq!(world.agents.read().slots.places(), 10);
    assert_eq!(world.agents.assigned_to("p0"), 0);
    assert!(world.agents.get("agent-29").is_none());
}
