//! Signatures of functions, as Trino's documentation writes them: `(array(T), bigint) -> T`, `(varchar, varchar...) -> varchar`.
//!
//! A type is `boolean`, `tinyint`, `smallint`, `integer`, `bigint`, `real`, `double`, `decimal` (of any precision and scale, which stay), `varchar`, `varbinary`,
//! `date`, `time`, `timestamp`, `timestamptz`, `interval`, `uuid`, `json`, `array(..)`, `map(.., ..)`, `any` (a type that is left as it is), or a single capital letter
//! that stands for the same type wherever it is. Times and moments count microseconds; `time(p)`, `timestamp(p)` and `timestamptz(p)` count nanoseconds where one of the
//! arguments of such types does. A last argument with `...` is there any number of times, also not at all. What a function takes is found by
//! Trino's rules: integers become wider ones, decimals, then reals and doubles; dates become timestamps, these get the session's zone; `NULL` fits everywhere;
//! text is never read as anything else.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use datafusion::error::Result;

use crate::not_found;
use crate::type_name::type_name;

/// One way to call a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Overload {
    arguments: Vec<Pattern>,
    /// The type of more arguments after these.
    more: Option<Pattern>,
    result: Pattern,
}

/// The types of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Those to which the arguments are converted.
    pub arguments: Vec<DataType>,
    /// That of the result.
    pub result: DataType,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Pattern {
    Exactly(DataType),
    Decimal,
    Zoned,
    /// Of microseconds or nanoseconds.
    Precise(Precise),
    Variable(char),
    Array(Box<Pattern>),
    Map(Box<Pattern>, Box<Pattern>),
    Any,
}

/// A type of times or moments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Precise {
    Time,
    Timestamp,
    Zoned,
}

impl Precise {
    /// The type for an argument of this one.
    fn target(self, data_type: &DataType, unit: TimeUnit) -> DataType {
        match (self, data_type) {
            (Self::Time, _) => DataType::Time64(unit),
            (Self::Timestamp, _) => DataType::Timestamp(unit, None),
            (Self::Zoned, DataType::Timestamp(_, Some(zone))) => DataType::Timestamp(unit, Some(Arc::clone(zone))),
            (Self::Zoned, _) => DataType::Timestamp(unit, Some("UTC".into())),
        }
    }
}

/// What is bound to a type of nanoseconds if an argument has one. No letter of a signature is this one.
const PRECISION: char = 'p';

/// The type of JSON values: no other values are text of Arrow's large kind.
pub const JSON: DataType = DataType::LargeUtf8;

pub(crate) type Bindings = BTreeMap<char, DataType>;

impl Overload {
    /// Reads a signature; `None` if it has another form.
    pub fn parse(text: &str) -> Option<Self> {
        let (arguments, result) = text.rsplit_once("->")?;
        let inner = arguments.trim().strip_prefix('(')?.strip_suffix(')')?.trim();
        let mut all = split(inner);
        let more = match all.last().and_then(|last| last.strip_suffix("...")) {
            Some(last) => {
                let more = Pattern::parse(last)?;
                all.pop();
                Some(more)
            }
            None => None,
        };
        let arguments = all.into_iter().map(Pattern::parse).collect::<Option<_>>()?;
        Some(Self { arguments, more, result: Pattern::parse(result)? })
    }

    /// Whether one of its arguments has exactly this type.
    pub(crate) fn takes(&self, data_type: &DataType) -> bool {
        self.arguments.iter().chain(&self.more).any(|pattern| matches!(pattern, Pattern::Exactly(exact) if exact == data_type))
    }

    /// The types of a call with arguments of these, and how much is converted for it; `None` if it does not take them.
    fn fit(&self, types: &[DataType]) -> Option<(u32, Resolved)> {
        if types.len() < self.arguments.len() || (types.len() > self.arguments.len() && self.more.is_none()) {
            return None;
        }
        let patterns = || self.arguments.iter().chain(self.more.iter().cycle()).take(types.len());
        let mut bindings = Bindings::new();
        for (pattern, data_type) in patterns().zip(types) {
            pattern.bind(data_type, &mut bindings)?;
        }
        let arguments: Vec<DataType> =
            patterns().zip(types).map(|(pattern, data_type)| pattern.target(data_type, &bindings)).collect::<Option<_>>()?;
        let cost = types.iter().zip(&arguments).map(|(from, to)| conversion(from, to)).sum::<Option<u32>>()?;
        let result = self.result.target(&DataType::Null, &bindings)?;
        Some((cost, Resolved { arguments, result }))
    }
}

