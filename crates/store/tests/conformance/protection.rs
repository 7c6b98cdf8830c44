//! etcd with TLS, with users, and what is no etcd: the error says what is wrong and what to set, and the
//! store recovers by itself when it is mended.

use std::io::{Read, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_store::etcd::{Etcd, Options};
use fleet_store::{Error, ErrorKind, Expect, Scope, Store, Write, WriteError};

use crate::cases::{THINGS, again, body, collect, put, text};
use crate::certificates::{Authority, Identity};
use crate::engine::{Member, Setup};
use crate::harness::{EtcdHarness, Flavour, PREFIX, USER, enable_auth, skip_or};

fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(below) = source {
        text.push_str(": ");
        text.push_str(&below.to_string());
        source = below.source();
    }
    text
}

fn store(options: Options) -> Arc<dyn Store> {
    Arc::new(Etcd::connect(options).unwrap())
}

/// The error of a store that cannot be used, by a read and by a write.
async fn refusal(options: Options) -> (ErrorKind, String) {
    let store = store(options);
    let result = store.write(&THINGS, Write::put("a", Expect::Any, body(1)), None).await;
    assert!(matches!(result, Err(WriteError::NotDone(_))), "{result:?}");
    let error = store.get(&THINGS, "a").await.unwrap_err();
    (error.kind, told(&error))
}

/// An etcd with TLS, and what belongs to it.
struct Protected {
    member: Member,
    authority: Authority,
    client: Identity,
    directory: tempfile::TempDir,
}

impl Protected {
    fn new(server: impl FnOnce(&Authority) -> Identity) -> Option<Protected> {
        skip_or(|| {
            let directory = tempfile::tempdir().unwrap();
            let authority = Authority::new(directory.path(), "authority");
            let server = server(&authority);
            let client = authority.sign("client", &[]);
            let tls = Some((server.cert, server.key, authority.file.clone()));
            let member = Member::single(&Setup { tls, ..Setup::default() });
            Protected { member, authority, client, directory }
        })
    }

    fn good() -> Option<Protected> {
        Protected::new(|authority| authority.sign("server", &["127.0.0.1"]))
    }

