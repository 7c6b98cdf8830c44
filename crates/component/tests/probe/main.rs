//! A component that misbehaves when told to: by the field `mode` of its first input unit, or by `PROBE_MODE`.
//!
//! It speaks the protocol by hand, without the half of a component that this crate has.

use std::error::Error;
use std::io::{Read, Write};
use std::time::Duration;

use fleet_component::component::session::Session;
use fleet_component::component::start_up::Address;
use fleet_component::component::{About, Handler, News, Reporter, StartUp, run};
use fleet_component::unit::State;
use fleet_component::wire::elastic_agent_client::ElasticAgentClient;
use fleet_component::wire::{Expected, Observed};
use futures_util::stream::unfold;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Fallible<()> {
    let mut arguments = std::env::args_os().skip(1);
    let mode = arguments.next().and_then(|mode| mode.into_string().ok()).unwrap_or_default();
    match mode.as_str() {
        "exits" => return Ok(()),
        "launches" => return Err(fleet_component::supervisor::launch(arguments).into()),
        "writes" => return write_much(),
        "supervises" => return supervise(),
        "serves" => return serve(arguments),
        _ => {}
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(speak(&mode))
}

/// Writes what nobody can want, and then lives on.
fn write_much() -> Fallible<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(&vec![b'x'; 10 << 20])?;
    out.write_all(b"\n\xff\xfe\x00\n{\"message\":\"json\",\"log.level\":\"warn\"}\n")?;
    for _ in 0..20_000 {
        out.write_all(b"line\n")?;
    }
    out.flush()?;
    let mut all = Vec::new();
    std::io::stdin().read_to_end(&mut all)?;
    loop {
        std::thread::park();
    }
}

/// Is an agent itself, with one component, until it is killed.
fn supervise() -> Fallible<()> {
    use fleet_component::supervisor::{AgentFacts, Platform, Settings, Specs, Supervisor, Wanted};
    let folder = std::path::PathBuf::from(std::env::var_os("PROBE_FOLDER").ok_or("PROBE_FOLDER")?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (specs, _) = Specs::load(&folder, Platform::here());
        let outputs = serde_json::json!({"default": {"type": "file"}});
        let wanted = Wanted {
            inputs: vec![serde_json::json!({"id": "a", "type": "probe"})],
            outputs: outputs.as_object().cloned().unwrap_or_default(),
            ..Wanted::default()
        };
        let supervisor = Supervisor::start(Settings::new(&folder, AgentFacts::default())).await?;
        supervisor.apply(specs.components(&wanted)).await;
        let mut states = supervisor.states();
        let running = states
            .wait_for(|states| states.components.values().any(|component| component.pid.is_some()))
            .await?
            .clone();
        let pid = running.components.values().find_map(|component| component.pid).unwrap_or_default();
        std::io::stdout().write_all(format!("{pid}\n").as_bytes())?;
        std::future::pending::<Fallible<()>>().await
    })
}

/// Is a service of the system, by the half of a component that this crate has.
fn serve(mut arguments: impl Iterator<Item = std::ffi::OsString>) -> Fallible<()> {
    let address = arguments.next().and_then(|address| address.into_string().ok()).ok_or("no address")?;
    let about = About { name: "probe".to_owned(), ..About::default() };
    let parrot = std::sync::Arc::new(Parrot(tokio::sync::Notify::new()));
    std::io::stdout().write_all(format!("process {} serves\n", std::process::id()).as_bytes())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(fleet_component::component::serve_at(&address.parse()?, about, parrot))?;
    Ok(())
}

/// The connection, as a component of anybody's would make it.
async fn connect(start_up: &StartUp, server_name: &str) -> Fallible<ElasticAgentClient<Channel>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&start_up.authority)?)?;
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(&start_up.certificate)?],
            PrivateKeyDer::from_pem_slice(&start_up.key)?,
        )?;
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let tls = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls));
    let Address::Tcp { host, port } = start_up.address.clone() else {
        return Err("no port".into());
    };
    let name = ServerName::try_from(server_name.to_owned())?;
    let connector = tower::service_fn(move |_| {
        let (tls, name, host) = (tls.clone(), name.clone(), host.clone());
        async move {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            tls.connect(name, stream).await.map(TokioIo::new)
        }
    });
    let channel = Endpoint::from_static("http://agent").connect_with_connector(connector).await?;
    Ok(ElasticAgentClient::new(channel))
}

/// A stream of check-ins.
async fn open(
    client: &mut ElasticAgentClient<Channel>,
    first: Observed,
) -> Result<(mpsc::Sender<Observed>, tonic::Streaming<Expected>), tonic::Status> {
    let (say, said) = mpsc::channel(64);
    // There is room.
    let _ = say.send(first).await;
    let stream = unfold(said, |mut said| async move { Some((said.recv().await?, said)) });
    Ok((say, client.checkin_v2(stream).await?.into_inner()))
}

