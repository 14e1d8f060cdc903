//! Makes snapshots: writes manifests once and a manifest list per attempt, and says what is to be committed. Shared by every operation that makes
//! a snapshot; knows nothing of retries or catalogs.

use std::collections::BTreeMap;
use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::{ManifestListWriter, ManifestWriterBuilder};
use nunatak_core::{Code, Error, Result};
use uuid::Uuid;

use super::retry::number;
use super::summary::Changes;
use crate::backend::metadata_file::metadata_folder;
use crate::error::from_iceberg;
use crate::snapshot::{main_at, manifest_header, read_list, refs};
use crate::spec::{
    DataContentType, DataFile, FormatVersion, Literal, MAIN_BRANCH, ManifestFile, Operation, PartitionSpec, Snapshot, SnapshotRef, SnapshotReference,
    TableMetadata, TableRequirement, TableUpdate, UnboundPartitionField,
};
use crate::storage::Storage;
use crate::table::Table;

/// The size at which a manifest is closed and the next one begun, and its default.
const MANIFEST_TARGET_BYTES: (&str, u64) = ("commit.manifest.target-size-bytes", 8 * 1024 * 1024);

/// Tells the writer that a file inherits its sequence number from its commit, so that a retry need not write the manifest again.
const INHERIT_SEQUENCE_NUMBER: i64 = -1;

/// One snapshot on its way into a table, over all its attempts.
pub(super) struct Producer {
    storage: Arc<Storage>,
    file_io: FileIO,
    commit_uuid: Uuid,
    snapshot_id: i64,
    operation: Operation,
    manifests: Vec<ManifestFile>,
    changes: Changes,
}

/// What one attempt wrote and wants committed.
pub(super) struct Attempt {
    /// Its manifest list, to be deleted when it fails.
    pub(super) manifest_list: String,
    /// What must hold for the commit to be right.
    pub(super) requirements: Vec<TableRequirement>,
    /// The commit.
    pub(super) updates: Vec<TableUpdate>,
}

impl Producer {
    /// A producer of one snapshot for `table`.
    pub(super) fn new(table: &Table, operation: Operation) -> Self {
        Self {
            storage: Arc::clone(&table.storage),
            file_io: table.storage.file_io(),
            commit_uuid: Uuid::new_v4(),
            snapshot_id: new_snapshot_id(&table.metadata),
            operation,
            manifests: Vec::new(),
            changes: Changes::default(),
        }
    }

    /// The id that the snapshot will have.
    pub(super) fn snapshot_id(&self) -> i64 {
        self.snapshot_id
    }

    /// Writes the manifests of data files that are added, all of them written for one partition spec.
    pub(super) async fn add_data_files(&mut self, metadata: &TableMetadata, spec_id: i32, files: Vec<DataFile>) -> Result<()> {
        let spec = metadata.partition_spec_by_id(spec_id);
        let spec = spec.ok_or_else(|| Error::internal(format!("files were written for partition spec {spec_id}, which the table does not have")))?;
        let (key, default) = MANIFEST_TARGET_BYTES;
        let target_bytes = number(metadata.properties(), key, default)?.max(1);
        for file in &files {
            check(file, spec)?;
            self.changes.add(file, spec_id);
        }
        for files in split_by_bytes(files, target_bytes) {
            self.write_manifest(metadata, spec, files).await?;
        }
        Ok(())
    }

    async fn write_manifest(&mut self, metadata: &TableMetadata, spec: &PartitionSpec, files: Vec<DataFile>) -> Result<()> {
        let path = format!("{}/{}-m{}.avro", metadata_folder(metadata), self.commit_uuid, self.manifests.len());
        let failed = |error| from_iceberg(error, Code::IcebergCommitError, format!("cannot write manifest '{path}'"));
        let output = self.file_io.new_output(&path).map_err(failed)?;
        let spec = avro_spec(spec, metadata)?;
        let builder = ManifestWriterBuilder::new(output, Some(self.snapshot_id), metadata.current_schema().clone(), spec);
        let mut writer = match metadata.format_version() {
            FormatVersion::V1 => builder.build_v1(),
            FormatVersion::V2 => builder.build_v2_data(),
            FormatVersion::V3 => builder.build_v3_data(),
        };
        for file in files {
            writer.add_file(file, INHERIT_SEQUENCE_NUMBER).map_err(failed)?;
        }
        self.manifests.push(writer.write_manifest_file().await.map_err(failed)?);
        Ok(())
    }

