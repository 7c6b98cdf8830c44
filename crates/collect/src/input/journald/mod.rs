//! `journald`: the systemd journal, through journalctl.
//!
//! journalctl follows the journal as a child of ours and writes entries in the export format; it knows all forms of
//! journal files, and what becomes of them when they are rotated and vacuumed. Each journal of `paths` has a child of
//! its own. The cursor of the last entry whose batch has been acknowledged, with all before it, is the position.
//!
//! | module | what |
//! |---|---|
//! | [`options`] | the settings |
//! | [`matches`] | `include_matches` and its groups |
//! | [`command`] | what journalctl is asked for |
//! | [`child`] | the process |
//! | [`export`] | the export format |
//! | [`fields`], [`translate`] | from an entry to an event |
//! | [`parsed`] | what parsers make of entries, and how far the journal is done while they hold some |

mod child;
mod command;
mod export;
mod fields;
mod follow;
mod matches;
mod options;
mod parsed;
mod translate;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use tokio::time::Instant;

use crate::config::Mistake;
use crate::input::{Builder, Context, Definition, Input};
use crate::stream::OwnFields;
use command::Source;
use options::Options;

/// `journald`.
pub(crate) const DEFINITION: Definition =
    Definition { kinds: &["journald"], signal: "logs", build: |builder| build(builder) };

/// The fields that entries of the journal become.
const OWN_FIELDS: OwnFields = OwnFields::Only(&[
    "@timestamp",
    "container",
    "event",
    "host",
    "journald",
    "log",
    "message",
    "process",
    "syslog",
    "systemd",
    "user",
]);

/// The wait before a child is started again, at first and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

fn build(builder: &mut Builder<'_>) -> Result<Box<dyn Input>, Mistake> {
    let options = Options::read(builder.config)?;
    // JSON in messages may bring any field.
    builder.stream(if options.parsers.is_empty() { OWN_FIELDS } else { OwnFields::Any })?;
    Ok(Box::new(Journald { options }))
}

/// The journal.
#[derive(Debug)]
struct Journald {
    options: Options,
}

#[async_trait]
impl Input for Journald {
    async fn run(&mut self, context: &Context) -> Result<(), String> {
        let reports = Reports::new(self.options.sources.len());
        let sources = self.options.sources.iter();
        try_join_all(sources.map(|source| keep_following(context, &self.options, source, &reports))).await?;
        Ok(())
    }
}

/// Follows a journal until the input is to stop. As long as another journal can be read, trouble with this one is
/// told and tried again; when there is none left, it is the input's.
async fn keep_following(
    context: &Context,
    options: &Options,
    source: &Source,
    reports: &Reports,
) -> Result<(), String> {
    let (first, most) = BACK_OFF;
    let mut wait = first;
    loop {
        let started = Instant::now();
        let Err(problem) = follow::follow(context, options, source, reports).await else { return Ok(()) };
        let problem = format!("{} cannot be read: {problem}", source.name());
        if reports.tell(context, source, Some(&problem)) {
            return Err(problem);
        }
        if started.elapsed() > most {
            wait = first;
        }
        if context.pause(wait).await {
            return Ok(());
        }
        wait = (wait * 2).min(most);
    }
}

/// How each journal of an input is.
#[derive(Debug)]
struct Reports {
    /// Name of a journal → what is wrong with it, if something is.
    journals: Mutex<BTreeMap<String, Option<String>>>,
    total: usize,
}

impl Reports {
    fn new(total: usize) -> Reports {
        Reports { journals: Mutex::default(), total }
    }

    /// Tells how a journal is, and with it the input; says whether all of its journals are in trouble.
    fn tell(&self, context: &Context, source: &Source, problem: Option<&str>) -> bool {
        let mut journals = self.journals.lock().unwrap_or_else(PoisonError::into_inner);
        journals.insert(source.name(), problem.map(str::to_owned));
        let problems: Vec<&str> = journals.values().filter_map(Option::as_deref).collect();
        if problems.is_empty() {
            let what = if self.total == 1 { source.name() } else { format!("{} journals", self.total) };
            context.healthy(format!("reads {what}"));
        } else {
            context.degraded(problems.join("; "));
        }
        problems.len() == self.total
    }
}
