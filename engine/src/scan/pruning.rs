//! Which manifests and files a filter cannot match. A file is dropped only when that is proved; what cannot be judged is read.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::cast::as_boolean_array;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr::{PhysicalExpr, conjunction};
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use nunatak_catalog::snapshot::FileEntry;
use nunatak_catalog::spec::{Datum, ManifestContentType, ManifestFile, PrimitiveLiteral, Transform};
use nunatak_core::{Code, Error};

use crate::error::into_datafusion;

use super::bounds::{ColumnFacts, ColumnSource, narrower};
use super::partition::{Range, source_range};

/// The filters of a scan, ready to be asked about manifests and files.
pub struct Pruner {
    schema: SchemaRef,
    columns: Arc<[Option<ColumnSource>]>,
    filters: Vec<Arc<dyn PhysicalExpr>>,
    /// `None` when no filter says anything about bounds.
    predicate: Option<PruningPredicate>,
}

impl Pruner {
    /// A pruner for filters that are joined by AND, in terms of the table's schema.
    pub fn new(schema: SchemaRef, columns: Arc<[Option<ColumnSource>]>, filters: Vec<Arc<dyn PhysicalExpr>>) -> Self {
        let predicate = if filters.is_empty() {
            None
        } else {
            let builder = PruningPredicateBuilder::new().with_file_schema(Arc::clone(&schema));
            builder.try_build(conjunction(filters.iter().cloned())).ok().filter(|predicate| !predicate.always_true())
        };
        Self { schema, columns, filters, predicate }
    }

    /// Whether a manifest can hold a file with matching rows. Manifests of deletes are always kept: what they delete is decided elsewhere.
    pub fn keeps_manifest(&self, manifest: &ManifestFile) -> bool {
        let (Some(predicate), ManifestContentType::Data) = (&self.predicate, manifest.content) else { return true };
        let statistics = ManifestStatistics { pruner: self, manifest };
        !matches!(predicate.prune(&statistics).as_deref(), Ok([false]))
    }

    /// The files that can have matching rows. `pruned` counts the others, by what has excluded them.
    pub fn prune(&self, files: Vec<Arc<FileEntry>>, pruned: &mut Pruned) -> Result<Vec<Arc<FileEntry>>> {
        pruned.files += files.len() as u64;
        let before = files.len();
        let files = self.prune_by_facts(self.prune_by_constants(files)?, FactsOf::Partition);
        pruned.files_by_partition += (before - files.len()) as u64;
        let before = files.len();
        let files = self.prune_by_facts(files, FactsOf::File);
        pruned.files_by_bounds += (before - files.len()) as u64;
        Ok(files)
    }

    fn prune_by_facts(&self, files: Vec<Arc<FileEntry>>, facts: FactsOf) -> Vec<Arc<FileEntry>> {
        let Some(predicate) = self.predicate.as_ref().filter(|_| !files.is_empty()) else { return files };
        match predicate.prune(&FileStatistics { pruner: self, files: &files, facts }) {
            Ok(keep) => retain(files, keep.into_iter()),
            Err(_) => files,
        }
    }

    /// Evaluates filters over columns that are constant in each file, once per file. That decides them completely, whatever functions they use.
    fn prune_by_constants(&self, mut files: Vec<Arc<FileEntry>>) -> Result<Vec<Arc<FileEntry>>> {
        for filter in &self.filters {
            if !files.is_empty()
                && let Some(batch) = self.constants(filter, &files)?
            {
                let expr = reassign_expr_columns(Arc::clone(filter), &batch.schema())?;
                let matches = expr.evaluate(&batch)?.into_array(files.len())?;
                let matches = as_boolean_array(&matches)?;
                files = retain(files, (0..matches.len()).map(|row| matches.is_valid(row) && matches.value(row)));
            }
        }
        Ok(files)
    }

