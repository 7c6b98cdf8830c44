//! What a package puts into an engine. Its files are not kept in memory: they are read when an engine is set up.

use std::collections::BTreeSet;
use std::sync::Arc;

use fleet_integration::assets::{Assets, Engine, Target, assets};

use super::{ArchiveKind, Packages, PackagesError, bundled, key, unpack_now};

impl Packages {
    /// What a version of a package puts into `engine`, with templates for `targets`; `None`: it is not here.
    ///
    /// # Errors
    /// [`PackagesError`].
    pub async fn engine_assets(
        &self,
        name: &str,
        version: &str,
        targets: BTreeSet<Target>,
        engine: Engine,
    ) -> Result<Option<Assets>, PackagesError> {
        let Some(opened) = self.open(name, version).await? else { return Ok(None) };
        let permit = self.reading_permit().await?;
        let stored = self.stored.archive(&key(name, version)).await?.map(|found| (found.kind, found.bytes));
        let bundled = || bundled::find(name, version).map(|bytes| (ArchiveKind::TarGz, bytes));
        let Some((kind, bytes)) = stored.or_else(bundled) else { return Ok(None) };
        let making = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let archive = unpack_now(kind, &bytes)?;
            Ok(assets(&Arc::clone(&opened.package), &archive, &targets, &engine))
        });
        making.await.map_err(|_| PackagesError::Busy)?.map(Some)
    }
}
