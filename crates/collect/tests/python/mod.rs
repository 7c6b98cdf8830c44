//! Programs of others that come as packages for Python: installed once, into the target directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::Mutex;

/// An installation takes no longer than this.
const BOUND: Duration = Duration::from_secs(300);

/// The target directory, which this program lies in.
pub(crate) fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.ancestors().nth(3).unwrap().to_owned()
}

/// A Python that has these packages, `name==version`, in an environment of this name. Packages that change need
/// another name.
pub(crate) async fn with(name: &str, packages: &[&str]) -> PathBuf {
    let home = target().join("tools").join(name);
    let (python, done) = (home.join("bin/python"), home.join("installed"));
    static TURN: Mutex<()> = Mutex::const_new(());
    let _turn = TURN.lock().await;
    if !done.exists() {
        let _ = fs::remove_dir_all(&home);
        fs::create_dir_all(home.parent().unwrap()).unwrap();
        run(Command::new("python3").args(["-m", "venv"]).arg(&home)).await;
        let mut install = Command::new(&python);
        install.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--only-binary=:all:",
        ]);
        run(install.args(packages)).await;
        fs::write(done, packages.join("\n")).unwrap();
    }
    python
}

/// Runs a program to its end; what it says.
pub(crate) async fn run(command: &mut Command) -> String {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let ended = tokio::time::timeout(BOUND, command.kill_on_drop(true).output()).await;
    let Output { status, stdout, stderr } = ended
        .unwrap_or_else(|_| panic!("{program} does not end"))
        .unwrap_or_else(|error| panic!("{program} cannot be run, which this test needs: {error}"));
    let text = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(status.success(), "{program}: {status}\n{}", text.concat());
    text[0].clone()
}

/// A file of these tests.
pub(crate) fn script(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}
