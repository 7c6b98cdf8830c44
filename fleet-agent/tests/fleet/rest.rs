//! An agent that does not run is looked at all the same.

use std::fs;
use std::io::Read;

use serde_json::json;

use crate::agent::Agent;
use crate::server::Server;

const SECRET: &str = "top-secret-key";

#[tokio::test]
async fn what_it_keeps_is_shown_without_its_secrets() {
    let server = Server::start();
    let inputs = json!([{"id": "lines", "type": "filestream", "paths": ["/no/such/${host.platform}"]}]);
    let outputs = json!({"default": {"type": "file", "path": "/tmp/x", "hosts": null, "api_key": SECRET}});
    let (_, key) = server.policy("one", json!({"inputs": inputs, "outputs": outputs})).await;
    let mut agent = Agent::new();
    let stranger = agent.verb(&["inspect"]);
    assert!(String::from_utf8_lossy(&stranger.stderr).contains("not running"), "{stranger:?}");
    assert!(!agent.home().join("data").exists(), "a look has made something");
    let id = agent.enroll(&server, &key, &[]);
    agent.run();
    agent.await_status("on its policy", |status| status["policy_revision"] == 1).await;
    agent.stop();

    let sealed = fs::read(agent.state_file("policy")).unwrap();
    let shown = agent.verb(&["inspect"]);
    assert!(String::from_utf8_lossy(&shown.stderr).contains("does not run"), "{shown:?}");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("lines") && shown.contains("REDACTED") && !shown.contains(SECRET), "{shown}");
    let input = agent.well(&["inspect", "components", "lines"]);
    assert!(input.contains("/no/such/linux"), "{input}");

    let zip = agent.home().join("diagnostics.zip");
    agent.well(&["diagnostics", "--file", zip.to_str().unwrap()]);
    let mut archive = zip::ZipArchive::new(fs::File::open(&zip).unwrap()).unwrap();
    for index in 0..archive.len() {
        let mut text = String::new();
        archive.by_index(index).unwrap().read_to_string(&mut text).unwrap();
        assert!(!text.contains(SECRET));
    }
    let mut state = String::new();
    archive.by_name("state.yaml").unwrap().read_to_string(&mut state).unwrap();
    assert!(state.contains(&id) && state.contains("STOPPED"), "{state}");
    assert_eq!(fs::read(agent.state_file("policy")).unwrap(), sealed);

    // Why it does not run may be its configuration file.
    fs::write(agent.home().join("fleet-agent.yml"), "agent: [").unwrap();
    let shown = agent.verb(&["inspect"]);
    let problem = String::from_utf8_lossy(&shown.stderr).into_owned();
    assert!(problem.contains("cannot start") && problem.contains("fleet-agent.yml:"), "{problem}");
    assert!(String::from_utf8_lossy(&shown.stdout).contains("lines"), "{shown:?}");
    agent.well(&["diagnostics", "--file", zip.to_str().unwrap()]);
}

#[test]
fn the_version_is_told_in_each_way_that_people_try() {
    let agent = Agent::new();
    for arguments in [["--version"], ["-V"], ["version"]] {
        assert!(agent.well(&arguments).contains("9.6.0"), "{arguments:?}");
    }
}
