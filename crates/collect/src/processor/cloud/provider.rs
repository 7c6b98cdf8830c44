//! What clouds tell their machines, each in its own way.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;

use crate::processor::web;

/// No answer is longer.
const MOST: usize = 256 << 10;

/// No name and no id is longer.
const LONGEST: usize = 512;

/// A cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Provider {
    Aws,
    Azure,
    Gcp,
    DigitalOcean,
    Hetzner,
    OpenStack,
}

impl Provider {
    /// All of them, the surest first: some answer the questions of others, too.
    pub(super) const ALL: [Provider; 6] = [
        Provider::Aws,
        Provider::Azure,
        Provider::Gcp,
        Provider::DigitalOcean,
        Provider::Hetzner,
        Provider::OpenStack,
    ];

    /// What policies call it.
    pub(super) fn names(self) -> &'static [&'static str] {
        match self {
            Provider::Aws => &["aws", "ec2"],
            Provider::Azure => &["azure"],
            Provider::Gcp => &["gcp"],
            Provider::DigitalOcean => &["digitalocean"],
            Provider::Hetzner => &["hetzner"],
            Provider::OpenStack => &["openstack", "nova", "huawei"],
        }
    }

    /// Asks whether the machine is in this cloud; the object `cloud` of the common schema.
    pub(super) async fn ask(self, service: &Service) -> Option<Value> {
        match self {
            Provider::Aws => aws(service).await,
            Provider::Azure => azure(service).await,
            Provider::Gcp => gcp(service).await,
            Provider::DigitalOcean => digital_ocean(service).await,
            Provider::Hetzner => hetzner(service).await,
            Provider::OpenStack => open_stack(service).await,
        }
    }
}

/// Where metadata is asked for: one address that all clouds have agreed on.
#[derive(Debug)]
pub(super) struct Service {
    /// `host:port`
    pub(super) address: String,
}

impl Service {
    async fn ask(&self, method: Method, path: &str, header: Option<(&'static str, &str)>) -> Option<Reply> {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value).ok()?);
        }
        let stream = TcpStream::connect(&self.address).await.ok()?;
        let host = self.address.strip_suffix(":80").unwrap_or(&self.address);
        let answer = web::ask(stream, method, path, (host, headers)).await.ok()?;
        if !answer.status.is_success() {
            return None;
        }
        let headers = answer.headers.clone();
        let body = answer.bytes(MOST).await.ok()?;
        Some(Reply { headers, body: String::from_utf8(body.to_vec()).ok()? })
    }

    async fn get(&self, path: &str, header: Option<(&'static str, &str)>) -> Option<Reply> {
        self.ask(Method::GET, path, header).await
    }
}

struct Reply {
    headers: HeaderMap,
    body: String,
}

impl Reply {
    fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.body).ok()
    }

    /// One word or line. A page in HTML is none: machines in no cloud may have a neighbour that answers everything.
    fn line(&self) -> Option<String> {
        let text = self.body.trim();
        let is_line = !text.is_empty() && text.len() <= LONGEST && !text.contains(['<', '\n']);
        is_line.then(|| text.to_owned())
    }
}

/// A text or number in an answer.
fn text(answer: &Value, key: &str) -> Option<String> {
    let text = match answer.get(key)? {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty() && text.len() <= LONGEST).then_some(text)
}

