//! Values that have no type together, and of which DataFusion would make texts or days all the same: an error says so when the query is planned, and not the first row
//! that cannot be cast.
//!
//! A text that is written out beside numbers is left to DataFusion, where it is compared with them or one of the arguments of a function: it may be a number. One without digits is none.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{Between, BinaryExpr, Case, Expr, ExprSchemable, Join, JoinType};
use nunatak_core::{Code, Error, Location};

use crate::error::into_datafusion;
use crate::rules::groups::is_comparison;
use crate::sql::output_name;
use crate::type_name::type_name;

/// The functions that give one of their arguments.
const CHOOSING: [&str; 7] = ["coalesce", "nullif", "nvl", "ifnull", "greatest", "least", "make_array"];

/// What values of a type can stand beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Truth,
    Moment,
}

/// The kind of a type; `None` for those that are told apart elsewhere, and for that of NULL.
fn kind(data_type: &DataType) -> Option<Kind> {
    match data_type {
        DataType::Dictionary(_, values) => kind(values),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Kind::Text),
        DataType::Boolean => Some(Kind::Truth),
        DataType::Date32 | DataType::Timestamp(..) | DataType::Time64(_) => Some(Kind::Moment),
        number if number.is_numeric() => Some(Kind::Number),
        _ => None,
    }
}

/// Whether values of two types have none together. Texts beside dates and times are read as such.
fn are_misfits(left: &DataType, right: &DataType) -> bool {
    match (kind(left), kind(right)) {
        (Some(Kind::Text), Some(Kind::Moment)) | (Some(Kind::Moment), Some(Kind::Text)) => false,
        (Some(left), Some(right)) => left != right,
        _ => false,
    }
}

/// The first two of these types that have none together.
fn misfits<'a>(types: impl IntoIterator<Item = &'a DataType>) -> Option<(&'a DataType, &'a DataType)> {
    let mut known = types.into_iter().filter(|data_type| kind(data_type).is_some());
    let first = known.next()?;
    known.find(|other| are_misfits(first, other)).map(|other| (first, other))
}

/// Errors: `TYPE_MISMATCH` for an expression that chooses one of such values, or compares them.
pub(super) fn check(expression: &Expr, schema: &DFSchema) -> Result<()> {
    match expression {
        Expr::Case(case) => check_case(case, schema),
        Expr::ScalarFunction(ScalarFunction { func, args }) if CHOOSING.contains(&func.name()) => {
            let name = if func.name() == "make_array" { "ARRAY" } else { func.name() };
            let what = format!("the values of {}", name.to_uppercase());
            check_written(&what, args, schema)?;
            let args: Vec<&Expr> = args.iter().filter(|argument| !is_written(argument)).collect();
            check_values(&what, &args, schema)
        }
        Expr::InList(InList { expr, list, .. }) => {
            let what = "the values that IN compares";
            check_written(what, std::iter::once(expr.as_ref()).chain(list), schema)?;
            let values: Vec<&Expr> = std::iter::once(expr.as_ref()).chain(list).filter(|value| !is_written(value)).collect();
            check_values(what, &values, schema)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
            check_written(&format!("the values that {op} compares"), [left.as_ref(), right.as_ref()], schema)
        }
        Expr::Between(Between { expr, low, high, .. }) => {
            check_written("the values that BETWEEN compares", [expr.as_ref(), low.as_ref(), high.as_ref()], schema)
        }
        _ => Ok(()),
    }
}

fn check_case(case: &Case, schema: &DFSchema) -> Result<()> {
    if case.expr.is_none() {
        for (when, _) in &case.when_then_expr {
            if let Ok(data_type) = when.get_type(schema)
                && kind(&data_type).is_some_and(|kind| kind != Kind::Truth)
            {
                return wrong(format!("a condition of CASE is {}, not boolean", type_name(&data_type)), "compare it with a value", Some(when));
            }
        }
    }
    let branches: Vec<&Expr> = case.when_then_expr.iter().map(|(_, then)| then.as_ref()).chain(case.else_expr.as_deref()).collect();
    check_values("the branches of CASE", &branches, schema)
}

fn check_values(what: &str, values: &[&Expr], schema: &DFSchema) -> Result<()> {
    let types: Vec<DataType> = values.iter().filter_map(|value| value.get_type(schema).ok()).collect();
    let Some((left, right)) = misfits(&types) else { return Ok(()) };
    let text = format!("{what} are {} and {}, which have no type together", type_name(left), type_name(right));
    wrong(text, "CAST one of them", values.iter().find(|value| place(value).is_some()).copied())
}

