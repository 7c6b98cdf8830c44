//! Machines and their metadata.

use std::collections::BTreeMap;

use fleet_cluster::documents::MetadataDocument;
use fleet_protocol::fleet_v1::{
    Machine, MachinePage, MetadataChange, MetadataError, MetadataOperation, decode,
};

use super::answer::{Answer, Failure};
use super::documents::can_be_id;
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
        let (machines, metadata) = tokio::try_join!(self.machines.list(), self.metadata.list())?;
        let overrides: BTreeMap<String, MetadataDocument> =
            metadata.into_iter().map(|document| (document.id, document.value)).collect();
        let merged = machines.into_iter().map(|document| {
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
        if changes.iter().any(|change| !can_be_id(&change.machine_id)) {
            return Err(Failure::bad_request(MetadataError::Path.to_string()));
        }
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
        let _turn = self.queues.turn(machine).await;
        let mut attempts = Attempts::new();
        loop {
            let there = self.metadata.find(machine).await?;
            let expect = there.expect();
            // What cannot be read does not count for anybody, so that nothing is lost by replacing it.
            let before = there.value().map(|found| found.value);
            let mut document = before.clone().unwrap_or_default();
            for change in changes {
                document.values.insert(change.key.clone(), change.value.clone());
            }
            if before.is_some_and(|before| before == document) {
                return Ok(());
            }
            attempts.begin(expect)?;
            if attempts.settle(expect, self.metadata.put(machine, &document, expect).await)? {
                return Ok(());
            }
        }
    }
}
