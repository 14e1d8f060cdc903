//! Aggregates that make sketches, bring them together, or answer from them: `approx_distinct`, `approx_set`, `merge`, `tdigest_agg`, `make_set_digest`.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{ScalarValue, exec_datafusion_err};
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;

use super::checksum;
use super::fold::{as_it_is, first};
use super::function::{Aggregate, Types};
use crate::invalid;
use crate::sketch::hll::Hll;
use crate::sketch::set_digest::SetDigest;
use crate::sketch::tdigest::TDigest;
use crate::sketch::{SET_BITS, murmur};

/// The standard error of `approx_distinct` where none is asked for.
const DISTINCT_ERROR: f64 = 0.023;

pub(super) const FUNCTIONS: &[Aggregate] = &[
    Aggregate::new(
        "approx_distinct",
        &["(T) -> bigint", "(T, double) -> bigint"],
        one_sketch,
        start_distinct,
        "About how many different values there are.",
    )
    .or_zero(),
    Aggregate::new(
        "approx_set",
        &["(bigint) -> varbinary", "(double) -> varbinary", "(varchar) -> varbinary"],
        one_sketch,
        |_| Ok(Sketching::start(Kind::Set)),
        "A HyperLogLog sketch of the values.",
    ),
    Aggregate::new(
        "tdigest_agg",
        &["(double) -> varbinary", "(double, double) -> varbinary"],
        one_sketch,
        |_| Ok(Sketching::start(Kind::Distribution)),
        "A t-digest of the values, with weights if there are some.",
    ),
    Aggregate::new("make_set_digest", &["(T) -> varbinary"], one_sketch, |_| Ok(Sketching::start(Kind::Digest)), "A set digest of the values."),
    Aggregate::new(
        "merge",
        &["(varbinary) -> varbinary"],
        one_sketch,
        |_| Ok(Sketching::start(Kind::Others)),
        "A sketch of all that several sketches are of.",
    )
    .also(&["merge_set_digest"]),
];

fn one_sketch(_: &Types) -> Result<Vec<DataType>> {
    Ok(vec![DataType::Binary])
}

/// A sketch of any kind.
#[derive(Debug)]
enum Sketch {
    Set(Hll),
    Distribution(TDigest),
    Digest(SetDigest),
}

impl Sketch {
    fn read(bytes: &[u8]) -> Result<Self> {
        Ok(if Hll::is(bytes) {
            Self::Set(Hll::from_bytes(bytes)?)
        } else if SetDigest::is(bytes) {
            Self::Digest(SetDigest::from_bytes(bytes)?)
        } else {
            Self::Distribution(TDigest::from_bytes(bytes)?)
        })
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        match (self, other) {
            (Self::Set(sketch), Self::Set(other)) => sketch.merge(other),
            (Self::Distribution(sketch), Self::Distribution(other)) => {
                sketch.merge(other);
                Ok(())
            }
            (Self::Digest(sketch), Self::Digest(other)) => sketch.merge(other),
            _ => Err(invalid("sketches of different kinds cannot be brought together")),
        }
    }

    fn encoded(&mut self) -> Vec<u8> {
        match self {
            Self::Set(sketch) => sketch.encoded(),
            Self::Distribution(sketch) => sketch.encoded(),
            Self::Digest(sketch) => sketch.encoded(),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Set(sketch) => sketch.size(),
            Self::Distribution(sketch) => sketch.size(),
            Self::Digest(sketch) => sketch.size(),
        }
    }
}

/// What rows are made into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Set,
    Distribution,
    Digest,
    /// The rows are sketches.
    Others,
}

/// A sketch of a group; none of no rows.
#[derive(Debug)]
struct Sketching {
    kind: Kind,
    sketch: Option<Sketch>,
}

impl Sketching {
    fn start(kind: Kind) -> Box<dyn Accumulator> {
        Box::new(Self { kind, sketch: None })
    }

    fn unite(&mut self, column: &ArrayRef) -> Result<()> {
        let sketches = column.as_binary_opt::<i32>().ok_or_else(|| exec_datafusion_err!("sketches are no bytes"))?;
        for bytes in sketches.iter().flatten() {
            let other = Sketch::read(bytes)?;
            match &mut self.sketch {
                Some(sketch) => sketch.merge(&other)?,
                None => self.sketch = Some(other),
            }
        }
        Ok(())
    }

    fn bytes(&mut self) -> ScalarValue {
        ScalarValue::Binary(self.sketch.as_mut().map(Sketch::encoded))
    }
}

