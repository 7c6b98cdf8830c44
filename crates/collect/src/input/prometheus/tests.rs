use std::sync::Mutex;

use axum::Router;
use axum::extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::input::testing::{Certificates, Rig};
use crate::state::State;

const ROOM: u32 = 4 << 20;

/// A program that tells metrics: one answer after the other, the last of them again and again.
#[derive(Clone, Default)]
struct Program(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    answers: Vec<Response<String>>,
    headers: Vec<HeaderMap>,
}

impl Program {
    async fn start(answers: &[&str]) -> (Program, String) {
        let program = Program::default();
        program.answers(answers);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = Router::new().fallback(answer).with_state(program.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (program, address)
    }

    fn answers(&self, answers: &[&str]) {
        self.0.lock().unwrap().answers =
            answers.iter().map(|text| Response::new((*text).to_owned())).collect();
    }

    fn headers(&self) -> HeaderMap {
        self.0.lock().unwrap().headers.last().unwrap().clone()
    }
}

async fn answer(
    extract::State(program): extract::State<Program>,
    request: axum::extract::Request,
) -> impl IntoResponse {
    let mut state = program.0.lock().unwrap();
    state.headers.push(request.headers().clone());
    if request.uri().path() != "/metrics" {
        return (StatusCode::NOT_FOUND, HeaderMap::new(), String::new());
    }
    let next = if state.answers.len() > 1 {
        state.answers.remove(0)
    } else {
        Response::new(state.answers[0].body().clone())
    };
    let kind = if next.body().ends_with("# EOF\n") {
        "application/openmetrics-text; version=1.0.0"
    } else {
        "text/plain"
    };
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]);
    (StatusCode::OK, headers, next.into_body())
}

fn settings(hosts: &[&str], extra: &Value) -> Value {
    let mut settings =
        json!({"hosts": hosts, "metricsets": ["collector"], "period": "200ms", "timeout": "10s"});
    settings.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    settings
}

/// Events until so many fit.
async fn events(rig: &Rig, count: usize, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut found = Vec::new();
    let wait = async {
        while found.len() < count {
            for batch in rig.batches().await {
                found.extend(crate::input::testing::documents(&batch).into_iter().filter(&fits));
                batch.settle();
            }
        }
    };
    tokio::time::timeout(crate::input::testing::SOON, wait).await.expect("the events in time");
    found
}

const TEXT: &str = "# TYPE requests_total counter\nrequests_total{code=\"200\",path=\"/\"} 10\nrequests_total{code=\"500\",path=\"/\"} 1.5\n\
    # TYPE heat gauge\nheat{code=\"200\",path=\"/\"} -0.25\nnothing NaN\nwhen 5 1544712660300\n\
    # TYPE took histogram\ntook_bucket{le=\"1\"} 2\ntook_bucket{le=\"3\"} 5\ntook_bucket{le=\"+Inf\"} 6\ntook_sum 7\ntook_count 6\n";

#[tokio::test]
async fn samples_with_the_same_labels_become_one_event() {
    let rig = Rig::new(ROOM);
    let (_program, address) = Program::start(&[TEXT]).await;
    let input = rig.start(&DEFINITION, "prometheus/metrics", &settings(&[&address], &json!({}))).unwrap();
    let all = events(&rig, 8, |_| true).await;
    let of = |labels: Value| -> Vec<&Value> {
        let mut wanted = json!({"instance": address, "job": "prometheus"});
        wanted.as_object_mut().unwrap().extend(labels.as_object().unwrap().clone());
        all.iter().filter(|event| event["prometheus"]["labels"] == wanted).collect()
    };
    let ok = of(json!({"code": "200", "path": "/"}))[0];
    assert_eq!(ok["prometheus"]["metrics"], json!({"requests_total": 10, "heat": -0.25}));
    assert_eq!(
        (&ok["event"]["module"], &ok["metricset"]["name"]),
        (&json!("prometheus"), &json!("collector"))
    );
    assert_eq!(ok["service"], json!({"type": "prometheus", "address": format!("http://{address}/metrics")}));
    assert_eq!((&ok["data_stream"]["type"], &ok["host"]["name"]), (&json!("metrics"), &json!("here")));
    assert_eq!(of(json!({"le": "+Inf"}))[0]["prometheus"]["metrics"], json!({"took_bucket": 6}));
    let plain: Vec<&Value> = of(json!({})).into_iter().map(|event| &event["prometheus"]["metrics"]).collect();
    assert!(
        plain.contains(&&json!({"up": 1})) && plain.contains(&&json!({"took_sum": 7, "took_count": 6})),
        "{plain:?}"
    );
    let when = all.iter().find(|event| event["prometheus"]["metrics"]["when"] == 5).unwrap();
    assert_eq!(when["@timestamp"], "2018-12-13T14:51:00.300Z");
    rig.state(|status| status.state == State::Healthy).await;
    input.stop().await.unwrap();
}

