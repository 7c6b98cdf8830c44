//! How processes live and end.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fleet_component::supervisor::Launcher;
use fleet_component::unit::{LogLevel, State};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::host::{Host, LONGEST, install};

pub(crate) fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

/// Whether it runs: one that nobody has waited for yet does not.
pub(crate) fn is_alive(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    test_kill_process(pid(process)).is_ok()
        && !status.rsplit(')').next().unwrap_or_default().starts_with(" Z")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_killed_is_started_again_and_configured() {
    let host = Host::start("plain", "").await;
    let before = host.until(|component| component.is_healthy()).await;
    let directory = host.folder.path().join("run/probe-default");
    assert_eq!(std::fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o770);
    kill_process(pid(before.pid.unwrap()), Signal::KILL).unwrap();
    let began = Instant::now();
    let failed = host.until(|component| component.state == State::Failed).await;
    assert!(failed.message.contains("signal '9'"), "{failed:#?}");
    assert!(failed.units.values().all(|unit| unit.state == State::Failed), "{failed:#?}");
    let after = host.until(|component| component.is_healthy()).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_ne!(after.pid, before.pid);
    assert_eq!(after.restarts, 1);
    // It leaves the policy: nothing of it stays.
    host.apply(Vec::new()).await;
    assert!(host.supervisor.states().borrow().components.is_empty());
    assert!(!directory.exists());
    assert!(!is_alive(after.pid.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_at_once_is_started_ever_more_slowly() {
    let host = Host::start("exits", "restart: 1s").await;
    let component = host.until(|component| component.restarts >= 3).await;
    assert_eq!(component.state, State::Failed);
    host.supervisor.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_does_not_check_in_is_killed() {
    let host = Host::start("silent", "checkin: 200ms").await;
    let first = host.until(|component| component.state == State::Degraded).await;
    assert!(first.message.contains("missed 1"), "{first:#?}");
    let after = host.until(|component| component.restarts >= 1).await;
    assert!(after.pid.is_none_or(|after| Some(after) != first.pid));
    host.supervisor.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_does_not_stop_is_killed() {
    let host = Host::start("stubborn", "").await;
    let component = host.until(|component| component.is_healthy()).await;
    let began = Instant::now();
    host.supervisor.stop(Duration::from_secs(1)).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(!is_alive(component.pid.unwrap()));
    host.until(|component| component.state == State::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_writes_has_bounds() {
    let host = Host::start("writes", "").await;
    host.written.until(|record| record.message == "json" && record.level == LogLevel::Warning).await;
    host.written.until(|record| record.message.contains("are left out")).await;
    let written = host.written.all();
    assert!(written.iter().all(|record| record.message.len() <= 64 * 1024));
    assert!(written.len() < 10_000, "{}", written.len());
    host.supervisor.stop(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_may_be_launched_by_a_helper() {
    let helper = [env!("CARGO_BIN_EXE_component-probe"), "launches"].map(OsString::from).to_vec();
    let host = Host::start_with("plain", "", Launcher::Helper(helper)).await;
    host.until(|component| component.is_healthy()).await;
    host.supervisor.stop(Duration::from_secs(5)).await;
}

/// An agent that is killed takes its components with it.
#[tokio::test(flavor = "multi_thread")]
async fn components_die_with_their_agent() {
    let folder = tempfile::tempdir().unwrap();
    install(folder.path(), "stubborn", "");
    let mut agent = tokio::process::Command::from({
        let mut command = Command::new(PathBuf::from(env!("CARGO_BIN_EXE_component-probe")));
        command.arg("supervises").env("PROBE_FOLDER", folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    })
    .spawn()
    .unwrap();
    let mut lines = BufReader::new(agent.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(LONGEST, lines.next_line()).await.unwrap().unwrap().unwrap();
    let component: u32 = line.parse().unwrap();
    // It has become the component's program, and with that has asked for the signal.
    let program = format!("/proc/{component}/comm");
    let gone = async |holds: &dyn Fn() -> bool| {
        let waiting = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LONGEST, waiting).await.unwrap();
    };
    gone(&|| std::fs::read_to_string(&program).is_ok_and(|name| name.trim() == "probe")).await;
    agent.kill().await.unwrap();
    gone(&|| !is_alive(component)).await;
}
