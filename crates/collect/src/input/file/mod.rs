//! `filestream`, `log` and `logfile`: the lines of files.
//!
//! Files can be read again, so their events wait in memory alone: the position, which moves only behind what the
//! output has acknowledged, is all the persistence that they need. A queue on disk between them would write every
//! line a second time, and would promise nothing more.

mod beginning;
mod descriptors;
mod emit;
mod glob;
mod gzip;
mod notify;
mod options;
mod read;
mod scan;
mod system;
mod tail;
mod text;
mod tracked;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod worlds;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Builder, Context, Definition, Input};
use crate::batch::Batch;
use crate::clock;
use crate::config::Mistake;
use crate::outlet::Closed;
use crate::stream::OwnFields;
pub(crate) use notify::Notifier;
use options::Options;
use read::{Room, Turn};
use system::Local;
use tail::Tail;

/// The inputs `filestream`, `log` and `logfile`.
pub(crate) const DEFINITION: Definition =
    Definition { kinds: &["filestream", "logfile", "log"], signal: "logs", build };

/// How much is read before it is handed over. About what one request holds.
const ROOM: Room = Room { events: 1600, bytes: 1 << 20 };

/// How often the paths of open files are looked at. Where nothing tells of renames, of two rotations within this time
/// the file between them may be missed, if no pattern finds it under its new name.
const LOOK: Duration = Duration::from_millis(500);

/// Turns that are due to notifications are this far apart at least: a line of a quiet file is read at once, those of a
/// busy one together.
const CALM: Duration = Duration::from_millis(250);

/// A scan that is due to a notification comes after this many times what the scan before it took: 5 % of a core at most
/// go into scans of a large tree in which much happens.
const REST: u32 = 20;

/// For this long it is told that more changed than the system could tell.
const LOST_MS: u64 = 60_000;

fn build(builder: &mut Builder<'_>) -> Result<Box<dyn Input>, Mistake> {
    let options = Options::read(builder.config, builder.kind)?;
    // JSON in lines may bring any field.
    let own = if options.parsers.is_empty() {
        OwnFields::Only(&["@timestamp", "log", "message"])
    } else {
        OwnFields::Any
    };
    builder.stream(own)?;
    let notifier = Arc::clone(builder.notifier);
    Ok(Box::new(Files { options: Arc::new(options), notifier, wake: Arc::default(), tail: None }))
}

struct Files {
    options: Arc<Options>,
    notifier: Arc<Notifier>,
    /// Told when files have come, gone or grown.
    wake: Arc<Notify>,
    tail: Option<Box<Tail>>,
}

#[async_trait]
impl Input for Files {
    async fn run(&mut self, context: &Context) -> Result<(), String> {
        let mut backoff = self.options.backoff.0;
        while !context.stop.is_cancelled() {
            let began = Instant::now();
            let (turn, batch) = self.turn(context).await?;
            if batch.has_news() && self.hand_over(context, batch).await?.is_err() {
                return Ok(());
            }
            backoff = if turn.progress {
                self.options.backoff.0
            } else {
                (backoff * 2).min(self.options.backoff.1)
            };
            if !turn.more {
                self.wait(context, began, self.quiet(turn, backoff)).await;
            }
        }
        Ok(())
    }
}

impl Files {
    /// Looks for files if that is due, and reads. Disk and processors work on a thread for such things.
    async fn turn(&mut self, context: &Context) -> Result<(Turn, Batch), String> {
        let batch = context.batch();
        let work = move |tail: &mut Tail| {
            let mut batch = batch;
            let now = clock::steady_millis();
            look(tail, now);
            let mut turn = tail.read(now, ROOM, &mut batch);
            if turn.scan {
                tail.next_scan = now;
            } else if !turn.more {
                tail.arm(&mut turn);
            }
            (turn, batch)
        };
        let done = self.blocking(context, work).await?;
        self.report(context);
        Ok(done)
    }

    /// Waits for room in the output. Meanwhile files are looked for, and opened: what is rotated and deleted while
    /// the engine is away can still be read afterwards.
    async fn hand_over(&mut self, context: &Context, batch: Batch) -> Result<Result<(), Closed>, String> {
        let sending = context.send(batch);
        tokio::pin!(sending);
        loop {
            tokio::select! {
                sent = &mut sending => return Ok(sent),
                () = tokio::time::sleep(LOOK.min(self.options.check_interval)) => {
                    self.blocking(context, |tail| look(tail, clock::steady_millis())).await?;
                }
            }
        }
    }

    async fn blocking<T: Send + 'static>(
        &mut self,
        context: &Context,
        work: impl FnOnce(&mut Tail) -> T + Send + 'static,
    ) -> Result<T, String> {
        let tail = self.tail.take();
        let notices = tail.is_none().then(|| self.notifier.subscribe(&self.options));
        if let Some(notices) = &notices {
            self.wake = notices.wake();
        }
        let (options, stream, positions) =
            (Arc::clone(&self.options), Arc::clone(context.stream()), context.positions().clone());
        let run = move || {
            let begin =
                |notices| Box::new(Tail::new(options, Arc::new(Local), stream, positions, Box::new(notices)));
            let mut tail = tail.or_else(|| notices.map(begin))?;
            let result = work(&mut tail);
            Some((tail, result))
        };
        let (tail, result) = tokio::task::spawn_blocking(run)
            .await
            .map_err(|error| format!("the reader of files broke down: {error}"))?
            .ok_or("the reader of files is not there")?;
        self.tail = Some(tail);
        Ok(result)
    }

    /// Until something may have changed that nobody tells.
    fn quiet(&self, turn: Turn, backoff: Duration) -> Duration {
        let now = clock::steady_millis();
        let scan = self.tail.as_ref().map_or(now, |tail| tail.next_scan);
        let until = turn.due.map_or(scan, |due| due.min(scan));
        let open = self.tail.as_ref().is_some_and(|tail| tail.open_files() > 0);
        let until = Duration::from_millis(until.saturating_sub(now));
        if open && !turn.told { until.min(backoff) } else { until }
    }

    /// Waits for so long, or until something is told, or the input is to stop.
    async fn wait(&mut self, context: &Context, began: Instant, quiet: Duration) {
        let told = async {
            self.wake.notified().await;
            tokio::time::sleep_until(began + CALM.min(self.options.backoff.0)).await;
        };
        tokio::select! {
            () = context.stop.cancelled() => {}
            () = tokio::time::sleep(quiet) => {}
            () = told => {}
        }
    }

    fn report(&self, context: &Context) {
        let Some(tail) = &self.tail else { return };
        if let Some(complaint) = &tail.complaint {
            context.degraded(complaint.clone());
            return;
        }
        let mut message =
            if tail.files.is_empty() { "no file fits the paths yet" } else { "reading" }.to_owned();
        if let Some(lacking) = tail.notices.lacking() {
            let interval = self.options.check_interval;
            message = format!("{message}; some files are looked for each {interval:?} only: {lacking}");
        }
        if tail.has_lost(clock::steady_millis()) {
            message.push_str("; more has changed than the system tells: files were looked for");
        }
        context.healthy(message);
    }
}

fn look(tail: &mut Tail, now: u64) {
    let began = Instant::now();
    tail.look(now);
    let rest = (began.elapsed() * REST).min(tail.options.check_interval);
    tail.rest = tail.rest.max(now + u64::try_from(rest.as_millis()).unwrap_or(u64::MAX));
}
