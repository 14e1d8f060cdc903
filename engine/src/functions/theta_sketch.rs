//! `iceberg_theta_sketch(column)`: a sketch of the distinct values of a column, in the form in which Iceberg's statistics files hold it.
//!
//! Values are hashed in Iceberg's single-value serialization (Puffin spec, "apache-datasketches-theta-v1"), so that sketches of all engines can be united.

use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Field, FieldRef, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use datafusion::common::{ScalarValue, exec_datafusion_err, not_impl_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datasketches::hash::value::raw_bytes;
use datasketches::theta::{CompactThetaSketch, ThetaSketch, ThetaSketchBuilder, ThetaUnion, ThetaUnionBuilder};
use nunatak_catalog::statistics::DistinctValues;
use nunatak_core::{Code, Error};

const NAME: &str = "iceberg_theta_sketch";

/// The function.
pub fn function() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(ThetaSketchFunction { signature: Signature::any(1, Volatility::Immutable) }))
}

/// Whether there are sketches of values of a type.
pub fn takes(data_type: &DataType) -> bool {
    match data_type {
        DataType::Time64(unit) => *unit == TimeUnit::Microsecond,
        DataType::Timestamp(unit, _) => matches!(unit, TimeUnit::Microsecond | TimeUnit::Nanosecond),
        DataType::Boolean
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32
        | DataType::Decimal128(..)
        | DataType::Utf8
        | DataType::Utf8View
        | DataType::LargeUtf8
        | DataType::Binary
        | DataType::BinaryView
        | DataType::LargeBinary
        | DataType::FixedSizeBinary(_) => true,
        _ => false,
    }
}

/// A serialized sketch with its count. Errors: an internal one, for bytes that are no sketch.
pub fn distinct_values(sketch: &[u8]) -> nunatak_core::Result<DistinctValues> {
    let read = CompactThetaSketch::deserialize(sketch);
    let read = read.map_err(|error| Error::new(Code::GenericInternalError, format!("the sketch of a column cannot be read: {error}")))?;
    Ok(DistinctValues { count: read.estimate().round() as u64, sketch: sketch.to_vec() })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ThetaSketchFunction {
    signature: Signature,
}

impl AggregateUDFImpl for ThetaSketchFunction {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [data_type] if takes(data_type) => Ok(DataType::Binary),
            _ => not_impl_err!("{NAME} takes one column of a simple type"),
        }
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Sketching { values: new_sketch()?, others: None }))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[sketch]", arguments.name), DataType::Binary, true))])
    }
}

fn new_sketch() -> Result<ThetaSketch> {
    ThetaSketchBuilder::default().build().map_err(failed)
}

fn failed(error: datasketches::error::Error) -> datafusion::error::DataFusionError {
    exec_datafusion_err!("{NAME}: {error}")
}

struct Sketching {
    /// Of values that were seen here.
    values: ThetaSketch,
    /// Of sketches that others have made.
    others: Option<ThetaUnion>,
}

impl std::fmt::Debug for Sketching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sketching").field("retained", &self.values.num_retained()).finish_non_exhaustive()
    }
}

impl Sketching {
    fn sketch(&mut self) -> Result<Vec<u8>> {
        let sketch = match &mut self.others {
            None => self.values.compact(true),
            Some(others) => {
                others.update(&self.values).map_err(failed)?;
                others.to_sketch(true)
            }
        };
        Ok(sketch.serialize())
    }
}

