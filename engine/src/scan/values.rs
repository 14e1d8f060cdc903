//! Iceberg's single values as DataFusion's scalars.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use nunatak_catalog::spec::{self, Datum, Literal, PrimitiveLiteral, PrimitiveType};
use nunatak_core::{Code, Error, Result};

use crate::functions::text_cast::UUID;

/// A literal as a scalar of exactly `data_type`, if that type can hold it. Types that Iceberg lets a column grow into are covered: a bound that
/// was written when the column was an `int` is good for the `long` it has become.
pub fn scalar(literal: &PrimitiveLiteral, data_type: &DataType) -> Option<ScalarValue> {
    Some(match (literal, data_type) {
        (PrimitiveLiteral::Boolean(value), DataType::Boolean) => ScalarValue::Boolean(Some(*value)),
        (PrimitiveLiteral::Int(value), DataType::Int32) => ScalarValue::Int32(Some(*value)),
        (PrimitiveLiteral::Int(value), DataType::Int64) => ScalarValue::Int64(Some(i64::from(*value))),
        (PrimitiveLiteral::Int(value), DataType::Date32) => ScalarValue::Date32(Some(*value)),
        (PrimitiveLiteral::Long(value), _) => return scalar_of_long(*value, data_type),
        (PrimitiveLiteral::Float(value), DataType::Float32) => ScalarValue::Float32(Some(value.0)),
        (PrimitiveLiteral::Float(value), DataType::Float64) => ScalarValue::Float64(Some(f64::from(value.0))),
        (PrimitiveLiteral::Double(value), DataType::Float64) => ScalarValue::Float64(Some(value.0)),
        (PrimitiveLiteral::Int128(value), DataType::Decimal128(precision, scale)) => ScalarValue::Decimal128(Some(*value), *precision, *scale),
        (PrimitiveLiteral::String(value), DataType::Utf8View) => ScalarValue::Utf8View(Some(value.clone())),
        (PrimitiveLiteral::String(value), DataType::Utf8) => ScalarValue::Utf8(Some(value.clone())),
        (PrimitiveLiteral::Binary(value), DataType::BinaryView) => ScalarValue::BinaryView(Some(value.clone())),
        (PrimitiveLiteral::Binary(value), DataType::Binary) => ScalarValue::Binary(Some(value.clone())),
        (PrimitiveLiteral::Binary(value), DataType::FixedSizeBinary(length)) if i32::try_from(value.len()) == Ok(*length) => {
            ScalarValue::FixedSizeBinary(*length, Some(value.clone()))
        }
        (PrimitiveLiteral::UInt128(value), DataType::FixedSizeBinary(16)) => ScalarValue::FixedSizeBinary(16, Some(value.to_be_bytes().to_vec())),
        _ => return None,
    })
}

fn scalar_of_long(value: i64, data_type: &DataType) -> Option<ScalarValue> {
    Some(match data_type {
        DataType::Int64 => ScalarValue::Int64(Some(value)),
        DataType::Time64(TimeUnit::Microsecond) => ScalarValue::Time64Microsecond(Some(value)),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => ScalarValue::TimestampMicrosecond(Some(value), zone.clone()),
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => ScalarValue::TimestampNanosecond(Some(value), zone.clone()),
        _ => return None,
    })
}

/// A bound as a scalar of `data_type`. A bound of another scale or unit is dropped rather than misread.
pub fn datum_scalar(datum: &Datum, data_type: &DataType) -> Option<ScalarValue> {
    let same_meaning = match (datum.data_type(), data_type) {
        (PrimitiveType::Decimal { scale, .. }, DataType::Decimal128(_, places)) => i64::from(*scale) == i64::from(*places),
        (PrimitiveType::Timestamp | PrimitiveType::Timestamptz, other) => matches!(other, DataType::Timestamp(TimeUnit::Microsecond, _)),
        (PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs, other) => matches!(other, DataType::Timestamp(TimeUnit::Nanosecond, _)),
        (PrimitiveType::Date, other) => matches!(other, DataType::Date32),
        (PrimitiveType::Int, DataType::Date32) => false,
        _ => true,
    };
    if same_meaning { scalar(datum.literal(), data_type) } else { None }
}

/// The text under which a column's default travels in a schema's metadata; [`default_scalar`] reads it.
///
/// Errors: `NOT_SUPPORTED` for a type whose values have no text, or for a row, list or map.
pub fn default_text(default: &Literal, data_type: &DataType, column: &str) -> Result<String> {
    let refuse = || Error::not_supported(format!("the default of column '{column}' is a {data_type}, which is not read yet"));
    let value = default.as_primitive_literal().and_then(|literal| scalar(&literal, data_type)).ok_or_else(refuse)?;
    let text = match &value {
        ScalarValue::FixedSizeBinary(_, Some(bytes)) | ScalarValue::Binary(Some(bytes)) | ScalarValue::BinaryView(Some(bytes)) => hex(bytes),
        other => match other.cast_to(&DataType::Utf8).map_err(|_| refuse())? {
            ScalarValue::Utf8(Some(text)) => text,
            _ => return Err(refuse()),
        },
    };
    match default_scalar(&text, data_type) {
        Ok(back) if back == value => Ok(text),
        _ => Err(refuse()),
    }
}

