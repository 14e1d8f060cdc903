//! Makes snapshots: writes manifests once and a manifest list per attempt, and says what is to be committed. Shared by every operation that makes
//! a snapshot; knows nothing of retries or catalogs.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::{ManifestListWriter, ManifestWriter, ManifestWriterBuilder};
use nunatak_core::{Code, Error, Result};
use uuid::Uuid;

use super::CommitError;
use super::attempts::{Attempt, changed, delete_files};
use super::manifests::MANIFEST_TARGET_BYTES;
use super::summary::Changes;
use crate::backend::metadata_file::metadata_folder;
use crate::error::from_iceberg;
use crate::evolution::widened;
use crate::properties::number;
use crate::snapshot::{FileEntry, FileKey, WholeManifest, branch_at, has_live_files, manifest_header, read_list, read_whole, refs};
use crate::spec::{
    DataContentType, DataFile, DataFileBuilder, FormatVersion, Literal, MAIN_BRANCH, ManifestContentType, ManifestFile, ManifestStatus, Operation,
    PartitionSpec, Schema, Snapshot, SnapshotRef, Struct, StructType, TableMetadata, TableRequirement, TableUpdate, UnboundPartitionField,
};
use crate::storage::Storage;
use crate::table::Table;
use crate::uuid_partitions::UuidFields;

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
    removed: Removed,
    /// Locations of manifests of the head whose entries are in new ones.
    replaced: BTreeSet<String>,
}

/// Files that a snapshot removes.
#[derive(Clone, Debug, Default)]
struct Removed {
    data: BTreeSet<FileKey>,
    deletes: BTreeSet<FileKey>,
}

impl Removed {
    fn of(&self, content: ManifestContentType) -> &BTreeSet<FileKey> {
        match content {
            ManifestContentType::Data => &self.data,
            ManifestContentType::Deletes => &self.deletes,
        }
    }
}

