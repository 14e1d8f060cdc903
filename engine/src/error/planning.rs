//! What DataFusion says about a statement, in Trino's codes and words. DataFusion has only texts for these mistakes, so they are told by their texts;
//! one that is not known here stays a `GENERIC_USER_ERROR` with its text.

use nunatak_core::{Code, Error};

use super::lower_first;
use super::type_texts::in_trino_terms;
use crate::sql::output_name;

/// Texts that need only their code.
const CODES: &[(&str, Code)] = &[
    ("annot coerce ", Code::TypeMismatch),
    ("annot infer common argument type", Code::TypeMismatch),
    ("non-boolean predicate", Code::TypeMismatch),
    ("nary operator '", Code::TypeMismatch),
    ("ailed to coerce", Code::TypeMismatch),
    ("isn't a common type to coerce", Code::TypeMismatch),
    ("ncompatible inputs for Union", Code::TypeMismatch),
    ("queries have different number of columns", Code::TypeMismatch),
    ("annot automatically convert", Code::TypeMismatch),
    ("ypes don't match and no valid cast exists", Code::TypeMismatch),
    ("xpected LIMIT to be an integer", Code::TypeMismatch),
    ("LIMIT must be >=", Code::SyntaxError),
    ("OFFSET must be >=", Code::SyntaxError),
    ("nconsistent data length across values list", Code::TypeMismatch),
    ("must appear in the GROUP BY clause or be used in an aggregate function", Code::ExpressionNotAggregate),
    ("ggregate functions are not allowed in the WHERE clause", Code::ExpressionNotScalar),
    ("ggregate function calls cannot be nested", Code::NestedAggregation),
    ("rder by column out of bounds", Code::InvalidColumnReference),
    ("annot find column with position", Code::InvalidColumnReference),
    ("column counts must match", Code::MismatchedColumnAliases),
    ("names given as column alias", Code::MismatchedColumnAliases),
    ("specified more than once", Code::DuplicateNamedQuery),
    ("ubquery returned more than one row", Code::SubqueryMultipleRows),
    ("nsupported date_trunc granularity", Code::InvalidFunctionArgument),
    ("annot infer common string type", Code::TypeMismatch),
    ("annot get result type for temporal operation", Code::TypeMismatch),
    ("rder by index starts at 1", Code::InvalidColumnReference),
    ("must appear in select list", Code::ExpressionNotInDistinct),
    ("must appear in argument list", Code::ExpressionNotInDistinct),
    ("annot access field at argument", Code::TypeMismatch),
    ("ap key cannot be null", Code::InvalidFunctionArgument),
    ("should satisfy `0 < precision", Code::InvalidFunctionArgument),
    ("a decimal has 1 to 38 digits", Code::InvalidFunctionArgument),
    ("would exceed max scale", Code::InvalidFunctionArgument),
];

/// What is not supported of subqueries that name columns of the query around them, by what DataFusion's texts say of it.
const SUBQUERIES: &[(&str, &str)] = &[
    (
        "orrelated scalar subquery must be aggregated",
        "a subquery for one value that names columns of the query around it must be an aggregation, as max(...)",
    ),
    (
        "GROUP BY clause in a scalar correlated subquery",
        "a subquery for one value that names columns of the query around it can be grouped only by what these are compared with",
    ),
    (
        "orrelated scalar subquery can only be used in",
        "a subquery for one value that names columns of the query around it is supported in SELECT and WHERE, not here",
    ),
    ("orrelated scalar subquery in the GROUP BY", "a subquery for one value that names columns of the query around it is not supported in GROUP BY"),
    (
        "ccessing outer reference columns is not allowed",
        "a subquery names columns of the query around it in INTERSECT, EXCEPT or an outer join, which is not supported",
    ),
    ("ubquery can only be used in", "IN and EXISTS with a subquery are supported in SELECT, WHERE and HAVING, not here"),
    ("nsupported Subquery plan", "this subquery that names columns of the query around it is not supported"),
    ("a mixed of outer references and inner columns", "a window function in a subquery names columns of the query around it, which is not supported"),
];

/// The error for a text of DataFusion's planner.
pub(super) fn from_message(message: &str) -> Error {
    if let Some(error) = call(message)
        .or_else(|| refused_by_ours(message))
        .or_else(|| not_grouped(message))
        .or_else(|| missing_over(message))
        .or_else(|| others(message))
    {
        return error;
    }
    let code = CODES.iter().find(|(part, _)| message.contains(part)).map_or(Code::GenericUserError, |(_, code)| *code);
    Error::new(code, in_trino_terms(&lower_first(message.trim_end())))
}

