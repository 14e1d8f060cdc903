//! Which deletes apply to a data file, by the rules of the spec's section "Scan Planning".

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use nunatak_catalog::evolution::comparable_partition;
use nunatak_catalog::snapshot::{FileEntry, FileKey};
use nunatak_catalog::spec::{DataContentType, DataFile, DataFileFormat, Datum, PrimitiveLiteral, Struct, TableMetadata};
use nunatak_core::{Code, Error, Result};

use super::{DeleteFile, DeletionVector, EqualityDeletes, FileDeletes};

/// The id of the column `file_path` in files of position deletes (spec, "Reserved Field IDs").
pub(crate) const FILE_PATH_ID: i32 = i32::MAX - 101;

/// The deletes of a snapshot, by what they apply to.
#[derive(Clone, Debug, Default)]
pub struct DeleteIndex {
    vectors: HashMap<String, Dated<DeletionVector>>,
    /// Position deletes of one data file.
    of_file: HashMap<String, Vec<Dated<DeleteFile>>>,
    /// By partition spec and [comparable](comparable_partition) values.
    in_partition: HashMap<i32, HashMap<Struct, InPartition>>,
    /// Equality deletes that were written without a partition apply to all.
    everywhere: Vec<EqualityDeletes>,
}

#[derive(Clone, Debug, Default)]
struct InPartition {
    positions: Vec<(PathBounds, Dated<DeleteFile>)>,
    equality: Vec<EqualityDeletes>,
}

