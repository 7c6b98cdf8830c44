//! What a manager does when bus and systemd do what they seldom do.

use std::collections::VecDeque;
use std::time::Duration;

use fleet_cluster::systemd::{Job, JobResult, Notice, Operation, OwnService, Systemd, UnitState};
use futures_util::future::{join, join_all};
use tokio::sync::mpsc;
use tokio::sync::oneshot::error::RecvError;

use crate::fake::{Fake, PATIENCE, file, unit};

const SLEEP: &str = "[Service]\nExecStart=/bin/sleep 1000\n";

/// A manager that follows `a.service`.
async fn with_a_unit() -> (crate::Manager, Fake, mpsc::Receiver<Notice>) {
    let (manager, mut fake) = Fake::start().await;
    let installing = async { manager.install(&unit("a.service"), &file(SLEEP)).await };
    let answering = async {
        fake.call("GetUnit").await.refuse_not_loaded().await;
        fake.call("LinkUnitFiles").await.reply(&Vec::<(String, String, String)>::new()).await;
    };
    join(installing, answering).await.0.unwrap();
    let notices = manager.subscribe().await.unwrap();
    (manager, fake, notices)
}

async fn next(notices: &mut mpsc::Receiver<Notice>) -> Notice {
    tokio::time::timeout(PATIENCE, notices.recv()).await.expect("nothing is told").unwrap()
}

async fn result(job: Job) -> Result<JobResult, RecvError> {
    tokio::time::timeout(PATIENCE, job.result).await.expect("the job does not end")
}

fn changed(active: &str, sub: &str) -> Notice {
    let state = UnitState { load: "loaded".into(), active: active.into(), sub: sub.into() };
    Notice::Changed { unit: unit("a.service"), state }
}

