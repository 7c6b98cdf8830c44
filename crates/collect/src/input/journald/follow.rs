//! One journal, followed by one child.

use std::time::Duration;

use bytes::BytesMut;
use ring::digest::{Context as Digest, SHA256};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::Reports;
use super::child::{self, Child, End};
use super::command::{Source, Start, same_entry};
use super::export::{Entry, Reader};
use super::options::{Options, Seek};
use super::parsed::{self, Parsed};
use super::translate;
use crate::batch::{Batch, DocumentId, Tracker};
use crate::clock;
use crate::input::Context;
use crate::outlet::Closed;
use crate::parser::Record;
use crate::stream::Stream;

/// A batch is handed over when it has so many events.
const BATCH_EVENTS: usize = 500;
/// A batch is handed over when it has so many bytes.
const BATCH_BYTES: usize = 512 * 1024;
/// A child that has lived this long without a complaint reads the journal, even one in which nothing happens.
const SETTLED: Duration = Duration::from_secs(1);

/// Follows a journal until the input is to stop.
///
/// # Errors
/// Why there is nothing to follow any more, in words.
pub(super) async fn follow(
    context: &Context,
    options: &Options,
    source: &Source,
    reports: &Reports,
) -> Result<(), String> {
    let key = source.key();
    let stored = context.positions().get(&key).as_ref().and_then(Value::as_str).map(str::to_owned);
    let start = match stored {
        Some(cursor) => Start::At(cursor),
        None => tokio::select! {
            biased;
            () = context.stop.cancelled() => return Ok(()),
            start = first_start(context, options, source) => start?,
        },
    };
    let positions = context.positions().clone();
    let mut follower = Follower {
        context,
        options,
        source,
        reports,
        tracker: Tracker::new(move |cursor: Option<String>| {
            if let Some(cursor) = cursor {
                positions.set(&key, &json!(cursor));
            }
        }),
        parsed: Parsed::new(&options.parsers),
        place: None,
        begins: false,
    };
    if options.query.needs_past(source) {
        follower.goes_on_at(&start);
        let child = Child::start(&options.query.program, &options.query.until_now(source, &start))?;
        match follower.read(child).await? {
            Ended::Stopped => return Ok(()),
            Ended::ByItself(end) if end.well => {}
            Ended::ByItself(end) => return Err(end.words),
        }
    }
    let start = follower.place.clone().map_or(start, Start::At);
    follower.goes_on_at(&start);
    let child = Child::start(&options.query.program, &options.query.follow(source, &start))?;
    match follower.read(child).await? {
        Ended::Stopped => Ok(()),
        Ended::ByItself(end) => Err(end.words),
    }
}

/// Where to begin in a journal that was never read. `tail` writes down what is the newest entry now: what comes
/// after it is read even if this agent is stopped before the next entry comes.
async fn first_start(context: &Context, options: &Options, source: &Source) -> Result<Start, String> {
    match options.seek {
        Seek::Head => Ok(Start::Head),
        Seek::Since(ago) => Ok(Start::Since(OffsetDateTime::now_utc() - ago)),
        Seek::Tail => {
            let newest = newest(options, source).await?;
            let Some(cursor) = newest.as_ref().and_then(Entry::cursor) else { return Ok(Start::Head) };
            context.positions().set(&source.key(), &json!(cursor));
            Ok(Start::At(cursor.to_owned()))
        }
    }
}

/// The newest entry of a journal; nothing if it is empty.
async fn newest(options: &Options, source: &Source) -> Result<Option<Entry>, String> {
    let mut child = Child::start(&options.query.program, &options.query.newest(source))?;
    let (mut reader, mut buffer) = (Reader::default(), BytesMut::new());
    let mut newest = None;
    loop {
        match child.read(&mut buffer).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
        while let Some(entry) = reader.next(&mut buffer).map_err(|error| error.to_string())? {
            newest = Some(entry);
        }
    }
    let end = child.end().await;
    if end.well { Ok(newest) } else { Err(end.words) }
}

struct Follower<'a> {
    context: &'a Context,
    options: &'a Options,
    source: &'a Source,
    reports: &'a Reports,
    tracker: Tracker<Option<String>>,
    parsed: Parsed<'a>,
    /// The last entry that was read.
    place: Option<String>,
    /// The next child begins with that entry.
    begins: bool,
}

enum Ended {
    Stopped,
    ByItself(End),
}

