//! Texts as values of a column's type, and the rows whose text is none.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{NaiveTime, Utc};
use datafusion::arrow::array::{Array, ArrayData, ArrayRef, AsArray, Date32Array, FixedSizeBinaryBuilder, StringArray, UInt32Array, new_null_array};
use datafusion::arrow::compute::kernels::cast_utils::{Parser, string_to_datetime};
use datafusion::arrow::compute::{CastOptions, can_cast_types, cast_with_options, take};
use datafusion::arrow::datatypes::{DataType, Date32Type, Field, FieldRef, Fields};
use nunatak_core::Result;

use super::decoder::from_arrow;
use super::faults::{Cause, Fault};
use crate::type_name::type_name;

/// Bytes of a UUID.
const UUID_BYTES: i32 = 16;

const SAFE: CastOptions<'static> = CastOptions { safe: true, format_options: datafusion::arrow::util::display::FormatOptions::new() };

/// A column, with NULL where a value is bad.
pub(super) struct Converted {
    pub(super) values: ArrayRef,
    /// The rows with a bad value.
    pub(super) faults: Vec<(usize, ColumnFault)>,
}

/// What is wrong with a value; the line is not known here.
pub(super) struct ColumnFault {
    column: String,
    wanted: DataType,
    /// The text that is no value; NULL in a column that needs one if there is none.
    text: Option<String>,
    /// More on it, where the text alone does not tell.
    reason: Option<String>,
}

impl ColumnFault {
    pub(super) fn to_fault(&self, line: u64) -> Fault {
        match (&self.text, &self.reason) {
            (_, Some(reason)) => {
                let reason = format!("column '{}': {reason}", self.column);
                Fault { line, reason, cause: Cause::Value(self.column.clone()) }
            }
            (Some(text), None) => Fault::value(line, &self.column, text, &self.wanted),
            (None, None) => Fault::null(line, &self.column),
        }
    }
}

/// Whether values of the type can be read from texts or, where `nested` allows it, from objects and arrays.
pub(super) fn is_readable(data_type: &DataType, allows_nested: bool) -> bool {
    if data_type.is_nested() {
        return allows_nested && can_cast_types(&text_type(data_type), data_type);
    }
    *data_type == DataType::FixedSizeBinary(UUID_BYTES) || can_cast_types(&DataType::Utf8, data_type)
}

/// The type with texts for all its values, nested ones included.
pub(super) fn text_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::List(element) => DataType::List(text_field(element)),
        DataType::LargeList(element) => DataType::LargeList(text_field(element)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(text_field).collect::<Fields>()),
        DataType::Map(entries, sorted) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                let key = Arc::new(text_field(&fields[0]).as_ref().clone().with_nullable(false));
                let entry = DataType::Struct(Fields::from(vec![key, text_field(&fields[1])]));
                DataType::Map(Arc::new(Field::new(entries.name(), entry, false)), *sorted)
            }
            _ => DataType::Utf8,
        },
        _ => DataType::Utf8,
    }
}

fn text_field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(field.name(), text_type(field.data_type()), true))
}

/// A column that the file does not have.
pub(super) fn missing(field: &Field, rows: usize) -> Converted {
    Converted { values: new_null_array(field.data_type(), rows), faults: Vec::new() }
}

/// Converts a column whose values are texts, or nested with texts inside.
pub(super) fn convert(raw: &ArrayRef, field: &Field) -> Result<Converted> {
    let fault =
        |text: Option<String>, reason: Option<String>| ColumnFault { column: field.name().clone(), wanted: field.data_type().clone(), text, reason };
    let mut converted = if field.data_type().is_nested() {
        let (values, bad) = convert_nested(raw, field)?;
        Converted { values, faults: bad.into_iter().map(|(row, reason)| (row, fault(None, Some(reason)))).collect() }
    } else {
        let texts = raw.as_string::<i32>();
        let values = convert_texts(texts, field.data_type())?;
        let bad = newly_null(texts, values.as_ref());
        Converted { values, faults: bad.into_iter().map(|row| (row, fault(Some(texts.value(row).to_owned()), None))).collect() }
    };
    if !field.is_nullable() && raw.null_count() > 0 {
        converted.faults.extend((0..raw.len()).filter(|row| raw.is_null(*row)).map(|row| (row, fault(None, None))));
    }
    Ok(converted)
}

