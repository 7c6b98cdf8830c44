//! A fleet-server on a machine, and somebody who manages it from there.

use std::path::Path;
use std::time::Duration;

use fleet_tests::{HarnessError, Machine, NotYet, program, wait_for};
use serde_json::{Value, json};

/// Whatever a test waits for, unless it says otherwise.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// An action for which an agent starts again, more than once when it fails.
const ACTION_MAX: Duration = Duration::from_secs(90);
const PASSWORD: &str = "correct horse battery staple";

/// The management API of a machine's fleet-server.
#[derive(Debug)]
pub(crate) struct Office<'a> {
    machine: &'a Machine,
    password: String,
}

impl<'a> Office<'a> {
    /// Starts the service that is shipped, with an administrator's password of the test's own.
    pub(crate) async fn open(machine: &'a Machine) -> Result<Office<'a>, HarnessError> {
        put_program(machine, "fleet-server").await?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
        let unit = root.join("deploy/systemd/fleet-server.service");
        let unit = std::fs::read_to_string(&unit)
            .map_err(|error| HarnessError::Unexpected(format!("{}: {error}", unit.display())))?;
        machine.write_file("/etc/systemd/system/fleet-server.service", &unit).await?;
        let drop_ins = "/etc/systemd/system/fleet-server.service.d";
        machine.exec(["mkdir", "-p", "/etc/fleet-server", drop_ins]).await?.success()?;
        machine.write_file("/etc/fleet-server/password", PASSWORD).await?;
        let credential = "[Service]\nLoadCredential=admin-password:/etc/fleet-server/password\n\
            Environment=FLEET_ADMIN_PASSWORD_FILE=%d/admin-password\n";
        machine.write_file(&format!("{drop_ins}/password.conf"), credential).await?;
        machine.exec(["systemctl", "daemon-reload"]).await?.success()?;
        machine.exec(["systemctl", "start", "fleet-server"]).await?.success()?;
        Ok(Office { machine, password: PASSWORD.to_owned() })
    }

    /// That of the server which an agent runs as one of its components, and which keeps its documents there.
    pub(crate) async fn of_agent(machine: &'a Machine, documents: &str) -> Result<Office<'a>, HarnessError> {
        let password = machine.read_file(&format!("{documents}/admin-password")).await?;
        Ok(Office { machine, password })
    }

    /// Where agents enrol.
    pub(crate) fn url(&self) -> String {
        format!("https://{}:8220", self.machine.address())
    }

    /// The certificate of its authority.
    pub(crate) async fn authority(&self) -> Result<String, HarnessError> {
        self.machine.read_file("/var/lib/fleet-server/ca.pem").await
    }

    /// One request; a status of 400 and more is an error.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, HarnessError> {
        let (url, user) = (format!("http://127.0.0.1:5601{path}"), format!("admin:{}", self.password));
        let curl = [
            "curl",
            "--silent",
            "--show-error",
            "--fail-with-body",
            "--user",
            &user,
            "--request",
            method,
            "--header",
            "kbn-xsrf: true",
            "--header",
            "content-type: application/json",
            "--data-binary",
            "@-",
            &url,
        ];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.machine.exec_with_input(curl, body).await?;
        let said = answer.stdout.clone();
        answer
            .success()
            .map_err(|error| HarnessError::Unexpected(format!("{method} {path}: {said}: {error}")))?;
        serde_json::from_str(&said)
            .map_err(|error| HarnessError::Unexpected(format!("{method} {path}: {error} in {said:?}")))
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, HarnessError> {
        self.ask("GET", path, &Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Result<Value, HarnessError> {
        self.ask("POST", path, &body).await
    }

    /// Adds an integration to a policy; returns its id.
    pub(crate) async fn add(
        &self,
        policy: &str,
        package: &str,
        name: &str,
        inputs: Value,
    ) -> Result<String, HarnessError> {
        let found = self.get(&format!("/api/fleet/epm/packages/{package}")).await?;
        let version = text(&found["item"]["version"]);
        let body = json!({
            "name": name, "policy_ids": [policy], "inputs": inputs,
            "package": {"name": package, "version": version},
        });
        let made = self.post("/api/fleet/package_policies", body).await?;
        Ok(text(&made["item"]["id"]))
    }

    /// Makes a policy with these settings of an agent's policy laid over it; its id, and a key to enrol with.
    pub(crate) async fn policy(
        &self,
        name: &str,
        overrides: Value,
    ) -> Result<(String, String), HarnessError> {
        let body = json!({"name": name, "namespace": "default", "overrides": overrides});
        let made = self.post("/api/fleet/agent_policies", body).await?;
        let id = text(&made["item"]["id"]);
        let keys = self.get(&format!("/api/fleet/enrollment_api_keys?kuery=policy_id:{id}")).await?;
        Ok((id, text(&keys["items"][0]["api_key"])))
    }

    /// Saves another revision of it; its number.
    pub(crate) async fn save(&self, id: &str, name: &str, overrides: Value) -> Result<Value, HarnessError> {
        let body = json!({"name": name, "namespace": "default", "overrides": overrides});
        let mut saved = self.ask("PUT", &format!("/api/fleet/agent_policies/{id}"), &body).await?;
        Ok(saved["item"]["revision"].take())
    }

    pub(crate) async fn agent(&self, id: &str) -> Result<Value, HarnessError> {
        Ok(self.get(&format!("/api/fleet/agents/{id}")).await?["item"].take())
    }

    /// Waits until the API says of an agent what it should.
    pub(crate) async fn await_agent(
        &self,
        id: &str,
        what: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Result<Value, HarnessError> {
        wait_for(what, SOON, async || {
            let agent = self.agent(id).await?;
            if is(&agent) { Ok(agent) } else { Err(NotYet::saw(agent.to_string())) }
        })
        .await
    }
}

/// Puts a program of this workspace into a machine.
pub(crate) async fn put_program(machine: &Machine, name: &str) -> Result<(), HarnessError> {
    let (from, to) = (program(name).await?, machine.programs().join(name));
    std::fs::copy(&from, &to)
        .map_err(|error| HarnessError::Unexpected(format!("{}: {error}", from.display())))?;
    let (program, command) = (format!("/opt/fleet/{name}"), format!("/usr/bin/{name}"));
    machine.exec(["ln", "-sf", program.as_str(), command.as_str()]).await?.success()?;
    Ok(())
}

/// Installs the agent with these flags; what it said.
pub(crate) async fn install(machine: &Machine, flags: &[&str]) -> Result<String, HarnessError> {
    put_program(machine, "fleet-agent").await?;
    let program = ["/opt/fleet/fleet-agent", "install", "--non-interactive"];
    let argv = program.iter().chain(flags).copied();
    Ok(machine.exec(argv).await?.success()?.stdout)
}

/// The id of the agent that has enrolled.
pub(crate) fn enrolled(said: &str) -> Result<String, HarnessError> {
    let id = said.lines().find_map(|line| line.strip_prefix("Successfully enrolled the agent: "));
    id.map(str::to_owned).ok_or_else(|| HarnessError::Unexpected(format!("nobody enrolled: {said:?}")))
}

/// The user of the agent's process.
pub(crate) async fn runs_as(machine: &Machine) -> Result<String, HarnessError> {
    let pid = machine.property("fleet-agent", "MainPID").await?;
    let user = machine.exec(["ps", "-o", "user:32=", "-p", &pid]).await?.success()?;
    Ok(user.stdout.trim().to_owned())
}

/// Waits until an action has ended; what came of it.
pub(crate) async fn await_action(office: &Office<'_>, id: &str) -> Result<Value, HarnessError> {
    wait_for(format!("action {id} has ended"), ACTION_MAX, async || {
        let all = office.get("/api/fleet/agents/action_status?perPage=100").await?;
        let found = all["items"].as_array().into_iter().flatten().find(|one| one["actionId"] == id);
        match found {
            Some(found) if found["status"] != "IN_PROGRESS" => Ok(found.clone()),
            found => Err(NotYet::saw(format!("{found:?}"))),
        }
    })
    .await
}

/// A text of a document; empty if it is none.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
