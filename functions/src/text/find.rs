//! Places in texts.

use arrow::array::ArrayRef;
use datafusion::error::Result;

use crate::{Call, Scalar, invalid};

pub(crate) const FUNCTIONS: &[Scalar] = &[Scalar::new(
    "strpos",
    &["(varchar, varchar) -> bigint", "(varchar, varchar, bigint) -> bigint"],
    strpos,
    "The place of the first character of a part, or of its n-th occurrence, from the end if n is negative; 0 if there is none.",
)
.also(&["instr", "position"])];

fn strpos(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, parts) = (call.text(0)?, call.text(1)?);
    let instances = if call.len() > 2 { Some(call.bigint(2)?) } else { None };
    call.bigints(|row| {
        let instance = instances.map_or(1, |instances| instances.value(row));
        if instance == 0 {
            return Err(invalid("the number of an occurrence is not 0"));
        }
        let text = texts.value(row);
        let place = place(text, parts.value(row), instance);
        Ok(Some(place.and_then(|place| text.get(..place)).map_or(0, |before| before.chars().count() as i64 + 1)))
    })
}

/// Where an occurrence begins, in bytes. Occurrences may overlap.
fn place(text: &str, part: &str, instance: i64) -> Option<usize> {
    let (Some(first), Some(last)) = (part.chars().next(), part.chars().next_back()) else { return Some(0) };
    if instance > 0 {
        let mut found = text.find(part)?;
        for _ in 1..instance {
            let start = found + first.len_utf8();
            found = start + text.get(start..)?.find(part)?;
        }
        return Some(found);
    }
    let mut found = text.rfind(part)?;
    for _ in 1..instance.unsigned_abs() {
        let end = found + part.len() - last.len_utf8();
        found = text.get(..end)?.rfind(part)?;
    }
    Some(found)
}
