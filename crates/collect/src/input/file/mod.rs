//! `filestream`, `log` and `logfile`: the lines of files.
//!
//! Files can be read again, so their events wait in memory alone: the position, which moves only behind what the
//! output has acknowledged, is all the persistence that they need. A queue on disk between them would write every
//! line a second time, and would promise nothing more.

mod emit;
mod glob;
mod gzip;
mod options;
mod parser;
mod read;
mod scan;
mod syslog;
mod system;
mod tail;
mod text;
mod tracked;

#[cfg(test)]
mod worlds;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Builder, Context, Definition, Input};
use crate::batch::Batch;
use crate::clock;
use crate::config::Mistake;
use crate::outlet::Closed;
use crate::stream::OwnFields;
use options::Options;
use read::{Room, Turn};
use system::Local;
use tail::Tail;

/// The inputs `filestream`, `log` and `logfile`.
pub(crate) const DEFINITION: Definition =
    Definition { kinds: &["filestream", "logfile", "log"], signal: "logs", build };

/// How much is read before it is handed over. About what one request holds.
const ROOM: Room = Room { events: 1600, bytes: 1 << 20 };

/// How often the paths of open files are looked at: of two rotations within this time, the file between them may be
/// missed, if no pattern finds it under its new name.
const LOOK: Duration = Duration::from_millis(500);

fn build(builder: &mut Builder<'_>) -> Result<Box<dyn Input>, Mistake> {
    let options = Options::read(builder.config, builder.kind)?;
    // JSON in lines may bring any field.
    let own = if options.parsers.is_empty() {
        OwnFields::Only(&["@timestamp", "log", "message"])
    } else {
        OwnFields::Any
    };
    builder.stream(own)?;
    Ok(Box::new(Files { options: Arc::new(options), tail: None }))
}

struct Files {
    options: Arc<Options>,
    tail: Option<Box<Tail>>,
}

#[async_trait]
impl Input for Files {
    async fn run(&mut self, context: &Context) -> Result<(), String> {
        let mut backoff = self.options.backoff.0;
        while !context.stop.is_cancelled() {
            let (turn, batch) = self.turn(context).await?;
            if batch.has_news() && self.hand_over(context, batch).await?.is_err() {
                return Ok(());
            }
            backoff = if turn.progress {
                self.options.backoff.0
            } else {
                (backoff * 2).min(self.options.backoff.1)
            };
            if !turn.more && context.pause(self.wait(turn, backoff)).await {
                return Ok(());
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
            let now = clock::unix_millis();
            tail.look(now);
            let turn = tail.read(now, ROOM, &mut batch);
            if turn.scan {
                tail.next_scan = now;
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
                    self.blocking(context, |tail| tail.look(clock::unix_millis())).await?;
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
        let (options, stream, positions) =
            (Arc::clone(&self.options), Arc::clone(context.stream()), context.positions().clone());
        let run = move || {
            let now = clock::unix_millis();
            let mut tail =
                tail.unwrap_or_else(|| Box::new(Tail::new(options, Arc::new(Local), stream, positions, now)));
            let result = work(&mut tail);
            (tail, result)
        };
        let (tail, result) = tokio::task::spawn_blocking(run)
            .await
            .map_err(|error| format!("the reader of files broke down: {error}"))?;
        self.tail = Some(tail);
        Ok(result)
    }

    /// Until something may have changed.
    fn wait(&self, turn: Turn, backoff: Duration) -> Duration {
        let now = clock::unix_millis();
        let scan = self.tail.as_ref().map_or(now, |tail| tail.next_scan);
        let until = turn.due.map_or(scan, |due| due.min(scan));
        let open = self.tail.as_ref().is_some_and(|tail| tail.open_files() > 0);
        let until = Duration::from_millis(until.saturating_sub(now));
        if open { until.min(backoff) } else { until }
    }

    fn report(&self, context: &Context) {
        match self.tail.as_ref() {
            Some(tail) => match &tail.complaint {
                Some(complaint) => context.degraded(complaint.clone()),
                None if tail.files.is_empty() => context.healthy("no file fits the paths yet"),
                None => context.healthy("reading"),
            },
            None => context.degraded("the reader of files is not there"),
        }
    }
}
