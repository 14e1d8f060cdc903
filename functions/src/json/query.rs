//! `json_exists`, `json_value` and `json_query`: what paths of SQL/JSON find in text.
//!
//! What their syntax says beside their arguments comes as text, as in `empty=null;error=error`, and what `PASSING` says as pairs of names and values behind it.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, StringViewArray};
use arrow::compute::interleave;
use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use nunatak_core::Code;

use super::error;
use super::evaluate::{Failure, Item, Subject};
use super::from_json::decode_each;
use super::number::Number;
use super::sql_path::SqlPath;
use super::sql_value::{Value, write_array};
use super::text::{Json, parse};
use super::to_json::Encoder;
use super::values::{json_text, shortened};
use crate::{Call, Scalar};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new(
        "$json_exists",
        &["(varchar, varchar, varchar, any...) -> boolean", "(json, varchar, varchar, any...) -> boolean"],
        json_exists,
        "Whether a path of SQL/JSON finds something.",
    )
    .seeing_nulls(),
    Scalar::new(
        "$json_value",
        &["(varchar, varchar, varchar, T, T, T, any...) -> T", "(json, varchar, varchar, T, T, T, any...) -> T"],
        json_value,
        "The text, number or boolean that a path of SQL/JSON finds.",
    )
    .seeing_nulls(),
    Scalar::new(
        "$json_query",
        &["(varchar, varchar, varchar, any...) -> varchar", "(json, varchar, varchar, any...) -> varchar"],
        json_query,
        "The text of what a path of SQL/JSON finds.",
    )
    .seeing_nulls(),
    Scalar::new("$json_input", &["(varchar) -> json", "(varbinary) -> json"], json_input, "The value of FORMAT JSON."),
    Scalar::new("$to_utf16", &["(varchar) -> varbinary"], to_utf16, "The bytes of ENCODING UTF16, the lower one of two first."),
    Scalar::new("$to_utf32", &["(varchar) -> varbinary"], to_utf32, "The bytes of ENCODING UTF32, the lowest one of four first."),
    Scalar::new("$json_text", &["(varchar) -> varchar", "(varbinary) -> varchar"], json_bytes, "The text of FORMAT JSON."),
];

/// The value of an option, in text like `empty=null;error=error`; empty if it is not there.
pub(super) fn option<'a>(options: &'a str, name: &str) -> &'a str {
    options.split(';').filter_map(|option| option.split_once('=')).find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

/// The options of a call, which are the same for all rows.
pub(super) fn options<'a>(call: &Call<'a>, index: usize) -> Result<&'a str> {
    Ok(if call.rows() > 0 { call.text(index)?.value(0) } else { "" })
}

/// Why a path has found nothing.
enum Problem {
    Input(String),
    Path(String),
}

impl From<Problem> for DataFusionError {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Input(text) => error(Code::JsonInputConversionError, format!("this is no JSON: {text}")),
            Problem::Path(what) => error(Code::PathEvaluationError, format!("the JSON path does not fit: {what}")),
        }
    }
}