    /// One row per file with the values of the columns that a filter uses; `None` if one of them is not constant in one of the files.
    fn constants(&self, filter: &Arc<dyn PhysicalExpr>, files: &[Arc<FileEntry>]) -> Result<Option<RecordBatch>> {
        let mut indices: Vec<usize> = collect_columns(filter).iter().map(|column| column.index()).collect();
        indices.sort_unstable();
        let mut arrays = Vec::with_capacity(indices.len());
        for index in &indices {
            let Some(Some(column)) = self.columns.get(*index) else { return Ok(None) };
            let mut values = Vec::with_capacity(files.len());
            for file in files {
                match column.constant(file) {
                    Some(value) => values.push(value),
                    // The filter may not be evaluated again by anybody else.
                    None if column.is_constant() => return Err(into_datafusion(unreadable_partition(file, self.schema.field(*index).name()))),
                    None => return Ok(None),
                }
            }
            arrays.push(ScalarValue::iter_to_array(values)?);
        }
        if indices.is_empty() {
            return Ok(None);
        }
        // A partition value can be null even where the schema says otherwise; the filter then just does not match.
        let fields: Vec<_> = indices.iter().map(|index| Arc::new(self.schema.field(*index).clone().with_nullable(true))).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(files.len()));
        Ok(Some(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?))
    }

    fn column(&self, column: &Column) -> Option<&ColumnSource> {
        self.columns.get(self.schema.index_of(&column.name).ok()?)?.as_ref()
    }
}

fn unreadable_partition(entry: &FileEntry, column: &str) -> Error {
    let path = entry.file.file_path();
    Error::new(Code::IcebergInvalidMetadata, format!("the partition value of column '{column}' of data file '{path}' cannot be read"))
}

fn retain(files: Vec<Arc<FileEntry>>, keep: impl Iterator<Item = bool>) -> Vec<Arc<FileEntry>> {
    files.into_iter().zip(keep).filter_map(|(file, keep)| keep.then_some(file)).collect()
}

/// Values with nulls where nothing is known, as one array; `None` when nothing is known at all.
fn bounds_array(column: &ColumnSource, bounds: impl Iterator<Item = Option<ScalarValue>>) -> Option<ArrayRef> {
    let null = ScalarValue::try_new_null(column.data_type()).ok()?;
    let array = ScalarValue::iter_to_array(bounds.map(|bound| bound.unwrap_or_else(|| null.clone()))).ok()?;
    (array.null_count() < array.len()).then_some(array)
}

/// What planning has left out of a scan, and by what. Crosses the wire, since it is shown where the scan has run.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Pruned {
    /// Manifests of data files in the snapshot; 0 if it is not known.
    #[prost(uint64, tag = "1")]
    pub manifests: u64,
    /// Those that were not read, by their partition summaries.
    #[prost(uint64, tag = "2")]
    pub manifests_by_partition: u64,
    /// Data files in the others.
    #[prost(uint64, tag = "3")]
    pub files: u64,
    /// Those that were left out by their partition values.
    #[prost(uint64, tag = "4")]
    pub files_by_partition: u64,
    /// Those that were left out by the bounds of their columns.
    #[prost(uint64, tag = "5")]
    pub files_by_bounds: u64,
}

impl Pruned {
    /// For `EXPLAIN`: `manifests=2/5, files=3/40 (by partition 30, by bounds 7)`.
    pub fn summary(&self) -> String {
        let left = self.files - self.files_by_partition - self.files_by_bounds;
        let files = format!("files={left}/{} (by partition {}, by bounds {})", self.files, self.files_by_partition, self.files_by_bounds);
        match self.manifests {
            0 => files,
            all => format!("manifests={}/{all}, {files}", all - self.manifests_by_partition),
        }
    }
}

/// Whose facts are asked for.
#[derive(Clone, Copy, PartialEq)]
enum FactsOf {
    /// A file's partition values.
    Partition,
    /// The file's column bounds too.
    File,
}

/// The data files of a scan, as containers of rows.
struct FileStatistics<'a> {
    pruner: &'a Pruner,
    files: &'a [Arc<FileEntry>],
    facts: FactsOf,
}

impl FileStatistics<'_> {
    fn column(&self, column: &Column) -> Option<&ColumnSource> {
        self.pruner.column(column).filter(|column| self.facts == FactsOf::File || column.is_partitioned())
    }

    fn facts(&self, column: &ColumnSource) -> impl Iterator<Item = ColumnFacts> {
        self.files.iter().map(move |file| match self.facts {
            FactsOf::Partition => column.partition_facts(file),
            FactsOf::File => column.facts(file),
        })
    }
}

