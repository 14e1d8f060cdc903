//! One call of a function that takes functions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, UInt64Array, new_empty_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{take, take_arrays};
use arrow::datatypes::DataType;
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;
use datafusion::logical_expr::{HigherOrderFunctionArgs, LambdaArgument, ValueOrLambda};

use crate::nested::taken::{Parts, Taken};
use crate::nested::{as_map, range};

/// The values of a call as arrays of the same number of rows, and its functions.
#[derive(Debug)]
pub(super) struct Call<'a> {
    values: Vec<ArrayRef>,
    functions: Vec<Given<'a>>,
    pub(super) rows: usize,
    pub(super) returns: &'a DataType,
}

/// A function that was given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given<'a> {
    lambda: &'a LambdaArgument,
    gives: &'a DataType,
}

impl<'a> Call<'a> {
    pub(super) fn new(arguments: &'a HigherOrderFunctionArgs) -> Result<Self> {
        let (mut values, mut functions) = (Vec::new(), Vec::new());
        for (argument, field) in arguments.args.iter().zip(&arguments.arg_fields) {
            match (argument, field) {
                (ValueOrLambda::Value(value), _) => values.push(value.to_array(arguments.number_rows)?),
                (ValueOrLambda::Lambda(lambda), ValueOrLambda::Lambda(field)) => functions.push(Given { lambda, gives: field.data_type() }),
                (ValueOrLambda::Lambda(_), ValueOrLambda::Value(_)) => return Err(internal_datafusion_err!("a function has the field of a value")),
            }
        }
        Ok(Self { values, functions, rows: arguments.number_rows, returns: arguments.return_field.data_type() })
    }

    pub(super) fn value(&self, index: usize) -> Result<&ArrayRef> {
        self.values.get(index).ok_or_else(|| internal_datafusion_err!("value {index} is missing"))
    }

    pub(super) fn list(&self, index: usize) -> Result<&ListArray> {
        self.value(index)?.as_list_opt().ok_or_else(|| internal_datafusion_err!("value {index} is no array"))
    }

    pub(super) fn map(&self, index: usize) -> Result<&MapArray> {
        as_map(self.value(index)?)
    }

    /// A function, if it was given.
    pub(super) fn function(&self, index: usize) -> Option<Given<'a>> {
        self.functions.get(index).copied()
    }

    pub(super) fn needed(&self, index: usize) -> Result<Given<'a>> {
        self.function(index).ok_or_else(|| internal_datafusion_err!("function {index} is missing"))
    }

    /// Whether any of the values is NULL at a row.
    pub(super) fn is_null(&self, row: usize) -> bool {
        self.values.iter().any(|values| *values.data_type() == DataType::Null || values.is_null(row))
    }
}

impl Given<'_> {
    /// What the function gives for arguments of one length; `rows` are the rows of the call that they are of, by which it sees the other columns.
    pub(super) fn run(&self, arguments: &[&ArrayRef], rows: &UInt64Array) -> Result<ArrayRef> {
        if rows.is_empty() {
            return Ok(new_empty_array(self.gives));
        }
        let given: Vec<_> = arguments.iter().map(|&argument| move || -> Result<ArrayRef> { Ok(Arc::clone(argument)) }).collect();
        let given: Vec<&dyn Fn() -> Result<ArrayRef>> = given.iter().map(|argument| argument as &dyn Fn() -> Result<ArrayRef>).collect();
        self.lambda.evaluate(&given, |columns| Ok(take_arrays(columns, rows, None)?))?.into_array(rows.len())
    }
}

/// All elements of the arrays, or entries of the maps, of a batch one behind the other, without those of rows that are NULL.
pub(super) struct Spread {
    pub(super) indices: UInt64Array,
    /// The row of each.
    pub(super) rows: UInt64Array,
    /// Where the rows end among them.
    pub(super) offsets: OffsetBuffer<i32>,
    pub(super) nulls: Option<NullBuffer>,
}

impl Spread {
    /// `offsets` are those of the arrays.
    pub(super) fn new(call: &Call<'_>, offsets: &[i32]) -> Result<Self> {
        let mut taken = Taken::new(call.rows);
        let mut rows = Vec::new();
        for row in 0..call.rows {
            if call.is_null(row) {
                taken.null_row()?;
                continue;
            }
            let range = range(offsets, row);
            rows.extend(std::iter::repeat_n(row as u64, range.len()));
            taken.elements(range);
            taken.end_row()?;
        }
        let Parts { indices, offsets, nulls } = taken.parts();
        Ok(Self { indices, rows: UInt64Array::from(rows), offsets, nulls })
    }

    /// The values of the elements.
    pub(super) fn values(&self, values: &ArrayRef) -> Result<ArrayRef> {
        // They go upwards: without gaps they are a slice.
        match &self.indices.values()[..] {
            [first, .., last] if (last - first) as usize + 1 == self.indices.len() => Ok(values.slice(*first as usize, self.indices.len())),
            _ => Ok(take(values, &self.indices, None)?),
        }
    }
}