#[tokio::test]
async fn types_make_fields_of_their_own() {
    let rig = Rig::new(ROOM);
    let later = TEXT
        .replace("} 10\n", "} 13\n")
        .replace("le=\"3\"} 5", "le=\"3\"} 7")
        .replace("+Inf\"} 6", "+Inf\"} 9");
    let (_program, address) = Program::start(&[TEXT, &later]).await;
    let extra =
        json!({"use_types": true, "rate_counters": true, "metrics_filters": {"exclude": ["^took_s"]}});
    let input = rig.start(&DEFINITION, "prometheus/metrics", &settings(&[&address], &extra)).unwrap();
    let requests = events(&rig, 2, |event| event["prometheus"]["labels"]["code"] == "200").await;
    assert_eq!(requests[0]["prometheus"]["requests_total"], json!({"counter": 10}));
    assert_eq!(requests[0]["prometheus"]["heat"], json!({"value": -0.25}));
    assert_eq!(requests[1]["prometheus"]["requests_total"], json!({"counter": 13, "rate": 3}));
    let took = events(&rig, 2, |event| event["prometheus"].get("took_count").is_some()).await;
    assert!(took.iter().all(|event| event["prometheus"].get("took_sum").is_none()));
    input.stop().await.unwrap();
}

#[tokio::test]
async fn histograms_tell_what_is_new() {
    let rig = Rig::new(ROOM);
    let later = TEXT.replace("le=\"3\"} 5", "le=\"3\"} 7").replace("+Inf\"} 6", "+Inf\"} 9");
    let (_program, address) = Program::start(&[TEXT, &later]).await;
    let extra = json!({"use_types": true, "metrics_filters": {"include": ["took"]}});
    let input = rig.start(&DEFINITION, "prometheus/metrics", &settings(&[&address], &extra)).unwrap();
    let took = events(&rig, 2, |event| event["prometheus"].get("took").is_some()).await;
    let changes = json!({"histogram": {"values": [0.5, 2, 3], "counts": [0, 2, 1]}});
    assert_eq!(took[0]["prometheus"]["took"], changes);
    assert_eq!(took[1]["prometheus"]["took"]["histogram"]["counts"], json!([0, 0, 0]));
    input.stop().await.unwrap();
}

#[tokio::test]
async fn a_target_that_is_down_is_told_and_holds_no_other_up() {
    let rig = Rig::new(ROOM);
    let (program, address) = Program::start(&["a 1\nb{c 1\n"]).await;
    // Nobody listens there.
    let closed =
        tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let wrong = format!("{address}/elsewhere");
    let extra = json!({"username": "u", "password": "p", "headers": {"x-own": "1"}});
    let input = rig
        .start(&DEFINITION, "prometheus/metrics", &settings(&[&closed, &address, &wrong], &extra))
        .unwrap();
    let up = |event: &Value, up: u8| event["prometheus"]["metrics"]["up"] == up;
    let down = events(&rig, 4, |event| up(event, 0)).await;
    let reasons: Vec<&str> = down.iter().map(|event| event["error"]["message"].as_str().unwrap()).collect();
    assert!(reasons.iter().any(|reason| reason.starts_with("it cannot be reached: ")), "{reasons:?}");
    assert!(reasons.contains(&"it answers 404 Not Found"), "{reasons:?}");
    events(&rig, 2, |event| event["prometheus"]["metrics"]["a"] == 1).await;
    let status = rig.state(|status| status.message.starts_with("3 of 3 hosts: ")).await;
    assert_eq!(status.state, State::Degraded);
    assert!(status.message.contains("1 lines cannot be read, the first is line 2: "), "{}", status.message);
    assert_eq!(
        (&program.headers()["authorization"], &program.headers()["x-own"]),
        (&"Basic dTpw".parse().unwrap(), &"1".parse().unwrap())
    );
    program.answers(&["a 1\n"]);
    rig.state(|status| status.message.starts_with("2 of 3 hosts: ")).await;
    input.stop().await.unwrap();
}