impl PruningStatistics for FileStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        let column = self.column(column)?;
        bounds_array(column, self.facts(column).map(|facts| facts.range.min))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        let column = self.column(column)?;
        bounds_array(column, self.facts(column).map(|facts| facts.range.max))
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let column = self.column(column)?;
        Some(Arc::new(self.facts(column).map(|facts| facts.null_count).collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.files.iter().map(|file| Some(file.file.record_count())).collect::<UInt64Array>()))
    }

    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let column = self.column(column)?;
        let mut buckets = Buckets { column, values, by_count: HashMap::new() };
        Some(self.files.iter().map(|file| buckets.exclude(file).then_some(false)).collect())
    }
}

/// Where the values of a filter fall, for each number of buckets that a partition spec uses.
struct Buckets<'a> {
    column: &'a ColumnSource,
    values: &'a HashSet<ScalarValue>,
    by_count: HashMap<u32, Option<Vec<i32>>>,
}

impl Buckets<'_> {
    /// Whether none of the values falls into the bucket of a file.
    fn exclude(&mut self, file: &FileEntry) -> bool {
        self.column.partition_sources(file.spec_id).iter().any(|source| {
            let Transform::Bucket(count) = source.transform else { return false };
            match self.column.partition_value(file, source) {
                Some(Some(PrimitiveLiteral::Int(bucket))) => !self.may_fall_into(count, *bucket..=*bucket),
                _ => false,
            }
        })
    }

    fn may_fall_into(&mut self, count: u32, wanted: RangeInclusive<i32>) -> bool {
        let buckets = self.by_count.entry(count).or_insert_with(|| self.column.buckets(self.values, count));
        buckets.as_ref().is_none_or(|buckets| buckets.iter().any(|bucket| wanted.contains(bucket)))
    }
}

/// One manifest, as a container of the rows of all its files.
struct ManifestStatistics<'a> {
    pruner: &'a Pruner,
    manifest: &'a ManifestFile,
}

/// What a manifest's summary says about one partition field.
struct Summary {
    transform: Transform,
    lower: Option<PrimitiveLiteral>,
    upper: Option<PrimitiveLiteral>,
    contains_null: bool,
    contains_nan: bool,
}

impl ManifestStatistics<'_> {
    fn summaries(&self, column: &ColumnSource) -> Vec<Summary> {
        let Some(summaries) = &self.manifest.partitions else { return Vec::new() };
        let sources = column.partition_sources(self.manifest.partition_spec_id).iter();
        sources
            .filter_map(|source| {
                let summary = summaries.get(source.position)?;
                let result_type = source.result_type.as_ref()?;
                let literal = |bytes: &[u8]| Datum::try_from_bytes(bytes, result_type.clone()).ok().map(|datum| datum.literal().clone());
                Some(Summary {
                    transform: source.transform,
                    lower: summary.lower_bound.as_ref().and_then(|bytes| literal(bytes)),
                    upper: summary.upper_bound.as_ref().and_then(|bytes| literal(bytes)),
                    contains_null: summary.contains_null,
                    contains_nan: summary.contains_nan.unwrap_or(true),
                })
            })
            .collect()
    }

    fn range(&self, column: &ColumnSource) -> Range {
        let known = self.summaries(column).into_iter().filter(|summary| !(column.data_type().is_floating() && summary.contains_nan));
        let range = |summary: Summary| source_range(&summary.transform, column.data_type(), summary.lower.as_ref(), summary.upper.as_ref());
        known.map(range).fold(Range::default(), narrower)
    }
}

impl PruningStatistics for ManifestStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        let column = self.pruner.column(column)?;
        bounds_array(column, std::iter::once(self.range(column).min))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        let column = self.pruner.column(column)?;
        bounds_array(column, std::iter::once(self.range(column).max))
    }

    fn num_containers(&self) -> usize {
        1
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let column = self.pruner.column(column)?;
        let without_nulls = self.summaries(column).iter().any(|summary| !summary.contains_null);
        without_nulls.then(|| Arc::new(UInt64Array::from(vec![0])) as ArrayRef)
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let column = self.pruner.column(column)?;
        let mut buckets = Buckets { column, values, by_count: HashMap::new() };
        let excluded = self.summaries(column).iter().any(|summary| match (&summary.transform, &summary.lower, &summary.upper) {
            (Transform::Bucket(count), Some(PrimitiveLiteral::Int(lower)), Some(PrimitiveLiteral::Int(upper))) => {
                !buckets.may_fall_into(*count, *lower..=*upper)
            }
            _ => false,
        });
        Some(BooleanArray::from(vec![excluded.then_some(false)]))
    }
}
