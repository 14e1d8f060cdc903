//! Arrays of elements that are taken from others, built row by row.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayBuilder, ArrayRef, ListArray, NullBufferBuilder, UInt64Array, UInt64Builder};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::DataType;
use datafusion::common::internal_err;
use datafusion::error::Result;

use super::of_type;
use crate::{Call, out_of_range};

/// The rows of a result: which elements each has.
pub(crate) struct Taken {
    indices: UInt64Builder,
    offsets: Vec<i32>,
    valid: NullBufferBuilder,
}

/// A result: positions of elements, where its rows end, and which rows there are.
pub(crate) struct Parts {
    pub(crate) indices: UInt64Array,
    pub(crate) offsets: OffsetBuffer<i32>,
    pub(crate) nulls: Option<NullBuffer>,
}

impl Taken {
    pub(crate) fn new(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { indices: UInt64Builder::with_capacity(rows), offsets, valid: NullBufferBuilder::new(rows) }
    }

    /// Adds the element at this position to the row.
    pub(crate) fn element(&mut self, index: usize) {
        self.indices.append_value(index as u64);
    }

    pub(crate) fn elements(&mut self, range: Range<usize>) {
        range.for_each(|index| self.element(index));
    }

    /// Adds the element at this position, or NULL if there is none.
    pub(crate) fn element_or_null(&mut self, index: Option<usize>) {
        self.indices.append_option(index.map(|index| index as u64));
    }

    /// Ends a row. Errors: `NUMERIC_VALUE_OUT_OF_RANGE` if a batch would have more elements than it can.
    pub(crate) fn end_row(&mut self) -> Result<()> {
        self.push_offset()?;
        self.valid.append_non_null();
        Ok(())
    }

    /// Adds a row that is NULL.
    pub(crate) fn null_row(&mut self) -> Result<()> {
        self.push_offset()?;
        self.valid.append_null();
        Ok(())
    }

    fn push_offset(&mut self) -> Result<()> {
        let end = i32::try_from(self.indices.len()).map_err(|_| out_of_range("arrays of a batch have too many elements"))?;
        self.offsets.push(end);
        Ok(())
    }

    pub(crate) fn parts(mut self) -> Parts {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        Parts { indices: self.indices.finish(), offsets, nulls: self.valid.finish() }
    }

    /// The result, of elements of these.
    pub(crate) fn array(self, values: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
        self.parts().array(values, data_type)
    }
}

impl Parts {
    pub(crate) fn array(self, values: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
        let DataType::List(field) = data_type else { return internal_err!("{data_type} is no array") };
        let elements = of_type(&take(values, &self.indices, None)?, field.data_type())?;
        Ok(Arc::new(ListArray::try_new(Arc::clone(field), self.offsets, elements, self.nulls)?))
    }
}

/// The arrays of all rows of a call: `fill` adds the elements of a row.
pub(crate) fn each_row(call: &Call<'_>, values: &ArrayRef, mut fill: impl FnMut(usize, &mut Taken) -> Result<()>) -> Result<ArrayRef> {
    let mut taken = Taken::new(call.rows());
    for row in 0..call.rows() {
        if call.is_null(row) {
            taken.null_row()?;
        } else {
            fill(row, &mut taken)?;
            taken.end_row()?;
        }
    }
    taken.array(values, call.returns())
}
