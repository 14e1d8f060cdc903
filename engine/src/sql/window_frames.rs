//! The offsets of window frames (`RANGE BETWEEN 1.5 PRECEDING AND INTERVAL '1' DAY FOLLOWING`): constants, which DataFusion takes as plain numbers and intervals only.

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, TypedString, UnaryOperator, Value, ValueWithSpan, WindowFrameBound, WindowFrameUnits, WindowSpec,
};
use nunatak_core::{Code, Error, Result};

/// Makes plain numbers of the offsets of a window's frame, and a frame without rows of one that ends before it begins. It may come by again.
///
/// Errors: `INVALID_WINDOW_FRAME` for negative offsets, and frames whose words say that they end before they begin, `TYPE_MISMATCH` for what counts no rows, `INVALID_LITERAL`
/// for too many, `NOT_SUPPORTED` for what is no constant; `MISSING_ORDER_BY` and `INVALID_ORDER_BY` where an offset is added to anything else than one value.
pub(super) fn adapt(window: &mut WindowSpec) -> Result<()> {
    let Some(frame) = &mut window.window_frame else { return Ok(()) };
    check_order(&frame.start_bound, frame.end_bound.as_ref().unwrap_or(&WindowFrameBound::CurrentRow))?;
    let is_range = matches!(frame.units, WindowFrameUnits::Range);
    let mut has_offset = false;
    for bound in std::iter::once(&mut frame.start_bound).chain(&mut frame.end_bound) {
        if let WindowFrameBound::Preceding(Some(offset)) | WindowFrameBound::Following(Some(offset)) = bound {
            make_plain(offset, is_range)?;
            has_offset = true;
        }
    }
    if let Some(end) = &mut frame.end_bound
        && ends_before_it_begins(&frame.start_bound, end)
    {
        if is_range {
            let error =
                Error::not_supported(format!("a window frame of RANGE from {} to {end}, before it begins, is not supported", frame.start_bound));
            return Err(error.with_hint("it has no rows; ROWS and GROUPS take such frames"));
        }
        // DataFusion refuses frames without rows, but not those that lie before all rows.
        let far = || WindowFrameBound::Preceding(Some(Box::new(Expr::Value(Value::Number(i64::MAX.to_string(), false).into()))));
        (frame.start_bound, *end) = (far(), far());
    }
    // A window that begins with another one may have its order from there.
    if !is_range || !has_offset || window.window_name.is_some() {
        return Ok(());
    }
    match window.order_by.len() {
        0 => Err(Error::new(Code::MissingOrderBy, "a window frame of RANGE with an offset needs an ORDER BY")),
        1 => Ok(()),
        count => Err(Error::new(Code::InvalidOrderBy, format!("a window frame of RANGE with an offset is sorted by one value, not by {count}"))),
    }
}

/// What a frame begins and ends with, whatever the offsets are.
fn check_order(start: &WindowFrameBound, end: &WindowFrameBound) -> Result<()> {
    use WindowFrameBound::{CurrentRow, Following, Preceding};
    let is_wrong =
        matches!((start, end), (Following(None), _) | (_, Preceding(None)) | (CurrentRow | Following(_), Preceding(_)) | (Following(_), CurrentRow));
    if is_wrong {
        return Err(Error::new(Code::InvalidWindowFrame, format!("a window frame cannot begin with {start} and end with {end}")));
    }
    Ok(())
}

/// Whether numbers that are written out say so. Without rows in between, a frame has none.
fn ends_before_it_begins(start: &WindowFrameBound, end: &WindowFrameBound) -> bool {
    use WindowFrameBound::{Following, Preceding};
    let (first, last) = match (start, end) {
        (Following(Some(start)), Following(Some(end))) => (start, end),
        (Preceding(Some(start)), Preceding(Some(end))) => (end, start),
        _ => return false,
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) => match (first.parse::<u64>(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) => first > last,
            _ => first.parse::<f64>().ok().zip(last.parse::<f64>().ok()).is_some_and(|(first, last)| first > last),
        },
        _ => false,
    }
}

