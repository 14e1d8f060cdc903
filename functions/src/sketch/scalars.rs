//! Functions of sketches.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Builder, Int16Array, Int64Array, ListBuilder, MapArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{exec_datafusion_err, internal_err};
use datafusion::error::Result;

use super::hll::Hll;
use super::set_digest::SetDigest;
use super::tdigest::TDigest;
use crate::{Call, Scalar, invalid};

/// The bits of the buckets of `approx_set`.
pub(crate) const SET_BITS: u32 = 12;

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("empty_approx_set", &["() -> varbinary"], empty_approx_set, "A HyperLogLog sketch of nothing."),
    Scalar::new("value_at_quantile", &["(varbinary, double) -> double"], value_at_quantile, "The value of a t-digest at a quantile."),
    Scalar::new(
        "values_at_quantiles",
        &["(varbinary, array(double)) -> array(double)"],
        values_at_quantiles,
        "The values of a t-digest at quantiles.",
    ),
    Scalar::new("jaccard_index", &["(varbinary, varbinary) -> double"], jaccard_index, "How alike the sets behind two set digests are, from 0 to 1."),
    Scalar::new(
        "intersection_cardinality",
        &["(varbinary, varbinary) -> bigint"],
        intersection_cardinality,
        "How many different values are in both sets behind two set digests.",
    ),
    Scalar::new("hash_counts", &["(varbinary) -> map(bigint, smallint)"], hash_counts, "The hashes in a set digest, and how often each was there."),
];

fn empty_approx_set(call: &Call<'_>) -> Result<ArrayRef> {
    let empty = Hll::new(SET_BITS).encoded();
    call.binaries(|_| Ok(Some(empty.as_slice())))
}

/// How many different values a sketch is of.
pub(crate) fn cardinality(call: &Call<'_>) -> Result<ArrayRef> {
    let sketches = call.bytes(0)?;
    call.bigints(|row| {
        let bytes = sketches.value(row);
        Ok(Some(if SetDigest::is(bytes) { SetDigest::from_bytes(bytes)?.cardinality() } else { Hll::from_bytes(bytes)?.cardinality() }))
    })
}

fn at(digest: &mut TDigest, quantile: f64) -> Result<Option<f64>> {
    if !(0.0..=1.0).contains(&quantile) {
        return Err(invalid(format!("a quantile must be from 0 to 1, and is {quantile}")));
    }
    Ok(digest.value_at(quantile))
}

fn value_at_quantile(call: &Call<'_>) -> Result<ArrayRef> {
    let (digests, quantiles) = (call.bytes(0)?, call.double(1)?);
    call.doubles(|row| at(&mut TDigest::from_bytes(digests.value(row))?, quantiles.value(row)))
}

fn values_at_quantiles(call: &Call<'_>) -> Result<ArrayRef> {
    let (digests, quantiles) = (call.bytes(0)?, call.list(1)?);
    let mut lists = ListBuilder::new(Float64Builder::new());
    for row in 0..call.rows() {
        if call.is_null(row) {
            lists.append_null();
            continue;
        }
        let mut digest = TDigest::from_bytes(digests.value(row))?;
        let quantiles = quantiles.value(row);
        let quantiles = quantiles.as_primitive_opt::<Float64Type>().ok_or_else(|| exec_datafusion_err!("quantiles are no doubles"))?;
        for quantile in quantiles {
            let quantile = quantile.ok_or_else(|| invalid("a quantile must not be NULL"))?;
            lists.values().append_option(at(&mut digest, quantile)?);
        }
        lists.append(true);
    }
    Ok(Arc::new(lists.finish()))
}

fn both(call: &Call<'_>, row: usize) -> Result<(SetDigest, SetDigest)> {
    Ok((SetDigest::from_bytes(call.bytes(0)?.value(row))?, SetDigest::from_bytes(call.bytes(1)?.value(row))?))
}

fn jaccard_index(call: &Call<'_>) -> Result<ArrayRef> {
    call.doubles(|row| both(call, row).map(|(left, right)| Some(left.jaccard_index(&right))))
}

fn intersection_cardinality(call: &Call<'_>) -> Result<ArrayRef> {
    call.bigints(|row| {
        let (left, right) = both(call, row)?;
        left.intersection(&right).map(Some)
    })
}

fn hash_counts(call: &Call<'_>) -> Result<ArrayRef> {
    let digests = call.bytes(0)?;
    let DataType::Map(entries, _) = call.returns() else { return internal_err!("hash_counts makes maps") };
    let DataType::Struct(fields) = entries.data_type() else { return internal_err!("hash_counts makes maps") };
    let (mut hashes, mut times, mut lengths) = (Vec::new(), Vec::new(), Vec::with_capacity(call.rows()));
    for row in 0..call.rows() {
        let before = hashes.len();
        if !call.is_null(row) {
            for (hash, count) in SetDigest::from_bytes(digests.value(row))?.counts() {
                hashes.push(hash);
                times.push(count);
            }
        }
        lengths.push(hashes.len() - before);
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(hashes)), Arc::new(Int16Array::from(times))];
    let rows = StructArray::try_new(fields.clone(), columns, None)?;
    let nulls: Option<NullBuffer> = call.valid().cloned();
    Ok(Arc::new(MapArray::try_new(Arc::clone(entries), OffsetBuffer::from_lengths(lengths), rows, nulls, false)?))
}
