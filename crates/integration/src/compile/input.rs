//! An input of a policy, rendered.

use serde_json::{Map, Value, json};

use super::{CompileError, Context, RenderedInput, merge, title, variables};
use crate::check::find_stream;
use crate::otel::{self, Destination};
use crate::package::{DATASET_VAR, LayoutInput, LayoutStream, Package, TYPE_VAR};
use crate::policy::{PackagePolicy, PolicyInput, PolicyStream};
use crate::template::marks;
use crate::yaml;

/// An input that is rendered.
pub(super) struct DoneInput<'a> {
    /// What it is called by agents.
    pub(super) id: String,
    /// Whether agents get it.
    pub(super) is_on: bool,
    /// What stands beside the streams.
    pub(super) content: Option<Map<String, Value>>,
    /// Those that are on.
    pub(super) streams: Vec<DoneStream<'a>>,
}

/// A stream that is rendered.
pub(super) struct DoneStream<'a> {
    /// In the policy's input.
    index: usize,
    /// What its template made.
    content: Map<String, Value>,
    /// As agents get it.
    pub(super) agent_stream: Map<String, Value>,
    pub(super) layout: &'a LayoutStream,
}

impl DoneInput<'_> {
    /// What the templates made, for whoever shows the policy.
    pub(super) fn rendered(self, input: &PolicyInput) -> RenderedInput {
        let mut rendered = RenderedInput { input: self.content, streams: vec![None; input.streams.len()] };
        for stream in self.streams {
            if let Some(place) = rendered.streams.get_mut(stream.index) {
                *place = Some(stream.content);
            }
        }
        rendered
    }
}

impl DoneStream<'_> {
    /// Adds a collector's configuration to that of others.
    pub(super) fn add_to(&self, all: &mut Map<String, Value>, namespace: &str) {
        let stream_id = self.agent_stream.get("id").and_then(Value::as_str).unwrap_or_default();
        let dataset = self.data_stream("dataset");
        otel::add(all, &self.content, &Destination { stream_id, dataset, namespace });
    }

    fn data_stream(&self, key: &str) -> &str {
        self.agent_stream.get("data_stream").and_then(|to| to.get(key)?.as_str()).unwrap_or_default()
    }

    /// The types and datasets that it writes to.
    pub(super) fn targets(&self, input_type: &str) -> Vec<(&str, String)> {
        let dataset = self.data_stream("dataset");
        if input_type != otel::INPUT_TYPE {
            return vec![(self.data_stream("type"), dataset.to_owned())];
        }
        // Exporters of collectors add to the dataset what schema the data has.
        let of = |signal| [(signal, dataset.to_owned()), (signal, format!("{dataset}.otel"))];
        otel::signals(&self.content).into_iter().flat_map(of).collect()
    }
}

pub(super) struct Work<'a> {
    pub(super) package: &'a Package,
    pub(super) policy: &'a PackagePolicy,
    pub(super) context: &'a Context<'a>,
    pub(super) input: &'a PolicyInput,
    pub(super) layout: &'a LayoutInput,
    /// The variables that all inputs share.
    pub(super) shared: &'a Map<String, Value>,
}

