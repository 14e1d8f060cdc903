//! Manifests that are written again, fewer and sorted by partition, so that planning reads fewer of them. The files that they list stay the same.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use nunatak_core::Result;

use super::CommitError;
use super::attempts::{changed, current};
use super::producer::Producer;
use super::retry::{Retries, RetryPolicy};
use super::snapshot::commit_staged;
use crate::backend::Catalog;
use crate::properties::number;
use crate::snapshot::{read_list, read_whole};
use crate::spec::{ManifestContentType, ManifestFile, Operation};
use crate::table::Table;

/// The size at which a manifest is closed and the next one begun, and its default.
pub(crate) const MANIFEST_TARGET_BYTES: (&str, u64) = ("commit.manifest.target-size-bytes", 8 * 1024 * 1024);

/// How many new manifests are made from what is in memory at a time.
const AT_A_TIME: u64 = 4;

/// What was done to a table's manifests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RewrittenManifests {
    /// How many are no longer in the table's head.
    pub replaced: usize,
    /// How many stand in their place.
    pub added: usize,
}

/// Writes the manifests of a branch's head again, those of data files and those of files of deletes each, where fewer can hold the same entries. When others have
/// written some of these again meanwhile, all of it once more on top of what they have made, as the table's `commit.retry.*` properties say.
///
/// Errors: those of reading manifests and of commits.
pub async fn rewrite_manifests(catalog: &dyn Catalog, base: &Table, summary: &BTreeMap<String, String>) -> Result<RewrittenManifests> {
    let mut retries = Retries::new(RetryPolicy::from_properties(base.metadata.properties())?);
    let mut table = base.clone();
    loop {
        let error = match rewrite(catalog, &table, summary).await {
            Ok(done) => return Ok(done),
            Err(CommitError::Conflict(error)) => error,
            Err(error) => return Err(error.into_error()),
        };
        retries.wait(error).await.map_err(|error| changed(base, "its manifests are other ones").with_source(error))?;
        table = current(catalog, base).await?;
    }
}

/// One attempt. `Conflict` when a manifest that it stands in place of is in the branch's head no more.
async fn rewrite(catalog: &dyn Catalog, base: &Table, summary: &BTreeMap<String, String>) -> Result<RewrittenManifests, CommitError> {
    let Some(head) = base.head() else { return Ok(RewrittenManifests::default()) };
    let target_bytes = target_bytes(base)?;
    let list = read_list(&base.storage, head.manifest_list(), base.metadata.format_version()).await?;
    let kept = list.len();
    let groups = small(list, target_bytes);
    let replaced = groups.values().map(Vec::len).sum();
    if replaced == 0 {
        return Ok(RewrittenManifests::default());
    }

    let mut producer = Producer::new(base, Operation::Replace);
    let staged = stage(&mut producer, base, groups.into_values(), target_bytes).await;
    let done = RewrittenManifests { replaced, added: producer.manifests().len() };
    let counts = [("manifests-replaced", done.replaced), ("manifests-created", done.added), ("manifests-kept", kept - done.replaced)];
    let counts = counts.into_iter().map(|(name, count)| (name.to_owned(), count.to_string()));
    let summary = summary.iter().map(|(key, value)| (key.clone(), value.clone())).chain(counts).collect();
    // What others commit between keeps its manifests, or the attempt finds that one of those that are replaced is there no more.
    commit_staged(catalog, base, producer, staged, &summary, |_| Ok(())).await?;
    Ok(done)
}

/// How many of the manifests of a table's snapshot [`rewrite_manifests`] would write again.
///
/// Errors: `INVALID_TABLE_PROPERTY`.
pub fn small_manifests(table: &Table, list: &[ManifestFile]) -> Result<usize> {
    Ok(small(list, target_bytes(table)?).values().map(Vec::len).sum())
}

fn target_bytes(table: &Table) -> Result<u64> {
    let (key, default) = MANIFEST_TARGET_BYTES;
    Ok(number(table.metadata.properties(), key, default)?.max(1))
}

/// The manifests of which fewer can hold the same entries, those that go together by kind and partition spec.
fn small<M: Borrow<ManifestFile>>(list: impl IntoIterator<Item = M>, target_bytes: u64) -> BTreeMap<(bool, i32), Vec<M>> {
    let mut groups: BTreeMap<(bool, i32), Vec<M>> = BTreeMap::new();
    for manifest in list.into_iter().filter(|manifest| bytes(manifest.borrow()) < target_bytes / 2) {
        let ManifestFile { content, partition_spec_id, .. } = manifest.borrow();
        let key = (*content == ManifestContentType::Data, *partition_spec_id);
        groups.entry(key).or_default().push(manifest);
    }
    groups.retain(|_, group| group.len() > 1);
    groups
}

fn bytes(manifest: &ManifestFile) -> u64 {
    u64::try_from(manifest.manifest_length).unwrap_or_default()
}

/// Writes the entries of each group into new manifests. Of a large group only so many are in memory at a time as fill a few of these.
async fn stage(producer: &mut Producer, base: &Table, groups: impl Iterator<Item = Vec<ManifestFile>>, target_bytes: u64) -> Result<()> {
    for group in groups {
        let (mut read, mut read_bytes) = (Vec::new(), 0);
        for manifest in group {
            read_bytes += bytes(&manifest);
            let whole = read_whole(&base.storage, manifest.clone(), base.metadata.current_schema()).await?;
            read.push((manifest, whole));
            if read_bytes >= AT_A_TIME * target_bytes {
                producer.replace_manifests(&base.metadata, std::mem::take(&mut read), target_bytes).await?;
                read_bytes = 0;
            }
        }
        producer.replace_manifests(&base.metadata, read, target_bytes).await?;
    }
    Ok(())
}