/// Errors: the same for a text in the statement that is no number, beside numbers.
fn check_written<'a>(what: &str, values: impl IntoIterator<Item = &'a Expr>, schema: &DFSchema) -> Result<()> {
    let values: Vec<&Expr> = values.into_iter().collect();
    let Some(text) = values.iter().find_map(|value| no_number(value)) else { return Ok(()) };
    let mut types = values.iter().filter_map(|value| value.get_type(schema).ok());
    match types.find(|data_type| kind(data_type) == Some(Kind::Number)) {
        Some(number) => {
            let text = format!("{what} are {} and the text '{text}', which have no type together", type_name(&number));
            wrong(text, "CAST one of them", values.iter().find(|value| place(value).is_some()).copied())
        }
        None => Ok(()),
    }
}

/// A text in the statement that no cast makes a number of.
fn no_number(value: &Expr) -> Option<&str> {
    let Expr::Literal(literal, _) = value else { return None };
    let text = literal.try_as_str().flatten()?;
    let may_be = text.bytes().any(|byte| byte.is_ascii_digit()) || text.trim().parse::<f64>().is_ok();
    (!may_be).then_some(text)
}

/// Errors: the same for columns of the parts of a set operation. `names` are those of its columns, and `types` are, for each, those of all parts.
pub(super) fn check_parts<'a>(operation: &str, names: impl Iterator<Item = &'a str>, types: &[Vec<DataType>]) -> Result<()> {
    for (name, types) in names.zip(types) {
        if let Some((left, right)) = misfits(types) {
            let text =
                format!("column '{}' of {operation} is {} and {}, which have no type together", output_name(name), type_name(left), type_name(right));
            return wrong(text, "CAST one of them", None);
        }
    }
    Ok(())
}

/// Errors: the same for `INTERSECT` and `EXCEPT`, which are joins whose keys are equal when they are NULL.
pub(super) fn check_set_join(join: &Join) -> Result<()> {
    let operation = match (join.null_equality, join.join_type) {
        (NullEquality::NullEqualsNull, JoinType::LeftSemi) => "INTERSECT",
        (NullEquality::NullEqualsNull, JoinType::LeftAnti) => "EXCEPT",
        _ => return Ok(()),
    };
    let mut types = Vec::with_capacity(join.on.len());
    for (left, right) in &join.on {
        types.push(vec![left.get_type(join.left.schema())?, right.get_type(join.right.schema())?]);
    }
    check_parts(operation, join.left.schema().fields().iter().map(|field| field.name().as_str()), &types)
}

/// Whether an expression is a text in the statement.
fn is_written(value: &Expr) -> bool {
    matches!(value, Expr::Literal(value, _) if kind(&value.data_type()) == Some(Kind::Text))
}

fn wrong(text: String, hint: &str, at: Option<&Expr>) -> Result<()> {
    let error = Error::new(Code::TypeMismatch, text).with_hint(hint);
    Err(into_datafusion(match at.and_then(place) {
        Some(place) => error.at(place),
        None => error,
    }))
}

/// Where a column stands in the statement.
fn place(value: &Expr) -> Option<Location> {
    let Expr::Column(column) = value else { return None };
    column.spans().first().map(|span| Location { line: span.start.line, column: span.start.column })
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::TimeUnit;
    use datafusion::logical_expr::lit;

    use super::*;

    #[test]
    fn texts_without_digits_are_no_numbers() {
        let is_none = |text: &str| no_number(&lit(text)).is_some();
        assert!(is_none("x") && is_none("") && is_none("one"));
        assert!(!is_none("1") && !is_none(" -1.5e3 ") && !is_none("NaN") && !is_none("0x1p3"));
        let wrong = |values: [Expr; 2]| check_written("values", &values, &DFSchema::empty()).is_err();
        assert!(wrong([lit(8), lit("x")]) && !wrong([lit(8), lit("8")]) && !wrong([lit("a"), lit("x")]));
    }

    #[test]
    fn kinds_do_not_mix() {
        let moment = DataType::Timestamp(TimeUnit::Microsecond, None);
        let are_wrong = |types: &[DataType]| misfits(types).is_some();
        assert!(are_wrong(&[DataType::Int64, DataType::Null, DataType::Utf8View]));
        assert!(are_wrong(&[DataType::Boolean, DataType::Int32]));
        assert!(are_wrong(&[DataType::Date32, DataType::Int64]));
        assert!(!are_wrong(&[DataType::Int64, DataType::Decimal128(3, 1), DataType::Float64]));
        assert!(!are_wrong(&[DataType::Utf8, moment, DataType::Date32]));
        assert!(!are_wrong(&[DataType::Null, DataType::Utf8]));
    }
}
