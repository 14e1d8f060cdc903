//! `json_object` and `json_array`: values of columns as text of JSON.
//!
//! What their syntax says beside their arguments comes first, as text: `null=absent;unique=with`.

use arrow::array::ArrayRef;
use datafusion::error::Result;
use nunatak_core::Code;

use super::error;
use super::query::{option, options};
use super::to_json::Encoder;
use super::written::write_text;
use crate::{Call, Scalar, invalid};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("$json_object", &["(varchar, any...) -> varchar"], json_object, "The text of a JSON object with these members.").seeing_nulls(),
    Scalar::new("$json_array", &["(varchar, any...) -> varchar"], json_array, "The text of a JSON array of these values.").seeing_nulls(),
];

fn encoder(call: &Call<'_>, index: usize) -> Result<Encoder> {
    match Encoder::of(call.argument(index)?)? {
        Encoder::List(..) | Encoder::Map(..) | Encoder::Row(..) => Err(error(
            Code::NotSupported,
            "arrays, maps and rows are no values of json_object and json_array; cast them to json, format it, and add FORMAT JSON",
        )),
        scalar => Ok(scalar),
    }
}

fn json_array(call: &Call<'_>) -> Result<ArrayRef> {
    let keeps_nulls = option(options(call, 0)?, "null") == "null";
    let values = (1..call.len()).map(|index| encoder(call, index)).collect::<Result<Vec<_>>>()?;
    call.texts(|row| {
        let mut out = String::from("[");
        for value in values.iter().filter(|value| keeps_nulls || !value.is_null(row)) {
            if out.len() > 1 {
                out.push(',');
            }
            value.write(row, &mut out);
        }
        out.push(']');
        Ok(Some(out))
    })
}

fn json_object(call: &Call<'_>) -> Result<ArrayRef> {
    let options = options(call, 0)?;
    let (leaves_nulls, is_unique) = (option(options, "null") == "absent", option(options, "unique") == "with");
    let names = (1..call.len()).step_by(2).map(|index| match Encoder::of(call.argument(index)?)? {
        names @ (Encoder::View(_) | Encoder::Text(_) | Encoder::Null) => Ok(names),
        _ => Err(invalid("the names of the members of json_object are text")),
    });
    let names = names.collect::<Result<Vec<_>>>()?;
    let values = (2..call.len()).step_by(2).map(|index| encoder(call, index)).collect::<Result<Vec<_>>>()?;
    call.texts(|row| {
        let mut members: Vec<(String, &Encoder)> = Vec::with_capacity(names.len());
        for (name, value) in names.iter().zip(&values) {
            if name.is_null(row) {
                return Err(invalid("the name of a member of json_object is NULL"));
            }
            if leaves_nulls && value.is_null(row) {
                continue;
            }
            let name = name.name(row);
            if members.iter().any(|(known, _)| *known == name) {
                let message = format!("json_object has the member '{name}' twice");
                return Err(if is_unique { invalid(message) } else { error(Code::NotSupported, message) });
            }
            members.push((name, value));
        }
        let buckets = buckets(members.len());
        members.sort_by_key(|(name, _)| hash(name) & (buckets - 1));
        let mut out = String::from("{");
        for (name, value) in members {
            if out.len() > 1 {
                out.push(',');
            }
            write_text(&name, &mut out);
            out.push(':');
            value.write(row, &mut out);
        }
        out.push('}');
        Ok(Some(out))
    })
}

/// Trino's members are in the order in which Java's hash map has them: by the last bits of their hashes.
fn hash(name: &str) -> u32 {
    let hash = name.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
    hash ^ (hash >> 16)
}

/// How many buckets such a map has: a power of two, of which three quarters may be in use.
fn buckets(members: usize) -> u32 {
    let mut buckets: u32 = 16;
    while usize::try_from(buckets / 4 * 3).is_ok_and(|most| most < members) && buckets < 1 << 30 {
        buckets *= 2;
    }
    buckets
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringViewArray;

    use super::*;

    #[test]
    fn members_are_in_the_order_of_javas_hashes() {
        assert_eq!([hash("a"), hash("ab"), hash("")], [97, 3105, 0]);
        assert_eq!([buckets(12), buckets(13), buckets(25)], [16, 32, 64]);
        let names: ArrayRef = Arc::new(StringViewArray::from(vec!["k"]));
        assert_eq!(Encoder::of(&names).unwrap().name(0), "k");
    }
}
