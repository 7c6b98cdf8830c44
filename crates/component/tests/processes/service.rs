//! Services of a system: programs that live without an agent, and that scripts install and remove.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use fleet_component::supervisor::{
    AgentFacts, ComponentState, LogSource, Platform, Settings, Specs, Supervisor,
};
use fleet_component::unit::{State, UnitKey};
use rustix::process::{Signal, kill_process};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::foreign;
use crate::host::{Host, LONGEST, Written};
use crate::life::{is_alive, pid};

/// The service's component: it is called as its inputs' type.
const SERVICE: &str = "served";
/// An agent ends within this.
const GRACE: Duration = Duration::from_secs(5);

/// What the operations call: `behaviour` is what a test puts into it.
const SCRIPT: &str = r#"#!/bin/sh
echo "$1" >> "$STATE/calls"
. "$STATE/behaviour"
case $1 in
check) kill -0 "$(cat "$STATE/pid")" ;;
install)
    setsid "$PROGRAM" $ARGS "$AGENT_COMPONENT_SOCKET" >> "$STATE/log" 2>&1 < /dev/null &
    echo $! > "$STATE/pid" ;;
uninstall) kill "$(cat "$STATE/pid")" && rm "$STATE/pid" ;;
esac
"#;

/// A system with a service of it; the service is ended with the test.
struct System {
    folder: TempDir,
    program: PathBuf,
    args: &'static str,
}

impl Drop for System {
    fn drop(&mut self) {
        if let Some(service) = self.service() {
            // It may have ended.
            let _ = kill_process(pid(service), Signal::KILL);
        }
    }
}

impl System {
    /// One whose service is by our own half of a component.
    fn new() -> System {
        System::of(Path::new(env!("CARGO_BIN_EXE_component-probe")), "serves")
    }

    /// One whose service is of others, and checks in ten times a second. `None`: it cannot be built here.
    fn foreign() -> Option<System> {
        Some(System::of(foreign::program()?, "-heartbeat 100ms -service"))
    }

    fn of(program: &Path, args: &'static str) -> System {
        let folder = tempfile::tempdir().unwrap();
        let system = System { folder, program: program.to_owned(), args };
        fs::create_dir(system.state("")).unwrap();
        system.behave("");
        system.specify(SERVICE, "");
        system
    }

    fn state(&self, name: &str) -> PathBuf {
        self.folder.path().join("state").join(name)
    }

    /// What operations do before what they should.
    fn behave(&self, script: &str) {
        let beside = self.state("behaviour.new");
        fs::write(&beside, script).unwrap();
        fs::rename(beside, self.state("behaviour")).unwrap();
    }

    /// A spec file, and the script it is for. `keys`: more of the service.
    fn specify(&self, kind: &str, keys: &str) {
        let binary = self.folder.path().join(kind);
        fs::write(&binary, SCRIPT).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        let env = json!([
            {"name": "STATE", "value": self.state("")},
            {"name": "PROGRAM", "value": self.program},
            {"name": "ARGS", "value": self.args},
        ]);
        let operation =
            |name: &str| json!({"args": [name], "env": env, "timeout": "1s", "non_fatal_exit_codes": [17]});
        let mut service = json!({
            "log": {"path": self.state("log")},
            "operations": {
                "check": operation("check"), "install": operation("install"), "uninstall": operation("uninstall"),
            },
            "timeouts": {"checkin": "300ms"},
        });
        let more: Map<String, Value> = serde_json::from_str(&format!("{{{keys}}}")).unwrap();
        service.as_object_mut().unwrap().extend(more);
        let spec = json!({"version": 2, "inputs": [{
            "name": kind, "platforms": ["linux/amd64", "linux/arm64"], "outputs": ["file"], "service": service,
        }]});
        fs::write(self.folder.path().join(format!("{kind}.spec.yml")), spec.to_string()).unwrap();
    }

    /// An agent of the system.
    async fn agent(&self, change: impl FnOnce(&mut Settings)) -> Agent<'_> {
        let (specs, problems) = Specs::load(self.folder.path(), Platform::here());
        assert!(problems.is_empty(), "{problems:?}");
        let written = Arc::new(Written::default());
        let facts = AgentFacts { version: "9.6.0".to_owned(), ..AgentFacts::default() };
        let mut settings = Settings::new(self.folder.path().join("home"), facts);
        settings.sockets = self.folder.path().to_owned();
        settings.logs = Arc::clone(&written) as _;
        change(&mut settings);
        let supervisor = Supervisor::start(settings).await.unwrap();
        Agent {
            system: self,
            host: Host { supervisor, specs, written, folder: tempfile::tempdir().unwrap() },
        }
    }

    /// The service's process, if it was installed.
    fn service(&self) -> Option<u32> {
        fs::read_to_string(self.state("pid")).ok()?.trim().parse().ok()
    }

    /// What was called, in order.
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.state("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join(".eaci.sock")
    }
}

struct Agent<'a> {
    system: &'a System,
    host: Host,
}

