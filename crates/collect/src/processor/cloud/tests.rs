//! Clouds as a server of this machine plays them: what it answers is of their published documentation.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::super::tests::mistake;
use super::super::{Chain, Shared};
use crate::event::{Base, Event};

/// What a server says to a method, a path and the value of a header; `None`: 404.
type Says = fn(&str, &str, &dyn Fn(&str) -> String) -> Option<String>;

/// A service of metadata, and how often it was asked.
async fn serve(says: Says) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let answer = move |request: Request| async move {
        count.fetch_add(1, Ordering::Relaxed);
        let header = |name: &str| {
            let value = request.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let path = request.uri().path_and_query().unwrap().as_str();
        let response = Response::builder();
        match says(request.method().as_str(), path, &header) {
            // It shows that a page of somebody else is no answer of this cloud.
            Some(body) if path.starts_with("/computeMetadata") && !body.starts_with('<') => {
                response.header("Metadata-Flavor", "Google").body(Body::from(body)).unwrap()
            }
            Some(body) => response.body(Body::from(body)).unwrap(),
            None => response.status(404).body(Body::empty()).unwrap(),
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(axum::serve(listener, Router::new().fallback(answer)).into_future());
    (address, asked)
}

fn chain(shared: &Arc<Shared>, settings: &Value) -> Chain {
    let processors = json!([{ "add_cloud_metadata": settings }]);
    Chain::build(&[("processors", Some(&processors))], shared).unwrap()
}

fn run(chain: &Chain, event: &Value) -> Value {
    let mut event = Event::new(Arc::new(Base::new(event.as_object().unwrap().clone())));
    chain.run(&mut event);
    Value::Object(event.to_map())
}

/// What such a service makes of an event.
async fn told(says: Says) -> Value {
    let (host, _) = serve(says).await;
    let chain = chain(&Arc::default(), &json!({ "host": host, "timeout": "20s" }));
    until_known(&chain).await;
    run(&chain, &json!({"message": "x"}))["cloud"].clone()
}

/// The patience of an input is short, and this machine may be slow.
async fn until_known(chain: &Chain) {
    for _ in 0..80 {
        if !chain.prepare().await {
            return;
        }
    }
    panic!("the cloud is not known");
}

#[tokio::test]
async fn aws_is_asked_with_a_token() {
    let says: Says = |method, path, header| match (method, path) {
        ("PUT", "/latest/api/token") => {
            (!header("x-aws-ec2-metadata-token-ttl-seconds").is_empty()).then(|| "secret==".to_owned())
        }
        ("GET", "/latest/dynamic/instance-identity/document") => {
            let document = json!({
                "accountId": "123456789012", "architecture": "x86_64", "availabilityZone": "us-west-2b",
                "imageId": "ami-5fb8c835", "instanceId": "i-1234567890abcdef0", "instanceType": "t2.micro",
                "privateIp": "10.158.112.84", "region": "us-west-2", "kernelId": null,
            });
            (header("x-aws-ec2-metadata-token") == "secret==").then(|| document.to_string())
        }
        _ => None,
    };
    let expected = json!({
        "provider": "aws", "service": {"name": "EC2"}, "account": {"id": "123456789012"},
        "availability_zone": "us-west-2b", "region": "us-west-2", "image": {"id": "ami-5fb8c835"},
        "instance": {"id": "i-1234567890abcdef0"}, "machine": {"type": "t2.micro"},
    });
    assert_eq!(told(says).await, expected);
}

#[tokio::test]
async fn azure_and_gcp_are_asked_with_their_headers() {
    let azure: Says = |_, path, header| {
        let document = json!({
            "location": "westeurope", "name": "vm-1", "vmId": "02aab8a4-74ef-476e-8182-f6d2ba4166a6",
            "vmSize": "Standard_A3", "zone": "", "subscriptionId": "8d10da13-8125-4ba9-a717-bf7490507b3d",
        });
        (path.starts_with("/metadata/instance/compute?api-version=") && header("metadata") == "true")
            .then(|| document.to_string())
    };
    let expected = json!({
        "provider": "azure", "service": {"name": "Virtual Machines"}, "region": "westeurope",
        "account": {"id": "8d10da13-8125-4ba9-a717-bf7490507b3d"}, "machine": {"type": "Standard_A3"},
        "instance": {"id": "02aab8a4-74ef-476e-8182-f6d2ba4166a6", "name": "vm-1"},
    });
    assert_eq!(told(azure).await, expected);
    let gcp: Says = |_, path, header| {
        let value = match path.strip_prefix("/computeMetadata/v1/")? {
            "instance/id" => "7046848163450384223",
            "instance/name" => "web-1",
            "instance/machine-type" => "projects/1/machineTypes/n1-standard-1",
            "instance/zone" => "projects/1/zones/us-east1-b",
            "project/project-id" => "shop-42",
            _ => return None,
        };
        (header("metadata-flavor") == "Google").then(|| value.to_owned())
    };
    let expected = json!({
        "provider": "gcp", "service": {"name": "GCE"}, "instance": {"id": "7046848163450384223", "name": "web-1"},
        "machine": {"type": "n1-standard-1"}, "region": "us-east1", "availability_zone": "us-east1-b",
        "project": {"id": "shop-42"}, "account": {"id": "shop-42"},
    });
    assert_eq!(told(gcp).await, expected);
}

#[tokio::test]
async fn others_are_asked_too() {
    let digital_ocean: Says = |_, path, _| {
        let document = json!({"droplet_id": 2_756_294, "hostname": "web", "region": "nyc3", "tags": null});
        (path == "/metadata/v1.json").then(|| document.to_string())
    };
    let expected = json!({
        "provider": "digitalocean", "service": {"name": "Droplets"}, "region": "nyc3",
        "instance": {"id": "2756294", "name": "web"},
    });
    assert_eq!(told(digital_ocean).await, expected);
    let hetzner: Says = |_, path, _| {
        let value = match path.strip_prefix("/hetzner/v1/metadata/")? {
            "instance-id" => "42",
            "hostname" => "web\n",
            "region" => "eu-central",
            "availability-zone" => "fsn1-dc14",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let expected = json!({
        "provider": "hetzner", "service": {"name": "Cloud"}, "instance": {"id": "42", "name": "web"},
        "region": "eu-central", "availability_zone": "fsn1-dc14",
    });
    assert_eq!(told(hetzner).await, expected);
    let open_stack: Says = |_, path, _| match path {
        "/openstack/latest/meta_data.json" => Some(
            json!({"uuid": "83679162", "name": "web", "availability_zone": "nova", "project_id": "p"})
                .to_string(),
        ),
        "/latest/meta-data/instance-type" => Some("m1.small".to_owned()),
        _ => None,
    };
    let expected = json!({
        "provider": "openstack", "service": {"name": "Nova"}, "instance": {"id": "83679162", "name": "web"},
        "machine": {"type": "m1.small"}, "availability_zone": "nova", "project": {"id": "p"},
    });
    assert_eq!(told(open_stack).await, expected);
}

#[tokio::test]
async fn a_neighbour_that_answers_everything_is_no_cloud() {
    let says: Says = |_, _, _| Some("<html>Welcome</html>".to_owned());
    assert_eq!(told(says).await, Value::Null);
    let strange: Says = |_, _, _| Some(r#"{"instanceId": {}, "vmId": 7e99, "uuid": ""}"#.to_owned());
    assert_ne!(told(strange).await["provider"], "aws");
    let endless: Says = |_, _, _| Some("x".repeat(1 << 20));
    assert_eq!(told(endless).await, Value::Null);
}

#[tokio::test]
async fn it_is_asked_once_and_events_do_not_wait() {
    let says: Says = |_, path, _| (path == "/metadata/v1.json").then(|| r#"{"droplet_id": 1}"#.to_owned());
    let (host, asked) = serve(says).await;
    let shared = Arc::default();
    let settings = json!({ "host": host, "providers": ["digitalocean"], "timeout": "20s" });
    let first = chain(&shared, &settings);
    assert_eq!(run(&first, &json!({"x": 1})), json!({"x": 1}), "not known yet");
    until_known(&first).await;
    let second = chain(&shared, &settings);
    assert!(!second.prepare().await, "known from the beginning");
    assert_eq!(run(&second, &json!({}))["cloud"]["instance"]["id"], "1");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let own = json!({"cloud": {"provider": "mine"}});
    assert_eq!(run(&second, &own), own);
    let over = chain(
        &shared,
        &json!({ "host": host, "providers": ["digitalocean"], "timeout": "20s", "overwrite": true }),
    );
    assert_eq!(run(&over, &own)["cloud"]["provider"], "digitalocean");
    // The same for all events: it is written once, and nothing is left to do for each.
    let mut folded = second.without_idle();
    let document = folded.fold(serde_json::Map::new(), &["message"]);
    assert_eq!((&document["cloud"]["region"], folded.is_empty()), (&Value::Null, true));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_silent_holds_nothing_up() {
    // It takes connections, and never a word.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let chain = chain(&Arc::default(), &json!({ "host": host, "timeout": "1m" }));
    let began = tokio::time::Instant::now();
    assert!(chain.prepare().await);
    assert!(began.elapsed() < Duration::from_secs(1), "an input waits for a moment, not for the cloud");
    tokio::time::sleep(Duration::from_secs(60)).await;
    until_known(&chain).await;
    assert!(chain.without_idle().is_empty());
}

#[test]
fn what_is_wrong_is_told() {
    for (settings, problem) in [
        (
            json!({"providers": ["aws", "moon"]}),
            "providers: \"moon\" is unknown: choose from aws, ec2, azure",
        ),
        (json!({"timeout": "soon"}), "timeout: must be a duration"),
        (json!({"timeout": 0}), "timeout: must be more than 0"),
        (json!({"overwrite": "x"}), "overwrite: must be true or false"),
        (json!({"host": "a b"}), "host: must be a host"),
        (json!({"host": "u@h:1"}), "host: must be a host"),
    ] {
        let text = mistake(&json!([{ "add_cloud_metadata": settings }]));
        assert!(text.contains(&format!("add_cloud_metadata.{problem}")), "{text}");
    }
}
