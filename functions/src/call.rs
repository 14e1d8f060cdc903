//! One call of a function: its arguments, and what builds the rows of its result.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, BooleanBuilder, Datum, Float64Array, Int64Array, LargeStringArray, ListArray,
    ListBuilder, NullBufferBuilder, PrimitiveArray, StringBuilder, StringViewArray, StringViewBuilder,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{binary, try_binary};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float64Type, Int64Type};
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;

/// The arguments of a call as arrays of the same number of rows, of the types that the chosen signature names.
#[derive(Debug)]
pub struct Call<'a> {
    arguments: &'a [ArrayRef],
    rows: usize,
    returns: &'a DataType,
    config: &'a ConfigOptions,
    /// Where no argument is NULL; `None` if that is everywhere, or does not matter to the function.
    valid: Option<NullBuffer>,
}

/// An argument as Arrow's kernels take it.
#[derive(Debug)]
pub struct Operand<'a> {
    values: &'a ArrayRef,
    is_constant: bool,
}

impl Datum for Operand<'_> {
    fn get(&self) -> (&dyn Array, bool) {
        (self.values, self.is_constant)
    }
}

impl<'a> Call<'a> {
    pub(crate) fn new(arguments: &'a [ArrayRef], rows: usize, returns: &'a DataType, config: &'a ConfigOptions, sees_nulls: bool) -> Self {
        let nulls = arguments.iter().filter(|_| !sees_nulls).map(|argument| argument.logical_nulls());
        let valid = nulls.fold(None, |valid, nulls| NullBuffer::union(valid.as_ref(), nulls.as_ref()));
        Self { arguments, rows, returns, config, valid }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of arguments.
    pub fn len(&self) -> usize {
        self.arguments.len()
    }

    /// Whether there are no arguments.
    pub fn is_empty(&self) -> bool {
        self.arguments.is_empty()
    }

    /// The type of the result.
    pub fn returns(&self) -> &DataType {
        self.returns
    }

    /// The settings of the session.
    pub fn config(&self) -> &ConfigOptions {
        self.config
    }

    /// Where no argument is NULL; `None` if that is everywhere, or the function sees NULLs.
    pub fn valid(&self) -> Option<&NullBuffer> {
        self.valid.as_ref()
    }

    /// Whether the result is NULL at this row since an argument is.
    pub fn is_null(&self, row: usize) -> bool {
        self.valid.as_ref().is_some_and(|valid| valid.is_null(row))
    }

    /// An argument.
    pub fn argument(&self, index: usize) -> Result<&'a ArrayRef> {
        self.arguments.get(index).ok_or_else(|| internal_datafusion_err!("argument {index} is missing"))
    }