/// The error for what DataFusion calls not implemented.
pub(super) fn from_not_implemented(message: &str) -> Error {
    if let Some(types) = message.strip_prefix("Unsupported CAST from ") {
        return Error::new(Code::TypeMismatch, in_trino_terms(&format!("cannot cast {types}")));
    }
    if let Some(name) = message.strip_prefix("Unsupported SQL type ") {
        if name.contains(['(', '<']) {
            return Error::not_supported(format!("a cast to {name} is not supported yet"));
        }
        return Error::new(Code::TypeNotFound, format!("type '{name}' does not exist"));
    }
    if let Some(node) = message.strip_prefix("Unsupported ast node in sqltorel: ") {
        let name = node.split(|character: char| !character.is_alphanumeric()).next().unwrap_or_default();
        if name == "Lambda" {
            return Error::new(Code::FunctionNotFound, "a function is given here to one that takes values only");
        }
        return Error::not_supported(format!("an expression of this kind ({}) is not supported", name.to_uppercase()));
    }
    if let Some(column) = message.strip_prefix("Nested identifiers are not yet supported for OuterReferenceColumn ") {
        let text = format!("a subquery names a field of column '{column}' of the query around it, which is not supported");
        return Error::not_supported(text).with_hint("select the field under a name of its own in a query around it");
    }
    if message.contains("does not support logical expression OuterReferenceColumn") {
        return Error::not_supported("a subquery names columns of the query around it where that is not supported").with_hint("write a join");
    }
    if message.contains("does not support logical expression WindowFunction") {
        return Error::new(Code::ExpressionNotScalar, "a window function is not allowed here").with_hint("filter its result in an outer query");
    }
    if message.contains("does not support logical expression InSubquery") || message.contains("does not support logical expression Exists") {
        return Error::not_supported(
            "IN and EXISTS with a subquery are supported in SELECT, WHERE and HAVING, and only with conditions by AND for columns of the query around them",
        )
        .with_hint("write a join");
    }
    if message.contains("does not support logical expression ScalarSubquery") {
        return Error::not_supported(
            "a subquery that is aggregated for each row of the query around it is supported only if '=' ties the two together",
        )
        .with_hint("write a join, and GROUP BY");
    }
    Error::not_supported(message)
}

/// A function whose arguments do not fit: its name and the types are all that is of use in a long text.
fn call(message: &str) -> Option<Error> {
    let (_, rest) = message.split_once("No function matches the given name and argument types '")?;
    let (call, _) = rest.split_once("'. You might need to add explicit type casts.")?;
    let (name, types) = call.split_once('(')?;
    let types = types.strip_suffix(')')?;
    let takes = if types.is_empty() { "needs arguments".to_owned() } else { format!("does not take ({})", in_trino_terms(types)) };
    Some(
        Error::new(Code::FunctionNotFound, format!("function '{name}' {takes}"))
            .with_hint(format!("SHOW FUNCTIONS LIKE '{name}' says what it does; cast the arguments if they should fit")),
    )
}

/// What one of our functions has said of its arguments, of which DataFusion has kept the text.
fn refused_by_ours(message: &str) -> Option<Error> {
    let (_, said) = message.split_once(" user-defined coercion failed with: External error: ")?;
    Error::from_display(said.trim_end())
}

fn not_grouped(message: &str) -> Option<Error> {
    let (_, rest) = message.split_once("column \"")?;
    let (column, rest) = rest.split_once('"')?;
    if !rest.starts_with(" must appear in the GROUP BY clause or must be part of an aggregate function") {
        return None;
    }
    let column = output_name(column.rsplit('.').next().unwrap_or(column));
    Some(Error::new(Code::ExpressionNotAggregate, format!("column '{column}' must be in GROUP BY or within an aggregate function")))
}

/// Calls are checked before planning, so what the planner does not find is there: as a window function.
fn missing_over(message: &str) -> Option<Error> {
    let (name, _) = message.strip_prefix("Invalid function '")?.split_once('\'')?;
    Some(Error::new(Code::MissingOver, format!("window function '{name}' needs an OVER clause")).with_hint(format!("write {name}(...) OVER (...)")))
}

/// Lists of columns and of their names.
fn names(message: &str) -> Option<Error> {
    if let Some((_, rest)) = message.split_once(" require unique expression names but the expression \"") {
        let (_, second) = rest.split_once("\" at position ")?.1.split_once("\"")?;
        let (second, _) = second.split_once("\" at position ")?;
        let name = second.rsplit(" AS ").next().unwrap_or(second);
        let name = output_name(name.rsplit('.').next().unwrap_or(name));
        return Some(Error::new(Code::DuplicateColumnName, format!("column '{name}' occurs twice")).with_hint("give one of them another name"));
    }
    if let Some((count, rest)) = message.strip_prefix("Source table contains ")?.split_once(" columns but only ") {
        let (named, _) = rest.split_once(" names given")?;
        let text = format!("a list of {named} column names stands for what has {count} columns");
        return Some(Error::new(Code::MismatchedColumnAliases, text).with_hint("name each column, or leave the list out"));
    }
    None
}

