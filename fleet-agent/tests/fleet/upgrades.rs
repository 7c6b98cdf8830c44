//! Becoming another version, and going back by itself.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA512, digest};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;

use crate::agent::Agent;
use crate::server::Server;

/// A place that packages come from, signed by a key of its own.
struct Shop {
    directory: tempfile::TempDir,
    key: Ed25519KeyPair,
}

impl Shop {
    fn open() -> Shop {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        Shop { directory: tempfile::tempdir().unwrap(), key }
    }

    fn uri(&self) -> String {
        format!("file://{}", self.directory.path().display())
    }

    fn public_key(&self) -> String {
        STANDARD.encode(self.key.public_key().as_ref())
    }

    /// Offers a version with this program. Returns its signature's file.
    fn offer(&self, version: &str, program: &[u8]) -> PathBuf {
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut archive = tar::Builder::new(gzip);
        for (name, content, mode) in
            [("fleet-agent", program, 0o755), ("package.version", version.as_bytes(), 0o644)]
        {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(mode);
            archive.append_data(&mut header, format!("fleet-agent-{version}/{name}"), content).unwrap();
        }
        let package = archive.into_inner().unwrap().finish().unwrap();
        let folder = self.directory.path().join("fleet-agent");
        fs::create_dir_all(&folder).unwrap();
        let name = format!("fleet-agent-{version}-linux-{}.tar.gz", std::env::consts::ARCH);
        let sum: String =
            digest(&SHA512, &package).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(folder.join(format!("{name}.sha512")), format!("{sum}  {name}\n")).unwrap();
        let signature = folder.join(format!("{name}.sig"));
        fs::write(&signature, STANDARD.encode(self.key.sign(&package))).unwrap();
        fs::write(folder.join(name), package).unwrap();
        signature
    }
}

fn own_program() -> Vec<u8> {
    fs::read(env!("CARGO_BIN_EXE_fleet-agent")).unwrap()
}

/// Lays an agent out as `install` does.
fn lay_out(agent: &mut Agent, settings: &str) {
    let home = agent.home().to_owned();
    let version = home.join("versions/9.6.0");
    fs::create_dir_all(&version).unwrap();
    let program = version.join("fleet-agent");
    fs::write(&program, own_program()).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(version.join("package.version"), "9.6.0\n").unwrap();
    symlink(&program, home.join("fleet-agent")).unwrap();
    fs::File::create(home.join("fleet-agent.yml")).unwrap().write_all(settings.as_bytes()).unwrap();
    agent.use_program(home.join("fleet-agent"));
}

fn runs(home: &Path) -> String {
    fs::read_link(home.join("fleet-agent")).unwrap().display().to_string()
}

#[tokio::test]
async fn a_version_is_taken_up_and_can_be_gone_back_to() {
    let server = Server::start();
    let (_, key) = server.policy("one", json!({})).await;
    let shop = Shop::open();
    let mut agent = Agent::new();
    lay_out(&mut agent, &format!("agent.upgrade.keys: [{}]\n", shop.public_key()));
    let id = agent.enroll(&server, &key, &[]);
    agent.run();
    let version = |agent: &serde_json::Value| agent["local_metadata"]["elastic"]["agent"]["version"].clone();
    server.await_agent(&id, "online", |agent| agent["status"] == "online" && version(agent) == "9.6.0").await;

    // What makes no sense is told, and leaves no trace.
    let refused = |arguments: &[&str], reason: &str| {
        let output = agent.verb(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(reason), "{arguments:?}: {said}");
    };
    refused(&["upgrade", "newest"], "not a version");
    refused(&["upgrade", "9.9.9", "--rollback"], "not here");
    refused(&["upgrade", "9.6.1", "--key", "nonsense"], "not an Ed25519 public key");
    for flag in ["--pgp", "--pgp-path", "--pgp-uri"] {
        refused(&["upgrade", "9.6.1", flag, "x"], "Ed25519");
    }
    let action = server.action(&id, "UPGRADE", json!({"version": "newest"})).await;
    assert_eq!(server.await_action(&action).await["status"], "FAILED");
    assert_eq!(agent.status().unwrap()["upgrade_details"], json!(null));

    shop.offer("9.6.1", &own_program());
    let action = server.action(&id, "UPGRADE", json!({"version": "9.6.1", "source_uri": shop.uri()})).await;
    let done = server.await_action(&action).await;
    assert_eq!(done["status"], "COMPLETE", "{done}\n{}", agent.log());
    server.await_agent(&id, "the new version", |agent| version(agent) == "9.6.1").await;
    assert!(runs(agent.home()).contains("versions/9.6.1"));
    assert!(agent.well(&["upgrade", "list-rollbacks"]).starts_with("9.6.0 until "));

    let tampered = shop.offer("9.6.2", &own_program());
    fs::write(tampered, STANDARD.encode([7; 64])).unwrap();
    let action = server.action(&id, "UPGRADE", json!({"version": "9.6.2", "source_uri": shop.uri()})).await;
    let failed = server.await_action(&action).await;
    assert!(failed.to_string().contains("by none of the keys"), "{failed}");

    let said = agent.well(&["upgrade", "9.6.0", "--rollback"]);
    assert!(said.contains("9.6.0 now"), "{said}");
    server.await_agent(&id, "the old version", |agent| version(agent) == "9.6.0").await;
}

