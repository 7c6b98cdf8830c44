//! What goes over the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::fleet::Fleet;
use crate::fleetctl;
use crate::server::Server;

#[tokio::test]
async fn requests_are_what_an_original_fleetd_expects() {
    let fleet = Fleet::with(&[("hello@1.service", "inactive")]);
    let server = Server::tcp(move |request| fleet.answer(request)).await;
    let run = fleetctl(&["--endpoint", &server.endpoint, "load", "hello@1.service"]).await;
    assert_eq!(run.code, 0, "{run}");
    let requests = server.requests();
    let put = requests.iter().find(|request| request.method == "PUT").unwrap();
    assert_eq!(put.target, "/fleet/v1/units/hello%401.service?alt=json");
    assert_eq!(put.body, r#"{"desiredState":"loaded","name":"hello@1.service"}"#);
    let header = |name: &str| put.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    assert_eq!(header("content-type"), Some("application/json"));
    assert_eq!(header("host"), server.endpoint.strip_prefix("http://"));
}

#[tokio::test]
async fn pages_and_filters_are_in_the_query() {
    let server = Server::tcp(|request| {
        let more =
            if request.target.contains("nextPageToken") { "" } else { r#","nextPageToken":"ZAACAA==""# };
        (200, format!(r#"{{"states":[]{more}}}"#))
    })
    .await;
    fleetctl(&["--endpoint", &server.endpoint, "list-units"]).await;
    assert_eq!(
        server.log(),
        ["GET /fleet/v1/state?alt=json", "GET /fleet/v1/state?alt=json&nextPageToken=ZAACAA%3D%3D"]
    );
}

#[tokio::test]
async fn the_base_path_of_the_endpoint_is_kept() {
    let server = Server::tcp(|_| (200, "{}".to_owned())).await;
    let run = fleetctl(&["--endpoint", &format!("{}/cluster/one/", server.endpoint), "list-machines"]).await;
    assert_eq!((run.out.as_str(), run.code), ("MACHINE\tIP\tMETADATA\n", 0));
    assert_eq!(server.log(), ["GET /cluster/one/fleet/v1/machines?alt=json"]);
}

#[tokio::test]
async fn a_socket_in_the_file_system() {
    let directory = tempfile::tempdir().unwrap();
    let fleet = Fleet::with(&[("hello.service", "launched")]);
    let server = Server::unix(&directory.path().join("s"), move |request| fleet.answer(request));
    let run = fleetctl(&["--endpoint", &server.endpoint, "list-units", "--no-legend"]).await;
    assert_eq!((run.out.as_str(), run.code), ("hello.service\t113f16a7.../172.18.1.1\tactive\trunning\n", 0));
    let host = server.requests()[0].headers.iter().find(|(name, _)| name == "host").cloned();
    assert_eq!(host, Some(("host".to_owned(), "domain-sock".to_owned())));
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let run = fleetctl(&["--endpoint", &endpoint, "--request-timeout=0.2", "list-units"]).await;
    assert_eq!(
        run.err,
        format!(
            "Error retrieving list of units from repository: Get \"{endpoint}/fleet/v1/state?alt=json\": no \
             answer from {endpoint} within 0.2 s; --request-timeout allows more\n"
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_has_a_limit_without_the_flag_too() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let _silent = tokio::net::UnixListener::bind(&socket).unwrap();
    let endpoint = format!("unix://{}", socket.display());
    let start = tokio::time::Instant::now();
    let run = fleetctl(&["--endpoint", &endpoint, "list-units"]).await;
    assert_eq!(start.elapsed().as_secs(), 30);
    assert_eq!(
        run.err,
        format!(
            "Error retrieving list of units from repository: Get \
             \"http://domain-sock/fleet/v1/state?alt=json\": no answer from {endpoint} within 30 s; \
             --request-timeout allows more\n"
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_away_while_we_wait_is_waited_for() {
    let fleet = Fleet::with(&[("hello.service", "inactive")]);
    let looks = Arc::new(AtomicUsize::new(0));
    let server = Server::tcp(move |request| {
        let look = looks.fetch_add(1, Ordering::Relaxed);
        // The first requests find and set the unit; then the server restarts for a while.
        if (4..24).contains(&look) { (503, String::new()) } else { fleet.answer(request) }
    })
    .await;
    let words = ["--endpoint", &server.endpoint, "load", "hello.service"];
    let run = tokio::time::timeout(Duration::from_secs(60), fleetctl(&words)).await.unwrap();
    insta::assert_snapshot!(run, @"
    Unit hello.service loaded on 113f16a7.../172.18.1.1
    err| Cannot see how far it is, trying again: googleapi: got HTTP response code 503 with body: 
    exit 0
    ");
}

/// Runs `words` against a cluster that answers each request with `told`, from the first on whose target ends
/// with `end` and that comes after so many others of that kind.
async fn refused_from(words: &[&str], end: &'static str, after: usize, told: u16) -> String {
    let fleet = Fleet::with(&[("hello.service", "inactive"), ("up.service", "launched")]);
    let looks = Arc::new(AtomicUsize::new(0));
    let server = Server::tcp(move |request| {
        let fits = request.target.contains(end) && request.method == "GET";
        if fits && looks.fetch_add(1, Ordering::Relaxed) >= after {
            (told, String::new())
        } else {
            fleet.answer(request)
        }
    })
    .await;
    let words: Vec<&str> = ["--endpoint", &server.endpoint].iter().chain(words).copied().collect();
    tokio::time::timeout(Duration::from_secs(60), fleetctl(&words)).await.unwrap().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_us_while_we_wait_is_given_up() {
    let start = tokio::time::Instant::now();
    insta::assert_snapshot!(refused_from(&["load", "hello"], "/units/", 2, 403).await, @"
    err| Error waiting for units: cannot see how far unit hello.service is: googleapi: got HTTP response code 403 with body: 
    err| Error waiting for unit states, exit status: cannot see how far unit hello.service is: googleapi: got HTTP response code 403 with body: 
    exit 1
    ");
    insta::assert_snapshot!(refused_from(&["restart", "up"], "/explain", 1, 403).await, @"
    err| Error waiting for units: cannot see how far unit up.service is: googleapi: got HTTP response code 403 with body: 
    err| Error waiting for unit states, exit status: cannot see how far unit up.service is: googleapi: got HTTP response code 403 with body: 
    exit 1
    ");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_tell_of_a_restart_is_asked_again() {
    let words = ["restart", "--block-attempts=3", "up"];
    insta::assert_snapshot!(refused_from(&words, "/explain", 1, 503).await, @"
    err| Cannot see how far it is, trying again: googleapi: got HTTP response code 503 with body: 
    err| Error waiting for units: timed out waiting for unit up.service to report active state
    err| Error waiting for unit states, exit status: timed out waiting for unit up.service to report active state
    exit 1
    ");
}
