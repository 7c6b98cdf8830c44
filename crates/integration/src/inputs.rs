//! The inputs of a package as an example: what its templates make of the defaults, for people who write
//! policies of agents by hand.

mod emit;

use serde_json::{Map, Value, json};

use crate::compile::{CompileError, Context, RenderedInput, compile};
use crate::package::{LayoutInput, Package, VarType, Variable};
use crate::policy::{PackagePolicy, PolicyInput, Vars};

/// `{"inputs": [...]}`: every input with every stream. What must be set and has no default is told as `<NAME>`.
///
/// # Errors
/// A template that cannot be rendered.
pub fn template_inputs(package: &Package) -> Result<Value, CompileError> {
    let mut policy = PackagePolicy::defaults(package, "", "");
    policy.namespace = Some("default".to_owned());
    hint(&mut policy.vars, &package.vars);
    for (input, layout) in policy.inputs.iter_mut().zip(package.layout()) {
        hint(&mut input.vars, &layout.vars);
        input.enabled = true;
        for (stream, layout) in input.streams.iter_mut().zip(&layout.streams) {
            hint(&mut stream.vars, &layout.vars);
            stream.enabled = true;
        }
    }
    let context = Context { output: "default", ..Context::default() };
    let rendered = compile(package, &policy, &context)?.rendered;
    let shown = policy.inputs.iter().zip(package.layout()).zip(rendered);
    let inputs: Vec<Value> =
        shown.map(|((input, layout), rendered)| example(input, layout, rendered)).collect();
    Ok(json!({ "inputs": inputs }))
}

fn example(input: &PolicyInput, layout: &LayoutInput, rendered: RenderedInput) -> Value {
    let mut shown = rendered.input.unwrap_or_default();
    let streams = input.streams.iter().zip(rendered.streams).map(|(stream, content)| {
        let dataset = stream.data_stream.dataset.as_str();
        let mut shown = Map::new();
        // Without the policy's id, of which there is none.
        shown.insert("id".to_owned(), format!("{}-{dataset}", layout.kind).into());
        shown
            .insert("data_stream".to_owned(), json!({ "type": stream.data_stream.kind, "dataset": dataset }));
        for (key, value) in content.unwrap_or_default() {
            shown.entry(key).or_insert(value);
        }
        Value::Object(shown)
    });
    let streams: Vec<Value> = streams.collect();
    if !streams.is_empty() {
        shown.insert("streams".to_owned(), Value::Array(streams));
    }
    shown.insert("id".to_owned(), layout.key().into());
    shown.insert("type".to_owned(), layout.kind.clone().into());
    Value::Object(shown)
}

/// The same as YAML, with what inputs and streams are for.
///
/// # Errors
/// A template that cannot be rendered.
pub fn template_inputs_yaml(package: &Package) -> Result<String, CompileError> {
    let inputs = template_inputs(package)?;
    let titles = package.layout().iter().map(|layout| emit::Titles {
        input: title(&layout.title, &layout.description),
        streams: layout.streams.iter().map(|stream| title(&stream.title, &stream.description)).collect(),
    });
    Ok(emit::inputs(&inputs, &titles.collect::<Vec<_>>()))
}

fn title(title: &str, description: &str) -> String {
    let text = if description.is_empty() { title.to_owned() } else { format!("{title}: {description}") };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn hint(vars: &mut Vars, declared: &[Variable]) {
    // A word is no YAML that could stand anywhere.
    for var in declared.iter().filter(|var| var.required && var.kind != VarType::Yaml) {
        let Some(set) = vars.get_mut(&var.name) else { continue };
        let hint = Value::String(format!("<{}>", var.name.to_uppercase().replace('.', "_")));
        match &set.value {
            Value::Null => set.value = hint,
            Value::Array(items) if items.is_empty() => set.value = Value::Array(vec![hint]),
            _ => {}
        }
    }
}
