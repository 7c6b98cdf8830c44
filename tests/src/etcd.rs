//! Real etcd members on a cluster's bridge.

use std::fs::File;
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::address::Address;
use crate::cgroup::Cgroup;
use crate::command::{Output, Run};
use crate::error::HarnessError;
use crate::http::request;
use crate::network::Namespace;
use crate::tls::{Authority, Certificate};
use crate::wait::{NotYet, wait_for};

/// The port for clients, in each member's network namespace.
pub(crate) const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
const METRICS_PORT: u16 = 2381;

/// How clients and members prove who they are.
#[derive(Debug)]
pub(crate) struct EtcdTls {
    pub(crate) authority: Authority,
    pub(crate) client: Certificate,
}

/// One etcd process with a network namespace of its own: it can be killed, frozen and cut off like a machine.
#[derive(Debug)]
pub struct EtcdMember {
    name: String,
    address: Address,
    folder: PathBuf,
    peers: String,
    tls: bool,
    network: Namespace,
    cgroup: Cgroup,
    process: Mutex<Option<Child>>,
}

/// Boots members until they have a leader.
pub(crate) async fn start(
    slot: u8,
    folder: &Path,
    count: u8,
    tls: Option<&EtcdTls>,
) -> Result<Vec<EtcdMember>, HarnessError> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let peers: Vec<_> = (1..=count)
        .map(|number| format!("etcd{number}={scheme}://{}:{PEER_PORT}", Address::etcd(slot, number)))
        .collect();
    let peers = peers.join(",");
    let mut members = Vec::new();
    for number in 1..=count {
        let (name, address) = (format!("etcd{number}"), Address::etcd(slot, number));
        let member = EtcdMember {
            folder: folder.join(&name),
            network: Namespace::new(slot, &name, address),
            cgroup: Cgroup::make(slot, &name)?,
            process: Mutex::default(),
            peers: peers.clone(),
            tls: tls.is_some(),
            name,
            address,
        };
        std::fs::create_dir_all(&member.folder).map_err(HarnessError::file("create", &member.folder))?;
        if let Some(tls) = tls {
            member.write_certificates(tls)?;
        }
        member.network.make().await?;
        member.spawn()?;
        members.push(member);
    }
    for member in &members {
        member.healthy().await?;
    }
    Ok(members)
}