/// The last part of `projects/1/zones/us-east1-b`.
fn last(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

/// The object, of what is known.
fn cloud<const N: usize>(provider: &str, service: &str, facts: [(&str, Option<String>); N]) -> Value {
    let mut cloud = Map::new();
    cloud.insert("provider".to_owned(), json!(provider));
    cloud.insert("service".to_owned(), json!({"name": service}));
    for (name, value) in facts {
        let Some(value) = value else { continue };
        match name.split_once('.') {
            Some((outer, inner)) => {
                let object = cloud.entry(outer).or_insert_with(|| json!({}));
                object[inner] = json!(value);
            }
            None => {
                cloud.insert(name.to_owned(), json!(value));
            }
        }
    }
    Value::Object(cloud)
}

/// The second version of the instance metadata service alone: with a token.
async fn aws(service: &Service) -> Option<Value> {
    let lifetime = ("x-aws-ec2-metadata-token-ttl-seconds", "60");
    let token = service.ask(Method::PUT, "/latest/api/token", Some(lifetime)).await?.line()?;
    let token = ("x-aws-ec2-metadata-token", token.as_str());
    let facts = service.get("/latest/dynamic/instance-identity/document", Some(token)).await?.json()?;
    let id = text(&facts, "instanceId")?;
    Some(cloud(
        "aws",
        "EC2",
        [
            ("instance.id", Some(id)),
            ("machine.type", text(&facts, "instanceType")),
            ("region", text(&facts, "region")),
            ("availability_zone", text(&facts, "availabilityZone")),
            ("account.id", text(&facts, "accountId")),
            ("image.id", text(&facts, "imageId")),
        ],
    ))
}

async fn azure(service: &Service) -> Option<Value> {
    let path = "/metadata/instance/compute?api-version=2021-02-01";
    let facts = service.get(path, Some(("metadata", "true"))).await?.json()?;
    let id = text(&facts, "vmId")?;
    Some(cloud(
        "azure",
        "Virtual Machines",
        [
            ("instance.id", Some(id)),
            ("instance.name", text(&facts, "name")),
            ("machine.type", text(&facts, "vmSize")),
            ("region", text(&facts, "location")),
            ("availability_zone", text(&facts, "zone")),
            ("account.id", text(&facts, "subscriptionId")),
        ],
    ))
}

/// Piece by piece: the whole has whatever people put there for their machines.
async fn gcp(service: &Service) -> Option<Value> {
    let flavor = ("metadata-flavor", "Google");
    let get = async |path: &str| {
        let reply = service.get(&format!("/computeMetadata/v1/{path}"), Some(flavor)).await?;
        let is_google = reply.headers.get("metadata-flavor").is_some_and(|value| value == "Google");
        if is_google { reply.line() } else { None }
    };
    let id = get("instance/id").await?;
    let (name, kind, zone, project) = tokio::join!(
        get("instance/name"),
        get("instance/machine-type"),
        get("instance/zone"),
        get("project/project-id")
    );
    let zone = zone.map(|zone| last(&zone));
    // us-east1-b is in us-east1.
    let region = zone.as_ref().and_then(|zone| Some(zone.rsplit_once('-')?.0.to_owned()));
    Some(cloud(
        "gcp",
        "GCE",
        [
            ("instance.id", Some(id)),
            ("instance.name", name),
            ("machine.type", kind.map(|kind| last(&kind))),
            ("region", region),
            ("availability_zone", zone),
            ("account.id", project.clone()),
            ("project.id", project),
        ],
    ))
}

async fn digital_ocean(service: &Service) -> Option<Value> {
    let facts = service.get("/metadata/v1.json", None).await?.json()?;
    let id = text(&facts, "droplet_id")?;
    Some(cloud(
        "digitalocean",
        "Droplets",
        [
            ("instance.id", Some(id)),
            ("instance.name", text(&facts, "hostname")),
            ("region", text(&facts, "region")),
        ],
    ))
}

async fn hetzner(service: &Service) -> Option<Value> {
    let get = async |name: &str| service.get(&format!("/hetzner/v1/metadata/{name}"), None).await?.line();
    let id = get("instance-id").await.filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()))?;
    let (name, region, zone) = tokio::join!(get("hostname"), get("region"), get("availability-zone"));
    Some(cloud(
        "hetzner",
        "Cloud",
        [("instance.id", Some(id)), ("instance.name", name), ("region", region), ("availability_zone", zone)],
    ))
}

async fn open_stack(service: &Service) -> Option<Value> {
    let facts = service.get("/openstack/latest/meta_data.json", None).await?.json()?;
    let id = text(&facts, "uuid")?;
    let kind = service.get("/latest/meta-data/instance-type", None).await.and_then(|reply| reply.line());
    Some(cloud(
        "openstack",
        "Nova",
        [
            ("instance.id", Some(id)),
            ("instance.name", text(&facts, "name")),
            ("machine.type", kind),
            ("availability_zone", text(&facts, "availability_zone")),
            ("project.id", text(&facts, "project_id")),
        ],
    ))
}
