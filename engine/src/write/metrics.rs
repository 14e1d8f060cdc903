//! The metrics of a data file in its manifest entry: counts and sizes from the Parquet footer, NaN counts from the rows themselves.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, RecordBatch};
use arrow::compute::{is_null, nullif};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use nunatak_catalog::spec::PrimitiveType;
use nunatak_core::{Error, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::bounds::bounds;
use super::file_schema::Leaf;
use super::metrics_mode::{MetricsMode, MetricsModes};
use super::report::FileReport;

/// Writes everything that `footer` tells into `report`. `leaves` are columns of the file with their places in it.
pub(super) fn describe<'a>(report: &mut FileReport, footer: &ParquetMetaData, leaves: impl Iterator<Item = (usize, &'a Leaf)>, modes: &MetricsModes) {
    for (index, leaf) in leaves {
        let mode = modes.mode(leaf.field_id);
        let chunks = || footer.row_groups().iter().map(|group| group.column(index));
        report.column_sizes.insert(leaf.field_id, sum(chunks().map(ColumnChunkMetaData::compressed_size)));
        if mode == MetricsMode::None {
            report.nan_counts.remove(&leaf.field_id);
            continue;
        }
        report.value_counts.insert(leaf.field_id, sum(chunks().map(ColumnChunkMetaData::num_values)));
        let nulls: Option<Vec<u64>> = chunks().map(|chunk| chunk.statistics()?.null_count_opt()).collect();
        if let Some(nulls) = nulls {
            report.null_counts.insert(leaf.field_id, nulls.iter().sum());
        }
        // Bounds of what lies in lists and maps have no use: no predicate reaches there.
        if mode != MetricsMode::Counts && leaf.path.is_some() {
            let bounds = bounds(chunks(), &leaf.data_type, mode);
            report.lower_bounds.extend(bounds.lower.map(|lower| (leaf.field_id, lower)));
            report.upper_bounds.extend(bounds.upper.map(|upper| (leaf.field_id, upper)));
        }
    }
    report.split_offsets = split_offsets(footer);
}

fn sum(values: impl Iterator<Item = i64>) -> u64 {
    values.map(|value| u64::try_from(value).unwrap_or(0)).sum()
}

/// Where each row group begins.
fn split_offsets(footer: &ParquetMetaData) -> Vec<i64> {
    let start =
        |chunk: &ColumnChunkMetaData| chunk.dictionary_page_offset().map_or(chunk.data_page_offset(), |page| page.min(chunk.data_page_offset()));
    let mut offsets: Vec<i64> = footer.row_groups().iter().filter_map(|group| group.columns().iter().map(start).min()).collect();
    offsets.sort_unstable();
    offsets
}

/// Counts the NaNs of the columns that can have them, batch by batch.
#[derive(Debug)]
pub(super) struct NanCounts(BTreeMap<i32, u64>);

impl NanCounts {
    pub(super) fn new(leaves: &[Leaf]) -> Self {
        Self(floats(leaves).map(|(leaf, _)| (leaf.field_id, 0)).collect())
    }

    pub(super) fn add(&mut self, batch: &RecordBatch, leaves: &[Leaf]) -> Result<()> {
        for (leaf, path) in floats(leaves) {
            let array = column(batch, path)?;
            let count = match array.data_type() {
                DataType::Float32 => count::<Float32Type>(&array, f32::is_nan),
                DataType::Float64 => count::<Float64Type>(&array, f64::is_nan),
                _ => 0,
            };
            *self.0.entry(leaf.field_id).or_default() += count;
        }
        Ok(())
    }

    pub(super) fn into_counts(self) -> BTreeMap<i32, u64> {
        self.0
    }
}

fn floats(leaves: &[Leaf]) -> impl Iterator<Item = (&Leaf, &[usize])> {
    leaves
        .iter()
        .filter(|leaf| matches!(leaf.data_type, PrimitiveType::Float | PrimitiveType::Double))
        .filter_map(|leaf| Some((leaf, leaf.path.as_deref()?)))
}

fn count<T: ArrowPrimitiveType>(array: &ArrayRef, is_nan: impl Fn(T::Native) -> bool) -> u64 {
    let array = array.as_primitive::<T>();
    if array.null_count() == 0 {
        return array.values().iter().map(|value| u64::from(is_nan(*value))).sum();
    }
    array.iter().flatten().map(|value| u64::from(is_nan(value))).sum()
}

