//! The input of a stream: measures at the stream's period, and hands documents over.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;

use super::Machine;
use super::document::Document;
use super::metricset::{Metricset, Pace};
use super::settings::Settings;
use crate::batch::DocumentId;
use crate::config::Mistake;
use crate::input::{Builder, Context, Definition, Input};
use crate::procfs::root::{ReadError, Root};
use crate::stream::OwnFields;

/// `system/metrics`.
pub(crate) const DEFINITION: Definition = Definition { kinds: &["system/metrics"], signal: "metrics", build };

/// What each document has of its own.
const OWN: &[&str] = &["@timestamp", "event", "metricset", "service", "system", "process", "user"];

/// The same for metricsets that measure the host as a whole.
const OWN_WITH_HOST: &[&str] =
    &["@timestamp", "event", "metricset", "service", "system", "process", "user", "host"];

/// Those metricsets.
const OF_HOST: [&str; 3] = ["cpu", "diskio", "network"];

fn build(builder: &mut Builder<'_>) -> Result<Box<dyn Input>, Mistake> {
    let machine = Arc::clone(builder.machine);
    let Settings { period, root, metricsets } = Settings::read(builder.config, &machine)?;
    let has_host = metricsets.iter().any(|metricset| OF_HOST.contains(&metricset.name()));
    builder.stream(OwnFields::Only(if has_host { OWN_WITH_HOST } else { OWN }))?;
    let slots = metricsets.into_iter().map(Slot::new).collect();
    Ok(Box::new(System { machine, root, period, slots }))
}

/// A stream of measurements.
struct System {
    machine: Arc<Machine>,
    root: Root,
    period: Duration,
    slots: Vec<Slot>,
}

#[async_trait]
impl Input for System {
    async fn run(&mut self, context: &Context) -> Result<(), String> {
        loop {
            if !self.measure(context).await {
                return Ok(());
            }
            let elapsed = self.machine.start.elapsed();
            let wait = next_tick(elapsed, self.period).saturating_sub(elapsed);
            if context.pause(wait).await {
                return Ok(());
            }
        }
    }
}

impl System {
    /// One measurement of each metricset; says whether to go on.
    async fn measure(&mut self, context: &Context) -> bool {
        let mut problems = Vec::new();
        for slot in &mut self.slots {
            let measured = tokio::select! {
                measured = slot.measure(&self.machine, &self.root, self.period) => measured,
                () = context.stop.cancelled() => return false,
            };
            let measurement = match measured {
                Ok(Some(measurement)) => measurement,
                Ok(None) => continue,
                Err(problem) => {
                    problems.push(format!("{}: {problem}", slot.name));
                    continue;
                }
            };
            let mut batch = context.batch();
            for document in measurement.documents {
                let mut event = context.stream().event();
                event.set("@timestamp", measurement.timestamp.as_str());
                event.merge(common(slot.name, self.period, measurement.duration));
                event.merge(document.into_map());
                context.stream().push(&mut batch, event, DocumentId::Any);
            }
            if context.send(batch).await.is_err() {
                return false;
            }
        }
        if problems.is_empty() {
            context.healthy("measures");
        } else {
            context.degraded(problems.join("; "));
        }
        true
    }
}

