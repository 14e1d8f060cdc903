//! Publishing of a snapshot that another branch has, or none: its changes are made again on top of a branch's head.

use std::collections::BTreeMap;

use nunatak_core::{Code, Error, Result};

use super::CommitError;
use super::attempts::changed;
use super::metadata::{change_metadata, is_ancestor};
use super::producer::{Producer, moved};
use super::snapshot::{Appended, commit_staged};
use crate::backend::Catalog;
use crate::snapshot::{ancestors, read_list, read_whole};
use crate::spec::{DataFile, ManifestContentType, ManifestStatus, Operation, Snapshot, SnapshotRef};
use crate::table::Table;

/// The entry of a summary that names what a snapshot waits as, which nobody has published yet.
pub const WAP_ID: &str = "wap.id";

/// The same in the snapshot that has published it.
const PUBLISHED_WAP_ID: &str = "published-wap-id";

/// The snapshot that another one was made again from.
const SOURCE_SNAPSHOT_ID: &str = "source-snapshot-id";

/// The snapshot that waits under this id.
///
/// Errors: `NOT_FOUND`.
pub fn waiting(table: &Table, wap_id: &str) -> Result<i64> {
    let waits = |snapshot: &&SnapshotRef| property(snapshot, WAP_ID) == Some(wap_id);
    match table.metadata.snapshots().filter(waits).max_by_key(|snapshot| snapshot.sequence_number()) {
        Some(snapshot) => Ok(snapshot.snapshot_id()),
        None => Err(Error::new(Code::NotFound, format!("table '{}' has no snapshot that waits under the id '{wap_id}'", table.name))),
    }
}

/// Makes the changes of a snapshot again on top of the branch of `base`. If it was made from that branch's head, it becomes the head itself; otherwise it must
/// have added rows only, as Iceberg's other writers want it too.
///
/// Errors: `ICEBERG_INVALID_SNAPSHOT_ID`, `ALREADY_EXISTS` for one that is published, `NOT_SUPPORTED`, and those of commits.
pub async fn cherry_pick(catalog: &dyn Catalog, base: &Table, snapshot_id: i64, summary: &BTreeMap<String, String>) -> Result<Appended> {
    let Some(picked) = base.metadata.snapshot_by_id(snapshot_id) else { return Err(missing(base, snapshot_id)) };
    check_new(base, picked)?;
    let only_adds = picked.summary().operation == Operation::Append;
    if picked.parent_snapshot_id() == base.head_id() {
        match make_head(catalog, base, picked).await {
            Ok(table) => return Ok(Appended { table, snapshot_id }),
            // Another writer was faster: its changes stay, and rows that are added come on top of them.
            Err(error) if error.code() == Code::TransactionConflict && only_adds => {}
            Err(error) => return Err(error),
        }
    }
    if !only_adds {
        return Err(Error::not_supported(format!("snapshot {snapshot_id} of table '{}' cannot be published: it does more than add rows", base.name))
            .with_hint("only one that was made from the head of the branch may; run its statement again on the branch"));
    }
    let mut summary = summary.clone();
    summary.insert(SOURCE_SNAPSHOT_ID.to_owned(), snapshot_id.to_string());
    if let Some(wap_id) = property(picked, WAP_ID) {
        summary.insert(PUBLISHED_WAP_ID.to_owned(), wap_id.to_owned());
    }
    let mut producer = Producer::new(base, Operation::Append);
    let staged = async {
        for (spec_id, files) in added_files(base, picked).await? {
            producer.add_data_files(&base.metadata, spec_id, files, None).await?;
        }
        Ok(())
    };
    let staged = staged.await;
    // When it has expired, so have its files.
    let fits = |now: &Table| check_exists(now, picked).and_then(|()| check_new(now, picked)).map_err(CommitError::Failed);
    commit_staged(catalog, base, producer, staged, &summary, fits).await.map_err(|error| match error {
        CommitError::Conflict(error) => changed(base, "at each attempt to publish a snapshot").with_source(error),
        error => error.into_error(),
    })
}

