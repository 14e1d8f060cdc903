//! Types of casts that `sqlparser` or DataFusion do not read: `CAST(x AS map(varchar, array(row(a bigint))))`, and `json`. In the tokens of a statement such a type becomes
//! `"$type"('...')`, which the planner reads here.

use datafusion::arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use datafusion::common::{not_impl_err, plan_datafusion_err};
use datafusion::error::Result;
use datafusion::sql::sqlparser::ast::{self, ExactNumberInfo, ObjectNamePart, TimezoneInfo};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};
use nunatak_functions::signature::{JSON, map_type, within};

use super::dialect::TrinoDialect;
use super::names::normalized;
use super::parse::is_word;
use super::temporal_types;

/// The name of the type that stands for one in text.
const MARK: &str = "$type";

/// How deeply types may be nested.
const NESTING_MAX: usize = 64;

/// The digits of a `decimal` without any written, as in Trino.
const DECIMAL_DIGITS: u8 = 38;

/// The tokens, with `"$type"('...')` in place of types of arrays, maps and rows in casts.
pub(super) fn marked(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let types = types_of_casts(&tokens);
    if types.is_empty() {
        return tokens;
    }
    let mut out = Vec::with_capacity(tokens.len());
    let mut at = 0;
    for (start, end) in types {
        out.extend_from_slice(&tokens[at..start]);
        let span = tokens[start].span;
        let text: Vec<String> = tokens[start..end].iter().map(part_of_type).collect();
        let mark = [Token::make_word(MARK, Some('"')), Token::LParen, Token::SingleQuotedString(text.join(" ")), Token::RParen];
        out.extend(mark.map(|token| TokenWithSpan { token, span }));
        at = end;
    }
    out.extend_from_slice(&tokens[at..]);
    out
}

/// Where types of arrays, maps and rows stand in casts, in their order.
fn types_of_casts(tokens: &[TokenWithSpan]) -> Vec<(usize, usize)> {
    struct Open {
        is_cast: bool,
        keyword: Option<usize>,
    }
    let mut open: Vec<Open> = Vec::new();
    let mut types = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::LParen => {
                let is_cast = at > 0 && (is_word(&tokens[at - 1], "CAST") || is_word(&tokens[at - 1], "TRY_CAST"));
                open.push(Open { is_cast, keyword: None });
            }
            Token::RParen => {
                if let Some(Open { is_cast: true, keyword: Some(keyword) }) = open.pop()
                    && is_composite(tokens, keyword + 1)
                {
                    types.push((keyword + 1, at));
                }
            }
            Token::Word(_) if is_word(token, "AS") => {
                if let Some(last) = open.last_mut() {
                    last.keyword = Some(at);
                }
            }
            _ => {}
        }
    }
    types
}

fn is_composite(tokens: &[TokenWithSpan], at: usize) -> bool {
    let named = tokens.get(at).is_some_and(|token| ["ARRAY", "MAP", "ROW"].iter().any(|word| is_word(token, word)));
    named && tokens.get(at + 1).is_some_and(|token| matches!(token.token, Token::LParen | Token::Lt))
}

/// A token of a type. Those of arrays and maps may stand in angle brackets too: `array<row(a bigint)>`.
fn part_of_type(token: &TokenWithSpan) -> String {
    match &token.token {
        Token::Lt => "(".to_owned(),
        Token::Gt => ")".to_owned(),
        Token::ShiftRight => ") )".to_owned(),
        other => other.to_string(),
    }
}

