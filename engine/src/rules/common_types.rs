//! The type that values of several types have together, where it is another one than DataFusion finds.
//!
//! - Decimals beside `real` or `double` become such. A number that is written with a point is a decimal, as in Trino; DataFusion makes decimals of fifteen digits after
//!   the point of all, which are other numbers.
//! - Whole numbers beside decimals of which one is chosen become such, with as many digits as they may have: DataFusion counts 20 for `bigint`.
//! - Dates and texts beside timestamps become timestamps of microseconds, as the columns of tables have them. DataFusion makes timestamps of nanoseconds of them, which
//!   reach from 1677 to 2262 only.
//! - Times of day of different units become of nanoseconds; DataFusion has no type for them.
//! - Texts beside UUIDs become such.
//! - Binary values have one type in SQL and several here: columns another one than literals.
//! - Of arrays, maps and rows the types within become alike, and lose what the columns of tables say of their fields (ids): constants lose it when they are cast, and
//!   would not fit with columns.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, Fields, TimeUnit};
use datafusion::logical_expr::type_coercion::binary::type_union_coercion;

use crate::functions::text_cast::{UUID, is_text};
use crate::scan::types::plain_type;

/// The type that some of the values are to have; `None` if DataFusion makes them alike as they should be.
pub(super) fn common_type(types: &[DataType]) -> Option<DataType> {
    let (first, others) = types.split_first()?;
    if others.iter().all(|data_type| data_type == first) {
        return None;
    }
    match types.iter().any(DataType::is_nested) {
        true => nested(types),
        false => float(types).or_else(|| temporal(types)).or_else(|| uuid(types)).or_else(|| binary(types)),
    }
}

/// The same of values of which one is chosen, so that the type shows: of whole numbers beside decimals, too.
pub(super) fn chosen_type(types: &[DataType]) -> Option<DataType> {
    common_type(types).or_else(|| decimal(types))
}

/// The type that all of the values get, by us or by DataFusion; `None` if there is none.
pub(super) fn unified(types: &[DataType]) -> Option<DataType> {
    chosen_type(types).or_else(|| {
        let mut known = types.iter().filter(|data_type| !data_type.is_null());
        let first = known.next()?.clone();
        known.try_fold(first, |common, data_type| type_union_coercion(&common, data_type))
    })
}

/// Whether values of a type are cast to the common one, and not left to DataFusion.
pub(super) fn takes(common: &DataType, data_type: &DataType) -> bool {
    match common {
        DataType::Float32 | DataType::Float64 => data_type.is_decimal(),
        DataType::Decimal128(..) => data_type.is_signed_integer(),
        DataType::Timestamp(..) => *data_type == DataType::Date32 || is_text(data_type),
        DataType::FixedSizeBinary(_) => *common == UUID && is_text(data_type),
        DataType::Time64(_) => matches!(data_type, DataType::Time64(_)) && data_type != common,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => is_binary(data_type) && data_type != common,
        _ => common.is_nested() && data_type.is_nested() && data_type != common,
    }
}

fn float(types: &[DataType]) -> Option<DataType> {
    let widest = types.iter().filter(|data_type| data_type.is_floating()).max_by_key(|data_type| data_type.primitive_width());
    widest.filter(|_| types.iter().any(DataType::is_decimal)).cloned()
}

/// Whole numbers beside decimals: as many digits before and behind the point as any of them may have, as in Trino.
fn decimal(types: &[DataType]) -> Option<DataType> {
    if !types.iter().any(DataType::is_signed_integer) || !types.iter().any(DataType::is_decimal) {
        return None;
    }
    let (mut before, mut behind) = (0_u8, 0_u8);
    for data_type in types.iter().filter(|data_type| !data_type.is_null()) {
        let (digits, scale) = match data_type {
            DataType::Int8 => (3, 0),
            DataType::Int16 => (5, 0),
            DataType::Int32 => (10, 0),
            DataType::Int64 => (19, 0),
            DataType::Decimal128(precision, scale) => (*precision, u8::try_from(*scale).ok()?),
            _ => return None,
        };
        before = before.max(digits.checked_sub(scale)?);
        behind = behind.max(scale);
    }
    Some(DataType::Decimal128((before + behind).min(DECIMAL128_MAX_PRECISION), i8::try_from(behind).ok()?))
}