/// The default of a column from the text that [`default_text`] made.
pub fn default_scalar(text: &str, data_type: &DataType) -> Result<ScalarValue> {
    let invalid = || Error::new(Code::IcebergInvalidMetadata, format!("default value '{text}' is not a {data_type}"));
    let bytes = || from_hex(text).ok_or_else(invalid);
    match data_type {
        DataType::FixedSizeBinary(length) => Ok(ScalarValue::FixedSizeBinary(*length, Some(bytes()?))),
        DataType::Binary => Ok(ScalarValue::Binary(Some(bytes()?))),
        DataType::BinaryView => Ok(ScalarValue::BinaryView(Some(bytes()?))),
        _ => ScalarValue::Utf8(Some(text.to_owned())).cast_to(data_type).map_err(|error| invalid().with_source(error)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// The default of a column as a literal of SQL; `None` without one, or if its type has no literals.
pub fn default_literal(field: &spec::NestedField) -> Option<String> {
    let default = field.write_default.as_ref()?;
    let schema = spec::Schema::builder().with_fields([Arc::new(field.clone())]).build().ok()?;
    let column = super::types::table_schema(&schema).ok()?;
    let data_type = column.field(0).data_type();
    let text = default_text(default, data_type, &field.name).ok()?;
    let quoted = || format!("'{}'", text.replace('\'', "''"));
    Some(match data_type {
        data_type if data_type.is_numeric() || *data_type == DataType::Boolean => text,
        DataType::Date32 => format!("DATE {}", quoted()),
        DataType::Time64(_) => format!("TIME {}", quoted()),
        DataType::Timestamp(_, zone) => {
            let zone = if zone.is_some() { " +00:00" } else { "" };
            format!("TIMESTAMP '{}{zone}'", text.replace('T', " ").trim_end_matches('Z'))
        }
        DataType::FixedSizeBinary(_) if *data_type == UUID => format!("UUID '{}'", uuid::Uuid::try_parse(&text).ok()?),
        DataType::Binary | DataType::BinaryView | DataType::FixedSizeBinary(_) => format!("X{}", quoted()),
        _ => quoted(),
    })
}

/// What an `INSERT` writes into columns of which it says nothing, by name. A row, list or map has no such value.
pub fn write_defaults(schema: &spec::Schema, columns: &Schema) -> HashMap<String, Expr> {
    let of = |(field, column): (&spec::NestedFieldRef, &FieldRef)| {
        let default = field.write_default.as_ref()?.as_primitive_literal()?;
        Some((column.name().clone(), Expr::Literal(scalar(&default, column.data_type())?, None)))
    };
    schema.as_struct().fields().iter().zip(columns.fields()).filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_survive_as_text() {
        let cases = [
            (Literal::int(-7), DataType::Int64),
            (Literal::string("a 'b'"), DataType::Utf8View),
            (Literal::decimal(-1234), DataType::Decimal128(10, 2)),
            (Literal::date(-400), DataType::Date32),
            (Literal::timestamp(-1), DataType::Timestamp(TimeUnit::Microsecond, None)),
            (Literal::timestamp(1_700_000_000_000_001), DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            (Literal::double(0.1), DataType::Float64),
            (Literal::bool(true), DataType::Boolean),
            (Literal::binary(vec![0, 255, 16]), DataType::BinaryView),
            (Literal::fixed(vec![1, 254]), DataType::FixedSizeBinary(2)),
            (Literal::uuid(uuid::Uuid::from_u128(7 << 120)), DataType::FixedSizeBinary(16)),
        ];
        for (literal, data_type) in cases {
            let text = default_text(&literal, &data_type, "c").unwrap();
            let expected = scalar(&literal.as_primitive_literal().unwrap(), &data_type).unwrap();
            assert_eq!(default_scalar(&text, &data_type).unwrap(), expected);
        }
        let row = Literal::Struct(std::iter::empty().collect());
        assert_eq!(default_text(&row, &DataType::Int32, "c").unwrap_err().code(), Code::NotSupported);
    }

    #[test]
    fn a_bound_of_another_scale_is_no_bound() {
        let datum = Datum::decimal_from_str("1.25").unwrap();
        assert!(datum_scalar(&datum, &DataType::Decimal128(10, 3)).is_none());
        assert!(datum_scalar(&Datum::int(3), &DataType::Int64).is_some());
        assert!(datum_scalar(&Datum::date(3), &DataType::Timestamp(TimeUnit::Microsecond, None)).is_none());
    }
}