    /// An argument for Arrow's kernels, of a function that takes constants as they are: what has one row is one value for all rows.
    pub fn operand(&self, index: usize) -> Result<Operand<'a>> {
        let values = self.argument(index)?;
        Ok(Operand { values, is_constant: values.len() == 1 && self.rows != 1 })
    }

    /// The result of an operation on each pair of numbers, of a function of two that takes constants as they are.
    pub fn pairwise<T: ArrowPrimitiveType>(&self, operation: impl Fn(T::Native, T::Native) -> T::Native) -> Result<PrimitiveArray<T>> {
        let (left, right) = (self.primitive::<T>(0)?, self.primitive::<T>(1)?);
        Ok(match (self.operand(0)?.is_constant, self.operand(1)?.is_constant) {
            (true, _) if left.is_null(0) => PrimitiveArray::new_null(self.rows),
            (_, true) if right.is_null(0) => PrimitiveArray::new_null(self.rows),
            (true, _) => right.unary(|value| operation(left.value(0), value)),
            (_, true) => left.unary(|value| operation(value, right.value(0))),
            _ => binary(left, right, operation)?,
        })
    }

    /// The same for an operation that may fail, which is done for no NULL.
    pub fn try_pairwise<T: ArrowPrimitiveType>(
        &self,
        operation: impl Fn(T::Native, T::Native) -> std::result::Result<T::Native, ArrowError>,
    ) -> Result<PrimitiveArray<T>> {
        let (left, right) = (self.primitive::<T>(0)?, self.primitive::<T>(1)?);
        Ok(match (self.operand(0)?.is_constant, self.operand(1)?.is_constant) {
            (true, _) if left.is_null(0) => PrimitiveArray::new_null(self.rows),
            (_, true) if right.is_null(0) => PrimitiveArray::new_null(self.rows),
            (true, _) => right.try_unary(|value| operation(left.value(0), value))?,
            (_, true) => left.try_unary(|value| operation(value, right.value(0)))?,
            _ => try_binary(left, right, operation)?,
        })
    }

    /// An argument of type `varchar`.
    pub fn text(&self, index: usize) -> Result<&'a StringViewArray> {
        self.argument(index)?.as_string_view_opt().ok_or_else(|| self.unexpected(index))
    }

    /// An argument of type `varbinary`.
    pub fn bytes(&self, index: usize) -> Result<&'a BinaryArray> {
        self.argument(index)?.as_binary_opt().ok_or_else(|| self.unexpected(index))
    }

    /// An argument of type `bigint`.
    pub fn bigint(&self, index: usize) -> Result<&'a Int64Array> {
        self.primitive::<Int64Type>(index)
    }

    /// An argument of type `double`.
    pub fn double(&self, index: usize) -> Result<&'a Float64Array> {
        self.primitive::<Float64Type>(index)
    }

    /// An argument of type `boolean`.
    pub fn boolean(&self, index: usize) -> Result<&'a BooleanArray> {
        self.argument(index)?.as_boolean_opt().ok_or_else(|| self.unexpected(index))
    }

    /// An argument of an array type.
    pub fn list(&self, index: usize) -> Result<&'a ListArray> {
        self.argument(index)?.as_list_opt().ok_or_else(|| self.unexpected(index))
    }

    /// An argument of a type of numbers, dates or moments.
    pub fn primitive<T: ArrowPrimitiveType>(&self, index: usize) -> Result<&'a PrimitiveArray<T>> {
        self.argument(index)?.as_primitive_opt().ok_or_else(|| self.unexpected(index))
    }

    fn unexpected(&self, index: usize) -> datafusion::error::DataFusionError {
        internal_datafusion_err!("argument {index} has the type {:?}", self.arguments.get(index).map(|argument| argument.data_type()))
    }

    /// The value of each row, `None` without asking where an argument is NULL.
    pub fn values<T>(&self, mut value: impl FnMut(usize) -> Result<Option<T>>) -> impl Iterator<Item = Result<Option<T>>> {
        (0..self.rows).map(move |row| if self.is_null(row) { Ok(None) } else { value(row) })
    }

    /// A result of type `varchar`.
    pub fn texts<T: AsRef<str>>(&self, value: impl FnMut(usize) -> Result<Option<T>>) -> Result<ArrayRef> {
        let mut builder = StringViewBuilder::with_capacity(self.rows);
        for value in self.values(value) {
            match value? {
                Some(text) => builder.try_append_value(text.as_ref())?,
                None => builder.append_null(),
            }
        }
        Ok(Arc::new(builder.finish()))
    }

    /// A result of type `varbinary`.
    pub fn binaries<T: AsRef<[u8]>>(&self, value: impl FnMut(usize) -> Result<Option<T>>) -> Result<ArrayRef> {
        Ok(Arc::new(self.values(value).collect::<Result<BinaryArray>>()?))
    }

    /// A result of type `bigint`.
    pub fn bigints(&self, value: impl FnMut(usize) -> Result<Option<i64>>) -> Result<ArrayRef> {
        self.primitives::<Int64Type>(value)
    }

    /// A result of type `double`.
    pub fn doubles(&self, value: impl FnMut(usize) -> Result<Option<f64>>) -> Result<ArrayRef> {
        self.primitives::<Float64Type>(value)
    }

    /// A result of type `boolean`.
    pub fn booleans(&self, value: impl FnMut(usize) -> Result<Option<bool>>) -> Result<ArrayRef> {
        let mut builder = BooleanBuilder::with_capacity(self.rows);
        for value in self.values(value) {
            builder.append_option(value?);
        }
        Ok(Arc::new(builder.finish()))
    }

    /// A result of a type of numbers, dates or moments; its precision, scale or time zone are those of [`Self::returns`].
    pub fn primitives<T: ArrowPrimitiveType>(&self, value: impl FnMut(usize) -> Result<Option<T::Native>>) -> Result<ArrayRef> {
        let (mut numbers, mut nulls) = (Vec::with_capacity(self.rows), NullBufferBuilder::new(self.rows));
        for value in self.values(value) {
            let value = value?;
            nulls.append(value.is_some());
            numbers.push(value.unwrap_or_default());
        }
        Ok(Arc::new(PrimitiveArray::<T>::new(numbers.into(), nulls.finish()).with_data_type(self.returns.clone())))
    }

    /// A result of type `varchar`: `write` writes the text of a row into a buffer, which is used again, or says by `false` that it is NULL.
    pub fn written_texts(&self, mut write: impl FnMut(usize, &mut String) -> Result<bool>) -> Result<ArrayRef> {
        let mut builder = StringViewBuilder::with_capacity(self.rows);
        let mut text = String::new();
        for row in 0..self.rows {
            text.clear();
            if !self.is_null(row) && write(row, &mut text)? {
                builder.try_append_value(&text)?;
            } else {
                builder.append_null();
            }
        }
        Ok(Arc::new(builder.finish()))
    }

    /// A result of type `varbinary`, in the same way.
    pub fn written_binaries(&self, mut write: impl FnMut(usize, &mut Vec<u8>) -> Result<bool>) -> Result<ArrayRef> {
        let mut builder = BinaryBuilder::with_capacity(self.rows, 0);
        let mut bytes = Vec::new();
        for row in 0..self.rows {
            bytes.clear();
            if !self.is_null(row) && write(row, &mut bytes)? {
                builder.append_value(&bytes);
            } else {
                builder.append_null();
            }
        }
        Ok(Arc::new(builder.finish()))
    }

    /// A result of type `array(varchar)`: `write` appends the elements of a row.
    pub fn text_lists(&self, mut write: impl FnMut(usize, &mut StringBuilder) -> Result<()>) -> Result<ArrayRef> {
        let mut builder = ListBuilder::with_capacity(StringBuilder::new(), self.rows);
        for row in 0..self.rows {
            let is_there = !self.is_null(row);
            if is_there {
                write(row, builder.values())?;
            }
            builder.append(is_there);
        }
        Ok(Arc::new(builder.finish()))
    }

    /// An argument of type `json`; `None` if it has another type.
    pub fn large_text(&self, index: usize) -> Result<Option<&'a LargeStringArray>> {
        Ok(self.argument(index)?.as_string_opt::<i64>())
    }

    /// A result of type `json`.
    pub fn jsons<T: AsRef<str>>(&self, value: impl FnMut(usize) -> Result<Option<T>>) -> Result<ArrayRef> {
        Ok(Arc::new(self.values(value).collect::<Result<LargeStringArray>>()?))
    }
}
