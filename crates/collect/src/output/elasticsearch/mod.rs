//! `elasticsearch` and `remote_elasticsearch`: `_bulk` into data streams, of Elasticsearch and OpenSearch alike.
//!
//! * Each request is `create`, with the document's id where its source has one ([`DocumentId`]): what is sent again
//!   after a crash is then refused with 409, which counts as done. So a line of a file is in the engine once as a rule,
//!   and twice at worst, when its index has been rolled over in between.
//! * A request that fails as a whole (no connection, 429, 5xx) is sent again whole, to the next host, with back-off.
//! * Of a request that fails in part, the items refused for now (429, 5xx) are sent again; 401, 403 and 404 too, slowly,
//!   since an operator can mend them: the output is *Degraded* and says what is missing, and other batches go on. What
//!   is refused for good
//!   (a document that does not fit its mapping) goes to the dead-letter data stream, with the reason, and if that is
//!   refused as well, to a file. While that goes on, and for some time after the last event that is in no data stream,
//!   the output is *Degraded*.
//! * The media type is plain `application/json`, the one that all engines take for `_bulk`.

mod body;
mod bulk;
mod dead_letter;
mod gzip;
mod hosts;
mod keep;
mod report;
mod request;
mod settings;
mod streams;
mod tls;
mod worker;

pub(crate) use tls::Tls as ClientTls;

use std::sync::Arc;

use super::{Context, Output};
use crate::config::{Config, Mistake};
use hosts::Hosts;
use report::Report;
use settings::Settings;
use streams::Streams;
use worker::Worker;

#[cfg(doc)]
use crate::batch::DocumentId;

pub(super) struct Elasticsearch {
    settings: Settings,
}

impl Elasticsearch {
    pub(super) fn read(config: &Config) -> Result<Elasticsearch, Mistake> {
        Ok(Elasticsearch { settings: Settings::read(config)? })
    }
}

impl Output for Elasticsearch {
    fn start(self: Box<Self>, context: Context) {
        let settings = Arc::new(self.settings);
        let tasks = context.tasks.clone();
        tasks.spawn(async move {
            // Certificates are read from files: not on a thread that others wait for.
            let prepare = {
                let settings = Arc::clone(&settings);
                tokio::task::spawn_blocking(move || settings.client())
            };
            let client = match prepare.await {
                Ok(Ok(client)) => client,
                Ok(Err(mistake)) => {
                    tracing::warn!(unit = ?context.unit, reason = %mistake, "an output of the policy cannot be run");
                    let status =
                        crate::state::Status::new(crate::state::State::Failed, mistake.to_string());
                    context.board.unit(&context.unit, status);
                    return;
                }
                Err(_) => return,
            };
            let report = Arc::new(Report::new(context.clone()));
            report.ready();
            let hosts = Arc::new(Hosts::new(&settings));
            let streams = Arc::new(Streams::default());
            for _ in 0..settings.workers {
                let worker = Worker::new(
                    Arc::clone(&settings),
                    client.clone(),
                    Arc::clone(&hosts),
                    Arc::clone(&streams),
                    Arc::clone(&report),
                    context.clone(),
                );
                context.tasks.spawn(worker.run());
            }
        });
    }
}