fn temporal(types: &[DataType]) -> Option<DataType> {
    let of_nanoseconds = types.iter().any(|data_type| matches!(data_type, DataType::Timestamp(TimeUnit::Nanosecond, _)));
    let zone = types.iter().find_map(|data_type| if let DataType::Timestamp(_, zone) = data_type { Some(zone) } else { None });
    if let Some(zone) = zone {
        let common = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
        return (!of_nanoseconds && types.iter().any(|data_type| takes(&common, data_type))).then_some(common);
    }
    let mut units = types.iter().filter_map(|data_type| if let DataType::Time64(unit) = data_type { Some(unit) } else { None });
    let first = units.next()?;
    units.any(|unit| unit != first).then_some(DataType::Time64(TimeUnit::Nanosecond))
}

/// Texts beside UUIDs are such.
fn uuid(types: &[DataType]) -> Option<DataType> {
    let is_one = |data_type: &DataType| *data_type == UUID || is_text(data_type) || data_type.is_null();
    (types.contains(&UUID) && types.iter().any(is_text) && types.iter().all(is_one)).then_some(UUID)
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_))
}

fn binary(types: &[DataType]) -> Option<DataType> {
    let mut known = types.iter().filter(|data_type| !data_type.is_null());
    let first = known.clone().next().filter(|_| known.clone().all(is_binary))?;
    if known.all(|data_type| data_type == first) {
        return None;
    }
    let widest = [DataType::BinaryView, DataType::LargeBinary].into_iter().find(|wide| types.contains(wide));
    Some(widest.unwrap_or(DataType::Binary))
}

fn nested(types: &[DataType]) -> Option<DataType> {
    let known: Vec<DataType> = types.iter().filter(|data_type| !data_type.is_null()).map(plain_type).collect();
    match known.first()? {
        DataType::List(_) => {
            let elements = known.iter().map(|data_type| if let DataType::List(element) = data_type { Some(element) } else { None });
            let element = unified_fields(elements.collect::<Option<_>>()?)?;
            Some(DataType::List(Arc::new(Field::new_list_field(element, true))))
        }
        DataType::Struct(_) => {
            let rows = known.iter().map(|data_type| if let DataType::Struct(fields) = data_type { Some(fields) } else { None });
            row(rows.collect::<Option<_>>()?).map(DataType::Struct)
        }
        DataType::Map(entries, sorted) => {
            let pairs = known.iter().map(|data_type| match data_type {
                DataType::Map(entries, _) => match entries.data_type() {
                    DataType::Struct(pair) => Some(pair),
                    _ => None,
                },
                _ => None,
            });
            let pair = row(pairs.collect::<Option<_>>()?)?;
            // Keys are never NULL.
            let pair = pair.iter().enumerate().map(|(place, field)| Field::new(field.name(), field.data_type().clone(), place > 0));
            let entries = Field::new(entries.name(), DataType::Struct(pair.collect()), false);
            Some(DataType::Map(Arc::new(entries), *sorted))
        }
        _ => None,
    }
}

/// Rows go by position, and have the names of the first.
fn row(rows: Vec<&Fields>) -> Option<Fields> {
    let (first, others) = rows.split_first()?;
    if others.iter().any(|fields| fields.len() != first.len() || is_reordered(fields, first)) {
        return None;
    }
    let field = |(place, field): (usize, &FieldRef)| {
        let unified = unified_fields(rows.iter().map(|fields| &fields[place]).collect())?;
        Some(Field::new(field.name(), unified, true))
    };
    first.iter().enumerate().map(field).collect()
}

/// Whether these are the same names in another order: such rows DataFusion casts by name.
fn is_reordered(fields: &Fields, others: &Fields) -> bool {
    let same = fields.iter().zip(others).all(|(field, other)| field.name() == other.name());
    !same && fields.iter().all(|field| others.find(field.name()).is_some())
}