fn convert_texts(texts: &StringArray, data_type: &DataType) -> Result<ArrayRef> {
    let values = convert_strictly(texts, data_type)?;
    if values.null_count() == texts.null_count() || !is_repairable(data_type) {
        return Ok(values);
    }
    // Some texts are values in a spelling that the cast does not know. Only here, so that usual files do not pay for it.
    let repaired: StringArray = texts
        .iter()
        .enumerate()
        .map(|(row, text)| text.map(|text| if values.is_null(row) { repaired(text, data_type) } else { Cow::Borrowed(text) }))
        .collect();
    convert_strictly(&repaired, data_type)
}

fn convert_strictly(texts: &StringArray, data_type: &DataType) -> Result<ArrayRef> {
    match data_type {
        DataType::Utf8 => Ok(Arc::new(texts.clone())),
        DataType::Date32 => Ok(Arc::new(texts.iter().map(|text| text.and_then(parse_date)).collect::<Date32Array>())),
        DataType::FixedSizeBinary(UUID_BYTES) => uuids(texts),
        _ => cast_with_options(texts, data_type, &SAFE).map_err(from_arrow),
    }
}

/// Arrow's parser takes a timestamp for a date and forgets its time; here only midnight is a date.
pub(super) fn parse_date(text: &str) -> Option<i32> {
    if text.len() > 10 && !text.starts_with(['+', '-']) {
        let timestamp = string_to_datetime(&Utc, text).ok()?;
        if timestamp.time() != NaiveTime::MIN {
            return None;
        }
    }
    Date32Type::parse(text)
}

fn uuids(texts: &StringArray) -> Result<ArrayRef> {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(texts.len(), UUID_BYTES);
    for text in texts {
        match text.and_then(|text| uuid::Uuid::parse_str(text).ok()) {
            Some(uuid) => builder.append_value(uuid.as_bytes()).map_err(from_arrow)?,
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn is_repairable(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Timestamp(..))
}

fn repaired<'a>(text: &'a str, data_type: &DataType) -> Cow<'a, str> {
    let repaired = match data_type {
        DataType::Timestamp(..) => with_seconds(text),
        _ => without_zero_fraction(text).map(Cow::Borrowed),
    };
    repaired.unwrap_or(Cow::Borrowed(text))
}

/// `517.0` is what tools write that hold a column of whole numbers and gaps as floating point.
fn without_zero_fraction(text: &str) -> Option<&str> {
    let (whole, fraction) = text.split_once('.')?;
    (!fraction.is_empty() && fraction.bytes().all(|digit| digit == b'0')).then_some(whole)
}

/// `2013-01-01 05:15` and `2013-01-01T05:15Z` with the seconds that ISO lets one leave out.
pub(super) fn with_seconds(text: &str) -> Option<Cow<'_, str>> {
    let (start, rest) = text.split_at_checked(16)?;
    let has_minutes = start.as_bytes().get(13) == Some(&b':');
    (has_minutes && (rest.is_empty() || rest.starts_with(['Z', 'z', '+', '-', ' ']))).then(|| Cow::Owned(format!("{start}:00{rest}")))
}

fn newly_null(texts: &StringArray, values: &dyn Array) -> Vec<usize> {
    if values.null_count() == texts.null_count() {
        return Vec::new();
    }
    (0..texts.len()).filter(|row| values.is_null(*row) && texts.is_valid(*row)).collect()
}

