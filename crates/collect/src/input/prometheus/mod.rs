//! `prometheus/metrics`: asks programs for their metrics, in the text format of Prometheus or in OpenMetrics.
//!
//! Documents are those that users of Prometheus modules know: samples with the same labels and time are one document,
//! `prometheus.labels.*` with `prometheus.metrics.<name>`, or with `use_types` `prometheus.<name>.counter`, `.value`
//! or `.histogram`; `rate_counters` adds `.rate`, by how much a counter has grown since the last scrape. Each scrape
//! tells `up` too: 1, or 0 with `error.message`. A target that is down holds no other up.
//!
//! | module | what |
//! |---|---|
//! | [`settings`] | what a policy may say |
//! | [`target`] | one target, asked again and again |
//! | [`parse`] | the two formats |
//! | [`document`], [`history`] | from samples to documents, and what counters were before |

mod document;
mod history;
mod parse;
mod settings;
mod target;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use reqwest::Client;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::Mistake;
use crate::input::{Builder, Context, Definition, Input};
use crate::stream::OwnFields;
use settings::Settings;
use target::{Scraping, Target};

/// `prometheus/metrics`.
pub(crate) const DEFINITION: Definition =
    Definition { kinds: &["prometheus/metrics"], signal: "metrics", build };

/// What each document has of its own.
const OWN: &[&str] = &["@timestamp", "error", "event", "metricset", "prometheus", "service"];

/// So many targets of one stream are asked at once.
const TURNS: usize = 4;

/// A connection that is not used for so long is closed, whatever the period.
const IDLE: Duration = Duration::from_secs(90);

fn build(builder: &mut Builder<'_>) -> Result<Box<dyn Input>, Mistake> {
    let settings = Settings::read(builder.config)?;
    builder.stream(OwnFields::Only(OWN))?;
    Ok(Box::new(Prometheus { settings: Arc::new(settings), targets: Vec::new() }))
}

/// The targets of one stream.
struct Prometheus {
    settings: Arc<Settings>,
    targets: Vec<Target>,
}

#[async_trait]
impl Input for Prometheus {
    async fn run(&mut self, context: &Context) -> Result<(), String> {
        if self.targets.is_empty() {
            self.targets = self.settings.targets.iter().cloned().map(Target::new).collect();
        }
        let client = client(Arc::clone(&self.settings)).await?;
        let Settings { headers, login, token_file, period, timeout, most, form, .. } = &*self.settings;
        let scraping = Scraping {
            client,
            headers: headers.clone(),
            login: login.clone(),
            token_file: token_file.clone(),
            period: *period,
            timeout: *timeout,
            most: *most,
            form: form.clone(),
            turns: Arc::new(Semaphore::new(TURNS)),
        };
        let report = Report::new(context, self.targets.len());
        let scraped =
            self.targets.iter_mut().map(|target| keep_scraping(target, context, &scraping, &report));
        tokio::select! {
            _ = join_all(scraped) => {}
            () = context.stop.cancelled() => {}
        }
        Ok(())
    }
}

async fn client(settings: Arc<Settings>) -> Result<Client, String> {
    // Certificates are read from the disk.
    let tls = tokio::task::spawn_blocking(move || settings.tls.client()).await;
    let tls = tls.map_err(|error| error.to_string())?.map_err(|mistake| mistake.to_string())?;
    Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("fleet-agent/", env!("CARGO_PKG_VERSION")))
        .pool_max_idle_per_host(1)
        .pool_idle_timeout(IDLE)
        .build()
        .map_err(|error| fleet_service::error::chain(&error))
}

/// Comes back when the collector stops.
async fn keep_scraping(target: &mut Target, context: &Context, scraping: &Scraping, report: &Report<'_>) {
    let name = target.name();
    let mut ticks = interval(scraping.period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Ok(problem) = target.scrape(context, scraping).await else { return };
        report.tell(&name, problem);
    }
}

/// How the targets are.
struct Report<'a> {
    context: &'a Context,
    targets: usize,
    state: Mutex<(bool, BTreeMap<String, String>)>,
}

impl<'a> Report<'a> {
    fn new(context: &'a Context, targets: usize) -> Report<'a> {
        Report { context, targets, state: Mutex::default() }
    }

    /// Tells the stream's state when it is another one now.
    fn tell(&self, target: &str, problem: Option<String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (told, problems) = &mut *state;
        let same = problems.get(target) == problem.as_ref();
        if same && *told {
            return;
        }
        *told = true;
        match problem {
            Some(problem) => problems.insert(target.to_owned(), problem),
            None => problems.remove(target),
        };
        if problems.is_empty() {
            self.context.healthy("scrapes");
            return;
        }
        let list: Vec<String> =
            problems.iter().take(5).map(|(target, problem)| format!("{target}: {problem}")).collect();
        let more = if problems.len() > list.len() { "; and others" } else { "" };
        self.context.degraded(format!(
            "{} of {} hosts: {}{more}",
            problems.len(),
            self.targets,
            list.join("; ")
        ));
    }
}