fn unified_fields(fields: Vec<&FieldRef>) -> Option<DataType> {
    let types: Vec<DataType> = fields.into_iter().map(|field| field.data_type().clone()).collect();
    // What is NULL or empty everywhere has no type, and needs none.
    if types.iter().all(DataType::is_null) { Some(DataType::Null) } else { unified(&types) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn time(unit: TimeUnit) -> DataType {
        DataType::Time64(unit)
    }

    #[test]
    fn decimals_become_floats() {
        let decimal = DataType::Decimal128(3, 1);
        assert_eq!(common_type(&[DataType::Float32, decimal.clone(), DataType::Float64]), Some(DataType::Float64));
        assert_eq!(common_type(&[DataType::Float32, decimal.clone(), DataType::Null]), Some(DataType::Float32));
        assert_eq!(common_type(&[DataType::Int64, decimal]), None);
    }

    #[test]
    fn whole_numbers_have_the_digits_that_they_may_have() {
        let decimal = |precision, scale| DataType::Decimal128(precision, scale);
        assert_eq!(chosen_type(&[DataType::Int32, decimal(2, 1), DataType::Null]), Some(decimal(11, 1)));
        assert_eq!(chosen_type(&[decimal(3, 2), DataType::Int64]), Some(decimal(21, 2)));
        assert_eq!(unified(&[DataType::Int64, decimal(38, 20)]), Some(decimal(38, 20)));
        assert_eq!(chosen_type(&[DataType::Int64, decimal(2, 1), DataType::Float64]), Some(DataType::Float64));
        assert_eq!(chosen_type(&[DataType::Int64, DataType::Int32]), None);
        assert!(takes(&decimal(11, 1), &DataType::Int32) && !takes(&decimal(11, 1), &decimal(2, 1)));
    }

    #[test]
    fn moments_count_microseconds() {
        let (micros, nanos) = (DataType::Timestamp(TimeUnit::Microsecond, None), DataType::Timestamp(TimeUnit::Nanosecond, None));
        assert_eq!(common_type(&[micros.clone(), DataType::Date32]), Some(micros.clone()));
        assert_eq!(common_type(&[DataType::Utf8, micros.clone(), nanos.clone()]), None);
        assert_eq!(common_type(&[micros.clone(), nanos]), None);
        assert_eq!(common_type(&[time(TimeUnit::Microsecond), time(TimeUnit::Nanosecond)]), Some(time(TimeUnit::Nanosecond)));
        assert_eq!(common_type(&[time(TimeUnit::Microsecond), time(TimeUnit::Microsecond)]), None);
        assert!(takes(&micros, &DataType::Date32) && !takes(&micros, &micros) && !takes(&time(TimeUnit::Nanosecond), &DataType::Utf8));
    }

    #[test]
    fn texts_beside_uuids_are_uuids() {
        assert_eq!(common_type(&[UUID, DataType::Utf8, DataType::Null]), Some(UUID));
        assert_eq!(common_type(&[UUID, DataType::Int64, DataType::Utf8]), None);
        assert!(takes(&UUID, &DataType::Utf8View) && !takes(&UUID, &UUID) && !takes(&UUID, &DataType::Binary));
    }

    #[test]
    fn binary_values_have_one_type() {
        let (view, fixed) = (DataType::BinaryView, DataType::FixedSizeBinary(2));
        assert_eq!(common_type(&[view.clone(), DataType::Binary, DataType::Null]), Some(view.clone()));
        assert_eq!(common_type(&[fixed.clone(), DataType::Binary]), Some(DataType::Binary));
        assert_eq!(common_type(&[view.clone(), DataType::Null]), None);
        assert_eq!(common_type(&[view.clone(), DataType::Utf8]), None);
        assert!(takes(&view, &DataType::Binary) && takes(&view, &fixed) && !takes(&view, &view) && !takes(&view, &DataType::Null));
    }

    #[test]
    fn types_within_become_alike() {
        let list = |element| DataType::new_list(element, true);
        assert_eq!(common_type(&[list(DataType::Int32), list(DataType::Int64)]), Some(list(DataType::Int64)));
        assert_eq!(common_type(&[list(DataType::Float64), list(DataType::Decimal128(2, 1))]), Some(list(DataType::Float64)));
        assert_eq!(common_type(&[list(DataType::Null), DataType::Null, list(DataType::Int32)]), Some(list(DataType::Int32)));
        assert_eq!(common_type(&[list(DataType::Int32), DataType::Int32]), None);
        let row = |names: [&str; 2], last: DataType| {
            DataType::Struct(Fields::from(vec![Field::new(names[0], DataType::Int32, true), Field::new(names[1], last, true)]))
        };
        assert_eq!(common_type(&[row(["x", "y"], DataType::Int32), row(["c0", "c1"], DataType::Int64)]), Some(row(["x", "y"], DataType::Int64)));
        assert_eq!(common_type(&[row(["x", "y"], DataType::Int32), row(["y", "x"], DataType::Int64)]), None);
    }

    #[test]
    fn ids_of_fields_are_left_out() {
        let element = Field::new("element", DataType::Int32, true).with_metadata(HashMap::from([("PARQUET:field_id".to_owned(), "3".to_owned())]));
        let column = DataType::List(Arc::new(element));
        let plain = DataType::new_list(DataType::Int32, true);
        assert_eq!(common_type(&[column.clone(), plain.clone()]), Some(plain.clone()));
        assert!(takes(&plain, &column) && !takes(&plain, &plain));
    }
}