/// The column at `path`: the index of the column in the batch, then of the field in each struct. It is NULL where a struct around it is.
pub(super) fn column(batch: &RecordBatch, path: &[usize]) -> Result<ArrayRef> {
    let missing = || Error::internal("the rows to be written lack a column");
    let (first, rest) = path.split_first().ok_or_else(missing)?;
    let mut array = batch.columns().get(*first).ok_or_else(missing)?.clone();
    for index in rest {
        let parent = array.as_struct_opt().ok_or_else(missing)?;
        let child = parent.columns().get(*index).ok_or_else(missing)?;
        array = if parent.null_count() == 0 {
            child.clone()
        } else {
            let mask = is_null(parent).and_then(|parent_is_null| nullif(child, &parent_is_null));
            mask.map_err(|error| Error::internal("a struct's field cannot be read").with_source(error))?
        };
    }
    Ok(array)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, StringViewArray, StructArray};
    use arrow::buffer::NullBuffer;
    use arrow::datatypes::{Field, Fields};
    use nunatak_catalog::spec::{NestedField, Schema, StructType, Type};
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_writer::ArrowWriterOptions;
    use parquet::file::properties::WriterProperties;

    use super::super::file_schema::FileSchema;
    use super::*;

    /// `id long, d double, s string, place struct<lat double>`, ids 1 to 4 and 41.
    fn schema() -> Schema {
        let field = |id, name: &str, data_type| Arc::new(NestedField::optional(id, name, data_type));
        let double = || Type::Primitive(PrimitiveType::Double);
        let place = Type::Struct(StructType::new(vec![field(41, "lat", double())]));
        let fields = vec![
            field(1, "id", Type::Primitive(PrimitiveType::Long)),
            field(2, "d", double()),
            field(3, "s", Type::Primitive(PrimitiveType::String)),
            field(4, "place", place),
        ];
        Schema::builder().with_fields(fields).build().unwrap()
    }

    type Row = (i64, f64, Option<&'static str>, Option<f64>);

    /// Writes one row group for each group of rows `(id, d, s, lat)`; `lat` of `None` is a place that is NULL as a whole, above a NaN.
    fn written(groups: &[&[Row]]) -> FileReport {
        let file = FileSchema::new(&schema(), &[]).unwrap();
        let metadata_modes = |mode| file.leaves.iter().map(|leaf| (leaf.field_id, mode)).collect();
        let modes = MetricsModes::for_test(metadata_modes(MetricsMode::Truncate(4)));
        let properties = WriterProperties::builder().set_statistics_truncate_length(modes.statistics_bytes_max()).build();
        let options = ArrowWriterOptions::new().with_properties(properties).with_parquet_schema(file.parquet.clone());
        let mut writer = ArrowWriter::try_new_with_options(Vec::new(), file.arrow.clone(), options).unwrap();
        let mut nans = NanCounts::new(&file.leaves);
        for rows in groups {
            let lat = Float64Array::from_iter_values(rows.iter().map(|row| row.3.unwrap_or(f64::NAN)));
            let place_fields = Fields::from(vec![Field::new("lat", DataType::Float64, true)]);
            let valid = NullBuffer::from_iter(rows.iter().map(|row| row.3.is_some()));
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
                Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.1))),
                Arc::new(rows.iter().map(|row| row.2).collect::<StringViewArray>()),
                Arc::new(StructArray::new(place_fields, vec![Arc::new(lat)], Some(valid))),
            ];
            let input =
                RecordBatch::try_from_iter_with_nullable(["id", "d", "s", "place"].into_iter().zip(columns).map(|(n, c)| (n, c, true))).unwrap();
            let batch = super::super::conform::conform(&input, &file.arrow, "s.t").unwrap();
            nans.add(&batch, &file.leaves).unwrap();
            writer.write(&batch).unwrap();
            writer.flush().unwrap();
        }
        let footer = writer.finish().unwrap();
        let mut report = FileReport { nan_counts: nans.into_counts(), ..FileReport::default() };
        describe(&mut report, &footer, file.leaves.iter().enumerate(), &modes);
        report
    }

    #[test]
    fn nan_and_null_are_counted_and_are_no_bounds() {
        let report = written(&[&[(5, f64::NAN, None, None), (-3, 2.5, Some("iceberg"), Some(1.0))], &[(7, -0.0, Some("a"), Some(f64::NAN))]]);
        assert_eq!(report.value_counts[&1], 3);
        assert_eq!(report.null_counts[&3], 1);
        assert_eq!(report.nan_counts, BTreeMap::from([(2, 1), (41, 1)]));
        assert_eq!(report.lower_bounds[&1], (-3_i64).to_le_bytes());
        assert_eq!(report.upper_bounds[&1], 7_i64.to_le_bytes());
        assert_eq!(report.lower_bounds[&2], (-0.0_f64).to_le_bytes());
        assert_eq!(report.upper_bounds[&2], 2.5_f64.to_le_bytes());
        assert_eq!((report.lower_bounds[&3].as_slice(), report.upper_bounds[&3].as_slice()), (b"a".as_slice(), b"icec".as_slice()));
        // The second row group has values of lat, all NaN, and so no bounds: then the file has none.
        assert!(!report.lower_bounds.contains_key(&41));
        assert_eq!(report.null_counts[&41], 1);
        assert_eq!(report.split_offsets.len(), 2);
        assert_eq!(report.split_offsets[0], 4);
        assert!(report.column_sizes.values().all(|size| *size > 0));
    }

    #[test]
    fn a_row_group_of_nulls_takes_no_bounds_away() {
        let report = written(&[&[(1, 1.0, None, None)], &[(2, 2.0, Some("b"), Some(3.0))]]);
        assert_eq!((report.lower_bounds[&3].as_slice(), report.upper_bounds[&3].as_slice()), (b"b".as_slice(), b"b".as_slice()));
        assert_eq!(report.lower_bounds[&41], 3.0_f64.to_le_bytes());
        let report = written(&[&[(1, 1.0, None, None)]]);
        assert!(!report.lower_bounds.contains_key(&3) && !report.upper_bounds.contains_key(&3));
    }
}
