//! Somebody sets the clock of the machine.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::agent::Agent;
use crate::collecting::await_lines;
use crate::server::Server;

const DAY: i64 = 24 * 3600;
const TEN_YEARS: i64 = 3652 * DAY;

/// The time of day of a process, which is set from here.
struct Clock {
    directory: tempfile::TempDir,
    ahead: File,
    library: PathBuf,
}

impl Clock {
    fn new() -> Clock {
        let directory = tempfile::tempdir().unwrap();
        let ahead = File::create(directory.path().join("ahead")).unwrap();
        let library = directory.path().join("clock.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fleet/clock.c");
        let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
        assert!(built.unwrap().success(), "{source} does not build");
        let clock = Clock { directory, ahead, library };
        clock.set(0);
        clock
    }

    fn set(&self, ahead: i64) {
        self.ahead.write_all_at(&ahead.to_ne_bytes(), 0).unwrap();
    }

    fn run(&self, agent: &mut Agent) {
        let file = self.directory.path().join("ahead");
        let environment =
            [("LD_PRELOAD", self.library.to_str().unwrap()), ("CLOCK_AHEAD", file.to_str().unwrap())];
        agent.run_as(&["run", "-e"], &environment);
    }
}

fn policy(logs: &Path, out: &Path) -> Value {
    json!({
        "agent": {"monitoring": {"enabled": false}},
        "outputs": {"default": {"type": "file", "path": out, "filename": "out", "hosts": null, "preset": null}},
        "inputs": [{
            "id": "lines", "type": "filestream", "use_output": "default",
            "streams": [{
                "id": "lines-1",
                "data_stream": {"dataset": "test", "type": "logs"},
                "paths": [logs.join("*.log")],
                "parsers": [{"multiline": {"type": "pattern", "pattern": "^ ", "negate": false, "match": "after", "timeout": "1s"}}],
                "prospector": {"scanner": {"check_interval": "200ms", "fingerprint": {"enabled": false}}},
                "file_identity": {"native": null},
            }],
        }],
    })
}

#[tokio::test]
async fn an_agent_whose_clock_is_set_goes_on_and_holds_and_drops_nothing() {
    let (server, clock) = (Server::start(), Clock::new());
    let (logs, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, key) = server.policy("one", policy(logs.path(), out.path())).await;
    let mut agent = Agent::new();
    // Certificates have their times: who verifies them cannot reach anybody meanwhile.
    let id = agent.enroll(&server, &key, &["--insecure"]);
    clock.run(&mut agent);
    let mut first = File::create(logs.path().join("first.log")).unwrap();
    writeln!(first, "0").unwrap();
    await_lines(&agent, out.path(), 1).await;
    let later = scheduled(&server, &id, DAY / 2).await;
    agent.await_status("waiting for its upgrade", is_scheduled).await;

    let mut lines = 1;
    for ahead in [DAY, -DAY, TEN_YEARS, -TEN_YEARS] {
        clock.set(ahead);
        // What is new, what has grown, and what waits for more that does not come.
        fs::write(logs.path().join(format!("{ahead}.log")), format!("{ahead}\n")).unwrap();
        writeln!(first, "{ahead}").unwrap();
        lines += 2;
        await_lines(&agent, out.path(), lines).await;
        let settings = server.action(&id, "SETTINGS", json!({"log_level": "debug"})).await;
        assert_eq!(server.await_action(&settings).await["status"], "COMPLETE", "{ahead}");
        let status = agent.status().unwrap();
        assert!(is_scheduled(&status) && status["fleet_state"] == "HEALTHY", "{ahead}: {status:#?}");
    }

    // What its server has put off a little is begun when that is over, by the server's clock.
    server.post(&format!("/api/fleet/agents/actions/{later}/cancel"), json!({})).await;
    let soon = scheduled(&server, &id, 2).await;
    let begun = server.await_action(&soon).await;
    assert!(begun.to_string().contains("was not installed"), "{begun}");
    assert!(agent.log().contains("was not installed"), "{}", agent.log());
    agent.stop();
}

fn is_scheduled(status: &Value) -> bool {
    status["upgrade_details"]["state"] == "UPG_SCHEDULED"
}

/// An upgrade that is due in so many seconds; its id.
async fn scheduled(server: &Server, id: &str, seconds: i64) -> String {
    let due = OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
    let body = json!({"version": "9.6.1", "start_time": due.format(&Rfc3339).unwrap(), "agents": [id], "force": true});
    let made = server.post("/api/fleet/agents/bulk_upgrade", body).await;
    made["actionId"].as_str().unwrap().to_owned()
}
