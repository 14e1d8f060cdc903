//! The offsets of window frames (`RANGE BETWEEN 1.5 PRECEDING AND INTERVAL '1' DAY FOLLOWING`): constants, which DataFusion takes as plain numbers and intervals only.

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, TypedString, UnaryOperator, Value, ValueWithSpan, WindowFrameBound, WindowFrameUnits, WindowSpec,
};
use nunatak_core::{Code, Error, Result};

/// Makes plain numbers of the offsets of a window's frame. It may come by again.
///
/// Errors: `INVALID_WINDOW_FRAME` for negative offsets, and frames that end before they begin, `TYPE_MISMATCH` for what counts no rows, `NOT_SUPPORTED` for what is no constant; `MISSING_ORDER_BY` and
/// `INVALID_ORDER_BY` where an offset is added to anything else than one value.
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

fn make_plain(offset: &mut Expr, is_range: bool) -> Result<()> {
    if let Some(text) = number(offset) {
        if text.starts_with('-') {
            return Err(negative(&text));
        }
        if !is_range && !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Error::new(Code::TypeMismatch, format!("{text} counts no rows: a window frame of ROWS or GROUPS takes whole numbers")));
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
            ("ORDER BY x RANGE y PRECEDING", Code::NotSupported),
            ("RANGE 1 PRECEDING", Code::MissingOrderBy),
            ("ORDER BY x, y RANGE 1 PRECEDING", Code::InvalidOrderBy),
        ] {
            assert_eq!(adapted(window).unwrap_err().code(), code, "{window}");
        }
    }
}