/// The manifests of the head, without the files that are removed.
struct Carried {
    manifests: Vec<ManifestFile>,
    /// Those that were written for it.
    written: Vec<String>,
    changes: Changes,
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
            removed: Removed::default(),
            replaced: BTreeSet::new(),
        }
    }

    /// Removes files. An attempt fails if one of them is there no more.
    pub(super) fn remove(&mut self, data: BTreeSet<FileKey>, deletes: BTreeSet<FileKey>) {
        self.removed = Removed { data, deletes };
    }

    /// The id that the snapshot will have.
    pub(super) fn snapshot_id(&self) -> i64 {
        self.snapshot_id
    }

    /// Writes the manifests of data files that are added, all of them written for one partition spec. Files with rows that were in the table before have the
    /// sequence number of the snapshot that these were read from, so that deletes which others have committed since apply to them.
    pub(super) async fn add_data_files(
        &mut self,
        metadata: &TableMetadata,
        spec_id: i32,
        files: Vec<DataFile>,
        sequence_number: Option<i64>,
    ) -> Result<()> {
        let sequence_number = sequence_number.filter(|_| metadata.format_version() > FormatVersion::V1);
        self.add_files(metadata, spec_id, files, ManifestContentType::Data, sequence_number.unwrap_or(INHERIT_SEQUENCE_NUMBER)).await
    }

    /// Writes the manifests of delete files that are added, all of them for data files of one partition spec.
    pub(super) async fn add_delete_files(&mut self, metadata: &TableMetadata, spec_id: i32, files: Vec<DataFile>) -> Result<()> {
        self.add_files(metadata, spec_id, files, ManifestContentType::Deletes, INHERIT_SEQUENCE_NUMBER).await
    }

    async fn add_files(
        &mut self,
        metadata: &TableMetadata,
        spec_id: i32,
        files: Vec<DataFile>,
        content: ManifestContentType,
        sequence_number: i64,
    ) -> Result<()> {
        let spec = spec_of(metadata, spec_id)?;
        let (key, default) = MANIFEST_TARGET_BYTES;
        let target_bytes = number(metadata.properties(), key, default)?.max(1);
        for file in &files {
            check(file, spec, content)?;
            self.changes.add(file, spec_id);
        }
        for files in split_by_bytes(files, target_bytes) {
            let manifest = self.write_manifest(metadata, spec, files, content, sequence_number).await?;
            self.manifests.push(manifest);
        }
        Ok(())
    }

    /// Writes the live entries of manifests, all of one kind and one partition spec, into new ones of about `target_bytes` that stand in their place, sorted by
    /// partition. An attempt fails if one of the old ones is there no more.
    pub(super) async fn replace_manifests(
        &mut self,
        metadata: &TableMetadata,
        replaced: Vec<(ManifestFile, WholeManifest)>,
        target_bytes: u64,
    ) -> Result<()> {
        let Some((first, _)) = replaced.first() else { return Ok(()) };
        let (content, spec) = (first.content, spec_of(metadata, first.partition_spec_id)?);
        let old_bytes: u64 = replaced.iter().map(|(manifest, _)| u64::try_from(manifest.manifest_length).unwrap_or_default()).sum();
        // Others leave those out of which no file is left.
        let live = replaced.iter().filter(|(manifest, _)| has_live_files(manifest));
        self.replaced.extend(live.map(|(manifest, _)| manifest.manifest_path.clone()));
        let mut entries = Vec::new();
        for (_, whole) in replaced {
            let live = whole.entries.into_iter().zip(whole.inherited).filter(|(_, (status, _))| *status != ManifestStatus::Deleted);
            entries.extend(live.map(|(entry, (_, inherited))| (entry, inherited)));
        }
        entries.sort_by(|(_, one), (_, other)| by_partition(one.file.partition(), other.file.partition()));

        let entry_bytes = (old_bytes / entries.len().max(1) as u64).max(1);
        let entries_max = usize::try_from(target_bytes / entry_bytes).unwrap_or(usize::MAX).max(1);
        for entries in entries.chunks(entries_max) {
            let path = format!("{}/{}-m{}.avro", metadata_folder(metadata), self.commit_uuid, self.manifests.len());
            let failed = |error| from_iceberg(error, Code::IcebergCommitError, format!("cannot write manifest '{path}'"));
            let (mut writer, partition_type) = self.writer(metadata, schema_of(metadata, spec), spec, content, &path)?;
            for (entry, inherited) in entries {
                let partition = widened_partition(entry.data_file.partition(), &partition_type);
                let file = written_out(&entry.data_file, inherited, partition, metadata.format_version())?;
                let (data_number, file_number) = (inherited.data_sequence_number, Some(inherited.file_sequence_number));
                writer.add_existing_file(file, inherited.snapshot_id, data_number, file_number).map_err(failed)?;
            }
            let manifest = self.finish(writer, metadata, spec, &path).await?;
            self.manifests.push(manifest);
        }
        Ok(())
    }

    /// The manifests that were written.
    pub(super) fn manifests(&self) -> &[ManifestFile] {
        &self.manifests
    }

    async fn write_manifest(
        &self,
        metadata: &TableMetadata,
        spec: &PartitionSpec,
        files: Vec<DataFile>,
        content: ManifestContentType,
        sequence_number: i64,
    ) -> Result<ManifestFile> {
        let path = format!("{}/{}-m{}.avro", metadata_folder(metadata), self.commit_uuid, self.manifests.len());
        let failed = |error| from_iceberg(error, Code::IcebergCommitError, format!("cannot write manifest '{path}'"));
        let (mut writer, partition_type) = self.writer(metadata, schema_of(metadata, spec), spec, content, &path)?;
        for file in files {
            // Deletes have the partition of their data file, which may be older than the type.
            let partition = widened_partition(file.partition(), &partition_type);
            let file = rebuilt(&file, spec.spec_id(), partition, file.first_row_id())?;
            writer.add_file(file, sequence_number).map_err(failed)?;
        }
        self.finish(writer, metadata, spec, &path).await
    }

    /// A writer, and the type of the partition values that it takes.
    fn writer(
        &self,
        metadata: &TableMetadata,
        schema: &Arc<Schema>,
        spec: &PartitionSpec,
        content: ManifestContentType,
        path: &str,
    ) -> Result<(ManifestWriter, StructType)> {
        let failed = |error| from_iceberg(error, Code::IcebergCommitError, format!("cannot write manifest '{path}'"));
        let output = self.file_io.new_output(path).map_err(failed)?;
        let schema = UuidFields::of(metadata, spec).schema_to_write(schema)?;
        let partition_type = spec.partition_type(&schema).map_err(failed)?;
        let avro_spec = avro_spec(spec, &schema)?;
        let builder = ManifestWriterBuilder::new(output, Some(self.snapshot_id), schema, avro_spec);
        let writer = match (metadata.format_version(), content) {
            (FormatVersion::V1, _) => builder.build_v1(),
            (FormatVersion::V2, ManifestContentType::Data) => builder.build_v2_data(),
            (FormatVersion::V2, ManifestContentType::Deletes) => builder.build_v2_deletes(),
            (FormatVersion::V3, ManifestContentType::Data) => builder.build_v3_data(),
            (FormatVersion::V3, ManifestContentType::Deletes) => builder.build_v3_deletes(),
        };
        Ok((writer, partition_type))
    }

    /// Writes the last of a manifest.
    async fn finish(&self, writer: ManifestWriter, metadata: &TableMetadata, spec: &PartitionSpec, path: &str) -> Result<ManifestFile> {
        let failed = |error| from_iceberg(error, Code::IcebergCommitError, format!("cannot write manifest '{path}'"));
        let mut manifest = writer.write_manifest_file().await.map_err(failed)?;
        let uuids = UuidFields::of(metadata, spec);
        if !uuids.is_empty() {
            let written = manifest_header::with_uuids(&self.storage.read(path).await?, &uuids);
            let written = written.ok_or_else(|| Error::internal(format!("manifest '{path}' was written without a header")))?;
            manifest.manifest_length = i64::try_from(written.len()).unwrap_or(i64::MAX);
            self.storage.write(path, written.into()).await?;
        }
        Ok(manifest)
    }

    /// Writes the manifest list of one attempt on top of `table`: the new manifests and those of its branch's head, without the files that are removed.
    pub(super) async fn attempt(&self, table: &Table, attempt: u32, extra: &BTreeMap<String, String>) -> Result<Attempt, CommitError> {
        let metadata = &table.metadata;
        let head = table.head().cloned();
        let of_head = match &head {
            Some(head) => read_list(&self.storage, head.manifest_list(), metadata.format_version()).await?,
            None => Vec::new(),
        };
        let mut carried = Carried { manifests: Vec::with_capacity(of_head.len()), written: Vec::new(), changes: self.changes.clone() };
        let path = format!("{}/snap-{}-{attempt}-{}.avro", metadata_folder(metadata), self.snapshot_id, self.commit_uuid);
        let prepared = async {
            self.carry(table, of_head, attempt, &mut carried).await?;
            let added_rows = self.write_list(metadata, head.as_ref(), &carried.manifests, &path).await?;
            Ok(self.prepare(table, head.as_ref(), &carried.changes, &path, added_rows, extra)?)
        };
        let prepared = prepared.await;
        let mut files = carried.written;
        files.push(path);
        match prepared {
            Ok((requirements, updates)) => Ok(Attempt { files, requirements, updates }),
            Err(error) => {
                delete_files(&self.storage, &files).await;
                Err(error)
            }
        }
    }

    /// Carries manifests over. Those with files that are removed are written again without them; those of which no file is left stay with the snapshots that they have been
    /// written for, as in Java.
    async fn carry(&self, table: &Table, of_head: Vec<ManifestFile>, attempt: u32, carried: &mut Carried) -> Result<(), CommitError> {
        let mut left = self.removed.clone();
        let of_head = of_head.into_iter().filter(has_live_files);
        let (replaced, of_head): (Vec<_>, Vec<_>) = of_head.partition(|manifest| self.replaced.contains(&manifest.manifest_path));
        if replaced.len() != self.replaced.len() {
            return Err(CommitError::Conflict(changed(table, "manifests that were written again are there no more")));
        }
        for manifest in of_head {
            let wanted = match manifest.content {
                ManifestContentType::Data => &mut left.data,
                ManifestContentType::Deletes => &mut left.deletes,
            };
            if wanted.is_empty() {
                carried.manifests.push(manifest);
                continue;
            }
            let whole = read_whole(&self.storage, manifest.clone(), table.metadata.current_schema()).await?;
            let before = wanted.len();
            for (status, entry) in &whole.inherited {
                if *status != ManifestStatus::Deleted {
                    wanted.remove(&entry.key());
                }
            }
            let manifest = match wanted.len() == before {
                true => manifest,
                false => self.write_again(&table.metadata, &manifest, &whole, attempt, carried).await?,
            };
            carried.manifests.push(manifest);
        }
        match left.data.into_iter().chain(left.deletes).next() {
            Some((path, _)) => Err(CommitError::Conflict(changed(table, &format!("file '{path}' is there no more")))),
            None => Ok(()),
        }
    }

    /// Writes a manifest again, with the files that are removed marked as such.
    async fn write_again(
        &self,
        metadata: &TableMetadata,
        manifest: &ManifestFile,
        whole: &WholeManifest,
        attempt: u32,
        carried: &mut Carried,
    ) -> Result<ManifestFile> {
        let path = format!("{}/{}-a{attempt}-m{}.avro", metadata_folder(metadata), self.commit_uuid, carried.written.len());
        let failed = |error| from_iceberg(error, Code::IcebergCommitError, format!("cannot write manifest '{path}'"));
        let spec = spec_of(metadata, manifest.partition_spec_id)?;
        let (mut writer, _) = self.writer(metadata, &whole.schema, spec, manifest.content, &path)?;
        carried.written.push(path.clone());
        let removed = self.removed.of(manifest.content);
        for (entry, (status, inherited)) in whole.entries.iter().zip(&whole.inherited) {
            let file = written_out(&entry.data_file, inherited, entry.data_file.partition().clone(), metadata.format_version())?;
            let (data_number, file_number) = (inherited.data_sequence_number, Some(inherited.file_sequence_number));
            let added = match status {
                // Of an older snapshot.
                ManifestStatus::Deleted => Ok(()),
                _ if removed.contains(&inherited.key()) => {
                    carried.changes.remove(&file, inherited.spec_id);
                    writer.add_delete_file(file, data_number, file_number)
                }
                _ => writer.add_existing_file(file, inherited.snapshot_id, data_number, file_number),
            };
            added.map_err(failed)?;
        }
        self.finish(writer, metadata, spec, &path).await
    }

    /// Returns the number of rows that got a row id (v3).
    async fn write_list(&self, metadata: &TableMetadata, head: Option<&SnapshotRef>, carried: &[ManifestFile], path: &str) -> Result<u64> {
        let failed = |error| from_iceberg(error, Code::IcebergCommitError, format!("cannot write manifest list '{path}'"));
        let output = self.file_io.new_output(path).map_err(failed)?.writer().await.map_err(failed)?;
        let (id, parent, sequence_number) = (self.snapshot_id, head.map(|head| head.snapshot_id()), metadata.next_sequence_number());
        let first_row_id = metadata.next_row_id();
        let mut list = match metadata.format_version() {
            FormatVersion::V1 => ManifestListWriter::v1(output, id, parent),
            FormatVersion::V2 => ManifestListWriter::v2(output, id, parent, sequence_number),
            FormatVersion::V3 => ManifestListWriter::v3(output, id, parent, sequence_number, Some(first_row_id)),
        };
        list.add_manifests(self.manifests.iter().chain(carried).cloned()).map_err(failed)?;
        let next_row_id = list.next_row_id().unwrap_or(first_row_id);
        list.close().await.map_err(failed)?;
        Ok(next_row_id - first_row_id)
    }

    fn prepare(
        &self,
        table: &Table,
        head: Option<&SnapshotRef>,
        changes: &Changes,
        path: &str,
        added_rows: u64,
        extra: &BTreeMap<String, String>,
    ) -> Result<(Vec<TableRequirement>, Vec<TableUpdate>)> {
        let metadata = &table.metadata;
        let summary = changes.summary(self.operation.clone(), head.map(|head| head.summary()), extra);
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
        let mut requirements = vec![TableRequirement::UuidMatch { uuid: metadata.uuid() }];
        let mut updates = vec![TableUpdate::AddSnapshot { snapshot }];
        if let Some(branch) = table.branch.name() {
            requirements.push(is_still_at_head(metadata, branch));
            updates.push(moved(metadata, branch, self.snapshot_id)?);
        }
        Ok((requirements, updates))
    }

    /// Deletes the manifests, when it is certain that no attempt was committed.
    pub(super) async fn clean_up(&self) {
        let manifests: Vec<String> = self.manifests.iter().map(|manifest| manifest.manifest_path.clone()).collect();
        delete_files(&self.storage, &manifests).await;
    }
}

