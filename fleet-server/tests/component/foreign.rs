//! The program under a supervisor in Go, which behaves as agents of others do: its own certificates, its own answers,
//! and its own silence.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::host::{COMPONENT, LONGEST, POLICY, free_port};
use crate::programs;

/// The units that an agent makes at its first start.
const INPUT: &str = "input fleet-server-default-fleet-server";
const OUTPUT: &str = "output fleet-server-default";
/// Messages that the agent has sent at most: it answers each of the server's as long as that is not well.
const MOST_SENT: u64 = 60;

/// Agents look every 30 s whether they have heard of their components.
const SILENCE_MAX: Duration = Duration::from_secs(28);
/// Long enough for whatever was under way.
const SILENCE: Duration = Duration::from_secs(3);
/// What is logged of each action, as a detail.
const ASKED: &str = "something is to be done";

/// The supervisor, running.
struct Foreign {
    child: Child,
    commands: Option<ChildStdin>,
    events: Receiver<Value>,
    home: TempDir,
    ssl: Value,
    port: u16,
    internal_port: u16,
    /// The last that was told of the units.
    units: Map<String, Value>,
    sent: u64,
}

impl Foreign {
    /// `None`: it cannot be built here.
    fn start() -> Option<Foreign> {
        let program = programs::build(Path::new(env!("CARGO_TARGET_TMPDIR")), "supervisor")?;
        let home = tempfile::tempdir().expect("a directory");
        let data = home.path().join("data");
        // What stands in the spec file of others, and where this one may write.
        let mut child = Command::new(program)
            .arg("-home")
            .arg(home.path())
            .args([
                "-component",
                COMPONENT,
                "-type",
                "fleet-server",
                "--",
                env!("CARGO_BIN_EXE_fleet-server"),
            ])
            .args(["--agent-mode", "-E", "logging.level=debug", "-E", "logging.to_stderr=true"])
            .args(["-E", &format!("data_dir={}", data.display()), "-E", "management.port=0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (sender, events) = channel();
        let output = child.stdout.take().expect("a pipe");
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(json!({"event": "garbage", "line": line}));
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        let commands = child.stdin.take();
        let (port, internal_port) = (free_port(), free_port());
        let (ssl, units) = (Value::Null, Map::new());
        let mut foreign = Foreign { child, commands, events, home, ssl, port, internal_port, units, sent: 0 };
        let ready = foreign.until("ready", |event| event["event"] == "ready");
        foreign.ssl = json!({"certificate": ready["certificate"], "key": ready["key"]});
        Some(foreign)
    }

    fn say(&mut self, command: &Value) {
        let commands = self.commands.as_mut().expect("a pipe");
        writeln!(commands, "{command}").expect("it listens");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// Waits for something to happen.
    fn until(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let left = LONGEST.saturating_sub(began.elapsed());
            let Ok(event) = self.events.recv_timeout(left) else {
                panic!("{what} does not happen: {:#?}\n{}", self.units, self.log())
            };
            if event["event"] == "units" {
                self.units = event["units"].as_object().cloned().expect("units");
                self.sent = event["sent"].as_u64().expect("a number");
            }
            if is(&event) {
                return event;
            }
            let is_expected =
                ["units", "opened", "actions", "spawned"].iter().any(|known| event["event"] == *known);
            assert!(is_expected, "while waiting for {what}: {event:#}\n{}", self.log());
        }
    }

    /// Waits until nothing has happened for some time.
    fn until_silent(&mut self) {
        while let Ok(event) = self.events.recv_timeout(SILENCE) {
            assert_eq!(event["event"], "units", "{event:#}");
            self.sent = event["sent"].as_u64().expect("a number");
        }
    }

    /// Waits until all units are in this state, and these are there.
    fn until_units(&mut self, state: &str, names: &[&str]) {
        let state = format!("UNIT_STATE_{state}");
        self.until(&format!("{state} of {names:?}"), |event| {
            let units = event["units"].as_object();
            units.is_some_and(|units| {
                units.len() == names.len()
                    && names.iter().all(|name| units.contains_key(*name))
                    && units.values().all(|unit| unit["state"] == state.as_str())
            })
        });
    }

    /// The server's policy is that of an input of this id, with this in `server`.
    fn want(&mut self, input: &str, revision: u64, level: u64, more: &Value) {
        let mut server = json!({
            "host": "0.0.0.0", "port": self.port, "internal_port": self.internal_port, "ssl": self.ssl,
        });
        for (key, value) in more.as_object().expect("a map") {
            server[key] = value.clone();
        }
        let mut source =
            json!({"id": input, "type": "fleet-server", "policy": {"id": POLICY}, "server": server});
        if revision > 0 {
            let package = json!({"package": {"name": "fleet_server", "version": "1.6.0"}});
            for (key, value) in [
                ("name", json!("fleet_server-1")),
                ("revision", json!(revision)),
                ("meta", package),
                ("data_stream", json!({"namespace": "default"})),
                ("package_policy_id", json!(input)),
                ("streams", json!([])),
                ("policy", json!({"id": POLICY, "revision": revision})),
            ] {
                source[key] = value;
            }
        }
        let output = json!({
            "type": "elasticsearch", "hosts": ["localhost:9200"], "revision": revision,
            "bootstrap": {
                "protocol": "http", "hosts": ["localhost:9200"], "service_token": "a-secret-token",
                "proxy_disable": false, "proxy_headers": {},
            },
        });
        self.say(&json!({"do": "want", "units": [
            {"id": format!("{COMPONENT}-{input}"), "source": source, "level": level},
            {"id": COMPONENT, "is_output": true, "source": output, "level": 2},
        ]}));
    }

    /// Says something to the server as an agent, over TLS. Returns the answer.
    fn post(&mut self, path: &str, key: &str, body: &Value) -> Value {
        let url = format!("https://localhost:{}{path}", self.internal_port);
        self.say(&json!({"do": "post", "id": path, "url": url, "key": key, "body": body}));
        let answer = self.until("an answer", |event| event["event"] == "posted");
        assert_eq!(answer["status"], 200, "{answer:#}");
        answer["body"].clone()
    }

    /// Has the server asked for something. Returns the answer.
    fn ask(&mut self, request: &Value) -> Value {
        let mut command = json!({"do": "ask", "id": "asked"});
        for (key, value) in request.as_object().expect("a map") {
            command[key] = value.clone();
        }
        self.say(&command);
        self.until("an answer", |event| event["event"] == "answer")
    }

    /// Both are in the same state, and say the same.
    fn message(&self, input: &str) -> String {
        let (input, output) = (&self.units[input], &self.units[OUTPUT]);
        assert_eq!(input["message"], output["message"]);
        input["message"].as_str().expect("a text").to_owned()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn enrolment() -> Value {
    json!({
        "type": "PERMANENT",
        "metadata": {"local": {"elastic": {"agent": {"version": "9.6.0"}}}, "user_provided": null, "tags": []},
    })
}

/// From the first start of an agent up to where it has enrolled at its server and started anew.
fn enrolled(pieces: u64) -> Option<(Foreign, String, String)> {
    let mut agent = Foreign::start()?;
    agent.want("fleet-server", 0, 2, &json!({}));
    agent.say(&json!({"do": "spawn"}));
    agent.until_units("DEGRADED", &[INPUT, OUTPUT]);
    let message = agent.message(INPUT);
    assert!(message.contains("missing config fleet.agent.id") && message.contains(POLICY), "{message}");
    let token = agent.units[INPUT]["payload"]["enrollment_token"].as_str().expect("a token").to_owned();
    let made = agent.post("/api/fleet/agents/enroll", &token, &enrolment());
    let text = |field: &str| made["item"][field].as_str().expect("a text").to_owned();
    let (id, key) = (text("id"), text("access_api_key"));

    // The agent starts itself anew: other certificates, the same port.
    agent.say(&json!({"do": "again", "id": id, "pieces": pieces}));
    let ended = agent.until("its end", |event| event["event"] == "exited");
    assert_eq!(ended["code"], 0, "{ended}\n{}", agent.log());
    agent.until_units("HEALTHY", &[INPUT, OUTPUT]);
    assert!(agent.message(INPUT).starts_with("Running on policy with Fleet Server integration"));
    assert!(agent.units[INPUT]["payload"].get("enrollment_token").is_none());
    Some((agent, id, key))
}

fn checkin(agent: &mut Foreign, id: &str, key: &str) -> Value {
    let body = json!({"status": "online", "message": "Running", "components": []});
    agent.post(&format!("/api/fleet/agents/{id}/checkin"), key, &body)
}

#[test]
fn an_agent_of_others_enrols_at_the_server_that_it_runs_and_changes_it() {
    let Some((mut agent, id, key)) = enrolled(0) else { return };
    let answer = checkin(&mut agent, &id, &key);
    assert_eq!(answer["actions"][0]["type"], "POLICY_CHANGE", "{answer}");

    agent.ask(&json!({"level": "component"}));

    // The policy has an input of another id: units are swapped, and the server goes on.
    agent.want("of-the-policy", 3, 3, &json!({"limits": {"max_agents": 50}, "runtime": {"gc_percent": 20}}));
    let input = "input fleet-server-default-of-the-policy";
    agent.until_units("HEALTHY", &[input, OUTPUT]);
    assert_eq!((&agent.units[input]["idx"], &agent.units[OUTPUT]["idx"]), (&json!(1), &json!(2)));
    checkin(&mut agent, &id, &key);

    // The unit that logs most decides how much is logged, not what the arguments say.
    assert!(!agent.log().contains(ASKED), "{}", agent.log());
    agent.ask(&json!({"level": "component"}));
    assert!(agent.log().contains(ASKED), "{}", agent.log());

    // Revisions come and go.
    for revision in 4..8 {
        agent.want("of-the-policy", revision, 2, &json!({}));
        agent.until("its index", |event| event["units"][input]["idx"] == revision - 2);
        agent.until_units("HEALTHY", &[input, OUTPUT]);
    }
    assert!(agent.sent < MOST_SENT, "{}", agent.sent);

    let files = agent.ask(&json!({"level": "component"}));
    let text = files["files"]["fleet-server.yml"].as_str().expect("a file");
    assert!(text.contains("internal_port") && !text.contains("a-secret-token"), "{text}");
    assert!(!text.contains("PRIVATE KEY"), "{text}");
    let unit = format!("{COMPONENT}-of-the-policy");
    assert_eq!(agent.ask(&json!({"level": "unit", "unit": unit}))["files"], json!({}));
    // Actions of the agent that are passed on, and what nobody knows.
    let refused = agent.ask(&json!({"name": "UNENROLL", "unit": unit}));
    assert_eq!(
        (&refused["status"], &refused["result"]),
        (&json!("ACTION_STATUS_FAILED"), &json!({"error": "action undefined"}))
    );
    let refused = agent.ask(&json!({"name": "UNENROLL", "unit": "nobody"}));
    assert_eq!(refused["result"], json!({"error": "action unit not found"}));

    // The end of its input ends the agent, by a signal alone.
    agent.commands = None;
    let ended = agent.until("its end", |event| event["event"] == "exited");
    assert_eq!(ended["code"], 0, "{ended}");
}

#[test]
fn a_server_that_was_cut_off_from_an_agent_of_others_hears_of_changes() {
    // All that the agent says comes in pieces.
    let Some((mut agent, id, key)) = enrolled(1) else { return };
    for round in 0..3_u64 {
        agent.say(&json!({"do": "sever"}));
        let opened = agent.until("another stream", |event| event["event"] == "opened");
        assert_eq!((&opened["units"], &opened["pieces"]), (&json!(2), &json!(true)), "{opened}");
        agent.until_units("HEALTHY", &[INPUT, OUTPUT]);
        // An agent that has answered nothing on a stream would never say this on it.
        agent.want("fleet-server", round + 1, 2, &json!({"compression_level": round + 1}));
        agent.until("its index", |event| event["units"][INPUT]["idx"] == round + 2);
        agent.until_units("HEALTHY", &[INPUT, OUTPUT]);
    }
    assert!(agent.sent < MOST_SENT, "{}", agent.sent);
    checkin(&mut agent, &id, &key);
    // Nothing happens, and the agent hears of it all the same: one that does not for 30 s takes it for hung.
    agent.until_silent();
    let sent = agent.sent;
    let began = Instant::now();
    agent.until("a sign of life", |event| event["event"] == "units");
    assert!(began.elapsed() < SILENCE_MAX && agent.sent == sent, "{:?}", began.elapsed());
    agent.commands = None;
    let ended = agent.until("its end", |event| event["event"] == "exited");
    assert_eq!(ended["code"], 0, "{ended}");
}