fn make_plain(offset: &mut Expr, is_range: bool) -> Result<()> {
    if let Some(text) = decimal_rows(offset).filter(|_| !is_range).or_else(|| number(offset)) {
        if text.starts_with('-') {
            return Err(negative(&text));
        }
        if !is_range && !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Error::new(Code::TypeMismatch, format!("{text} counts no rows: a window frame of ROWS or GROUPS takes whole numbers")));
        }
        if !is_range && text.parse::<i64>().is_err() {
            return Err(Error::new(Code::InvalidLiteral, format!("{text} is no number of rows: it is too large for a bigint")));
        }
        *offset = Expr::Value(Value::Number(text, false).into());
        return Ok(());
    }
    if let Expr::Nested(inner) = offset {
        *offset = std::mem::replace(inner.as_mut(), Expr::Value(Value::Null.into()));
        return make_plain(offset, is_range);
    }
    match offset {
        Expr::Interval(interval) if is_range => match interval.value.as_ref() {
            Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) if text.trim_start().starts_with('-') => Err(negative(text)),
            _ => Ok(()),
        },
        Expr::Value(ValueWithSpan { value: Value::Null, .. }) => Err(Error::new(Code::TypeMismatch, "the offset of a window frame cannot be NULL")),
        other => {
            let error = Error::not_supported(format!("the offset '{other}' of a window frame is not supported"));
            Err(error.with_hint("write it as a number, or as an interval with RANGE"))
        }
    }
}

/// How many rows a literal like `DECIMAL '1'` counts: no more than a bigint can say, which are more than there are.
fn decimal_rows(offset: &Expr) -> Option<String> {
    match offset {
        Expr::TypedString(TypedString {
            data_type: data_type @ (DataType::Decimal(_) | DataType::Numeric(_) | DataType::Dec(_)),
            value: ValueWithSpan { value: Value::SingleQuotedString(text), .. },
            ..
        }) => {
            let digits = typed(text.trim(), data_type)?;
            let is_large = digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<i64>().is_err();
            Some(if is_large { i64::MAX.to_string() } else { digits })
        }
        _ => None,
    }
}

fn negative(text: &str) -> Error {
    Error::new(Code::InvalidWindowFrame, format!("the offset of a window frame cannot be negative, as '{text}' is"))
}

/// The digits of a number, with an exponent if it is a double; `None` for what is no number that is written out.
fn number(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) => Some(text.replace('_', "")),
        Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Plus, expr: inner } => number(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => {
            number(inner).map(|text| text.strip_prefix('-').map_or_else(|| format!("-{text}"), str::to_owned))
        }
        Expr::TypedString(TypedString { data_type, value: ValueWithSpan { value: Value::SingleQuotedString(text), .. }, .. }) => {
            typed(text.trim(), data_type)
        }
        // A cast to decimal may round.
        Expr::Cast { data_type: DataType::Decimal(_) | DataType::Numeric(_) | DataType::Dec(_), .. } => None,
        Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, .. } => match expr.as_ref() {
            Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text) | Value::Number(text, _), .. }) => typed(text.trim(), data_type),
            _ => None,
        },
        _ => None,
    }
}

