//! Takes deleted rows out of what the Parquet reader gives: long runs of positions before it decodes anything, scattered positions and values as its batches come.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{and, filter_record_batch};
use arrow::datatypes::{FieldRef, Int64Type, Schema};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::error::Result;
use datafusion::physical_plan::metrics::Count;
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner, Morselizer};
use futures::StreamExt;
use futures::stream::BoxStream;
use nunatak_core::Error;

use super::keys::KeySet;
use super::read::DeleteReader;
use super::{EqualityDeletes, FileDeletes, positions};
use crate::error::into_datafusion;

/// The ids of all columns by which rows of a scan's files are deleted, in increasing order.
pub(in crate::scan) fn equality_ids(config: &FileScanConfig) -> Vec<i32> {
    let files = config.file_groups.iter().flat_map(|group| group.iter());
    let deletes = files.filter_map(|file| file.extension::<Arc<FileDeletes>>()).flat_map(|deletes| &deletes.equality);
    let mut ids: Vec<i32> = deletes.flat_map(|deletes| deletes.field_ids.iter().copied()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Reads files, without the rows that are deleted.
#[derive(Clone)]
pub(in crate::scan) struct WithDeletes {
    /// Reads a file as it is.
    pub(in crate::scan) plain: Arc<dyn Morselizer>,
    /// Reads a file with the positions of its rows behind the columns that are wanted; there if rows are deleted by position.
    pub(in crate::scan) with_positions: Option<Arc<dyn Morselizer>>,
    /// Reads a file with the columns of `keys` behind those that are wanted, and then, if rows are deleted by position, their positions.
    pub(in crate::scan) with_keys: Option<Arc<dyn Morselizer>>,
    /// The columns by which rows are deleted, as the table has them, by field id.
    pub(in crate::scan) keys: BTreeMap<i32, FieldRef>,
    pub(in crate::scan) reader: Arc<DeleteReader>,
    /// Rows that position deletes have taken out of the files.
    pub(in crate::scan) by_position: Count,
    /// Rows that equality deletes have taken out of what was read.
    pub(in crate::scan) by_value: Count,
}

impl fmt::Debug for WithDeletes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithDeletes").field("plain", &self.plain).finish_non_exhaustive()
    }
}

impl Morselizer for WithDeletes {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        match file.extension::<Arc<FileDeletes>>().cloned() {
            Some(deletes) => Ok(Box::new(Loading { scan: self.clone(), file, deletes })),
            None => self.plain.plan_file(file),
        }
    }
}

impl WithDeletes {
    /// The plan of a file once its deletes are there.
    async fn load(self, mut file: PartitionedFile, deletes: Arc<FileDeletes>) -> Result<Box<dyn MorselPlanner>> {
        let deleted = self.reader.deleted(&deletes).await.map_err(into_datafusion)?;
        // Once for a file that is read in several splits.
        if file.range.as_ref().is_none_or(|range| range.start == 0) {
            self.by_position.add(usize::try_from(deleted.len()).unwrap_or(usize::MAX));
        }
        let mut scattered = Vec::new();
        if positions::are_scattered(&deleted, deletes.row_count) {
            scattered = deleted.iter().map(|position| i64::try_from(position).unwrap_or(i64::MAX)).collect();
        } else if !deleted.is_empty() {
            file = file.with_extension(ParquetRowSelection::new(positions::selection(&deleted, deletes.row_count)));
        }
        let reader = match (deletes.equality.is_empty(), scattered.is_empty()) {
            (true, true) => return self.plain.plan_file(file),
            (true, false) => &self.with_positions,
            (false, _) => &self.with_keys,
        };
        let reader = reader.as_ref().ok_or_else(|| into_datafusion(Error::internal("a scan does not read what its rows are deleted by")))?;
        let inner = reader.plan_file(file)?;
        let filter = Arc::new(self.filter(&deletes, scattered).await.map_err(into_datafusion)?);
        Ok(Box::new(Filtering { inner, filter }))
    }