/// Chooses among the ways to call a function. Errors: `FUNCTION_NOT_FOUND` that names the function and the types if there is none.
pub fn resolve(name: &str, overloads: &[Overload], types: &[DataType]) -> Result<Resolved> {
    choose(name, overloads, types).map(|(_, resolved)| resolved)
}

/// The same, and which of the ways it is.
pub fn choose(name: &str, overloads: &[Overload], types: &[DataType]) -> Result<(usize, Resolved)> {
    let fitting = overloads.iter().enumerate().filter_map(|(index, overload)| Some((index, overload.fit(types)?)));
    match fitting.min_by_key(|(_, (cost, _))| *cost) {
        Some((index, (_, resolved))) => Ok((index, resolved)),
        None => Err(not_found(format!("function '{name}' does not take ({})", types.iter().map(type_name).collect::<Vec<_>>().join(", ")))),
    }
}

/// Splits at the commas that stand within no parentheses.
pub(crate) fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (place, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[start..place].trim());
                start = place + 1;
            }
            _ => {}
        }
    }
    if !text.trim().is_empty() {
        parts.push(text[start..].trim());
    }
    parts
}

impl Pattern {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(inner) = text.strip_suffix(')') {
            let (name, inner) = inner.split_once('(')?;
            let parts = split(inner);
            return match (name, parts.as_slice()) {
                ("time", ["p"]) => Some(Self::Precise(Precise::Time)),
                ("timestamp", ["p"]) => Some(Self::Precise(Precise::Timestamp)),
                ("timestamptz", ["p"]) => Some(Self::Precise(Precise::Zoned)),
                ("array", [element]) => Some(Self::Array(Box::new(Self::parse(element)?))),
                ("map", [key, value]) => Some(Self::Map(Box::new(Self::parse(key)?), Box::new(Self::parse(value)?))),
                _ => None,
            };
        }
        Some(match text {
            "boolean" => Self::Exactly(DataType::Boolean),
            "tinyint" => Self::Exactly(DataType::Int8),
            "smallint" => Self::Exactly(DataType::Int16),
            "integer" => Self::Exactly(DataType::Int32),
            "bigint" => Self::Exactly(DataType::Int64),
            "real" => Self::Exactly(DataType::Float32),
            "double" => Self::Exactly(DataType::Float64),
            "decimal" => Self::Decimal,
            "varchar" => Self::Exactly(DataType::Utf8View),
            "varbinary" => Self::Exactly(DataType::Binary),
            "date" => Self::Exactly(DataType::Date32),
            "time" => Self::Exactly(DataType::Time64(TimeUnit::Microsecond)),
            "timestamp" => Self::Exactly(DataType::Timestamp(TimeUnit::Microsecond, None)),
            "timestamptz" => Self::Zoned,
            "interval" => Self::Exactly(DataType::Interval(IntervalUnit::MonthDayNano)),
            "uuid" => Self::Exactly(DataType::FixedSizeBinary(16)),
            "json" => Self::Exactly(JSON),
            // What has no value but NULL.
            "unknown" => Self::Exactly(DataType::Null),
            "any" => Self::Any,
            letter if letter.len() == 1 => Self::Variable(letter.chars().next().filter(char::is_ascii_uppercase)?),
            _ => return None,
        })
    }

    /// Learns from a type what the letters stand for; `None` if it has another form.
    pub(crate) fn bind(&self, data_type: &DataType, bindings: &mut Bindings) -> Option<()> {
        match (self, data_type) {
            (_, DataType::Null) => Some(()),
            (Self::Variable(letter), data_type) => {
                let bound = match bindings.get(letter) {
                    Some(bound) => common_type(bound, data_type)?,
                    None => data_type.clone(),
                };
                bindings.insert(*letter, bound);
                Some(())
            }
            (Self::Array(element), DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _)) => {
                element.bind(field.data_type(), bindings)
            }
            (Self::Map(key, value), DataType::Map(entries, _)) => {
                let DataType::Struct(fields) = entries.data_type() else { return None };
                key.bind(fields.first()?.data_type(), bindings)?;
                value.bind(fields.get(1)?.data_type(), bindings)
            }
            (Self::Array(_) | Self::Map(..), _) => None,
            (Self::Precise(_), DataType::Timestamp(TimeUnit::Nanosecond, _) | DataType::Time64(TimeUnit::Nanosecond)) => {
                bindings.insert(PRECISION, data_type.clone());
                Some(())
            }
            (Self::Exactly(_) | Self::Decimal | Self::Zoned | Self::Precise(_) | Self::Any, _) => Some(()),
        }
    }

    /// The type to which an argument of this type is converted; that of the pattern by itself for `NULL`.
    pub(crate) fn target(&self, data_type: &DataType, bindings: &Bindings) -> Option<DataType> {
        Some(match self {
            Self::Exactly(exact) => exact.clone(),
            Self::Decimal => match data_type {
                DataType::Decimal128(..) => data_type.clone(),
                other => {
                    let digits = digits_of(other).or(matches!(other, DataType::Null).then_some(38))?;
                    DataType::Decimal128(digits, 0)
                }
            },
            Self::Zoned => match data_type {
                DataType::Timestamp(_, Some(zone)) => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(zone))),
                _ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            },
            Self::Precise(precise) => {
                let unit = if bindings.contains_key(&PRECISION) { TimeUnit::Nanosecond } else { TimeUnit::Microsecond };
                precise.target(data_type, unit)
            }
            Self::Variable(letter) => at_top(bindings.get(letter).unwrap_or(&DataType::Null)),
            Self::Array(element) => {
                let inner = match data_type {
                    DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => field.data_type(),
                    _ => &DataType::Null,
                };
                DataType::List(Arc::new(Field::new_list_field(within(&element.target(inner, bindings)?), true)))
            }
            Self::Map(key, value) => {
                let inner = match data_type {
                    DataType::Map(entries, _) => match entries.data_type() {
                        DataType::Struct(fields) => Some((fields.first()?.data_type(), fields.get(1)?.data_type())),
                        _ => None,
                    },
                    _ => None,
                };
                let (key_type, value_type) = inner.unwrap_or((&DataType::Null, &DataType::Null));
                map_type(&key.target(key_type, bindings)?, &value.target(value_type, bindings)?)
            }
            Self::Any => at_top(data_type),
        })
    }
}

