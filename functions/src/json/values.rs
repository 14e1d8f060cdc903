//! The type `json`, and functions that look into its values.
//!
//! In plans a value of the type is a text of Arrow's large kind, which nothing else is: so its type goes wherever values go. It is canonical text, without spaces and
//! with sorted members, if it comes of `json_parse` or a cast; equal values are equal texts.

use arrow::array::{ArrayRef, StringViewArray};
use datafusion::error::{DataFusionError, Result};
use nunatak_core::{Code, Error};

use super::path::{Paths, found};
use super::text::{Event, Json, Malformed, Scanned, Scanner, parse};
use super::written::is_whole;
use crate::{Call, Scalar, invalid};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("json_parse", &["(varchar) -> json"], json_parse, "The value that a text of JSON is."),
    Scalar::new("$json_literal", &["(varchar) -> json"], json_literal, "The value of JSON '...'."),
    Scalar::new("json_format", &["(json) -> varchar"], json_format, "The text of a JSON value."),
    Scalar::new("$plain_text", &["(json) -> varchar", "(varchar) -> varchar"], json_format, "Text that is not JSON."),
    Scalar::new("json_extract", &["(json, varchar) -> json", "(varchar, varchar) -> json"], json_extract, "The value that a path leads to."),
    Scalar::new(
        "json_extract_scalar",
        &["(json, varchar) -> varchar", "(varchar, varchar) -> varchar"],
        json_extract_scalar,
        "The text, number or boolean that a path leads to, as text.",
    ),
    Scalar::new(
        "json_size",
        &["(json, varchar) -> bigint", "(varchar, varchar) -> bigint"],
        json_size,
        "The number of elements or members of the value that a path leads to.",
    ),
    Scalar::new("json_array_length", &["(json) -> bigint", "(varchar) -> bigint"], json_array_length, "The number of elements of a JSON array."),
    Scalar::new(
        "json_array_get",
        &["(json, bigint) -> json", "(varchar, bigint) -> json"],
        json_array_get,
        "The element of a JSON array at a place, which counts from 0, or from -1 at its end; text is without quotes.",
    ),
    Scalar::new(
        "json_array_contains",
        &[
            "(json, boolean) -> boolean",
            "(json, bigint) -> boolean",
            "(json, double) -> boolean",
            "(json, varchar) -> boolean",
            "(varchar, boolean) -> boolean",
            "(varchar, bigint) -> boolean",
            "(varchar, double) -> boolean",
            "(varchar, varchar) -> boolean",
        ],
        json_array_contains,
        "Whether a value is an element of a JSON array.",
    ),
    Scalar::new(
        "is_json_scalar",
        &["(json) -> boolean", "(varchar) -> boolean"],
        is_json_scalar,
        "Whether a JSON value is neither an array nor an object.",
    ),
];

/// The text of one of a call's rows, of either type.
pub(crate) fn json_text<'a>(call: &Call<'a>, index: usize) -> Result<Box<dyn Fn(usize) -> &'a str + 'a>> {
    Ok(match call.large_text(index)? {
        Some(values) => Box::new(move |row: usize| values.value(row)),
        None => {
            let values = call.text(index)?;
            Box::new(move |row: usize| values.value(row))
        }
    })
}

/// The canonical text of JSON.
pub(crate) fn canonical(text: &str) -> Scanned<String> {
    let mut value = parse(text)?;
    value.sort();
    Ok(value.written())
}

fn json_parse(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.jsons(|row| {
        let text = texts.value(row);
        canonical(text).map(Some).map_err(|Malformed| invalid(format!("this is no JSON: {}", shortened(text))))
    })
}

fn json_literal(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.jsons(|row| {
        let text = texts.value(row);
        let wrong =
            |Malformed| DataFusionError::External(Box::new(Error::new(Code::InvalidLiteral, format!("this is no JSON: {}", shortened(text)))));
        canonical(text).map(Some).map_err(wrong)
    })
}

/// A text for a message.
pub(crate) fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 100;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("'{}...'", text.get(..end).unwrap_or_default()),
        None => format!("'{text}'"),
    }
}

fn json_format(call: &Call<'_>) -> Result<ArrayRef> {
    let text = json_text(call, 0)?;
    call.texts(|row| Ok(Some(text(row))))
}

fn json_extract(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, mut paths) = (json_text(call, 0)?, Paths::new(call.text(1)?));
    call.jsons(|row| {
        let path = paths.of(row)?;
        let mut scanner = Scanner::new(text(row));
        let value = path.find(&mut scanner).and_then(|event| event.map(|event| scanner.value_of(event)).transpose());
        Ok(found(value).map(|value: Json| value.written()))
    })
}

fn json_extract_scalar(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, mut paths) = (json_text(call, 0)?, Paths::new(call.text(1)?));
    call.texts(|row| {
        let path = paths.of(row)?;
        Ok(found(path.find(&mut Scanner::new(text(row)))).and_then(scalar_text))
    })
}

