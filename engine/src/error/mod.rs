//! The one place where DataFusion's errors become nunatak's: by variant, and what its planner says ([`planning`]) by its text.

mod planning;
mod type_texts;

use std::cmp::Reverse;
use std::error::Error as StdError;

use datafusion::arrow::error::ArrowError;
use datafusion::common::{Column, Diagnostic, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::parquet::errors::ParquetError;
use datafusion::sql::sqlparser::parser::ParserError;
use nunatak_core::{Code, Error, Location};

use type_texts::in_trino_terms;

use crate::scan::HiddenColumn;
use crate::sql::{OUTER, output_name};

/// What datafusion-distributed says where rows of another process are read a second time.
const STREAM_USED_UP: &str = "WorkerConnections stream for partition";

/// Turns an error of DataFusion into nunatak's. An error of ours that travelled inside comes out unchanged.
pub fn from_datafusion(error: DataFusionError) -> Error {
    if let Some(ours) = find_ours(&error) {
        return ours;
    }
    convert(error)
}

/// The same for an error that is still needed, or shared.
pub fn from_datafusion_ref(error: &DataFusionError) -> Error {
    find_ours(error).unwrap_or_else(|| convert_shared(error))
}

/// Puts an error of ours into DataFusion's, for the way through its operators.
pub fn into_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Looks along the chain of causes for an error that was ours from the start. It is copied, since DataFusion may share it between consumers.
fn find_ours(error: &(dyn StdError + 'static)) -> Option<Error> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(ours) = current.downcast_ref::<Error>() {
            return Some(ours.clone_without_source());
        }
        cause = match current.downcast_ref::<DataFusionError>() {
            Some(DataFusionError::External(inner)) => Some(inner.as_ref() as &(dyn StdError + 'static)),
            Some(DataFusionError::Shared(inner)) => Some(inner.as_ref() as &(dyn StdError + 'static)),
            Some(DataFusionError::Collection(all)) => return all.iter().find_map(|one| find_ours(one)),
            Some(DataFusionError::ArrowError(inner, _)) => Some(inner.as_ref() as &(dyn StdError + 'static)),
            Some(DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner)) => Some(inner.as_ref() as &(dyn StdError + 'static)),
            _ => current.source(),
        };
    }
    None
}

fn convert(error: DataFusionError) -> Error {
    match error {
        DataFusionError::Diagnostic(diagnostic, inner) => with_diagnostic(convert(*inner), &diagnostic),
        DataFusionError::Context(_, inner) => convert(*inner),
        DataFusionError::Collection(mut all) if !all.is_empty() => convert(all.swap_remove(0)),
        DataFusionError::SchemaError(schema_error, _) => from_schema_error(*schema_error),
        DataFusionError::SQL(parser_error, _) => from_parser(*parser_error),
        DataFusionError::ParquetError(parquet) => from_parquet(*parquet),
        DataFusionError::ObjectStore(store) => from_object_store(*store),
        DataFusionError::Configuration(message) => Error::new(Code::InvalidSessionProperty, message),
        DataFusionError::ResourcesExhausted(message) => Error::new(Code::ExceededLocalMemoryLimit, message)
            .with_hint("select fewer rows or columns, or give the server more memory with --memory"),
        other => convert_shared(&other),
    }
}

/// An error of which only the text has come over the wire: the code stands before it if it was ours.
fn from_text(text: &str) -> Error {
    Error::from_display(text).unwrap_or_else(|| no_space(text).unwrap_or_else(|| Error::new(Code::GenericInternalError, text)))
}

/// The error for a full disk, if that is what the operating system has said: of files of tables storage says so itself, all others are of running queries.
fn no_space(text: &str) -> Option<Error> {
    let is_full = ["No space left on device", "Disk quota exceeded"].iter().any(|said| text.contains(said));
    is_full.then(|| {
        Error::new(Code::ExceededSpillLimit, "there is no space left on disk for what queries keep there while they run")
            .with_hint("free some, or put the data directory on a larger disk")
    })
}

/// A shared error cannot be taken apart; its variant still gives the code.
fn convert_shared(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::Shared(inner) => convert_shared(inner),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => convert_shared(inner),
        DataFusionError::ArrowError(arrow, _) => from_arrow(arrow),
        DataFusionError::ParquetError(parquet) => Error::new(Code::IcebergBadData, parquet.to_string()),
        DataFusionError::ObjectStore(store) => Error::new(store_code(store), store.to_string()),
        DataFusionError::ResourcesExhausted(message) => Error::new(Code::ExceededLocalMemoryLimit, message.clone()),
        DataFusionError::Execution(message) | DataFusionError::Plan(message) => planning::from_message(message),
        DataFusionError::NotImplemented(message) => planning::from_not_implemented(message),
        DataFusionError::IoError(io) => no_space(&io.to_string()).unwrap_or_else(|| Error::new(Code::IcebergFilesystemError, io.to_string())),
        DataFusionError::External(inner) => from_text(&inner.to_string()),
        // Only a join that lacks memory reads a side again; that of another process it cannot.
        DataFusionError::Internal(message) if message.contains(STREAM_USED_UP) => {
            Error::new(Code::ExceededLocalMemoryLimit, "a join has to keep one of its sides in memory, and there is not enough")
                .with_hint("give the executors more memory with --memory")
        }
        other => Error::internal(other.to_string()),
    }
}

fn with_diagnostic(error: Error, diagnostic: &Diagnostic) -> Error {
    match diagnostic.span {
        Some(span) if error.location().is_none() => error.at(Location { line: span.start.line, column: span.start.column }),
        _ => error,
    }
}

/// Whether a column is one of those that DataFusion makes for subqueries. That they are wrong is nothing that a user could mend.
fn is_of_subquery(field: &Column) -> bool {
    let relation = field.relation.as_ref().map_or("", |relation| relation.table());
    field.name == "__always_true" || ["__scalar_sq_", "__correlated_sq_"].iter().any(|made| relation.starts_with(made))
}

fn from_schema_error(error: SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, .. } | SchemaError::AmbiguousReference { field } if is_of_subquery(&field) => {
            Error::not_supported("this subquery that names columns of the query around it is not supported").with_hint("write a join")
        }
        SchemaError::FieldNotFound { field, valid_fields } => {
            // The columns of a plan that nobody has named are nothing to suggest.
            let is_shown = |name: &&str| !HiddenColumn::is_name(name) && !name.contains(char::is_control);
            let names: Vec<&str> = valid_fields.iter().map(|column| output_name(&column.name)).filter(is_shown).collect();
            let flat = field.flat_name();
            let written = flat.strip_prefix(OUTER).and_then(|name| name.strip_prefix('.')).unwrap_or(&flat);
            let missing = Error::new(Code::ColumnNotFound, format!("column '{}' does not exist", output_name(written)));
            suggest(missing, output_name(&field.name), names.iter().copied())
        }
        SchemaError::AmbiguousReference { field } => Error::new(Code::AmbiguousName, format!("column '{}' is ambiguous", output_name(&field.name)))
            .with_hint("write the table's name or alias before it"),
        SchemaError::DuplicateQualifiedField { qualifier, name } => {
            Error::new(Code::DuplicateColumnName, format!("column '{qualifier}.{name}' occurs twice")).with_hint("give one of them an alias")
        }
        SchemaError::DuplicateUnqualifiedField { name } => {
            Error::new(Code::DuplicateColumnName, format!("column '{name}' occurs twice")).with_hint("give one of them an alias")
        }
    }
}

/// Turns an error of the SQL parser into a `SYNTAX_ERROR` with its place (`NOT_SUPPORTED` or `TYPE_NOT_FOUND` if its text says so). The parser has no field for the place: it ends the text with it.
pub fn from_parser(error: ParserError) -> Error {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
        ParserError::RecursionLimitExceeded => return Error::new(Code::SyntaxError, "the statement is nested too deeply"),
    };
    let (message, location) = split_place(&text);
    // Our own parsers have no other way than the text to say that something is missing rather than misspelt.
    let code = if message.contains("not supported") {
        Code::NotSupported
    } else if message.starts_with("type '") && message.ends_with("' does not exist") {
        Code::TypeNotFound
    } else {
        Code::SyntaxError
    };
    let syntax = Error::new(code, lower_first(message));
    match location {
        Some(location) => syntax.at(location),
        None => syntax,
    }
}

fn split_place(text: &str) -> (&str, Option<Location>) {
    let parse = |start: usize| {
        let (line, column) = text[start + " at Line: ".len()..].split_once(", Column: ")?;
        Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
    };
    match text.rfind(" at Line: ").map(|start| (start, parse(start))) {
        Some((start, Some(location))) => (&text[..start], Some(location)),
        _ => (text, None),
    }
}

fn arrow_code(error: &ArrowError) -> Code {
    match error {
        ArrowError::DivideByZero => Code::DivisionByZero,
        ArrowError::ArithmeticOverflow(_) => Code::NumericValueOutOfRange,
        ArrowError::CastError(_) | ArrowError::ParseError(_) => Code::InvalidCastArgument,
        ArrowError::ComputeError(_) | ArrowError::InvalidArgumentError(_) => Code::InvalidFunctionArgument,
        ArrowError::NotYetImplemented(_) => Code::NotSupported,
        ArrowError::ParquetError(_) => Code::IcebergBadData,
        ArrowError::MemoryError(_) => Code::ExceededLocalMemoryLimit,
        ArrowError::IoError(..) => Code::IcebergFilesystemError,
        ArrowError::CsvError(_) | ArrowError::JsonError(_) => Code::BadFileRow,
        _ => Code::GenericInternalError,
    }
}

/// The same for an error of Arrow's kernels, with types as Trino writes them.
pub fn from_arrow(error: &ArrowError) -> Error {
    if let Some(full) = no_space(&error.to_string()) {
        return full;
    }
    if let ArrowError::CastError(text) | ArrowError::InvalidArgumentError(text) = error
        && let Some((code, text)) = out_of_range(text)
    {
        return Error::new(code, in_trino_terms(&text));
    }
    let code = arrow_code(error);
    let text = match error {
        ArrowError::DivideByZero => "division by zero".to_owned(),
        ArrowError::CastError(text)
        | ArrowError::ParseError(text)
        | ArrowError::ComputeError(text)
        | ArrowError::ArithmeticOverflow(text)
        | ArrowError::InvalidArgumentError(text) => lower_first(text),
        other => other.to_string(),
    };
    Error::new(code, in_trino_terms(&text))
}

/// What is said of a number that a type has no place for, if that is what Arrow's text is about. As in Trino, decimals have another code.
fn out_of_range(text: &str) -> Option<(Code, String)> {
    if let Some((value, wanted)) = text.strip_prefix("Can't cast value ").and_then(|rest| rest.split_once(" to type ")) {
        let said = (Code::NumericValueOutOfRange, format!("cannot cast {value} to {wanted}"));
        return Some(said).filter(|_| !value.eq_ignore_ascii_case("nan"));
    }
    let parts = [" is too large to store in a Decimal", " is too small to store in a Decimal"].iter().find_map(|said| text.split_once(said));
    let (value, (_, rest)) = parts.and_then(|(value, rest)| Some((value, rest.split_once(" of precision ")?)))?;
    // The bound behind it has the scale.
    let (precision, bound) = rest.split_once(". ")?;
    let scale = bound.rsplit(' ').next()?.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    Some((Code::InvalidCastArgument, format!("cannot cast {value} to decimal({precision},{scale})")))
}

fn from_parquet(error: ParquetError) -> Error {
    Error::new(Code::IcebergBadData, error.to_string()).with_source(error)
}

fn store_code(error: &object_store::Error) -> Code {
    match error {
        object_store::Error::NotFound { .. } => Code::IcebergMissingData,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => Code::StorageAccessDenied,
        object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } => Code::NotSupported,
        _ => Code::IcebergFilesystemError,
    }
}

fn from_object_store(error: object_store::Error) -> Error {
    Error::new(store_code(&error), error.to_string()).with_source(error)
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    match (characters.next(), characters.clone().next()) {
        // An abbreviation keeps its capitals.
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => first.to_lowercase().chain(characters).collect(),
        _ => text.to_owned(),
    }
}

/// How many names are compared with the one that was written, letter by letter in their order. Of more, those that have most letters in common with it.
const COMPARED_MAX: usize = 500;

/// The name most like `wanted`, if one is like it at all: for "did you mean".
fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    let names = with_most_in_common(&wanted, names.into_iter().collect());
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&wanted, &name.to_lowercase()), name))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, name)| name)
}