impl Accumulator for Sketching {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match values {
            [column] => add(&mut self.values, column),
            _ => not_impl_err!("{NAME} takes one column"),
        }
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let others = match &mut self.others {
            Some(others) => others,
            None => self.others.insert(ThetaUnionBuilder::default().build().map_err(failed)?),
        };
        for sketch in states.iter().flat_map(|state| state.as_binary::<i32>().iter().flatten()) {
            others.update(&CompactThetaSketch::deserialize(sketch).map_err(failed)?).map_err(failed)?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(Some(self.sketch()?))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Binary(Some(self.sketch()?)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.estimated_size() + self.others.as_ref().map_or(0, ThetaUnion::estimated_size)
    }
}

/// Adds the values of a column. NULLs do not count, nor do empty texts: Java's sketches leave them out.
fn add(sketch: &mut ThetaSketch, column: &ArrayRef) -> Result<()> {
    match column.data_type() {
        DataType::Boolean => column.as_boolean().iter().flatten().for_each(|value| add_bytes(sketch, &[u8::from(value)])),
        DataType::Int32 => add_numbers::<Int32Type, 4>(sketch, column, i32::to_le_bytes),
        DataType::Int64 => add_numbers::<Int64Type, 8>(sketch, column, i64::to_le_bytes),
        DataType::Float32 => add_numbers::<Float32Type, 4>(sketch, column, f32::to_le_bytes),
        DataType::Float64 => add_numbers::<Float64Type, 8>(sketch, column, f64::to_le_bytes),
        DataType::Date32 => add_numbers::<Date32Type, 4>(sketch, column, i32::to_le_bytes),
        DataType::Time64(TimeUnit::Microsecond) => add_numbers::<Time64MicrosecondType, 8>(sketch, column, i64::to_le_bytes),
        DataType::Timestamp(TimeUnit::Microsecond, _) => add_numbers::<TimestampMicrosecondType, 8>(sketch, column, i64::to_le_bytes),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => add_numbers::<TimestampNanosecondType, 8>(sketch, column, i64::to_le_bytes),
        DataType::Decimal128(..) => {
            for value in column.as_primitive::<Decimal128Type>().iter().flatten() {
                let bytes = value.to_be_bytes();
                add_bytes(sketch, shortest(&bytes));
            }
        }
        DataType::Utf8 => column.as_string::<i32>().iter().flatten().for_each(|text| add_bytes(sketch, text.as_bytes())),
        DataType::LargeUtf8 => column.as_string::<i64>().iter().flatten().for_each(|text| add_bytes(sketch, text.as_bytes())),
        DataType::Utf8View => column.as_string_view().iter().flatten().for_each(|text| add_bytes(sketch, text.as_bytes())),
        DataType::Binary => column.as_binary::<i32>().iter().flatten().for_each(|bytes| add_bytes(sketch, bytes)),
        DataType::LargeBinary => column.as_binary::<i64>().iter().flatten().for_each(|bytes| add_bytes(sketch, bytes)),
        DataType::BinaryView => column.as_binary_view().iter().flatten().for_each(|bytes| add_bytes(sketch, bytes)),
        DataType::FixedSizeBinary(_) => column.as_fixed_size_binary().iter().flatten().for_each(|bytes| add_bytes(sketch, bytes)),
        other => return not_impl_err!("{NAME} of a column of type {other}"),
    }
    Ok(())
}

fn add_numbers<T: ArrowPrimitiveType, const N: usize>(sketch: &mut ThetaSketch, column: &ArrayRef, bytes: impl Fn(T::Native) -> [u8; N]) {
    column.as_primitive::<T>().iter().flatten().for_each(|value| add_bytes(sketch, &bytes(value)));
}

fn add_bytes(sketch: &mut ThetaSketch, bytes: &[u8]) {
    if !bytes.is_empty() {
        sketch.update(raw_bytes::from_slice(bytes));
    }
}

/// A number of two's complement, highest byte first, in as few bytes as can hold it.
fn shortest(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [first, second, ..] = rest
        && ((*first == 0 && *second < 0x80) || (*first == 0xff && *second >= 0x80))
    {
        rest = &rest[1..];
    }
    rest
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringViewArray};

    use super::*;

    fn sketch_of(parts: &[ArrayRef]) -> DistinctValues {
        let mut whole = Sketching { values: new_sketch().unwrap(), others: None };
        for part in parts {
            let mut one = Sketching { values: new_sketch().unwrap(), others: None };
            one.update_batch(std::slice::from_ref(part)).unwrap();
            let state = one.state().unwrap().remove(0).to_array().unwrap();
            whole.merge_batch(&[state]).unwrap();
        }
        let ScalarValue::Binary(Some(sketch)) = whole.evaluate().unwrap() else { panic!("a sketch is binary") };
        distinct_values(&sketch).unwrap()
    }

    #[test]
    fn sketches_unite() {
        let part = |range: std::ops::Range<i32>| Arc::new(Int32Array::from_iter(range.map(|n| (n % 10 != 0).then_some(n)))) as ArrayRef;
        assert_eq!(sketch_of(&[part(0..1000), part(500..1500)]).count, 1350);
        let many = sketch_of(&[part(0..200_000), part(100_000..300_000)]).count;
        assert!((255_000..285_000).contains(&many), "{many}");
        assert_eq!(sketch_of(&[]).count, 0);
    }

    /// What `UpdateSketch.update(byte[])` of Java's DataSketches makes of "1" to "3" and of nothing.
    #[test]
    fn empty_texts_do_not_count() {
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec![Some("1"), Some("2"), Some("3"), Some(""), None, Some("1")]));
        assert_eq!(sketch_of(&[texts]).count, 3);
    }

    #[test]
    fn decimals_are_as_short_as_they_can_be() {
        let short = |value: i128| shortest(&value.to_be_bytes()).to_vec();
        assert_eq!((short(0), short(-1), short(127), short(128)), (vec![0], vec![255], vec![127], vec![0, 128]));
        assert_eq!((short(-128), short(-129), short(1420)), (vec![128], vec![255, 127], vec![5, 140]));
    }
}
