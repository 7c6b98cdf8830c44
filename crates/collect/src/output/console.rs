//! `console`: events on standard output, one JSON document per line.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use super::{Context, Output};
use crate::batch::Batch;
use crate::config::{Config, Mistake};
use crate::outlet::Limits;

/// A person watches: events come soon.
const LIMITS: Limits = Limits { events: 1000, bytes: 1 << 20, linger: Duration::from_millis(100) };

const WELL: &str = "writing to standard output";

pub(super) struct Console {
    pretty: bool,
}

impl Console {
    pub(super) fn read(config: &Config) -> Result<Console, Mistake> {
        config.allow(&["codec", "bulk_max_size"]);
        let pretty = config.boolean("pretty", false)? || config.boolean("codec.json.pretty", false)?;
        Ok(Console { pretty })
    }
}

impl Output for Console {
    fn start(self: Box<Self>, context: Context) {
        let tasks = context.tasks.clone();
        tasks.spawn(async move {
            context.healthy(WELL);
            let mut well = true;
            loop {
                let batches = tokio::select! {
                    biased;
                    () = context.stop.cancelled() => return,
                    batches = context.outlet.take(&LIMITS) => batches,
                };
                if let Err(error) = write(&batches, self.pretty) {
                    well = false;
                    context.degraded(format!("cannot write to standard output: {error}"));
                    context.outlet.put_back(batches);
                    let pause = tokio::time::sleep(Duration::from_secs(1));
                    tokio::select! { () = context.stop.cancelled() => return, () = pause => {} }
                    continue;
                }
                for batch in batches {
                    context.counters.events_acknowledged.add(batch.len() as u64);
                    batch.settle();
                }
                if !std::mem::replace(&mut well, true) {
                    context.healthy(WELL);
                }
            }
        });
    }
}

fn write(batches: &[Arc<Batch>], pretty: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for batch in batches {
        for index in 0..batch.len() {
            let document = batch.document(index);
            if pretty {
                let value: serde_json::Value = serde_json::from_slice(document)?;
                serde_json::to_writer_pretty(&mut out, &value)?;
            } else {
                out.write_all(document)?;
            }
            out.write_all(b"\n")?;
        }
    }
    out.flush()
}
