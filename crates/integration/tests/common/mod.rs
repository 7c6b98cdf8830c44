//! Packages for tests.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses some of it")]

use std::path::{Path, PathBuf};

use fleet_integration::policy::PolicyVar;
use fleet_integration::{Archive, Context, Package, PackageError, PackagePolicy};
use serde_json::Value;

/// One of `tests/packages`.
pub(crate) fn package(name: &str) -> Package {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packages").join(name);
    Package::read(&Archive::directory(&path).unwrap()).unwrap()
}

/// A package of these files.
pub(crate) fn made(files: &[(&str, &str)]) -> Result<Package, PackageError> {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    Package::read(&Archive::directory(folder.path()).unwrap())
}

pub(crate) fn context() -> Context<'static> {
    Context {
        output: "default",
        output_id: "out-1",
        output_type: "elasticsearch",
        agent_policy_id: "agents-1",
        agent_policy_name: "Agents",
        agent_policy_namespace: "prod",
        global_data_tags: &[],
    }
}

/// Sets a variable of an input or a stream.
pub(crate) fn set(policy: &mut PackagePolicy, input: usize, stream: Option<usize>, name: &str, value: Value) {
    let input = &mut policy.inputs[input];
    let vars = match stream {
        Some(stream) => &mut input.streams[stream].vars,
        None => &mut input.vars,
    };
    vars.entry(name.to_owned()).or_insert_with(PolicyVar::default).value = value;
}

pub(crate) fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap()
}