    fn options(&self) -> Options {
        Options {
            endpoints: vec![self.member.url()],
            request_timeout: Duration::from_secs(5),
            ca_file: Some(self.authority.file.clone()),
            cert_file: Some(self.client.cert.clone()),
            key_file: Some(self.client.key.clone()),
            ..Options::default()
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

#[tokio::test]
async fn an_expired_certificate() {
    let expired = |authority: &Authority| authority.sign_until("server", &["127.0.0.1"], 2020);
    let Some(protected) = Protected::new(expired) else { return };
    let (kind, text) = refusal(protected.options()).await;
    assert_eq!(kind, ErrorKind::Unsuitable);
    assert!(text.contains("its certificate has expired") && text.contains("renew it"), "{text}");
}

#[tokio::test]
async fn a_certificate_for_another_name() {
    let Some(protected) = Protected::new(|authority| authority.sign("server", &["etcd.example"])) else {
        return;
    };
    let (kind, text) = refusal(protected.options()).await;
    assert_eq!(kind, ErrorKind::Unsuitable);
    assert!(text.contains("is for another name") && text.contains("etcd_servers"), "{text}");
    assert!(text.contains("etcd.example"), "{text}");
}

#[tokio::test]
async fn an_authority_that_is_not_trusted() {
    let Some(protected) = Protected::good() else { return };
    let other = Authority::new(protected.path(), "other-authority");
    let (kind, text) = refusal(Options { ca_file: Some(other.file), ..protected.options() }).await;
    assert_eq!(kind, ErrorKind::Unsuitable);
    assert!(text.contains("not trusted") && text.contains("etcd_cafile"), "{text}");
    // The system's authorities do not know it either; where there are none, that is said.
    match Etcd::connect(Options { ca_file: None, ..protected.options() }) {
        Ok(store) => {
            let text = told(&store.get(&THINGS, "a").await.unwrap_err());
            assert!(text.contains("etcd_cafile"), "{text}");
        }
        Err(error) => assert!(error.message.contains("etcd_cafile"), "{error}"),
    }
}

#[tokio::test]
async fn a_missing_client_certificate() {
    let Some(protected) = Protected::good() else { return };
    let options = Options { cert_file: None, key_file: None, ..protected.options() };
    let (kind, text) = refusal(options).await;
    assert_eq!(kind, ErrorKind::Unsuitable);
    assert!(text.contains("etcd_certfile") && text.contains("etcd_keyfile"), "{text}");
}

#[tokio::test]
async fn a_foreign_client_certificate() {
    let Some(protected) = Protected::good() else { return };
    let other = Authority::new(protected.path(), "other-authority").sign("other-client", &[]);
    let options = Options { cert_file: Some(other.cert), key_file: Some(other.key), ..protected.options() };
    let (kind, text) = refusal(options).await;
    assert_eq!(kind, ErrorKind::Unsuitable);
    assert!(text.contains("etcd_certfile"), "{text}");
}

#[tokio::test]
async fn the_wrong_scheme() {
    let Some(protected) = Protected::good() else { return };
    let plain = protected.member.url().replace("https", "http");
    // etcd closes such a connection without a word, as when it ends: it may pass, but the hint is there.
    let (kind, text) = refusal(Options { endpoints: vec![plain], ..protected.options() }).await;
    assert_eq!(kind, ErrorKind::Unavailable, "{text}");
    assert!(text.contains("write https://"), "{text}");
    let Some(plain) = EtcdHarness::shared(Flavour::Plain) else { return };
    let endpoints = vec![plain.options().endpoints[0].replace("http", "https")];
    let (kind, text) = refusal(Options { endpoints, ..protected.options() }).await;
    assert_eq!(kind, ErrorKind::Unavailable, "{text}");
    assert!(text.contains("write http://"), "{text}");
    // Others do answer.
    let endpoints = vec![fake(b"HTTP/1.1 400 Bad Request\r\n\r\n").replace("http", "https")];
    let (kind, text) = refusal(Options { endpoints, ..protected.options() }).await;
    assert_eq!(kind, ErrorKind::Unsuitable, "{text}");
    assert!(text.contains("write http://"), "{text}");
}

#[tokio::test]
async fn it_recovers_when_the_files_are_mended() {
    let Some(protected) = Protected::good() else { return };
    let other = Authority::new(protected.path(), "other-authority");
    let ca_file = protected.path().join("ca.pem");
    std::fs::copy(&other.file, &ca_file).unwrap();
    let store = store(Options { ca_file: Some(ca_file.clone()), ..protected.options() });
    assert_eq!(store.get(&THINGS, "a").await.unwrap_err().kind, ErrorKind::Unsuitable);
    std::fs::write(&ca_file, "gone for a moment").unwrap();
    assert_eq!(store.get(&THINGS, "a").await.unwrap_err().kind, ErrorKind::Unsuitable);
    std::fs::copy(&protected.authority.file, &ca_file).unwrap();
    put(&store, "a", body(1)).await;
}

#[tokio::test]
async fn bad_files_are_named_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(directory.path(), "authority");
    let (one, two) = (authority.sign("one", &[]), authority.sign("two", &[]));
    let garbage = directory.path().join("garbage.pem");
    std::fs::write(&garbage, "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n").unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let options = Options {
        endpoints: vec!["https://127.0.0.1:1".to_owned()],
        ca_file: Some(authority.file.clone()),
        ..Options::default()
    };
    Etcd::connect(options.clone()).unwrap();
    let fault = |change: &dyn Fn(&mut Options)| {
        let mut options = options.clone();
        change(&mut options);
        told(&Etcd::connect(options).unwrap_err())
    };
    let nothing = PathBuf::from("/nowhere/ca.pem");
    let text = fault(&|options| options.ca_file = Some(nothing.clone()));
    assert!(text.contains("etcd_cafile /nowhere/ca.pem cannot be read"), "{text}");
    for bad in [&garbage, &empty] {
        let text = fault(&|options| options.ca_file = Some(bad.clone()));
        assert!(text.contains("etcd_cafile") && text.contains("PEM"), "{text}");
    }
    let text = fault(&|options| options.cert_file = Some(one.cert.clone()));
    assert!(text.contains("etcd_keyfile is not"), "{text}");
    let text = fault(&|options| {
        options.cert_file = Some(one.cert.clone());
        options.key_file = Some(two.key.clone());
    });
    assert!(text.contains("does not fit"), "{text}");
    let text = fault(&|options| {
        options.cert_file = Some(one.cert.clone());
        options.key_file = Some(one.cert.clone());
    });
    assert!(text.contains("etcd_keyfile") && text.contains("no private key"), "{text}");
}

/// A server that answers everything with the same bytes.
fn fake(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer);
        }
    });
    url
}