/// Up to [`COMPARED_MAX`] of the names. What two names have in common is most of how much alike they are, and is quick to see.
fn with_most_in_common<'a>(wanted: &str, names: Vec<&'a str>) -> Vec<&'a str> {
    if names.len() <= COMPARED_MAX {
        return names;
    }
    let mut letters = [0_u8; 256];
    wanted.bytes().for_each(|letter| letters[usize::from(letter)] = letters[usize::from(letter)].saturating_add(1));
    let likeness = |name: &str| {
        let mut left = letters;
        let in_common = |letter: u8| {
            let left = &mut left[usize::from(letter.to_ascii_lowercase())];
            let had = *left > 0;
            *left = left.saturating_sub(1);
            had
        };
        let common = 1_000 * name.bytes().map(in_common).filter(|common| *common).count();
        common / wanted.len().max(1) + common / name.len().max(1)
    };
    let mut ranked: Vec<_> = names.into_iter().map(|name| (Reverse(likeness(name)), name)).collect();
    ranked.select_nth_unstable(COMPARED_MAX);
    ranked.truncate(COMPARED_MAX);
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, name)| name).collect()
}

/// Asks "did you mean ...?" with the one of `names` that looks most like `wanted`; if none does, the error keeps the hint that it has.
#[must_use]
pub fn suggest<'a>(error: Error, wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Error {
    match nearest(wanted, names) {
        Some(near) => error.with_hint(format!("did you mean '{near}'?")),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_ours_comes_out_as_it_went_in() {
        let inner = into_datafusion(Error::new(Code::BadFileRow, "x.csv:3: column 'a': 'b' is not a bigint"));
        let wrapped = DataFusionError::Context("scan".into(), Box::new(DataFusionError::Shared(std::sync::Arc::new(inner))));
        let out = from_datafusion(wrapped);
        assert_eq!(out.code(), Code::BadFileRow);
        assert_eq!(out.message(), "x.csv:3: column 'a': 'b' is not a bigint");
    }

    #[test]
    fn numbers_that_do_not_fit_are_out_of_range() {
        let integer = from_arrow(&ArrowError::CastError("Can't cast value 3000000000 to type Int32".into()));
        assert_eq!(integer.to_string(), "NUMERIC_VALUE_OUT_OF_RANGE: cannot cast 3000000000 to integer");
        let large = ArrowError::InvalidArgumentError("1000.00 is too large to store in a Decimal128 of precision 5. Max is 999.99".into());
        assert_eq!(from_arrow(&large).to_string(), "INVALID_CAST_ARGUMENT: cannot cast 1000.00 to decimal(5,2)");
        let small = ArrowError::InvalidArgumentError("-12 is too small to store in a Decimal128 of precision 1. Min is -9".into());
        assert_eq!(from_arrow(&small).to_string(), "INVALID_CAST_ARGUMENT: cannot cast -12 to decimal(1,0)");
        assert_eq!(from_arrow(&ArrowError::CastError("Cannot cast string 'x' to value of Int64 type".into())).code(), Code::InvalidCastArgument);
    }

    #[test]
    fn a_syntax_error_has_its_place() {
        let error = from_parser(ParserError::ParserError("Expected: an expression, found: FROM at Line: 2, Column: 8".into()));
        assert_eq!(error.to_string(), "SYNTAX_ERROR: line 2:8: expected: an expression, found: FROM");
    }

    #[test]
    fn nearest_name_is_near() {
        assert_eq!(nearest("flight", ["flights", "weather"]), Some("flights"));
        assert_eq!(nearest("zzz", ["flights", "weather"]), None);
    }

    #[test]
    fn nearest_of_many_names_is_near() {
        let names: Vec<String> = (0..20_000).map(|n| format!("events_of_{n}")).chain(["customers".to_owned()]).collect();
        let nearest = |wanted: &str| nearest(wanted, names.iter().map(String::as_str));
        assert_eq!(nearest("costumers"), Some("customers"));
        assert_eq!(nearest("Customer"), Some("customers"));
        assert_eq!(nearest("event_of_17345"), Some("events_of_17345"));
        assert_eq!(nearest("zzz"), None);
    }
}
