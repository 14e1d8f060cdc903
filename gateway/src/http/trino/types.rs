//! Trino's names of types, and their signatures, which clients decode values by.

use std::fmt;

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use nunatak_coordinator::query::{TYPE_MARK, have_names};
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

/// The length of a text without a limit.
const UNBOUNDED: i64 = 2_147_483_647;
/// The digits that clients without parametric types of times know of a second.
pub(super) const PLAIN_DIGITS: u32 = 3;

/// A type of Trino, with what stands in its parentheses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TrinoType {
    raw: &'static str,
    arguments: Vec<Argument>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Argument {
    Long(i64),
    Type(TrinoType),
    /// A field of a row, with its name if it has one.
    Field(Option<String>, TrinoType),
}

/// A column as clients are told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Column {
    name: String,
    #[serde(rename = "type")]
    type_name: String,
    type_signature: TrinoType,
}

impl Column {
    /// The column of a field. Clients that are not `parametric` know times by names without digits.
    pub(super) fn new(field: &Field, parametric: bool) -> Self {
        let type_signature = TrinoType::of_field(field, parametric);
        Self { name: field.name().clone(), type_name: type_signature.to_string(), type_signature }
    }
}

impl TrinoType {
    fn plain(raw: &'static str) -> Self {
        Self { raw, arguments: Vec::new() }
    }

    fn with(raw: &'static str, arguments: impl IntoIterator<Item = Argument>) -> Self {
        Self { raw, arguments: arguments.into_iter().collect() }
    }

    fn of_time(raw: &'static str, unit: TimeUnit, parametric: bool) -> Self {
        let digits = parametric.then(|| Argument::Long(i64::from(digits(unit))));
        Self::with(raw, digits)
    }

    /// The type of a field, which may say more than Arrow's type.
    fn of_field(field: &Field, parametric: bool) -> Self {
        match field.metadata().get(TYPE_MARK).map(String::as_str) {
            Some("uuid") => Self::plain("uuid"),
            Some(mark) => Self::of_text(mark).unwrap_or_else(|| Self::new(field.data_type(), parametric)),
            None => Self::new(field.data_type(), parametric),
        }
    }

    /// `varchar(n)` or `char(n)`.
    fn of_text(mark: &str) -> Option<Self> {
        let (name, length) = mark.strip_suffix(')')?.split_once('(')?;
        let raw = ["varchar", "char"].into_iter().find(|raw| *raw == name)?;
        Some(Self::with(raw, [Argument::Long(length.parse().ok()?)]))
    }

    fn new(data_type: &DataType, parametric: bool) -> Self {
        let inner = |field: &Field| Argument::Type(Self::of_field(field, parametric));
        match data_type {
            DataType::Boolean => Self::plain("boolean"),
            DataType::Int8 => Self::plain("tinyint"),
            DataType::Int16 | DataType::UInt8 => Self::plain("smallint"),
            DataType::Int32 | DataType::UInt16 => Self::plain("integer"),
            DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Self::plain("bigint"),
            DataType::Float16 | DataType::Float32 => Self::plain("real"),
            DataType::Float64 => Self::plain("double"),
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale) => {
                Self::with("decimal", [Argument::Long(i64::from(*precision)), Argument::Long(i64::from(*scale))])
            }
            DataType::Utf8 | DataType::Utf8View => Self::with("varchar", [Argument::Long(UNBOUNDED)]),
            DataType::LargeUtf8 => Self::plain("json"),
            DataType::FixedSizeBinary(16) => Self::plain("uuid"),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => Self::plain("varbinary"),
            DataType::Date32 | DataType::Date64 => Self::plain("date"),
            DataType::Time32(unit) | DataType::Time64(unit) => Self::of_time("time", *unit, parametric),
            DataType::Timestamp(unit, None) => Self::of_time("timestamp", *unit, parametric),
            DataType::Timestamp(unit, Some(_)) => Self::of_time("timestamp with time zone", *unit, parametric),
            DataType::Interval(IntervalUnit::YearMonth) => Self::plain("interval year to month"),
            DataType::Interval(_) | DataType::Duration(_) => Self::plain("interval day to second"),
            DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) => Self::with("array", [inner(element)]),
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(fields) => Self::with("map", fields.iter().map(|field| inner(field))),
                _ => Self::with("map", [inner(entries)]),
            },
            DataType::Struct(fields) => {
                let are_named = have_names(fields);
                let field = |field: &FieldRef| Argument::Field(are_named.then(|| field.name().clone()), Self::of_field(field, parametric));
                Self::with("row", fields.iter().map(field))
            }
            // Values of others are refused where they are written.
            _ => Self::plain("unknown"),
        }
    }
}

/// How long the texts of a `char(n)` are, with blanks at their end; `None` for columns of other types.
pub(super) fn padded_length(field: &Field) -> Option<usize> {
    let mark = field.metadata().get(TYPE_MARK)?;
    mark.strip_prefix("char(")?.strip_suffix(')')?.parse().ok()
}

/// The digits of a second that a unit has.
pub(super) fn digits(unit: TimeUnit) -> u32 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