async fn speak(mode: &str) -> Fallible<()> {
    let start_up = tokio::task::spawn_blocking(StartUp::read).await??;
    let mut session = Session::new(&start_up, About { name: "probe".to_owned(), ..About::default() });
    match mode {
        "silent" => std::future::pending().await,
        "severed" => return severed(start_up).await,
        "rejected" => return rejected(&start_up, &mut session).await,
        "stubborn" => {
            let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            tokio::spawn(async move { while terminate.recv().await.is_some() {} });
        }
        _ => {}
    }
    let mut client = connect(&start_up, &start_up.server_name).await?;
    let (mut say, mut hear) = open(&mut client, session.open()).await?;
    let mut heard: u64 = 0;
    let mut is_reopened = false;
    while let Some(expected) = hear.message().await? {
        heard += 1;
        session.expected(expected);
        let state = if mode == "reflex" { State::Degraded } else { State::Healthy };
        for unit in session.units() {
            // How often it was spoken to, for the test.
            session.report(&unit.key, state, format!("heard {heard}: {:?}", unit.config.get("say")), None);
        }
        say.send(session.observed()).await?;
        if mode == "reflex" {
            // It says something else each time, and does so whenever it is spoken to.
            continue;
        }
        if mode == "reopens" && !is_reopened {
            is_reopened = true;
            sleep(Duration::from_millis(100)).await;
            let settled = session.observed();
            drop((say, hear));
            // Everything as it should be, which is what a component of others says, too.
            loop {
                match open(&mut client, settled.clone()).await {
                    Ok(opened) => {
                        (say, hear) = opened;
                        break;
                    }
                    Err(_) => sleep(Duration::from_millis(20)).await,
                }
            }
        }
    }
    Ok(())
}

/// Says what it is told to, by the half of a component that this crate has.
struct Parrot(tokio::sync::Notify);

#[async_trait::async_trait]
impl Handler for Parrot {
    async fn changed(&self, _: News, reporter: &Reporter) {
        for unit in reporter.units() {
            reporter.report(&unit.key, State::Healthy, format!("said {:?}", unit.config.get("say")));
        }
        self.0.notify_one();
    }
}

/// Loses its connection once, when it has all it should have, and goes on by another one.
async fn severed(mut start_up: StartUp) -> Fallible<()> {
    let Address::Tcp { host, port } = start_up.address.clone() else { return Err("no port".into()) };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let between = listener.local_addr()?.port();
    start_up.address = Address::Tcp { host: "127.0.0.1".to_owned(), port: between };
    let parrot = std::sync::Arc::new(Parrot(tokio::sync::Notify::new()));
    let about = About { name: "probe".to_owned(), ..About::default() };
    tokio::spawn(run(start_up, about, std::sync::Arc::clone(&parrot) as _, CancellationToken::new()));
    let mut is_first = true;
    loop {
        let (mut near, _) = listener.accept().await?;
        let mut far = TcpStream::connect((host.as_str(), port)).await?;
        let cut = async {
            parrot.0.notified().await;
            // The agent has heard of it by then.
            sleep(Duration::from_millis(300)).await;
        };
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
            () = cut, if is_first => {
                is_first = false;
                std::io::stdout().write_all(b"severed\n")?;
            }
        }
    }
}

/// Tries what is not allowed, and tells on standard output what came of it.
async fn rejected(start_up: &StartUp, session: &mut Session) -> Fallible<()> {
    let tell = |what: &str, code: String| std::io::stdout().write_all(format!("{what}: {code}\n").as_bytes());
    let mut client = connect(start_up, &start_up.server_name).await?;
    let mut wrong = session.open();
    wrong.token = "wrong".to_owned();
    let status = open(&mut client, wrong).await.err().ok_or("a wrong token is accepted")?;
    tell("token", format!("{:?}", status.code()))?;

    let (say, mut hear) = open(&mut client, session.open()).await?;
    hear.message().await?;
    let status = open(&mut client, session.open()).await.err().ok_or("a second stream is accepted")?;
    tell("second", format!("{:?}", status.code()))?;
    drop((say, hear));

    let first = fleet_component::wire::ActionResponse {
        token: start_up.token.clone(),
        id: "no init".to_owned(),
        ..Default::default()
    };
    let stream = unfold(Some(first), |first| async move { Some((first?, None)) });
    let status = client.actions(stream).await.err().ok_or("actions without init are accepted")?;
    tell("init", format!("{:?}", status.code()))?;

    let nothing = unfold((), |()| std::future::pending::<Option<(Observed, ())>>());
    let status = client.checkin_v2(nothing).await.err().ok_or("silence is accepted")?;
    tell("silence", format!("{:?}", status.code()))?;

    let other = connect(start_up, "0123456789abcdef0123456789abcdef").await;
    tell("name", if other.is_err() { "refused" } else { "accepted" }.to_owned())?;
    std::future::pending().await
}