/// What the documents of all metricsets have.
fn common(metricset: &str, period: Duration, duration: Duration) -> Map<String, Value> {
    let fields = json!({
        "event": {
            "module": "system",
            "duration": u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
        },
        "metricset": {
            "name": metricset,
            "period": u64::try_from(period.as_millis()).unwrap_or(u64::MAX),
        },
        "service": {"type": "system"},
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// What was measured, when, and how long it took.
struct Measurement {
    documents: Vec<Document>,
    timestamp: String,
    duration: Duration,
}

impl Measurement {
    fn of(metricset: &mut dyn Metricset, root: &Root, now: Duration) -> Result<Measurement, ReadError> {
        let timestamp = crate::clock::now();
        let began = std::time::Instant::now();
        let documents = metricset.measure(root, now)?;
        Ok(Measurement { documents, timestamp, duration: began.elapsed() })
    }
}

type InThread = JoinHandle<(Box<dyn Metricset>, Result<Measurement, ReadError>)>;

/// A metricset, or the thread that has it.
struct Slot {
    name: &'static str,
    metricset: Option<Box<dyn Metricset>>,
    /// A file system whose server is gone can hold a thread for hours. There is never more than one for a metricset.
    thread: Option<InThread>,
}

impl Slot {
    fn new(metricset: Box<dyn Metricset>) -> Slot {
        Slot { name: metricset.name(), metricset: Some(metricset), thread: None }
    }

    /// Measures, here or in a thread, for at most a period. What comes later is dropped, and is `None` then.
    /// Cancel-safe.
    async fn measure(
        &mut self,
        machine: &Machine,
        root: &Root,
        period: Duration,
    ) -> Result<Option<Measurement>, String> {
        let measured = tokio::time::timeout(period, self.in_turn(machine, root)).await;
        measured.unwrap_or_else(|_| {
            Err("a measurement does not come to an end: does a file system's server answer?".to_owned())
        })
    }

    async fn in_turn(&mut self, machine: &Machine, root: &Root) -> Result<Option<Measurement>, String> {
        let turns = match self.metricset.as_mut().map(|metricset| (metricset.pace(), metricset)) {
            None => return self.finish().await.map(|_| None),
            Some((Pace::Quick, metricset)) => {
                let measured = Measurement::of(&mut **metricset, root, machine.start.elapsed());
                return measured.map(Some).map_err(|error| error.reason());
            }
            Some((Pace::Slow, _)) => &machine.slow,
            Some((Pace::MayHang, _)) => &machine.hanging,
        };
        let turn = Arc::clone(turns).acquire_owned().await.map_err(|error| error.to_string())?;
        if let Some(mut metricset) = self.metricset.take() {
            let (root, now) = (root.clone(), machine.start.elapsed());
            self.thread = Some(tokio::task::spawn_blocking(move || {
                let measured = Measurement::of(&mut *metricset, &root, now);
                drop(turn);
                (metricset, measured)
            }));
        }
        self.finish().await.map(Some)
    }

    /// Waits for the thread, and takes the metricset back.
    async fn finish(&mut self) -> Result<Measurement, String> {
        let Some(thread) = &mut self.thread else {
            return Err("its thread broke down: restart the agent".to_owned());
        };
        let ended = thread.await;
        self.thread = None;
        let (metricset, measured) = ended.map_err(|error| format!("its thread broke down: {error}"))?;
        self.metricset = Some(metricset);
        measured.map_err(|error| error.reason())
    }
}

/// When to measure next: at a multiple of the period, so that all streams of one period wake the machine up once.
/// At least half a period from now, for rates over less time are mostly noise.
fn next_tick(elapsed: Duration, period: Duration) -> Duration {
    let nanos = period.as_nanos().max(1);
    let ticks = (elapsed.as_nanos() + nanos / 2) / nanos + 1;
    u64::try_from(ticks * nanos).map_or(Duration::MAX, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, MutexGuard};

    proptest! {
        #[test]
        fn ticks_are_multiples_and_not_too_near(elapsed in 0_u64..1 << 50, period in 1_u64..1 << 40) {
            let (elapsed, period) = (Duration::from_nanos(elapsed), Duration::from_nanos(period));
            let next = next_tick(elapsed, period);
            prop_assert_eq!(next.as_nanos() % period.as_nanos(), 0);
            prop_assert!(next - elapsed >= period / 2);
            prop_assert!(next - elapsed <= period * 3 / 2 + Duration::from_nanos(1));
        }
    }

    const PERIOD: Duration = Duration::from_secs(10);

    /// Hangs for as long as a test holds its gate.
    #[derive(Clone, Default)]
    struct Hanging {
        gate: Arc<Mutex<()>>,
        begun: Arc<AtomicUsize>,
    }

    impl Hanging {
        fn close(&self) -> MutexGuard<'_, ()> {
            self.gate.lock().unwrap()
        }
    }

    impl Metricset for Hanging {
        fn name(&self) -> &'static str {
            "hanging"
        }

        fn pace(&self) -> Pace {
            Pace::MayHang
        }

        fn measure(&mut self, _: &Root, _: Duration) -> Result<Vec<Document>, ReadError> {
            self.begun.fetch_add(1, Ordering::SeqCst);
            drop(self.gate.lock());
            Ok(vec![Document::default()])
        }
    }

    /// How many documents there are of a measurement during which the clock runs on by a period. It stands still by
    /// itself as long as a thread is at work.
    async fn measure(slot: &mut Slot, machine: &Machine) -> Result<Option<usize>, String> {
        let root = Root::default();
        let pass = async {
            tokio::task::yield_now().await;
            tokio::time::advance(PERIOD + Duration::from_secs(1)).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            measured = slot.measure(machine, &root, PERIOD) => {
                Ok(measured?.map(|measurement| measurement.documents.len()))
            }
            () = pass => Err("the clock does not end".to_owned()),
        }
    }

    #[expect(clippy::await_holding_lock, reason = "that a thread waits for it is the test")]
    #[tokio::test(start_paused = true)]
    async fn a_measurement_that_hangs_is_told_and_holds_one_thread() {
        let machine = Machine::default();
        let hanging = Hanging::default();
        let mut slot = Slot::new(Box::new(hanging.clone()));
        let mut next = Slot::new(Box::new(hanging.clone()));
        let closed = hanging.close();
        for _ in 0..3 {
            for slot in [&mut slot, &mut next] {
                let problem = measure(slot, &machine).await.unwrap_err();
                assert!(problem.starts_with("a measurement does not come to an end"), "{problem}");
            }
        }
        drop(closed);

        // What was measured long ago is no news; from then on all is as before. Three threads in all: one hung.
        let root = Root::default();
        assert!(slot.measure(&machine, &root, PERIOD).await.unwrap().is_none());
        for slot in [&mut slot, &mut next] {
            let measurement = slot.measure(&machine, &root, PERIOD).await.unwrap().unwrap();
            assert_eq!(measurement.documents.len(), 1);
        }
        assert_eq!(hanging.begun.load(Ordering::SeqCst), 3);
    }
}