fn input(kind: &str, text: &str) -> Value {
    json!({"id": "a", "type": kind, "greet": text, "say": text})
}

fn says(component: &ComponentState, text: &str) -> bool {
    let unit = component.units.get(&UnitKey::input("served-a"));
    unit.is_some_and(|unit| unit.state == State::Healthy && unit.message.contains(text))
}

impl Agent<'_> {
    async fn say(&self, text: &str) {
        self.host.apply(vec![input(SERVICE, text)]).await;
    }

    async fn until(&self, holds: impl Fn(&ComponentState) -> bool) -> Arc<ComponentState> {
        self.host.until_of(SERVICE, holds).await
    }

    async fn until_said(&self, text: &str) -> Arc<ComponentState> {
        self.until(|component| component.state == State::Healthy && says(component, text)).await
    }

    async fn stop(self) {
        self.host.supervisor.stop(GRACE).await;
        assert_eq!(self.host.supervisor.states().borrow().components[SERVICE].state, State::Stopped);
    }

    /// It leaves the policy: nothing of it stays.
    async fn remove(&self) {
        let service = self.system.service();
        self.host.apply(Vec::new()).await;
        assert!(self.host.supervisor.states().borrow().components.is_empty());
        assert_eq!(self.system.calls().last().map(String::as_str), Some("uninstall"));
        assert_eq!(self.system.service(), None);
        gone(service.unwrap()).await;
        let home = self.system.folder.path().join("home");
        assert!(!home.join("run").join(SERVICE).exists() && !self.system.socket().exists());
        assert_eq!(fs::read_dir(home.join("services")).unwrap().count(), 0);
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONGEST, waiting).await.expect(what);
}

async fn gone(process: u32) {
    until("the process ends", || !is_alive(process)).await;
}