/// Requires that nobody has moved a branch since.
fn is_still_at_head(metadata: &TableMetadata, branch: &str) -> TableRequirement {
    let head = metadata.snapshot_for_ref(branch).or(metadata.current_snapshot().filter(|_| branch == MAIN_BRANCH));
    TableRequirement::RefSnapshotIdMatch { r#ref: branch.to_owned(), snapshot_id: head.map(|head| head.snapshot_id()) }
}

/// Moves a branch to another snapshot, with the retention settings it has.
pub(super) fn moved(metadata: &TableMetadata, branch: &str, snapshot_id: i64) -> Result<TableUpdate> {
    let mut reference = refs(metadata)?.remove(branch).unwrap_or_else(|| branch_at(snapshot_id));
    reference.snapshot_id = snapshot_id;
    Ok(TableUpdate::SetSnapshotRef { ref_name: branch.to_owned(), reference })
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
fn avro_spec(spec: &PartitionSpec, schema: &Arc<Schema>) -> Result<PartitionSpec> {
    if spec.fields().iter().all(|field| manifest_header::is_plain(&field.name)) {
        return Ok(spec.clone());
    }
    let fields = spec.fields().iter().map(|field| UnboundPartitionField {
        source_id: field.source_id,
        field_id: Some(field.field_id),
        name: manifest_header::avro_name(&field.name),
        transform: field.transform,
    });
    let builder = PartitionSpec::builder(Arc::clone(schema)).with_spec_id(spec.spec_id()).add_unbound_fields(fields);
    let built = builder.and_then(|builder| builder.build());
    built
        .map_err(|error| from_iceberg(error, Code::NotSupported, format!("partition spec {} has a field name that Avro cannot hold", spec.spec_id())))
}

fn spec_of(metadata: &TableMetadata, id: i32) -> Result<&Arc<PartitionSpec>> {
    metadata
        .partition_spec_by_id(id)
        .ok_or_else(|| Error::internal(format!("files were written for partition spec {id}, which the table does not have")))
}

/// The schema with which files of a partition spec are written down: the current one, or the last one that had all columns of the spec.
fn schema_of<'a>(metadata: &'a TableMetadata, spec: &PartitionSpec) -> &'a Arc<Schema> {
    let has_all = |schema: &&Arc<Schema>| spec.fields().iter().all(|field| schema.field_by_id(field.source_id).is_some());
    let current = metadata.current_schema();
    let last = || metadata.schemas_iter().filter(has_all).max_by_key(|schema| schema.schema_id());
    Some(current).filter(has_all).or_else(last).unwrap_or(current)
}