/// The text of what has no parts; `None` for others, and for null.
fn scalar_text(event: Event<'_>) -> Option<std::borrow::Cow<'_, str>> {
    match event {
        Event::Boolean(true) => Some("true".into()),
        Event::Boolean(false) => Some("false".into()),
        Event::Number(digits) => Some(digits.into()),
        Event::Text(text) => Some(text),
        Event::Null | Event::Array | Event::Object => None,
    }
}

fn json_size(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, mut paths) = (json_text(call, 0)?, Paths::new(call.text(1)?));
    call.bigints(|row| {
        let path = paths.of(row)?;
        let mut scanner = Scanner::new(text(row));
        let size = path.find(&mut scanner).and_then(|event| match event {
            Some(Event::Array) => scanner.count_elements().map(Some),
            Some(Event::Object) => scanner.count_members().map(Some),
            Some(_) => Ok(Some(0)),
            None => Ok(None),
        });
        Ok(found(size))
    })
}

fn json_array_length(call: &Call<'_>) -> Result<ArrayRef> {
    let text = json_text(call, 0)?;
    call.bigints(|row| {
        let mut scanner = Scanner::new(text(row));
        let length = scanner.begin().and_then(|event| if event == Event::Array { scanner.count_elements().map(Some) } else { Ok(None) });
        Ok(found(length))
    })
}

fn json_array_get(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, places) = (json_text(call, 0)?, call.bigint(1)?);
    call.jsons(|row| Ok(found(element_at(text(row), places.value(row)))))
}

/// An element as text; that of an element without parts is its own.
fn element_at(text: &str, place: i64) -> Scanned<Option<String>> {
    let place = match u64::try_from(place) {
        Ok(place) => place,
        Err(_) => {
            let mut scanner = Scanner::new(text);
            if scanner.begin()? != Event::Array {
                return Ok(None);
            }
            let from_end = scanner.count_elements()?.checked_add(place);
            match from_end.and_then(|place| u64::try_from(place).ok()) {
                Some(place) => place,
                None => return Ok(None),
            }
        }
    };
    let mut scanner = Scanner::new(text);
    if scanner.begin()? != Event::Array {
        return Ok(None);
    }
    let mut index = 0;
    while scanner.next_element(index == 0)? {
        let event = scanner.begin()?;
        if index == place {
            return match event {
                Event::Array | Event::Object => scanner.value_of(event).map(|value| Some(value.written())),
                event => Ok(scalar_text(event).map(std::borrow::Cow::into_owned)),
            };
        }
        scanner.skip(&event)?;
        index += 1;
    }
    Ok(None)
}

/// Whether an event at a row is what is looked for.
type IsWanted<'a> = Box<dyn Fn(usize, &Event<'_>) -> bool + 'a>;

fn json_array_contains(call: &Call<'_>) -> Result<ArrayRef> {
    let text = json_text(call, 0)?;
    let is_wanted: IsWanted<'_> = if let Ok(values) = call.boolean(1) {
        Box::new(move |row: usize, event: &Event<'_>| *event == Event::Boolean(values.value(row)))
    } else if let Ok(values) = call.bigint(1) {
        Box::new(
            move |row: usize, event: &Event<'_>| matches!(event, Event::Number(digits) if is_whole(digits) && digits.parse::<i64>() == Ok(values.value(row))),
        )
    } else if let Ok(values) = call.double(1) {
        Box::new(
            move |row: usize, event: &Event<'_>| matches!(event, Event::Number(digits) if !is_whole(digits) && digits.parse::<f64>() == Ok(values.value(row))),
        )
    } else {
        let values: &StringViewArray = call.text(1)?;
        Box::new(move |row: usize, event: &Event<'_>| matches!(event, Event::Text(text) if text == values.value(row)))
    };
    call.booleans(|row| {
        let mut scanner = Scanner::new(text(row));
        Ok(found(contains(&mut scanner, |event| is_wanted(row, event))))
    })
}

fn contains(scanner: &mut Scanner<'_>, is_wanted: impl Fn(&Event<'_>) -> bool) -> Scanned<Option<bool>> {
    if scanner.begin()? != Event::Array {
        return Ok(None);
    }
    let mut is_first = true;
    while scanner.next_element(is_first)? {
        is_first = false;
        let event = scanner.begin()?;
        if is_wanted(&event) {
            return Ok(Some(true));
        }
        scanner.skip(&event)?;
    }
    Ok(Some(false))
}

fn is_json_scalar(call: &Call<'_>) -> Result<ArrayRef> {
    let text = json_text(call, 0)?;
    call.booleans(|row| {
        let text = text(row);
        let mut scanner = Scanner::new(text);
        let event = scanner.begin().and_then(|event| {
            scanner.skip(&event)?;
            scanner.end()?;
            Ok(event)
        });
        match event {
            Ok(event) => Ok(Some(!matches!(event, Event::Array | Event::Object))),
            Err(Malformed) => Err(invalid(format!("this is no JSON: {}", shortened(text)))),
        }
    })
}
