//! The key that upgrades are signed with.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::agent::Way;
use crate::refusals::{case, check};
use crate::server::Server;

const KEY: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nx\n-----END PGP PUBLIC KEY BLOCK-----\n";
const PATH: &str = "/api/agents/upgrades/9.6.0/pgp-public-key";

/// A place that keys are fetched from. Counts how often it is asked.
async fn upstream(status: u16, body: Bytes) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys/agent?x=1", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: Request<hyper::body::Incoming>| {
                counter.fetch_add(1, Ordering::SeqCst);
                let is_right = request.uri() == "/keys/agent?x=1" && request.headers().contains_key("host");
                let status = if is_right { status } else { 400 };
                let response = Response::builder().status(status).body(Full::new(body.clone())).unwrap();
                async { Ok::<_, std::convert::Infallible>(response) }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
    });
    (url, asked)
}

fn settings(url: &str, dir: &Path) -> Vec<String> {
    vec![
        format!("inputs.0.server.pgp.upstream_url={url}"),
        format!("inputs.0.server.pgp.dir={}", dir.display()),
    ]
}

/// As who has no key of any agent.
fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", "localhost").body(Full::default()).unwrap()
}

#[tokio::test]
async fn the_key_is_fetched_once_and_kept_safe() {
    let (url, asked) = upstream(200, KEY.into()).await;
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("keys");
    let mut server = Server::start(&settings(&url, &dir));
    let way = Way::to(&server);
    let fetched = futures_util::future::join_all((0..5).map(|_| way.fetch(get(PATH)))).await;
    for answer in fetched {
        assert_eq!((answer.status(), answer.body().as_ref()), (StatusCode::OK, KEY.as_bytes()));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let file = dir.join("default.pgp");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&dir)), (0o600, 0o700));
    // Whoever runs the server has put another in its place.
    std::fs::write(&file, "mine").unwrap();
    assert_eq!(way.fetch(get(PATH)).await.body().as_ref(), b"mine");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    check(&way, vec![case("mode", get(PATH), 500, "InternalServerError")]).await;
    let told = server.await_log("chmod 0600");
    assert!(told.contains(&file.display().to_string()), "{told}");
}

#[tokio::test]
async fn what_is_no_key_is_not_taken_for_one() {
    let directory = tempfile::tempdir().unwrap();
    let large = [KEY.as_bytes(), &vec![b'x'; 1 << 20]].concat();
    for (status, body) in [(404, KEY.into()), (200, "<html>sign in</html>".into()), (200, large.into())] {
        let (url, asked) = upstream(status, body).await;
        let server = Server::start(&settings(&url, directory.path()));
        let way = Way::to(&server);
        let cases = || vec![case("no key", get(PATH), 503, "ServiceUnavailable")];
        check(&way, cases()).await;
        // It is not asked again at once.
        check(&way, cases()).await;
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert_eq!(directory.path().read_dir().unwrap().count(), 0);
        for version in ["9.6", "x", "9.6.0-SNAPSHOT"] {
            let path = PATH.replace("9.6.0", version);
            check(&way, vec![case("version", get(&path), 400, "BadRequest")]).await;
        }
    }
}

#[tokio::test]
async fn the_key_comes_over_tls_from_who_can_be_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let (url, _) = upstream(200, KEY.into()).await;
    let first = Server::start(&settings(&url, &directory.path().join("first")));
    let url = format!("https://localhost:{}{PATH}", first.agents_port());
    let second_dir = directory.path().join("second");
    let trusting = Server::start_with(&settings(&url, &second_dir), &[("SSL_CERT_FILE", &first.ca())]);
    let answer = Way::to(&trusting).fetch(get(PATH)).await;
    assert_eq!((answer.status(), answer.body().as_ref()), (StatusCode::OK, KEY.as_bytes()));
    let third_dir = directory.path().join("third");
    let other = trusting.ca();
    let doubting = Server::start_with(&settings(&url, &third_dir), &[("SSL_CERT_FILE", &other)]);
    check(&Way::to(&doubting), vec![case("doubt", get(PATH), 503, "ServiceUnavailable")]).await;
    assert!(!third_dir.exists());
}

#[tokio::test]
async fn without_tls_there_is_no_key() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings("http://127.0.0.1:1/", directory.path());
    settings.push("inputs.0.server.ssl.enabled=false".to_owned());
    let server = Server::start(&settings);
    let mut stream = TcpStream::connect(("127.0.0.1", server.agents_port())).await.unwrap();
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 501 ") && answer.contains("ErrTLSRequired"), "{answer}");
}
