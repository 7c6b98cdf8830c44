//! `agent/metrics`: what this process uses, and how many events have gone where, as users of agents' monitoring know it.

use std::fs;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::batch::DocumentId;
use crate::config::Mistake;
use crate::input::{Builder, Context, Definition, Input};
use crate::metrics::{Counters, Metrics};
use crate::plan::AgentFacts;
use crate::stream::OwnFields;

/// `agent/metrics`.
pub(crate) const DEFINITION: Definition = Definition { kinds: &["agent/metrics"], signal: "metrics", build };

/// How often it is measured without another word.
const PERIOD: Duration = Duration::from_secs(60);
const SHORTEST: Duration = Duration::from_millis(100);
/// What this program is called.
const NAME: &str = "fleet-agent";
/// What each document has of its own.
const OWN: &[&str] =
    &["@timestamp", "beat", "component", "elastic_agent", "metricset", "process", "service", "system"];

fn build(builder: &mut Builder<'_>) -> Result<Box<dyn Input>, Mistake> {
    let period = builder.config.duration("period", PERIOD)?;
    if period < SHORTEST {
        return Err(builder.config.mistake("period", "must be 100ms or more"));
    }
    builder.stream(OwnFields::Only(OWN))?;
    Ok(Box::new(Own {
        period,
        agent: builder.settings.agent.clone(),
        counters: builder.counters.clone(),
        before: None,
    }))
}

/// A stream of figures of this process.
struct Own {
    period: Duration,
    agent: AgentFacts,
    counters: Counters,
    /// The processor time that was used when it was measured last.
    before: Option<(Instant, Duration)>,
}

#[async_trait]
impl Input for Own {
    async fn run(&mut self, context: &Context) -> Result<(), String> {
        let mut tick = interval(self.period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = context.stop.cancelled() => return Ok(()),
                _ = tick.tick() => {}
            }
            let mut event = context.stream().event();
            event.set("@timestamp", crate::clock::now());
            event.merge(self.document());
            let mut batch = context.batch();
            context.stream().push(&mut batch, event, DocumentId::Any);
            if context.send(batch).await.is_err() {
                return Ok(());
            }
            context.healthy("measures");
        }
    }
}

impl Own {
    fn document(&mut self) -> Map<String, Value> {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let descriptors = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let process = Process::of(&stat);
        let cpu = process.user + process.system;
        let share = self.share(cpu);
        let period = u64::try_from(self.period.as_millis()).unwrap_or(u64::MAX);
        let document = json!({
            "beat": {"type": NAME, "stats": {"libbeat": stats(&self.counters.snapshot())}},
            "component": {"id": NAME, "binary": NAME, "dataset": "elastic_agent.elastic_agent"},
            "elastic_agent": {
                "id": self.agent.id,
                "version": self.agent.version,
                "snapshot": self.agent.version.contains("SNAPSHOT"),
                "process": NAME,
            },
            "metricset": {"name": "stats", "period": period},
            "process": {"name": NAME, "pid": std::process::id()},
            "service": {"type": NAME},
            "system": {"process": {
                "cpu": {
                    "user": {"time": {"ms": milliseconds(process.user)}},
                    "system": {"time": {"ms": milliseconds(process.system)}},
                    "total": {"time": {"ms": milliseconds(cpu)}, "value": milliseconds(cpu), "pct": share},
                },
                "memory": {"size": process.resident, "rss": {"bytes": process.resident}},
                "num_threads": process.threads,
                // The one of reading this is gone by now.
                "fd": {"open": descriptors.saturating_sub(1)},
            }},
        });
        match document {
            Value::Object(document) => document,
            _ => Map::new(),
        }
    }

    /// The share of one processor since it was measured last.
    fn share(&mut self, cpu: Duration) -> Option<f64> {
        let now = Instant::now();
        let (at, used) = self.before.replace((now, cpu))?;
        let elapsed = now.duration_since(at).as_secs_f64();
        let share = cpu.saturating_sub(used).as_secs_f64() / elapsed;
        share.is_finite().then(|| (share * 10_000.0).round() / 10_000.0)
    }
}

/// Counts by the names that agents' monitoring has.
fn stats(counts: &Metrics) -> Value {
    json!({
        "pipeline": {
            "events": {
                "total": counts.events_read,
                "filtered": counts.events_filtered,
                "published": counts.events_queued,
            },
            "queue": {"filled": {"bytes": counts.queue_bytes + counts.disk_queue_bytes}},
        },
        "output": {
            "events": {
                "acked": counts.events_acknowledged,
                "batches": counts.requests,
                "dead_letter": counts.events_dead_lettered + counts.events_kept,
                "dropped": counts.events_lost,
                "failed": counts.events_retried,
            },
            "write": {"bytes": counts.bytes_sent, "errors": counts.requests_failed},
        },
    })
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What a process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Process {
    user: Duration,
    system: Duration,
    threads: u64,
    /// In bytes.
    resident: u64,
}

impl Process {
    /// From a line of `proc(5)`, `/proc/pid/stat`; what cannot be understood is 0.
    fn of(stat: &str) -> Process {
        // The name may hold anything; what follows it does not.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let number = |field: usize| fields.get(field).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        let time = |field: usize| Duration::from_millis(number(field).saturating_mul(1000) / ticks);
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(0);
        Process {
            user: time(11),
            system: time(12),
            threads: number(17),
            resident: number(21).saturating_mul(page),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::testing::Rig;

    #[tokio::test]
    async fn it_tells_what_the_process_uses() {
        let rig = Rig::new(1 << 20);
        let settings = json!({"period": "100ms", "data_stream": {"dataset": "elastic_agent.elastic_agent", "namespace": "n"}});
        let running = rig.start(&DEFINITION, "agent/metrics", &settings).unwrap();
        let events = rig.events(2).await;
        running.stop.cancel();
        let event = &events[1];
        assert_eq!(
            event["data_stream"],
            json!({"type": "metrics", "dataset": "elastic_agent.elastic_agent", "namespace": "n"})
        );
        assert_eq!(
            (&event["elastic_agent"]["id"], &event["metricset"]["period"]),
            (&json!("a"), &json!(100))
        );
        let process = &event["system"]["process"];
        assert!(process["memory"]["size"].as_u64().unwrap() > 1_000_000, "{event}");
        assert!(
            process["num_threads"].as_u64() > Some(0) && process["fd"]["open"].as_u64() > Some(0),
            "{event}"
        );
        assert!(process["cpu"]["total"]["pct"].is_number(), "{event}");
        assert!(event["beat"]["stats"]["libbeat"]["pipeline"]["events"]["total"].is_number());
    }

    #[tokio::test]
    async fn a_period_that_is_too_short_is_refused() {
        let rig = Rig::new(1 << 20);
        let wrong = rig.start(&DEFINITION, "agent/metrics", &json!({"period": "1ms"}));
        assert!(wrong.err().unwrap().to_string().contains("period"));
    }

    #[test]
    fn no_text_makes_it_fail() {
        for text in ["", ")", "1 (a) b) S", "1 (x) S a b c d e f g h i j k l m n o p q r s t u v"] {
            assert_eq!(Process::of(text), Process::default());
        }
        let line = "1 (a) x) S 2 3 4 5 6 7 8 9 10 11 200 100 14 15 16 17 5 19 20 21 3";
        let process = Process::of(line);
        assert_eq!((process.threads, process.resident), (5, 3 * 4096));
        assert!(process.user > process.system);
    }
}
