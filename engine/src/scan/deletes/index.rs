//! Which deletes apply to a data file, by the rules of the spec's section "Scan Planning".

use std::collections::HashMap;
use std::sync::Arc;

use nunatak_catalog::snapshot::FileEntry;
use nunatak_catalog::spec::{DataContentType, DataFileFormat, Datum, PrimitiveLiteral, Struct, TableMetadata};
use nunatak_core::{Code, Error, Result};

use super::{DeleteFile, DeletionVector, EqualityDeletes, FileDeletes};

/// The id of the column `file_path` in files of position deletes (spec, "Reserved Field IDs").
pub(super) const FILE_PATH_ID: i32 = i32::MAX - 101;

/// The deletes of a snapshot, by what they apply to.
#[derive(Debug, Default)]
pub struct DeleteIndex {
    vectors: HashMap<String, Dated<DeletionVector>>,
    /// Position deletes of one data file.
    of_file: HashMap<String, Vec<Dated<DeleteFile>>>,
    /// By partition spec and values.
    in_partition: HashMap<i32, HashMap<Struct, InPartition>>,
    /// Equality deletes that were written without a partition apply to all.
    everywhere: Vec<EqualityDeletes>,
}

#[derive(Debug, Default)]
struct InPartition {
    positions: Vec<(Arc<FileEntry>, Dated<DeleteFile>)>,
    equality: Vec<EqualityDeletes>,
}

/// Deletes and their data sequence number.
#[derive(Debug)]
struct Dated<T> {
    sequence_number: i64,
    value: T,
}

impl<T: Clone> Dated<T> {
    /// Position deletes apply to data files of their own commit too.
    fn for_data(&self, data: &FileEntry) -> Option<T> {
        (self.sequence_number >= data.data_sequence_number).then(|| self.value.clone())
    }
}

impl DeleteIndex {
    /// Sorts the delete files of a snapshot. Errors: `NOT_SUPPORTED` for a format that is not read, `ICEBERG_INVALID_METADATA`.
    pub fn new(metadata: &TableMetadata, deletes: Vec<Arc<FileEntry>>) -> Result<Self> {
        let mut index = Self::default();
        for entry in deletes {
            index.add(metadata, entry)?;
        }
        Ok(index)
    }

    fn add(&mut self, metadata: &TableMetadata, entry: Arc<FileEntry>) -> Result<()> {
        let (file, sequence_number) = (&entry.file, entry.data_sequence_number);
        match (file.content_type(), file.file_format()) {
            (DataContentType::PositionDeletes, DataFileFormat::Puffin) => {
                let path = file.referenced_data_file().ok_or_else(|| damaged(&entry, "it names no data file"))?;
                let vector = Dated { sequence_number, value: deletion_vector(&entry)? };
                if let Some(other) = self.vectors.insert(path.clone(), vector) {
                    return Err(damaged(&entry, &format!("data file '{path}' has another deletion vector, in '{}'", other.value.path)));
                }
            }
            (DataContentType::PositionDeletes, DataFileFormat::Parquet) => {
                let dated = Dated { sequence_number, value: delete_file(&entry) };
                match only_path(&entry) {
                    Some(path) => self.of_file.entry(path).or_default().push(dated),
                    None => self.partition_of(&entry).positions.push((Arc::clone(&entry), dated)),
                }
            }
            (DataContentType::EqualityDeletes, DataFileFormat::Parquet) => {
                let deletes = equality_deletes(&entry)?;
                match metadata.partition_spec_by_id(entry.spec_id) {
                    Some(spec) if spec.is_unpartitioned() => self.everywhere.push(deletes),
                    _ => self.partition_of(&entry).equality.push(deletes),
                }
            }
            (DataContentType::Data, _) => return Err(damaged(&entry, "it is listed as a delete file, and is a data file")),
            (_, format) => return Err(Error::not_supported(format!("delete file '{}' is {format}, and only parquet is read", file.file_path()))),
        }
        Ok(())
    }

    fn partition_of(&mut self, entry: &FileEntry) -> &mut InPartition {
        self.in_partition.entry(entry.spec_id).or_default().entry(entry.file.partition().clone()).or_default()
    }

