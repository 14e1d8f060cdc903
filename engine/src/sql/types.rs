//! Trino's type names, as written in `CREATE TABLE`, to Iceberg's types, and the schemas of new tables.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, Word};
use nunatak_catalog::evolution::with_fresh_ids;
use nunatak_catalog::spec::{ListType, MapType, NestedField, PrimitiveType, Schema, StructType, Type};
use nunatak_core::{Code, Error, Result};

use super::statement::ColumnDefinition;

type Parsed<T> = std::result::Result<T, ParserError>;

/// The precision that `decimal` has when none is written (Trino).
const DECIMAL_PRECISION_DEFAULT: u32 = 38;

/// Trino's other types.
const NOT_IN_ICEBERG: [&str; 12] = [
    "char",
    "json",
    "interval",
    "ipaddress",
    "hyperloglog",
    "p4hyperloglog",
    "setdigest",
    "qdigest",
    "tdigest",
    "geometry",
    "sphericalgeography",
    "variant",
];

/// Field ids inside nested types are placeholders: fresh ones are given when the table is made.
const FIELD_ID_PLACEHOLDER: i32 = 0;

/// Reads a type. What Iceberg does not have (`tinyint`, `char(n)`, `time with time zone`, ...) is refused or widened as Trino's Iceberg connector does.
pub(super) fn parse_type(parser: &mut Parser<'_>) -> Parsed<Type> {
    let token = parser.next_token();
    let Token::Word(Word { value, .. }) = &token.token else {
        return parser.expected("a type", token);
    };
    let name = value.to_lowercase();
    let primitive = match name.as_str() {
        "boolean" => PrimitiveType::Boolean,
        "int" | "integer" | "smallint" | "tinyint" => PrimitiveType::Int,
        "bigint" | "long" => PrimitiveType::Long,
        "real" | "float" => PrimitiveType::Float,
        "double" => {
            let _ = parser.parse_keyword(Keyword::PRECISION);
            PrimitiveType::Double
        }
        "decimal" | "numeric" => parse_decimal(parser)?,
        "varchar" | "string" | "text" => {
            parse_numbers(parser)?;
            PrimitiveType::String
        }
        "varbinary" | "binary" => PrimitiveType::Binary,
        "uuid" => PrimitiveType::Uuid,
        "date" => PrimitiveType::Date,
        "time" => parse_time(parser)?,
        "timestamp" => parse_timestamp(parser)?,
        "array" => return parse_array(parser),
        "map" => return parse_map(parser),
        "row" | "struct" => return parse_row(parser),
        _ => {
            let place = format!("at Line: {}, Column: {}", token.span.start.line, token.span.start.column);
            let what = if NOT_IN_ICEBERG.contains(&name.as_str()) {
                format!("type '{name}' is not supported: Iceberg has none like it")
            } else {
                format!("type '{value}' does not exist")
            };
            return Err(ParserError::ParserError(format!("{what} {place}")));
        }
    };
    Ok(Type::Primitive(primitive))
}

/// The numbers of `(10, 2)`, if they stand here.
fn parse_numbers(parser: &mut Parser<'_>) -> Parsed<Vec<u64>> {
    if !parser.consume_token(&Token::LParen) {
        return Ok(Vec::new());
    }
    let numbers = parser.parse_comma_separated(Parser::parse_literal_uint)?;
    parser.expect_token(&Token::RParen)?;
    Ok(numbers)
}

fn parse_decimal(parser: &mut Parser<'_>) -> Parsed<PrimitiveType> {
    let numbers = parse_numbers(parser)?;
    let at = |index: usize, default: u32| numbers.get(index).map_or(Ok(default), |&number| u32::try_from(number));
    let wrong = || ParserError::ParserError(format!("decimal{numbers:?} is out of range: precision is 1 to 38, scale 0 to the precision"));
    let precision = at(0, DECIMAL_PRECISION_DEFAULT).map_err(|_| wrong())?;
    let scale = at(1, 0).map_err(|_| wrong())?;
    if precision == 0 || precision > 38 || scale > precision {
        return Err(wrong());
    }
    Ok(PrimitiveType::Decimal { precision, scale })
}

