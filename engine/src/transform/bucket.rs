//! The bucket transform: Murmur3 (x86, 32 bits, seed 0) of a value's bytes, without the sign bit, modulo the number of buckets.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Int32Array, PrimitiveArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int32Type, Int64Type, Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use nunatak_core::{Code, Error, Result};

use super::wrong_type;

pub(super) fn bucket(array: &ArrayRef, buckets: u32) -> Result<ArrayRef> {
    let buckets = i32::try_from(buckets)
        .ok()
        .filter(|buckets| *buckets > 0)
        .ok_or_else(|| Error::new(Code::InvalidFunctionArgument, format!("bucket takes 1 to {} buckets, not {buckets}", i32::MAX)))?;
    let buckets: Int32Array = hashes(array)?.unary(|hash| (hash & i32::MAX) % buckets);
    Ok(Arc::new(buckets))
}

/// The spec's 32-bit hash of every value. All whole numbers, dates and times hash as their 64-bit value, so that a column may be widened without
/// its rows moving to other buckets; nanoseconds hash as the microseconds they lie in.
fn hashes(array: &ArrayRef) -> Result<Int32Array> {
    Ok(match array.data_type() {
        DataType::Int32 => of_long(array.as_primitive::<Int32Type>(), i64::from),
        DataType::Int64 => of_long(array.as_primitive::<Int64Type>(), |value| value),
        DataType::Date32 => of_long(array.as_primitive::<Date32Type>(), i64::from),
        DataType::Time64(TimeUnit::Microsecond) => of_long(array.as_primitive::<Time64MicrosecondType>(), |value| value),
        DataType::Time64(TimeUnit::Nanosecond) => of_long(array.as_primitive::<Time64NanosecondType>(), |value| value.div_euclid(1_000)),
        DataType::Timestamp(TimeUnit::Second, _) => of_long(array.as_primitive::<TimestampSecondType>(), |value| value.wrapping_mul(1_000_000)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => of_long(array.as_primitive::<TimestampMillisecondType>(), |value| value.wrapping_mul(1_000)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => of_long(array.as_primitive::<TimestampMicrosecondType>(), |value| value),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => of_long(array.as_primitive::<TimestampNanosecondType>(), |value| value.div_euclid(1_000)),
        DataType::Decimal128(_, _) => array.as_primitive::<Decimal128Type>().unary(|value| {
            let bytes = value.to_be_bytes();
            murmur3(&bytes[significant_from(value)..])
        }),
        DataType::Utf8 => of_bytes(array.as_string::<i32>().iter()),
        DataType::LargeUtf8 => of_bytes(array.as_string::<i64>().iter()),
        DataType::Utf8View => of_bytes(array.as_string_view().iter()),
        DataType::Binary => of_bytes(array.as_binary::<i32>().iter()),
        DataType::LargeBinary => of_bytes(array.as_binary::<i64>().iter()),
        DataType::BinaryView => of_bytes(array.as_binary_view().iter()),
        DataType::FixedSizeBinary(_) => of_bytes(array.as_fixed_size_binary().iter()),
        other => return Err(wrong_type("bucket", other)),
    })
}

fn of_long<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, to_long: impl Fn(T::Native) -> i64) -> Int32Array {
    array.unary(|value| murmur3(&to_long(value).to_le_bytes()))
}

fn of_bytes<V: AsRef<[u8]>>(values: impl Iterator<Item = Option<V>>) -> Int32Array {
    values.map(|value| value.map(|value| murmur3(value.as_ref()))).collect()
}

/// Where the shortest two's complement form of `value` begins within its 16 big-endian bytes.
pub(crate) fn significant_from(value: i128) -> usize {
    // One bit more than the magnitude needs, for the sign.
    let magnitude = if value < 0 { !value } else { value };
    let bits = 129 - magnitude.leading_zeros() as usize;
    16 - bits.div_ceil(8)
}

/// The 32-bit hash of bytes.
pub(crate) fn murmur3(bytes: &[u8]) -> i32 {
    const C1: u32 = 0xcc9e_2d51;
    const C2: u32 = 0x1b87_3593;
    let scramble = |block: u32| block.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);

    let (blocks, tail) = bytes.as_chunks::<4>();
    let mut hash = 0_u32;
    for block in blocks {
        hash ^= scramble(u32::from_le_bytes(*block));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let last = tail.iter().rev().fold(0_u32, |last, byte| last << 8 | u32::from(*byte));
    hash ^= scramble(last);

    // Only the low 32 bits of the length count in this variant.
    hash ^= bytes.len() as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    (hash ^ (hash >> 16)).cast_signed()
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Int64Array, LargeStringArray, StringArray,
        StringViewArray, Time64MicrosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray,
    };

    use super::*;

    fn hash(array: impl Array + 'static) -> i32 {
        let array: ArrayRef = Arc::new(array);
        hashes(&array).unwrap().value(0)
    }

    /// The vectors of the spec's appendix B.
    #[test]
    fn hashes_are_those_of_the_spec() {
        assert_eq!(hash(Int32Array::from(vec![34])), 2_017_239_379);
        assert_eq!(hash(Int64Array::from(vec![34])), 2_017_239_379);
        assert_eq!(hash(Decimal128Array::from(vec![1420]).with_precision_and_scale(9, 2).unwrap()), -500_754_589);
        assert_eq!(hash(Date32Array::from(vec![17_486])), -653_330_422);
        assert_eq!(hash(Time64MicrosecondArray::from(vec![81_068_000_000])), -662_762_989);
        assert_eq!(hash(TimestampMicrosecondArray::from(vec![1_510_871_468_000_000])), -2_047_944_441);
        assert_eq!(hash(TimestampMicrosecondArray::from(vec![1_510_871_468_000_001])), -1_207_196_810);
        assert_eq!(hash(TimestampMicrosecondArray::from(vec![1_510_871_468_000_000]).with_timezone("UTC")), -2_047_944_441);
        assert_eq!(hash(TimestampNanosecondArray::from(vec![1_510_871_468_000_001_001])), -1_207_196_810);
        let uuid = [0xf7, 0x9c, 0x3e, 0x09, 0x67, 0x7c, 0x4b, 0xbd, 0xa4, 0x79, 0x3f, 0x34, 0x9c, 0xb7, 0x85, 0xe7];
        assert_eq!(hash(FixedSizeBinaryArray::try_from_iter([uuid].into_iter()).unwrap()), 1_488_055_340);
        assert_eq!(hash(FixedSizeBinaryArray::try_from_iter([[0_u8, 1, 2, 3]].into_iter()).unwrap()), -188_683_207);
        assert_eq!(hash(BinaryArray::from_vec(vec![&[0, 1, 2, 3]])), -188_683_207);
        assert_eq!(hash(BinaryViewArray::from_iter_values([[0_u8, 1, 2, 3]])), -188_683_207);
        assert_eq!(hash(StringArray::from(vec!["iceberg"])), 1_210_000_089);
        assert_eq!(hash(LargeStringArray::from(vec!["iceberg"])), 1_210_000_089);
        assert_eq!(hash(StringViewArray::from(vec!["iceberg"])), 1_210_000_089);
    }

    #[test]
    fn buckets_are_positive_and_null_stays_null() {
        let array: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), None, Some("\u{1f600}"), Some("")]));
        let buckets = bucket(&array, 7).unwrap();
        let buckets = buckets.as_primitive::<Int32Type>();
        assert!(buckets.is_null(1));
        assert!(buckets.iter().flatten().all(|bucket| (0..7).contains(&bucket)));
        assert!(bucket(&array, 0).is_err());
        assert!(bucket(&(Arc::new(BooleanArray::from(vec![true])) as ArrayRef), 2).is_err());
    }

    #[test]
    fn shortest_bytes_of_decimals() {
        let bytes = |value: i128| value.to_be_bytes()[significant_from(value)..].to_vec();
        assert_eq!(bytes(0), [0]);
        assert_eq!(bytes(127), [0x7f]);
        assert_eq!(bytes(128), [0, 0x80]);
        assert_eq!(bytes(-1), [0xff]);
        assert_eq!(bytes(-128), [0x80]);
        assert_eq!(bytes(-129), [0xff, 0x7f]);
        assert_eq!(bytes(i128::MAX).len(), 16);
        assert_eq!(bytes(i128::MIN).len(), 16);
    }
}