/// Makes a snapshot that was made from the head of the branch of `base` the head itself.
///
/// Errors: `TRANSACTION_CONFLICT` when the branch has another head by then, whose changes would be lost; those of [`change_metadata`].
async fn make_head(catalog: &dyn Catalog, base: &Table, picked: &Snapshot) -> Result<Table> {
    let id = picked.snapshot_id();
    change_metadata(catalog, base, |now| {
        check_new(now, picked)?;
        check_exists(now, picked)?;
        if now.head_id() != picked.parent_snapshot_id() {
            return Err(changed(base, "its branch has another head"));
        }
        now.branch.name().map(|branch| moved(&now.metadata, branch, id)).into_iter().collect()
    })
    .await
}

fn missing(table: &Table, snapshot_id: i64) -> Error {
    Error::new(Code::IcebergInvalidSnapshotId, format!("snapshot {snapshot_id} does not exist in table '{}'", table.name))
}

/// That a table has the snapshot still.
fn check_exists(table: &Table, picked: &Snapshot) -> Result<()> {
    let id = picked.snapshot_id();
    table.metadata.snapshot_by_id(id).map(|_| ()).ok_or_else(|| missing(table, id))
}

/// That a branch has neither the snapshot nor its changes.
fn check_new(table: &Table, picked: &Snapshot) -> Result<()> {
    let id = picked.snapshot_id();
    let published = |what: String| Err(Error::new(Code::AlreadyExists, format!("{what} of table '{}' is published already", table.name)));
    if table.head_id().is_some_and(|head| is_ancestor(&table.metadata, head, id)) {
        return published(format!("snapshot {id}"));
    }
    let (source, wap_id) = (id.to_string(), property(picked, WAP_ID));
    for snapshot in ancestors(&table.metadata, table.head_id()) {
        if property(snapshot, SOURCE_SNAPSHOT_ID) == Some(&source) {
            return published(format!("snapshot {id}"));
        }
        if let Some(wap_id) = wap_id.filter(|id| has_wap_id(snapshot, id)) {
            return published(format!("what waits under the id '{wap_id}'"));
        }
    }
    Ok(())
}

/// That no snapshot of a table has the id under which a new one with this summary is to wait: a job that runs again must not bring its rows twice.
///
/// Errors: `ALREADY_EXISTS`.
pub(super) fn check_wap_id(table: &Table, summary: &BTreeMap<String, String>) -> Result<()> {
    let Some(wap_id) = summary.get(WAP_ID) else { return Ok(()) };
    let Some(snapshot) = table.metadata.snapshots().find(|snapshot| has_wap_id(snapshot, wap_id)) else { return Ok(()) };
    let known = format!("table '{}' has changes under the wap_id '{wap_id}' already: snapshot {}", table.name, snapshot.snapshot_id());
    Err(Error::new(Code::AlreadyExists, known).with_hint("publish_changes publishes them unless that is done; other changes need another wap_id"))
}

/// Whether a snapshot waits under an id, or has published what waited under it.
fn has_wap_id(snapshot: &Snapshot, wap_id: &str) -> bool {
    [WAP_ID, PUBLISHED_WAP_ID].iter().any(|key| property(snapshot, key) == Some(wap_id))
}

fn property<'a>(snapshot: &'a Snapshot, key: &str) -> Option<&'a str> {
    snapshot.summary().additional_properties.get(key).map(String::as_str)
}

/// The data files that a snapshot has added, by partition spec.
async fn added_files(table: &Table, snapshot: &Snapshot) -> Result<BTreeMap<i32, Vec<DataFile>>> {
    let mut files: BTreeMap<i32, Vec<DataFile>> = BTreeMap::new();
    for manifest in read_list(&table.storage, snapshot.manifest_list(), table.metadata.format_version()).await? {
        if manifest.added_snapshot_id != snapshot.snapshot_id() || manifest.content != ManifestContentType::Data {
            continue;
        }
        let spec_id = manifest.partition_spec_id;
        let whole = read_whole(&table.storage, manifest, table.metadata.current_schema()).await?;
        let added = whole.entries.iter().zip(&whole.inherited).filter(|(_, (status, _))| *status == ManifestStatus::Added);
        files.entry(spec_id).or_default().extend(added.map(|(entry, _)| entry.data_file.clone()));
    }
    Ok(files)
}
