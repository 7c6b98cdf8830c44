//! Sets that are larger than a document, in documents of the real size.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleet_cluster::documents::{ASSIGNMENTS, Assignment, TargetState, UnitSet};
use fleet_cluster::environment::Environment;
use fleet_cluster::follow::{Known, follow};
use fleet_cluster::sets::{Encoded, Head, Sets, assemble, encode, part_id};
use fleet_store::contract::MAX_BODY;
use fleet_store::{ErrorKind, Expect, Typed, Write};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::kit::{Kit, assignment, file, name, until};

const ID: &str = "machine";
const SOON: Duration = Duration::from_secs(2);

/// More units than a document holds.
fn many(count: usize) -> UnitSet<Assignment> {
    let mut set = UnitSet::default();
    let file = file("one");
    for number in 0..count {
        let unit = name(&format!("unit-{number}.service"));
        set.units.insert(unit, assignment(&file, TargetState::Launched, 0));
    }
    set
}

fn encoded(set: &UnitSet<Assignment>) -> Encoded {
    encode(ID, set, MAX_BODY).unwrap()
}

fn parts(encoded: &Encoded) -> BTreeSet<&String> {
    encoded.parts.keys().collect()
}

async fn write_parts(kit: &Kit, encoded: &Encoded) {
    for (id, body) in &encoded.parts {
        kit.admin.write(&ASSIGNMENTS, Write::put(id, Expect::Any, body.clone()), None).await.unwrap();
    }
}

async fn write_head(kit: &Kit, encoded: &Encoded) {
    kit.admin.write(&ASSIGNMENTS, Write::put(ID, Expect::Any, encoded.head.clone()), None).await.unwrap();
}

fn begin(kit: &Kit, watches: bool) -> watch::Receiver<Known<UnitSet<Assignment>>> {
    let (sender, receiver) = watch::channel(Known::NotYet);
    let sets = Sets::new(Typed::new(Arc::clone(&kit.store), &ASSIGNMENTS));
    tokio::spawn(async move {
        let environment = Environment::seeded(1);
        follow(sets, ID.to_owned(), watches, Duration::from_secs(1), &environment, sender).await;
    });
    receiver
}

#[test]
fn what_fits_is_not_split_and_what_is_split_is_whole_again() {
    for count in [1, 1000, 20_000] {
        let set = many(count);
        let encoded = encoded(&set);
        assert_eq!(encoded.parts.is_empty(), count < 10_000, "{count}");
        assert!(encoded.head.len() <= MAX_BODY && encoded.parts.values().all(|part| part.len() <= MAX_BODY));
        let head: Head<Assignment> = serde_json::from_slice(&encoded.head).unwrap();
        let whole = assemble(head.clone(), |part| {
            serde_json::from_slice(&encoded.parts[&part_id(ID, part)]).unwrap()
        });
        assert_eq!(whole, Some(set));
        if count > 10_000 {
            let mut asked = 0;
            let lacks_one = assemble(head, |part| {
                asked += 1;
                if asked == 2 {
                    None
                } else {
                    serde_json::from_slice(&encoded.parts[&part_id(ID, part)]).unwrap()
                }
            });
            assert_eq!(lacks_one, None, "half a set is none");
        }
    }
}

#[test]
fn one_unit_changes_one_part() {
    let mut set = many(20_000);
    let before = encoded(&set);
    set.units.remove(&name("unit-4711.service"));
    let after = encoded(&set);
    assert_eq!(parts(&before).difference(&parts(&after)).count(), 1);
    assert_eq!(parts(&after).difference(&parts(&before)).count(), 1);
}

#[test]
fn a_unit_that_is_too_large_alone_is_refused() {
    let mut set = many(1);
    let conflicts = vec!["x".repeat(MAX_BODY)];
    for unit in set.units.values_mut() {
        unit.conflicts.clone_from(&conflicts);
    }
    assert_eq!(encode(ID, &set, MAX_BODY).unwrap_err().kind, ErrorKind::Invalid);
}

#[test]
fn what_says_nothing_of_units_is_no_set() {
    for body in ["{}", "{\"parts\":[]}", "{\"units\":{},\"parts\":[\"a\"]}", "{\"units\":7}"] {
        assert!(serde_json::from_str::<Head<Assignment>>(body).is_err(), "{body}");
    }
    let empty: Head<Assignment> = serde_json::from_str("{\"units\":{}}").unwrap();
    assert_eq!(empty, Head::Whole(UnitSet::default()));
}

#[tokio::test(start_paused = true)]
async fn a_set_is_followed_from_one_head_to_the_next_and_never_in_between() {
    for watches in [true, false] {
        let kit = Kit::new();
        let (one, two) = (many(12_000), many(13_000));
        let (first, second) = (encoded(&one), encoded(&two));
        // A head before its parts: as if it had been overtaken.
        write_head(&kit, &first).await;
        let seen = begin(&kit, watches);
        sleep(SOON).await;
        assert_eq!(*seen.borrow(), Known::NotYet);
        write_parts(&kit, &first).await;
        until("the first", SOON, || *seen.borrow() == Known::Present(one.clone())).await;
        write_parts(&kit, &second).await;
        sleep(SOON).await;
        assert!(*seen.borrow() == Known::Present(one.clone()));
        write_head(&kit, &second).await;
        for part in parts(&first).difference(&parts(&second)) {
            kit.admin.write(&ASSIGNMENTS, Write::delete(part.as_str(), Expect::Any), None).await.unwrap();
        }
        until("the second", SOON, || *seen.borrow() == Known::Present(two.clone())).await;
        // Parts that are lost change nothing of what is known.
        for part in &parts(&second) {
            kit.admin.write(&ASSIGNMENTS, Write::delete(part.as_str(), Expect::Any), None).await.unwrap();
        }
        sleep(Duration::from_secs(120)).await;
        assert!(*seen.borrow() == Known::Present(two.clone()));
    }
}
