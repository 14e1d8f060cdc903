//! Texts of a length that a cast gives, as in `CAST(x AS varchar(3))`. No statement can call this by name.

use arrow::array::ArrayRef;
use datafusion::error::{DataFusionError, Result};
use nunatak_core::{Code, Error};

use crate::{Call, Scalar};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new(
        "$shortened",
        &["(varchar, bigint, varchar, boolean) -> varchar"],
        shortened,
        "A text of so many characters at most: the rest is cut off if it was a text before, what was of another type is refused, or NULL.",
    ),
    Scalar::new("$unpadded", &["(varchar) -> varchar"], unpadded, "The text of a char(n) without the blanks at its end, which do not count."),
];

fn unpadded(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.texts(|row| Ok(Some(texts.value(row).trim_end_matches(' '))))
}

fn shortened(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, lengths, types, is_try) = (call.text(0)?, call.bigint(1)?, call.text(2)?, call.boolean(3)?);
    call.texts(|row| {
        let (text, length) = (texts.value(row), lengths.value(row));
        let end = usize::try_from(length).ok().and_then(|length| text.char_indices().nth(length)).map(|(end, _)| end);
        match end {
            None => Ok(Some(text)),
            Some(end) if types.value(row) == "varchar" => Ok(Some(&text[..end])),
            Some(_) if is_try.value(row) => Ok(None),
            Some(_) => {
                let message = format!("cannot cast '{text}' to varchar({length}): it has more characters");
                Err(DataFusionError::External(Box::new(Error::new(Code::InvalidCastArgument, message))))
            }
        }
    })
}
