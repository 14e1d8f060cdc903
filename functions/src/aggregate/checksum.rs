//! `checksum`: the sum of a hash of each value, whatever their order. It is Trino's: xxHash64 of what its types hold (rows are hashed by a rule of our own).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, Int64Type, TimeUnit};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{ScalarValue, exec_datafusion_err};
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;
use twox_hash::XxHash64;

use super::fold::{as_it_is, first};
use super::function::{Aggregate, Types};

/// What hashes are multiplied by, and what NULL counts: the first prime of xxHash64.
const PRIME: i64 = 0x9E37_79B1_85EB_CA87_u64 as i64;

/// The digits that decimals of 64 bits have.
const SHORT_DIGITS: u8 = 18;

pub(super) const FUNCTIONS: &[Aggregate] =
    &[Aggregate::new("checksum", &["(T) -> varbinary"], |_| Ok(vec![DataType::Int64]), start, "A checksum of the values in any order.")];

fn start(_: &Types) -> Result<Box<dyn Accumulator>> {
    Ok(Box::new(Checksum { sum: None }))
}

#[derive(Debug)]
struct Checksum {
    sum: Option<i64>,
}

impl Checksum {
    fn add(&mut self, value: i64) {
        self.sum = Some(self.sum.unwrap_or_default().wrapping_add(value));
    }
}

impl Accumulator for Checksum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let hashes = hashes(first(values)?)?;
        hashes.into_iter().for_each(|hash| self.add(hash.map_or(PRIME, |hash| hash.wrapping_mul(PRIME))));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        as_it_is::<Int64Type>(first(states)?)?.iter().flatten().for_each(|sum| self.add(sum));
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Int64(self.sum)])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Binary(self.sum.map(|sum| sum.to_le_bytes().to_vec())))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

fn of_bytes(bytes: &[u8]) -> i64 {
    XxHash64::oneshot(0, bytes).cast_signed()
}

fn of_number(number: i64) -> i64 {
    of_bytes(&number.to_le_bytes())
}

/// The hash of each value; `None` for NULL. Of types that Trino holds otherwise than we do (intervals, UUIDs, moments with a zone, maps) it is of our own form.
pub(super) fn hashes(column: &ArrayRef) -> Result<Vec<Option<i64>>> {
    let unexpected = || exec_datafusion_err!("a column is not of the type {}", column.data_type());
    Ok(match column.data_type() {
        DataType::Null => vec![None; column.len()],
        DataType::Boolean => column.as_boolean().iter().map(|value| value.map(|value| of_number(i64::from(value)))).collect(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => numbers(&cast(column, &DataType::Int64)?)?,
        DataType::Date32 => numbers(&cast(&cast(column, &DataType::Int32)?, &DataType::Int64)?)?,
        // Trino counts picoseconds of a day.
        DataType::Time64(TimeUnit::Microsecond) => {
            let picoseconds: Int64Array = as_it_is::<Int64Type>(&cast(column, &DataType::Int64)?)?.unary(|micros| micros.wrapping_mul(1_000_000));
            numbers(&(Arc::new(picoseconds) as ArrayRef))?
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) => numbers(&cast(column, &DataType::Int64)?)?,
        DataType::Float32 => {
            let bits = |value: f32| if value.is_nan() { 0x7fc0_0000 } else { (value + 0.0).to_bits().cast_signed() };
            column.as_primitive::<Float32Type>().iter().map(|value| value.map(|value| of_number(i64::from(bits(value))))).collect()
        }
        DataType::Float64 => {
            let bits = |value: f64| if value.is_nan() { 0x7ff8_0000_0000_0000 } else { (value + 0.0).to_bits().cast_signed() };
            column.as_primitive::<Float64Type>().iter().map(|value| value.map(|value| of_number(bits(value)))).collect()
        }
        DataType::Decimal128(digits, _) => {
            let is_short = *digits <= SHORT_DIGITS;
            let hash = |value: i128| match is_short {
                true => of_number(value as i64),
                false => of_number((value >> 64) as i64) ^ of_number(value as i64),
            };
            column.as_primitive::<Decimal128Type>().iter().map(|value| value.map(hash)).collect()
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let texts = cast(column, &DataType::Utf8View)?;
            texts.as_string_view().iter().map(|text| text.map(|text| of_bytes(text.as_bytes()))).collect()
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let values = cast(column, &DataType::BinaryView)?;
            values.as_binary_view().iter().map(|bytes| bytes.map(of_bytes)).collect()
        }
        DataType::List(_) => {
            let lists = column.as_list_opt::<i32>().ok_or_else(unexpected)?;
            let elements = hashes(lists.values())?;
            let offsets = lists.value_offsets();
            let list = |row: usize| {
                let range = offsets[row] as usize..offsets[row + 1] as usize;
                elements[range].iter().fold(0_i64, |hash, element| hash.wrapping_mul(31).wrapping_add(element.unwrap_or_default()))
            };
            (0..lists.len()).map(|row| lists.is_valid(row).then(|| list(row))).collect()
        }
        DataType::Struct(_) => of_rows(column.as_struct_opt().ok_or_else(unexpected)?)?,
        _ => {
            let rows = RowConverter::new(vec![SortField::new(column.data_type().clone())])?.convert_columns(&[Arc::clone(column)])?;
            let nulls = column.logical_nulls();
            let is_valid = |row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
            rows.iter().enumerate().map(|(row, bytes)| is_valid(row).then(|| of_bytes(bytes.data()))).collect()
        }
    })
}

fn numbers(column: &ArrayRef) -> Result<Vec<Option<i64>>> {
    Ok(as_it_is::<Int64Type>(column)?.iter().map(|value| value.map(of_number)).collect())
}

fn of_rows(rows: &StructArray) -> Result<Vec<Option<i64>>> {
    let mut found = vec![1_i64; rows.len()];
    for column in rows.columns() {
        for (found, hash) in found.iter_mut().zip(hashes(column)?) {
            *found = found.wrapping_mul(31).wrapping_add(hash.unwrap_or_default());
        }
    }
    Ok(found.into_iter().enumerate().map(|(row, hash)| rows.is_valid(row).then_some(hash)).collect())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, ListArray};

    use super::*;

    #[test]
    fn order_and_parts_do_not_matter() {
        let sum = |parts: &[ArrayRef]| {
            let mut whole = Checksum { sum: None };
            for part in parts {
                let mut one = Checksum { sum: None };
                one.update_batch(std::slice::from_ref(part)).unwrap();
                whole.merge_batch(&[one.state().unwrap()[0].to_array().unwrap()]).unwrap();
            }
            whole.evaluate().unwrap()
        };
        let numbers = |values: Vec<Option<i32>>| Arc::new(Int32Array::from(values)) as ArrayRef;
        let all = sum(&[numbers(vec![Some(1), None, Some(2)])]);
        assert_eq!(all, sum(&[numbers(vec![Some(9), Some(2), Some(1)]).slice(1, 2), numbers(vec![]), numbers(vec![None])]));
        assert!(sum(&[]).is_null());
    }

    #[test]
    fn slices_of_lists_are_hashed_as_they_are() {
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(7)]), None, Some(vec![Some(1), None, Some(2)])]);
        let whole: ArrayRef = Arc::new(lists);
        assert_eq!(hashes(&whole).unwrap()[1..], hashes(&whole.slice(1, 2)).unwrap());
    }
}
