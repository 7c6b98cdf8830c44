//! Builds the programs in Go of this folder, from the `.proto` as it is now: what people do who write a component in
//! another language.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest Go that can build them: 1.25.
const OLDEST_MINOR: u32 = 25;
/// What makes code of the `.proto`, as `go.mod` names it.
const GENERATORS: [&str; 2] =
    ["google.golang.org/protobuf/cmd/protoc-gen-go", "google.golang.org/grpc/cmd/protoc-gen-go-grpc"];
/// The package of that code.
const PACKAGE: &str = "Mcomponent.proto=fleet.test/component/wire";

/// Why they cannot be built here, if they cannot.
fn missing() -> Option<String> {
    let answer = Command::new("go").args(["env", "GOVERSION"]).output();
    let version =
        answer.map(|answer| String::from_utf8_lossy(&answer.stdout).trim().to_owned()).unwrap_or_default();
    let minor = version.strip_prefix("go1.").and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
    if minor.is_none_or(|minor| minor < OLDEST_MINOR) {
        return Some(format!("Go 1.{OLDEST_MINOR} or newer is not installed ({version:?})"));
    }
    let protoc = Command::new("protoc").arg("--version").output();
    protoc.is_err().then(|| "protoc is not installed: run scripts/install-tools build".to_owned())
}

/// Builds one of them: `component` or `supervisor`. `None`: it cannot be built here, which is told, and which is a
/// failure under `CI=true`.
pub(crate) fn build(folder: &Path, name: &str) -> Option<PathBuf> {
    if let Some(reason) = missing() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{reason}: programs of others must be tried");
        // Past what the harness captures: a test that tried nothing has passed otherwise.
        let _ = writeln!(std::io::stderr(), "not tried with programs of others: {reason}");
        return None;
    }
    let work = tempfile::tempdir_in(folder).expect("a directory");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let sources = sources.map(|root| root.join("crates/component")).find(|path| path.is_dir());
    let sources = sources.expect("the crate of components");
    copy(&sources.join("tests/go"), work.path());
    let bin = work.path().join("bin/");
    run(go(work.path()).arg("-o").arg(&bin).args(GENERATORS));
    let wire = work.path().join("wire");
    fs::create_dir(&wire).expect("a folder");
    let mut protoc = Command::new("protoc");
    protoc.arg("-I").arg(sources.join("proto")).arg("component.proto");
    for (plugin, kind) in [("protoc-gen-go", "go"), ("protoc-gen-go-grpc", "go-grpc")] {
        protoc.arg(format!("--plugin={}", bin.join(plugin).display()));
        protoc.arg(format!("--{kind}_out={}", wire.display()));
        protoc.arg(format!("--{kind}_opt=paths=source_relative,{PACKAGE}"));
    }
    run(&mut protoc);
    run(go(work.path()).arg("-o").arg(&bin).arg(format!("./{name}")));
    // Whoever runs the one that was here goes on with that.
    let program = folder.join(format!("go-{name}"));
    fs::rename(bin.join(name), &program).expect("the program");
    Some(program)
}

/// Go keeps what it has built: another time takes no time.
fn go(folder: &Path) -> Command {
    let mut go = Command::new("go");
    go.args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false"]).current_dir(folder);
    go
}

fn run(command: &mut Command) {
    let output = command.output().expect("a program");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&target).expect("a folder");
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("a file");
        }
    }
}