/// From its installation to its end, over agents that come and go.
async fn lives(system: System) {
    let agent = system.agent(|_| {}).await;
    agent.say("one").await;
    let component = agent.until_said("one").await;
    assert_eq!(system.calls(), ["check", "install"]);
    let process = system.service().unwrap();
    assert!(component.pid.is_none_or(|pid| pid == process), "{component:#?}");
    let mode = fs::symlink_metadata(system.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let line = format!("process {process} serves");
    let record = agent.host.written.until(|record| record.message == line).await;
    assert_eq!((record.source, record.origin.component.as_str()), (LogSource::File, SERVICE));
    agent.say("two").await;
    agent.until_said("two").await;

    // The agent ends, and the service goes on; the next one finds it, and tells it what has changed meanwhile.
    agent.stop().await;
    assert!(is_alive(process) && !system.socket().exists());
    let agent = system.agent(|_| {}).await;
    agent.say("three").await;
    agent.until_said("three").await;
    assert_eq!(system.calls(), ["check", "install", "check"]);

    // The agent dies.
    drop(agent);
    let agent = system.agent(|_| {}).await;
    agent.say("four").await;
    agent.until_said("four").await;
    assert_eq!(system.service(), Some(process));
    agent.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_others_lives_over_agents_that_come_and_go() {
    if let Some(system) = System::foreign() {
        lives(system).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_by_our_half_of_a_component_lives_over_agents_that_come_and_go() {
    let system = System::new();
    // It is heard of each 25 seconds, as the protocol has it.
    system.specify(SERVICE, r#""timeouts": {"checkin": "30s"}"#);
    lives(system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_dies_is_failed_and_one_that_comes_back_is_well() {
    let Some(system) = System::foreign() else { return };
    let agent = system.agent(|_| {}).await;
    agent.say("one").await;
    agent.until_said("one").await;
    let before = system.service().unwrap();
    kill_process(pid(before), Signal::KILL).unwrap();
    gone(before).await;
    agent.until(|component| component.state == State::Degraded).await;
    let failed = agent.until(|component| component.state == State::Failed).await;
    assert!(failed.message.contains("see whether it runs"), "{failed:#?}");
    assert!(failed.units.values().all(|unit| unit.state == State::Failed), "{failed:#?}");
    // Whoever keeps services of the system has it run again: the agent does not.
    assert_eq!(system.calls(), ["check", "install"]);
    let place = format!("unix://{}", system.socket().display());
    let mut service = Command::new(&system.program)
        .args(system.args.split(' '))
        .arg(place)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let component = agent.until_said("one").await;
    assert_eq!(component.pid, Some(service.id()));
    service.kill().unwrap();
    service.wait().unwrap();
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_may_die_hang_and_flood_and_what_works_at_last_counts() {
    let system = System::new();
    system.behave("[ $1 = install ] && kill -9 $$");
    let agent = system.agent(|_| {}).await;
    agent.say("one").await;
    let failed = agent.until(|component| component.state == State::Failed).await;
    assert!(failed.message.contains("install") && failed.message.contains("signal '9'"), "{failed:#?}");

    // What it has started itself ends with it.
    system.behave("[ $1 = install ] && { sleep 1000 & echo $! > $STATE/sleeper; wait; }");
    let failed = agent.until(|component| component.message.contains("took longer")).await;
    assert_eq!(failed.state, State::Failed);
    gone(fs::read_to_string(system.state("sleeper")).unwrap().trim().parse().unwrap()).await;

    system.behave("[ $1 = install ] && yes | head -c 400000; exit 3");
    agent.until(|component| component.message.contains("code '3'")).await;
    agent.host.written.until(|record| record.message.contains("are left out")).await;
    assert!(agent.host.written.all().len() < 20_000);

    system.behave("");
    agent.until(|component| component.is_connected && says(component, "one")).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn some_exit_codes_are_no_failure() {
    let system = System::new();
    system.behave("[ $1 = check ] && exit 17");
    let agent = system.agent(|_| {}).await;
    agent.say("one").await;
    let waits = agent.until(|component| component.message.contains("is to come to")).await;
    assert_eq!(waits.state, State::Starting);
    assert_eq!(system.calls(), ["check"]);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_never_comes_is_failed_and_not_killed() {
    let system = System::of(Path::new("/bin/sh"), "-c 'exec sleep 1000'");
    system.behave("[ $1 = install ] && { setsid sleep 1000 < /dev/null > /dev/null 2>&1 & echo $! > $STATE/pid; exit; }");
    let agent = system.agent(|_| {}).await;
    agent.say("one").await;
    let failed = agent.until(|component| component.state == State::Failed).await;
    assert!(failed.message.contains(".eaci.sock"), "{failed:#?}");
    assert!(is_alive(system.service().unwrap()));
    agent.stop().await;
}

/// The agent was upgraded: what is there is not what it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_another_version_is_installed_over() {
    let system = System::new();
    let agent = system.agent(|_| {}).await;
    agent.say("one").await;
    agent.until(|component| says(component, "one")).await;
    let before = system.service().unwrap();
    agent.stop().await;
    system.behave("case $1 in check) exit 1 ;; install) kill $(cat $STATE/pid) ;; esac");
    let agent = system.agent(|_| {}).await;
    agent.say("two").await;
    agent.until(|component| says(component, "two") && system.calls().len() == 4).await;
    assert_eq!(system.calls(), ["check", "install", "check", "install"]);
    gone(before).await;
    until("another process", || system.service().is_some_and(is_alive)).await;
    assert_ne!(system.service(), Some(before));
    agent.stop().await;
}

/// It left the policy while there was no agent.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_before_has_installed_is_not_left_behind() {
    let system = System::new();
    let agent = system.agent(|_| {}).await;
    agent.say("one").await;
    agent.until(|component| says(component, "one")).await;
    agent.stop().await;
    let agent = system.agent(|_| {}).await;
    agent.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_leaves_for_good_says_what_it_could_not_remove() {
    let system = System::new();
    system.behave("[ $1 = uninstall ] && exit 3");
    let agent = system.agent(|_| {}).await;
    agent.say("one").await;
    agent.until(|component| says(component, "one")).await;
    assert_eq!(agent.host.supervisor.remove_all(LONGEST).await, [SERVICE]);
    assert_eq!(system.calls(), ["check", "install", "uninstall", "uninstall", "uninstall"]);
    drop(agent);
    // The next one tries it again.
    system.behave("");
    let agent = system.agent(|_| {}).await;
    assert_eq!(agent.host.supervisor.remove_all(LONGEST).await, [""; 0]);
    assert_eq!(system.service(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_at_one_socket_are_told_apart() {
    let system = System::new();
    system.specify("other", "");
    let agent = system.agent(|_| {}).await;
    agent.say("one").await;
    agent.until(|component| says(component, "one")).await;
    agent.host.apply(vec![input(SERVICE, "one"), input("other", "one")]).await;
    let failed = agent.host.until_of("other", |component| component.state == State::Failed).await;
    assert!(failed.message.contains("give csocket another path"), "{failed:#?}");
    assert_eq!(system.calls(), ["check", "install"]);
    agent.stop().await;

    system.specify("other", r#""csocket": "other.sock""#);
    let agent = system.agent(|_| {}).await;
    agent.host.apply(vec![input(SERVICE, "one"), input("other", "one")]).await;
    agent.host.until_of("other", |component| component.message.contains("/other.sock")).await;
    agent.until(|component| component.state == State::Healthy).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_may_come_to_a_port() {
    let system = System::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    system.specify(SERVICE, &format!(r#""cport": {free}"#));
    let agent = system.agent(|_| {}).await;
    agent.say("one").await;
    agent.until(|component| says(component, "one")).await;
    assert!(!system.socket().exists());
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_privileges_says_why_it_runs_no_service() {
    let system = System::new();
    let agent = system.agent(|settings| settings.agent.is_unprivileged = true).await;
    agent.say("one").await;
    let failed = agent.until(|component| component.state == State::Failed).await;
    assert!(failed.message.contains("only root can install"), "{failed:#?}");
    assert_eq!(system.calls(), [""; 0]);
}
