//! An input as agents get it.

use serde_json::{Map, Value, json};

use super::input::{DoneInput, Work};
use super::{merge, namespace};

impl DoneInput<'_> {
    /// The input for agents, if any of it is on.
    pub(super) fn agent_input(&self, work: &Work<'_>) -> Option<Value> {
        let streams = self.streams.iter().map(|stream| Value::Object(stream.agent_stream.clone())).collect();
        self.is_on.then(|| work.agent_input(&self.id, streams, self.content.as_ref()))
    }
}

impl Work<'_> {
    fn agent_input(&self, id: &str, streams: Vec<Value>, content: Option<&Map<String, Value>>) -> Value {
        let mut meta = Map::new();
        meta.insert("name".to_owned(), self.package.name.clone().into());
        meta.insert("version".to_owned(), self.package.version.clone().into());
        if let Some(template) = &self.input.policy_template {
            meta.insert("policy_template".to_owned(), template.clone().into());
        }
        if let Some(release) = &self.package.release {
            meta.insert("release".to_owned(), release.clone().into());
        }
        let mut input = Map::new();
        let mut set = |key: &str, value: Value| input.insert(key.to_owned(), value);
        set("name", self.policy.name.clone().into());
        set("revision", self.policy.revision.into());
        set("type", self.input.kind.clone().into());
        set("use_output", self.context.output.into());
        set("meta", json!({ "package": meta }));
        set("data_stream", json!({ "namespace": namespace(self.policy, self.context) }));
        set("package_policy_id", self.policy.id.clone().into());
        if let Some(condition) = &self.input.condition {
            set("condition", condition.clone().into());
        }
        if !streams.is_empty() {
            set("streams", Value::Array(streams));
        }
        if let Some(content) = content {
            merge(&mut input, content);
        }
        self.add_tags(&mut input);
        if let Some(Value::Object(own)) =
            self.policy.overrides.as_ref().and_then(|all| all.get("inputs")?.get(id))
        {
            merge(&mut input, own);
        }
        input.insert("id".to_owned(), id.into());
        Value::Object(input)
    }

    /// The policies' own fields, before whatever the template does.
    fn add_tags(&self, input: &mut Map<String, Value>) {
        let own = self.policy.global_data_tags.as_deref().unwrap_or_default();
        let mut all = Vec::new();
        for tags in [self.context.global_data_tags, own] {
            if !tags.is_empty() {
                let fields: Map<String, Value> =
                    tags.iter().map(|tag| (tag.name.clone(), tag.value.clone())).collect();
                all.push(json!({ "add_fields": { "target": "", "fields": fields } }));
            }
        }
        if all.is_empty() {
            return;
        }
        if let Some(Value::Array(rendered)) = input.remove("processors") {
            all.extend(rendered);
        }
        input.insert("processors".to_owned(), Value::Array(all));
    }
}
