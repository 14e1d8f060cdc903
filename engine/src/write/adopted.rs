//! Parquet files that others have written, as data files of a table: what a manifest says of a file is read from its footer, and its partition from the folders that
//! it lies in (`name=value`, as Hive has them) or from the bounds of its columns.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, SchemaRef};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use nunatak_catalog::Table;
use nunatak_catalog::name_mapping::{self, NAME_MAPPING, Spellings};
use nunatak_catalog::spec::{DataFile, Datum, PartitionField, PrimitiveType, Transform, Type};
use nunatak_catalog::storage::{FileStatus, Location, Storage};
use nunatak_core::{Code, Error, Result};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

use super::adopted_values::{check_texts, check_unit, says_text, unit};
use super::bounds::bounds;
use super::file_schema::Leaf;
use super::metrics::describe;
use super::metrics_mode::{MetricsMode, MetricsModes};
use super::report::{FileReport, data_file};
use super::value::encode;
use crate::scan::field_id_cast::check_castable;
use crate::scan::names::{with_ids_any_case, with_names};
use crate::scan::types::{field_id, table_schema};
use crate::scan::values::datum_scalar;
use crate::transform;

/// How many footers are read at the same time.
const READS_MAX: usize = 16;

/// How much of a file's end is read first: most footers are shorter.
const PREFETCH_BYTES: usize = 64 * 1024;

/// The folder of rows without a value, in Hive.
const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Files as data files of a table.
#[derive(Clone, Debug, Default)]
pub struct Adopted {
    /// The data files, in the default partition spec.
    pub files: Vec<DataFile>,
    /// The name mapping that the table needs to read them, where it has none.
    pub name_mapping: Option<String>,
    /// What files call columns in other capitals than the mapping, which has to have these names too.
    pub spellings: Spellings,
}

/// Reads what a table has to know of Parquet files. `root` is the location below which folders can be values of partition columns.
///
/// Errors: `INVALID_ARGUMENTS` for a file that is no Parquet file, `NOT_SUPPORTED` for columns of types that cannot be read as those of the table,
/// `CONSTRAINT_VIOLATION` for NULL in columns that take none; `INVALID_ARGUMENTS` too where a file's partition cannot be told, where bytes are to be texts and are
/// none, and where a folder gives a value to a column that nothing would keep.
pub async fn adopt(table: &Table, root: &str, files: Vec<FileStatus>) -> Result<Adopted> {
    let iceberg = table.metadata.current_schema();
    let given = table.metadata.properties().get(NAME_MAPPING);
    let mapping = given.map_or_else(|| name_mapping::of_schema(iceberg), |mapping| Ok(mapping.clone()))?;
    let schema = with_names(table_schema(iceberg)?.as_ref(), &mapping)?;
    let adopter = Arc::new(Adopter { table: table.clone(), root: Location::parse(root)?, schema });
    let reads = files.into_iter().map(|file| {
        let adopter = Arc::clone(&adopter);
        async move { adopter.adopt(&file).await }
    });
    let adopted: Vec<(FileReport, bool, Spellings)> = futures::stream::iter(reads).buffered(READS_MAX).try_collect().await?;
    let needs_names = given.is_none() && adopted.iter().any(|(_, has_ids, _)| !has_ids);
    let (mut files, mut spellings) = (Vec::with_capacity(adopted.len()), Spellings::new());
    for (report, _, of_file) in adopted {
        files.push(data_file(report, table)?);
        of_file.into_iter().for_each(|(id, names)| spellings.entry(id).or_default().extend(names));
    }
    Ok(Adopted { files, name_mapping: needs_names.then_some(mapping), spellings })
}

struct Adopter {
    table: Table,
    root: Location,
    /// The table's columns, with their names in files without field ids.
    schema: SchemaRef,
}