/// The input, the path and the variables of a call.
struct Asked<'a> {
    input: &'a ArrayRef,
    text: Box<dyn Fn(usize) -> &'a str + 'a>,
    paths: &'a StringViewArray,
    last: Option<(&'a str, SqlPath)>,
    variables: Vec<(&'a StringViewArray, Encoder)>,
}

impl<'a> Asked<'a> {
    /// `first` is the argument with which pairs of names and values begin.
    fn of(call: &Call<'a>, first: usize) -> Result<Self> {
        let pairs = (first..call.len()).step_by(2);
        let variables = pairs.map(|name| Ok((call.text(name)?, Encoder::of(call.argument(name + 1)?)?))).collect::<Result<_>>()?;
        Ok(Self { input: call.argument(0)?, text: json_text(call, 0)?, paths: call.text(1)?, last: None, variables })
    }

    /// Hands what the path finds in a row to `answer`; `None` for a NULL. Errors: a path that is none.
    fn ask<R>(&mut self, row: usize, answer: impl FnOnce(Result<Vec<Item<'_>>, Problem>) -> Result<R>) -> Result<Option<R>> {
        if self.input.is_null(row) || self.paths.is_null(row) {
            return Ok(None);
        }
        let path_text = self.paths.value(row);
        let path = match self.last.take() {
            Some((known, path)) if known == path_text => path,
            _ => SqlPath::parse(path_text)?,
        };
        let path = &self.last.insert((path_text, path)).1;
        let text = (self.text)(row);
        let Ok(root) = parse(text).map(Value::from) else { return answer(Err(Problem::Input(shortened(text)))).map(Some) };
        let variables = self.variables.iter().map(|(name, values)| Ok((name.value(row), variable(values, row)?))).collect::<Result<Vec<_>>>()?;
        match path.find(Subject { root: &root, variables: &variables }) {
            Ok(items) => answer(Ok(items)).map(Some),
            Err(Failure::Unfit(what)) => answer(Err(Problem::Path(what))).map(Some),
            Err(Failure::Unnamed(name)) => Err(error(Code::InvalidPath, format!("PASSING gives no value for the variable ${name} of the JSON path"))),
        }
    }
}

fn variable(values: &Encoder, row: usize) -> Result<Value> {
    if values.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match values {
        Encoder::Boolean(values) => Value::Boolean(values.value(row)),
        Encoder::Whole(values) => Value::Number(Number::Bigint(values.value(row))),
        Encoder::Real(values) => Value::Number(Number::Double(f64::from(values.value(row)))),
        Encoder::Double(values) => Value::Number(Number::Double(values.value(row))),
        Encoder::Decimal(values) => Value::Number(Number::Decimal(values.value(row), u32::try_from(values.scale()).unwrap_or(0))),
        Encoder::Json(values) => match parse(values.value(row)) {
            Ok(json) => Value::from(json),
            Err(_) => return Err(Problem::Input(shortened(values.value(row))).into()),
        },
        Encoder::List(..) | Encoder::Map(..) | Encoder::Row(..) => {
            return Err(error(Code::NotSupported, "PASSING takes no arrays, maps and rows; cast them to json and add FORMAT JSON"));
        }
        text => Value::Text(text.name(row)),
    })
}

fn json_exists(call: &Call<'_>) -> Result<ArrayRef> {
    let mut asked = Asked::of(call, 3)?;
    let on_error = option(options(call, 2)?, "error");
    call.booleans(|row| {
        let answer = asked.ask(row, |items| match (items, on_error) {
            (Ok(items), _) => Ok(Some(!items.is_empty())),
            (Err(_), "true") => Ok(Some(true)),
            (Err(_), "unknown") => Ok(None),
            (Err(problem), "error") => Err(problem.into()),
            (Err(_), _) => Ok(Some(false)),
        });
        Ok(answer?.flatten())
    })
}

/// What becomes of a row.
enum Outcome {
    Null,
    Value(Json),
    Empty,
    Failed,
}

fn json_value(call: &Call<'_>) -> Result<ArrayRef> {
    let mut asked = Asked::of(call, 6)?;
    let options = options(call, 2)?;
    let length = option(options, "length").parse::<usize>().ok();
    let (is_text, raises) = (matches!(call.returns(), DataType::Utf8View | DataType::Utf8), option(options, "error") == "error");
    let mut outcomes = Vec::with_capacity(call.rows());
    for row in 0..call.rows() {
        let outcome = asked.ask(row, |items| {
            let items = match items {
                Ok(items) => items,
                Err(problem) if raises => return Err(problem.into()),
                Err(_) => return Ok(Outcome::Failed),
            };
            match items.as_slice() {
                [] if option(options, "empty") == "error" => Err(error(Code::JsonValueResultError, "the JSON path found nothing")),
                [] => Ok(Outcome::Empty),
                [item] if item.is_scalar() && !is_too_long(item, length) => Ok(scalar(item, is_text)),
                _ if raises => {
                    Err(error(Code::JsonValueResultError, "the JSON path found something else than one text, number or boolean that fits"))
                }
                _ => Ok(Outcome::Failed),
            }
        });
        outcomes.push(outcome?.unwrap_or(Outcome::Null));
    }
    let values: Vec<Option<&Json>> = outcomes.iter().map(|outcome| if let Outcome::Value(json) = outcome { Some(json) } else { None }).collect();
    let (decoded, failed) = decode_each(&values, call.returns())?;
    if raises && failed.contains(&true) {
        return Err(error(
            Code::JsonValueResultError,
            format!("what the JSON path found does not become {}", crate::type_name::type_name(call.returns())),
        ));
    }
    let places: Vec<(usize, usize)> = outcomes
        .iter()
        .zip(&failed)
        .enumerate()
        .map(|(row, (outcome, failed))| match outcome {
            Outcome::Empty => (1, row),
            Outcome::Failed => (2, row),
            Outcome::Value(_) if *failed => (2, row),
            Outcome::Null | Outcome::Value(_) => (0, row),
        })
        .collect();
    Ok(interleave(&[decoded.as_ref(), call.argument(4)?.as_ref(), call.argument(5)?.as_ref()], &places)?)
}

/// Whether a number or a truth value has more letters than the type that is wanted. Texts are cut.
fn is_too_long(value: &Value, length: Option<usize>) -> bool {
    length.is_some_and(|length| match value {
        Value::Number(number) => number.to_text().len() > length,
        Value::Boolean(value) => value.to_string().len() > length,
        Value::Null | Value::Text(_) | Value::Array(_) | Value::Object(_) => false,
    })
}

/// A value without parts for a type; decimals are written as such in text.
fn scalar(value: &Value, is_text: bool) -> Outcome {
    Outcome::Value(match value {
        Value::Boolean(value) => Json::Boolean(*value),
        Value::Text(text) => Json::Text(text.clone()),
        Value::Number(Number::Large(_)) => return Outcome::Failed,
        Value::Number(Number::Double(value)) if !value.is_finite() => Json::Text(Number::Double(*value).to_text()),
        Value::Number(number @ Number::Decimal(..)) if is_text => Json::Text(number.to_text()),
        Value::Number(number @ Number::Double(_)) if is_text => Json::Text(number.to_text()),
        Value::Number(number) => Json::Number(number.to_text()),
        Value::Null | Value::Array(_) | Value::Object(_) => return Outcome::Null,
    })
}

fn json_query(call: &Call<'_>) -> Result<ArrayRef> {
    let mut asked = Asked::of(call, 3)?;
    let options = options(call, 2)?;
    let (on_empty, on_error, wrapper) = (option(options, "empty"), option(options, "error"), option(options, "wrapper"));
    let omits_quotes = option(options, "quotes") == "omit";
    if omits_quotes && !wrapper.is_empty() {
        return Err(error(Code::InvalidFunctionArgument, "OMIT QUOTES does not go together with a wrapper"));
    }
    call.texts(|row| {
        let answer = asked.ask(row, |items| {
            let items = match items {
                Ok(items) => items,
                Err(problem) if on_error == "error" => return Err(problem.into()),
                Err(_) => return Ok(instead(on_error)),
            };
            let result = match (items.as_slice(), wrapper) {
                ([], _) if on_empty == "error" => return Err(error(Code::JsonOutputConversionError, "the JSON path found nothing")),
                ([], _) => return Ok(instead(on_empty)),
                ([item], "") => item,
                ([item], "conditional") if !item.is_scalar() => item,
                (items, "conditional" | "unconditional") => {
                    let mut out = String::new();
                    write_array(items.iter().map(AsRef::as_ref), &mut out);
                    return Ok(Some(out));
                }
                _ if on_error == "error" => return Err(error(Code::JsonOutputConversionError, "the JSON path found more than one value")),
                _ => return Ok(instead(on_error)),
            };
            Ok(Some(match result.as_ref() {
                Value::Text(text) if omits_quotes => text.clone(),
                value => {
                    let mut out = String::new();
                    value.write(&mut out);
                    out
                }
            }))
        });
        Ok(answer?.flatten())
    })
}

/// What stands for nothing, or for an error.
fn instead(wanted: &str) -> Option<String> {
    match wanted {
        "array" => Some("[]".to_owned()),
        "object" => Some("{}".to_owned()),
        _ => None,
    }
}

/// The texts of an argument that has text as `varchar` or `varbinary`.
fn texts_of<'a>(call: &Call<'a>) -> Result<Box<dyn Fn(usize) -> Cow<'a, str> + 'a>> {
    Ok(match call.text(0) {
        Ok(values) => Box::new(move |row: usize| values.value(row).into()),
        Err(_) => {
            let values = call.bytes(0)?;
            Box::new(move |row: usize| String::from_utf8_lossy(values.value(row)))
        }
    })
}