#[tokio::test(start_paused = true)]
async fn a_job_may_end_before_its_number_is_known() {
    let (manager, mut fake, _notices) = with_a_unit().await;
    let a = unit("a.service");
    let answering = async {
        let call = fake.call("StartUnit").await;
        fake.job_removed(7, "a.service", "done").await;
        // Long enough for the signal to be worked on.
        tokio::time::sleep(Duration::from_secs(1)).await;
        call.reply_job(7).await;
    };
    let (job, ()) = join(manager.queue(&a, Operation::Start), answering).await;
    assert_eq!(result(job.unwrap()).await, Ok(JobResult::Done));
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_made_again() {
    let (manager, mut fake, mut notices) = with_a_unit().await;
    let a = unit("a.service");
    let answering = async { fake.call("StartUnit").await.reply_job(7).await };
    let (job, ()) = join(manager.queue(&a, Operation::Start), answering).await;
    fake.hang_up().await;
    result(job.unwrap()).await.expect_err("the result is unknown");
    let error = manager.state(&a).await.unwrap_err();
    assert!(error.unreachable, "{error}");
    assert_eq!(next(&mut notices).await, Notice::Reset);
    fake.changed(":1.1", "a.service", "active", "running").await;
    assert_eq!(next(&mut notices).await, changed("active", "running"));
}

#[tokio::test(start_paused = true)]
async fn another_systemd_takes_over() {
    let (manager, mut fake, mut notices) = with_a_unit().await;
    let a = unit("a.service");
    let starting = async {
        let call = fake.call("StartUnit").await;
        fake.set_owner(None).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let error = manager.state(&a).await.unwrap_err();
        assert!(error.unreachable, "{error}");
        fake.set_owner(Some(":1.2")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        // The old one had accepted the job; whether it ended in between nobody can know.
        call.reply_job(7).await;
    };
    let (job, ()) = join(manager.queue(&a, Operation::Start), starting).await;
    result(job.unwrap()).await.expect_err("the result is unknown");
    assert_eq!(next(&mut notices).await, Notice::Reset);
    fake.changed(":1.1", "a.service", "failed", "failed").await;
    fake.changed(":1.2", "a.service", "active", "running").await;
    assert_eq!(next(&mut notices).await, changed("active", "running"));
}

#[tokio::test(start_paused = true)]
async fn signals_of_others_are_not_believed() {
    let (_manager, fake, mut notices) = with_a_unit().await;
    fake.changed(":1.666", "a.service", "failed", "failed").await;
    fake.changed(":1.1", "b.service", "failed", "failed").await;
    fake.changed(":1.1", "a.service", "active", "running").await;
    assert_eq!(next(&mut notices).await, changed("active", "running"));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_an_announcement_swallowed_is_read() {
    let (_manager, mut fake, mut notices) = with_a_unit().await;
    fake.unit_signal("UnitNew", "a.service").await;
    let call = fake.call("ListUnitsByPatterns").await;
    let (_, patterns): (Vec<String>, Vec<String>) = call.message().body().deserialize().unwrap();
    assert_eq!(patterns, ["a.service"]);
    call.reply_units(&[("a.service", "loaded", "active", "running")]).await;
    assert_eq!(next(&mut notices).await, changed("active", "running"));
    // What is told after all need not be read.
    fake.unit_signal("UnitNew", "a.service").await;
    fake.changed(":1.1", "a.service", "inactive", "dead").await;
    assert_eq!(next(&mut notices).await, changed("inactive", "dead"));
    assert!(fake.is_quiet().await);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_fails_leads_to_a_reset_when_systemd_can_be_asked() {
    let (_manager, mut fake, mut notices) = with_a_unit().await;
    fake.unit_signal("UnitNew", "a.service").await;
    let call = fake.call("ListUnitsByPatterns").await;
    call.refuse("org.freedesktop.DBus.Error.AccessDenied", "No.").await;
    assert_eq!(next(&mut notices).await, Notice::Reset);
    fake.unit_signal("UnitNew", "a.service").await;
    let call = fake.call("ListUnitsByPatterns").await;
    call.refuse("org.freedesktop.DBus.Error.NoReply", "It has left the bus.").await;
    assert!(tokio::time::timeout(Duration::from_secs(1), notices.recv()).await.is_err());
    fake.set_owner(None).await;
    fake.set_owner(Some(":1.2")).await;
    assert_eq!(next(&mut notices).await, Notice::Reset);
}

#[tokio::test(start_paused = true)]
async fn a_reload_is_waited_for_and_silence_is_not() {
    let (manager, mut fake, _notices) = with_a_unit().await;
    let a = unit("a.service");
    let reloading = async {
        fake.manager_signal("Reloading", &true).await;
        let call = fake.call("ListUnitsByNames").await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        fake.manager_signal("Reloading", &false).await;
        call.reply_units(&[("a.service", "loaded", "inactive", "dead")]).await;
        fake.call("ListUnitsByPatterns").await.reply_units(&[]).await;
    };
    let (state, ()) = join(manager.state(&a), reloading).await;
    assert_eq!(state.unwrap().load, "loaded");
    let error = manager.state(&a).await.unwrap_err();
    assert!(error.unreachable, "{error}");
    assert!(error.message.ends_with("no answer within 25 s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_installation_leaves_nothing() {
    let (manager, mut fake) = Fake::start().await;
    let a = unit("a.busname");
    let refusing = async {
        fake.call("GetUnit").await.refuse_not_loaded().await;
        let call = fake.call("LinkUnitFiles").await;
        call.refuse("org.freedesktop.systemd1.BadUnitSetting", "It is not a valid unit name.").await;
        let (first, second) = (fake.call("DisableUnitFiles").await, fake.call("ResetFailedUnit").await);
        first.refuse("org.freedesktop.systemd1.BadUnitSetting", "It is not a valid unit name.").await;
        second.refuse_not_loaded().await;
        let again = fake.call("DisableUnitFiles").await;
        again.refuse("org.freedesktop.systemd1.BadUnitSetting", "It is not a valid unit name.").await;
    };
    let (outcome, ()) = join(manager.install(&a, &file("[Unit]\nDescription=x\n")), refusing).await;
    let error = outcome.unwrap_err();
    assert!(!error.unreachable);
    let text = "cannot install a.busname: It is not a valid unit name. \
                (org.freedesktop.systemd1.BadUnitSetting)";
    assert_eq!(error.to_string(), text);
    assert_eq!(manager.installed().await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_stop_of_what_is_not_loaded_is_done() {
    let (manager, mut fake, _notices) = with_a_unit().await;
    let a = unit("a.service");
    let refusing = async { fake.call("StopUnit").await.refuse_not_loaded().await };
    let (job, ()) = join(manager.queue(&a, Operation::Stop), refusing).await;
    assert_eq!(result(job.unwrap()).await, Ok(JobResult::Done));
    let refusing = async { fake.call("StartUnit").await.refuse_not_loaded().await };
    let (job, ()) = join(manager.queue(&a, Operation::Start), refusing).await;
    let text = "cannot start a.service: Unit is not loaded. (org.freedesktop.systemd1.NoSuchUnit)";
    assert_eq!(job.unwrap_err().to_string(), text);
}

#[tokio::test(start_paused = true)]
async fn a_burst_stays_within_the_limits_of_the_bus() {
    let (manager, mut fake, _notices) = with_a_unit().await;
    let a = unit("a.service");
    let jobs = join_all((0..200).map(|_| manager.queue(&a, Operation::Start)));
    let answering = async {
        let mut waiting = VecDeque::new();
        for _ in 0..96 {
            waiting.push_back(fake.call("StartUnit").await);
        }
        assert!(fake.is_quiet().await, "more than 96 calls are without an answer");
        for _ in 96..200 {
            waiting.pop_front().unwrap().reply_job(1).await;
            waiting.push_back(fake.call("StartUnit").await);
        }
        for call in waiting {
            call.reply_job(1).await;
        }
    };
    let (jobs, ()) = join(jobs, answering).await;
    assert!(jobs.iter().all(Result::is_ok));
    // One for the session, and one for each 64 jobs.
    assert_eq!(fake.connections(), 1 + 4);
}

/// Being started by a process of a service does not make this process that service.
#[tokio::test(start_paused = true)]
async fn a_service_is_ours_when_we_are_its_main_process_or_its_child() {
    let (manager, mut fake) = Fake::start().await;
    let (me, parent) = (std::process::id(), std::os::unix::process::parent_id());
    for (main, is_ours) in [(me, true), (parent, true), (1, false), (0, false)] {
        let is_ours = is_ours || main == parent;
        let answering = async {
            let path = zbus::ObjectPath::try_from(crate::bus::unit_path("fleet.service")).unwrap();
            fake.call("GetUnitByPID").await.reply(&path).await;
            fake.call("Get").await.reply(&zbus::Variant::from(main)).await;
            if is_ours {
                let none = zbus::ObjectPath::try_from("/").unwrap();
                fake.call("Get").await.reply(&zbus::Variant::from((0_u32, none))).await;
            }
        };
        let (service, ()) = join(manager.own_service(), answering).await;
        assert_eq!(service.unwrap(), is_ours.then_some(OwnService { job: None }), "{main}");
    }
    let refusing = async {
        let call = fake.call("GetUnitByPID").await;
        call.refuse("org.freedesktop.systemd1.NoUnitForPID", "no unit").await;
    };
    let (service, ()) = join(manager.own_service(), refusing).await;
    assert_eq!(service.unwrap(), None);
}
