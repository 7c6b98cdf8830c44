//! What is not an archive of a package: refused with its reason, within the bound, and the server goes on.

use std::io::{Cursor, Write};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use zip::write::SimpleFileOptions;

use super::archives::{files, package, tar_gz, zip};
use super::{EPM, GZIP, PACKAGES, ZIP};
use crate::client::Client;
use crate::server::Server;

/// The longest time for an answer, on a slow machine with a program that is not optimized.
const ANSWER_SECONDS: u64 = 60;
/// What may be unpacked has 256 MiB; that much and the program itself.
const MOST_RESIDENT: f64 = 600e6;

fn with_manifest(manifest: &str) -> Vec<(String, Vec<u8>)> {
    vec![("bad-1.0.0/manifest.yml".to_owned(), manifest.as_bytes().to_vec())]
}

fn manifest(more: &str) -> String {
    format!("format_version: 3.0.0\nname: bad\ntitle: Bad\nversion: 1.0.0\ntype: integration\n{more}")
}

/// Sends files as a zip and as a tar, and gives the reason of the refusal.
async fn refused(admin: &Client, files: &[(String, Vec<u8>)]) -> String {
    let began = Instant::now();
    let of_zip = admin.upload(ZIP, zip(files)).await.refusal(400);
    let of_tar = admin.upload(GZIP, tar_gz(files)).await.refusal(400);
    assert_eq!(of_zip, of_tar);
    assert!(began.elapsed().as_secs() < ANSWER_SECONDS, "{:?}", began.elapsed());
    of_zip
}

#[tokio::test]
async fn what_is_sent_in_the_wrong_way_is_told_how() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    let good = package("acme", "1.0.0");
    for media in ["application/json", "text/plain", "application/x-www-form-urlencoded", ""] {
        let refusal = admin.upload(media, good.clone()).await.refusal(415);
        assert!(refusal.starts_with("[request header.content-type]"), "{refusal}");
        assert!(refusal.contains("application/zip"), "{refusal}");
    }
    for (media, body, reason) in [
        (ZIP, Vec::new(), "the body is empty"),
        (ZIP, tar_gz(&files("acme", "1.0.0", "")), "the body is gzip: send Content-Type: application/gzip"),
        (GZIP, good.clone(), "the body is a zip: send Content-Type: application/zip"),
        (ZIP, b"hello".to_vec(), "the body is not a zip"),
        (GZIP, b"hello".to_vec(), "the body is not gzip"),
        (ZIP, b"PK\x05\x06".to_vec(), "not a zip archive, or a damaged one"),
        (ZIP, good[..good.len() / 2].to_vec(), "not a zip archive, or a damaged one"),
    ] {
        let refusal = admin.upload(media, body).await.refusal(400);
        assert!(refusal.contains(reason), "{reason}: {refusal}");
    }
    let tar = tar_gz(&files("acme", "1.0.0", ""));
    let refusal = admin.upload(GZIP, tar[..tar.len() / 2].to_vec()).await.refusal(400);
    assert!(refusal.contains("damaged") || refusal.contains("cannot be unpacked"), "{refusal}");
    assert_eq!(admin.listed("acme").await, None, "nothing of it is kept");
}

