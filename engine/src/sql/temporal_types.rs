//! `TIME` and `TIMESTAMP` in queries: they count microseconds, as the columns of tables do, where nothing else is written. DataFusion would count
//! nanoseconds, which reach from 1677 to 2262 only. Times of day of both units are compared by nanoseconds, which DataFusion would not do at all.

use datafusion::arrow::datatypes::{DataType, FieldRef, TimeUnit};
use datafusion::common::datatype::DataTypeExt;
use datafusion::common::{DFSchema, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, TypePlanner};
use datafusion::logical_expr::{Expr, ExprSchemable, cast};
use datafusion::sql::sqlparser::ast::{self, TimezoneInfo, TypedString, Value};

use crate::functions::array_numbers::argument_types;

/// The precision of a literal with more digits than microseconds have.
const NANOSECONDS: u64 = 9;

/// The types of `TIME` and `TIMESTAMP` in literals and casts.
#[derive(Debug)]
pub(crate) struct TemporalTypes;

impl TypePlanner for TemporalTypes {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        let data_type = match sql_type {
            ast::DataType::Timestamp(None, zone) => {
                let zoned = matches!(zone, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz);
                DataType::Timestamp(TimeUnit::Microsecond, zoned.then(|| "UTC".into()))
            }
            ast::DataType::Time(None | Some(6), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => DataType::Time64(TimeUnit::Microsecond),
            ast::DataType::Time(Some(NANOSECONDS), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => DataType::Time64(TimeUnit::Nanosecond),
            _ => return Ok(None),
        };
        Ok(Some(data_type.into_nullable_field_ref()))
    }
}

impl ExprPlanner for TemporalTypes {
    /// Comparisons, and arrays with what is put there by `||`, have to have a type before any rule sees them.
    fn plan_binary_op(&self, expression: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        use ast::BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq, StringConcat};
        let RawBinaryExpr { op, mut left, mut right } = expression;
        if op == StringConcat {
            (left, right) = concatenated(left, right, schema)?;
            return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
        }
        if !matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq) {
            return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
        }
        let nanoseconds = DataType::Time64(TimeUnit::Nanosecond);
        match (left.get_type(schema), right.get_type(schema)) {
            (Ok(DataType::Time64(TimeUnit::Microsecond)), Ok(other)) if other == nanoseconds => left = cast(left, nanoseconds),
            (Ok(other), Ok(DataType::Time64(TimeUnit::Microsecond))) if other == nanoseconds => right = cast(right, nanoseconds),
            _ => {}
        }
        Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
    }
}

/// Both sides of `||`, cast where one is an array of floats and the other has decimals.
fn concatenated(left: Expr, right: Expr, schema: &DFSchema) -> Result<(Expr, Expr)> {
    let types = [left.get_type(schema)?, right.get_type(schema)?];
    let is_list = types.each_ref().map(|data_type| matches!(data_type, DataType::List(_)));
    let function = match is_list {
        [true, true] => "array_concat",
        [true, false] => "array_append",
        [false, true] => "array_prepend",
        [false, false] => return Ok((left, right)),
    };
    let Some(alike) = argument_types(function, &types) else { return Ok((left, right)) };
    let mut sides = [left, right].into_iter().zip(types).zip(alike).map(|((side, is), wanted)| if is == wanted { side } else { cast(side, wanted) });
    match (sides.next(), sides.next()) {
        (Some(left), Some(right)) => Ok((left, right)),
        _ => internal_err!("'||' has two sides"),
    }
}

/// Gives a literal such as `TIMESTAMP '2024-05-01 08:00:00 +02:00'` the type that its text asks for: a zone makes it one with time zone, and a fraction
/// of more than six digits one of nanoseconds. Seconds that are not written are none.
pub(super) fn type_literal(literal: &mut TypedString) {
    let Value::SingleQuotedString(text) = &mut literal.value.value else { return };
    if matches!(literal.data_type, ast::DataType::Timestamp(..) | ast::DataType::Time(..)) {
        add_seconds(text);
    }
    // A date has signs and letters too.
    let time = text.split_once(':').map_or("", |(_, time)| time);
    let digits = time.split_once('.').map_or(0, |(_, fraction)| fraction.bytes().take_while(u8::is_ascii_digit).count());
    let has_zone = time.contains(|character: char| character.is_ascii_alphabetic() || matches!(character, '+' | '-'));
    match &mut literal.data_type {
        ast::DataType::Timestamp(precision, zone) => {
            if precision.is_none() && digits > 6 {
                *precision = Some(NANOSECONDS);
            }
            if has_zone && *zone == TimezoneInfo::None {
                *zone = TimezoneInfo::WithTimeZone;
            }
        }
        ast::DataType::Time(precision, _) if precision.is_none() && digits > 6 => *precision = Some(NANOSECONDS),
        _ => {}
    }
}

/// `2024-05-01 08:00 UTC` becomes `2024-05-01 08:00:00 UTC`.
fn add_seconds(text: &mut String) {
    let Some((hours, rest)) = text.split_once(':') else { return };
    let minutes = rest.bytes().take_while(u8::is_ascii_digit).count();
    // Behind the minutes is the end, or what has no part in the time of day: a zone.
    let ends = minutes == 2 && !rest[minutes..].starts_with([':', '.']);
    if ends && hours.ends_with(|last: char| last.is_ascii_digit()) {
        let end = hours.len() + 1 + minutes;
        text.insert_str(end, ":00");
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn typed(literal: &str) -> DataType {
        let parsed = Parser::new(&GenericDialect {}).try_with_sql(literal).unwrap().parse_expr().unwrap();
        let ast::Expr::TypedString(mut literal) = parsed else { panic!("{literal} is no literal") };
        type_literal(&mut literal);
        // What is not planned here DataFusion plans.
        TemporalTypes.plan_type_field(&literal.data_type).unwrap().map_or(DataType::Null, |field| field.data_type().clone())
    }

    #[test]
    fn seconds_need_not_be_written() {
        for (text, whole) in [
            ("2024-05-01 08:00", "2024-05-01 08:00:00"),
            ("2024-05-01 08:00 UTC", "2024-05-01 08:00:00 UTC"),
            ("2024-05-01T08:00+02:00", "2024-05-01T08:00:00+02:00"),
            ("08:00", "08:00:00"),
            ("08:00:01.5", "08:00:01.5"),
            ("2024-05-01", "2024-05-01"),
            ("08:0", "08:0"),
        ] {
            let mut added = text.to_owned();
            add_seconds(&mut added);
            assert_eq!(added, whole);
        }
    }

    #[test]
    fn literals_have_the_type_that_they_are_written_as() {
        let micros = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        assert_eq!(typed("TIMESTAMP '9999-12-31'"), micros(None));
        assert_eq!(typed("TIMESTAMP '0001-01-01 00:00:00.123456'"), micros(None));
        assert_eq!(typed("TIMESTAMP '2024-05-01T08:00:00Z'"), micros(Some("UTC")));
        assert_eq!(typed("TIMESTAMP '2024-05-01 08:00:00 -02:00'"), micros(Some("UTC")));
        assert_eq!(typed("TIMESTAMP '2024-05-01 08:00:00.1234567 UTC'"), DataType::Null);
        assert_eq!(typed("TIME '08:00:00'"), DataType::Time64(TimeUnit::Microsecond));
        assert_eq!(typed("TIME '08:00:00.123456789'"), DataType::Time64(TimeUnit::Nanosecond));
        assert_eq!(typed("DATE '2024-05-01'"), DataType::Null);
    }
}
