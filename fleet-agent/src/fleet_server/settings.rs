//! What was said of the server at the enrolment, kept with the agent's identity.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::certificate::{Authority, CertificateError, Certified};
use crate::fleet::{SettingsError, take_in_files};
use crate::policy::{Broken, Input, Output, Plan};

/// The type of its input.
pub const KIND: &str = "fleet-server";
/// The one type of outputs that it takes.
const OUTPUT_KIND: &str = "elasticsearch";
/// The output of the first input.
const FIRST_OUTPUT: &str = "default";

/// A Fleet Server that this agent runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FleetServer {
    /// The policy of its agent; empty: the server's own choice.
    pub policy_id: String,
    /// `server` of its input: `host`, `port`, `internal_port`, `ssl`. It goes before what the policy says.
    pub server: Map<String, Value>,
    /// How its engine is reached: `protocol`, `hosts`, `service_token` and so on; empty: it keeps documents itself.
    pub engine: Map<String, Value>,
    /// How long it may take to be healthy after the enrolment, in seconds.
    pub init_seconds: u64,
    /// Who certifies it; `None`: it was given a certificate, or has none.
    pub authority: Option<Authority>,
}

impl FleetServer {
    /// Has it certified anew, if that is due. Returns whether it was.
    ///
    /// # Errors
    /// A name cannot be in a certificate.
    pub fn renew(&mut self, now: i64, lifetime: Duration) -> Result<bool, CertificateError> {
        let Some(authority) = self.authority.as_mut().filter(|authority| authority.is_due(now, lifetime))
        else {
            return Ok(false);
        };
        let Certified { certificate, key } = authority.certify(now, lifetime)?;
        let ssl = self.server.entry("ssl").or_insert_with(|| json!({"enabled": true}));
        if let Some(ssl) = ssl.as_object_mut() {
            ssl.insert("certificate".to_owned(), certificate.into());
            ssl.insert("key".to_owned(), key.into());
        }
        Ok(true)
    }

    /// How long it may take to be healthy after the enrolment.
    #[must_use]
    pub fn init_within(&self) -> Duration {
        Duration::from_secs(self.init_seconds)
    }

    /// Puts the content of the files that it names in their place. Returns their names.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn take_in_files(&mut self) -> Result<Vec<String>, SettingsError> {
        let mut taken = Vec::new();
        for of in [&mut self.server, &mut self.engine] {
            if let Some(Value::Object(ssl)) = of.get_mut("ssl") {
                taken.extend(take_in_files(ssl)?);
            }
        }
        Ok(taken)
    }

    /// What runs while there is no policy: the server alone.
    #[must_use]
    pub fn first_plan(&self) -> Plan {
        let config =
            json!({"id": KIND, "type": KIND, "server": self.server, "policy": self.policy("", None)});
        let mut output = Map::from_iter([("type".to_owned(), OUTPUT_KIND.into())]);
        if let Some(hosts) = self.engine.get("hosts") {
            output.insert("hosts".to_owned(), hosts.clone());
        }
        let input = Input {
            id: KIND.to_owned(),
            kind: KIND.to_owned(),
            output: FIRST_OUTPUT.to_owned(),
            config: as_map(config),
            own_output: Some(self.with_engine(output.clone())),
        };
        let output = Output { name: FIRST_OUTPUT.to_owned(), kind: OUTPUT_KIND.to_owned(), config: output };
        Plan { inputs: vec![input], outputs: vec![output], ..Plan::default() }
    }

    /// Lays what was said at the enrolment over what a policy says of the server.
    pub fn lay_over(&self, plan: &mut Plan) {
        let (policy_id, revision) = (plan.policy_id.clone(), plan.revision);
        for input in plan.inputs.iter_mut().filter(|input| input.kind == KIND) {
            let mut server =
                input.config.get("server").and_then(Value::as_object).cloned().unwrap_or_default();
            server.extend(self.server.clone());
            input.config.insert("server".to_owned(), Value::Object(server));
            input.config.insert("policy".to_owned(), self.policy(&policy_id, Some(revision)));
            let output = plan.outputs.iter().find(|output| output.name == input.output);
            let mut output = output.map(|output| output.config.clone()).unwrap_or_default();
            // Agents' keys are not the server's, and it takes one type of outputs only: with its own documents, any
            // other is as good.
            output.remove("api_key");
            output.insert("type".to_owned(), OUTPUT_KIND.into());
            input.own_output = Some(self.with_engine(output));
        }
    }

    fn policy(&self, of_the_plan: &str, revision: Option<i64>) -> Value {
        let id = if self.policy_id.is_empty() { of_the_plan } else { &self.policy_id };
        let mut policy = Map::new();
        if !id.is_empty() {
            policy.insert("id".to_owned(), id.into());
        }
        if let Some(revision) = revision {
            policy.insert("revision".to_owned(), revision.into());
        }
        Value::Object(policy)
    }

    fn with_engine(&self, mut output: Map<String, Value>) -> Map<String, Value> {
        if !self.engine.is_empty() {
            output.insert("bootstrap".to_owned(), Value::Object(self.engine.clone()));
        }
        output
    }
}