    /// Writes the manifest list of one attempt on top of `table`: the new manifests and all those of the main branch's head.
    pub(super) async fn attempt(&self, table: &Table, attempt: u32, extra: &BTreeMap<String, String>) -> Result<Attempt> {
        let metadata = &table.metadata;
        let head = head(metadata);
        let carried = match &head {
            Some(head) => read_list(&self.storage, head.manifest_list(), metadata.format_version()).await?,
            None => Vec::new(),
        };
        let path = format!("{}/snap-{}-{attempt}-{}.avro", metadata_folder(metadata), self.snapshot_id, self.commit_uuid);
        let written = self.write_list(metadata, head.as_ref(), carried, &path).await;
        let prepared = match written {
            Ok(added_rows) => self.prepare(metadata, head.as_ref(), &path, added_rows, extra),
            Err(error) => Err(error),
        };
        if prepared.is_err() {
            self.delete(&[path]).await;
        }
        prepared
    }

    /// Returns the number of rows that got a row id (v3).
    async fn write_list(&self, metadata: &TableMetadata, head: Option<&SnapshotRef>, carried: Vec<ManifestFile>, path: &str) -> Result<u64> {
        let failed = |error| from_iceberg(error, Code::IcebergCommitError, format!("cannot write manifest list '{path}'"));
        let output = self.file_io.new_output(path).map_err(failed)?.writer().await.map_err(failed)?;
        let (id, parent, sequence_number) = (self.snapshot_id, head.map(|head| head.snapshot_id()), metadata.next_sequence_number());
        let first_row_id = metadata.next_row_id();
        let mut list = match metadata.format_version() {
            FormatVersion::V1 => ManifestListWriter::v1(output, id, parent),
            FormatVersion::V2 => ManifestListWriter::v2(output, id, parent, sequence_number),
            FormatVersion::V3 => ManifestListWriter::v3(output, id, parent, sequence_number, Some(first_row_id)),
        };
        list.add_manifests(self.manifests.iter().cloned().chain(carried)).map_err(failed)?;
        let next_row_id = list.next_row_id().unwrap_or(first_row_id);
        list.close().await.map_err(failed)?;
        Ok(next_row_id - first_row_id)
    }

    fn prepare(
        &self,
        metadata: &TableMetadata,
        head: Option<&SnapshotRef>,
        path: &str,
        added_rows: u64,
        extra: &BTreeMap<String, String>,
    ) -> Result<Attempt> {
        let summary = self.changes.summary(self.operation.clone(), head.map(|head| head.summary()), extra);
        let builder = Snapshot::builder()
            .with_snapshot_id(self.snapshot_id)
            .with_parent_snapshot_id(head.map(|head| head.snapshot_id()))
            .with_sequence_number(metadata.next_sequence_number())
            // Clocks of writers differ, but a table's time only goes forward.
            .with_timestamp_ms(chrono::Utc::now().timestamp_millis().max(metadata.last_updated_ms() + 1))
            .with_manifest_list(path)
            .with_summary(summary)
            .with_schema_id(metadata.current_schema_id());
        let snapshot = match metadata.format_version() {
            FormatVersion::V3 => builder.with_row_range(metadata.next_row_id(), added_rows).build(),
            FormatVersion::V1 | FormatVersion::V2 => builder.build(),
        };
        let requirements = vec![
            TableRequirement::UuidMatch { uuid: metadata.uuid() },
            TableRequirement::RefSnapshotIdMatch { r#ref: MAIN_BRANCH.to_owned(), snapshot_id: head.map(|head| head.snapshot_id()) },
        ];
        let reference = main_reference(metadata, self.snapshot_id)?;
        let updates = vec![TableUpdate::AddSnapshot { snapshot }, TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.to_owned(), reference }];
        Ok(Attempt { manifest_list: path.to_owned(), requirements, updates })
    }

