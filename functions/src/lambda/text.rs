//! Functions of texts that take functions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListBuilder, StringBuilder, StringViewBuilder, UInt64Array};
use arrow::datatypes::DataType;
use datafusion::error::Result;

use super::HigherOrder;
use super::call::Call;
use crate::nested::of_type;
use crate::text::regexp::{Matches, Patterns};

/// The name of `regexp_replace` where it is given a function: the other one is a function of values.
pub const REGEXP_REPLACE: &str = "$regexp_replace";

pub(super) const FUNCTIONS: &[HigherOrder] = &[HigherOrder {
    name: REGEXP_REPLACE,
    forms: &["(varchar, varchar, function(array(varchar), varchar)) -> varchar"],
    run: regexp_replace,
    about: "The text with what a function gives for the groups of a pattern in place of what the pattern finds.",
}];

/// The function is run once, over all that is found in a batch. A text is NULL where it gives NULL for something in it.
fn regexp_replace(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (of_type(call.value(0)?, &DataType::Utf8View)?, of_type(call.value(1)?, &DataType::Utf8View)?);
    let (texts, patterns) = (texts.as_string_view(), patterns.as_string_view());
    let mut kept = Patterns::new();
    let mut groups = ListBuilder::new(StringBuilder::new());
    // Where in its text each is, of which row it is, and how many there are up to each row.
    let (mut places, mut rows, mut ends) = (Vec::new(), Vec::new(), Vec::with_capacity(call.rows));
    for row in 0..call.rows {
        if !call.is_null(row) {
            let text = texts.value(row);
            let mut matches = Matches::new(kept.for_text(patterns.value(row), text)?, text);
            while let Some(captures) = matches.next_captures()? {
                let Some(found) = captures.get(0) else { break };
                places.push(found.range());
                rows.push(row as u64);
                (1..captures.len()).for_each(|group| groups.values().append_option(captures.get(group).map(|found| found.as_str())));
                groups.append(true);
            }
        }
        ends.push(places.len());
    }
    let groups: ArrayRef = Arc::new(groups.finish());
    let given = of_type(&call.needed(0)?.run(&[&groups], &UInt64Array::from(rows))?, &DataType::Utf8View)?;
    let given = given.as_string_view();
    let mut out = StringViewBuilder::with_capacity(call.rows);
    let (mut whole, mut start) = (String::new(), 0);
    for (row, end) in ends.into_iter().enumerate() {
        let found = std::mem::replace(&mut start, end)..end;
        if call.is_null(row) || found.clone().any(|index| given.is_null(index)) {
            out.append_null();
            continue;
        }
        let (text, mut rest) = (texts.value(row), 0);
        whole.clear();
        for index in found {
            let place = &places[index];
            whole.push_str(text.get(rest..place.start).unwrap_or_default());
            whole.push_str(given.value(index));
            rest = place.end;
        }
        whole.push_str(text.get(rest..).unwrap_or_default());
        out.try_append_value(&whole)?;
    }
    Ok(Arc::new(out.finish()))
}
