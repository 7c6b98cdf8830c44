//! From a package policy to what agents get.

mod agent;
mod input;
mod permissions;
mod variables;

use std::collections::BTreeSet;

use self::input::Work;
use serde_json::{Map, Value};

use crate::assets::Target;
use crate::otel;
use crate::package::{LayoutInput, Package};
use crate::policy::{DataTag, PackagePolicy, PolicyInput};
use crate::template::TemplateError;

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
    /// What goes to the top of the agent's policy: `receivers`, `processors`, `service` … of
    /// [collectors](crate::otel). Empty where there are none.
    pub otel: Map<String, Value>,
    /// Where its data goes, as far as that is known before there is any.
    pub targets: BTreeSet<Target>,
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
    let namespace = namespace(policy, context);
    let mut granted = permissions::Granted::new(namespace);
    for input in &policy.inputs {
        if !(policy.enabled && input.enabled) {
            compiled.rendered.push(RenderedInput { input: None, streams: vec![None; input.streams.len()] });
            continue;
        }
        let layout = layout_of(package, input)?;
        let work = Work { package, policy, context, input, layout, shared: &shared };
        let done = work.input()?;
        for stream in &done.streams {
            for (kind, dataset) in stream.targets(&input.kind) {
                granted.add(stream.layout, kind, &dataset);
                if !stream.layout.elasticsearch.dynamic_dataset {
                    let (kind, folder) = (kind.to_owned(), stream.layout.folder().to_owned());
                    compiled.targets.insert(Target { kind, dataset, folder });
                }
            }
        }
        if input.kind == otel::INPUT_TYPE {
            done.streams.iter().for_each(|stream| stream.add_to(&mut compiled.otel, namespace));
        } else {
            compiled.inputs.extend(done.agent_input(&work));
        }
        compiled.rendered.push(done.rendered(input));
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
    package.layout().get(package.input_of(&input.kind, input.policy_template.as_deref())?)
}

fn title(package: &Package) -> String {
    format!("{}-{}", package.name, package.version)
}

/// Lays a map over another, maps into maps.
pub(crate) fn merge(under: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(Value::Object(under)), Value::Object(over)) => merge(under, over),
            _ => {
                under.insert(key.clone(), value.clone());
            }
        }
    }
}
