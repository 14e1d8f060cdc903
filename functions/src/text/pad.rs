//! Texts and bytes filled up to a length.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::error::Result;

use crate::{Call, Scalar, invalid};

const SIGNATURES: &[&str] = &["(varchar, bigint, varchar) -> varchar", "(varbinary, bigint, varbinary) -> varbinary"];

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("lpad", SIGNATURES, lpad, "The value with this length, cut at its end or filled up at its start."),
    Scalar::new("rpad", SIGNATURES, rpad, "The value with this length, cut or filled up at its end."),
];

/// The longest value that is made, in bytes.
const BYTES_MAX: usize = i32::MAX as usize;

fn lpad(call: &Call<'_>) -> Result<ArrayRef> {
    pad(call, true)
}

fn rpad(call: &Call<'_>) -> Result<ArrayRef> {
    pad(call, false)
}

fn pad(call: &Call<'_>, at_start: bool) -> Result<ArrayRef> {
    let sizes = call.bigint(1)?;
    if *call.argument(0)?.data_type() == DataType::Binary {
        let (values, fillings) = (call.bytes(0)?, call.bytes(2)?);
        return call.written_binaries(|row, out| {
            let (value, filling) = (values.value(row), fillings.value(row));
            let size = checked(sizes.value(row), filling.len())?;
            match value.get(..size) {
                Some(start) => out.extend_from_slice(start),
                None => {
                    let missing = filling.iter().cycle().take(size - value.len());
                    if at_start {
                        out.extend(missing);
                        out.extend_from_slice(value);
                    } else {
                        out.extend_from_slice(value);
                        out.extend(missing);
                    }
                }
            }
            Ok(true)
        });
    }
    let (values, fillings) = (call.text(0)?, call.text(2)?);
    call.written_texts(|row, out| {
        let (value, filling) = (values.value(row), fillings.value(row));
        let size = checked(sizes.value(row), filling.len())?;
        let length = value.chars().count();
        if length >= size {
            out.extend(value.chars().take(size));
            return Ok(true);
        }
        let missing = size - length;
        if missing.checked_mul(filling.len()).is_none_or(|bytes| bytes / filling.chars().count().max(1) > BYTES_MAX) {
            return Err(invalid(format!("a text of {size} characters is too long")));
        }
        if at_start {
            out.extend(filling.chars().cycle().take(missing));
            out.push_str(value);
        } else {
            out.push_str(value);
            out.extend(filling.chars().cycle().take(missing));
        }
        Ok(true)
    })
}

fn checked(size: i64, filling: usize) -> Result<usize> {
    if filling == 0 {
        return Err(invalid("what is filled up with must not be empty"));
    }
    i32::try_from(size)
        .ok()
        .and_then(|size| usize::try_from(size).ok())
        .ok_or_else(|| invalid(format!("the length is from 0 to 2147483647, not {size}")))
}
