//! Position deletes: pairs of a data file and the position of a row in it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, BooleanBufferBuilder, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use nunatak_core::Result;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::arrow::arrow_reader::RowSelection;
use roaring::RoaringTreemap;

use super::index::FILE_PATH_ID;
use super::read::{Positions, bad};

/// The id of the column `pos` (spec, "Reserved Field IDs").
pub(crate) const POSITION_ID: i32 = i32::MAX - 102;

/// The columns of a file of position deletes.
pub(crate) fn schema() -> SchemaRef {
    let field = |name: &str, id: i32, data_type| {
        Field::new(name, data_type, true).with_metadata(HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]))
    };
    Arc::new(Schema::new(vec![field("file_path", FILE_PATH_ID, DataType::Utf8), field("pos", POSITION_ID, DataType::Int64)]))
}

/// The positions of such rows by data file.
pub(super) fn by_data_file(rows: &[RecordBatch], path: &str) -> Result<Positions> {
    let mut found = Positions::new();
    for batch in rows {
        let (files, positions) = (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
        if files.null_count() + positions.null_count() > 0 {
            return Err(bad(path, "it names a row by NULL"));
        }
        // Rows are sorted by data file, so that there are few runs.
        let mut start = 0;
        while start < batch.num_rows() {
            let file = files.value(start);
            let end = (start..batch.num_rows()).find(|&row| files.value(row) != file).unwrap_or(batch.num_rows());
            let of_file = match found.get_mut(file) {
                Some(of_file) => of_file,
                None => found.entry(file.to_owned()).or_default(),
            };
            for position in &positions.values()[start..end] {
                of_file.insert(u64::try_from(*position).map_err(|_| bad(path, &format!("it names a row by position {position}")))?);
            }
            start = end;
        }
    }
    Ok(found)
}

/// About how much memory they take.
pub(super) fn bytes(positions: &Positions) -> u32 {
    let bytes: usize = positions.iter().map(|(path, positions)| path.len() + 64 + positions.serialized_size()).sum();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Rows that are kept between two deleted ones, on average, from which on the reader skips the deleted ones faster than they are filtered out.
const RUN_ROWS: u64 = 1024;

/// If more than one row of so many is deleted, decoding them all would cost more than skipping them.
const DELETED_PART: u64 = 5;

/// Whether deleted rows lie so scattered among the others that all are better read, and the deleted ones taken out of the batches: the reader would stop at each.
pub(super) fn are_scattered(deleted: &RoaringTreemap, row_count: u64) -> bool {
    let mut runs = 0;
    let mut next = None;
    for position in deleted {
        runs += u64::from(next != Some(position));
        next = Some(position + 1);
    }
    deleted.len().saturating_mul(DELETED_PART) <= row_count && runs.saturating_mul(RUN_ROWS) > row_count
}

/// Which rows of a batch are left, by their positions in the file, which increase; `None` for all of them. `deleted` is in increasing order.
pub(super) fn left(positions: &[i64], deleted: &[i64]) -> Option<BooleanArray> {
    let (first, last) = (*positions.first()?, *positions.last()?);
    let from = deleted.partition_point(|position| *position < first);
    let within = &deleted[from..];
    let within = &within[..within.partition_point(|position| *position <= last)];
    if within.is_empty() {
        return None;
    }
    let mut left = BooleanBufferBuilder::new(positions.len());
    left.append_n(positions.len(), true);
    let is_gapless = usize::try_from(last - first).is_ok_and(|rows| rows + 1 == positions.len());
    for position in within {
        let row = match is_gapless {
            true => usize::try_from(position - first).ok(),
            false => positions.binary_search(position).ok(),
        };
        if let Some(row) = row {
            left.set_bit(row, false);
        }
    }
    Some(BooleanArray::new(left.finish(), None))
}

/// All rows but the deleted ones. Positions are below `row_count`.
pub(super) fn selection(deleted: &RoaringTreemap, row_count: u64) -> RowSelection {
    let row = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
    let mut kept = Vec::new();
    let mut next = 0;
    for position in deleted {
        if position > next {
            kept.push(row(next)..row(position));
        }
        next = position + 1;
    }
    if row_count > next {
        kept.push(row(next)..row(row_count));
    }
    RowSelection::from_consecutive_ranges(kept.into_iter(), row(row_count))
}

#[cfg(test)]
mod tests {
    use parquet::arrow::arrow_reader::RowSelector;

    use super::*;

    fn kept(deleted: &[u64], row_count: u64) -> Vec<RowSelector> {
        selection(&deleted.iter().copied().collect(), row_count).into()
    }

    #[test]
    fn the_rest_of_a_batch_is_left() {
        let of = |positions: &[i64], deleted: &[i64]| left(positions, deleted).map(|left| left.iter().flatten().collect::<Vec<_>>());
        assert_eq!(of(&[5, 6, 7, 8], &[1, 6, 8, 9]), Some(vec![true, false, true, false]));
        assert_eq!(of(&[5, 7, 9], &[6, 7, 8]), Some(vec![true, false, true]));
        assert_eq!((of(&[5, 6], &[1, 4, 7]), of(&[], &[1]), of(&[5], &[])), (None, None, None));
    }

    #[test]
    fn only_scattered_rows_are_filtered() {
        let scattered = |deleted: &[u64], row_count| are_scattered(&deleted.iter().copied().collect(), row_count);
        assert!(scattered(&[100, 200], 1000));
        assert!(!scattered(&[100, 200], 10_000), "few runs");
        assert!(!scattered(&[1, 3, 5], 10), "much is deleted");
        let run: Vec<u64> = (1000..2000).collect();
        assert!(!scattered(&run, 10_000), "one run");
    }

    #[test]
    fn the_rest_is_selected() {
        assert_eq!(kept(&[0, 1, 4], 6), [RowSelector::skip(2), RowSelector::select(2), RowSelector::skip(1), RowSelector::select(1)]);
        assert_eq!(kept(&[5], 6), [RowSelector::select(5), RowSelector::skip(1)]);
        assert_eq!(kept(&[0, 1, 2], 3), [RowSelector::skip(3)]);
    }
}
