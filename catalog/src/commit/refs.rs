//! Changes of branches and tags (table spec, "Snapshot References").

use nunatak_core::{Code, Error, Result};

use super::metadata::is_ancestor;
use crate::snapshot::refs;
use crate::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention, TableUpdate};
use crate::table::Table;

/// A change of a branch or tag.
#[derive(Clone, Debug, PartialEq)]
pub enum RefChange {
    /// A new one.
    Create {
        /// Its name.
        name: String,
        /// Its snapshot; the current one without it.
        snapshot_id: Option<i64>,
        /// How long it and its snapshots are kept, and whether it is a branch or a tag.
        retention: SnapshotRetention,
        /// What becomes of one of that name.
        existing: Existing,
    },
    /// One goes. Its snapshots stay until they expire.
    Drop {
        /// Its name.
        name: String,
        /// Whether it is meant to be a branch.
        is_branch: bool,
        /// Whether a missing one is fine.
        if_exists: bool,
    },
    /// A branch goes on to the head of another one, which has all of its snapshots.
    FastForward {
        /// The branch.
        name: String,
        /// The other branch, or a tag.
        to: String,
    },
}

/// What becomes of a branch or tag of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// The statement fails.
    Refused,
    /// It stays as it is.
    Kept,
    /// The new one takes its place.
    Replaced,
}

/// What makes a change of a branch or tag, for [`change_metadata`](super::change_metadata).
///
/// Errors: `ALREADY_EXISTS`, `NOT_FOUND`, `ICEBERG_INVALID_SNAPSHOT_ID`, `INVALID_ARGUMENTS` for a tag where a branch is meant and the other way round.
pub fn ref_updates(table: &Table, change: &RefChange) -> Result<Vec<TableUpdate>> {
    let known = refs(&table.metadata)?;
    let find = |name: &str| {
        known.get(name).ok_or_else(|| {
            let names: Vec<&str> = known.keys().map(String::as_str).collect();
            Error::new(Code::NotFound, format!("table '{}' has no branch or tag '{name}'", table.name))
                .with_hint(format!("there are {}", names.join(", ")))
        })
    };
    match change {
        RefChange::Create { name, snapshot_id, retention, existing } => {
            match (known.get(name), existing) {
                (Some(_), Existing::Kept) => return Ok(Vec::new()),
                (Some(_), Existing::Refused) => {
                    return Err(Error::new(Code::AlreadyExists, format!("table '{}' has a branch or tag '{name}' already", table.name)));
                }
                (Some(known), Existing::Replaced) => check_kind(name, known, matches!(retention, SnapshotRetention::Branch { .. }))?,
                (None, _) => {}
            }
            let snapshot_id = snapshot_id.or(table.metadata.current_snapshot_id()).ok_or_else(|| {
                Error::new(Code::IcebergInvalidSnapshotId, format!("table '{}' has no snapshot that '{name}' could name", table.name))
                    .with_hint("write rows into it first")
            })?;
            if table.metadata.snapshot_by_id(snapshot_id).is_none() {
                return Err(Error::new(Code::IcebergInvalidSnapshotId, format!("snapshot {snapshot_id} does not exist in table '{}'", table.name)));
            }
            let reference = SnapshotReference { snapshot_id, retention: retention.clone() };
            Ok(vec![TableUpdate::SetSnapshotRef { ref_name: name.clone(), reference }])
        }
        RefChange::Drop { name, if_exists: true, .. } if !known.contains_key(name) => Ok(Vec::new()),
        RefChange::Drop { name, is_branch, .. } => {
            check_kind(name, find(name)?, *is_branch)?;
            if name == MAIN_BRANCH {
                return Err(Error::not_supported("the main branch cannot be dropped"));
            }
            Ok(vec![TableUpdate::RemoveSnapshotRef { ref_name: name.clone() }])
        }
        RefChange::FastForward { name, to } => {
            let (from, to) = (find(name)?, find(to)?.snapshot_id);
            check_kind(name, from, true)?;
            if from.snapshot_id == to {
                return Ok(Vec::new());
            }
            if !is_ancestor(&table.metadata, to, from.snapshot_id) {
                return Err(Error::new(Code::InvalidArguments, format!("branch '{name}' has snapshots that it would lose"))
                    .with_hint("only a branch that the other one began from can be fast-forwarded to it"));
            }
            let reference = SnapshotReference { snapshot_id: to, retention: from.retention.clone() };
            Ok(vec![TableUpdate::SetSnapshotRef { ref_name: name.clone(), reference }])
        }
    }
}

fn check_kind(name: &str, known: &SnapshotReference, branch: bool) -> Result<()> {
    let kind = |branch| if branch { "branch" } else { "tag" };
    if known.is_branch() == branch {
        return Ok(());
    }
    Err(Error::new(Code::InvalidArguments, format!("'{name}' is a {}, not a {}", kind(known.is_branch()), kind(branch))))
}