/// An agent that was not told so at its enrolment runs no server: it would not know how agents reach it.
pub(crate) fn refuse(plan: &mut Plan) {
    let (refused, kept) = std::mem::take(&mut plan.inputs).into_iter().partition(|input| input.kind == KIND);
    plan.inputs = kept;
    let refused: Vec<Input> = refused;
    plan.broken.extend(refused.into_iter().map(|input| Broken {
        reason: "the Fleet Server must be bootstrapped: enroll this agent with --fleet-server-port (or another flag of that family)"
            .to_owned(),
        id: input.id,
        kind: input.kind,
        output: input.output,
    }));
}

fn as_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Facts, plan};

    fn settings() -> FleetServer {
        FleetServer {
            server: as_map(json!({"host": "0.0.0.0", "port": 8220})),
            engine: as_map(json!({"protocol": "https", "hosts": ["es:9200"], "service_token": "t"})),
            ..FleetServer::default()
        }
    }

    #[test]
    fn what_was_said_at_the_enrolment_goes_before_the_policy() {
        let policy = json!({"id": "p", "revision": 3, "outputs": {"default": {"type": "elasticsearch", "api_key": "a:b", "hosts": ["x"]}},
            "inputs": [{"id": "f", "type": "fleet-server", "server": {"port": 1, "limits": {"max_agents": 9}}}, {"id": "o", "type": "filestream"}]});
        let mut plan = plan(policy.as_object().unwrap(), &Facts::default()).unwrap();
        settings().lay_over(&mut plan);
        let input = &plan.inputs[0];
        assert_eq!(
            input.config["server"],
            json!({"host": "0.0.0.0", "port": 8220, "limits": {"max_agents": 9}})
        );
        assert_eq!(input.config["policy"], json!({"id": "p", "revision": 3}));
        let output = Value::Object(input.own_output.clone().unwrap());
        assert_eq!(output["bootstrap"]["service_token"], "t");
        assert_eq!((output.get("api_key"), &output["hosts"]), (None, &json!(["x"])));
        assert_eq!(plan.inputs[1].own_output, None);
        assert_eq!(plan.outputs[0].config["api_key"], "a:b");
    }

    #[test]
    fn without_a_policy_the_server_is_all_there_is() {
        let plan = settings().first_plan();
        assert_eq!((plan.inputs.len(), plan.inputs[0].output.as_str()), (1, "default"));
        let output = plan.inputs[0].own_output.clone().unwrap();
        assert_eq!(output["hosts"], json!(["es:9200"]));
        assert_eq!(output["bootstrap"]["protocol"], "https");
        let own = FleetServer::default().first_plan();
        assert_eq!(own.inputs[0].own_output, Some(as_map(json!({"type": "elasticsearch"}))));
    }

    #[test]
    fn an_agent_that_was_not_told_so_runs_no_server() {
        let policy = json!({"id": "p", "revision": 3, "outputs": {"default": {"type": "elasticsearch"}},
            "inputs": [{"id": "f", "type": "fleet-server"}, {"id": "o", "type": "filestream"}]});
        let mut plan = plan(policy.as_object().unwrap(), &Facts::default()).unwrap();
        refuse(&mut plan);
        assert_eq!((plan.inputs.len(), plan.broken[0].id.as_str()), (1, "f"));
        assert!(plan.broken[0].reason.contains("must be bootstrapped"));
    }
}