impl fmt::Display for TrinoType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, behind) = match self.raw.split_once(' ') {
            Some((name, _)) if name == "timestamp" => (name, " with time zone"),
            // Intervals alone are written in upper case.
            Some(_) => return f.write_str(&self.raw.to_uppercase()),
            None => (self.raw, ""),
        };
        f.write_str(before)?;
        if !self.arguments.is_empty() && self.arguments != [Argument::Long(UNBOUNDED)] {
            for (at, argument) in self.arguments.iter().enumerate() {
                f.write_str(if at == 0 { "(" } else { ", " })?;
                match argument {
                    Argument::Long(number) => write!(f, "{number}")?,
                    Argument::Type(inner) => write!(f, "{inner}")?,
                    Argument::Field(None, inner) => write!(f, "{inner}")?,
                    Argument::Field(Some(name), inner) if is_plain(name) => write!(f, "{name} {inner}")?,
                    Argument::Field(Some(name), inner) => write!(f, "\"{}\" {inner}", name.replace('"', "\"\""))?,
                }
            }
            f.write_str(")")?;
        }
        f.write_str(behind)
    }
}

/// Whether a name needs no quotes.
fn is_plain(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_lowercase() || first == '_')
        && letters.all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
}

impl Serialize for TrinoType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut signature = serializer.serialize_struct("typeSignature", 2)?;
        signature.serialize_field("rawType", self.raw)?;
        signature.serialize_field("arguments", &self.arguments)?;
        signature.end()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NamedType<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    field_name: Option<FieldName<'a>>,
    type_signature: &'a TrinoType,
}

#[derive(Serialize)]
struct FieldName<'a> {
    name: &'a str,
}

impl Serialize for Argument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut argument = serializer.serialize_struct("argument", 2)?;
        match self {
            Self::Long(number) => {
                argument.serialize_field("kind", "LONG")?;
                argument.serialize_field("value", number)?;
            }
            Self::Type(inner) => {
                argument.serialize_field("kind", "TYPE")?;
                argument.serialize_field("value", inner)?;
            }
            Self::Field(name, inner) => {
                argument.serialize_field("kind", "NAMED_TYPE")?;
                argument
                    .serialize_field("value", &NamedType { field_name: name.as_deref().map(|name| FieldName { name }), type_signature: inner })?;
            }
        }
        argument.end()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn name(data_type: &DataType) -> String {
        TrinoType::new(data_type, true).to_string()
    }

    fn json(data_type: &DataType, parametric: bool) -> String {
        serde_json::to_string(&TrinoType::new(data_type, parametric)).unwrap()
    }

    #[test]
    fn texts_that_are_uuids_are_told_so() {
        let uuid = Field::new("u", DataType::Utf8, true).with_metadata([(TYPE_MARK.to_owned(), "uuid".to_owned())].into());
        assert_eq!(TrinoType::of_field(&uuid, true).to_string(), "uuid");
        assert_eq!(name(&DataType::List(Arc::new(uuid))), "array(uuid)");
    }

    #[test]
    fn texts_have_the_lengths_that_they_say() {
        let text = |mark: &str| Field::new("t", DataType::Utf8, true).with_metadata([(TYPE_MARK.to_owned(), mark.to_owned())].into());
        for (mark, name, length) in [("varchar(10)", "varchar(10)", None), ("char(3)", "char(3)", Some(3)), ("varchar(x)", "varchar", None)] {
            let field = text(mark);
            assert_eq!((TrinoType::of_field(&field, true).to_string().as_str(), padded_length(&field)), (name, length));
        }
        let signature = serde_json::to_string(&TrinoType::of_field(&text("char(3)"), true)).unwrap();
        assert_eq!(signature, r#"{"rawType":"char","arguments":[{"kind":"LONG","value":3}]}"#);
    }

    /// What Trino 476 answers with.
    #[test]
    fn names_and_signatures_are_those_of_trino() {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(name(&micros), "timestamp(6) with time zone");
        assert_eq!(TrinoType::new(&micros, false).to_string(), "timestamp with time zone");
        assert_eq!(json(&micros, true), r#"{"rawType":"timestamp with time zone","arguments":[{"kind":"LONG","value":6}]}"#);
        assert_eq!(json(&micros, false), r#"{"rawType":"timestamp with time zone","arguments":[]}"#);
        assert_eq!(name(&DataType::Decimal128(9, 2)), "decimal(9, 2)");
        assert_eq!(name(&DataType::Interval(IntervalUnit::YearMonth)), "INTERVAL YEAR TO MONTH");
        assert_eq!(name(&DataType::Utf8), "varchar");
        assert_eq!(json(&DataType::LargeUtf8, true), r#"{"rawType":"json","arguments":[]}"#);
        assert_eq!(json(&DataType::Utf8, true), r#"{"rawType":"varchar","arguments":[{"kind":"LONG","value":2147483647}]}"#);
        let fields = vec![Field::new("x", DataType::Int32, true), Field::new("A b", DataType::Float64, true)];
        let row = DataType::Struct(fields.into());
        assert_eq!(name(&row), "row(x integer, \"A b\" double)");
        let list = DataType::List(Arc::new(Field::new("element", row, true)));
        assert_eq!(name(&list), "array(row(x integer, \"A b\" double))");
        let of_x = r#"{"kind":"NAMED_TYPE","value":{"fieldName":{"name":"x"},"typeSignature":{"rawType":"integer","arguments":[]}}}"#;
        assert!(json(&list, true).contains(of_x), "{}", json(&list, true));
        let nameless = DataType::Struct(vec![Field::new("c0", DataType::Int32, true)].into());
        assert_eq!(name(&nameless), "row(integer)");
        let of_nothing = r#"{"kind":"NAMED_TYPE","value":{"typeSignature":{"rawType":"integer","arguments":[]}}}"#;
        assert!(json(&nameless, true).contains(of_nothing), "{}", json(&nameless, true));
    }
}