impl Work<'_> {
    /// What templates make of the input.
    pub(super) fn input(&self) -> Result<DoneInput<'_>, CompileError> {
        let mut variables = self.shared.clone();
        variables::add(&mut variables, &self.layout.vars, &self.input.vars);
        let id = self.input.agent_id(&self.policy.id);
        variables::set_meta(&mut variables, "input", json!({ "id": id }));
        let mut streams = Vec::with_capacity(self.input.streams.len());
        for (index, stream) in self.input.streams.iter().enumerate().filter(|(_, stream)| stream.enabled) {
            streams.push(self.stream(index, stream, &variables)?);
        }
        let has_none = self.package.data_streams.is_empty() && self.layout.streams.is_empty();
        let is_on = !streams.is_empty() || has_none;
        let content = match &self.layout.template {
            Some(template) if is_on => Some(self.render(template, &Value::Object(variables))?),
            _ => None,
        };
        Ok(DoneInput { id, is_on, content, streams })
    }

    fn stream(
        &self,
        index: usize,
        stream: &PolicyStream,
        variables: &Map<String, Value>,
    ) -> Result<DoneStream<'_>, CompileError> {
        let layout = find_stream(self.layout, stream).ok_or_else(|| CompileError::UnknownStream {
            input: self.input.key(),
            dataset: stream.data_stream.dataset.clone(),
            package: title(self.package),
        })?;
        let id = stream.agent_id(&self.input.kind, &self.policy.id);
        let data_stream = data_stream(layout, stream);
        let mut variables = variables.clone();
        variables::add(&mut variables, &layout.vars, &stream.vars);
        let meta = json!({ "id": id, "data_stream": { "type": data_stream["type"], "dataset": data_stream["dataset"] } });
        variables::set_meta(&mut variables, "stream", meta);
        let content = self.render(&layout.template, &Value::Object(variables))?;
        let mut agent_stream = Map::new();
        agent_stream.insert("id".to_owned(), Value::String(id));
        agent_stream.insert("data_stream".to_owned(), Value::Object(data_stream));
        if let Some(condition) = &stream.condition {
            agent_stream.insert("condition".to_owned(), Value::String(condition.clone()));
        }
        merge(&mut agent_stream, &content);
        Ok(DoneStream { index, content, agent_stream, layout })
    }

    fn render(&self, file: &str, variables: &Value) -> Result<Map<String, Value>, CompileError> {
        let template = match self.package.template(file) {
            Some(Ok(template)) => template,
            Some(Err(error)) => return Err(CompileError::Template(error.clone())),
            None => {
                return Err(CompileError::MissingTemplate {
                    file: file.to_owned(),
                    package: title(self.package),
                });
            }
        };
        let rendered = template.render(variables).map_err(CompileError::Template)?;
        let text = marks::settle(rendered).map_err(|problem| CompileError::Rendered {
            file: file.to_owned(),
            line: 1,
            text: String::new(),
            problem,
        })?;
        let wrong = |line: usize, problem: String| CompileError::Rendered {
            file: file.to_owned(),
            line,
            text: text.lines().nth(line.saturating_sub(1)).unwrap_or_default().chars().take(120).collect(),
            problem,
        };
        match yaml::parse_json(&text) {
            Ok(Value::Object(mut map)) => {
                map.retain(|_, value| !value.is_null());
                Ok(map)
            }
            Ok(Value::Null) => Ok(Map::new()),
            Ok(_) => Err(wrong(1, "it must hold keys and values (key: value)".to_owned())),
            Err(error) => Err(wrong(error.line, error.problem)),
        }
    }
}

/// Where a stream's data goes: as the package has it, or as the variables of an input package do.
fn data_stream(layout: &LayoutStream, stream: &PolicyStream) -> Map<String, Value> {
    let declares = |name: &str| layout.vars.iter().any(|var| var.name == name);
    let set = |name: &str| {
        let text = variables::dataset_text(name, &stream.vars.get(name)?.value).as_str();
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let dataset = declares(DATASET_VAR).then(|| set(DATASET_VAR)).flatten();
    let mut data_stream = Map::new();
    data_stream.insert("type".to_owned(), set(TYPE_VAR).unwrap_or_else(|| layout.kind.clone()).into());
    data_stream.insert("dataset".to_owned(), dataset.unwrap_or_else(|| layout.dataset.clone()).into());
    let mut dynamic = Map::new();
    for (name, is_on) in [
        ("dynamic_dataset", layout.elasticsearch.dynamic_dataset),
        ("dynamic_namespace", layout.elasticsearch.dynamic_namespace),
    ] {
        if is_on {
            dynamic.insert(name.to_owned(), Value::Bool(true));
        }
    }
    if !dynamic.is_empty() {
        data_stream.insert("elasticsearch".to_owned(), Value::Object(dynamic));
    }
    data_stream
}