/// Converts nested values as a whole, and row by row only if some value in them is bad.
fn convert_nested(raw: &ArrayRef, field: &Field) -> Result<(ArrayRef, Vec<(usize, String)>)> {
    if let Ok(values) = cast_with_options(raw, field.data_type(), &SAFE)
        && null_leaves(&raw.to_data()) == null_leaves(&values.to_data())
    {
        return Ok((values, Vec::new()));
    }
    let (mut rows, mut bad) = (Vec::with_capacity(raw.len()), Vec::new());
    for row in 0..raw.len() {
        let one = take(raw.as_ref(), &UInt32Array::from(vec![u32::try_from(row).unwrap_or(u32::MAX)]), None).map_err(from_arrow)?;
        let reason = match cast_with_options(&one, field.data_type(), &SAFE) {
            Ok(values) if null_leaves(&one.to_data()) == null_leaves(&values.to_data()) => {
                rows.push(values);
                continue;
            }
            Ok(_) => format!("a value in it does not fit {}", type_name(field.data_type())),
            Err(error) => error.to_string(),
        };
        bad.push((row, reason));
        rows.push(new_null_array(field.data_type(), 1));
    }
    let rows: Vec<&dyn Array> = rows.iter().map(AsRef::as_ref).collect();
    Ok((datafusion::arrow::compute::concat(&rows).map_err(from_arrow)?, bad))
}

/// NULLs at all levels.
fn null_leaves(data: &ArrayData) -> usize {
    data.null_count() + data.child_data().iter().map(null_leaves).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, TimestampMicrosecondArray};
    use datafusion::arrow::datatypes::TimeUnit;

    use super::*;

    fn converted(texts: &[&str], data_type: DataType) -> Result<(ArrayRef, Vec<String>)> {
        let raw: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let converted = convert(&raw, &Field::new("c", data_type, true))?;
        let faults = converted.faults.iter().map(|(row, fault)| fault.to_fault(*row as u64).reason).collect();
        Ok((converted.values, faults))
    }

    #[test]
    fn whole_numbers_may_have_an_empty_fraction() -> Result<()> {
        let (values, faults) = converted(&["1", "517.0", "-3.00", "1.5", "9007199254740993.0"], DataType::Int64)?;
        let expected = Int64Array::from(vec![Some(1), Some(517), Some(-3), None, Some(9_007_199_254_740_993)]);
        assert_eq!(values.as_primitive(), &expected);
        assert_eq!(faults, ["column 'c': '1.5' is not a bigint"]);
        Ok(())
    }

    #[test]
    fn timestamps_are_iso() -> Result<()> {
        let texts = ["2013-01-01T05:15", "2013-01-01 05:15:00", "2013-01-01T05:15:00.25Z", "2013-01-01 00:15-05:00", "5 Jan"];
        let zone = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        for data_type in [DataType::Timestamp(TimeUnit::Microsecond, None), zone.clone()] {
            let (values, faults) = converted(&texts, data_type.clone())?;
            let at = 1_357_017_300_000_000;
            let expected = TimestampMicrosecondArray::from(vec![Some(at), Some(at), Some(at + 250_000), Some(at), None]);
            assert_eq!(values.as_primitive(), &expected.with_data_type(data_type));
            assert_eq!(faults.len(), 1);
        }
        Ok(())
    }

    #[test]
    fn dates_lose_no_time() -> Result<()> {
        let (values, faults) = converted(&["2013-01-01", "2013-01-01 00:00:00", "2013-01-01 05:00:00", "2013-02-30"], DataType::Date32)?;
        assert_eq!(values.null_count(), 2);
        assert_eq!(faults, ["column 'c': '2013-01-01 05:00:00' is not a date", "column 'c': '2013-02-30' is not a date"]);
        Ok(())
    }

    #[test]
    fn other_types_name_themselves() -> Result<()> {
        let cases = [
            (DataType::Boolean, "maybe", "column 'c': 'maybe' is not a boolean"),
            (DataType::Int32, "3000000000", "column 'c': '3000000000' is not an integer"),
            (DataType::Decimal128(4, 2), "123.45", "column 'c': '123.45' is not a decimal(4,2)"),
            (DataType::FixedSizeBinary(16), "12", "column 'c': '12' is not a uuid"),
            (DataType::Time64(TimeUnit::Microsecond), "noon", "column 'c': 'noon' is not a time(6)"),
        ];
        for (data_type, text, expected) in cases {
            assert_eq!(converted(&[text], data_type)?.1, [expected]);
        }
        Ok(())
    }
}
