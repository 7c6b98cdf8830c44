//! Batches: events already written as JSON, on their way to an output, with the promise to tell their source.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::OwnedSemaphorePermit;

use crate::spare::{self, Spare};
use crate::stream::Stream;

/// The id of a document in the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DocumentId {
    /// The engine makes one: a repeat makes a second document.
    #[default]
    Any,
    /// Made of the event's place in its source: a repeat is refused by the engine, which counts as done.
    Stable([u8; 20]),
    /// Chosen by a processor.
    Text(Box<str>),
}

impl DocumentId {
    /// As it is sent, if there is one.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> bool {
        match self {
            DocumentId::Any => false,
            DocumentId::Stable(bytes) => {
                let mut text = [0; 27];
                // 20 bytes are always 27 letters.
                let Ok(length) = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text) else { return false };
                out.push(b'"');
                out.extend_from_slice(&text[..length]);
                out.push(b'"');
                true
            }
            DocumentId::Text(text) => {
                crate::event::write_json(out, &**text);
                true
            }
        }
    }
}

/// One event in a batch.
#[derive(Clone, Debug)]
struct Item {
    /// Where its document ends in the batch's bytes.
    end: u32,
    id: DocumentId,
    /// Another index than the stream's.
    index: Option<Arc<str>>,
}

/// Events of one stream, in order.
#[derive(Debug)]
pub struct Batch {
    stream: Arc<Stream>,
    bytes: Vec<u8>,
    items: Vec<Item>,
    /// Taken by whoever settles the batch, which others may be holding.
    tickets: Mutex<Vec<Ticket>>,
    /// Room in memory; given back when the batch is dropped.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
    /// Where its memory goes when the batch is dropped.
    spare: Option<Arc<Spare>>,
}

impl Batch {
    /// An empty one.
    #[must_use]
    pub fn new(stream: Arc<Stream>) -> Batch {
        let (bytes, items) = (Vec::new(), Vec::new());
        Batch { stream, bytes, items, tickets: Mutex::default(), permit: None, spare: None }
    }

    /// An empty one, in memory that others had before it.
    pub(crate) fn reusing(stream: Arc<Stream>, spare: &Arc<Spare>) -> Batch {
        let mut batch = Batch::new(stream);
        batch.spare = Some(Arc::clone(spare));
        batch
    }

    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// How many events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether handing it over changes anything: it has events, or tickets of positions behind events that were
    /// dropped.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.items.is_empty() || !self.lock().is_empty()
    }

    /// How many bytes of JSON.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The event's document as JSON.
    #[must_use]
    pub fn document(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).and_then(|before| self.items.get(before)).map_or(0, |item| item.end);
        let end = self.items.get(index).map_or(start, |item| item.end);
        self.bytes.get(start as usize..end as usize).unwrap_or_default()
    }

    /// The event's id.
    #[must_use]
    pub fn id(&self, index: usize) -> &DocumentId {
        self.items.get(index).map_or(&DocumentId::Any, |item| &item.id)
    }

    /// The index or data stream that the event goes to.
    #[must_use]
    pub fn destination(&self, index: usize) -> &str {
        match self.items.get(index).and_then(|item| item.index.as_ref()) {
            Some(other) => other,
            None => self.stream.index(),
        }
    }

    /// Adds a document which `write` appends; `false` from it means that there is none after all.
    pub fn push(
        &mut self,
        id: DocumentId,
        index: Option<Arc<str>>,
        write: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> bool {
        if self.bytes.capacity() == 0
            && let Some(spare) = &self.spare
        {
            // Not before: each of a thousand idle connections has a batch.
            self.bytes = spare.take();
        }
        let start = self.bytes.len();
        let kept = write(&mut self.bytes);
        match u32::try_from(self.bytes.len()) {
            Ok(end) if kept => {
                self.items.push(Item { end, id, index });
                true
            }
            _ => {
                self.bytes.truncate(start);
                false
            }
        }
    }

    /// Lets go of memory that a larger batch had before this one: what waits is counted by what is in it.
    pub(crate) fn fit(&mut self) {
        if let Some(spare) = &self.spare
            && self.bytes.capacity() >= spare::LEAST
            && self.bytes.len() < self.bytes.capacity() / 2
        {
            let fitting = self.bytes.as_slice().to_vec();
            spare.give(std::mem::replace(&mut self.bytes, fitting));
        }
    }

    /// Whoever holds this is told when every event of the batch has been settled.
    pub fn tell(&mut self, ticket: Ticket) {
        self.lock().push(ticket);
    }

    /// All events are where they belong.
    pub fn settle(&self) {
        let tickets = std::mem::take(&mut *self.lock());
        for ticket in tickets {
            ticket.settle();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Ticket>> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Some(spare) = &self.spare {
            spare.give(std::mem::take(&mut self.bytes));
        }
    }
}

/// The promise to tell a source that a batch has been settled. Dropped without that, nothing is told, and the
/// source's position stays before the batch.
pub struct Ticket {
    sequence: u64,
    tracker: Arc<dyn Settle>,
}

impl Ticket {
    /// Tells the source.
    pub fn settle(self) {
        self.tracker.settle(self.sequence);
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Ticket").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

trait Settle: Send + Sync {
    fn settle(&self, sequence: u64);
}

/// Brings acknowledgements, which may come in any order, back into the order in which batches were handed over.
///
/// A position is applied when its batch and *all before it* have been settled: so the position that is kept never
/// stands behind an event that is still on its way.
pub struct Tracker<P> {
    shared: Arc<Shared<P>>,
}

struct Shared<P> {
    state: Mutex<Waiting<P>>,
    apply: Box<dyn Fn(P) + Send + Sync>,
}

struct Waiting<P> {
    first: u64,
    positions: VecDeque<(Option<P>, bool)>,
}

impl<P: Send + 'static> Tracker<P> {
    /// `apply` is called with each position, in order. It must be quick, and must not hand out tickets.
    pub fn new(apply: impl Fn(P) + Send + Sync + 'static) -> Tracker<P> {
        let state = Mutex::new(Waiting { first: 0, positions: VecDeque::new() });
        Tracker { shared: Arc::new(Shared { state, apply: Box::new(apply) }) }
    }

    /// A ticket for the next batch; its position is where the source stands behind it.
    pub fn ticket(&self, position: P) -> Ticket {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = state.first + state.positions.len() as u64;
        state.positions.push_back((Some(position), false));
        Ticket { sequence, tracker: Arc::clone(&self.shared) as Arc<dyn Settle> }
    }

    /// How many batches are on their way.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).positions.len()
    }
}

impl<P> fmt::Debug for Tracker<P> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tracker").finish_non_exhaustive()
    }
}

