//! The packages, and policies of them.

use std::path::{Path, PathBuf};

use fleet_integration::package::{VarType, Variable};
use fleet_integration::policy::Vars;
use fleet_integration::{Archive, Compiled, Context, Package, PackagePolicy, check, compile};
use serde_json::{Value, json};

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../integrations")
}

pub(crate) fn names() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(crate) fn package(name: &str) -> Package {
    Package::read(&Archive::directory(&folder().join(name)).unwrap()).unwrap()
}

pub(crate) fn all() -> impl Iterator<Item = Package> {
    names().into_iter().map(|name| package(&name))
}

pub(crate) fn defaults(package: &Package) -> PackagePolicy {
    PackagePolicy::defaults(package, "pp-1", &format!("{}-1", package.name))
}

pub(crate) fn compiled(package: &Package, policy: &PackagePolicy) -> Compiled {
    let context = Context {
        output: "default",
        output_id: "out-1",
        output_type: "elasticsearch",
        agent_policy_id: "agents-1",
        agent_policy_name: "Agents",
        agent_policy_namespace: "default",
        global_data_tags: &[],
    };
    compile(package, policy, &context).unwrap_or_else(|error| panic!("{}: {error:?}", package.name))
}

/// Inputs and permissions, as they are compared with the golden files.
pub(crate) fn golden(package: &Package, policy: &PackagePolicy) -> String {
    let compiled = compiled(package, policy);
    let both = json!({ "inputs": compiled.inputs, "permissions": compiled.permissions });
    serde_json::to_string_pretty(&both).unwrap()
}

pub(crate) fn set(vars: &mut Vars, name: &str, value: Value) {
    vars.get_mut(name).unwrap_or_else(|| panic!("there is no variable {name}")).value = value;
}

/// A variable's value when nothing is left at its default; texts with what YAML minds.
pub(crate) fn another_value(var: &Variable) -> Value {
    let text = format!("{}: it's #1", var.name);
    let one = match var.kind {
        // What is set beside it belongs to a protocol that is on.
        VarType::Bool if ["grpc_enabled", "http_enabled"].contains(&var.name.as_str()) => json!(true),
        VarType::Bool => json!(!var.default.as_ref().and_then(Value::as_bool).unwrap_or(false)),
        VarType::Integer => json!(7),
        VarType::Select => json!(var.options.last().unwrap().value),
        VarType::Yaml if ["processors", "parsers"].contains(&var.name.as_str()) => {
            json!(format!("# {text}\n- {}:\n    lines:\n      - a\n\n- second: ~\n", var.name))
        }
        VarType::Yaml => json!("# own\nown:\n  deep: true\n"),
        _ if var.name == "clean_inactive" => json!("-1"),
        _ if var.name == "data_stream.dataset" => json!("own.dataset"),
        _ => json!(text),
    };
    match var.multi {
        true if var.kind == VarType::Text => json!([one, "123", "forwarded"]),
        true => json!([one]),
        false => one,
    }
}

/// Switches on all that a package has, with another value in each variable.
pub(crate) fn everything(package: &Package) -> PackagePolicy {
    let mut policy = defaults(package);
    for (input, layout) in policy.inputs.iter_mut().zip(package.layout()) {
        input.enabled = true;
        fill(&mut input.vars, &layout.vars);
        for (stream, layout) in input.streams.iter_mut().zip(&layout.streams) {
            stream.enabled = true;
            fill(&mut stream.vars, &layout.vars);
        }
    }
    policy
}

pub(crate) fn fill(vars: &mut Vars, declared: &[Variable]) {
    for var in declared {
        set(vars, &var.name, another_value(var));
    }
}

/// What is wrong with a policy, each as it is told to people.
pub(crate) fn findings(package: &Package, policy: &PackagePolicy) -> Vec<String> {
    check(package, policy).iter().map(ToString::to_string).collect()
}

/// What must be there is there, in one word that is as good as another.
pub(crate) fn fill_required(policy: &mut PackagePolicy, package: &Package, input: usize) {
    let layout = &package.layout()[input];
    for (stream, layout) in policy.inputs[input].streams.iter_mut().zip(&layout.streams) {
        for var in layout.vars.iter().filter(|var| var.required && var.default.is_none()) {
            let value = match var.kind {
                VarType::Yaml => json!("some: settings"),
                _ if var.multi => json!(["/some"]),
                _ => json!("some"),
            };
            set(&mut stream.vars, &var.name, value);
        }
    }
}