/// The type of maps between these, as values of tables have it.
pub fn map_type(key: &DataType, value: &DataType) -> DataType {
    let fields = Fields::from(vec![Field::new("key", within(key), false), Field::new("value", within(value), true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(fields), false)), false)
}

/// A type as a value of its own has it.
pub fn at_top(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 => DataType::Utf8View,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

/// A type as elements of arrays, maps and rows have it.
pub fn within(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

/// How far a type is from the one that it is converted to, 0 for the same; `None` if it is not converted by itself.
pub(crate) fn conversion(from: &DataType, to: &DataType) -> Option<u32> {
    if from == to || *from == DataType::Null {
        return Some(0);
    }
    match (from, to) {
        (from, DataType::Utf8View | DataType::Utf8) if is_text(from) => Some(0),
        (DataType::Binary | DataType::LargeBinary | DataType::BinaryView, DataType::Binary) => Some(0),
        (DataType::FixedSizeBinary(length), DataType::Binary) if *length != 16 => Some(0),
        (DataType::Time32(_) | DataType::Time64(_), DataType::Time64(_)) => Some(0),
        (DataType::Interval(_) | DataType::Duration(_), DataType::Interval(_)) => Some(0),
        (DataType::Timestamp(_, None), DataType::Timestamp(_, None)) => Some(0),
        (DataType::Timestamp(_, Some(_)), DataType::Timestamp(_, Some(_))) => Some(0),
        (DataType::Timestamp(_, None), DataType::Timestamp(_, Some(_))) => Some(1),
        (DataType::Date32, DataType::Timestamp(_, zone)) => Some(1 + u32::from(zone.is_some())),
        (DataType::List(from) | DataType::LargeList(from) | DataType::FixedSizeList(from, _), DataType::List(to)) => {
            conversion(from.data_type(), to.data_type())
        }
        (DataType::Map(from, _), DataType::Map(to, _)) => match (from.data_type(), to.data_type()) {
            (DataType::Struct(from), DataType::Struct(to)) => {
                from.iter().zip(to).map(|(from, to)| conversion(from.data_type(), to.data_type())).sum()
            }
            _ => None,
        },
        (DataType::Struct(from), DataType::Struct(to)) if from.len() == to.len() => {
            from.iter().zip(to).map(|(from, to)| conversion(from.data_type(), to.data_type())).sum()
        }
        _ => {
            let (from_rank, to_rank) = (rank(from)?, rank(to)?);
            to_rank.checked_sub(from_rank)
        }
    }
}

/// The order in which types of numbers become each other.
fn rank(data_type: &DataType) -> Option<u32> {
    Some(match data_type {
        DataType::Int8 => 1,
        DataType::Int16 => 2,
        DataType::Int32 => 3,
        DataType::Int64 => 4,
        DataType::Decimal128(..) => 5,
        DataType::Float32 => 6,
        DataType::Float64 => 7,
        _ => return None,
    })
}

/// The digits that numbers of an integer type may have.
fn digits_of(data_type: &DataType) -> Option<u8> {
    Some(match data_type {
        DataType::Int8 => 3,
        DataType::Int16 => 5,
        DataType::Int32 => 10,
        DataType::Int64 => 19,
        _ => return None,
    })
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Utf8View)
}

/// The type that values of two types have together, by Trino's rules; `None` if there is none.
pub fn common_type(left: &DataType, right: &DataType) -> Option<DataType> {
    if left == right || *right == DataType::Null {
        return Some(left.clone());
    }
    if *left == DataType::Null {
        return Some(right.clone());
    }
    if is_text(left) && is_text(right) {
        return Some(DataType::Utf8View);
    }
    match (left, right) {
        (DataType::List(left), DataType::List(right)) => {
            let element = common_type(left.data_type(), right.data_type())?;
            return Some(DataType::List(Arc::new(Field::new_list_field(within(&element), true))));
        }
        (DataType::Map(left, _), DataType::Map(right, _)) => {
            let (DataType::Struct(left), DataType::Struct(right)) = (left.data_type(), right.data_type()) else { return None };
            let common = |index: usize| common_type(left.get(index)?.data_type(), right.get(index)?.data_type());
            return Some(map_type(&common(0)?, &common(1)?));
        }
        (DataType::Struct(left), DataType::Struct(right)) if left.len() == right.len() => {
            let fields = left.iter().zip(right).map(|(left, right)| {
                let name = if left.name() == right.name() { left.name().as_str() } else { "" };
                Some(Field::new(name, within(&common_type(left.data_type(), right.data_type())?), true))
            });
            return Some(DataType::Struct(fields.collect::<Option<Fields>>()?));
        }
        (DataType::Decimal128(..), DataType::Decimal128(..)) => return decimal_of_both(left, right),
        (DataType::Decimal128(..), other) if digits_of(other).is_some() => {
            return decimal_of_both(left, &DataType::Decimal128(digits_of(other)?, 0));
        }
        (other, DataType::Decimal128(..)) if digits_of(other).is_some() => {
            return decimal_of_both(&DataType::Decimal128(digits_of(other)?, 0), right);
        }
        _ => {}
    }
    if conversion(left, right).is_some() { Some(right.clone()) } else { conversion(right, left).map(|_| left.clone()) }
}

/// The decimal type that holds the values of two, of at most 38 digits.
fn decimal_of_both(left: &DataType, right: &DataType) -> Option<DataType> {
    let (DataType::Decimal128(left_digits, left_scale), DataType::Decimal128(right_digits, right_scale)) = (left, right) else { return None };
    let scale = *left_scale.max(right_scale);
    let whole = (i16::from(*left_digits) - i16::from(*left_scale)).max(i16::from(*right_digits) - i16::from(*right_scale));
    Some(DataType::Decimal128(u8::try_from((whole + i16::from(scale)).min(38)).ok()?, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(signatures: &[&str], types: &[DataType]) -> Result<Resolved> {
        let overloads: Vec<Overload> = signatures.iter().filter_map(|text| Overload::parse(text)).collect();
        resolve("f", &overloads, types)
    }

    fn list(element: DataType) -> DataType {
        DataType::List(Arc::new(Field::new_list_field(element, true)))
    }

    #[test]
    fn the_least_conversion_is_chosen() {
        let signatures = ["(double) -> double", "(bigint) -> bigint", "(varchar, varchar...) -> varchar", "() -> double"];
        assert_eq!(resolved(&signatures, &[DataType::Int32]).unwrap().arguments, [DataType::Int64]);
        assert_eq!(resolved(&signatures, &[DataType::Float32]).unwrap().arguments, [DataType::Float64]);
        assert_eq!(resolved(&signatures, &[]).unwrap().result, DataType::Float64);
        assert_eq!(resolved(&signatures, &[DataType::Utf8, DataType::Null, DataType::Utf8View]).unwrap().arguments, vec![DataType::Utf8View; 3]);
        let refused = resolved(&signatures, &[DataType::Utf8, DataType::Int64]).unwrap_err().to_string();
        assert!(refused.contains("'f' does not take (varchar, bigint)"), "{refused}");
    }

    #[test]
    fn nanoseconds_of_one_argument_are_those_of_all() {
        let moment = |unit| DataType::Timestamp(unit, None);
        let (micros, nanos) = (moment(TimeUnit::Microsecond), moment(TimeUnit::Nanosecond));
        let signatures = ["(timestamp(p), timestamp(p)) -> array(timestamp(p))", "(time(p), time(p)) -> bigint", "(timestamp) -> timestamp"];
        for (types, wanted) in [
            ([&micros, &micros], &micros),
            ([&micros, &nanos], &nanos),
            ([&nanos, &DataType::Date32], &nanos),
            ([&DataType::Date32, &DataType::Date32], &micros),
        ] {
            let found = resolved(&signatures, &types.map(Clone::clone)).unwrap();
            assert_eq!(found, Resolved { arguments: vec![wanted.clone(), wanted.clone()], result: list(wanted.clone()) });
        }
        let (time, fine) = (DataType::Time64(TimeUnit::Microsecond), DataType::Time64(TimeUnit::Nanosecond));
        assert_eq!(resolved(&signatures, &[time, fine.clone()]).unwrap().arguments, [fine.clone(), fine]);
        assert_eq!(resolved(&signatures, &[nanos]).unwrap().arguments, [micros]);
    }

    #[test]
    fn letters_stand_for_one_type() {
        let signatures = ["(array(T), T) -> array(T)", "(map(K, V), K) -> V"];
        let found = resolved(&signatures, &[list(DataType::Int32), DataType::Int64]).unwrap();
        assert_eq!(found, Resolved { arguments: vec![list(DataType::Int64), DataType::Int64], result: list(DataType::Int64) });
        let texts = resolved(&signatures, &[list(DataType::Utf8), DataType::Utf8View]).unwrap();
        assert_eq!(texts.arguments, [list(DataType::Utf8), DataType::Utf8View]);
        let map = map_type(&DataType::Utf8View, &DataType::Utf8View);
        assert_eq!(resolved(&signatures, &[map, DataType::Utf8]).unwrap().result, DataType::Utf8View);
        assert!(resolved(&signatures, &[list(DataType::Int32), DataType::Utf8]).is_err());
        let decimal = resolved(&signatures, &[list(DataType::Decimal128(4, 2)), DataType::Int64]).unwrap();
        assert_eq!(decimal.arguments[1], DataType::Decimal128(21, 2));
    }
}