impl<P: Send + 'static> Settle for Shared<P> {
    fn settle(&self, sequence: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(index) = sequence.checked_sub(state.first) else { return };
        if let Some(entry) = usize::try_from(index).ok().and_then(|index| state.positions.get_mut(index)) {
            entry.1 = true;
        }
        // Applied under the lock: two threads must not apply positions in the wrong order.
        while state.positions.front().is_some_and(|(_, settled)| *settled) {
            if let Some((Some(position), _)) = state.positions.pop_front() {
                (self.apply)(position);
            }
            state.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlet::{Limits, Outlet};
    use crate::stream::DataStream;

    #[tokio::test]
    async fn a_small_batch_holds_no_memory_of_a_large_one() {
        let limits = Limits { events: 1, bytes: 1, linger: std::time::Duration::ZERO };
        let outlet = Outlet::new(1 << 20, crate::metrics::Counters::default());
        let kind = DataStream { kind: "logs".into(), dataset: "a".into(), namespace: "b".into() };
        let stream = Arc::new(Stream::of_queue("i".into(), "s".into(), kind, None));
        let send = async |size: usize| {
            let mut batch = outlet.batch(Arc::clone(&stream));
            batch.push(DocumentId::Any, None, |out| {
                out.resize(size, b' ');
                true
            });
            outlet.send(batch).await.unwrap();
            outlet.take(&limits).await.remove(0)
        };
        const LARGE: usize = 512 << 10;
        let large = send(LARGE).await;
        let place = large.bytes.as_ptr();
        drop(large);
        // It is kept for whoever fills it, and for nobody else, as long as that may wait.
        let (idle, small) = (outlet.batch(Arc::clone(&stream)), send(10).await);
        assert!(idle.bytes.capacity() + small.bytes.capacity() < 1000, "{}", small.bytes.capacity());
        assert_eq!(small.document(0), [b' '; 10]);
        let again = send(LARGE).await;
        assert_eq!((again.bytes.as_ptr(), again.size()), (place, LARGE));
    }

    #[test]
    fn positions_are_applied_in_order_whatever_order_they_are_settled_in() {
        let applied = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&applied);
        let tracker = Tracker::new(move |position: u32| sink.lock().unwrap().push(position));
        let tickets: Vec<Ticket> = (0..4).map(|position| tracker.ticket(position)).collect();
        let mut tickets: Vec<Option<Ticket>> = tickets.into_iter().map(Some).collect();
        for index in [2, 0, 3] {
            tickets[index].take().unwrap().settle();
        }
        assert_eq!(*applied.lock().unwrap(), [0]);
        tickets[1].take().unwrap().settle();
        assert_eq!(*applied.lock().unwrap(), [0, 1, 2, 3]);
        assert_eq!(tracker.pending(), 0);
    }

    #[test]
    fn a_dropped_ticket_holds_its_position_back() {
        let applied = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&applied);
        let tracker = Tracker::new(move |position: u32| sink.lock().unwrap().push(position));
        drop(tracker.ticket(1));
        tracker.ticket(2).settle();
        assert!(applied.lock().unwrap().is_empty());
        assert_eq!(tracker.pending(), 2);
    }
}