/// Deletes and their data sequence number.
#[derive(Clone, Debug)]
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
        let sequence_number = entry.data_sequence_number;
        match position_deletes(&entry)? {
            Some(PositionDeletes::Vector(path, value)) => {
                if let Some(other) = self.vectors.insert(path.clone(), Dated { sequence_number, value }) {
                    return Err(damaged(&entry, &format!("data file '{path}' has another deletion vector, in '{}'", other.value.path)));
                }
            }
            Some(PositionDeletes::File(value)) => {
                let dated = Dated { sequence_number, value };
                let bounds = PathBounds::of(&entry);
                match bounds.only(&entry) {
                    Some(path) => self.of_file.entry(path.to_owned()).or_default().push(dated),
                    None => self.partition_of(&entry).positions.push((bounds, dated)),
                }
            }
            None => {
                let deletes = equality_deletes(&entry)?;
                match metadata.partition_spec_by_id(entry.spec_id) {
                    Some(spec) if spec.is_unpartitioned() => self.everywhere.push(deletes),
                    _ => self.partition_of(&entry).equality.push(deletes),
                }
            }
        }
        Ok(())
    }

    /// These deletes and, after them, files of deletes of single data files that no snapshot has yet. A new deletion vector takes the place of an old one.
    pub fn with<'a>(&self, deletes: impl Iterator<Item = &'a DataFile>) -> Result<Self> {
        let mut index = self.clone();
        for file in deletes {
            let name = file.file_path().to_owned();
            let path = file.referenced_data_file().ok_or_else(|| Error::internal(format!("delete file '{name}' names no data file")))?;
            let range = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).unwrap_or_default();
            match file.file_format() {
                DataFileFormat::Puffin => {
                    let (offset, length) = (range(file.content_offset()), range(file.content_size_in_bytes()));
                    let value = DeletionVector { path: name, offset, length, cardinality: file.record_count() };
                    index.vectors.insert(path, Dated { sequence_number: i64::MAX, value });
                }
                _ => {
                    let value = DeleteFile { path: name, size: file.file_size_in_bytes(), row_count: file.record_count() };
                    index.of_file.entry(path).or_default().push(Dated { sequence_number: i64::MAX, value });
                }
            }
        }
        Ok(index)
    }

    /// The files of deletes that are about this data file alone, and so go with it.
    pub fn only_of<'a>(&'a self, path: &'a str) -> impl Iterator<Item = FileKey> + 'a {
        let vector = self.vectors.get(path).map(|dated| (dated.value.path.clone(), Some(path.to_owned())));
        let positions = self.of_file.get(path).into_iter().flatten().map(|dated| (dated.value.path.clone(), None));
        vector.into_iter().chain(positions)
    }

    /// The files of deletes that apply to none of these data files, which are all that there are.
    pub fn unused<'a>(&self, files: impl Iterator<Item = &'a Arc<FileEntry>>) -> BTreeSet<FileKey> {
        let mut unused: BTreeSet<FileKey> = self.vectors.iter().map(|(path, dated)| (dated.value.path.clone(), Some(path.clone()))).collect();
        unused.extend(self.of_file.values().flatten().map(|dated| (dated.value.path.clone(), None)));
        unused.extend(self.everywhere.iter().map(|deletes| (deletes.file.path.clone(), None)));
        for partition in self.in_partition.values().flat_map(HashMap::values) {
            unused.extend(partition.positions.iter().map(|(_, dated)| (dated.value.path.clone(), None)));
            unused.extend(partition.equality.iter().map(|deletes| (deletes.file.path.clone(), None)));
        }
        for data in files {
            if unused.is_empty() {
                break;
            }
            let Some(FileDeletes { path, positions, vector, equality, .. }) = self.of(data) else { continue };
            if let Some(vector) = vector {
                unused.remove(&(vector.path, Some(path)));
            }
            for used in positions.into_iter().chain(equality.into_iter().map(|deletes| deletes.file)) {
                unused.remove(&(used.path, None));
            }
        }
        unused
    }

    fn partition_of(&mut self, entry: &FileEntry) -> &mut InPartition {
        self.in_partition.entry(entry.spec_id).or_default().entry(comparable_partition(entry.file.partition())).or_default()
    }

    /// What applies to each of these data files; `None` where nothing does.
    pub fn of_all(&self, files: &[&Arc<FileEntry>]) -> Vec<Option<Arc<FileDeletes>>> {
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
        let of_spec = self.in_partition.get(&data.spec_id);
        let partition = of_spec.and_then(|partitions| partitions.get(&comparable_partition(data.file.partition())));
        let vector = self.vectors.get(path).and_then(|vector| vector.for_data(data));
        let positions = match vector {
            Some(_) => Vec::new(),
            None => {
                let in_partition = partition.into_iter().flat_map(|partition| &partition.positions);
                let in_partition = in_partition.filter(|(bounds, _)| bounds.may_name(path)).map(|(_, dated)| dated);
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

/// Rows deleted by position, as a manifest lists them.
pub(super) enum PositionDeletes {
    /// Of one data file.
    Vector(String, DeletionVector),
    File(DeleteFile),
}

/// What a delete file deletes by position; `None` if it deletes by value.
///
/// Errors: `NOT_SUPPORTED` for a format that is not read, `ICEBERG_INVALID_METADATA`.
pub(super) fn position_deletes(entry: &FileEntry) -> Result<Option<PositionDeletes>> {
    let file = &entry.file;
    match (file.content_type(), file.file_format()) {
        (DataContentType::PositionDeletes, DataFileFormat::Puffin) => {
            let path = file.referenced_data_file().ok_or_else(|| damaged(entry, "it names no data file"))?;
            Ok(Some(PositionDeletes::Vector(path.to_owned(), deletion_vector(entry)?)))
        }
        (DataContentType::PositionDeletes, DataFileFormat::Parquet) => Ok(Some(PositionDeletes::File(delete_file(entry)))),
        (DataContentType::EqualityDeletes, DataFileFormat::Parquet) => Ok(None),
        (DataContentType::Data, _) => Err(damaged(entry, "it is listed as a delete file, and is a data file")),
        (_, format) => Err(Error::not_supported(format!("delete file '{}' is {format}, and only parquet is read", file.file_path()))),
    }
}

/// The bounds of the paths in a file of position deletes.
#[derive(Clone, Debug)]
struct PathBounds {
    lower: Option<String>,
    upper: Option<String>,
}

impl PathBounds {
    fn of(entry: &FileEntry) -> Self {
        let metrics = entry.file.metrics(FILE_PATH_ID).unwrap_or_default();
        Self { lower: text(metrics.lower_bound), upper: text(metrics.upper_bound) }
    }

    /// The one data file that the file is about, if its metadata says so. Bounds of texts may be cut, and are then not equal.
    fn only<'a>(&'a self, entry: &'a FileEntry) -> Option<&'a str> {
        entry.file.referenced_data_file().or_else(|| self.lower.as_deref().filter(|_| self.lower == self.upper))
    }

    /// Whether the file may name a data file.
    fn may_name(&self, path: &str) -> bool {
        self.lower.as_deref().is_none_or(|lower| lower <= path) && self.upper.as_deref().is_none_or(|upper| path <= upper)
    }
}

fn text(bound: Option<Datum>) -> Option<String> {
    match bound?.literal() {
        PrimitiveLiteral::String(text) => Some(text.clone()),
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
    let field_ids = entry.file.equality_ids().filter(|ids| !ids.is_empty()).ok_or_else(|| damaged(entry, "it names no columns"))?;
    let mut field_ids = field_ids.to_vec();
    field_ids.sort_unstable();
    field_ids.dedup();
    Ok(EqualityDeletes { file: delete_file(entry), sequence_number: entry.data_sequence_number, field_ids })
}

fn damaged(entry: &FileEntry, what: &str) -> Error {
    Error::new(Code::IcebergInvalidMetadata, format!("delete file '{}' is listed wrongly: {what}", entry.file.file_path()))
}
