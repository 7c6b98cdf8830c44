//! Packages that were read, the latest used of them.

use std::collections::HashMap;
use std::sync::Arc;

use fleet_integration::Package;

/// The most packages in memory: a read package takes some hundred kilobytes.
const MOST: usize = 64;

/// Packages by name and version.
#[derive(Debug, Default)]
pub(super) struct Cache {
    packages: HashMap<String, (u64, Arc<Package>)>,
    uses: u64,
}

impl Cache {
    pub(super) fn get(&mut self, key: &str) -> Option<Arc<Package>> {
        self.uses += 1;
        let uses = self.uses;
        let (used, package) = self.packages.get_mut(key)?;
        *used = uses;
        Some(Arc::clone(package))
    }

    pub(super) fn insert(&mut self, key: String, package: &Arc<Package>) {
        self.uses += 1;
        self.packages.insert(key, (self.uses, Arc::clone(package)));
        if self.packages.len() > MOST
            && let Some(oldest) =
                self.packages.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone())
        {
            self.packages.remove(&oldest);
        }
    }
}
