//! How much files take together.
//!
//! Agents are let in by a count that is at most a few seconds old: counting all files for each announcement
//! would cost more than the announcement. Servers that let in files at the same moment may together go over the
//! bound by what they let in.

use std::collections::HashMap;
use std::time::Duration;

use fleet_store::{Error, ListRequest, Typed};
use tokio::time::Instant;

use super::FileError;
use crate::documents::{FileDocument, FileStatus};

/// A count is used for so long.
const FRESH: Duration = Duration::from_secs(5);
/// Files that are counted together.
const COUNTED_TOGETHER: usize = 500;
/// The most files that there are, whatever their size: each is a document for as long as it is told of.
const MOST_FILES: u64 = 50_000;
/// The most of them that are of one agent.
const MOST_OF_AGENT: u64 = 500;
/// One agent may take this part of what there is.
const SHARE_OF_AGENT: u64 = 2;

#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    files: u64,
    bytes: u64,
}

impl Taken {
    fn add(&mut self, document: &FileDocument) {
        self.files += 1;
        if !matches!(document.file.status, FileStatus::Deleted | FileStatus::UploadError) {
            self.bytes = self.bytes.saturating_add(document.file.size);
        }
    }
}

/// What was counted, and what was let in since.
#[derive(Debug, Default)]
pub(super) struct Room {
    counted: Option<Instant>,
    all: Taken,
    of_agents: HashMap<String, Taken>,
}

impl Room {
    /// Some of what was counted is gone.
    pub(super) fn forget(&mut self) {
        self.counted = None;
    }

    /// Lets a file in, if there is room for it in `storage` bytes.
    pub(super) async fn take(
        &mut self,
        files: &Typed<FileDocument>,
        document: &FileDocument,
        storage: u64,
    ) -> Result<(), FileError> {
        if self.counted.is_none_or(|at| at.elapsed() >= FRESH) {
            self.count(files).await?;
        }
        let size = document.file.size;
        if self.all.bytes.saturating_add(size) > storage || self.all.files >= MOST_FILES {
            return Err(FileError::NoRoom(storage));
        }
        if !document.agent_id.is_empty() {
            let of_agent = self.of_agents.entry(document.agent_id.clone()).or_default();
            if of_agent.files >= MOST_OF_AGENT {
                return Err(FileError::TooMany(MOST_OF_AGENT));
            }
            if of_agent.bytes.saturating_add(size) > storage / SHARE_OF_AGENT {
                return Err(FileError::NoRoom(storage / SHARE_OF_AGENT));
            }
            of_agent.add(document);
        }
        self.all.add(document);
        Ok(())
    }

    async fn count(&mut self, files: &Typed<FileDocument>) -> Result<(), Error> {
        let (mut all, mut of_agents) = (Taken::default(), HashMap::<String, Taken>::new());
        let mut request = ListRequest { limit: Some(COUNTED_TOGETHER), ..ListRequest::all() };
        loop {
            let (listing, next) = files.page(request).await?;
            for file in &listing.values {
                all.add(&file.value);
                of_agents.entry(file.value.agent_id.clone()).or_default().add(&file.value);
            }
            if next.is_none() {
                break;
            }
            request = ListRequest { limit: Some(COUNTED_TOGETHER), page: next, ..ListRequest::all() };
        }
        *self = Room { counted: Some(Instant::now()), all, of_agents };
        Ok(())
    }
}
