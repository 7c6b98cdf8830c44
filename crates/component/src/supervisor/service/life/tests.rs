use super::*;
use crate::supervisor::spec::{OperationSpec, Operations, ServiceTimeouts};

const SECOND: Duration = Duration::from_secs(1);
use Operation::{Check, Install, Uninstall};

fn spec(operations: &[Operation]) -> ServiceSpec {
    let get = |wanted| operations.contains(&wanted).then(OperationSpec::default);
    ServiceSpec {
        operations: Operations { check: get(Check), install: get(Install), uninstall: get(Uninstall) },
        timeouts: ServiceTimeouts { checkin: 30 * SECOND },
        ..ServiceSpec::default()
    }
}

fn life(operations: &[Operation]) -> (Life, Instant) {
    let now = Instant::now();
    (Life::new(&spec(operations), now), now)
}

/// One that was checked, and is there.
fn serving() -> (Life, Instant) {
    let (mut life, now) = life(&[Check, Install, Uninstall]);
    assert_eq!(life.poll(now), Some(Act::Begin(Check)));
    assert_eq!(life.finished(Check, true, now), Outcome::Serves);
    (life, now)
}

#[test]
fn what_is_there_is_not_installed() {
    let (mut life, now) = serving();
    assert!(life.is_serving());
    assert_eq!(life.poll(now), None);
}

#[test]
fn what_is_not_there_is_installed() {
    let (mut life, now) = life(&[Check, Install]);
    assert_eq!(life.poll(now), Some(Act::Begin(Check)));
    assert_eq!(life.poll(now), None);
    assert_eq!(life.finished(Check, false, now), Outcome::GoesOn);
    assert_eq!(life.poll(now), Some(Act::Begin(Install)));
    assert_eq!(life.finished(Install, true, now), Outcome::Serves);
}

