//! Commits: what a change writes before it, what it requires, and what happens when another writer was faster.

mod adopt;
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
mod turns;

use nunatak_core::{Code, Error};

pub use adopt::{adopt, check_absent};
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

/// What begins the error of a back end that does not know whether a change was made, and does not know of which table.
pub(crate) const CHANGE_UNKNOWN: &str = "it is not known whether the change was made: ";

/// The error for a change of which nobody knows whether `what` is true; `why` is what came in the place of an answer, and says from whom.
pub(crate) fn unknown(what: &str, why: Error) -> Error {
    let reason = why.message().strip_prefix(CHANGE_UNKNOWN).unwrap_or(why.message());
    Error::new(Code::CommitStateUnknown, format!("it is not known whether {what}: {reason}")).with_source(why)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_says_who_gave_no_answer() {
        let told = unknown("table 's.t' was replaced", Error::new(Code::CatalogUnavailable, "PostgreSQL at h:1 is gone"));
        assert_eq!(told.message(), "it is not known whether table 's.t' was replaced: PostgreSQL at h:1 is gone");
        let once = unknown("table 's.t' was replaced", Error::new(Code::CommitStateUnknown, format!("{CHANGE_UNKNOWN}PostgreSQL at h:1 is gone")));
        assert_eq!((once.code(), once.message()), (Code::CommitStateUnknown, told.message()));
    }
}