#[tokio::test]
async fn paths_lead_nowhere_else() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    for path in ["bad-1.0.0/../../etc/cron.d/x", "/etc/passwd", "bad-1.0.0\\..\\x", "../x", "other-1.0.0/x"] {
        let mut files = files("bad", "1.0.0", "");
        files.push((path.to_owned(), b"x".to_vec()));
        let refusal = admin.upload(GZIP, tar_gz(&files)).await.refusal(400);
        assert!(refusal.contains(&format!("{path:?}")), "{path}: {refusal}");
    }
    for (name, version) in [("../x", "1.0.0"), ("a/b", "1.0.0"), ("a", "../1"), ("", "1.0.0"), ("A", "1.0.0")]
    {
        let manifest = format!("name: {name:?}\nversion: {version:?}\ntype: integration\n");
        let refusal = refused(&admin, &with_manifest(&manifest)).await;
        assert!(refusal.starts_with("manifest.yml:"), "{refusal}");
    }
    let refusal = refused(&admin, &[("bad-1.0.0/readme".to_owned(), Vec::new())]).await;
    assert_eq!(refusal, "manifest.yml: the package has no such file");
    // What looks like a package's name leads nowhere either.
    for name in
        ["..".to_owned(), "%2e%2e%2f".to_owned(), "a%00b".to_owned(), "%ff".to_owned(), "a".repeat(5000)]
    {
        let answer = admin.get(&format!("{PACKAGES}/{name}/1.0.0")).await;
        assert!(answer.status.is_client_error(), "{name}: {answer:?}");
        let answer = admin.post(&format!("{PACKAGES}/{name}/1.0.0"), &json!({})).await;
        assert!(answer.status.is_client_error(), "{name}: {answer:?}");
        let answer = admin.delete(&format!("{PACKAGES}/{name}")).await;
        assert!(answer.status.is_client_error(), "{name}: {answer:?}");
        let answer = admin.get(&format!("{PACKAGES}/_bulk_upgrade/{name}")).await;
        assert!(answer.status.is_client_error(), "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn yaml_costs_what_it_may() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    let large = manifest(&format!("description: {}\n", "x".repeat(10 << 20)));
    let refusal = refused(&admin, &with_manifest(&large)).await;
    assert!(refusal.starts_with("manifest.yml:1: the text is larger than"), "{refusal}");
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    let refusal = refused(&admin, &with_manifest(&manifest(&bomb))).await;
    assert!(refusal.starts_with("manifest.yml:"), "{refusal}");
    let deep = manifest(&format!("owner: {}{}\n", "[".repeat(10_000), "]".repeat(10_000)));
    let refusal = refused(&admin, &with_manifest(&deep)).await;
    assert!(refusal.starts_with("manifest.yml:"), "{refusal}");
    let refusal = refused(&admin, &with_manifest(&manifest("policy_templates: {a: b}\n"))).await;
    assert_eq!(refusal, "manifest.yml:6: policy_templates: must be a list");
    let refusal = refused(&admin, &[("bad-1.0.0/manifest.yml".to_owned(), vec![0xff; 100])]).await;
    assert!(refusal.contains("not UTF-8"), "{refusal}");
    // The same in what is sent beside archives.
    let text = json!({"integrationName": "x".repeat(1 << 20), "datasets": []});
    let refusal = admin.post(&format!("{EPM}/custom_integrations"), &text).await.refusal(400);
    assert!(refusal.starts_with("[request body.integrationName]"), "{refusal}");
}

/// Files of zeros: what takes 32 KB to send has 32 MB.
fn bomb(files: usize, size: usize) -> Vec<u8> {
    let zeros = vec![0; size];
    let mut one = zip::ZipWriter::new(Cursor::new(Vec::new()));
    one.start_file("zeros", SimpleFileOptions::default()).expect("a file");
    one.write_all(&zeros).expect("written");
    let mut one = zip::ZipArchive::new(one.finish().expect("a zip")).expect("a zip");
    let mut all = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for index in 0..files {
        let file = one.by_index_raw(0).expect("the file");
        all.raw_copy_file_rename(file, format!("bad-1.0.0/{index}")).expect("copied");
    }
    all.finish().expect("a zip").into_inner()
}

#[tokio::test]
async fn bombs_do_not_go_off() {
    let server = Server::start(&[]);
    let admin = Client::admin(&server);
    let many = bomb(40, 16 << 20);
    assert!(many.len() < 1 << 20);
    let began = Instant::now();
    let (one, two, three, good) = tokio::join!(
        admin.upload(ZIP, many.clone()),
        admin.upload(ZIP, many.clone()),
        admin.upload(ZIP, bomb(1, 33 << 20)),
        admin.get(PACKAGES),
    );
    for refused in [one, two] {
        assert!(refused.refusal(400).contains("larger than 268435456 bytes together"));
    }
    assert!(three.refusal(400).contains("the file is larger than"));
    good.ok();
    assert!(began.elapsed().as_secs() < ANSWER_SECONDS, "{:?}", began.elapsed());
    let metrics = admin.get("/metrics").await;
    let resident = metrics.text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    let resident: f64 = resident.and_then(|bytes| bytes.parse().ok()).expect("a number of bytes");
    assert!(resident < MOST_RESIDENT, "{resident} bytes");
    admin.upload(ZIP, package("acme", "1.0.0")).await.ok();
}

#[tokio::test]
async fn an_archive_that_is_announced_too_large_is_refused_at_once() {
    let server = Server::start(&[]);
    let mut tcp = TcpStream::connect(("127.0.0.1", server.management_port())).await.expect("a connection");
    let login = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        format!("admin:{}", crate::server::PASSWORD),
    );
    let head = format!(
        "POST {PACKAGES} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {login}\r\nkbn-xsrf: true\r\n\
         Content-Type: {ZIP}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        (100 << 20) + 1
    );
    tcp.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("larger than 104857600 bytes"), "{answer}");
}
