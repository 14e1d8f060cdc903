//! Changes of rows: what a task of `DELETE`, `UPDATE` or `MERGE` reads, and what it keeps in mind of it.
//!
//! Each row of its input names a row that is no longer (its file's number, `_pos`), if there is one, and holds a row that is there instead (the columns of the table),
//! if there is one. A row that is updated is both: it goes from the place where it was, and is written to a new one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use nunatak_core::{Code, Error, Result};
use roaring::RoaringTreemap;

use crate::error::into_datafusion;

/// The columns before those of the table: the file's number, `_pos`, and whether the rest is a row to be written.
pub(super) const LEADING_COLUMNS: usize = 3;

/// The columns of an input that only deletes: the file's number and `_pos`.
pub(super) const DELETE_COLUMNS: usize = 2;

/// Rows of data files that are no longer, by the file's [number](crate::scan::file_number).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeletedRows(BTreeMap<i64, OfFile>);

/// Rows of one data file that are no longer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct OfFile {
    /// Their positions in the file.
    pub(super) positions: RoaringTreemap,
    /// How many of them have no new row in their place.
    pub(super) without_successor: u64,
}

impl DeletedRows {
    /// How many they are.
    pub fn count(&self) -> u64 {
        self.0.values().map(|file| file.positions.len()).sum()
    }

    /// How many of them have no new row in their place.
    pub fn without_successor(&self) -> u64 {
        self.0.values().map(|file| file.without_successor).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The positions by the number of their file.
    pub fn into_positions(self) -> BTreeMap<i64, RoaringTreemap> {
        self.0.into_iter().map(|(file, rows)| (file, rows.positions)).collect()
    }

    /// Adds rows of one file.
    ///
    /// Errors: `MERGE_TARGET_ROW_MULTIPLE_MATCHES` when one of them is there already: a statement wants to change it twice.
    pub(super) fn add(&mut self, file: i64, rows: OfFile) -> Result<()> {
        let Some(before) = self.0.get_mut(&file) else {
            self.0.insert(file, rows);
            return Ok(());
        };
        if !before.positions.is_disjoint(&rows.positions) {
            return Err(matched_twice());
        }
        before.positions |= rows.positions;
        before.without_successor += rows.without_successor;
        Ok(())
    }

    /// Adds the rows that a batch names. `written` tells which have a new row in their place; none has without it.
    fn add_batch(&mut self, batch: &RecordBatch, written: Option<&BooleanArray>) -> Result<()> {
        let (files, positions) = (column(batch, 0, &DataType::Int64)?, column(batch, 1, &DataType::Int64)?);
        let (files, positions) = (files.as_primitive::<Int64Type>(), positions.as_primitive::<Int64Type>());
        // Rows of a file come one after the other.
        let mut run: Option<(i64, OfFile)> = None;
        for row in (0..files.len()).filter(|row| files.is_valid(*row)) {
            let file = files.value(row);
            if run.as_ref().is_none_or(|(of, _)| *of != file)
                && let Some((file, rows)) = run.replace((file, OfFile::default()))
            {
                self.add(file, rows)?;
            }
            let Some((_, rows)) = &mut run else { continue };
            if !rows.positions.insert(positions.value(row).unsigned_abs()) {
                return Err(matched_twice());
            }
            rows.without_successor += u64::from(written.is_none_or(|written| !written.value(row)));
        }
        run.map_or(Ok(()), |(file, rows)| self.add(file, rows))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, &OfFile)> {
        self.0.iter().map(|(file, rows)| (*file, rows))
    }
}

fn matched_twice() -> Error {
    Error::new(Code::MergeTargetRowMultipleMatches, "a row of the table is to be changed more than once: it is matched by several rows")
        .with_hint("make the source give one row for each row of the table, for instance with GROUP BY or row_number()")
}

fn column(batch: &RecordBatch, number: usize, data_type: &DataType) -> Result<ArrayRef> {
    cast(batch.column(number), data_type).map_err(|error| Error::internal("the place of a row is of another type").with_source(error))
}

/// What a task has seen so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<Mutex<DeletedRows>>);

impl Seen {
    /// Takes the rows that are no longer out of `input`: what is left are rows to be written.
    pub(super) fn take_out_of(&self, input: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let columns = input.schema().fields().iter().skip(LEADING_COLUMNS).cloned().collect::<Vec<_>>();
        let schema: SchemaRef = Arc::new(Schema::new(columns));
        let (seen, rows_schema) = (self.clone(), Arc::clone(&schema));
        let rows = input.map(move |batch| seen.split(&batch?, &rows_schema).map_err(into_datafusion));
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }

    fn split(&self, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
        if batch.num_columns() == DELETE_COLUMNS {
            self.lock().add_batch(batch, None)?;
            return Ok(RecordBatch::new_empty(Arc::clone(schema)));
        }
        let written = column(batch, LEADING_COLUMNS - 1, &DataType::Boolean)?;
        let written = written.as_boolean();
        self.lock().add_batch(batch, Some(written))?;
        let failed = |error| Error::internal("the rows to be written cannot be told from the others").with_source(error);
        let rows = RecordBatch::try_new(Arc::clone(schema), batch.columns()[LEADING_COLUMNS..].to_vec()).map_err(failed)?;
        match written.true_count() == written.len() {
            true => Ok(rows),
            false => filter_record_batch(&rows, written).map_err(failed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, DeletedRows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many rows are no longer.
    pub(super) fn count(&self) -> u64 {
        self.lock().count()
    }

    /// All of them.
    pub(super) fn into_rows(self) -> DeletedRows {
        std::mem::take(&mut *self.lock())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    fn batch(rows: &[(Option<i64>, i64)]) -> RecordBatch {
        let files: ArrayRef = Arc::new(rows.iter().map(|(file, _)| *file).collect::<Int64Array>());
        let positions: ArrayRef = Arc::new(rows.iter().map(|(file, position)| file.map(|_| *position)).collect::<Int64Array>());
        RecordBatch::try_from_iter([("file", files), ("_pos", positions)]).unwrap()
    }

    #[test]
    fn rows_of_files_come_in_any_order() {
        let mut rows = DeletedRows::default();
        rows.add_batch(&batch(&[(Some(10), 1), (Some(-20), 1), (None, 0), (Some(10), 2)]), None).unwrap();
        rows.add_batch(&batch(&[(Some(-20), 7)]), Some(&BooleanArray::from(vec![true]))).unwrap();
        assert_eq!((rows.count(), rows.without_successor()), (4, 3));
        assert_eq!(rows.into_positions()[&10], RoaringTreemap::from_iter([1, 2]));
    }

    #[test]
    fn a_row_is_changed_once() {
        for twice in [vec![(Some(10), 1), (Some(10), 1)], vec![(Some(10), 1), (Some(-20), 1), (Some(10), 1)]] {
            let error = DeletedRows::default().add_batch(&batch(&twice), None).unwrap_err();
            assert_eq!(error.code(), Code::MergeTargetRowMultipleMatches);
        }
    }
}
