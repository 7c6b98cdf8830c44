//! What is said on the streams.

use std::time::Duration;

use fleet_component::supervisor::LogRecord;

use crate::host::{Host, input_message};

/// Two that always answer each other would be at hundreds by then.
const WHILE: Duration = Duration::from_millis(1500);

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_answers_by_reflex_is_not_talked_to_without_end() {
    let host = Host::start("reflex", "").await;
    host.until(|component| input_message(component).contains("one")).await;
    tokio::time::sleep(WHILE).await;
    let component = host.until(|_| true).await;
    let message = input_message(&component);
    let heard: u64 =
        message.strip_prefix("heard ").and_then(|rest| rest.split(':').next()).unwrap().parse().unwrap();
    assert!(heard <= 5, "{message}");
    // And it still hears what is new.
    host.say("two").await;
    host.until(|component| input_message(component).contains("two")).await;
    host.supervisor.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_opens_its_stream_again_hears_of_changes() {
    let host = Host::start("reopens", "").await;
    // The answer to its second stream, which said that everything is as it should be.
    let reopened = |message: &str| message.starts_with("heard 2:");
    let before = host.until(|component| reopened(input_message(component))).await;
    host.say("two").await;
    let after = host.until(|component| input_message(component).contains("two")).await;
    assert_eq!((after.pid, after.restarts), (before.pid, 0));
    host.supervisor.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_half_of_a_component_connects_again_and_hears_of_changes() {
    let host = Host::start("severed", "").await;
    let before = host.until(|component| input_message(component).contains("one")).await;
    host.written.until(|record| record.message == "severed").await;
    // While it is away, and when it is back.
    for text in ["two", "three"] {
        host.say(text).await;
        let after = host.until(|component| input_message(component).contains(text)).await;
        assert_eq!((after.pid, after.restarts), (before.pid, 0));
    }
    host.supervisor.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_keep_to_the_rules_is_refused() {
    let host = Host::start("rejected", "").await;
    for (what, code) in [
        ("token", "PermissionDenied"),
        ("second", "AlreadyExists"),
        ("init", "InvalidArgument"),
        ("silence", "DeadlineExceeded"),
        ("name", "refused"),
    ] {
        let line: LogRecord = host.written.until(|record| record.message.starts_with(what)).await;
        assert_eq!(line.message, format!("{what}: {code}"));
    }
    host.supervisor.stop(Duration::from_secs(5)).await;
}