    async fn filter(&self, deletes: &FileDeletes, positions: Vec<i64>) -> nunatak_core::Result<Filter> {
        let mut by_columns: BTreeMap<&[i32], Vec<&EqualityDeletes>> = BTreeMap::new();
        for file in &deletes.equality {
            by_columns.entry(&file.field_ids).or_default().push(file);
        }
        let mut sets = Vec::with_capacity(by_columns.len());
        for (ids, files) in by_columns {
            let mut fields = Vec::with_capacity(ids.len());
            let mut places = Vec::with_capacity(ids.len());
            for id in ids {
                let place = self.keys.keys().position(|key| key == id);
                let (Some(place), Some(field)) = (place, self.keys.get(id)) else {
                    return Err(Error::internal(format!("a scan does not know the column of field id {id}")));
                };
                fields.push(Arc::clone(field));
                places.push(place);
            }
            sets.push((places, self.reader.keys(&files, &Arc::new(Schema::new(fields))).await?));
        }
        let keys = if deletes.equality.is_empty() { 0 } else { self.keys.len() };
        let has_positions = self.with_positions.is_some();
        Ok(Filter { positions, has_positions, sets, keys, sequence_number: deletes.sequence_number, deleted: self.by_value.clone() })
    }
}

/// A file whose deletes are to be read.
#[derive(Debug)]
struct Loading {
    scan: WithDeletes,
    file: PartitionedFile,
    deletes: Arc<FileDeletes>,
}

impl MorselPlanner for Loading {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Self { scan, file, deletes } = *self;
        Ok(Some(MorselPlan::new().with_pending_planner(scan.load(file, deletes))))
    }
}

/// What deletes leave of one file's rows.
struct Filter {
    /// The positions of rows that are deleted, in increasing order.
    positions: Vec<i64>,
    /// Whether the last column of a batch is the positions of its rows.
    has_positions: bool,
    /// Sets of values, each with the places of its columns among the keys.
    sets: Vec<(Vec<usize>, Arc<KeySet>)>,
    /// How many columns of a batch are keys: the last ones but the positions.
    keys: usize,
    sequence_number: i64,
    deleted: Count,
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").field("positions", &self.positions.len()).field("sets", &self.sets).finish_non_exhaustive()
    }
}

impl Filter {
    /// The rows that are left, without keys and positions.
    fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let wanted = batch.num_columns() - self.keys - usize::from(self.has_positions);
        let keys = &batch.columns()[wanted..];
        let rows = batch.project(&(0..wanted).collect::<Vec<_>>())?;
        let mut left = match self.positions.is_empty() {
            true => None,
            false => positions::left(keys[self.keys].as_primitive::<Int64Type>().values(), &self.positions),
        };
        let left_by_position = left.as_ref().map_or(rows.num_rows(), BooleanArray::true_count);
        for (places, set) in &self.sets {
            let values: Vec<_> = places.iter().map(|place| Arc::clone(&keys[*place])).collect();
            let of_set = set.left(&values, self.sequence_number).map_err(into_datafusion)?;
            left = Some(match left {
                Some(before) => and(&before, &of_set)?,
                None => of_set,
            });
        }
        let Some(left) = left else { return Ok(rows) };
        let count = left.true_count();
        self.deleted.add(left_by_position - count);
        if count == rows.num_rows() {
            return Ok(rows);
        }
        Ok(filter_record_batch(&rows, &left)?)
    }
}

/// A plan whose rows are filtered.
#[derive(Debug)]
struct Filtering {
    inner: Box<dyn MorselPlanner>,
    filter: Arc<Filter>,
}

impl MorselPlanner for Filtering {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Self { inner, filter } = *self;
        let Some(mut plan) = inner.plan()? else { return Ok(None) };
        let wrap =
            |inner: Box<dyn MorselPlanner>, filter: &Arc<Filter>| Box::new(Self { inner, filter: Arc::clone(filter) }) as Box<dyn MorselPlanner>;
        let morsels = plan.take_morsels().into_iter().map(|inner| Box::new(Filtered { inner, filter: Arc::clone(&filter) }) as Box<dyn Morsel>);
        let planners = plan.take_ready_planners().into_iter().map(|inner| wrap(inner, &filter)).collect();
        let mut filtered = MorselPlan::new().with_morsels(morsels.collect()).with_planners(planners);
        if let Some(pending) = plan.take_pending_planner() {
            filtered.set_pending_planner(async move { Ok(wrap(pending.into_future().await?, &filter)) });
        }
        Ok(Some(filtered))
    }
}

#[derive(Debug)]
struct Filtered {
    inner: Box<dyn Morsel>,
    filter: Arc<Filter>,
}

impl Morsel for Filtered {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        let Self { inner, filter } = *self;
        inner.into_stream().map(move |batch| filter.apply(&batch?)).boxed()
    }
}
