//! The thread that an engine's process belongs to.
//!
//! The kernel kills the process when this thread ends, and it ends with the test process at the latest, however that
//! ends. (The thread of a test would not do: tests come and go, and the engine is shared.)

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

use crate::client::Client;
use crate::error::EngineError;
use crate::install::{self, Installation};

/// It takes 10 s, under load more than a minute.
const START: Duration = Duration::from_mins(3);
/// Of its log, what is shown when it does not start.
const LOG_END: usize = 4000;
/// Who is no one.
const NOBODY: &str = "65534";

type Done = oneshot::Sender<Result<(), EngineError>>;

/// What the thread is asked for; it answers when it is done.
#[derive(Debug)]
pub(crate) enum Wish {
    Kill(Done),
    Restart(Done),
}

/// Starts the thread; the first answer is the engine's address. It ends the engine when `wishes` is closed.
pub(crate) fn keep(
    wishes: mpsc::Receiver<Wish>,
    started: impl FnOnce(Result<String, EngineError>) + Send + 'static,
) {
    let body = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(life(wishes, started)),
            Err(source) => {
                let error =
                    EngineError::Run { program: "a thread's runtime".into(), package: "libc6", source };
                started(Err(error));
            }
        }
    };
    std::thread::spawn(body);
}

async fn life(mut wishes: mpsc::Receiver<Wish>, started: impl FnOnce(Result<String, EngineError>)) {
    let (mut process, url) = match Process::start().await {
        Ok(found) => found,
        Err(error) => return started(Err(error)),
    };
    started(Ok(url));
    while let Some(wish) = wishes.recv().await {
        match wish {
            Wish::Kill(done) => done.send(process.kill().await).ok(),
            Wish::Restart(done) => done.send(process.restart().await).ok(),
        };
    }
    process.kill().await.ok();
    std::fs::remove_dir_all(&process.folder).ok();
}

#[derive(Debug)]
struct Process {
    installation: Installation,
    folder: PathBuf,
    /// 0 until the engine has chosen one; then it stays, for clients go on asking there.
    port: u16,
    child: Option<Child>,
}