impl EtcdMember {
    /// Its name: `etcd1`, `etcd2` and so on.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address that clients use.
    pub fn endpoint(&self) -> String {
        format!("{}://{}:{CLIENT_PORT}", self.scheme(), self.address)
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_certificates(&self, tls: &EtcdTls) -> Result<(), HarnessError> {
        let server = tls.authority.server(&self.name, &[IpAddr::V4(self.address.ip())])?;
        let files = [
            ("ca.pem", tls.authority.pem()),
            ("server.pem", server.certificate),
            ("server-key.pem", server.key),
            ("client.pem", tls.client.certificate.clone()),
            ("client-key.pem", tls.client.key.clone()),
        ];
        for (name, text) in files {
            let path = self.folder.join(name);
            std::fs::write(&path, text).map_err(HarnessError::file("write", &path))?;
        }
        Ok(())
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn spawn(&self) -> Result<(), HarnessError> {
        let (scheme, address) = (self.scheme(), self.address);
        let client = format!("{scheme}://{address}:{CLIENT_PORT}");
        let peer = format!("{scheme}://{address}:{PEER_PORT}");
        let metrics = format!("http://{address}:{METRICS_PORT}");
        let path = self.folder.join("log");
        let log = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(HarnessError::file("open", &path))?;
        let enter = self.cgroup.enter();
        let mut words = enter.iter();
        let mut command = Command::new(words.next().map_or("sh", String::as_str));
        command
            .args(words)
            .args(["nsenter", &format!("--net={}", self.network.path()), "etcd"])
            .args(["--name", &self.name, "--data-dir", &self.file("data")])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &self.peers, "--listen-metrics-urls", &metrics])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0);
        if self.tls {
            for kind in ["", "peer-"] {
                command
                    .args([format!("--{kind}trusted-ca-file"), self.file("ca.pem")])
                    .args([format!("--{kind}cert-file"), self.file("server.pem")])
                    .args([format!("--{kind}key-file"), self.file("server-key.pem")])
                    .arg(format!("--{kind}client-cert-auth"));
            }
        }
        let process =
            command.spawn().map_err(|source| HarnessError::Spawn { command: "etcd".to_owned(), source })?;
        *self.process() = Some(process);
        Ok(())
    }

    /// Waits until it serves and its cluster has a leader.
    ///
    /// # Errors
    /// When that takes longer than 30 s.
    pub async fn healthy(&self) -> Result<(), HarnessError> {
        let url = format!("http://{}:{METRICS_PORT}/health", self.address);
        wait_for(format!("{} is healthy", self.name), Duration::from_secs(30), async || {
            let reply = request("GET", &url, None).await?;
            if reply.status == 200 { Ok(()) } else { Err(NotYet::saw(reply.body)) }
        })
        .await
    }

    /// Whether it leads its cluster.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn is_leader(&self) -> Result<bool, HarnessError> {
        let url = format!("http://{}:{METRICS_PORT}/metrics", self.address);
        let reply = request("GET", &url, None).await?;
        Ok(reply.body.lines().any(|line| line == "etcd_server_is_leader 1"))
    }

    /// Kills it as a power cut would; its data stay.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(&self) -> Result<(), HarnessError> {
        self.network.cut().await?;
        if let Some(mut process) = self.process().take() {
            process.kill().map_err(HarnessError::file("kill", &self.folder))?;
            process.wait().map_err(HarnessError::file("await", &self.folder))?;
        }
        Ok(())
    }

    /// Starts it again with its data and waits until it is healthy.
    ///
    /// # Errors
    /// When it does not become healthy within 30 s.
    pub async fn start(&self) -> Result<(), HarnessError> {
        self.network.make().await?;
        self.spawn()?;
        self.healthy().await
    }

    /// Stops it where it stands, until [`resume`](Self::resume).
    ///
    /// # Errors
    /// When the kernel does not freeze it within 10 s.
    pub async fn pause(&self) -> Result<(), HarnessError> {
        self.cgroup.freeze(true).await
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When the kernel does not thaw it within 10 s.
    pub async fn resume(&self) -> Result<(), HarnessError> {
        self.cgroup.freeze(false).await
    }

    /// Pulls its network cable out.
    ///
    /// # Errors
    /// When the host refuses.
    pub async fn cut(&self) -> Result<(), HarnessError> {
        self.network.cut().await
    }

    /// Puts its network cable back.
    ///
    /// # Errors
    /// When the host refuses.
    pub async fn join(&self) -> Result<(), HarnessError> {
        self.network.join().await
    }

    /// Runs `etcdctl` (v3 API) against it, with the client's certificate where there is one.
    ///
    /// # Errors
    /// When it cannot be run or takes longer than a minute. A non-zero exit is not an error here.
    pub async fn etcdctl<I>(&self, args: I) -> Result<Output, HarnessError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        self.etcdctl_with_input(args, Vec::new()).await
    }

    /// [`etcdctl`](Self::etcdctl) with text for its standard input.
    ///
    /// # Errors
    /// As [`etcdctl`](Self::etcdctl).
    pub async fn etcdctl_with_input<I>(
        &self,
        args: I,
        input: impl Into<Vec<u8>>,
    ) -> Result<Output, HarnessError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let mut command = Run::new(["etcdctl", "--endpoints", &self.endpoint()]).env("ETCDCTL_API", "3");
        if self.tls {
            let files = ["ca.pem", "client.pem", "client-key.pem"].map(|name| self.file(name));
            command = command.args(["--cacert", &files[0], "--cert", &files[1], "--key", &files[2]]);
        }
        let args = args.into_iter().map(|word| word.as_ref().to_owned());
        command.args(args.collect::<Vec<_>>()).input(input).output().await
    }
}

impl Drop for EtcdMember {
    fn drop(&mut self) {
        if let Some(process) = self.process().as_mut() {
            process.try_wait().ok();
        }
    }
}

/// Makes a cluster ask for the user `root` and this password from now on.
pub(crate) async fn demand_password(member: &EtcdMember, password: &str) -> Result<(), HarnessError> {
    member.etcdctl(["user", "add", &format!("root:{password}")]).await?.success()?;
    member.etcdctl(["user", "grant-role", "root", "root"]).await?.success()?;
    member.etcdctl(["auth", "enable"]).await?.success().map(drop)
}