impl Accumulator for Sketching {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let column = first(columns)?;
        match self.kind {
            Kind::Others => return self.unite(column),
            Kind::Set => {
                for hash in hashes(column)?.into_iter().flatten() {
                    if let Sketch::Set(sketch) = self.sketch.get_or_insert_with(|| Sketch::Set(Hll::new(SET_BITS))) {
                        sketch.add(hash);
                    }
                }
            }
            Kind::Digest => {
                for hash in hashes(column)?.into_iter().flatten() {
                    if let Sketch::Digest(sketch) = self.sketch.get_or_insert_with(|| Sketch::Digest(SetDigest::new())) {
                        sketch.add(hash);
                    }
                }
            }
            Kind::Distribution => {
                let values = as_it_is::<Float64Type>(column)?;
                let weights = columns.get(1).map(as_it_is::<Float64Type>).transpose()?;
                for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
                    let weight = match &weights {
                        Some(weights) if weights.is_null(row) => continue,
                        Some(weights) => weights.value(row),
                        None => 1.0,
                    };
                    if let Sketch::Distribution(sketch) = self.sketch.get_or_insert_with(|| Sketch::Distribution(TDigest::new())) {
                        sketch.add(values.value(row), weight)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.unite(first(states)?)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.bytes()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.bytes())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sketch.as_ref().map_or(0, Sketch::size)
    }
}

/// The hash of each value by which sketches know it; `None` for NULL.
fn hashes(column: &ArrayRef) -> Result<Vec<Option<u64>>> {
    Ok(match column.data_type() {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            let numbers = as_it_is::<Int64Type>(&cast(column, &DataType::Int64)?)?;
            numbers.iter().map(|number| number.map(|number| murmur::hash(&number.to_le_bytes()))).collect()
        }
        DataType::Float64 => {
            let numbers = as_it_is::<Float64Type>(column)?;
            numbers.iter().map(|number| number.map(|number| murmur::hash(&number.to_le_bytes()))).collect()
        }
        DataType::Utf8View => column.as_string_view().iter().map(|text| text.map(|text| murmur::hash(text.as_bytes()))).collect(),
        DataType::Binary => column.as_binary::<i32>().iter().map(|bytes| bytes.map(murmur::hash)).collect(),
        _ => {
            let rows = RowConverter::new(vec![SortField::new(column.data_type().clone())])?.convert_columns(std::slice::from_ref(column))?;
            let nulls = column.logical_nulls();
            let is_valid = |row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
            rows.iter().enumerate().map(|(row, bytes)| is_valid(row).then(|| murmur::hash(bytes.data()))).collect()
        }
    })
}

fn start_distinct(_: &Types) -> Result<Box<dyn Accumulator>> {
    Ok(Box::new(Distinct { sketch: None }))
}

/// About how many different values a group has.
#[derive(Debug)]
struct Distinct {
    sketch: Option<Hll>,
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let column = first(columns)?;
        if column.is_empty() {
            return Ok(());
        }
        let error = match columns.get(1).map(as_it_is::<Float64Type>).transpose()? {
            Some(errors) if errors.is_null(0) => return Err(invalid("the standard error must not be NULL")),
            Some(errors) => errors.value(0),
            None => DISTINCT_ERROR,
        };
        let sketch = match &mut self.sketch {
            Some(sketch) => sketch,
            None => self.sketch.insert(Hll::with_error(error)?),
        };
        checksum::hashes(column)?.into_iter().flatten().for_each(|hash| sketch.add(hash.cast_unsigned()));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let sketches = first(states)?.as_binary_opt::<i32>().ok_or_else(|| exec_datafusion_err!("sketches are no bytes"))?;
        for bytes in sketches.iter().flatten() {
            let other = Hll::from_bytes(bytes)?;
            match &mut self.sketch {
                Some(sketch) => sketch.merge(&other)?,
                None => self.sketch = Some(other),
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(self.sketch.as_ref().map(Hll::encoded))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(self.sketch.as_ref().map_or(0, Hll::cardinality))))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sketch.as_ref().map_or(0, Hll::size)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array};

    use super::*;

    fn states(part: &mut dyn Accumulator) -> Vec<ArrayRef> {
        part.state().unwrap().iter().map(|value| value.to_array().unwrap()).collect()
    }

    #[test]
    fn values_are_counted_over_parts() {
        let part = |range: std::ops::Range<i64>| {
            let mut part = Distinct { sketch: None };
            part.update_batch(&[Arc::new(Int64Array::from_iter(range.map(|n| (n % 10 != 0).then_some(n))))]).unwrap();
            states(&mut part)
        };
        let mut whole = Distinct { sketch: None };
        assert_eq!(whole.evaluate().unwrap(), ScalarValue::Int64(Some(0)));
        for range in [0..100, 50..200, 0..0] {
            whole.merge_batch(&part(range)).unwrap();
        }
        assert_eq!(whole.evaluate().unwrap(), ScalarValue::Int64(Some(180)));
    }

    #[test]
    fn sketches_of_one_kind_are_united() {
        let digest = |kind| {
            let mut digest = Sketching::start(kind);
            digest.update_batch(&[Arc::new(Float64Array::from(vec![Some(1.0), None, Some(3.0)]))]).unwrap();
            states(digest.as_mut())
        };
        let mut whole = Sketching::start(Kind::Others);
        assert!(whole.evaluate().unwrap().is_null());
        whole.update_batch(&digest(Kind::Distribution)).unwrap();
        whole.merge_batch(&digest(Kind::Distribution)).unwrap();
        assert!(whole.update_batch(&digest(Kind::Set)).is_err());
        let ScalarValue::Binary(Some(bytes)) = whole.evaluate().unwrap() else { panic!("a sketch is binary") };
        assert_eq!(TDigest::from_bytes(&bytes).unwrap().value_at(0.9), Some(3.0));
    }
}