impl Adopter {
    /// A file's report, whether it has field ids, and what it calls columns in other capitals.
    async fn adopt(&self, file: &FileStatus) -> Result<(FileReport, bool, Spellings)> {
        let location = &file.location;
        let mut reader = FileReader { storage: Arc::clone(&self.table.storage), location: location.clone(), bytes: file.bytes };
        let footer = reader.get_metadata(None).await.map_err(|error| unreadable(location, error))?;
        let found = footer.file_metadata().schema_descr();
        let has_ids = found.root_schema().get_fields().iter().any(|column| column.get_basic_info().has_id());
        let mut spellings = Spellings::new();
        let named = match has_ids {
            true => None,
            false => Some(with_ids_any_case(found, &self.schema, &mut spellings).map_err(|error| unreadable(location, error))?),
        };
        let found = named.as_ref().unwrap_or(found);
        let leaves = self.leaves(found);
        let mut report = FileReport {
            location: location.clone(),
            spec_id: self.table.metadata.default_partition_spec_id(),
            rows: u64::try_from(footer.file_metadata().num_rows()).unwrap_or_default(),
            bytes: file.bytes,
            ..FileReport::default()
        };
        let folders = self.folders(location)?;
        self.check(found, &folders, location)?;
        for (index, leaf) in &leaves {
            check_unit(&found.column(*index), &leaf.data_type, location)?;
        }
        let unsaid = leaves.iter().filter(|(index, leaf)| leaf.data_type == PrimitiveType::String && !says_text(&found.column(*index)));
        let unsaid: Vec<usize> = unsaid.map(|(index, _)| *index).collect();
        if !unsaid.is_empty() {
            check_texts(reader, Arc::clone(&footer), unsaid, location).await?;
        }
        let of_table: Vec<Leaf> = leaves.iter().map(|(_, leaf)| leaf.clone()).collect();
        let modes = MetricsModes::new(&self.table.metadata, &of_table)?;
        describe(&mut report, &footer, leaves.iter().map(|(index, leaf)| (*index, leaf)), &modes);
        self.check_nulls(&report, location)?;
        let fields = self.table.metadata.default_partition_spec().fields();
        report.partition = fields.iter().map(|field| self.partition(field, &footer, &leaves, &folders, location)).collect::<Result<_>>()?;
        Ok((report, has_ids, spellings))
    }

    /// The columns of a file that are columns of the table, with their places in it.
    fn leaves(&self, file: &SchemaDescriptor) -> Vec<(usize, Leaf)> {
        let schema = self.table.metadata.current_schema();
        let mut leaves: Vec<(usize, Leaf)> = Vec::new();
        for (index, column) in file.columns().iter().enumerate() {
            let info = column.self_type().get_basic_info();
            let Some(field) = info.has_id().then(|| schema.field_by_id(info.id())).flatten() else { continue };
            let Type::Primitive(data_type) = field.field_type.as_ref() else { continue };
            if leaves.iter().any(|(_, leaf)| leaf.field_id == field.id) {
                continue;
            }
            // The path is only asked whether there is one: no bounds without it.
            let has_bounds = column.max_rep_level() == 0 && is_ordered_alike(column, data_type);
            leaves.push((index, Leaf { field_id: field.id, data_type: data_type.clone(), path: has_bounds.then(Vec::new) }));
        }
        leaves
    }

    /// Values of columns that the names of folders give, below the root.
    fn folders(&self, location: &str) -> Result<Vec<(String, Option<String>)>> {
        let location = Location::parse(location)?;
        let below = location.below(&self.root).unwrap_or_default();
        let folders = below.split('/').filter_map(|folder| folder.split_once('='));
        Ok(folders.map(|(name, value)| (unescaped(name).to_lowercase(), Some(unescaped(value)).filter(|value| value != HIVE_NULL))).collect())
    }