fn others(message: &str) -> Option<Error> {
    if let Some(error) = names(message) {
        return Some(error);
    }
    if message.starts_with("Inconsistent metadata across values list") {
        return Some(
            Error::not_supported("several rows of VALUES with columns of the query around them are not supported")
                .with_hint("write SELECT ... UNION ALL"),
        );
    }
    if let Some(relation) = message.strip_prefix("Invalid qualifier ") {
        let text = format!("there is no '{}' among the tables of this query", relation.trim_end());
        return Some(Error::new(Code::TableNotFound, text).with_hint("a table that has an alias is known by that alone"));
    }
    if message.starts_with("Inserts without a source") {
        return Some(Error::not_supported("INSERT needs a query or VALUES").with_hint("a column that is not named gets its default"));
    }
    if let Some(values) = message.strip_prefix("Inconsistent data length across values list: got ") {
        let (given, rest) = values.split_once(" values in row ")?;
        let (row, wanted) = rest.split_once(" but expected ")?;
        let row = row.parse::<usize>().map_or(0, |row| row + 1);
        let wanted = wanted.split(|character: char| !character.is_ascii_digit()).next().unwrap_or_default();
        return Some(Error::new(Code::TypeMismatch, format!("row {row} of VALUES has {given} values where {wanted} are wanted")));
    }
    if message.starts_with("Column count doesn't match insert query") {
        return Some(Error::new(Code::TypeMismatch, "the query has another number of columns than the INSERT names"));
    }
    if message.starts_with("Substring without for/from") {
        return Some(Error::new(Code::FunctionNotFound, "function 'substr' needs a text and a position"));
    }
    if message.starts_with("Too many columns! The subquery should only return one column") {
        return Some(Error::not_supported("a subquery of several columns is not supported here"));
    }
    if let Some((_, what)) = SUBQUERIES.iter().find(|(part, _)| message.contains(part)) {
        return Some(Error::not_supported(*what).with_hint("write a join"));
    }
    let name = message.strip_prefix("Field ")?.strip_suffix(" not found in struct")?;
    Some(Error::new(Code::ColumnNotFound, format!("field '{name}' does not exist")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_our_functions_say_is_kept() {
        let said = "Function 'f' user-defined coercion failed with: External error: FUNCTION_NOT_FOUND: function 'f' does not take (varchar)";
        assert_eq!(from_message(said).to_string(), "FUNCTION_NOT_FOUND: function 'f' does not take (varchar)");
    }

    #[test]
    fn long_texts_become_short_ones() {
        let sum = "Function 'sum' failed to match any signature. This issue was likely caused by a bug in DataFusion's code. No function matches the \
                   given name and argument types 'sum(Utf8View)'. You might need to add explicit type casts.\n\tCandidate functions:\n\tsum(Decimal)";
        assert!(from_message(sum).to_string().starts_with("FUNCTION_NOT_FOUND: function 'sum' does not take (varchar) ("), "{}", from_message(sum));
        let grouped = "Column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column \"s.t.a\" must appear in the GROUP \
                       BY clause or must be part of an aggregate function, currently only \"count(Int64(1))\" appears in the SELECT clause";
        assert_eq!(from_message(grouped).to_string(), "EXPRESSION_NOT_AGGREGATE: column 'a' must be in GROUP BY or within an aggregate function");
    }

    #[test]
    fn names_that_are_there_twice_are_named() {
        let twice = "Projections require unique expression names but the expression \"x AS a\" at position 0 and \"s.t.y AS a\" at position 1 have the same \
                     name. Consider aliasing (\"AS\") one of them.";
        assert_eq!(from_message(twice).to_string(), "DUPLICATE_COLUMN_NAME: column 'a' occurs twice (give one of them another name)");
        let list = from_message("Source table contains 1 columns but only 2 names given as column alias");
        assert!(list.to_string().starts_with("MISMATCHED_COLUMN_ALIASES: a list of 2 column names stands for what has 1 columns"), "{list}");
        let values = from_message("Inconsistent data length across values list: got 1 values in row 1 but expected 2");
        assert_eq!(values.to_string(), "TYPE_MISMATCH: row 2 of VALUES has 1 values where 2 are wanted");
    }

    #[test]
    fn codes_are_told_by_the_text() {
        let coerced = from_message("Cannot coerce arithmetic expression Int32 + Utf8View to valid types");
        assert_eq!(coerced.to_string(), "TYPE_MISMATCH: cannot coerce arithmetic expression integer + varchar to valid types");
        assert_eq!(from_message("something else").code(), Code::GenericUserError);
        assert_eq!(from_message("LIMIT must be >= 0, '-1' was provided").code(), Code::SyntaxError);
        let decimal = from_message("Decimal(precision = 1, scale = 2) should satisfy `0 < precision <= 76`, and `scale <= precision`.");
        assert_eq!(decimal.code(), Code::InvalidFunctionArgument);
        assert_eq!(from_not_implemented("Unsupported ast node in sqltorel: Lambda(LambdaFunction { .. })").code(), Code::FunctionNotFound);
        assert_eq!(from_message("OFFSET must be >=0, '-1' was provided").code(), Code::SyntaxError);
        assert!(from_message("Invalid qualifier staff").to_string().starts_with("TABLE_NOT_FOUND: there is no 'staff' among the tables"));
        assert_eq!(
            from_not_implemented("Unsupported CAST from List(Int64) to Int64").to_string(),
            "TYPE_MISMATCH: cannot cast array(bigint) to bigint"
        );
    }
}
