//! Fetching a package, from where a broken download ended.

use std::fs;
use std::io::{SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_service::error::chain;
use reqwest::{Client, StatusCode};
use tokio::time::Instant;

use super::verify::{Trust, verify};
use super::{Step, UpgradeError};
use crate::fleet::ConnectionSettings;
use crate::paths::Paths;

/// The largest package.
const LARGEST: u64 = 512 * 1024 * 1024;
/// The largest file beside it.
const LARGEST_BESIDE: u64 = 64 * 1024;
/// A connection that brings nothing for so long is broken.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How often a broken download goes on.
const ATTEMPTS: u32 = 5;
/// Progress is told so often.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Where packages come from.
#[derive(Clone, Debug)]
pub struct Source {
    /// `https://…`, `http://…` or `file:///…`: the directory that holds `fleet-agent/`.
    pub uri: String,
    /// TLS and proxy.
    pub connection: ConnectionSettings,
}

/// The name of the package of a version for this machine.
#[must_use]
pub(super) fn package_name(number: &str) -> String {
    format!("fleet-agent-{number}-linux-{}.tar.gz", std::env::consts::ARCH)
}

/// Fetches and verifies a package. `tell` hears how far it is.
///
/// # Errors
/// [`UpgradeError`].
pub async fn fetch(
    source: &Source,
    number: &str,
    paths: &Paths,
    trust: &Trust,
    tell: impl Fn(Step),
) -> Result<Vec<u8>, UpgradeError> {
    let name = package_name(number);
    let base = format!("{}/fleet-agent/{name}", source.uri.trim_end_matches('/'));
    let directory = paths.downloads();
    crate::state::secure_directory(&directory)
        .map_err(UpgradeError::file(format!("making {}", directory.display())))?;
    let fetcher = Fetcher::new(source)?;
    let sums = fetcher.small(&format!("{base}.sha512")).await?;
    let signature = match trust {
        Trust::Signed(_) => Some(fetcher.small(&format!("{base}.sig")).await?),
        Trust::Unsigned => None,
    };
    let partial = directory.join(format!("{name}.part"));
    fetcher.large(&base, &partial, &tell).await?;
    let read = fs::read(&partial).map_err(UpgradeError::file(format!("reading {}", partial.display())));
    // It is used, or it is bad: either way the next download begins anew.
    let _ = fs::remove_file(&partial);
    let package = read?;
    verify(&name, &package, &sums, signature.as_deref(), trust)?;
    Ok(package)
}

/// Files by HTTP, or from a directory.
enum Fetcher {
    Http(Box<Client>),
    Files,
}

impl Fetcher {
    fn new(source: &Source) -> Result<Fetcher, UpgradeError> {
        if source.uri.starts_with("file://") {
            return Ok(Fetcher::Files);
        }
        let problem = |problem: String| UpgradeError::Download { url: source.uri.clone(), problem };
        let tls = source.connection.ssl.client().map_err(|error| problem(error.to_string()))?;
        let tls = tls.load().map_err(|error| problem(chain(&error)))?;
        let mut builder = Client::builder()
            .tls_backend_preconfigured(rustls::ClientConfig::clone(&tls))
            .http1_only()
            .connect_timeout(Duration::from_secs(30))
            .read_timeout(SILENCE_MAX)
            .user_agent(format!("fleet-agent/{}", env!("CARGO_PKG_VERSION")));
        if source.connection.proxy_disable {
            builder = builder.no_proxy();
        } else if !source.connection.proxy_url.is_empty() {
            let proxy = reqwest::Proxy::all(&source.connection.proxy_url);
            builder = builder.proxy(proxy.map_err(|error| problem(error.to_string()))?);
        }
        let client = builder.build().map_err(|error| problem(error.to_string()))?;
        Ok(Fetcher::Http(Box::new(client)))
    }

    async fn small(&self, url: &str) -> Result<String, UpgradeError> {
        let failed = |problem: String| UpgradeError::Download { url: url.to_owned(), problem };
        let bytes = match self {
            Fetcher::Files => {
                let path = local(url);
                let size = fs::metadata(&path).map_err(|error| failed(error.to_string()))?.len();
                if size > LARGEST_BESIDE {
                    return Err(failed("it is too large".to_owned()));
                }
                fs::read(&path).map_err(|error| failed(error.to_string()))?
            }
            Fetcher::Http(client) => {
                let mut answer = client.get(url).send().await.map_err(|error| failed(chain(&error)))?;
                if !answer.status().is_success() {
                    return Err(failed(format!("the answer is {}", answer.status())));
                }
                let mut bytes = Vec::new();
                while let Some(chunk) = answer.chunk().await.map_err(|error| failed(chain(&error)))? {
                    bytes.extend_from_slice(&chunk);
                    if bytes.len() as u64 > LARGEST_BESIDE {
                        return Err(failed("it is too large".to_owned()));
                    }
                }
                bytes
            }
        };
        String::from_utf8(bytes).map_err(|_| failed("it is not text".to_owned()))
    }

    async fn large(&self, url: &str, partial: &Path, tell: &impl Fn(Step)) -> Result<(), UpgradeError> {
        match self {
            Fetcher::Files => {
                let copied = fs::copy(local(url), partial);
                copied.map(drop).map_err(|error| UpgradeError::Download {
                    url: url.to_owned(),
                    problem: error.to_string(),
                })
            }
            Fetcher::Http(client) => {
                let mut attempt = 1;
                loop {
                    match download(client, url, partial, tell).await {
                        Err(error) if error.is_passing() && attempt < ATTEMPTS => {
                            tracing::warn!(
                                error = &error as &dyn std::error::Error,
                                attempt,
                                "download broken, going on"
                            );
                            tokio::time::sleep(Duration::from_secs(u64::from(attempt))).await;
                            attempt += 1;
                        }
                        outcome => return outcome,
                    }
                }
            }
        }
    }
}

fn local(url: &str) -> PathBuf {
    PathBuf::from(url.strip_prefix("file://").unwrap_or(url))
}

/// Goes on where the file ends.
async fn download(
    client: &Client,
    url: &str,
    partial: &Path,
    tell: &impl Fn(Step),
) -> Result<(), UpgradeError> {
    let failed = |problem: String| UpgradeError::Download { url: url.to_owned(), problem };
    let file = |source| UpgradeError::File { what: format!("writing {}", partial.display()), source };
    let mut output =
        fs::OpenOptions::new().create(true).append(true).mode(0o600).open(partial).map_err(file)?;
    let mut have = output.metadata().map_err(file)?.len();
    let mut request = client.get(url);
    if have > 0 {
        request = request.header("range", format!("bytes={have}-"));
    }
    let mut answer = request.send().await.map_err(|error| failed(chain(&error)))?;
    match answer.status() {
        StatusCode::PARTIAL_CONTENT => {}
        // All of it is here already, or what is here is not of this file: its sum tells.
        StatusCode::RANGE_NOT_SATISFIABLE => return Ok(()),
        status if status.is_success() => {
            output.set_len(0).map_err(file)?;
            std::io::Seek::seek(&mut output, SeekFrom::Start(0)).map_err(file)?;
            have = 0;
        }
        status => return Err(failed(format!("the answer is {status}"))),
    }
    let whole = answer.content_length().map(|rest| have + rest);
    if whole.is_some_and(|whole| whole > LARGEST) {
        return Err(UpgradeError::Package(format!("it is larger than {LARGEST} bytes")));
    }
    let (began, at_first) = (Instant::now(), have);
    let mut told = began;
    while let Some(chunk) = answer.chunk().await.map_err(|error| failed(chain(&error)))? {
        have += chunk.len() as u64;
        if have > LARGEST {
            return Err(UpgradeError::Package(format!("it is larger than {LARGEST} bytes")));
        }
        output.write_all(&chunk).map_err(file)?;
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            tell(progress(have, whole, have - at_first, began.elapsed()));
        }
    }
    if whole.is_some_and(|whole| have < whole) {
        return Err(failed("it broke off".to_owned()));
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a share in percent needs no more digits")]
fn progress(have: u64, whole: Option<u64>, came: u64, took: Duration) -> Step {
    let percent = whole.filter(|whole| *whole > 0).map_or(0.0, |whole| have as f64 / whole as f64);
    Step::Downloading { percent, rate: came as f64 / took.as_secs_f64().max(0.001) }
}
