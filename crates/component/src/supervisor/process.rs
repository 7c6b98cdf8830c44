//! A component's process: how it is started, told what it needs, and ended.
//!
//! When the agent dies, however that happens, its components must not go on without it. Linux has a signal for that,
//! which a new process asks for between its start and its program. [`Launcher`] is who asks. The signal is sent when
//! the *thread* that has started the process ends: all are started by one thread, which lives as long as the supervisor.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{
    Pid, Signal, getppid, kill_process, kill_process_group, set_parent_process_death_signal,
};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::file_name;
use super::logs::{LogReader, LogSource};

/// A component must have read what it was told by then.
const STDIN_MAX: Duration = Duration::from_secs(30);
/// Starts that may wait for the one thread that does it.
const MOST_WAITING: usize = 64;
/// Trying the system's launcher may take so long.
const TRY_MAX: Duration = Duration::from_secs(2);
/// What a process has written before its end is read for so long after it.
const REST_OF_OUTPUT: Duration = Duration::from_secs(1);
/// How long a killed process may take to be gone.
pub(super) const REAP_MAX: Duration = Duration::from_secs(3);

/// Who sees to it that a component dies with its agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Launcher {
    /// `setpriv` of the system, if there is one that can.
    #[default]
    System,
    /// This program and its first arguments; it calls [`launch`] with those behind them.
    Helper(Vec<OsString>),
    /// Nobody: components have to notice themselves that their agent is gone.
    Nobody,
}

impl Launcher {
    /// What stands before the program in a command line.
    pub(super) async fn prefix(&self) -> Vec<OsString> {
        match self {
            Launcher::Nobody => Vec::new(),
            Launcher::Helper(helper) => {
                let mut prefix = helper.clone();
                prefix.push(std::process::id().to_string().into());
                prefix
            }
            Launcher::System => {
                const SETPRIV: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];
                let mut command = Command::new(SETPRIV[0]);
                command.args(&SETPRIV[1..]).arg("true").kill_on_drop(true);
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                match timeout(TRY_MAX, command.status()).await {
                    Ok(Ok(status)) if status.success() => SETPRIV.iter().map(OsString::from).collect(),
                    _ => Vec::new(),
                }
            }
        }
    }
}

/// Becomes the program of `arguments` (the id of the agent's process, the program, its arguments), which dies with the
/// agent. Returns only if that does not work.
pub fn launch(arguments: impl IntoIterator<Item = OsString>) -> io::Error {
    let mut arguments = arguments.into_iter();
    let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidInput, text);
    let parent = arguments.next().and_then(|id| id.to_str()?.parse().ok()).and_then(Pid::from_raw);
    let (Some(parent), Some(program)) = (parent, arguments.next()) else {
        return invalid("the id of a process and a program are expected");
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    // It may have died before the signal was asked for.
    if getppid() != Some(parent) {
        return invalid("the agent is gone");
    }
    std::process::Command::new(program).args(arguments).exec()
}

/// What is started.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) command: Command,
    /// What it reads from its standard input.
    pub(super) message: Vec<u8>,
}

/// The thread that starts processes.
#[derive(Clone, Debug)]
pub(super) struct Spawner {
    jobs: mpsc::Sender<(Command, oneshot::Sender<io::Result<Child>>)>,
}

impl Spawner {
    pub(super) fn start() -> io::Result<Spawner> {
        let (jobs, mut waiting) =
            mpsc::channel::<(Command, oneshot::Sender<io::Result<Child>>)>(MOST_WAITING);
        let runtime = Handle::current();
        std::thread::Builder::new().name("component-spawner".to_owned()).spawn(move || {
            let _entered = runtime.enter();
            while let Some((mut command, reply)) = waiting.blocking_recv() {
                // Who does not wait for it any more has it killed by dropping it.
                let _ = reply.send(command.spawn());
            }
        })?;
        Ok(Spawner { jobs })
    }

    /// Starts a process.
    pub(super) async fn spawn(&self, start: Start) -> io::Result<Process> {
        let gone = || io::Error::other("the supervisor is being stopped");
        let (reply, started) = oneshot::channel();
        self.jobs.send((start.command, reply)).await.map_err(|_| gone())?;
        let mut child = started.await.map_err(|_| gone())??;
        let pid = child.id().ok_or_else(|| io::Error::other("the process has ended at once"))?;
        if let Some(stdin) = child.stdin.take() {
            tokio::spawn(tell(stdin, start.message));
        }
        let output = (child.stdout.take(), child.stderr.take());
        Ok(Process { child, pid, output })
    }
}

