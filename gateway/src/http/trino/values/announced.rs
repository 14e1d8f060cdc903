//! What types clients are told of, where values tell it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, IntervalMonthDayNanoType, IntervalUnit, Schema};

/// The columns as clients are told of them. Intervals of months, days and seconds are of the one kind or the other in Trino, also within lists, maps and rows: the first
/// one that is not zero tells which.
pub(in super::super) fn announced(schema: &Schema, first: Option<&RecordBatch>) -> Schema {
    let column = |(at, field): (usize, &FieldRef)| match first {
        Some(batch) => told_field(field, batch.column(at)),
        None => Arc::clone(field),
    };
    Schema::new(schema.fields().iter().enumerate().map(column).collect::<Vec<_>>())
}

fn told_field(field: &FieldRef, values: &ArrayRef) -> FieldRef {
    let told = told_type(field.data_type(), values);
    if told == *field.data_type() { Arc::clone(field) } else { Arc::new(field.as_ref().clone().with_data_type(told)) }
}

/// What values of a type are told to be.
fn told_type(data_type: &DataType, values: &ArrayRef) -> DataType {
    match (data_type, values.data_type()) {
        (DataType::Interval(IntervalUnit::MonthDayNano), DataType::Interval(IntervalUnit::MonthDayNano)) => {
            let intervals = values.as_primitive::<IntervalMonthDayNanoType>();
            let telling = intervals.iter().flatten().find(|value| (value.months, value.days, value.nanoseconds) != (0, 0, 0));
            let has_months = telling.is_some_and(|value| value.months != 0);
            DataType::Interval(if has_months { IntervalUnit::YearMonth } else { IntervalUnit::DayTime })
        }
        (DataType::List(element), DataType::List(_)) => DataType::List(told_field(element, values.as_list::<i32>().values())),
        (DataType::LargeList(element), DataType::LargeList(_)) => DataType::LargeList(told_field(element, values.as_list::<i64>().values())),
        (DataType::FixedSizeList(element, length), DataType::FixedSizeList(..)) => {
            DataType::FixedSizeList(told_field(element, values.as_fixed_size_list().values()), *length)
        }
        (DataType::Struct(fields), DataType::Struct(_)) => {
            let columns = values.as_struct().columns();
            DataType::Struct(fields.iter().zip(columns).map(|(field, column)| told_field(field, column)).collect())
        }
        (DataType::Map(entries, is_sorted), DataType::Map(..)) => {
            let pairs: ArrayRef = Arc::new(values.as_map().entries().clone());
            DataType::Map(told_field(entries, &pairs), *is_sorted)
        }
        _ => data_type.clone(),
    }
}
