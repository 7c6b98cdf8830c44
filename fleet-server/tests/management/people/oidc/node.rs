//! The provider: a package of npm, pinned by its lock.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// The longest time for the provider to say something.
const LINE_MAX: Duration = Duration::from_secs(30);
/// The oldest Node.js that it runs on.
const OLDEST: u32 = 20;
const FILES: [&str; 3] = ["package.json", "package-lock.json", "provider.mjs"];

/// Tests run side by side; the package is installed once.
static INSTALLING: Mutex<()> = Mutex::new(());

/// A provider that is gone when this is dropped.
pub(super) struct Node {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    port: u16,
    directory: tempfile::TempDir,
}

impl Node {
    /// `None`: it cannot be had here, and why has been said. Under `CI=true` that is a failure.
    pub(super) fn start() -> Option<Node> {
        let installed = match install() {
            Ok(installed) => installed,
            Err(reason) => {
                assert_ne!(
                    std::env::var("CI").as_deref(),
                    Ok("true"),
                    "{reason}: CI must test a real provider"
                );
                eprintln!("SKIPPED: {reason}");
                return None;
            }
        };
        let directory = tempfile::tempdir().expect("a directory");
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        fs::write(directory.path().join("cert.pem"), key.cert.pem()).expect("written");
        fs::write(directory.path().join("key.pem"), key.signing_key.serialize_pem()).expect("written");
        let mut child = Command::new("node")
            .arg(installed.join("provider.mjs"))
            .args(["cert.pem", "key.pem"])
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the provider starts");
        let (input, output) = (child.stdin.take(), child.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut node = Node { child, input, lines, port: 0, directory };
        node.port = node.await_line("port ").parse().expect("a port");
        Some(node)
    }

    fn await_line(&self, word: &str) -> String {
        let line = self.lines.recv_timeout(LINE_MAX).unwrap_or_else(|error| panic!("no {word}: {error}"));
        line.strip_prefix(word).unwrap_or_else(|| panic!("{line}")).to_owned()
    }

    pub(super) fn tell_redirect(&mut self, uri: &str) {
        writeln!(self.input.as_mut().expect("a pipe"), "{uri}").expect("written");
        self.await_line("ready");
    }

    pub(super) fn issuer(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the package is installed, with all that it needs.
fn install() -> Result<PathBuf, String> {
    let _lock = INSTALLING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let version = output(Command::new("node").arg("--version"))?;
    let major = version.trim().strip_prefix('v').and_then(|rest| rest.split('.').next()?.parse().ok());
    if major.is_none_or(|major: u32| major < OLDEST) {
        return Err(format!("Node.js {OLDEST} or newer is not installed ({version:?})"));
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc-provider");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oidc-provider");
    fs::create_dir_all(&target).map_err(|error| format!("{}: {error}", target.display()))?;
    let read = |path: PathBuf| fs::read(path).unwrap_or_default();
    // What was installed for another lock is installed again.
    let lock = read(source.join("package-lock.json"));
    let is_installed = read(target.join("installed")) == lock;
    for file in FILES {
        fs::write(target.join(file), read(source.join(file))).map_err(|error| format!("{file}: {error}"))?;
    }
    if !is_installed {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&target);
        output(&mut npm)?;
        fs::write(target.join("installed"), lock).map_err(|error| format!("installed: {error}"))?;
    }
    Ok(target)
}

fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: {error}"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name} fails: {}", error.lines().last().unwrap_or_default()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