/// Tells a process what it needs, and that this is all.
async fn tell(mut stdin: ChildStdin, message: Vec<u8>) {
    let telling = async {
        stdin.write_all(&message).await?;
        stdin.shutdown().await
    };
    match timeout(STDIN_MAX, telling).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a component does not read what it is told"),
        Err(_) => debug!("a component does not read what it is told in time"),
    }
}

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pub(super) pid: u32,
    /// Its standard output and its standard error, until they are read.
    output: (Option<ChildStdout>, Option<ChildStderr>),
}

impl Process {
    /// Has what it writes read until it is `gone`.
    pub(super) fn read(&mut self, reader: &LogReader, gone: &CancellationToken) {
        if let Some(stdout) = self.output.0.take() {
            tokio::spawn(until_gone(reader.clone().run(stdout, LogSource::Stdout), gone.clone()));
        }
        if let Some(stderr) = self.output.1.take() {
            tokio::spawn(until_gone(reader.clone().run(stderr, LogSource::Stderr), gone.clone()));
        }
    }

    /// Waits for its end. May be dropped and called again.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks it to stop.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Ends it and what it has started, as far as that has not gone its own way.
    pub(super) fn kill_group(&self) {
        if let Some(id) = self.id() {
            let _ = kill_process_group(id, Signal::KILL);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = self.id() {
            // It may have ended at this moment.
            let _ = kill_process(id, signal);
        }
    }

    /// `None` once it was waited for: the number may belong to somebody else by then.
    fn id(&self) -> Option<Pid> {
        self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }
}

/// What a process leaves behind in its pipes is read; a grandchild that keeps them open is not waited for.
async fn until_gone(reading: impl Future<Output = ()>, gone: CancellationToken) {
    let rest = async {
        gone.cancelled().await;
        sleep(REST_OF_OUTPUT).await;
    };
    tokio::select! {
        () = reading => {}
        () = rest => {}
    }
}

/// What a command line is made of.
#[derive(Debug)]
pub(super) struct CommandLine<'a> {
    pub(super) prefix: &'a [OsString],
    pub(super) binary: &'a Path,
    pub(super) arguments: Vec<OsString>,
    /// Variables, beside those of this process.
    pub(super) environment: Vec<(String, String)>,
    pub(super) directory: &'a Path,
}

impl CommandLine<'_> {
    pub(super) fn command(self) -> Command {
        let mut words = self.prefix.iter().map(OsString::as_os_str).chain([self.binary.as_os_str()]);
        let first = words.next().unwrap_or(OsStr::new(""));
        let mut command = Command::new(first);
        command
            .args(words)
            .args(self.arguments)
            .envs(self.environment)
            .current_dir(self.directory)
            // What is typed at the agent's terminal is not for its components: it stops them itself.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

/// The working directory of a component below `home`.
pub(super) fn directory(home: &Path, component: &str) -> PathBuf {
    home.join("run").join(file_name::of_component(component))
}

/// Makes it, for the agent's user and group.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    const MODE: u32 = 0o770;
    std::fs::DirBuilder::new().recursive(true).mode(MODE).create(path)?;
    // Whatever the mask of this process takes off.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_works_below_the_home_whatever_its_id() {
        let home = Path::new("/home");
        assert_eq!(directory(home, "x-default"), Path::new("/home/run/x-default"));
        for hostile in ["../../etc", "..", ".", "", "/etc", "a/b", "x\0y"] {
            let path = directory(home, hostile);
            assert_eq!(path.parent(), Some(Path::new("/home/run")), "{hostile:?}");
            assert!(path.file_name().is_some_and(|name| name != ".."), "{hostile:?}");
        }
        assert!(directory(home, &"x".repeat(5000)).as_os_str().len() < 255);
    }

    #[test]
    fn a_launcher_needs_a_process_and_a_program() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(launch(words(&[])).kind(), io::ErrorKind::InvalidInput);
        assert_eq!(launch(words(&["x", "true"])).kind(), io::ErrorKind::InvalidInput);
    }
}