#[tokio::test]
async fn answers_are_bounded_and_tokens_are_read_from_files() {
    let rig = Rig::new(ROOM);
    let token = rig.directory.path().join("token");
    std::fs::write(&token, "secret\n").unwrap();
    let (program, address) = Program::start(&[&"x".repeat(2000)]).await;
    let extra = json!({"body_size_limit": "1KiB", "bearer_token_file": token});
    let input = rig.start(&DEFINITION, "prometheus/metrics", &settings(&[&address], &extra)).unwrap();
    let status = rig.state(|status| status.state == State::Degraded).await;
    assert!(status.message.contains("it answers with more than 1024 bytes"), "{}", status.message);
    assert_eq!(program.headers()["authorization"], "Bearer secret");
    program.answers(&["# TYPE a counter\na_total 1 1544712660.3\n# EOF\n"]);
    let counted = events(&rig, 1, |event| event["prometheus"]["metrics"]["a_total"] == 1).await;
    assert_eq!(counted[0]["@timestamp"], "2018-12-13T14:51:00.300Z");
    rig.state(|status| status.state == State::Healthy).await;
    std::fs::write(&token, "x".repeat(100_000)).unwrap();
    let status = rig.state(|status| status.state == State::Degraded).await;
    let problem = format!("bearer_token_file: the file {} is larger than 65536 bytes", token.display());
    assert!(status.message.contains(&problem), "{}", status.message);
    std::fs::remove_file(&token).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &token, rustix::fs::Mode::RUSR).unwrap();
    rig.state(|status| status.message.contains("is not a regular file")).await;
    input.stop().await.unwrap();
}

proptest! {
    #[test]
    fn documents_are_made_of_any_text(
        text in r##"((# TYPE (a|h) (histogram|counter|summary)|(a|h|h_bucket|a_total)(\{(le|b)="[-+Infa0-9.]{0,4}"(,le="1")?\})? [-+eInfNa0-9.]{1,5}( [0-9]{1,19})?)\n|[a-z{"#]{0,3}){0,20}"##,
        types in any::<bool>(),
    ) {
        let form = settings::Form { types, rates: true, ..settings::Form::default() };
        let mut target = Target::new("http://h".parse().unwrap());
        for _ in 0..2 {
            let (documents, _) = target.documents(&text, types, &form);
            for document in documents {
                prop_assert_eq!(&document.into_value(types)["labels"]["job"], "prometheus");
            }
        }
    }
}

#[tokio::test]
async fn programs_are_asked_over_tls_as_far_as_the_policy_trusts_them() {
    let rig = Rig::new(ROOM);
    let (ours, other) =
        (Certificates::make(rig.directory.path(), "ours"), Certificates::make(rig.directory.path(), "other"));
    let (_program, plain) = Program::start(&["x 1\n"]).await;
    let address = behind_tls(ours.strict_server(), plain).await;
    let scrape = |ssl: Value| {
        let settings = settings(&[&format!("https://{address}")], &json!({ "ssl": ssl }));
        rig.start(&DEFINITION, "prometheus/metrics", &settings).unwrap()
    };
    let with = |authority: &Certificates, own: Option<&Certificates>| {
        let mut ssl = json!({"certificate_authorities": [authority.authority]});
        if let Some(own) = own {
            ssl["certificate"] = json!(own.certificate);
            ssl["key"] = json!(own.key);
        }
        ssl
    };
    let is_up = |up: i64| move |event: &Value| event["prometheus"]["metrics"]["up"] == up;
    let mut refused = Vec::new();
    for ssl in [with(&other, Some(&ours)), with(&ours, None), with(&ours, Some(&other))] {
        let input = scrape(ssl);
        refused.extend(events(&rig, 1, is_up(0)).await);
        rig.state(|status| status.state == State::Degraded).await;
        input.stop().await.unwrap();
    }
    let reason = refused[0]["error"]["message"].as_str().unwrap();
    assert!(reason.contains("certificate"), "{reason}");
    let input = scrape(with(&ours, Some(&ours)));
    events(&rig, 1, is_up(1)).await;
    rig.state(|status| status.state == State::Healthy).await;
    input.stop().await.unwrap();
    let files = rig.start(
        &DEFINITION,
        "prometheus/metrics",
        &settings(&["localhost:1"], &json!({"ssl.certificate_authorities": ["/no/such.pem"]})),
    );
    let problem = match files {
        Ok(input) => input.ended().await.unwrap_err(),
        Err(mistake) => mistake.to_string(),
    };
    assert!(problem.contains("/no/such.pem"), "{problem}");
}

/// An address at which TLS is spoken for the program at another.
async fn behind_tls(config: rustls::ServerConfig, plain: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, plain) = (acceptor.clone(), plain.clone());
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(socket).await else { return };
                let Ok(mut program) = tokio::net::TcpStream::connect(plain).await else { return };
                let _ = tokio::io::copy_bidirectional(&mut client, &mut program).await;
            });
        }
    });
    format!("localhost:{port}")
}