fn json_input(call: &Call<'_>) -> Result<ArrayRef> {
    let text = texts_of(call)?;
    call.jsons(|row| {
        let text = text(row);
        match parse(&text) {
            Ok(mut json) => {
                json.unite();
                Ok(Some(json.written()))
            }
            Err(_) => Err(Problem::Input(shortened(&text)).into()),
        }
    })
}

fn to_utf16(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.binaries(|row| Ok(Some(texts.value(row).encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>())))
}

fn to_utf32(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.binaries(|row| Ok(Some(texts.value(row).chars().flat_map(|character| u32::from(character).to_le_bytes()).collect::<Vec<u8>>())))
}

fn json_bytes(call: &Call<'_>) -> Result<ArrayRef> {
    let text = texts_of(call)?;
    call.texts(|row| Ok(Some(text(row))))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use datafusion::common::config::ConfigOptions;

    use super::*;

    #[test]
    fn each_row_has_its_own_answer() {
        let inputs: ArrayRef = Arc::new(StringViewArray::from(vec![Some(r#"{"a": 1}"#), Some("{}"), None, Some("x"), Some(r#"{"a": "b"}"#)]));
        let same = |text: &str| -> ArrayRef { Arc::new(StringViewArray::from(vec![text; 5])) };
        let number = |value: Option<i64>| -> ArrayRef { Arc::new(Int64Array::from(vec![value; 5])) };
        let arguments = [inputs, same("lax $.a"), same(""), number(None), number(Some(10)), number(Some(20))];
        let config = ConfigOptions::default();
        let values = json_value(&Call::new(&arguments, 5, &DataType::Int64, &config, true)).unwrap();
        let values: Vec<Option<i64>> = values.as_primitive::<arrow::datatypes::Int64Type>().iter().collect();
        assert_eq!(values, [Some(1), Some(10), None, Some(20), Some(20)]);
    }
}