    /// Deletes the manifests, when it is certain that no attempt was committed.
    pub(super) async fn clean_up(&self) {
        let manifests: Vec<String> = self.manifests.iter().map(|manifest| manifest.manifest_path.clone()).collect();
        self.delete(&manifests).await;
    }

    /// Deletes files that nothing refers to. What cannot be deleted is garbage and no reason to fail.
    pub(super) async fn delete(&self, files: &[String]) {
        if let Err(error) = self.storage.delete_files(files).await {
            tracing::warn!(%error, snapshot_id = self.snapshot_id, "files of a failed commit were left behind");
        }
    }
}

/// The head of the main branch.
fn head(metadata: &TableMetadata) -> Option<SnapshotRef> {
    metadata.current_snapshot().cloned()
}

/// The main branch at the new snapshot, with the retention settings it has.
fn main_reference(metadata: &TableMetadata, snapshot_id: i64) -> Result<SnapshotReference> {
    let mut reference = refs(metadata)?.remove(MAIN_BRANCH).unwrap_or_else(|| main_at(snapshot_id));
    reference.snapshot_id = snapshot_id;
    Ok(reference)
}

/// A random positive id that the table does not have.
fn new_snapshot_id(metadata: &TableMetadata) -> i64 {
    loop {
        let id = rand::random_range(1..=i64::MAX);
        if metadata.snapshot_by_id(id).is_none() {
            return id;
        }
    }
}

/// The spec with its field names in the spelling that Avro takes.
fn avro_spec(spec: &PartitionSpec, metadata: &TableMetadata) -> Result<PartitionSpec> {
    if spec.fields().iter().all(|field| manifest_header::is_plain(&field.name)) {
        return Ok(spec.clone());
    }
    let fields = spec.fields().iter().map(|field| UnboundPartitionField {
        source_id: field.source_id,
        field_id: Some(field.field_id),
        name: manifest_header::avro_name(&field.name),
        transform: field.transform,
    });
    let builder = PartitionSpec::builder(metadata.current_schema().clone()).with_spec_id(spec.spec_id()).add_unbound_fields(fields);
    let built = builder.and_then(|builder| builder.build());
    built
        .map_err(|error| from_iceberg(error, Code::NotSupported, format!("partition spec {} has a field name that Avro cannot hold", spec.spec_id())))
}

/// The crate's writer trusts these and panics where they do not hold.
fn check(file: &DataFile, spec: &PartitionSpec) -> Result<()> {
    if file.content_type() != DataContentType::Data {
        return Err(Error::internal(format!("'{}' is not a data file and cannot be appended", file.file_path())));
    }
    let values = file.partition().fields();
    let primitive = values.iter().flatten().all(|value| matches!(value, Literal::Primitive(_)));
    if values.len() != spec.fields().len() || !primitive {
        return Err(Error::internal(format!("the partition values of '{}' do not fit partition spec {}", file.file_path(), spec.spec_id())));
    }
    Ok(())
}

/// Splits files into runs of about `target_bytes` of manifest each.
fn split_by_bytes(files: Vec<DataFile>, target_bytes: u64) -> Vec<Vec<DataFile>> {
    let mut runs = Vec::new();
    let (mut run, mut run_bytes) = (Vec::new(), 0);
    for file in files {
        let bytes = entry_bytes(&file);
        if !run.is_empty() && run_bytes + bytes > target_bytes {
            runs.push(std::mem::take(&mut run));
            run_bytes = 0;
        }
        run_bytes += bytes;
        run.push(file);
    }
    if !run.is_empty() {
        runs.push(run);
    }
    runs
}

/// About what a file takes in a manifest: Avro writes ids and counts in few bytes.
fn entry_bytes(file: &DataFile) -> u64 {
    const FIXED: usize = 64;
    const COUNT: usize = 5;
    const BOUND: usize = 14;
    let counts = [file.column_sizes().len(), file.value_counts().len(), file.null_value_counts().len(), file.nan_value_counts().len()];
    let bounds = file.lower_bounds().len() + file.upper_bounds().len();
    let offsets = file.split_offsets().map_or(0, |offsets| offsets.len() * COUNT);
    (FIXED + file.file_path().len() + counts.iter().sum::<usize>() * COUNT + bounds * BOUND + offsets) as u64
}
