//! Bodies of requests, read and unpacked, bounded in size, in memory and in time.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use flate2::write::GzDecoder;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All requests of an address that are on their way hold no more than this, or two of the largest. Beyond that senders
/// are told to come again.
const TOGETHER: usize = 64 << 20;

/// A request that is not there after this is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Of a request that is refused, what its sender is still sending is read and thrown away for so long, so that the
/// sender comes to read the answer; or until nothing has come for [`QUIET`].
const LINGER: Duration = Duration::from_secs(2);
const QUIET: Duration = Duration::from_millis(200);

const KIB: usize = 1024;

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    /// It is larger than allowed.
    #[error("the request is larger than {0} bytes: send less at once, or raise the receiver's limit")]
    TooLarge(usize),
    /// All requests together are.
    #[error("the receiver has too much on its way: send this again later")]
    Busy,
    /// It came too slowly.
    #[error("the request did not arrive within {} s", PATIENCE.as_secs())]
    Slow,
    /// It cannot be unpacked, or its frame is wrong.
    #[error("the request cannot be read: {0}")]
    Malformed(String),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
}

/// The room that an address has for requests.
#[derive(Clone, Debug)]
pub(super) struct Room {
    free: Arc<Semaphore>,
    most: usize,
}

impl Room {
    /// For requests of at most so many bytes.
    pub(super) fn new(most: usize) -> Room {
        Room { free: Arc::new(Semaphore::new(TOGETHER.max(2 * most) / KIB)), most }
    }

    /// Reads a body, which is packed with gzip or not.
    pub(super) async fn whole(&self, mut body: Incoming, packed: bool) -> Result<Held, Unread> {
        let read = async {
            let mut reader = Reader { sink: Sink::new(packed), held: None, room: self.clone() };
            each(&mut body, |bytes| reader.take(bytes)).await?;
            reader.finish()
        };
        let read = read.await;
        if read.is_err() {
            linger(body).await;
        }
        read
    }

    /// Reads the body of a call over gRPC, which has one message: whether it is packed, its length, and itself.
    pub(super) async fn message(&self, mut body: Incoming, gzip: bool) -> Result<Held, Unread> {
        let wrong = |problem: &str| Unread::Malformed(problem.to_owned());
        let mut head = Vec::with_capacity(5);
        let mut reader: Option<Reader> = None;
        let mut left = 0;
        let room = self.clone();
        each(&mut body, |mut bytes| {
            while reader.is_none() {
                let (some, rest) = bytes.split_at((5 - head.len()).min(bytes.len()));
                head.extend_from_slice(some);
                bytes = rest;
                let [packed, a, b, c, d] = head[..] else { return Ok(()) };
                left = u32::from_be_bytes([a, b, c, d]) as usize;
                if left > room.most {
                    return Err(Unread::TooLarge(room.most));
                }
                if packed > 1 || (packed == 1 && !gzip) {
                    return Err(wrong("it is said to be packed, and not with gzip"));
                }
                reader = Some(Reader { sink: Sink::new(packed == 1), held: None, room: room.clone() });
            }
            left =
                left.checked_sub(bytes.len()).ok_or_else(|| wrong("a call has one message, not several"))?;
            reader.as_mut().map_or(Ok(()), |reader| reader.take(bytes))
        })
        .await?;
        match reader {
            Some(reader) if left == 0 => reader.finish(),
            _ => Err(wrong("the message ends too early")),
        }
    }
}

async fn each(body: &mut Incoming, mut take: impl FnMut(&[u8]) -> Result<(), Unread>) -> Result<(), Unread> {
    let read = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(Unread::Broken)?;
            if let Some(bytes) = frame.data_ref() {
                take(bytes)?;
            }
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap_or(Err(Unread::Slow))
}

async fn linger(mut body: Incoming) {
    let rest = async { while let Ok(Some(Ok(_))) = tokio::time::timeout(QUIET, body.frame()).await {} };
    // Whoever sends for longer than this does not want an answer.
    let _ = tokio::time::timeout(LINGER, rest).await;
}

/// A body, and the room it takes.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

struct Reader {
    sink: Sink,
    held: Option<OwnedSemaphorePermit>,
    room: Room,
}

impl Reader {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Unread> {
        // In small steps: what is packed can be a thousand times as large.
        for step in bytes.chunks(KIB) {
            self.sink.write(step).map_err(|error| Unread::Malformed(error.to_string()))?;
            let size = self.sink.size();
            if size > self.room.most {
                return Err(Unread::TooLarge(self.room.most));
            }
            self.hold(size)?;
        }
        Ok(())
    }

    /// Asks for room. A vector that grows has up to twice as much as it needs.
    fn hold(&mut self, size: usize) -> Result<(), Unread> {
        let have = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = size.div_ceil(KIB).saturating_sub(have);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).map_err(|_| Unread::Busy)?;
        let more = Arc::clone(&self.room.free).try_acquire_many_owned(more).map_err(|_| Unread::Busy)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Held, Unread> {
        let bytes = self.sink.finish().map_err(|error| Unread::Malformed(error.to_string()))?;
        if bytes.len() > self.room.most {
            return Err(Unread::TooLarge(self.room.most));
        }
        Ok(Held { bytes, _room: self.held.take() })
    }
}

/// Where a body goes.
enum Sink {
    Plain(Vec<u8>),
    Packed(Box<GzDecoder<Vec<u8>>>),
}

impl Sink {
    fn new(packed: bool) -> Sink {
        if packed { Sink::Packed(Box::new(GzDecoder::new(Vec::new()))) } else { Sink::Plain(Vec::new()) }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Sink::Plain(sink) => sink.extend_from_slice(bytes),
            Sink::Packed(sink) => sink.write_all(bytes)?,
        }
        Ok(())
    }

    fn size(&self) -> usize {
        match self {
            Sink::Plain(sink) => sink.len(),
            Sink::Packed(sink) => sink.get_ref().len(),
        }
    }

    fn finish(self) -> std::io::Result<Vec<u8>> {
        match self {
            Sink::Plain(sink) => Ok(sink),
            Sink::Packed(sink) => sink.finish(),
        }
    }
}
