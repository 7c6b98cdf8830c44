//! Writing what was decided: placements first, then the documents derived from them.

use std::collections::{BTreeMap, BTreeSet};

use fleet_store::{Expect, Write, WriteError};
use fleet_unit::UnitName;
use tracing::{debug, error, info};

use super::planner::Decision;
use super::reconciler::TermEnd;
use super::term::Term;
use crate::documents::{AssignmentDocument, GLOBALS_ID, MachineId, Place};

impl Term<'_> {
    /// Writes placements. `false`: some were not written, and have been read again.
    pub(super) async fn commit(&mut self, decisions: Vec<Decision>) -> Result<bool, TermEnd> {
        if decisions.is_empty() {
            return Ok(true);
        }
        self.read_documents(&decisions).await?;
        let units = &self.engine.stores.units;
        let mut names = Vec::with_capacity(decisions.len());
        let mut writes: Vec<Write> = Vec::with_capacity(decisions.len());
        let mut again = Vec::new();
        for decision in decisions {
            let name = decision.unit.clone();
            let (Some(document), Some(revision)) =
                (self.fresh.get_mut(&name), self.revisions.get(&name).copied())
            else {
                again.push(name);
                continue;
            };
            document.machine.clone_from(&decision.to);
            let write = units.encode(name.as_str(), document, Expect::Revision(revision), None);
            writes.push(write.map_err(TermEnd::Store)?);
            names.push(decision);
        }
        let answers = units.write_many(writes, Some(self.lease)).await;
        for (decision, answer) in names.into_iter().zip(answers) {
            let away = decision.from.as_ref().is_some_and(|machine| !self.machines.contains_key(machine));
            let metrics = &self.engine.metrics;
            let (done, failed) = match decision.to {
                Some(_) => (&metrics.scheduled, &metrics.schedule_failures),
                None => (&metrics.unscheduled, &metrics.unschedule_failures),
            };
            match answer {
                Ok(revision) => {
                    done.add(1);
                    metrics.machine_away.add(u64::from(away));
                    let (from, to) = (Place(decision.from.as_ref()), Place(decision.to.as_ref()));
                    info!(unit = %decision.unit, %from, %to, "placed");
                    self.revisions.insert(decision.unit, revision);
                }
                Err(WriteError::LeaseLost) => return Err(TermEnd::Deposed),
                Err(error) => {
                    failed.add(1);
                    debug!(unit = %decision.unit, error = &error as &dyn std::error::Error, "not placed");
                    again.push(decision.unit);
                }
            }
        }
        if again.is_empty() {
            return Ok(true);
        }
        self.read_again(again).await?;
        Ok(false)
    }

    /// Fetches the documents of units that are to be written and were not told just now.
    async fn read_documents(&mut self, decisions: &[Decision]) -> Result<(), TermEnd> {
        let missing: Vec<UnitName> = decisions
            .iter()
            .map(|decision| &decision.unit)
            .filter(|name| !self.fresh.contains_key(*name))
            .cloned()
            .collect();
        let ids: Vec<String> = missing.iter().map(ToString::to_string).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let found = self.engine.stores.units.get_many(&ids).await.map_err(TermEnd::Store)?;
        for (name, versioned) in missing.into_iter().zip(found) {
            // What changed since we were told is left to the conflict that the write will meet.
            if let Some(versioned) = versioned {
                self.fresh.insert(name, versioned.value);
            }
        }
        Ok(())
    }

    async fn read_again(&mut self, names: Vec<UnitName>) -> Result<(), TermEnd> {
        let ids: Vec<String> = names.iter().map(ToString::to_string).collect();
        let found = self.engine.stores.units.get_many(&ids).await.map_err(TermEnd::Store)?;
        for (name, versioned) in names.into_iter().zip(found) {
            match versioned {
                Some(versioned) => self.set_unit_again(&name, versioned),
                // It is gone, or cannot be read: those are not the same.
                None => self.read_unit(&name).await.map_err(TermEnd::Store)?,
            }
        }
        Ok(())
    }

    /// Writes the derived documents that differ from what the store holds.
    pub(super) async fn derive(&mut self) -> Result<(), TermEnd> {
        let (stale, globals) = self.planner.take_stale();
        self.unwritten.extend(stale);
        self.unwritten_globals |= globals;
        self.derive_assignments().await?;
        if self.unwritten_globals {
            self.derive_globals().await?;
        }
        self.assignment_parts.sweep(&self.engine.stores.assignments, self.lease).await?;
        self.global_parts.sweep(&self.engine.stores.globals, self.lease).await
    }

    async fn derive_assignments(&mut self) -> Result<(), TermEnd> {
        let mut wanted = BTreeMap::new();
        for machine in std::mem::take(&mut self.unwritten) {
            let unreadable = self.unreadable_assignments.contains(&machine);
            // It may tell the machine to run one of those units, of which nothing else is known.
            if unreadable && !self.quarantined.is_empty() {
                continue;
            }
            let document = self.assignment(&machine);
            if unreadable || document.as_ref() != self.published.get(&machine) {
                wanted.insert(machine, document);
            }
        }
        let leaving = self.without_leaving(&wanted);
        self.write_assignments(leaving).await?;
        wanted.retain(|machine, document| {
            self.unreadable_assignments.contains(machine) || document.as_ref() != self.published.get(machine)
        });
        self.write_assignments(wanted).await
    }

    /// The assignments of machines that units leave for others, without those units: they are written first, so
    /// that at no moment a unit is assigned to two machines.
    fn without_leaving(
        &self,
        wanted: &BTreeMap<MachineId, Option<AssignmentDocument>>,
    ) -> BTreeMap<MachineId, Option<AssignmentDocument>> {
        let units = |document: &Option<AssignmentDocument>| {
            document.iter().flat_map(|document| document.units.keys().cloned()).collect::<BTreeSet<_>>()
        };
        let arriving: BTreeSet<UnitName> = wanted
            .iter()
            .flat_map(|(machine, document)| {
                let there = self.published.get(machine);
                let is_new = |name: &UnitName| there.is_none_or(|there| !there.units.contains_key(name));
                units(document).into_iter().filter(is_new).collect::<Vec<_>>()
            })
            .collect();
        let leave = |(machine, document): (&MachineId, &Option<AssignmentDocument>)| {
            let there = self.published.get(machine)?;
            let stay = units(document);
            let leaves = |name: &UnitName| arriving.contains(name) && !stay.contains(name);
            let mut left = there.clone();
            left.units.retain(|name, _| !leaves(name));
            let changed = left.units.len() < there.units.len();
            changed.then(|| (machine.clone(), (!left.units.is_empty()).then_some(left)))
        };
        wanted.iter().filter_map(leave).collect()
    }

    async fn write_assignments(
        &mut self,
        documents: BTreeMap<MachineId, Option<AssignmentDocument>>,
    ) -> Result<(), TermEnd> {
        let heads = &self.engine.stores.assignments;
        let sets =
            documents.iter().map(|(machine, document)| (machine.0.clone(), document.as_ref())).collect();
        let outcomes = self.assignment_parts.write(heads, sets, self.lease).await?;
        for ((machine, document), refused) in documents.into_iter().zip(outcomes) {
            if let Some(refused) = refused {
                let refused = &refused as &dyn std::error::Error;
                error!(%machine, error = refused, "what the machine is to run cannot be written: it stays as it was");
                continue;
            }
            self.unreadable_assignments.remove(&machine);
            match document {
                Some(document) => self.published.insert(machine, document),
                None => self.published.remove(&machine),
            };
        }
        Ok(())
    }

    /// What a machine is to run, with what it runs of units whose documents cannot be read.
    fn assignment(&self, machine: &MachineId) -> Option<AssignmentDocument> {
        let mut wanted = self.planner.assignment(machine);
        if let Some(published) = self.published.get(machine) {
            let kept = published.units.iter().filter(|(name, _)| self.quarantined.contains(name.as_str()));
            for (name, assignment) in kept {
                wanted.get_or_insert_default().units.insert(name.clone(), assignment.clone());
            }
        }
        wanted
    }

    async fn derive_globals(&mut self) -> Result<(), TermEnd> {
        if self.unreadable_globals && !self.quarantined.is_empty() {
            return Ok(());
        }
        let mut wanted = self.planner.global_assignment();
        if let Some(published) = &self.published_globals {
            let kept = published.units.iter().filter(|(name, _)| self.quarantined.contains(name.as_str()));
            for (name, global) in kept {
                wanted.get_or_insert_default().units.insert(name.clone(), global.clone());
            }
        }
        if self.unreadable_globals || wanted != self.published_globals {
            let heads = &self.engine.stores.globals;
            let sets = vec![(GLOBALS_ID.to_owned(), wanted.as_ref())];
            let outcomes = self.global_parts.write(heads, sets, self.lease).await?;
            match outcomes.into_iter().flatten().next() {
                Some(refused) => {
                    let refused = &refused as &dyn std::error::Error;
                    error!(error = refused, "the global units cannot be written: they stay as they were");
                }
                None => {
                    self.published_globals = wanted;
                    self.unreadable_globals = false;
                }
            }
        }
        self.unwritten_globals = false;
        Ok(())
    }
}