impl Follower<'_> {
    /// The next child is told to begin there.
    fn goes_on_at(&mut self, start: &Start) {
        if let Start::At(cursor) = start {
            self.place = Some(cursor.clone());
            self.begins = true;
        }
    }

    /// Reads what a child writes until its end, or until the input is to stop.
    async fn read(&mut self, mut child: Child) -> Result<Ended, String> {
        let (mut reader, mut buffer) = (Reader::default(), BytesMut::new());
        let settled = tokio::time::sleep(SETTLED);
        tokio::pin!(settled);
        let mut told = false;
        let mut complaints = child.complaints.clone();
        loop {
            let read = tokio::select! {
                biased;
                () = self.context.stop.cancelled() => {
                    child.stop().await;
                    return Ok(Ended::Stopped);
                }
                Ok(()) = complaints.changed() => {
                    told = true;
                    let complaint = child::explained(&complaints.borrow_and_update(), "not all of it can be read");
                    let complaint = format!("{}: {complaint}", self.source.name());
                    self.reports.tell(self.context, self.source, Some(&complaint));
                    continue;
                }
                () = &mut settled, if !told => {
                    told = true;
                    self.reports.tell(self.context, self.source, None);
                    continue;
                }
                () = until(self.parsed.due()) => {
                    if self.flush().await.is_err() {
                        child.stop().await;
                        return Ok(Ended::Stopped);
                    }
                    continue;
                }
                read = child.read(&mut buffer) => read,
            };
            match read {
                Ok(0) => return Ok(Ended::ByItself(child.end().await)),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
            match self.entries(&mut reader, &mut buffer).await {
                Ok(()) => {}
                Err(Trouble::Closed) => {
                    child.stop().await;
                    return Ok(Ended::Stopped);
                }
                Err(Trouble::Garbled(problem)) => return Err(problem),
            }
        }
    }

    /// Hands over what has come.
    async fn entries(&mut self, reader: &mut Reader, buffer: &mut BytesMut) -> Result<(), Trouble> {
        self.context.stream().counters().bytes_read.add(buffer.len() as u64);
        let mut batch = self.context.batch();
        let now = clock::steady_millis();
        while let Some(entry) = reader.next(buffer).map_err(|error| Trouble::Garbled(error.to_string()))? {
            let Some(cursor) = entry.cursor() else { continue };
            let is_first = std::mem::take(&mut self.begins);
            if is_first && self.place.as_ref().is_some_and(|place| same_entry(place, cursor)) {
                continue;
            }
            let document = self.options.query.filter.holds(&entry).then(|| {
                let read = OffsetDateTime::now_utc();
                translate::document(&entry, read, self.options.save_remote_hostname)
            });
            let stream = self.context.stream();
            self.parsed.push(document, cursor, now, &mut |record| push(stream, &mut batch, record));
            self.place = Some(cursor.to_owned());
            if batch.len() >= BATCH_EVENTS || batch.size() >= BATCH_BYTES {
                let full = std::mem::replace(&mut batch, self.context.batch());
                self.send(full).await?;
            }
        }
        self.send(batch).await?;
        Ok(())
    }

    /// Hands over what parsers have held long enough.
    async fn flush(&mut self) -> Result<(), Closed> {
        let mut batch = self.context.batch();
        let stream = self.context.stream();
        self.parsed.flush(clock::steady_millis(), &mut |record| push(stream, &mut batch, record));
        self.send(batch).await
    }

    /// Waits while the output has no room; journalctl waits then, too.
    async fn send(&mut self, mut batch: Batch) -> Result<(), Closed> {
        let place = self.parsed.take_done();
        if place.is_none() && batch.is_empty() {
            return Ok(());
        }
        // A batch without a place, too: those of later batches must not count before this one is acknowledged.
        batch.tell(self.tracker.ticket(place));
        self.context.send(batch).await
    }
}

fn push(stream: &Stream, batch: &mut Batch, record: Record) {
    let (document, cursor) = parsed::document(record);
    let mut event = stream.event();
    event.merge(document);
    stream.push(batch, event, id(stream.id(), &cursor));
}

/// Until then, in steady milliseconds; for ever, if there is no such time.
async fn until(due: Option<u64>) {
    match due {
        Some(due) => {
            tokio::time::sleep(Duration::from_millis(due.saturating_sub(clock::steady_millis()))).await;
        }
        None => std::future::pending().await,
    }
}

enum Trouble {
    Closed,
    Garbled(String),
}

impl From<Closed> for Trouble {
    fn from(_: Closed) -> Trouble {
        Trouble::Closed
    }
}

/// An entry that is read again is the same document.
fn id(stream: &str, cursor: &str) -> DocumentId {
    let mut digest = Digest::new(&SHA256);
    digest.update(stream.as_bytes());
    digest.update(&[0]);
    digest.update(cursor.as_bytes());
    let digest = digest.finish();
    let mut id = [0; 20];
    id.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    DocumentId::Stable(id)
}
