//! What is left of a write that did not end well. A task that fails or is given up deletes its own files; those of tasks that had ended are known from their reports,
//! but a report may be lost on its way when another task fails. So files are looked for by the name of the write, which all of theirs have in them.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use nunatak_catalog::Table;
use nunatak_catalog::storage::{FileStatus, Storage};
use nunatak_core::Result;

use super::location::{data_folder, name_in_files};

/// How long whoever waits for an error waits for files to be found: where there are very many, they are deleted after that.
const SWEEP: Duration = Duration::from_secs(5);

/// After this nobody writes any more on behalf of a write that has failed.
const LATE: Duration = Duration::from_secs(10);

/// A write that has not ended yet. Dropped before it has, it deletes what it has left.
#[derive(Debug)]
pub struct Unfinished {
    /// `None` once it has ended.
    left: Option<Left>,
}

/// Where files of a write lie, and what their names hold.
#[derive(Clone, Debug)]
struct Left {
    storage: Arc<Storage>,
    folder: String,
    name: String,
}

impl Unfinished {
    /// A write to a table, by the name of its [`WriteTarget`](super::WriteTarget).
    pub fn new(table: &Table, name: &str) -> Self {
        let left = Left { storage: Arc::clone(&table.storage), folder: data_folder(&table.metadata), name: name_in_files(name) };
        Self { left: Some(left) }
    }

    /// It has ended well: all of its files are known.
    pub fn ended(mut self) {
        self.left = None;
    }

    /// It has failed: deletes its files, those of tasks too that are about to end only now.
    pub async fn failed(self) {
        if let Some(left) = self.left.clone() {
            // What is left then goes later.
            let _ = tokio::time::timeout(SWEEP, left.sweep()).await;
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let (Some(left), Ok(runtime)) = (self.left.take(), tokio::runtime::Handle::try_current()) else { return };
        runtime.spawn(async move {
            tokio::time::sleep(LATE).await;
            left.sweep().await;
        });
    }
}

impl Left {
    async fn sweep(&self) {
        if let Err(error) = self.delete().await {
            tracing::warn!(%error, folder = self.folder, "files of a failed write could not be deleted");
        }
    }

    async fn delete(&self) -> Result<()> {
        let mut found = Vec::new();
        let mut files = self.storage.list(&self.folder)?;
        while let Some(FileStatus { location, .. }) = files.try_next().await? {
            if location.rsplit('/').next().is_some_and(|name| name.contains(&self.name)) {
                found.push(location);
            }
        }
        self.storage.delete_files(&found).await
    }
}