/// A text as a number of this type; `None` if it is none. Types of whole numbers are told by the number.
fn typed(text: &str, data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::TinyInt(None) | DataType::SmallInt(None) | DataType::Int(None) | DataType::Integer(None) | DataType::BigInt(None) => {
            text.parse::<i64>().ok().map(|number| number.to_string())
        }
        DataType::Double(_) | DataType::DoublePrecision => {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
            Some(format!("{number:e}"))
        }
        DataType::Decimal(_) | DataType::Numeric(_) | DataType::Dec(_) => {
            let signed = text.strip_prefix('+').unwrap_or(text);
            let digits = signed.strip_prefix('-').unwrap_or(signed);
            let is_number = digits.bytes().any(|byte| byte.is_ascii_digit()) && digits.parse::<f64>().is_ok();
            (is_number && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')).then(|| signed.to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::{Function, WindowType};
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn adapted(window: &str) -> Result<String> {
        let expression = Parser::new(&GenericDialect {}).try_with_sql(&format!("f() OVER ({window})")).unwrap().parse_expr().unwrap();
        let Expr::Function(Function { over: Some(WindowType::WindowSpec(mut window)), .. }) = expression else { panic!("{window} is no window") };
        adapt(&mut window)?;
        let written = window.to_string();
        Ok(written.strip_prefix("ORDER BY x ").map(str::to_owned).unwrap_or(written))
    }

    #[test]
    fn offsets_become_plain_numbers() {
        for (frame, expected) in [
            ("RANGE BETWEEN 10 PRECEDING AND (+2.5) FOLLOWING", "RANGE BETWEEN 10 PRECEDING AND 2.5 FOLLOWING"),
            ("RANGE SMALLINT '3' PRECEDING", "RANGE 3 PRECEDING"),
            ("RANGE CAST('1.5e1' AS DOUBLE) PRECEDING", "RANGE 1.5e1 PRECEDING"),
            ("RANGE INTERVAL '2 days' PRECEDING", "RANGE INTERVAL '2 days' PRECEDING"),
            ("RANGE (INTERVAL '2 days') PRECEDING", "RANGE INTERVAL '2 days' PRECEDING"),
            ("ROWS BETWEEN UNBOUNDED PRECEDING AND 4 FOLLOWING", "ROWS BETWEEN UNBOUNDED PRECEDING AND 4 FOLLOWING"),
            ("ROWS BETWEEN 10 PRECEDING AND 2 PRECEDING", "ROWS BETWEEN 10 PRECEDING AND 2 PRECEDING"),
            ("GROUPS BETWEEN 2 FOLLOWING AND 10 FOLLOWING", "GROUPS BETWEEN 2 FOLLOWING AND 10 FOLLOWING"),
            ("ROWS BETWEEN 2 PRECEDING AND (10) PRECEDING", "ROWS BETWEEN 9223372036854775807 PRECEDING AND 9223372036854775807 PRECEDING"),
            ("GROUPS BETWEEN 10 FOLLOWING AND 2 FOLLOWING", "GROUPS BETWEEN 9223372036854775807 PRECEDING AND 9223372036854775807 PRECEDING"),
        ] {
            assert_eq!(adapted(&format!("ORDER BY x {frame}")).unwrap(), expected);
        }
    }

    #[test]
    fn wrong_offsets_are_refused() {
        for (window, code) in [
            ("ORDER BY x ROWS -1 PRECEDING", Code::InvalidWindowFrame),
            ("ORDER BY x RANGE INTERVAL '-1 days' PRECEDING", Code::InvalidWindowFrame),
            ("ROWS BETWEEN CURRENT ROW AND 1 PRECEDING", Code::InvalidWindowFrame),
            ("ROWS UNBOUNDED FOLLOWING", Code::InvalidWindowFrame),
            ("ORDER BY x ROWS 1.5 PRECEDING", Code::TypeMismatch),
            ("ORDER BY x ROWS NULL PRECEDING", Code::TypeMismatch),
            ("ORDER BY x ROWS 9223372036854775808 PRECEDING", Code::InvalidLiteral),
            ("ORDER BY x RANGE BETWEEN 1.5 PRECEDING AND 2 PRECEDING", Code::NotSupported),
            ("ORDER BY x RANGE y PRECEDING", Code::NotSupported),
            ("ORDER BY x ROWS DECIMAL '1.5' PRECEDING", Code::TypeMismatch),
            ("ORDER BY x ROWS DECIMAL '-1' PRECEDING", Code::InvalidWindowFrame),
            ("ORDER BY x RANGE CAST('1.5' AS decimal(1)) PRECEDING", Code::NotSupported),
            ("RANGE 1 PRECEDING", Code::MissingOrderBy),
            ("ORDER BY x, y RANGE 1 PRECEDING", Code::InvalidOrderBy),
        ] {
            assert_eq!(adapted(window).unwrap_err().code(), code, "{window}");
        }
    }
}
