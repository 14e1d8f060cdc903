//! Expiry of snapshots: which ones a table's branches and tags no longer keep, and the files that go with them (table spec, "Snapshot Retention Policy").

use std::collections::{BTreeSet, HashSet};
use std::sync::Mutex;

use nunatak_core::Result;

use crate::adopted::AdoptedFiles;
use crate::backend::Catalog;
use crate::commit::change_metadata;
use crate::named_files;
use crate::properties::number;
use crate::snapshot::{self, ManifestCache, ancestors, refs};
use crate::spec::{MAIN_BRANCH, ManifestFile, Snapshot, SnapshotRef, SnapshotRetention, TableMetadata, TableUpdate};
use crate::storage::Location;
use crate::table::Table;

/// Iceberg's defaults: snapshots of the last five days are kept, and of each branch one.
pub(crate) const SNAPSHOT_AGE_MS: (&str, u64) = ("history.expire.max-snapshot-age-ms", 5 * 24 * 60 * 60 * 1000);
pub(crate) const SNAPSHOTS_MIN: (&str, u64) = ("history.expire.min-snapshots-to-keep", 1);
pub(crate) const REF_AGE_MS: (&str, u64) = ("history.expire.max-ref-age-ms", u64::MAX);

/// What is to expire, where the table's branches say nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expiry {
    /// Snapshots younger than this are kept; the table's properties say how old they may be without it. In milliseconds.
    pub snapshot_age_ms: Option<i64>,
    /// How many snapshots of each branch are kept, however old.
    pub snapshots_min: Option<i64>,
}

/// What has expired.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expired {
    /// The snapshots, by id.
    pub snapshots: BTreeSet<i64>,
    /// The branches and tags.
    pub refs: BTreeSet<String>,
    /// The files that no snapshot needs any more, and no other table either, without adopted ones: manifest lists, manifests, statistics, data files and files of deletes.
    /// Those that are deleted, if it has been done.
    pub files: Vec<String>,
    /// Such files that the store has not deleted: orphans from then on.
    pub left: Vec<String>,
}

/// Finds out what would expire now, without doing it.
///
/// Errors: `INVALID_TABLE_PROPERTY`, those of reading manifests, those of other tables at the same place too.
pub async fn expirable(catalog: &dyn Catalog, table: &Table, expiry: Expiry, now_ms: i64, cache: &ManifestCache) -> Result<Expired> {
    let mut expired = find(&table.metadata, expiry, now_ms)?;
    let kept = |snapshot: &Snapshot| !expired.snapshots.contains(&snapshot.snapshot_id());
    let (kept, gone): (Vec<_>, Vec<_>) = table.metadata.snapshots().partition(|snapshot| kept(snapshot));
    let mut files = only_of(table, &gone, &kept, cache).await?;
    files.extend(statistics_only_of(&table.metadata, &expired.snapshots));
    let adopted = AdoptedFiles::of(&table.metadata)?;
    files.retain(|file| !adopted.contain(file));
    if !files.is_empty() {
        let of_neighbours = named_files::of_neighbours(catalog, table, cache).await?;
        files.retain(|file| !Location::parse(file).is_ok_and(|place| of_neighbours.contains(&place)));
    }
    expired.files = files.into_iter().collect();
    Ok(expired)
}

/// How many snapshots would expire now. Reads nothing.
///
/// Errors: `INVALID_TABLE_PROPERTY`.
pub fn expired_snapshots(metadata: &TableMetadata, expiry: Expiry, now_ms: i64) -> Result<usize> {
    Ok(find(metadata, expiry, now_ms)?.snapshots.len())
}

/// Expires snapshots, then deletes the files that went with them. What cannot be deleted is left behind as an orphan.
///
/// Errors: `NOT_SUPPORTED` for a table whose files belong to someone else (`gc.enabled` is false), and those of [`expirable`] and of the commit.
pub async fn expire(catalog: &dyn Catalog, table: &Table, expiry: Expiry, now_ms: i64, cache: &ManifestCache) -> Result<Expired> {
    table.check_owns_files()?;
    // The table that the committed change was made for.
    let before = Mutex::new(table.clone());
    let lock = || before.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    change_metadata(catalog, table, |table| {
        table.clone_into(&mut lock());
        let expired = find(&table.metadata, expiry, now_ms)?;
        let mut updates: Vec<TableUpdate> = expired.refs.into_iter().map(|ref_name| TableUpdate::RemoveSnapshotRef { ref_name }).collect();
        if !expired.snapshots.is_empty() {
            for snapshot_id in expired.snapshots.iter().copied() {
                let of_columns = table.metadata.statistics_for_snapshot(snapshot_id).map(|_| TableUpdate::RemoveStatistics { snapshot_id });
                let of_partitions = table.metadata.partition_statistics_for_snapshot(snapshot_id);
                updates.extend(of_columns);
                updates.extend(of_partitions.map(|_| TableUpdate::RemovePartitionStatistics { snapshot_id }));
            }
            updates.push(TableUpdate::RemoveSnapshots { snapshot_ids: expired.snapshots.into_iter().collect() });
        }
        Ok(updates)
    })
    .await?;
    let before = lock().clone();
    let mut expired = expirable(catalog, &before, expiry, now_ms, cache).await?;
    let outcomes = before.storage.delete_each(&expired.files).await;
    let mut refused = None;
    for (file, outcome) in std::mem::take(&mut expired.files).into_iter().zip(outcomes) {
        match outcome {
            Ok(()) => expired.files.push(file),
            Err(error) => {
                refused.get_or_insert(error);
                expired.left.push(file);
            }
        }
    }
    if let Some(error) = refused {
        tracing::warn!(%error, files = expired.left.len(), table = %table.name, "files of expired snapshots were left behind");
    }
    Ok(expired)
}

