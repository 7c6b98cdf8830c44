//! What an agent collects of itself, when its policy says so.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::plan::{Finding, Input, Plan};

/// How often it is measured without another word.
const PERIOD: Duration = Duration::from_secs(60);
/// Its log, and its figures.
const LOG: &str = "filestream-monitoring-agent";
const METRICS: &str = "metrics-monitoring-agent";

impl Plan {
    /// Adds what the agent collects of itself as inputs, if the policy wants that and its output is there. `log`: the
    /// file of its log; `None`: it logs elsewhere, where others may collect it.
    pub fn add_own(&mut self, log: Option<&Path>) {
        let settings = self.settings.clone();
        let (output, namespace) = (&settings.monitoring_output, &settings.monitoring_namespace);
        if !settings.monitor_logs && !settings.monitor_metrics {
            return;
        }
        if !self.has_output(output) {
            let message =
                format!("agent.monitoring.use_output: there is no output {output:?} that could be used");
            return self.findings.push(Finding { about: "agent".to_owned(), message });
        }
        if let Some(log) = log.filter(|_| settings.monitor_logs) {
            let stream = json!({
                "data_stream": {"type": "logs", "dataset": "elastic_agent", "namespace": namespace},
                "paths": [log],
                "parsers": [{"ndjson": {"target": "", "overwrite_keys": true, "add_error_key": true}}],
            });
            self.add_own_input(LOG, "filestream", stream);
        }
        if settings.monitor_metrics {
            let period = settings.metrics_period.unwrap_or(PERIOD);
            let stream = json!({
                "data_stream": {"type": "metrics", "dataset": "elastic_agent.elastic_agent", "namespace": namespace},
                "period": format!("{}ms", period.as_millis()),
            });
            self.add_own_input(METRICS, "agent/metrics", stream);
        }
    }

    fn add_own_input(&mut self, id: &str, kind: &str, mut stream: Value) {
        stream["id"] = id.into();
        let output = self.settings.monitoring_output.clone();
        let namespace = &self.settings.monitoring_namespace;
        let mut config = Map::new();
        config.insert("id".to_owned(), id.into());
        config.insert("type".to_owned(), kind.into());
        config.insert("use_output".to_owned(), output.as_str().into());
        config.insert("data_stream".to_owned(), json!({"namespace": namespace}));
        config.insert("streams".to_owned(), json!([stream]));
        self.inputs.push(Input {
            id: id.to_owned(),
            kind: kind.to_owned(),
            output,
            config,
            own_output: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Facts, plan};

    fn of(monitoring: &Value, log: Option<&Path>) -> Plan {
        let policy = json!({"id": "p", "revision": 1, "outputs": {"default": {"type": "file"}, "o": {"type": "file"}},
            "agent": {"monitoring": monitoring}});
        let mut plan = plan(policy.as_object().unwrap(), &Facts::default()).unwrap();
        plan.add_own(log);
        plan
    }

    #[test]
    fn the_policy_says_what_is_collected_and_where_it_goes() {
        let log = Some(Path::new("/log"));
        let both = of(&json!({"use_output": "o", "namespace": "n", "metrics_period": "5s"}), log);
        let kinds: Vec<(&str, &str)> =
            both.inputs.iter().map(|input| (input.kind.as_str(), input.output.as_str())).collect();
        assert_eq!(kinds, [("filestream", "o"), ("agent/metrics", "o")]);
        let stream = &both.inputs[1].config["streams"][0];
        assert_eq!((&stream["period"], &stream["data_stream"]["namespace"]), (&json!("5000ms"), &json!("n")));
        assert_eq!(of(&json!({"metrics": true}), None).inputs.len(), 1);
        for off in [json!({"enabled": false}), json!({"logs": false, "metrics": false}), json!(null)] {
            assert!(of(&off, log).inputs.is_empty());
        }
        let missing = of(&json!({"use_output": "x"}), log);
        assert!(missing.inputs.is_empty() && missing.findings[0].message.contains("use_output"));
    }
}
