//! What every decoder of records shares: which columns are wanted, and how columns and faults become a batch.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::arrow::error::ArrowError;
use nunatak_core::{Error, Result};

use super::convert::Converted;
use super::faults::{Fault, FaultPolicy};
use super::input::RecordSink;
use super::options::OnError;
use crate::error::from_datafusion;

/// Makes batches of the records of one file.
pub(super) trait Decoder: RecordSink {
    /// The records gathered so far, without the bad ones.
    fn flush(&mut self) -> Result<RecordBatch>;
}

/// The columns that a decoder makes.
#[derive(Debug)]
pub(super) struct Target {
    /// The whole schema of the files.
    pub(super) schema: SchemaRef,
    /// The columns of the batches.
    projected: SchemaRef,
    projection: Vec<usize>,
    /// The columns that are converted: more than those of the batches if bad rows are left out, since which rows a query sees must not depend on the
    /// columns that it selects.
    checked: Vec<usize>,
}

impl Target {
    pub(super) fn new(schema: SchemaRef, projection: Vec<usize>, on_error: OnError) -> Result<Self> {
        let projected = Arc::new(schema.project(&projection).map_err(from_arrow)?);
        let checked = match on_error {
            OnError::Abort => projection.clone(),
            OnError::Skip => (0..schema.fields().len()).collect(),
        };
        Ok(Self { schema, projected, projection, checked })
    }

    /// The columns to convert, by their place in the schema.
    pub(super) fn checked(&self) -> impl Iterator<Item = (usize, &FieldRef)> {
        self.checked.iter().map(|index| (*index, &self.schema.fields()[*index]))
    }

    /// Makes a batch of the converted columns, which are in the order of [`Self::checked`]; `lines` are those of the rows, `faults` those found
    /// before.
    pub(super) fn batch(&self, columns: Vec<Converted>, lines: &[u64], mut faults: Vec<Fault>, policy: &mut FaultPolicy) -> Result<RecordBatch> {
        let mut is_good = vec![true; lines.len()];
        for column in &columns {
            for (row, fault) in &column.faults {
                // A row counts once, whatever the number of its bad values.
                if std::mem::replace(&mut is_good[*row], false) {
                    faults.push(fault.to_fault(lines[*row]));
                }
            }
        }
        policy.handle(&faults)?;
        let is_all_good = is_good.iter().all(|good| *good);
        let options = RecordBatchOptions::new().with_row_count(Some(lines.len()));
        let arrays = self.projection.iter().map(|index| self.array(*index, &columns)).collect::<Result<Vec<_>>>()?;
        if is_all_good {
            return RecordBatch::try_new_with_options(Arc::clone(&self.projected), arrays, &options).map_err(from_arrow);
        }
        self.without_bad_rows(arrays, is_good)
    }

    fn array(&self, index: usize, columns: &[Converted]) -> Result<ArrayRef> {
        let place = self.checked.iter().position(|checked| *checked == index);
        place
            .and_then(|place| columns.get(place))
            .map(|column| Arc::clone(&column.values))
            .ok_or_else(|| Error::internal(format!("column {index} of a file was not converted")))
    }

    /// A bad value is NULL until its row is gone, so columns that must not be NULL are checked only then.
    fn without_bad_rows(&self, arrays: Vec<ArrayRef>, is_good: Vec<bool>) -> Result<RecordBatch> {
        let nullable = Arc::new(datafusion::arrow::datatypes::Schema::new(
            self.projected.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
        ));
        let options = RecordBatchOptions::new().with_row_count(Some(is_good.len()));
        let all = RecordBatch::try_new_with_options(nullable, arrays, &options).map_err(from_arrow)?;
        let good = filter_record_batch(&all, &BooleanArray::from(is_good)).map_err(from_arrow)?;
        let options = RecordBatchOptions::new().with_row_count(Some(good.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.projected), good.columns().to_vec(), &options).map_err(from_arrow)
    }
}

/// An error of Arrow that no row is to blame for.
pub(super) fn from_arrow(error: ArrowError) -> Error {
    from_datafusion(error.into())
}
