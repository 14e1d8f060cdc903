//! Commits: what a change writes before it, what it requires, and what happens when another writer was faster.

pub mod append;
pub(crate) mod attempts;
mod cherry_pick;
mod effects;
mod manifests;
mod metadata;
mod producer;
mod refs;
mod replace;
mod retry;
pub mod row_delta;
mod snapshot;
mod summary;

use nunatak_core::Error;

pub use append::{append, append_to_staged, discard_staged};
pub use cherry_pick::{WAP_ID, cherry_pick, waiting};
pub(crate) use manifests::MANIFEST_TARGET_BYTES;
pub use manifests::{RewrittenManifests, rewrite_manifests, small_manifests};
pub use metadata::{change_metadata, set_current_snapshot};
pub use refs::{Existing, RefChange, ref_updates};
pub use replace::{Replacement, replace, replace_by_empty};
pub use retry::{Retries, RetryPolicy};
pub use row_delta::{Isolation, RowDelta, rewrite_files, row_delta};
pub use snapshot::Appended;

/// Why a compare-and-swap did not happen.
#[derive(Debug)]
pub enum CommitError {
    /// Another writer was faster: refresh the table, check again, try again.
    Conflict(Error),
    /// It may or may not have happened: look for the snapshot before anything is cleaned up.
    Unknown(Error),
    /// It did not happen and will not.
    Failed(Error),
}

impl From<Error> for CommitError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl CommitError {
    /// The error inside, for callers that do not try again.
    pub fn into_error(self) -> Error {
        match self {
            Self::Conflict(error) | Self::Unknown(error) | Self::Failed(error) => error,
        }
    }
}
