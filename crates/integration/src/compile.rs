//! From a package policy to what agents get.

mod permissions;
mod variables;

use serde_json::{Map, Value, json};

use crate::check::find_stream;
use crate::package::{DATASET_VAR, LayoutInput, LayoutStream, Package, TYPE_VAR};
use crate::policy::{DataTag, PackagePolicy, PolicyInput, PolicyStream};
use crate::template::{TemplateError, marks};
use crate::yaml;

/// What a package policy's compilation needs to know beyond it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// The output's name in the agent's policy: what `use_output` says.
    pub output: &'a str,
    /// The output's id, for templates.
    pub output_id: &'a str,
    /// The output's type, for templates.
    pub output_type: &'a str,
    /// The agent policy's id, for templates.
    pub agent_policy_id: &'a str,
    /// The agent policy's name, for templates.
    pub agent_policy_name: &'a str,
    /// The agent policy's namespace: where the package policy names none.
    pub agent_policy_namespace: &'a str,
    /// Fields of all data of the agent policy.
    pub global_data_tags: &'a [DataTag],
}

/// What a package policy comes to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Compiled {
    /// Inputs as agents get them.
    pub inputs: Vec<Value>,
    /// What its agents may do, an entry of `output_permissions.<output>`; `None` if nothing.
    pub permissions: Option<Value>,
    /// What each template made, in the order of the policy's inputs.
    pub rendered: Vec<RenderedInput>,
}

/// What templates made of an input. `None` for what is not on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RenderedInput {
    /// What stands beside the streams.
    pub input: Option<Map<String, Value>>,
    /// In the order of the policy's streams.
    pub streams: Vec<Option<Map<String, Value>>>,
}

/// Why a package policy cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The package has no such input.
    #[error("inputs.{input}: the package {package} has no such input")]
    UnknownInput {
        /// In the simplified shape.
        input: String,
        /// `<name>-<version>`.
        package: String,
    },
    /// The input has no such stream.
    #[error("inputs.{input}.streams.{dataset}: the package {package} has no such stream")]
    UnknownStream {
        /// In the simplified shape.
        input: String,
        /// The stream's dataset.
        dataset: String,
        /// `<name>-<version>`.
        package: String,
    },
    /// The package names a template that it does not have.
    #[error("{file}: the package {package} has no such template")]
    MissingTemplate {
        /// Below the package's folder.
        file: String,
        /// `<name>-<version>`.
        package: String,
    },
    /// A template is broken, or runs too long.
    #[error("the template cannot be rendered")]
    Template(#[source] TemplateError),
    /// What a template made is not YAML: often a value that does not fit where it stands.
    #[error("{file}: what was rendered is not a map in YAML; its line {line}, {text:?}: {problem}")]
    Rendered {
        /// The template, below the package's folder.
        file: String,
        /// Of what was rendered, from 1.
        line: usize,
        /// That line, or its beginning.
        text: String,
        /// A sentence without its end.
        problem: String,
    },
}

/// Compiles a package policy. It costs some microseconds a stream.
///
/// # Errors
/// An input that is on and not of the package, or a template that cannot be rendered.
pub fn compile(
    package: &Package,
    policy: &PackagePolicy,
    context: &Context<'_>,
) -> Result<Compiled, CompileError> {
    let mut compiled = Compiled::default();
    let shared = variables::of_package(package, policy, context);
    let mut granted = permissions::Granted::new(namespace(policy, context));
    for input in &policy.inputs {
        if !(policy.enabled && input.enabled) {
            compiled.rendered.push(RenderedInput { input: None, streams: vec![None; input.streams.len()] });
            continue;
        }
        let layout = layout_of(package, input)?;
        let work = Work { package, policy, context, input, layout, shared: &shared };
        let (rendered, agent_input) = work.input(&mut granted)?;
        compiled.rendered.push(rendered);
        compiled.inputs.extend(agent_input);
    }
    if policy.enabled {
        compiled.permissions = granted.finish(package, policy);
    }
    Ok(compiled)
}