/// Which snapshots, branches and tags of a table are to expire.
fn find(metadata: &TableMetadata, expiry: Expiry, now_ms: i64) -> Result<Expired> {
    let property = |(key, default)| number(metadata.properties(), key, default).map(|value| i64::try_from(value).unwrap_or(i64::MAX));
    let age_ms = expiry.snapshot_age_ms.map_or_else(|| property(SNAPSHOT_AGE_MS), Ok)?;
    let snapshots_min = expiry.snapshots_min.map_or_else(|| property(SNAPSHOTS_MIN), Ok)?;
    let ref_age_ms = property(REF_AGE_MS)?;
    let mut kept: HashSet<i64> = HashSet::new();
    let mut of_branches: HashSet<i64> = HashSet::new();
    let mut expired = Expired::default();
    for (name, reference) in refs(metadata)? {
        let (head, max_ref_age_ms) = match &reference.retention {
            SnapshotRetention::Branch { max_ref_age_ms, .. } | SnapshotRetention::Tag { max_ref_age_ms } => (reference.snapshot_id, *max_ref_age_ms),
        };
        let is_old = metadata
            .snapshot_by_id(head)
            .is_none_or(|snapshot| now_ms.saturating_sub(snapshot.timestamp_ms()) > max_ref_age_ms.unwrap_or(ref_age_ms));
        if name != MAIN_BRANCH && is_old {
            expired.refs.insert(name);
            continue;
        }
        match reference.retention {
            SnapshotRetention::Tag { .. } => {
                kept.insert(head);
            }
            SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, .. } => {
                let least = min_snapshots_to_keep.map_or(snapshots_min, i64::from).max(1);
                let oldest_ms = now_ms.saturating_sub(max_snapshot_age_ms.unwrap_or(age_ms));
                of_branches.extend(ancestors(metadata, Some(head)).map(|snapshot| snapshot.snapshot_id()));
                let young = (0_i64..)
                    .zip(ancestors(metadata, Some(head)))
                    .take_while(|(number, snapshot)| *number < least || snapshot.timestamp_ms() >= oldest_ms);
                kept.extend(young.map(|(_, snapshot)| snapshot.snapshot_id()));
            }
        }
    }
    let oldest_ms = now_ms.saturating_sub(age_ms);
    expired.snapshots = metadata
        .snapshots()
        .filter(|snapshot| {
            let id = snapshot.snapshot_id();
            // One that no branch has is kept for its age alone.
            !kept.contains(&id) && (of_branches.contains(&id) || snapshot.timestamp_ms() < oldest_ms)
        })
        .map(|snapshot| snapshot.snapshot_id())
        .collect();
    Ok(expired)
}

/// The files of statistics of columns and of partitions that only snapshots in `gone` have: others may have been given the same file.
fn statistics_only_of(metadata: &TableMetadata, gone: &BTreeSet<i64>) -> BTreeSet<String> {
    let of_columns = metadata.statistics_iter().map(|file| (file.snapshot_id, &file.statistics_path));
    let of_partitions = metadata.partition_statistics_iter().map(|file| (file.snapshot_id, &file.statistics_path));
    let (gone, kept): (Vec<_>, Vec<_>) = of_columns.chain(of_partitions).partition(|(snapshot_id, _)| gone.contains(snapshot_id));
    let kept: HashSet<&String> = kept.into_iter().map(|(_, path)| path).collect();
    gone.into_iter().map(|(_, path)| path).filter(|path| !kept.contains(path)).cloned().collect()
}

/// The files that snapshots in `gone` have and none in `kept` has.
async fn only_of(table: &Table, gone: &[&SnapshotRef], kept: &[&SnapshotRef], cache: &ManifestCache) -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    if gone.is_empty() {
        return Ok(files);
    }
    let kept_manifests = manifests(table, kept, cache).await?;
    let kept_paths: HashSet<&str> = kept_manifests.iter().map(|manifest| manifest.manifest_path.as_str()).collect();
    let mut gone_manifests = manifests(table, gone, cache).await?;
    gone_manifests.retain(|manifest| !kept_paths.contains(manifest.manifest_path.as_str()));

    snapshot::for_each_file(table, gone_manifests.clone(), cache, |path| {
        files.insert(path.to_owned());
    })
    .await?;
    if !files.is_empty() {
        snapshot::for_each_file(table, kept_manifests, cache, |path| {
            files.remove(path);
        })
        .await?;
    }
    files.extend(gone_manifests.into_iter().map(|manifest| manifest.manifest_path));
    files.extend(gone.iter().map(|snapshot| snapshot.manifest_list().to_owned()));
    Ok(files)
}

/// The manifests of snapshots, each once.
async fn manifests(table: &Table, snapshots: &[&SnapshotRef], cache: &ManifestCache) -> Result<Vec<ManifestFile>> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for snapshot in snapshots {
        let of_snapshot = snapshot::manifests(table, snapshot, cache).await?;
        all.extend(of_snapshot.iter().filter(|manifest| seen.insert(manifest.manifest_path.clone())).cloned());
    }
    Ok(all)
}
