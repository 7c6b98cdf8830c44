//! Writing what was decided: placements first, then the documents derived from them.

use fleet_store::{Expect, Write, WriteError};
use fleet_unit::UnitName;
use tracing::{debug, info};

use super::planner::Decision;
use super::reconciler::TermEnd;
use super::term::Term;
use crate::documents::{AssignmentDocument, GLOBALS_ID, MachineId};

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
                    info!(unit = %decision.unit, from = ?decision.from, to = ?decision.to, "placed");
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
                Some(versioned) => {
                    self.revisions.remove(&name);
                    self.set_unit(versioned, true);
                }
                None => self.remove_unit(name.as_str()),
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
        Ok(())
    }

    async fn derive_assignments(&mut self) -> Result<(), TermEnd> {
        let store = &self.engine.stores.assignments;
        let mut machines = Vec::new();
        let mut writes = Vec::new();
        for machine in std::mem::take(&mut self.unwritten) {
            let wanted = self.assignment(&machine);
            if wanted.as_ref() == self.published.get(&machine) {
                continue;
            }
            writes.push(match &wanted {
                Some(document) => {
                    store.encode(&machine.0, document, Expect::Any, None).map_err(TermEnd::Store)?
                }
                None => Write::delete(&machine.0, Expect::Any),
            });
            machines.push((machine, wanted));
        }
        if writes.is_empty() {
            return Ok(());
        }
        let answers = store.write_many(writes, Some(self.lease)).await;
        for ((machine, wanted), answer) in machines.into_iter().zip(answers) {
            match (answer, wanted) {
                (Ok(_), Some(document)) => {
                    self.published.insert(machine, document);
                }
                (Ok(_), None) => {
                    self.published.remove(&machine);
                }
                (Err(WriteError::LeaseLost), _) => return Err(TermEnd::Deposed),
                (Err(WriteError::NotDone(error) | WriteError::Unknown(error)), _) => {
                    return Err(TermEnd::Store(error));
                }
                (Err(WriteError::Conflict { .. }), _) => {
                    self.unwritten.insert(machine);
                }
            }
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
        let mut wanted = self.planner.global_assignment();
        if let Some(published) = &self.published_globals {
            let kept = published.units.iter().filter(|(name, _)| self.quarantined.contains(name.as_str()));
            for (name, global) in kept {
                wanted.get_or_insert_default().units.insert(name.clone(), global.clone());
            }
        }
        if wanted != self.published_globals {
            let store = &self.engine.stores.globals;
            let answer = match &wanted {
                Some(document) => store.put(GLOBALS_ID, document, Expect::Any, None, Some(self.lease)).await,
                None => store.delete(GLOBALS_ID, Expect::Any, Some(self.lease)).await,
            };
            match answer {
                Ok(_) => self.published_globals = wanted,
                Err(WriteError::LeaseLost) => return Err(TermEnd::Deposed),
                Err(WriteError::NotDone(error) | WriteError::Unknown(error)) => {
                    return Err(TermEnd::Store(error));
                }
                Err(WriteError::Conflict { .. }) => return Ok(()),
            }
        }
        self.unwritten_globals = false;
        Ok(())
    }
}
