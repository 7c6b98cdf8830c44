//! The input of a stream: measures at the stream's period, and hands documents over.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;

use super::Machine;
use super::document::Document;
use super::metricset::Metricset;
use super::root::{ReadError, Root};
use super::settings::Settings;
use crate::batch::DocumentId;
use crate::config::Mistake;
use crate::input::{Builder, Context, Definition, Input};
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
            let now = self.machine.start.elapsed();
            let timestamp = crate::clock::now();
            let started = std::time::Instant::now();
            let measured = tokio::select! {
                measured = slot.measure(&self.root, now, self.period) => measured,
                () = context.stop.cancelled() => return false,
            };
            let documents = match measured {
                Ok(documents) => documents,
                Err(problem) => {
                    problems.push(format!("{}: {problem}", slot.name));
                    continue;
                }
            };
            let common =
                Common { timestamp, duration: started.elapsed(), period: self.period, metricset: slot.name };
            let mut batch = context.batch();
            for document in documents {
                let mut event = context.stream().event();
                event.merge(common.fields());
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

/// What the documents of one measurement have in common.
struct Common {
    timestamp: String,
    duration: Duration,
    period: Duration,
    metricset: &'static str,
}

impl Common {
    fn fields(&self) -> Map<String, Value> {
        let fields = json!({
            "@timestamp": self.timestamp,
            "event": {
                "module": "system",
                "duration": u64::try_from(self.duration.as_nanos()).unwrap_or(u64::MAX),
            },
            "metricset": {
                "name": self.metricset,
                "period": u64::try_from(self.period.as_millis()).unwrap_or(u64::MAX),
            },
            "service": {"type": "system"},
        });
        match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }
}

type Measured = Result<Vec<Document>, ReadError>;

/// A metricset, or the thread that has it.
struct Slot {
    name: &'static str,
    metricset: Option<Box<dyn Metricset>>,
    /// A file system whose server is gone can hold a thread for hours. There is never more than one for a metricset.
    thread: Option<JoinHandle<(Box<dyn Metricset>, Measured)>>,
}

impl Slot {
    fn new(metricset: Box<dyn Metricset>) -> Slot {
        Slot { name: metricset.name(), metricset: Some(metricset), thread: None }
    }

    /// Measures, here or in a thread, for at most a period: what comes later is dropped. Cancel-safe.
    async fn measure(
        &mut self,
        root: &Root,
        now: Duration,
        period: Duration,
    ) -> Result<Vec<Document>, String> {
        if let Some(mut metricset) = self.metricset.take_if(|metricset| !metricset.is_slow()) {
            let measured = metricset.measure(root, now);
            self.metricset = Some(metricset);
            return measured.map_err(|error| error.reason());
        }
        let mut is_late = false;
        if let Some(mut metricset) = self.metricset.take() {
            let root = root.clone();
            self.thread = Some(tokio::task::spawn_blocking(move || {
                let measured = metricset.measure(&root, now);
                (metricset, measured)
            }));
        } else {
            is_late = true;
        }
        let Some(thread) = &mut self.thread else {
            return Err("its thread is gone: restart the agent".to_owned());
        };
        let Ok(ended) = tokio::time::timeout(period, thread).await else {
            let problem = "a measurement does not come to an end: does a file system's server answer?";
            return Err(problem.to_owned());
        };
        self.thread = None;
        let (metricset, measured) =
            ended.map_err(|error| format!("a measurement was broken off: {error}"))?;
        self.metricset = Some(metricset);
        if is_late { Ok(Vec::new()) } else { measured.map_err(|error| error.reason()) }
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

        fn is_slow(&self) -> bool {
            true
        }

        fn measure(&mut self, _: &Root, _: Duration) -> Measured {
            self.begun.fetch_add(1, Ordering::SeqCst);
            drop(self.gate.lock());
            Ok(vec![Document::default()])
        }
    }

    /// Measures while the clock runs on by a period. It stands still by itself as long as a thread is at work.
    async fn measure(slot: &mut Slot) -> Result<Vec<Document>, String> {
        let root = Root::default();
        let pass = async {
            tokio::task::yield_now().await;
            tokio::time::advance(PERIOD + Duration::from_secs(1)).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            measured = slot.measure(&root, Duration::ZERO, PERIOD) => measured,
            () = pass => Err("the clock does not end".to_owned()),
        }
    }

    #[expect(clippy::await_holding_lock, reason = "that a thread waits for it is the test")]
    #[tokio::test(start_paused = true)]
    async fn a_measurement_that_hangs_is_told_and_waits_for_no_other_thread() {
        let hanging = Hanging::default();
        let mut slot = Slot::new(Box::new(hanging.clone()));
        let closed = hanging.close();
        for _ in 0..3 {
            let problem = measure(&mut slot).await.unwrap_err();
            assert!(problem.starts_with("a measurement does not come to an end"), "{problem}");
        }
        drop(closed);

        // What was measured long ago is no news.
        let root = Root::default();
        assert_eq!(slot.measure(&root, Duration::ZERO, PERIOD).await, Ok(Vec::new()));
        assert_eq!(hanging.begun.load(Ordering::SeqCst), 1);
        assert_eq!(slot.measure(&root, Duration::ZERO, PERIOD).await.unwrap().len(), 1);
        assert_eq!(hanging.begun.load(Ordering::SeqCst), 2);
    }
}
