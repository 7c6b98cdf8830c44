//! A browser between the server and the provider, as far as a sign-in needs one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::LOGIN;
use super::node::Node;
use crate::client::{Answer, Client};
use crate::server::Server;

/// Pages until the provider sends somebody back: far fewer.
const MOST_PAGES: usize = 20;

pub(super) struct Browser {
    fleet: Client,
    fleet_port: u16,
    provider_port: u16,
    tls: TlsConnector,
    /// By host and name. Paths and ends are not looked at, but for what is removed.
    cookies: BTreeMap<(&'static str, String), String>,
}

impl Browser {
    pub(super) fn new(server: &Server, node: &Node) -> Browser {
        let mut roots = rustls::RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(node.certificate()).expect("a certificate");
        roots.add(certificate).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Browser {
            fleet: Client::anonymous(server),
            fleet_port: server.management_port(),
            provider_port: node.port(),
            tls: TlsConnector::from(Arc::new(config)),
            cookies: BTreeMap::new(),
        }
    }

    /// A client with what this browser holds for the server.
    pub(super) fn client(&self) -> Client {
        self.fleet.with("cookie", self.cookies_for("fleet"))
    }

    /// Signs in by the provider; answers what the server says in the end.
    pub(super) async fn sign_in(&mut self, name: &str) -> Answer {
        let way_back = self.way_back(name).await;
        self.get_from_fleet(&way_back).await
    }

    /// Signs in at the provider; answers the path that it sends the browser back to.
    pub(super) async fn way_back(&mut self, name: &str) -> String {
        let begun = self.get_from_fleet(LOGIN).await;
        assert_eq!(begun.status, 303, "{}", begun.text);
        let cookie = begun.header("set-cookie");
        assert!(
            cookie.contains("HttpOnly; SameSite=Lax") && cookie.contains("Path=/api/fleet/oidc"),
            "{cookie}"
        );
        let mut location = begun.header("location").to_owned();
        for parameter in ["code_challenge=", "code_challenge_method=S256", "nonce=", "state="] {
            assert!(location.contains(parameter), "{location}");
        }
        let back = format!("http://127.0.0.1:{}", self.fleet_port);
        for _ in 0..MOST_PAGES {
            if let Some(path) = location.strip_prefix(&back) {
                return path.to_owned();
            }
            let page = self.provider("GET", &location, String::new()).await;
            location = match page.status.as_u16() {
                303 | 302 => page.header("location").to_owned(),
                _ => self.fill_in(&page, name).await,
            };
        }
        panic!("the provider does not send anybody back: {location}");
    }

    /// Sends the form of a page.
    async fn fill_in(&mut self, page: &Answer, name: &str) -> String {
        let value = |before: &str| {
            let rest = page.text.split(before).nth(1).unwrap_or_else(|| panic!("no {before}: {}", page.text));
            rest.split('"').next().expect("a value").to_owned()
        };
        let prompt = value("name=\"prompt\" value=\"");
        let body = format!("prompt={prompt}&login={name}&password=any");
        let answer = self.provider("POST", &value("action=\""), body).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        answer.header("location").to_owned()
    }

    pub(super) async fn get_from_fleet(&mut self, path: &str) -> Answer {
        let answer = self.client().get(path).await;
        self.keep_cookies("fleet", &answer);
        answer
    }

    async fn provider(&mut self, method: &str, url: &str, body: String) -> Answer {
        let path = url.strip_prefix(&format!("https://localhost:{}", self.provider_port)).unwrap_or(url);
        let tcp = TcpStream::connect(("127.0.0.1", self.provider_port)).await.expect("a connection");
        let name = "localhost".try_into().expect("a name");
        let tls = self.tls.connect(name, tcp).await.expect("TLS");
        let (mut sender, connection) = handshake(TokioIo::new(tls)).await.expect("HTTP");
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", format!("localhost:{}", self.provider_port))
            .header("cookie", self.cookies_for("provider"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        let answer = whole(sender.send_request(request).await.expect("an answer")).await;
        self.keep_cookies("provider", &answer);
        answer
    }

    fn cookies_for(&self, host: &str) -> String {
        let cookies = self.cookies.iter().filter(|((of, _), _)| *of == host);
        cookies.map(|((_, name), value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn keep_cookies(&mut self, host: &'static str, answer: &Answer) {
        for line in answer.headers.get_all("set-cookie") {
            let text = line.to_str().expect("text");
            let (name, value) =
                text.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            self.cookies.remove(&(host, name.to_owned()));
            if !value.is_empty() {
                self.cookies.insert((host, name.to_owned()), value.to_owned());
            }
        }
    }
}

async fn whole(response: Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Answer { status: head.status, headers: head.headers, text: String::from_utf8_lossy(&body).into_owned() }
}