    /// What applies to each of these data files; `None` where nothing does.
    pub fn of_all(&self, files: &[&FileEntry]) -> Vec<Option<Arc<FileDeletes>>> {
        let mut all: Vec<Option<FileDeletes>> = files.iter().map(|data| self.of(data)).collect();
        // What applies to a younger file is a part of what applies to an older one of its partition. With the same list they share one set of values, in
        // which each has its sequence number.
        let mut longest: HashMap<(i32, &Struct), Vec<EqualityDeletes>> = HashMap::new();
        for (data, deletes) in files.iter().zip(&all) {
            let Some(deletes) = deletes.as_ref().filter(|deletes| !deletes.equality.is_empty()) else { continue };
            let known = longest.entry((data.spec_id, data.file.partition())).or_default();
            if deletes.equality.len() > known.len() {
                known.clone_from(&deletes.equality);
            }
        }
        for (data, deletes) in files.iter().zip(&mut all) {
            if let Some(deletes) = deletes.as_mut().filter(|deletes| !deletes.equality.is_empty())
                && let Some(longest) = longest.get(&(data.spec_id, data.file.partition()))
            {
                deletes.equality.clone_from(longest);
            }
        }
        all.into_iter().map(|deletes| deletes.map(Arc::new)).collect()
    }

    /// What applies to a data file; `None` if nothing does.
    pub fn of(&self, data: &FileEntry) -> Option<FileDeletes> {
        let path = data.file.file_path();
        let partition = self.in_partition.get(&data.spec_id).and_then(|partitions| partitions.get(data.file.partition()));
        let vector = self.vectors.get(path).and_then(|vector| vector.for_data(data));
        let positions = match vector {
            Some(_) => Vec::new(),
            None => {
                let in_partition = partition.into_iter().flat_map(|partition| &partition.positions);
                let in_partition = in_partition.filter(|(entry, _)| may_name(entry, path)).map(|(_, dated)| dated);
                self.of_file.get(path).into_iter().flatten().chain(in_partition).filter_map(|dated| dated.for_data(data)).collect()
            }
        };
        let equality = self.everywhere.iter().chain(partition.into_iter().flat_map(|partition| &partition.equality));
        let equality: Vec<_> = equality.filter(|deletes| deletes.sequence_number > data.data_sequence_number).cloned().collect();
        (vector.is_some() || !positions.is_empty() || !equality.is_empty()).then(|| FileDeletes {
            path: path.to_owned(),
            sequence_number: data.data_sequence_number,
            row_count: data.file.record_count(),
            positions,
            vector,
            equality,
        })
    }
}

/// The one data file that a file of position deletes is about, if its metadata says so.
fn only_path(entry: &FileEntry) -> Option<String> {
    entry.file.referenced_data_file().or_else(|| {
        let (lower, upper) = path_bounds(entry);
        // Bounds of texts may be cut, and are then not equal.
        lower.filter(|lower| Some(*lower) == upper).map(str::to_owned)
    })
}

/// Whether a file of position deletes may name a data file, by the bounds of its paths.
fn may_name(entry: &FileEntry, path: &str) -> bool {
    let (lower, upper) = path_bounds(entry);
    lower.is_none_or(|lower| lower <= path) && upper.is_none_or(|upper| path <= upper)
}

fn path_bounds(entry: &FileEntry) -> (Option<&str>, Option<&str>) {
    (text(entry.file.lower_bounds().get(&FILE_PATH_ID)), text(entry.file.upper_bounds().get(&FILE_PATH_ID)))
}

fn text(bound: Option<&Datum>) -> Option<&str> {
    match bound?.literal() {
        PrimitiveLiteral::String(text) => Some(text),
        _ => None,
    }
}

fn delete_file(entry: &FileEntry) -> DeleteFile {
    let file = &entry.file;
    DeleteFile { path: file.file_path().to_owned(), size: file.file_size_in_bytes(), row_count: file.record_count() }
}

fn deletion_vector(entry: &FileEntry) -> Result<DeletionVector> {
    let range = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
    match (range(entry.file.content_offset()), range(entry.file.content_size_in_bytes())) {
        (Some(offset), Some(length)) => {
            Ok(DeletionVector { path: entry.file.file_path().to_owned(), offset, length, cardinality: entry.file.record_count() })
        }
        _ => Err(damaged(entry, "its metadata does not say where the deletion vector lies")),
    }
}

fn equality_deletes(entry: &FileEntry) -> Result<EqualityDeletes> {
    let mut field_ids = entry.file.equality_ids().filter(|ids| !ids.is_empty()).ok_or_else(|| damaged(entry, "it names no columns"))?;
    field_ids.sort_unstable();
    field_ids.dedup();
    Ok(EqualityDeletes { file: delete_file(entry), sequence_number: entry.data_sequence_number, field_ids })
}

fn damaged(entry: &FileEntry, what: &str) -> Error {
    Error::new(Code::IcebergInvalidMetadata, format!("delete file '{}' is listed wrongly: {what}", entry.file.file_path()))
}
