//! Numbers as bytes.

use arrow::array::ArrayRef;
use arrow::datatypes::{Float32Type, Float64Type, Int32Type, Int64Type};
use datafusion::error::Result;

use crate::{Call, Scalar, invalid};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("from_big_endian_32", &["(varbinary) -> integer"], from_big_endian_32, "The number of four bytes, the highest first."),
    Scalar::new("from_big_endian_64", &["(varbinary) -> bigint"], from_big_endian_64, "The number of eight bytes, the highest first."),
    Scalar::new("from_ieee754_32", &["(varbinary) -> real"], from_ieee754_32, "The number of four bytes in the form of IEEE 754."),
    Scalar::new("from_ieee754_64", &["(varbinary) -> double"], from_ieee754_64, "The number of eight bytes in the form of IEEE 754."),
    Scalar::new("to_big_endian_32", &["(integer) -> varbinary"], to_big_endian_32, "The four bytes of a number, the highest first."),
    Scalar::new("to_big_endian_64", &["(bigint) -> varbinary"], to_big_endian_64, "The eight bytes of a number, the highest first."),
    Scalar::new("to_ieee754_32", &["(real) -> varbinary"], to_ieee754_32, "The four bytes of a number in the form of IEEE 754."),
    Scalar::new("to_ieee754_64", &["(double) -> varbinary"], to_ieee754_64, "The eight bytes of a number in the form of IEEE 754."),
];

/// The bytes of a value, if there are that many.
fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| invalid(format!("a number of {N} bytes is needed, not of {}", bytes.len())))
}

fn from_big_endian_32(call: &Call<'_>) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    call.primitives::<Int32Type>(|row| Ok(Some(i32::from_be_bytes(exactly(bytes.value(row))?))))
}

fn from_big_endian_64(call: &Call<'_>) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    call.bigints(|row| Ok(Some(i64::from_be_bytes(exactly(bytes.value(row))?))))
}

fn from_ieee754_32(call: &Call<'_>) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    call.primitives::<Float32Type>(|row| Ok(Some(f32::from_be_bytes(exactly(bytes.value(row))?))))
}

fn from_ieee754_64(call: &Call<'_>) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    call.doubles(|row| Ok(Some(f64::from_be_bytes(exactly(bytes.value(row))?))))
}

fn to_big_endian_32(call: &Call<'_>) -> Result<ArrayRef> {
    let numbers = call.primitive::<Int32Type>(0)?;
    call.binaries(|row| Ok(Some(numbers.value(row).to_be_bytes())))
}

fn to_big_endian_64(call: &Call<'_>) -> Result<ArrayRef> {
    let numbers = call.primitive::<Int64Type>(0)?;
    call.binaries(|row| Ok(Some(numbers.value(row).to_be_bytes())))
}

fn to_ieee754_32(call: &Call<'_>) -> Result<ArrayRef> {
    let numbers = call.primitive::<Float32Type>(0)?;
    // All that are not a number have the same bytes.
    call.binaries(|row| {
        let number = numbers.value(row);
        Ok(Some(if number.is_nan() { 0x7fc0_0000_u32.to_be_bytes() } else { number.to_be_bytes() }))
    })
}

fn to_ieee754_64(call: &Call<'_>) -> Result<ArrayRef> {
    let numbers = call.primitive::<Float64Type>(0)?;
    call.binaries(|row| {
        let number = numbers.value(row);
        Ok(Some(if number.is_nan() { 0x7ff8_0000_0000_0000_u64.to_be_bytes() } else { number.to_be_bytes() }))
    })
}
