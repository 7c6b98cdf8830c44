//! Connections that are encrypted, and clients that have to say who they are.

use std::path::Path;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::*;
use crate::input::testing::Certificates;

/// Sends a log record over HTTP; the answer's status, or none when the connection was refused.
async fn over_http(address: &str, tls: ClientConfig, message: &str) -> Option<StatusCode> {
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap();
    let port = address.rsplit_once(':').unwrap().1;
    let sent = client
        .post(format!("https://localhost:{port}/v1/logs"))
        .header("content-type", "application/x-protobuf")
        .body(request(&[log(message).encode_to_vec()]));
    sent.send().await.ok().map(|answer| answer.status())
}

/// Sends one over gRPC; the status of the call, or none when the connection was refused.
async fn over_grpc(address: &str, mut tls: ClientConfig, message: &str) -> Option<u16> {
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let socket = tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, socket).await.ok()?;
    let message = request(&[log(message).encode_to_vec()]);
    let answer = call_over(socket, "https://localhost", Signal::Logs, &message, false).await?;
    Some(answer.0)
}

/// Both protocols with these settings: those of receivers (`tls`), or those of all inputs (`ssl`).
async fn takes(rig: &Rig, tls: Option<Value>, ssl: Option<Value>) -> (Running, String, String) {
    let endpoint = || {
        let mut endpoint = json!({"endpoint": "127.0.0.1:0"});
        if let Some(tls) = &tls {
            endpoint["tls"] = tls.clone();
        }
        endpoint
    };
    let mut settings = json!({"signal": "logs", "protocols": {"grpc": endpoint(), "http": endpoint()}});
    if let Some(ssl) = ssl {
        settings["ssl"] = ssl;
    }
    start(rig, &settings).await
}

fn collectors_names(server: &Certificates, client_authority: Option<&Path>) -> Value {
    let mut tls = json!({"cert_file": server.certificate, "key_file": server.key, "min_version": "1.2"});
    if let Some(authority) = client_authority {
        tls["client_ca_file"] = json!(authority);
    }
    tls
}

#[tokio::test]
async fn a_server_shows_its_certificate() {
    let rig = Rig::new(ROOM);
    let (ours, other) =
        (Certificates::make(rig.directory.path(), "ours"), Certificates::make(rig.directory.path(), "other"));
    let (input, grpc, http) = takes(&rig, Some(collectors_names(&ours, None)), None).await;
    assert_eq!(over_http(&http, ours.client(None), "one").await, Some(StatusCode::OK));
    assert_eq!(over_grpc(&grpc, ours.client(None), "two").await, Some(0));
    assert_eq!(over_http(&http, other.client(None), "lost").await, None, "it is not who was asked for");
    assert_eq!(over_grpc(&grpc, other.client(None), "lost").await, None);
    let messages: Vec<Value> = rig.events(2).await.iter().map(|event| event["message"].clone()).collect();
    assert_eq!(messages, ["one", "two"]);
    input.stop().await.unwrap();
}

#[tokio::test]
async fn clients_have_to_show_the_certificate_that_is_asked_for() {
    let rig = Rig::new(ROOM);
    let (ours, other) =
        (Certificates::make(rig.directory.path(), "ours"), Certificates::make(rig.directory.path(), "other"));
    let ssl = |authentication: &str| {
        json!({
            "certificate": ours.certificate,
            "key": ours.key,
            "certificate_authorities": [ours.authority],
            "client_authentication": authentication,
        })
    };
    let asked = Some(collectors_names(&ours, Some(&ours.authority)));
    for (tls, ssl, bare_is_let_in) in
        [(asked, None, false), (None, Some(ssl("required")), false), (None, Some(ssl("optional")), true)]
    {
        let (input, grpc, http) = takes(&rig, tls, ssl.clone()).await;
        assert_eq!(over_http(&http, ours.client(Some(&ours)), "http").await, Some(StatusCode::OK));
        assert_eq!(over_grpc(&grpc, ours.client(Some(&ours)), "grpc").await, Some(0));
        assert_eq!(rig.events(2).await.len(), 2);
        let bare = over_http(&http, ours.client(None), "bare").await;
        assert_eq!(bare, bare_is_let_in.then_some(StatusCode::OK), "{ssl:?}");
        assert_eq!(over_grpc(&grpc, ours.client(None), "bare").await, bare_is_let_in.then_some(0));
        assert_eq!(
            over_http(&http, ours.client(Some(&other)), "stranger").await,
            None,
            "of another authority"
        );
        assert_eq!(over_grpc(&grpc, ours.client(Some(&other)), "stranger").await, None);
        if bare_is_let_in {
            assert_eq!(rig.events(2).await[0]["message"], "bare");
        }
        input.stop().await.unwrap();
        rig.board.stream("input", "stream", crate::state::Status::new(State::Stopped, ""));
    }
}