fn parse_time(parser: &mut Parser<'_>) -> Parsed<PrimitiveType> {
    let precision = parse_numbers(parser)?;
    if with_time_zone(parser)? {
        return Err(ParserError::ParserError("Iceberg has no type time with time zone".into()));
    }
    check_precision("time", &precision)?;
    Ok(PrimitiveType::Time)
}

fn parse_timestamp(parser: &mut Parser<'_>) -> Parsed<PrimitiveType> {
    let precision = parse_numbers(parser)?;
    let zoned = with_time_zone(parser)?;
    check_precision("timestamp", &precision)?;
    Ok(if zoned { PrimitiveType::Timestamptz } else { PrimitiveType::Timestamp })
}

fn check_precision(name: &str, precision: &[u64]) -> Parsed<()> {
    match precision.first() {
        Some(&digits) if digits > 6 => {
            Err(ParserError::ParserError(format!("{name}({digits}) is not supported yet: Iceberg v2 keeps microseconds, {name}(6)")))
        }
        _ => Ok(()),
    }
}

fn with_time_zone(parser: &mut Parser<'_>) -> Parsed<bool> {
    if parser.parse_keywords(&[Keyword::WITHOUT, Keyword::TIME, Keyword::ZONE]) {
        return Ok(false);
    }
    Ok(parser.parse_keywords(&[Keyword::WITH, Keyword::TIME, Keyword::ZONE]))
}

/// Opens and closes `(...)` or `<...>`.
fn enclosed<T>(parser: &mut Parser<'_>, body: impl FnOnce(&mut Parser<'_>) -> Parsed<T>) -> Parsed<T> {
    let close = if parser.consume_token(&Token::Lt) {
        Token::Gt
    } else {
        parser.expect_token(&Token::LParen)?;
        Token::RParen
    };
    let value = body(parser)?;
    parser.expect_token(&close)?;
    Ok(value)
}

fn parse_array(parser: &mut Parser<'_>) -> Parsed<Type> {
    let element = enclosed(parser, parse_type)?;
    Ok(Type::List(ListType { element_field: Arc::new(NestedField::list_element(FIELD_ID_PLACEHOLDER, element, false)) }))
}

fn parse_map(parser: &mut Parser<'_>) -> Parsed<Type> {
    let (key, value) = enclosed(parser, |parser| {
        let key = parse_type(parser)?;
        parser.expect_token(&Token::Comma)?;
        Ok((key, parse_type(parser)?))
    })?;
    Ok(Type::Map(MapType {
        key_field: Arc::new(NestedField::map_key_element(FIELD_ID_PLACEHOLDER, key)),
        value_field: Arc::new(NestedField::map_value_element(FIELD_ID_PLACEHOLDER, value, false)),
    }))
}

fn parse_row(parser: &mut Parser<'_>) -> Parsed<Type> {
    let fields = enclosed(parser, |parser| {
        parser.parse_comma_separated(|parser| {
            let name = super::names::normalized(&parser.parse_identifier()?);
            Ok(Arc::new(NestedField::optional(FIELD_ID_PLACEHOLDER, name, parse_type(parser)?)))
        })
    })?;
    Ok(Type::Struct(StructType::new(fields)))
}

/// The schema of a new table, with fresh field ids in place of the placeholders: those of the columns first, then those inside them, as Java does.
pub fn new_schema(columns: &[ColumnDefinition]) -> Result<Schema> {
    let mut next_id = i32::try_from(columns.len()).unwrap_or(i32::MAX);
    let mut names = HashSet::new();
    let mut fields = Vec::with_capacity(columns.len());
    for (id, column) in (1..).zip(columns) {
        if !names.insert(column.name.to_lowercase()) {
            return Err(Error::new(Code::DuplicateColumnName, format!("column '{}' occurs twice", column.name)));
        }
        let Some(column_type) = &column.column_type else {
            return Err(Error::new(Code::SyntaxError, format!("column '{}' has no type", column.name)));
        };
        let mut field = NestedField::new(id, &column.name, with_fresh_ids(column_type, &mut next_id), column.not_null);
        field.doc.clone_from(&column.comment);
        fields.push(Arc::new(field));
    }
    Schema::builder().with_fields(fields).build().map_err(|error| Error::new(Code::InvalidArguments, error.to_string()))
}