/// The type, if it is one of those that are read here; moments with time zone have this one. Errors: a type that is none.
pub(super) fn planned(sql_type: &ast::DataType, zone: &str) -> Result<Option<DataType>> {
    match sql_type {
        ast::DataType::JSON => Ok(Some(JSON)),
        ast::DataType::Custom(name, texts) => match (name.0.as_slice(), texts.as_slice()) {
            ([ObjectNamePart::Identifier(name)], [text]) if name.value == MARK => read(text, zone).map(Some),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

fn read(text: &str, zone: &str) -> Result<DataType> {
    let wrong = |error: ParserError| plan_datafusion_err!("the type '{text}' cannot be read: {error}");
    let mut parser = Parser::new(&TrinoDialect).try_with_sql(text).map_err(wrong)?;
    let data_type = read_type(&mut parser, zone, 0)?;
    match parser.peek_token_ref().token {
        Token::EOF => Ok(data_type),
        _ => Err(plan_datafusion_err!("the type '{text}' cannot be read to its end")),
    }
}

fn read_type(parser: &mut Parser<'_>, zone: &str, depth: usize) -> Result<DataType> {
    let wrong = |error: ParserError| plan_datafusion_err!("a type cannot be read: {error}");
    if depth > NESTING_MAX {
        return Err(plan_datafusion_err!("a type is nested more than {NESTING_MAX} times"));
    }
    if *parser.peek_nth_token_ref(1) != Token::LParen {
        return plain(&parser.parse_data_type().map_err(wrong)?, zone);
    }
    let is = |parser: &Parser<'_>, word| is_word(parser.peek_token_ref(), word);
    let (is_array, is_map, is_row) = (is(parser, "ARRAY"), is(parser, "MAP"), is(parser, "ROW"));
    if !is_array && !is_map && !is_row {
        return plain(&parser.parse_data_type().map_err(wrong)?, zone);
    }
    parser.next_token();
    parser.next_token();
    let data_type = if is_array {
        DataType::List(Field::new_list_field(within(&read_type(parser, zone, depth + 1)?), true).into())
    } else if is_map {
        let key = read_type(parser, zone, depth + 1)?;
        parser.expect_token(&Token::Comma).map_err(wrong)?;
        map_type(&key, &read_type(parser, zone, depth + 1)?)
    } else {
        let mut fields = Vec::new();
        loop {
            let name = match has_name(parser) {
                true => normalized(&parser.parse_identifier().map_err(wrong)?),
                // As DataFusion names them.
                false => format!("c{}", fields.len()),
            };
            fields.push(Field::new(name, within(&read_type(parser, zone, depth + 1)?), true));
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        DataType::Struct(Fields::from(fields))
    };
    parser.expect_token(&Token::RParen).map_err(wrong)?;
    Ok(data_type)
}

/// Whether a field of a row begins with its name: another word follows that is no part of a type.
fn has_name(parser: &Parser<'_>) -> bool {
    const PARTS_OF_TYPES: [&str; 4] = ["WITH", "WITHOUT", "PRECISION", "VARYING"];
    let next = parser.peek_nth_token_ref(1);
    match &parser.peek_token_ref().token {
        Token::Word(Word { quote_style: Some(_), .. }) => true,
        Token::Word(_) => matches!(next.token, Token::Word(_)) && !PARTS_OF_TYPES.iter().any(|word| is_word(next, word)),
        _ => false,
    }
}

/// A type without parts.
fn plain(sql_type: &ast::DataType, zone: &str) -> Result<DataType> {
    if let Some(data_type) = temporal_types::planned(sql_type, zone)? {
        return Ok(data_type);
    }
    Ok(match sql_type {
        ast::DataType::Boolean | ast::DataType::Bool => DataType::Boolean,
        ast::DataType::TinyInt(_) => DataType::Int8,
        ast::DataType::SmallInt(_) => DataType::Int16,
        ast::DataType::Int(_) | ast::DataType::Integer(_) => DataType::Int32,
        ast::DataType::BigInt(_) => DataType::Int64,
        ast::DataType::Real => DataType::Float32,
        ast::DataType::Double(_) | ast::DataType::DoublePrecision => DataType::Float64,
        ast::DataType::Decimal(digits) | ast::DataType::Numeric(digits) | ast::DataType::Dec(digits) => decimal(*digits)?,
        ast::DataType::Varchar(_) | ast::DataType::String(_) | ast::DataType::Text => DataType::Utf8View,
        ast::DataType::Date => DataType::Date32,
        ast::DataType::Timestamp(Some(digits), is_zoned) => {
            let is_zoned = matches!(is_zoned, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz);
            DataType::Timestamp(unit(*digits), is_zoned.then(|| zone.into()))
        }
        ast::DataType::Time(Some(_), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => DataType::Time64(TimeUnit::Microsecond),
        // What has no value but NULL.
        ast::DataType::Custom(name, parts) if parts.is_empty() && name.to_string().eq_ignore_ascii_case("unknown") => DataType::Null,
        other => return not_impl_err!("Unsupported SQL type {other}"),
    })
}

/// The unit that has this many digits of seconds.
fn unit(digits: u64) -> TimeUnit {
    match digits {
        0 => TimeUnit::Second,
        1..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    }
}

fn decimal(digits: ExactNumberInfo) -> Result<DataType> {
    let (precision, scale) = match digits {
        ExactNumberInfo::None => (Some(DECIMAL_DIGITS), Some(0)),
        ExactNumberInfo::Precision(precision) => (u8::try_from(precision).ok(), Some(0)),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (u8::try_from(precision).ok(), i8::try_from(scale).ok()),
    };
    match (precision, scale) {
        (Some(precision @ 1..=DECIMAL_DIGITS), Some(scale)) if scale >= 0 && u8::try_from(scale).is_ok_and(|scale| scale <= precision) => {
            Ok(DataType::Decimal128(precision, scale))
        }
        _ => Err(plan_datafusion_err!("a decimal has 1 to {DECIMAL_DIGITS} digits, of which none to all are behind the point")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::times::UTC;
    use super::*;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    fn list(element: DataType) -> DataType {
        DataType::List(Field::new_list_field(element, true).into())
    }

    #[test]
    fn types_with_parts_are_read() {
        assert_eq!(read("array ( array ( varchar ( 5 ) ) )", UTC).unwrap(), list(list(DataType::Utf8)));
        assert_eq!(read("map ( varchar , json )", UTC).unwrap(), map_type(&DataType::Utf8, &JSON));
        let row = DataType::Struct(Fields::from(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("B c", list(DataType::Float64), true),
            Field::new("c2", DataType::Timestamp(TimeUnit::Millisecond, Some("Asia/Tokyo".into())), true),
            Field::new("c3", DataType::Decimal128(4, 2), true),
        ]));
        assert_eq!(
            read(r#"row ( A bigint , "B c" array ( double ) , timestamp ( 3 ) with time zone , decimal ( 4 , 2 ) )"#, "Asia/Tokyo").unwrap(),
            row
        );
        assert_eq!(read("array ( uuid )", UTC).unwrap(), list(DataType::FixedSizeBinary(16)));
        assert_eq!(read("array ( string )", UTC).unwrap(), list(DataType::Utf8));
        assert_eq!(read("array ( unknown )", UTC).unwrap(), list(DataType::Null));
        for wrong in ["array ( )", "array ( bigint", "map ( varchar )", "row ( a nothing )", "array ( decimal ( 50 ) )", "array ( bigint ) x"] {
            assert!(read(wrong, UTC).is_err(), "{wrong}");
        }
        assert!(read(&format!("{}bigint{}", "array ( ".repeat(1_000), " )".repeat(1_000)), UTC).is_err());
    }

    #[test]
    fn types_are_marked_in_casts() {
        let tokens = Tokenizer::new(
            &TrinoDialect,
            "select cast(cast(a as array<map<bigint,row(x date)>>) as row(x map(varchar, json))), cast(1 as bigint) as array from t",
        )
        .tokenize_with_location()
        .unwrap();
        let tokens = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
        let texts: Vec<String> = marked(tokens).into_iter().map(|token| token.token.to_string()).filter(|text| text != "EOF").collect();
        assert_eq!(
            texts.join(" "),
            r#"select cast ( cast ( a as "$type" ( 'array ( map ( bigint , row ( x date ) ) )' ) ) as "$type" ( 'row ( x map ( varchar , json ) )' ) ) , cast ( 1 as bigint ) as array from t"#
        );
    }
}
