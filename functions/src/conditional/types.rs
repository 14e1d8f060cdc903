//! `typeof`: the types of values; and `$identity`, by which values of any type are counted that are distinct.

use arrow::array::{Array, ArrayRef};
use datafusion::error::Result;

use crate::nested::identity::identities;
use crate::type_name::type_name;
use crate::{Call, Scalar};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("typeof", &["(T) -> varchar"], type_of, "The name of a value's type.").seeing_nulls(),
    Scalar::new("$identity", &["(T) -> varbinary"], identity, "Bytes that are the same where values are not distinct."),
];

fn type_of(call: &Call<'_>) -> Result<ArrayRef> {
    let name = type_name(call.argument(0)?.data_type());
    call.texts(|_| Ok(Some(name.as_str())))
}

fn identity(call: &Call<'_>) -> Result<ArrayRef> {
    let rows = identities(call.argument(0)?)?;
    call.binaries(|row| Ok(Some(rows.row(row).data())))
}