/// The namespace of a package policy's data.
#[must_use]
pub fn namespace<'a>(policy: &'a PackagePolicy, context: &Context<'a>) -> &'a str {
    let own = policy.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    let of_agents = Some(context.agent_policy_namespace).filter(|namespace| !namespace.is_empty());
    own.or(of_agents).unwrap_or("default")
}

fn layout_of<'a>(package: &'a Package, input: &PolicyInput) -> Result<&'a LayoutInput, CompileError> {
    find_input(package, input)
        .ok_or_else(|| CompileError::UnknownInput { input: input.key(), package: title(package) })
}

/// The input of a package that a policy's input is. Older policies do not name the policy template.
pub(crate) fn find_input<'a>(package: &'a Package, input: &PolicyInput) -> Option<&'a LayoutInput> {
    package.layout().iter().find(|layout| {
        layout.kind == input.kind
            && input.policy_template.as_ref().is_none_or(|template| *template == layout.policy_template)
    })
}

fn title(package: &Package) -> String {
    format!("{}-{}", package.name, package.version)
}

/// A stream that is on.
struct Rendered<'a> {
    /// What its template made.
    content: Map<String, Value>,
    /// As agents get it.
    agent_stream: Map<String, Value>,
    layout: &'a LayoutStream,
}

struct Work<'a> {
    package: &'a Package,
    policy: &'a PackagePolicy,
    context: &'a Context<'a>,
    input: &'a PolicyInput,
    layout: &'a LayoutInput,
    shared: &'a Map<String, Value>,
}

impl Work<'_> {
    /// What templates make of the input, and the input for agents if any of it is on.
    fn input(
        &self,
        granted: &mut permissions::Granted<'_>,
    ) -> Result<(RenderedInput, Option<Value>), CompileError> {
        let mut variables = self.shared.clone();
        variables::add(&mut variables, &self.layout.vars, &self.input.vars);
        let id = self.input.agent_id(&self.policy.id);
        variables::set_meta(&mut variables, "input", json!({ "id": id }));
        let mut rendered = RenderedInput::default();
        let mut streams = Vec::with_capacity(self.input.streams.len());
        for stream in &self.input.streams {
            if !stream.enabled {
                rendered.streams.push(None);
                continue;
            }
            let Rendered { content, agent_stream, layout } = self.stream(stream, &variables)?;
            granted.add(layout, &agent_stream);
            streams.push(Value::Object(agent_stream));
            rendered.streams.push(Some(content));
        }
        if streams.is_empty() && !self.package.data_streams.is_empty() {
            return Ok((rendered, None));
        }
        let content = match &self.layout.template {
            Some(template) => self.render(template, &Value::Object(variables))?,
            None => Map::new(),
        };
        let agent_input = self.agent_input(id, streams, &content);
        rendered.input = self.layout.template.is_some().then_some(content);
        Ok((rendered, Some(agent_input)))
    }

    fn stream(
        &self,
        stream: &PolicyStream,
        variables: &Map<String, Value>,
    ) -> Result<Rendered<'_>, CompileError> {
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
        Ok(Rendered { content, agent_stream, layout })
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
        let text = marks::settle(template.render(variables).map_err(CompileError::Template)?);
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

    fn agent_input(&self, id: String, streams: Vec<Value>, content: &Map<String, Value>) -> Value {
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
        merge(&mut input, content);
        self.add_tags(&mut input);
        if let Some(Value::Object(own)) =
            self.policy.overrides.as_ref().and_then(|all| all.get("inputs")?.get(&id))
        {
            merge(&mut input, own);
        }
        input.insert("id".to_owned(), Value::String(id));
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

/// Where a stream's data goes: as the package has it, or as the variables of an input package do.
fn data_stream(layout: &LayoutStream, stream: &PolicyStream) -> Map<String, Value> {
    let declares = |name: &str| layout.vars.iter().any(|var| var.name == name);
    let set = |name: &str| {
        let value = &stream.vars.get(name)?.value;
        // Pages that offer the known datasets send an object.
        let text = value.as_str().or_else(|| value.get("dataset")?.as_str());
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

/// Lays a map over another, maps into maps.
fn merge(under: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(Value::Object(under)), Value::Object(over)) => merge(under, over),
            _ => {
                under.insert(key.clone(), value.clone());
            }
        }
    }
}