impl Process {
    async fn start() -> Result<(Self, String), EngineError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let engines = install::folder();
        let installation = install::install(&engines).await?;
        let runs = engines.join("run");
        sweep(&runs);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = runs.join(format!("{}-{count}", std::process::id()));
        for name in ["config", "data", "tmp"] {
            let path = folder.join(name);
            std::fs::create_dir_all(&path).map_err(EngineError::file("create", &path))?;
        }
        let mut process = Self { installation, folder, port: 0, child: None };
        process.restart().await?;
        let url = format!("http://127.0.0.1:{}", process.port);
        Ok((process, url))
    }

    async fn kill(&mut self) -> Result<(), EngineError> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.map_err(EngineError::file("kill the engine of", &self.folder))?;
        }
        Ok(())
    }

    async fn restart(&mut self) -> Result<(), EngineError> {
        self.kill().await?;
        self.configure()?;
        let log = self.folder.join("log");
        let output = File::create(&log).map_err(EngineError::file("create", &log))?;
        let errors = output.try_clone().map_err(EngineError::file("open", &log))?;
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(output).stderr(errors).kill_on_drop(true);
        let child = command.spawn();
        let child = child.map_err(|source| EngineError::Run {
            program: "setpriv".into(),
            package: "util-linux",
            source,
        })?;
        self.child = Some(child);
        self.serving(&log).await
    }

    fn configure(&self) -> Result<(), EngineError> {
        let (config, data) = (self.folder.join("config"), self.folder.join("data"));
        let settings = format!(
            "cluster.name: tests\nnode.name: one\ndiscovery.type: single-node\nnetwork.host: 127.0.0.1\n\
             http.port: {}\ntransport.port: 0\npath.data: {:?}\npath.logs: {:?}\n\
             cluster.routing.allocation.disk.threshold_enabled: false\n",
            self.port,
            data,
            self.folder.join("tmp"),
        );
        let logging = "appender.console.type = Console\nappender.console.name = console\n\
             appender.console.layout.type = PatternLayout\n\
             appender.console.layout.pattern = %d{ISO8601} %p %c{1.} %m%n\n\
             rootLogger.level = info\nrootLogger.appenderRef.console.ref = console\n";
        for (name, text) in [("opensearch.yml", settings.as_str()), ("log4j2.properties", logging)] {
            let path = config.join(name);
            std::fs::write(&path, text).map_err(EngineError::file("write", &path))?;
        }
        Ok(())
    }

    /// The engine refuses to be root, so root starts it as nobody; it may still read and write what lies in
    /// folders that are root's alone.
    fn command(&self) -> Command {
        let Installation { home, java } = &self.installation;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if is_root() {
            let rights = "+dac_override,+dac_read_search";
            command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
            command.arg(format!("--inh-caps={rights}")).arg(format!("--ambient-caps={rights}"));
        }
        command
            .arg(java)
            .args(["-Xms256m", "-Xmx512m", "-Xss1m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
            .args(["-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true", "-Dfile.encoding=UTF-8"])
            .args(["-Djna.nosys=true", "-Dio.netty.noUnsafe=true", "-Dio.netty.noKeySetOptimization=true"])
            .args(["-Dio.netty.recycler.maxCapacityPerThread=0", "-Dio.netty.allocator.numDirectArenas=0"])
            .args(["-Dlog4j.shutdownHookEnabled=false", "-Dlog4j2.disable.jmx=true"])
            .args(["-Djava.locale.providers=SPI,CLDR", "--add-opens=java.base/java.nio=ALL-UNNAMED"])
            .arg("-Dorg.apache.lucene.store.MMapDirectory.sharedArenaMaxPermits=1")
            .arg(format!("-Djava.io.tmpdir={}", self.folder.join("tmp").display()))
            .arg(format!("-javaagent:{}", home.join("agent/opensearch-agent.jar").display()))
            .arg(format!("-Dopensearch.path.home={}", home.display()))
            .arg(format!("-Dopensearch.path.conf={}", self.folder.join("config").display()))
            .args(["-Dopensearch.distribution.type=zip", "-Dopensearch.bundled_jdk=false", "-cp"])
            .arg(home.join("lib/*"))
            .arg("org.opensearch.bootstrap.OpenSearch")
            .env_clear()
            .env("HOME", &self.folder)
            .env("PATH", "/usr/bin:/bin")
            .current_dir(&self.folder);
        command
    }

    /// Waits until it answers and its data are there.
    async fn serving(&mut self, log: &Path) -> Result<(), EngineError> {
        let failed = |what: String| EngineError::Start { what, log: end_of(log) };
        let started = Instant::now();
        loop {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = ended {
                return Err(failed(format!("ended with {status}")));
            }
            if let Some(port) = bound_port(log) {
                self.port = port;
                let client = Client::new(format!("http://127.0.0.1:{port}"), None, None);
                let health = client.get("/_cluster/health?wait_for_status=yellow&timeout=1s").await;
                if health.is_ok_and(|reply| reply.status == 200) {
                    return Ok(());
                }
            }
            if started.elapsed() >= START {
                return Err(failed(format!("does not serve within {START:?}")));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The port that it has bound, by its own word.
fn bound_port(log: &Path) -> Option<u16> {
    let text = std::fs::read_to_string(log).ok()?;
    let line =
        text.lines().find(|line| line.contains("HttpServerTransport") && line.contains("publish_address"))?;
    let (_, address) = line.split_once("publish_address {")?;
    let (address, _) = address.split_once('}')?;
    address.rsplit_once(':')?.1.parse().ok()
}

fn end_of(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&text[text.len().saturating_sub(LOG_END)..]).into_owned()
}

/// Removes what processes that are no more have left.
fn sweep(runs: &Path) {
    for entry in std::fs::read_dir(runs).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.split('-').next()).unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
}
