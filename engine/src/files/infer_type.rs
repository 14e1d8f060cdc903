//! Which type a text looks like, and which type holds two kinds of values.

use datafusion::arrow::compute::kernels::cast_utils::{Parser, string_to_datetime};
use datafusion::arrow::datatypes::{DataType, Date32Type, Field, Fields, Float64Type, Int64Type, TimeUnit};
use std::sync::Arc;

use chrono::Utc;

use super::convert::with_seconds;

/// What the values of a column were so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Shape {
    /// NULL only.
    #[default]
    Null,
    Boolean,
    Integer,
    Float,
    Date,
    Timestamp,
    ZonedTimestamp,
    Text,
    /// An array of such elements.
    Array(Box<Self>),
    /// An object with these keys, in the order of their first occurrence.
    Object(Vec<(String, Self)>),
}

impl Shape {
    /// What a text of a CSV file looks like; it has no blanks around it and is not NULL.
    pub(super) fn of_text(text: &str) -> Self {
        match text.as_bytes() {
            [b'0'..=b'9' | b'-' | b'.', ..] => Self::of_number(text),
            _ if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") => Self::Boolean,
            _ if matches!(text, "NaN" | "inf" | "Infinity") => Self::Float,
            _ => Self::Text,
        }
    }

    fn of_number(text: &str) -> Self {
        if Int64Type::parse(text).is_some() {
            return Self::Integer;
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            // Beyond a bigint: floating point would lose its last digits.
            return Self::Text;
        }
        if text == "-inf" || text == "-Infinity" || Float64Type::parse(text).is_some() {
            return Self::Float;
        }
        Self::of_time(text)
    }

    /// A date or a timestamp as ISO writes it; else a text.
    pub(super) fn of_time(text: &str) -> Self {
        let bytes = text.as_bytes();
        if bytes.len() < 10 || bytes[4] != b'-' || bytes[7] != b'-' {
            return Self::Text;
        }
        if bytes.len() == 10 {
            return if Date32Type::parse(text).is_some() { Self::Date } else { Self::Text };
        }
        let is_timestamp = |text: &str| string_to_datetime(&Utc, text).is_ok();
        if !matches!(bytes[10], b'T' | b't' | b' ') || !(is_timestamp(text) || with_seconds(text).is_some_and(|text| is_timestamp(&text))) {
            return Self::Text;
        }
        let has_zone = bytes[11..].iter().any(|byte| !matches!(byte, b'0'..=b'9' | b':' | b'.'));
        if has_zone { Self::ZonedTimestamp } else { Self::Timestamp }
    }

    /// The shape that holds both.
    pub(super) fn merge(&mut self, other: Self) {
        let merged = match (std::mem::take(self), other) {
            (one, Self::Null) => one,
            (Self::Null, other) => other,
            (Self::Integer, Self::Float) | (Self::Float, Self::Integer) => Self::Float,
            (Self::Array(mut one), Self::Array(other)) => {
                one.merge(*other);
                Self::Array(one)
            }
            (Self::Object(mut one), Self::Object(other)) => {
                merge_fields(&mut one, other);
                Self::Object(one)
            }
            (one, other) if one == other => one,
            (Self::Date, Self::Timestamp) | (Self::Timestamp, Self::Date) => Self::Timestamp,
            _ => Self::Text,
        };
        *self = merged;
    }

    /// The type of such values.
    pub(super) fn data_type(&self) -> DataType {
        match self {
            Self::Null | Self::Text => DataType::Utf8,
            Self::Boolean => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::ZonedTimestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Array(element) => DataType::List(Arc::new(Field::new("element", element.data_type(), true))),
            Self::Object(fields) if fields.is_empty() => DataType::Utf8,
            Self::Object(fields) => {
                DataType::Struct(fields.iter().map(|(name, shape)| Field::new(name, shape.data_type(), true)).collect::<Fields>())
            }
        }
    }
}

/// Adds the fields of another object or file.
pub(super) fn merge_fields(fields: &mut Vec<(String, Shape)>, others: Vec<(String, Shape)>) {
    for (place, (name, shape)) in others.into_iter().enumerate() {
        // Mostly the same fields in the same order.
        let found = match fields.get(place) {
            Some((other, _)) if *other == name => Some(place),
            _ => fields.iter().position(|(other, _)| *other == name),
        };
        match found.and_then(|place| fields.get_mut(place)) {
            Some((_, known)) => known.merge(shape),
            None => fields.push((name, shape)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_look_like_types() {
        let cases = [
            ("true", Shape::Boolean),
            ("t", Shape::Text),
            ("-12", Shape::Integer),
            ("12345678901234567890", Shape::Text),
            ("1.5e3", Shape::Float),
            ("-.5", Shape::Float),
            ("NaN", Shape::Float),
            ("+49 30", Shape::Text),
            ("2013-01-01", Shape::Date),
            ("2013-02-30", Shape::Text),
            ("2013-01-01 05:00", Shape::Timestamp),
            ("2013-01-01T05:00:00.123", Shape::Timestamp),
            ("2013-01-01T05:00:00Z", Shape::ZonedTimestamp),
            ("2013-01-01 05:00:00-05:00", Shape::ZonedTimestamp),
            ("2013-01-01 noon", Shape::Text),
            ("10.0.0.1", Shape::Text),
        ];
        for (text, shape) in cases {
            assert_eq!(Shape::of_text(text), shape, "{text}");
        }
    }

    #[test]
    fn shapes_merge() {
        let cases = [
            (Shape::Null, Shape::Date, Shape::Date),
            (Shape::Integer, Shape::Integer, Shape::Integer),
            (Shape::Integer, Shape::Float, Shape::Float),
            (Shape::Date, Shape::Timestamp, Shape::Timestamp),
            (Shape::Timestamp, Shape::ZonedTimestamp, Shape::Text),
            (Shape::Boolean, Shape::Integer, Shape::Text),
            (Shape::Array(Box::new(Shape::Null)), Shape::Array(Box::new(Shape::Integer)), Shape::Array(Box::new(Shape::Integer))),
        ];
        for (one, other, expected) in cases {
            for (mut left, right) in [(one.clone(), other.clone()), (other.clone(), one.clone())] {
                left.merge(right);
                assert_eq!(left, expected);
            }
        }
    }
}
