//! The program, running.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The longest time for a server to be ready.
const START_MAX: Duration = Duration::from_secs(30);
/// The administrator's password.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

/// A server that is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    agents: u16,
    management: u16,
    directory: Arc<TempDir>,
    settings: Vec<String>,
    environment: Vec<(String, PathBuf)>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// A server with a data directory of its own, ready to serve.
    pub(crate) fn start(settings: &[String]) -> Server {
        let directory = Arc::new(tempfile::tempdir().expect("a directory"));
        Server::start_in(directory, settings, Vec::new(), None)
    }

    /// The same, with files in its environment.
    pub(crate) fn start_with(settings: &[String], environment: &[(&str, &Path)]) -> Server {
        let directory = Arc::new(tempfile::tempdir().expect("a directory"));
        let environment = environment.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned()));
        Server::start_in(directory, settings, environment.collect(), None)
    }

    /// Another server with this one's master key.
    pub(crate) fn start_beside(&self) -> Server {
        let directory = tempfile::tempdir().expect("a directory");
        let key = fs::read(self.data().join("master.key")).expect("the master key");
        write_secret(&directory.path().join("master.key"), &key);
        Server::start_in(Arc::new(directory), &self.settings, self.environment.clone(), None)
    }

    /// The same server again, on the same ports and data.
    pub(crate) fn restart(mut self) -> Server {
        self.kill();
        let ports = (self.agents, self.management);
        let environment = self.environment.clone();
        Server::start_in(Arc::clone(&self.directory), &self.settings, environment, Some(ports))
    }

    fn start_in(
        directory: Arc<TempDir>,
        settings: &[String],
        environment: Vec<(String, PathBuf)>,
        ports: Option<(u16, u16)>,
    ) -> Server {
        let password = directory.path().join("password");
        if !password.exists() {
            write_secret(&password, PASSWORD.as_bytes());
        }
        let (agents, management) = ports.unwrap_or((0, 0));
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-server"));
        command
            .current_dir(directory.path())
            .env_clear()
            .envs(environment.iter().map(|(name, path)| (name, path)))
            .env("FLEET_DATA_DIR", directory.path())
            .env("FLEET_ADMIN_PASSWORD_FILE", &password)
            .args(["-E", "inputs.0.server.host=127.0.0.1"])
            .args(["-E", &format!("inputs.0.server.port={agents}")])
            .args(["-E", &format!("inputs.0.server.internal_port={}", free_port())])
            .args(["-E", &format!("management.port={management}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for setting in settings {
            command.args(["-E", setting]);
        }
        let mut child = command.spawn().expect("the program starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        read_log(&mut child, Arc::clone(&log));
        let mut server =
            Server { child, agents, management, directory, settings: settings.to_vec(), environment, log };
        server.await_ports();
        server
    }

    fn await_ports(&mut self) {
        let line = self.await_log("fleet-server is running");
        let port = |name: &str| {
            let rest = line.split(&format!("{name}=")).nth(1).expect("an address");
            let address = rest.split_whitespace().next().expect("an address");
            address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
        };
        (self.agents, self.management) = (port("agents"), port("management"));
    }

    /// The first line of the log that holds `text`.
    pub(crate) fn await_log(&mut self, text: &str) -> String {
        let began = Instant::now();
        loop {
            let found = self.log().into_iter().find(|line| line.contains(text));
            if let Some(line) = found {
                return line;
            }
            let ended = self.child.try_wait().expect("the program");
            assert!(ended.is_none(), "the server ended: {ended:?}\n{}", self.log().join("\n"));
            assert!(began.elapsed() < START_MAX, "no {text:?} in the log:\n{}", self.log().join("\n"));
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().expect("the log").clone()
    }

    pub(crate) fn agents_port(&self) -> u16 {
        self.agents
    }

    pub(crate) fn management_port(&self) -> u16 {
        self.management
    }

    /// The certificate of the authority that its own is made by.
    pub(crate) fn ca(&self) -> PathBuf {
        self.data().join("ca.pem")
    }

    /// Where its files are.
    pub(crate) fn data(&self) -> &Path {
        self.directory.path()
    }

    /// As if the power failed.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(status.expect("kill").success());
    }

    /// Waits until it has ended, and tells whether that went well.
    pub(crate) fn wait(&mut self) -> bool {
        self.child.wait().expect("the program").success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read_log(child: &mut Child, log: Arc<Mutex<Vec<String>>>) {
    let stderr = child.stderr.take().expect("a pipe");
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            log.lock().expect("the log").push(line);
        }
    });
}

fn write_secret(path: &Path, text: &[u8]) {
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).expect("a file");
    std::io::Write::write_all(&mut file, text).expect("written");
}
