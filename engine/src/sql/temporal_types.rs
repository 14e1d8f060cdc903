//! `TIME` and `TIMESTAMP` in queries: they count microseconds, as the columns of tables do, where nothing else is written. DataFusion would count
//! nanoseconds, which reach from 1677 to 2262 only.

use datafusion::arrow::datatypes::{DataType, FieldRef, TimeUnit};
use datafusion::common::datatype::DataTypeExt;
use datafusion::error::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{self, TimezoneInfo, TypedString, Value};

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

/// Gives a literal such as `TIMESTAMP '2024-05-01 08:00:00 +02:00'` the type that its text asks for: a zone makes it one with time zone, and a fraction
/// of more than six digits one of nanoseconds.
pub(super) fn type_literal(literal: &mut TypedString) {
    let Value::SingleQuotedString(text) = &literal.value.value else { return };
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
