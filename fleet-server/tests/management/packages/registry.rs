//! Packages of a registry: a small one of the test's own, over HTTP.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::archives::{package, package_for};
use super::{EPM, PACKAGES};
use crate::client::Client;
use crate::server::Server;

/// What it serves, by path, and what it was asked for.
#[derive(Default)]
struct Content {
    answers: HashMap<String, Vec<u8>>,
    asked: Mutex<Vec<String>>,
    is_away: AtomicBool,
}

struct Registry {
    port: u16,
    content: Arc<Content>,
    serving: JoinHandle<()>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn described(name: &str, version: &str) -> Value {
    json!({
        "name": name, "title": format!("The {name}"), "version": version, "type": "integration",
        "description": "From afar", "path": format!("/package/{name}/{version}"), "categories": ["web"],
        "download": format!("/epr/{name}/{name}-{version}.zip"), "policy_templates": [{"name": name}],
        "source": {"license": "MIT"},
    })
}

impl Registry {
    async fn start(packages: &[(&str, &str, Vec<u8>)]) -> Registry {
        Registry::start_over(packages, None).await
    }

    async fn start_over(packages: &[(&str, &str, Vec<u8>)], tls: Option<TlsAcceptor>) -> Registry {
        let mut answers = HashMap::new();
        let mut found = Vec::new();
        for (name, version, archive) in packages {
            let mut whole = described(name, version);
            found.push(whole.clone());
            whole["assets"] = json!([format!("/package/{name}/{version}/kibana/dashboard/one.json")]);
            whole["data_streams"] = json!([{"type": "logs", "dataset": format!("{name}.access")}]);
            answers.insert(format!("/package/{name}/{version}/"), whole.to_string().into_bytes());
            answers.insert(format!("/package/{name}/{version}/img/logo.svg"), b"<svg/>".to_vec());
            answers.insert(format!("/epr/{name}/{name}-{version}.zip"), archive.clone());
        }
        // One that nobody can read hides no other.
        found.push(json!({"name": 7}));
        answers.insert("/search".to_owned(), json!(found).to_string().into_bytes());
        let categories = json!([{"id": "web", "title": "Web Server", "count": 1}]);
        answers.insert("/categories".to_owned(), categories.to_string().into_bytes());
        let content = Arc::new(Content { answers, ..Content::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let serving = tokio::spawn(serve(listener, Arc::clone(&content), tls));
        Registry { port, content, serving }
    }

    fn settings(&self) -> Vec<String> {
        vec![format!("registry_url=http://127.0.0.1:{}/", self.port)]
    }

    fn asked(&self, begin: &str) -> Vec<String> {
        let asked = self.content.asked.lock().expect("the list");
        asked.iter().filter(|path| path.starts_with(begin)).cloned().collect()
    }

    fn go_away(&self) {
        self.content.is_away.store(true, Ordering::SeqCst);
    }
}

async fn serve(listener: TcpListener, content: Arc<Content>, tls: Option<TlsAcceptor>) {
    loop {
        let Ok((tcp, _)) = listener.accept().await else { return };
        let (content, tls) = (Arc::clone(&content), tls.clone());
        tokio::spawn(async move {
            match tls {
                Some(tls) => {
                    if let Ok(tls) = tls.accept(tcp).await {
                        converse(tls, content).await;
                    }
                }
                None => converse(tcp, content).await,
            }
        });
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, content: Arc<Content>) {
    let service = service_fn(|request: Request<Incoming>| {
        let content = Arc::clone(&content);
        async move { content.answer(&request) }
    });
    // A connection that breaks is the server's to notice.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Content {
    fn answer(&self, request: &Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        if self.is_away.load(Ordering::SeqCst) {
            // The connection breaks.
            return Err(std::io::ErrorKind::ConnectionReset.into());
        }
        self.asked.lock().expect("the list").push(request.uri().to_string());
        let found = self.answers.get(request.uri().path());
        let status = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
        let mut response = Response::new(Full::new(Bytes::from(found.cloned().unwrap_or_default())));
        *response.status_mut() = status;
        Ok(response)
    }
}

#[tokio::test]
async fn packages_are_installed_by_their_names() {
    let registry = Registry::start(&[("afar", "2.1.0", package("afar", "2.1.0"))]).await;
    let server = Server::start(&registry.settings());
    let admin = Client::admin(&server);
    let listed = admin.listed("afar").await.expect("it is listed");
    assert_eq!((&listed["status"], &listed["origin"]), (&json!("not_installed"), &json!("registry")));
    assert_eq!(listed["download"], "/epr/afar/afar-2.1.0.zip");
    assert!(admin.listed("system").await.is_some());
    assert_eq!(registry.asked("/search"), ["/search?prerelease=true&kibana.version=9.6.0"], "once for all");

    // It is shown without being fetched.
    let item = admin.package("afar").await;
    assert_eq!((&item["version"], &item["latestVersion"]), (&json!("2.1.0"), &json!("2.1.0")));
    assert_eq!(item["assets"]["kibana"]["dashboard"][0]["path"], "kibana/dashboard/one.json");
    assert_eq!((&item["source"], &item["origin"]), (&json!({"license": "MIT"}), &json!("registry")));
    let svg = admin.get(&format!("{PACKAGES}/afar/2.1.0/img/logo.svg")).await;
    assert_eq!((svg.text.as_str(), svg.header("content-type")), ("<svg/>", "image/svg+xml"));
    assert_eq!(registry.asked("/epr"), Vec::<String>::new());
    let categories = admin.get(&format!("{EPM}/categories")).await.ok();
    let web = categories["items"].as_array().expect("items").iter().find(|one| one["id"] == "web");
    assert_eq!(web.expect("the category")["title"], "Web Server");
    assert_eq!(
        admin.get(&format!("{PACKAGES}/afar/9.9.9")).await.refusal(404),
        "Package afar-9.9.9 not found"
    );
    let inputs = admin.get(&format!("{EPM}/templates/afar/2.1.0/inputs")).await.ok();
    assert_eq!(inputs["inputs"][0]["type"], "filestream");
    assert_eq!(
        admin.listed("afar").await.expect("listed")["status"],
        "not_installed",
        "looked at, not installed"
    );

    let done = admin.post(&format!("{PACKAGES}/afar"), &json!({})).await.ok();
    assert_eq!(done["_meta"], json!({"install_source": "registry", "name": "afar", "version": "2.1.0"}));
    registry.go_away();
    let server = server.restart();
    let admin = Client::admin(&server);
    let item = admin.package("afar/2.1.0").await;
    assert_eq!(item["installationInfo"]["install_source"], "registry");
    assert_eq!(admin.get(&format!("{PACKAGES}/afar/2.1.0/docs/README.md")).await.text, "# Read me\n");
    assert!(admin.integrate("web", "afar", "2.1.0").await.status.is_success());
    // What is here is shown, and can be installed.
    assert!(admin.listed("afar").await.is_some());
    admin.post(&format!("{PACKAGES}/system"), &json!({})).await.ok();
    let refusal = admin.post(&format!("{PACKAGES}/other"), &json!({})).await.refusal(502);
    assert!(refusal.contains("the registry of packages http://127.0.0.1:"), "{refusal}");
}

#[tokio::test]
async fn what_a_registry_gives_is_not_believed() {
    let registry = Registry::start(&[
        ("other", "1.0.0", package("something", "1.0.0")),
        ("broken", "1.0.0", b"PK and no more".to_vec()),
        ("late", "1.0.0", package_for("late", "1.0.0", "^7.0.0")),
    ])
    .await;
    let server = Server::start(&registry.settings());
    let admin = Client::admin(&server);
    for (name, reason) in [
        ("other", "the registry gave something-1.0.0 for other-1.0.0"),
        ("broken", "not a zip archive"),
        ("late", "needs a server of version ^7.0.0"),
    ] {
        let refusal = admin.post(&format!("{PACKAGES}/{name}/1.0.0"), &json!({})).await.refusal(400);
        assert!(refusal.contains(reason), "{refusal}");
        let listed = admin.listed(name).await.expect("it is listed");
        assert_eq!(listed["status"], "install_failed", "{listed}");
        let failed = &listed["installationInfo"]["latest_install_failed_attempts"][0]["error"]["message"];
        assert!(failed.as_str().is_some_and(|text| text.contains(reason)), "{listed}");
    }
    assert_eq!(admin.listed("something").await, None);
    for name in ["..", "%2e%2e%2fepr", "a%3fb", "a%23b"] {
        let answer = admin.post(&format!("{PACKAGES}/{name}/1.0.0"), &json!({})).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{name}: {}", answer.text);
    }
    assert!(registry.asked("/epr").iter().all(|path| path.ends_with("-1.0.0.zip")));
}

#[tokio::test]
async fn a_proxy_stands_in_between() {
    // It answers whatever it is asked, as a proxy would: by the whole address.
    let proxy = Registry::start(&[("afar", "1.0.0", package("afar", "1.0.0"))]).await;
    let settings = vec![
        "registry_url=http://registry.invalid/epr-mirror".to_owned(),
        format!("registry_proxy_url=http://user:secret@127.0.0.1:{}", proxy.port),
    ];
    let server = Server::start(&settings);
    let admin = Client::admin(&server);
    admin.listed("afar").await;
    let asked = proxy.asked("http://registry.invalid/epr-mirror/search");
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(!server.log().iter().any(|line| line.contains("secret")), "{:?}", server.log());
}

/// A proxy that leads every connection to one port. Returns its own, and the heads of requests that it was sent.
async fn tunnel_to(port: u16) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let own = listener.local_addr().expect("an address").port();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(from.read_u8().await.expect("a head"));
                }
                kept.lock().expect("the list").push(String::from_utf8(head).expect("text"));
                let mut to = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
                from.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("sent");
                // Whoever ends it first is right.
                let _ = copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    (own, heads)
}

#[tokio::test]
async fn a_registry_is_trusted_by_its_own_authority_through_a_tunnel() {
    let made =
        rcgen::generate_simple_self_signed(vec!["registry.invalid".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("a configuration");
    let packages = [("afar", "1.0.0", package("afar", "1.0.0"))];
    let registry = Registry::start_over(&packages, Some(TlsAcceptor::from(Arc::new(config)))).await;
    let (proxy, heads) = tunnel_to(registry.port).await;
    let directory = tempfile::tempdir().expect("a directory");
    let authority = directory.path().join("ca.pem");
    std::fs::write(&authority, made.cert.pem()).expect("written");
    let mut settings = vec![
        "registry_url=https://registry.invalid".to_owned(),
        format!("registry_proxy_url=http://user:secret@127.0.0.1:{proxy}"),
    ];
    settings.push(format!("registry_certificate_authorities={}", authority.display()));
    let server = Server::start(&settings);
    let admin = Client::admin(&server);
    let done = admin.post(&format!("{PACKAGES}/afar"), &json!({})).await.ok();
    assert_eq!(done["_meta"]["version"], "1.0.0");
    let heads = heads.lock().expect("the list").clone();
    assert!(heads[0].starts_with("CONNECT registry.invalid:443 HTTP/1.1\r\n"), "{heads:?}");
    assert!(heads[0].contains("Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"), "{heads:?}");
}
