//! Draining: who is waited for, and for how long. One test, because signals are the whole process's.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::process::Command;
use std::time::Duration;

use fleet_service::drain::{Drain, Drained};
use fleet_service::signals::{Signal, Signals};

const GRACE: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(20);

fn send(signal: &str) {
    let status = Command::new("kill").args(["-s", signal, &std::process::id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn tasks_end_within_a_bounded_time() {
    let mut signals = Signals::listen().unwrap();
    signals_come_as_one_stream(&mut signals).await;
    tasks_are_told_to_end(&mut signals).await;
    tasks_that_do_not_end_are_named(&mut signals).await;
    a_second_signal_ends_the_wait(&mut signals).await;
    a_panic_ends_all_tasks(&mut signals).await;
}

async fn signals_come_as_one_stream(signals: &mut Signals) {
    for (name, expected) in [
        ("HUP", Signal::Hangup),
        ("USR1", Signal::User1),
        ("TERM", Signal::Terminate),
        ("INT", Signal::Interrupt),
    ] {
        send(name);
        let signal = tokio::time::timeout(GRACE, signals.next()).await.unwrap();
        assert_eq!(signal, expected);
        assert_eq!(signal.is_stop(), matches!(name, "TERM" | "INT"));
    }
}

async fn tasks_are_told_to_end(signals: &mut Signals) {
    let drain = Drain::new();
    let token = drain.token().clone();
    let task = drain.spawn("agent", async move { token.cancelled().await });
    drain.spawn("short", async {}).await.unwrap();
    assert_eq!(drain.running(), ["agent"]);
    assert_eq!(drain.finish(GRACE, signals).await, Drained::Done);
    task.await.unwrap();
    assert_eq!(drain.running(), [""; 0]);
}

async fn tasks_that_do_not_end_are_named(signals: &mut Signals) {
    let drain = Drain::new();
    let stuck =
        [drain.spawn("stuck", std::future::pending::<()>()), drain.spawn("stuck", std::future::pending())];
    drain.spawn("other", std::future::pending::<()>()).abort();
    tokio::task::yield_now().await;
    assert_eq!(drain.finish(SHORT, signals).await, Drained::TimedOut(vec!["stuck"]));
    stuck.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(drain.finish(GRACE, signals).await, Drained::Done);
}

async fn a_second_signal_ends_the_wait(signals: &mut Signals) {
    let drain = Drain::new();
    let stuck = drain.spawn("stuck", std::future::pending::<()>());
    send("HUP");
    send("TERM");
    assert_eq!(drain.finish(GRACE, signals).await, Drained::Interrupted(vec!["stuck"]));
    stuck.abort();
}

async fn a_panic_ends_all_tasks(signals: &mut Signals) {
    let drain = Drain::new();
    let token = drain.token().clone();
    drain.spawn("agent", async move { token.cancelled().await });
    let fails = Command::new("/nonexistent");
    let task = drain.spawn("broken", async move { { fails }.status().map(drop).unwrap() });
    assert!(task.await.unwrap_err().is_panic());
    assert!(drain.token().is_cancelled());
    assert_eq!(drain.finish(GRACE, signals).await, Drained::Done);
}