#[test]
fn what_cannot_be_installed_is_tried_again_ever_more_slowly() {
    let (mut life, mut now) = life(&[Check, Install]);
    let mut pauses = Vec::new();
    for _ in 0..11 {
        assert_eq!(life.poll(now), Some(Act::Begin(Check)));
        assert_eq!(life.finished(Check, false, now), Outcome::GoesOn);
        assert_eq!(life.poll(now), Some(Act::Begin(Install)));
        let Outcome::Failed(pause) = life.finished(Install, false, now) else { panic!("no failure") };
        assert!(life.has_failed());
        assert_eq!(life.poll(now + pause / 2), None);
        assert_eq!(life.deadline(), Some(now + pause));
        now += pause;
        pauses.push(pause.as_secs());
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    // Once it is there, that is forgotten.
    assert_eq!(life.poll(now), Some(Act::Begin(Check)));
    assert_eq!(life.finished(Check, true, now), Outcome::Serves);
    assert!(!life.has_failed());
}

#[test]
fn operations_that_are_not_there_are_left_out() {
    for (operations, acts) in [
        // Nothing is known of it: it is taken to be there.
        (&[][..], &[Act::Skip(Check, Outcome::GoesOn), Act::Skip(Install, Outcome::Serves)][..]),
        (&[Install], &[Act::Skip(Check, Outcome::GoesOn), Act::Begin(Install)]),
        (&[Check], &[Act::Begin(Check)]),
    ] {
        let (mut life, now) = life(operations);
        let found: Vec<Act> = std::iter::from_fn(|| life.poll(now)).collect();
        assert_eq!(found, acts, "{operations:?}");
    }
    // It is known that it is not there, and nobody can have it there.
    let (mut life, now) = life(&[Check]);
    life.poll(now);
    life.finished(Check, false, now);
    assert_eq!(life.poll(now), Some(Act::Skip(Install, Outcome::Failed(SECOND))));
}

#[test]
fn a_service_that_does_not_check_in_is_failed_once_and_comes_back() {
    let (mut life, start) = serving();
    let at = |look: u32| start + look * 30 * SECOND;
    assert_eq!(life.poll(at(1)), Some(Act::Missed(1)));
    assert_eq!(life.poll(at(2)), Some(Act::Missed(2)));
    assert_eq!(life.poll(at(3)), Some(Act::Lost(3)));
    assert_eq!(life.poll(at(4)), None);
    assert!(life.is_serving());
    life.checked_in(at(4) + SECOND);
    assert_eq!(life.poll(at(5)), None);
    assert_eq!(life.poll(at(6)), Some(Act::Missed(1)));
}

#[test]
fn one_that_runs_from_before_is_known_to_before_its_check_has_ended() {
    let (mut life, now) = life(&[Check]);
    life.poll(now);
    assert!(!life.checked_in_lately(now));
    life.checked_in(now);
    assert!(!life.is_serving());
    life.finished(Check, true, now + SECOND);
    assert!(life.checked_in_lately(now + SECOND));
    assert!(!life.checked_in_lately(now + 31 * SECOND));
}

#[test]
fn what_is_not_wanted_any_more_is_uninstalled() {
    let (mut life, now) = serving();
    life.stop(Leave::Remove, now, SECOND);
    assert!(life.is_leaving() && !life.is_ended());
    assert_eq!(life.poll(now), Some(Act::Begin(Uninstall)));
    // It takes as long as its spec file allows.
    assert_eq!(life.deadline(), None);
    assert_eq!(life.finished(Uninstall, true, now), Outcome::GoesOn);
    assert!(life.is_ended());
}

#[test]
fn it_is_tried_a_few_times_to_uninstall_it() {
    let (mut life, mut now) = serving();
    life.stop(Leave::Remove, now, SECOND);
    for _ in 0..2 {
        assert_eq!(life.poll(now), Some(Act::Begin(Uninstall)));
        let Outcome::Failed(pause) = life.finished(Uninstall, false, now) else { panic!("no failure") };
        now += pause;
    }
    assert_eq!(life.poll(now), Some(Act::Begin(Uninstall)));
    assert_eq!(life.finished(Uninstall, false, now), Outcome::GaveUp);
    assert!(life.is_ended());
}

#[test]
fn what_is_being_installed_is_uninstalled_after_that() {
    let (mut life, now) = life(&[Check, Install, Uninstall]);
    life.poll(now);
    life.finished(Check, false, now);
    life.poll(now);
    life.stop(Leave::Remove, now, SECOND);
    assert_eq!((life.poll(now + 60 * SECOND), life.deadline()), (None, None));
    assert_eq!(life.finished(Install, false, now), Outcome::GoesOn);
    assert_eq!(life.poll(now), Some(Act::Begin(Uninstall)));
}

#[test]
fn an_agent_that_ends_leaves_the_service_alone() {
    let (mut life, now) = serving();
    life.stop(Leave::Keep, now, SECOND);
    assert!(life.is_ended());
    assert_eq!(life.poll(now), None);
}

#[test]
fn an_agent_that_ends_waits_for_what_is_under_way_and_not_for_a_check() {
    for (ends_check_first, operation, grace) in [(false, Check, 0), (true, Install, 5)] {
        let (mut life, now) = life(&[Check, Install]);
        life.poll(now);
        if ends_check_first {
            life.finished(Check, false, now);
            life.poll(now);
        }
        life.stop(Leave::Keep, now, 5 * SECOND);
        assert_eq!(life.deadline(), Some(now + grace * SECOND), "{operation}");
        assert_eq!(life.poll(now + grace * SECOND), Some(Act::Abort), "{operation}");
        assert_eq!(life.poll(now + 60 * SECOND), None, "{operation}");
        assert_eq!(life.finished(operation, false, now), Outcome::GoesOn);
        assert!(life.is_ended(), "{operation}");
    }
}

#[test]
fn an_agent_that_ends_while_it_uninstalls_does_not_begin_again() {
    let (mut life, now) = serving();
    life.stop(Leave::Remove, now, SECOND);
    life.poll(now);
    life.stop(Leave::Keep, now, SECOND);
    assert_eq!(life.poll(now + SECOND), Some(Act::Abort));
    life.finished(Uninstall, false, now);
    assert!(life.is_ended());
}