#[tokio::test]
async fn an_etcd_with_only_its_v2_api() {
    let url = fake(b"HTTP/1.1 404 Not Found\r\nContent-Length: 19\r\n\r\n404 page not found\n");
    let options = Options { endpoints: vec![url], ..Options::default() };
    let (kind, text) = refusal(options).await;
    assert_eq!(kind, ErrorKind::Unsuitable, "{text}");
    assert!(text.contains("v2 API") && text.contains("etcd 3.4"), "{text}");
}

#[tokio::test]
async fn a_server_that_answers_with_a_tls_alert() {
    let url = fake(&[21, 3, 1, 0, 2, 2, 70]);
    let (kind, text) = refusal(Options { endpoints: vec![url], ..Options::default() }).await;
    assert_eq!(kind, ErrorKind::Unsuitable, "{text}");
    assert!(text.contains("write https://"), "{text}");
}

#[tokio::test]
async fn nobody_there_names_every_endpoint() {
    let away = || format!("http://127.0.0.1:{}", crate::engine::free_port());
    let endpoints = vec![away(), away()];
    let (kind, text) = refusal(Options { endpoints: endpoints.clone(), ..Options::default() }).await;
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(endpoints.iter().all(|url| text.contains(url)) && text.contains("refused"), "{text}");
}

#[tokio::test]
async fn a_wrong_password() {
    let Some(harness) = EtcdHarness::shared(Flavour::Auth) else { return };
    for (name, password) in [(USER.0, "wrong"), ("nobody", USER.1)] {
        let options = Options {
            username: Some(name.to_owned()),
            password: Some(password.to_owned()),
            ..harness.options()
        };
        let (kind, text) = refusal(options).await;
        assert_eq!(kind, ErrorKind::Denied, "{text}");
        assert!(text.contains("etcd_username") && text.contains("etcd_password"), "{text}");
        assert!(!text.contains("wrong"), "a password in {text}");
    }
}

#[tokio::test]
async fn a_missing_login() {
    let Some(harness) = EtcdHarness::shared(Flavour::Auth) else { return };
    let options = Options { username: None, password: None, ..harness.options() };
    let (kind, text) = refusal(options.clone()).await;
    assert_eq!(kind, ErrorKind::Denied, "{text}");
    assert!(text.contains("etcd_username"), "{text}");
    let error = store(options).watch(&THINGS, Scope::All, fleet_store::Revision(1)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error:?}");
}

#[tokio::test]
async fn keys_that_the_user_may_not_touch() {
    let Some(harness) = EtcdHarness::shared(Flavour::Auth) else { return };
    let options = Options { key_prefix: "/elsewhere/".to_owned(), ..harness.options() };
    let (kind, text) = refusal(options).await;
    assert_eq!(kind, ErrorKind::Denied, "{text}");
    assert!(text.contains("etcd_key_prefix"), "{text}");
}