    /// That the table's columns can be read from the file.
    fn check(&self, file: &SchemaDescriptor, folders: &[(String, Option<String>)], location: &str) -> Result<()> {
        let found = parquet_to_arrow_schema(file, None).map_err(|error| unreadable(location, error))?;
        let mut any = false;
        for field in self.schema.fields() {
            let name = field.name();
            let source = found.fields().iter().find(|source| field_id(source).is_some() && field_id(source) == field_id(field));
            match (source, of_folder(folders, name)) {
                (Some(source), _) => {
                    any = true;
                    check_castable(name, source.data_type(), field.data_type()).map_err(|error| error.with_context("file", location))?;
                }
                (None, Some(_)) if self.is_identity(field_id(field)) => any = true,
                (None, Some(folder)) => {
                    let value = value_text(Some(folder));
                    let message = format!("a folder of file '{location}' gives column '{name}' the value '{value}', which is not in the file");
                    return Err(Error::new(Code::InvalidArguments, message).with_hint(format!(
                        "only columns that the table is partitioned by have values of folders: partitioning = ARRAY['{name}']; or write the column into the file"
                    )));
                }
                (None, None) if field.is_nullable() => {}
                (None, None) => {
                    return Err(Error::new(Code::ConstraintViolation, format!("file '{location}' has no column '{name}', which is required")));
                }
            }
        }
        match any {
            true => Ok(()),
            false => Err(Error::new(Code::ColumnNotFound, format!("file '{location}' has none of the columns of table '{}'", self.table.name))
                .with_hint(format!("it has {}", found.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ")))),
        }
    }

    fn is_identity(&self, id: Option<i32>) -> bool {
        let fields = self.table.metadata.default_partition_spec().fields();
        fields.iter().any(|field| Some(field.source_id) == id && field.transform == Transform::Identity)
    }

    /// That columns without NULL have none, as far as the footer says.
    fn check_nulls(&self, report: &FileReport, location: &str) -> Result<()> {
        let required = self.table.metadata.current_schema().as_struct().fields().iter().filter(|field| field.required);
        for field in required {
            if report.null_counts.get(&field.id).is_some_and(|nulls| *nulls > 0) {
                let message = format!("column '{}' of table {} does not take NULL, which file '{location}' has", field.name, self.table.name);
                return Err(Error::new(Code::ConstraintViolation, message));
            }
        }
        Ok(())
    }

    /// The value that all rows of a file have in a partition field.
    fn partition(
        &self,
        field: &PartitionField,
        footer: &ParquetMetaData,
        leaves: &[(usize, Leaf)],
        folders: &[(String, Option<String>)],
        location: &str,
    ) -> Result<Option<Vec<u8>>> {
        if field.transform == Transform::Void {
            return Ok(None);
        }
        let (source, data_type) = self.source(field)?;
        let leaf = leaves.iter().find(|(_, leaf)| leaf.field_id == field.source_id);
        let unknown = |why: String| {
            Error::new(Code::InvalidArguments, format!("the partition of file '{location}' is not known: {why}"))
                .with_hint("a file can be added when all of its rows are in one partition, as its folders or the statistics of its columns say")
        };
        let folder = of_folder(folders, source);
        match (leaf, folder) {
            (None, Some((_, value))) if field.transform == Transform::Identity => {
                let text: ArrayRef = Arc::new(StringArray::from(vec![value.as_deref()]));
                let options = CastOptions { safe: false, ..CastOptions::default() };
                let value = cast_with_options(&text, data_type, &options);
                let value =
                    value.map_err(|error| unknown(format!("'{}' is no value of column '{source}'", value_text(folder))).with_source(error))?;
                encode(value.as_ref(), 0)
            }
            (None, _) => Err(unknown(format!("it has no column '{source}'"))),
            (Some((index, leaf)), _) => {
                let chunks = || footer.row_groups().iter().map(|group| group.column(*index));
                let values: i64 = chunks().map(parquet::file::metadata::ColumnChunkMetaData::num_values).sum();
                let nulls = chunks().map(|chunk| chunk.statistics()?.null_count_opt()).sum::<Option<u64>>();
                let nulls = nulls.ok_or_else(|| unknown(format!("its statistics do not count the NULLs of column '{source}'")))?;
                if i64::try_from(nulls) == Ok(values) {
                    return Ok(None);
                }
                if nulls > 0 {
                    return Err(unknown(format!("column '{source}' is NULL in some of its rows")));
                }
                if matches!(leaf.data_type, PrimitiveType::Float | PrimitiveType::Double) {
                    return Err(unknown(format!("its statistics do not say whether column '{source}' is NaN in some of its rows")));
                }
                let bounds = leaf.path.as_ref().map(|_| bounds(chunks(), &leaf.data_type, MetricsMode::Full)).unwrap_or_default();
                let (Some(lower), Some(upper)) = (bounds.lower, bounds.upper) else {
                    return Err(unknown(format!("it has no statistics of column '{source}'")));
                };
                let keeps_order = !matches!(field.transform, Transform::Bucket(_));
                let transformed = |value: Vec<u8>| transformed(field.transform, value, &leaf.data_type, data_type);
                let (least, most) = (transformed(lower.clone())?, transformed(upper.clone())?);
                match least == most && (keeps_order || lower == upper) {
                    true => Ok(least),
                    false => Err(unknown(format!("its rows have several values of {} of column '{source}'", field.transform))),
                }
            }
        }
    }

    /// The name and the type of the column of a partition field.
    fn source(&self, field: &PartitionField) -> Result<(&str, &DataType)> {
        let column = self.schema.fields().iter().find(|column| field_id(column) == Some(field.source_id));
        let missing = || Error::not_supported(format!("files cannot be added to a table that is partitioned by '{}', a field of a row", field.name));
        column.map(|column| (column.name().as_str(), column.data_type())).ok_or_else(missing)
    }
}

/// The value that the folders of a file give to a column.
fn of_folder<'a>(folders: &'a [(String, Option<String>)], column: &str) -> Option<&'a (String, Option<String>)> {
    folders.iter().rev().find(|(name, _)| *name == column.to_lowercase())
}

fn value_text(folder: Option<&(String, Option<String>)>) -> &str {
    folder.and_then(|(_, value)| value.as_deref()).unwrap_or("NULL")
}

/// The value of a partition field for a value of its column, in Iceberg's binary form as it is.
fn transformed(transform: Transform, value: Vec<u8>, data_type: &PrimitiveType, arrow: &DataType) -> Result<Option<Vec<u8>>> {
    if transform == Transform::Identity {
        return Ok(Some(value));
    }
    let wrong = || Error::internal("a bound of a column cannot be read");
    let datum = Datum::try_from_bytes(&value, data_type.clone()).map_err(|error| wrong().with_source(error))?;
    let scalar = datum_scalar(&datum, arrow).ok_or_else(wrong)?;
    let array = scalar.to_array().map_err(|error| wrong().with_source(error))?;
    encode(transform::apply(transform, &array)?.as_ref(), 0)
}

/// Whether a file's statistics of a column are in the order and in the unit of the table's type.
fn is_ordered_alike(column: &ColumnDescriptor, data_type: &PrimitiveType) -> bool {
    let logical = column.logical_type_ref();
    let is_unsigned =
        matches!(column.converted_type(), ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64)
            || matches!(logical, Some(LogicalType::Integer(integer)) if !integer.is_signed);
    match (data_type, column.physical_type()) {
        (PrimitiveType::Boolean, PhysicalType::BOOLEAN)
        | (PrimitiveType::Float, PhysicalType::FLOAT)
        | (PrimitiveType::Double, PhysicalType::DOUBLE)
        | (PrimitiveType::Date, PhysicalType::INT32)
        | (PrimitiveType::String | PrimitiveType::Binary, PhysicalType::BYTE_ARRAY)
        | (PrimitiveType::Uuid | PrimitiveType::Fixed(_), PhysicalType::FIXED_LEN_BYTE_ARRAY)
        | (PrimitiveType::Decimal { .. }, PhysicalType::INT32 | PhysicalType::INT64 | PhysicalType::FIXED_LEN_BYTE_ARRAY) => true,
        (PrimitiveType::Int, PhysicalType::INT32) | (PrimitiveType::Long, PhysicalType::INT32 | PhysicalType::INT64) => !is_unsigned,
        (PrimitiveType::Timestamp | PrimitiveType::Timestamptz | PrimitiveType::Time, PhysicalType::INT64) => unit(column) == Some(TimeUnit::MICROS),
        _ => false,
    }
}

/// A part of a path as Hive writes it: `%` and two hexadecimal digits stand for a byte.
fn unescaped(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

pub(super) fn unreadable(location: &str, error: ParquetError) -> Error {
    Error::new(Code::InvalidArguments, format!("file '{location}' is not a readable Parquet file: {error}")).with_source(error)
}

/// Reads a file by its parts.
struct FileReader {
    storage: Arc<Storage>,
    location: String,
    bytes: u64,
}

impl AsyncFileReader for FileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move { self.storage.read_range(&self.location, range).await.map_err(|error| ParquetError::External(Box::new(error))) }.boxed()
    }

    fn get_metadata<'a>(&'a mut self, _options: Option<&'a ArrowReaderOptions>) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        let (reader, bytes) = (ParquetMetaDataReader::new().with_prefetch_hint(Some(PREFETCH_BYTES)), self.bytes);
        async move { reader.load_and_finish(self, bytes).await.map(Arc::new) }.boxed()
    }
}
