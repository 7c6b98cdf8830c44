//! Machines and their metadata.

use std::collections::BTreeMap;

use fleet_cluster::documents::MetadataDocument;
use fleet_protocol::fleet_v1::{Machine, MachinePage, MetadataChange, MetadataOperation, decode};
use fleet_store::{Expect, Scope};

use super::answer::{Answer, Failure};
use super::route::Query;
use super::write::Attempts;
use super::{Api, page};

impl Api {
    pub(super) async fn list_machines(&self, query: &Query) -> Result<Answer, Failure> {
        let token = page::token(query, self.token_limit)?;
        let machines = self.read_machines().await?;
        let (machines, next_page_token) = page::cut(machines.iter(), token);
        Ok(Answer::json(&MachinePage { machines, next_page_token }))
    }

    /// The machines that are there, with the metadata that was set at run time laid over their own.
    pub(super) async fn read_machines(&self) -> Result<Vec<Machine>, Failure> {
        let (machines, metadata) =
            tokio::try_join!(self.machines.list(Scope::All), self.metadata.list(Scope::All))?;
        let overrides: BTreeMap<String, MetadataDocument> =
            metadata.values.into_iter().map(|document| (document.id, document.value)).collect();
        let merged = machines.values.into_iter().map(|document| {
            let metadata = match overrides.get(&document.id) {
                Some(overrides) => overrides.apply(&document.value.metadata),
                None => document.value.metadata,
            };
            Machine { id: document.id, metadata, primary_ip: document.value.public_ip }
        });
        Ok(merged.collect())
    }

    /// Checks every operation, then applies them in their order.
    pub(super) async fn patch_machines(&self, body: &[u8]) -> Result<Answer, Failure> {
        let operations: Vec<MetadataOperation> = decode(body).map_err(|error| {
            Failure::bad_request(format!("the body must be a list of operations: {error}"))
        })?;
        let changes: Result<Vec<MetadataChange>, _> =
            operations.iter().map(MetadataOperation::check).collect();
        let changes = changes.map_err(|error| Failure::bad_request(error.to_string()))?;
        let mut by_machine: BTreeMap<String, Vec<MetadataChange>> = BTreeMap::new();
        for change in changes {
            by_machine.entry(change.machine_id.clone()).or_default().push(change);
        }
        for (machine, changes) in by_machine {
            self.change_metadata(&machine, &changes).await?;
        }
        Ok(Answer::no_content_json())
    }

    async fn change_metadata(&self, machine: &str, changes: &[MetadataChange]) -> Result<(), Failure> {
        let mut attempts = Attempts::new();
        loop {
            let there = self.metadata.get(machine).await?;
            let expect = there.as_ref().map_or(Expect::Absent, |found| Expect::Revision(found.revision));
            let before = there.map(|found| found.value).unwrap_or_default();
            let mut document = before.clone();
            for change in changes {
                document.values.insert(change.key.clone(), change.value.clone());
            }
            if document == before {
                return Ok(());
            }
            let written = self.metadata.put(machine, &document, expect, None, None).await;
            if attempts.settled(written)? {
                return Ok(());
            }
        }
    }
}