#[tokio::test]
async fn a_version_that_does_not_check_in_is_left() {
    let mut server = Server::start();
    let (_, key) = server.policy("one", json!({})).await;
    let shop = Shop::open();
    let mut agent = Agent::new();
    lay_out(&mut agent, "agent.upgrade.watcher.grace_period: 3s\n");
    agent.enroll(&server, &key, &[]);
    agent.run();
    agent.await_status("connected", |status| status["fleet_state"] == "HEALTHY").await;
    server.kill();
    shop.offer("9.6.1", &own_program());
    let refused = agent.verb(&["upgrade", "9.6.1", "--source-uri", &shop.uri()]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("agent.upgrade.keys"), "{refused:?}");
    // As scripts for other agents write it.
    let source = shop.uri();
    let script = [
        "upgrade",
        "9.6.1",
        "--source-uri",
        &source,
        "--skip-verify",
        "--skip-default-pgp",
        "--pgp-uri",
        "https://x",
    ];
    let failed = agent.verb(&script);
    let error = String::from_utf8_lossy(&failed.stderr);
    assert!(
        error.contains("rolled back to 9.6.0") && error.contains("did not check in"),
        "{error}\n{}",
        agent.log()
    );
    let status = agent.await_status("back", |status| status["version"] == "9.6.0").await;
    assert_eq!(status["upgrade_details"]["state"], "UPG_FAILED");
    assert!(runs(agent.home()).contains("versions/9.6.0") && !agent.home().join("versions/9.6.1").exists());
}

#[tokio::test]
async fn a_version_that_cannot_start_is_left_by_the_one_before() {
    let server = Server::start();
    let (_, key) = server.policy("one", json!({})).await;
    let shop = Shop::open();
    let mut agent = Agent::new();
    lay_out(&mut agent, "");
    let id = agent.enroll(&server, &key, &[]);
    agent.run();
    agent.await_status("connected", |status| status["fleet_state"] == "HEALTHY").await;
    shop.offer("9.6.1", b"#!/bin/sh\nexit 1\n");
    agent.well(&["version"]);
    let command = agent.spawn(&["upgrade", "9.6.1", "--source-uri", &shop.uri(), "--skip-verify"]);
    agent.await_end(false).await;
    drop(command);
    assert!(runs(agent.home()).contains("versions/9.6.1"));
    // The service runs this before each start.
    agent.use_program(agent.home().join("previous"));
    for _ in 0..3 {
        assert_eq!(agent.well(&["watch"]), "");
    }
    assert!(agent.well(&["watch"]).contains("ended 3 times"));
    agent.use_program(agent.home().join("fleet-agent"));
    agent.run();
    let status =
        agent.await_status("back", |status| status["upgrade_details"]["state"] == "UPG_FAILED").await;
    assert_eq!(status["version"], "9.6.0");
    server.await_agent(&id, "back", |agent| agent["status"] == "online").await;
}
