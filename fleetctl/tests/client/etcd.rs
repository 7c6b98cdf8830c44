//! `--driver=etcd` on a real etcd. There is no fleetd: what is wanted is written, and nobody does it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_cluster::documents::{MACHINES, MachineDocument};
use fleet_store::etcd::{Etcd, Options};
use fleet_store::{Expect, LeaseId, Store, Typed};
use tempfile::TempDir;

use crate::{Run, files, fleetctl, path};

const ETCD: &str = "/usr/bin/etcd";

struct Member {
    child: Child,
    url: String,
    _directory: TempDir,
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_there() -> bool {
    let there = Path::new(ETCD).exists();
    if !there {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{ETCD} is missing: install etcd-server");
        eprintln!("SKIPPED: {ETCD} is missing: install etcd-server");
    }
    there
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts etcd. Its ports were free a moment ago; should somebody take one meanwhile, others are tried.
async fn start() -> Member {
    for _ in 0..5 {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("http://127.0.0.1:{}", free_port());
        let peer = format!("http://127.0.0.1:{}", free_port());
        let child = Command::new(ETCD)
            .arg("--data-dir")
            .arg(directory.path())
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut member = Member { child: child.unwrap(), url, _directory: directory };
        let begun = Instant::now();
        while member.child.try_wait().unwrap().is_none() {
            if store(&member).check().await.is_ok() {
                return member;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "etcd is not ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    panic!("etcd does not start");
}

fn store(member: &Member) -> Arc<dyn Store> {
    Arc::new(Etcd::connect(Options { endpoints: vec![member.url.clone()], ..Options::default() }).unwrap())
}

async fn add_machine(member: &Member, id: &str, version: &str) {
    let machine = MachineDocument {
        public_ip: "172.18.1.1".to_owned(),
        metadata: [("az".to_owned(), "z1".to_owned())].into(),
        version: version.to_owned(),
        token: "t".to_owned(),
        lease: LeaseId(1),
        ttl_ms: 30_000,
        settled: false,
    };
    Typed::new(store(member), &MACHINES).put(id, &machine, Expect::Any, None, None).await.unwrap();
}

async fn on(member: &Member, words: &[&str]) -> Run {
    let endpoint = format!("--endpoint={}", member.url);
    let words: Vec<&str> = ["--driver=etcd", &endpoint].into_iter().chain(words.iter().copied()).collect();
    fleetctl(&words).await
}

#[tokio::test]
async fn commands_work_on_the_store() {
    if !is_there() {
        return;
    }
    let member = start().await;
    add_machine(&member, "113f16a7d2c44b3da5c6e5b3e6a0f001", "1.9.9").await;
    insta::assert_snapshot!(on(&member, &["list-machines"]).await, @"
    MACHINE		IP		METADATA
    113f16a7...	172.18.1.1	az=z1
    exit 0
    ");
    let directory =
        files(&[("hello.service", "[Service]\nExecStart=/bin/true\n[X-Fleet]\nMachineMetadata=az=z2\n")]);
    insta::assert_snapshot!(on(&member, &["submit", &path(&directory, "hello.service")]).await, @"
    Unit hello.service inactive
    exit 0
    ");
    insta::assert_snapshot!(on(&member, &["start", "--no-block", "hello"]).await, @"
    Triggered unit hello.service start
    exit 0
    ");
    insta::assert_snapshot!(on(&member, &["list-unit-files"]).await, @"
    UNIT		HASH	DSTATE		STATE		TARGET
    hello.service	05c18df	launched	inactive	-
    exit 0
    ");
    insta::assert_snapshot!(on(&member, &["list-units"]).await, @"
    UNIT	MACHINE	ACTIVE	SUB
    exit 0
    ");
    insta::assert_snapshot!(on(&member, &["cat", "hello"]).await, @"
    [Service]
    ExecStart=/bin/true

    [X-Fleet]
    MachineMetadata=az=z2
    exit 0
    ");
    insta::assert_snapshot!(on(&member, &["explain", "hello"]).await, @"
    Unit hello.service shall be launched, and is not placed on any machine.
      113f16a7.../172.18.1.1: machine metadata lacks az=z2
    exit 0
    ");
    insta::assert_snapshot!(on(&member, &["unload", "hello"]).await, @"
    Unit hello.service inactive
    err| Successfully unloaded units [hello.service].
    exit 0
    ");
    insta::assert_snapshot!(on(&member, &["restart", "hello"]).await, @"
    err| Unable to restart unit hello.service in state inactive
    exit 1
    ");
    insta::assert_snapshot!(on(&member, &["destroy", "hello"]).await, @"
    Destroyed hello.service
    exit 0
    ");
    insta::assert_snapshot!(on(&member, &["destroy", "hello"]).await, @"
    err| Units not found in registry
    exit 0
    ");
}

#[tokio::test]
async fn a_newer_cluster_is_warned_of() {
    if !is_there() {
        return;
    }
    let member = start().await;
    add_machine(&member, "113f16a7d2c44b3da5c6e5b3e6a0f001", "99.0.0").await;
    let run = on(&member, &["list-units", "--no-legend"]).await;
    assert!(
        run.err
            .contains("is older than the latest registered\nversion of fleet found in the cluster (99.0.0)")
    );
    assert_eq!(run.code, 0);
}

#[tokio::test]
async fn clusters_are_kept_apart_by_their_prefix() {
    if !is_there() {
        return;
    }
    let member = start().await;
    add_machine(&member, "113f16a7d2c44b3da5c6e5b3e6a0f001", "1.0.0").await;
    let run = on(&member, &["--etcd-key-prefix=/other/", "list-machines", "--no-legend"]).await;
    assert_eq!((run.out.as_str(), run.code), ("", 0));
}

#[tokio::test]
async fn an_etcd_that_does_not_answer_is_told() {
    let words = ["--driver=etcd", "--endpoint=http://127.0.0.1:1", "--request-timeout=0.5", "list-units"];
    let run = fleetctl(&words).await;
    assert_eq!(run.code, 1);
    assert!(run.err.starts_with("Unable to initialize client: etcd: "), "{run}");
    assert!(run.err.contains("onnection refused"), "{run}");
}