/// Partition values as those of a partition spec whose columns have got wider types since.
fn widened_partition(partition: &Struct, types: &StructType) -> Struct {
    let values = partition.fields().iter().zip(types.fields());
    Struct::from_iter(values.map(|(value, field)| value.clone().map(|value| widened(value, &field.field_type))))
}

/// The file with these partition values and the id of its first row written out: it may have been inherited from a manifest that is there no more.
fn written_out(file: &DataFile, inherited: &FileEntry, partition: Struct, version: FormatVersion) -> Result<DataFile> {
    let first_row_id = if version < FormatVersion::V3 { file.first_row_id() } else { inherited.first_row_id };
    rebuilt(file, inherited.spec_id, partition, first_row_id)
}

/// The file with these partition values and this id of its first row.
fn rebuilt(file: &DataFile, spec_id: i32, partition: Struct, first_row_id: Option<i64>) -> Result<DataFile> {
    if first_row_id == file.first_row_id() && partition == *file.partition() {
        return Ok(file.clone());
    }
    let mut builder = DataFileBuilder::default();
    builder
        .content(file.content_type())
        .file_path(file.file_path().to_owned())
        .file_format(file.file_format())
        .partition(partition)
        .partition_spec_id(spec_id)
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes())
        .column_sizes(file.column_sizes().clone())
        .value_counts(file.value_counts().clone())
        .null_value_counts(file.null_value_counts().clone())
        .nan_value_counts(file.nan_value_counts().clone())
        .lower_bounds(file.lower_bounds().clone())
        .upper_bounds(file.upper_bounds().clone())
        .key_metadata(file.key_metadata().map(<[u8]>::to_vec))
        .split_offsets(file.split_offsets().map(<[i64]>::to_vec))
        .equality_ids(file.equality_ids())
        .first_row_id(first_row_id)
        .referenced_data_file(file.referenced_data_file())
        .content_offset(file.content_offset())
        .content_size_in_bytes(file.content_size_in_bytes());
    if let Some(order) = file.sort_order_id() {
        builder.sort_order_id(order);
    }
    builder.build().map_err(|error| Error::internal(format!("the entry of '{}' cannot be written again", file.file_path())).with_source(error))
}

/// The order of partitions by their values, NULL first.
fn by_partition(one: &Struct, other: &Struct) -> Ordering {
    let order = |(one, other): (&Option<Literal>, &Option<Literal>)| match (one, other) {
        (Some(Literal::Primitive(one)), Some(Literal::Primitive(other))) => one.partial_cmp(other).unwrap_or(Ordering::Equal),
        (one, other) => one.is_some().cmp(&other.is_some()),
    };
    one.fields().iter().zip(other.fields()).map(order).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// The crate's writer trusts these and panics where they do not hold.
fn check(file: &DataFile, spec: &PartitionSpec, content: ManifestContentType) -> Result<()> {
    if (file.content_type() == DataContentType::Data) != (content == ManifestContentType::Data) {
        return Err(Error::internal(format!("'{}' cannot be added: data files and files of deletes have manifests of their own", file.file_path())));
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