/// An etcd whose tokens live for a second.
fn forgetful() -> Option<Member> {
    let arguments = ["--bcrypt-cost", "4", "--auth-token-ttl", "1"].map(str::to_owned).to_vec();
    skip_or(|| Member::single(&Setup { arguments, ..Setup::default() }))
}

fn with_user(member: &Member) -> Options {
    Options {
        endpoints: vec![member.url()],
        key_prefix: PREFIX.to_owned(),
        request_timeout: Duration::from_secs(5),
        username: Some(USER.0.to_owned()),
        password: Some(USER.1.to_owned()),
        ..Options::default()
    }
}

#[tokio::test]
async fn expired_tokens_are_renewed() {
    let Some(member) = forgetful() else { return };
    enable_auth(&member.url());
    let store = store(with_user(&member));
    let mut start = put(&store, "a", body(0)).await;
    let mut watch = store.watch(&THINGS, Scope::All, start).await.unwrap();
    for n in 1..4 {
        tokio::time::sleep(Duration::from_millis(2500)).await;
        // Each kind of call meets the expired token once.
        match n {
            1 => drop(store.get(&THINGS, "a").await.unwrap()),
            2 => drop(store.watch(&THINGS, Scope::All, start).await.unwrap()),
            _ => drop(store.grant(Duration::from_secs(5)).await.unwrap()),
        }
        start = put(&store, "a", body(n)).await;
        assert_eq!(collect(&mut watch, 1).await, [format!("a={}", body(n))]);
    }
}

#[tokio::test]
async fn many_calls_share_one_login() {
    let Some(member) = forgetful() else { return };
    enable_auth(&member.url());
    let store = store(with_user(&member));
    put(&store, "a", body(0)).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let store = Arc::clone(&store);
        calls.spawn(async move { text(&store, "a").await });
    }
    let started = Instant::now();
    while let Some(call) = calls.join_next().await {
        assert_eq!(call.unwrap(), Some(body(0)));
    }
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn authentication_is_turned_on_later() {
    let Some(member) = forgetful() else { return };
    let store = store(with_user(&member));
    let start = put(&store, "a", body(0)).await;
    let mut watch = store.watch(&THINGS, Scope::All, start).await.unwrap();
    let url = member.url();
    tokio::task::spawn_blocking(move || enable_auth(&url)).await.unwrap();
    put(&store, "a", body(1)).await;
    assert_eq!(collect(&mut watch, 1).await, [format!("a={}", body(1))]);
    again(|| store.get(&THINGS, "a")).await.unwrap();
    store.watch(&THINGS, Scope::All, start).await.unwrap();
}

#[tokio::test]
async fn a_database_at_its_quota() {
    let arguments = ["--quota-backend-bytes", "2097152"].map(str::to_owned).to_vec();
    let Some(member) = skip_or(|| Member::single(&Setup { arguments, ..Setup::default() })) else { return };
    let options = Options {
        endpoints: vec![member.url()],
        request_timeout: Duration::from_secs(5),
        ..Options::default()
    };
    let store = store(options);
    let mut refused = 0;
    for n in 0..100 {
        let id = format!("id-{n}");
        let big = crate::cases::body_of_size(100_000);
        match store.write(&THINGS, Write::put(&id, Expect::Absent, big), None).await {
            Ok(_) => assert_eq!(refused, 0, "{id} was written after the quota was reached"),
            // The first may have been done all the same: nothing else than unknown would be true.
            Err(WriteError::Unknown(error)) => {
                assert_eq!(error.kind, ErrorKind::Unsuitable);
                assert!(told(&error).contains("etcdctl alarm disarm"), "{}", told(&error));
                assert!(refused == 0 || text(&store, &id).await.is_none(), "{id}");
                refused += 1;
            }
            Err(error) => panic!("{error:?}"),
        }
        if refused == 3 {
            // Deleting still works: that is the way out.
            crate::cases::delete(&store, "id-0").await;
            return;
        }
    }
    panic!("the quota was never reached");
}
