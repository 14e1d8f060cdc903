//! What DataFusion may believe about a scan. What is marked exact is answered from metadata, without reading: so only what Iceberg guarantees is.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use nunatak_catalog::snapshot::FileEntry;
use nunatak_catalog::spec::Snapshot;

use super::bounds::{ColumnFacts, ColumnSource};
use super::deletes::FileDeletes;
use super::types::field_id;

/// The statistics of one file, in the order of the table's schema. Columns that are `None` are left unknown. With deletes, nothing but the number of
/// rows that a deletion vector leaves is exact.
pub fn of_file(entry: &FileEntry, columns: &[Option<ColumnSource>], deletes: Option<&FileDeletes>) -> Statistics {
    let whole = of_whole_file(entry, columns);
    match deletes {
        None => whole,
        Some(deletes) => {
            let num_rows = deletes.rows_left().map_or(whole.num_rows.to_inexact(), |rows| Precision::Exact(count(rows)));
            Statistics { num_rows, ..whole.to_inexact() }
        }
    }
}

/// What the reader of a file may take for granted: the statistics of the file, in which the values of its identity partitions are exact whatever is deleted. A file that
/// was not written for the table may lack those columns.
pub fn for_reading(mut of_file: Statistics, entry: &FileEntry, columns: &[Option<ColumnSource>]) -> Statistics {
    for (column, statistics) in columns.iter().zip(&mut of_file.column_statistics) {
        if let Some(value) = column.as_ref().and_then(|column| column.constant(entry)).filter(|value| !value.is_null()) {
            (statistics.min_value, statistics.max_value) = (Precision::Exact(value.clone()), Precision::Exact(value));
            statistics.null_count = Precision::Exact(0);
        }
    }
    of_file
}

fn of_whole_file(entry: &FileEntry, columns: &[Option<ColumnSource>]) -> Statistics {
    Statistics {
        num_rows: Precision::Exact(count(entry.file.record_count())),
        total_byte_size: Precision::Exact(count(entry.file.file_size_in_bytes())),
        column_statistics: columns
            .iter()
            .map(|column| column.as_ref().map_or_else(ColumnStatistics::new_unknown, |column| of_column(column.facts(entry))))
            .collect(),
    }
}

fn of_column(facts: ColumnFacts) -> ColumnStatistics {
    let precision = |value: Option<ScalarValue>| match value {
        Some(value) if facts.exact => Precision::Exact(value),
        Some(value) => Precision::Inexact(value),
        None => Precision::Absent,
    };
    ColumnStatistics {
        null_count: facts.null_count.map_or(Precision::Absent, |nulls| Precision::Exact(count(nulls))),
        min_value: precision(facts.range.min),
        max_value: precision(facts.range.max),
        ..ColumnStatistics::new_unknown()
    }
}

/// The statistics of all files of a scan together.
pub fn of_scan(schema: &SchemaRef, files: impl Iterator<Item = Statistics>) -> Statistics {
    let mut whole = Statistics {
        num_rows: Precision::Exact(0),
        total_byte_size: Precision::Exact(0),
        column_statistics: schema.fields().iter().map(|_| nothing_yet()).collect(),
    };
    let mut seen_values = vec![false; schema.fields().len()];
    for file in files {
        let rows = file.num_rows;
        whole.num_rows = whole.num_rows.add(&rows);
        whole.total_byte_size = whole.total_byte_size.add(&file.total_byte_size);
        for (index, (total, column)) in whole.column_statistics.iter_mut().zip(&file.column_statistics).enumerate() {
            total.null_count = total.null_count.add(&column.null_count);
            // A file without values narrows nothing and widens nothing.
            if rows == Precision::Exact(0) || (column.null_count == rows && column.min_value == Precision::Absent) {
                continue;
            }
            let widened = if seen_values[index] { widen(total, column) } else { (column.min_value.clone(), column.max_value.clone()) };
            (total.min_value, total.max_value) = widened;
            seen_values[index] = true;
        }
    }
    whole
}

fn widen(total: &ColumnStatistics, column: &ColumnStatistics) -> (Precision<ScalarValue>, Precision<ScalarValue>) {
    (total.min_value.min(&column.min_value), total.max_value.max(&column.max_value))
}

fn nothing_yet() -> ColumnStatistics {
    ColumnStatistics { null_count: Precision::Exact(0), ..ColumnStatistics::new_unknown() }
}

/// An estimate from the snapshot's summary alone, for when its files are not known yet. Writers may leave the totals out or get them wrong.
pub fn of_summary(schema: &SchemaRef, snapshot: &Snapshot) -> Statistics {
    let total = |key: &str| snapshot.summary().additional_properties.get(key).and_then(|text| text.parse::<usize>().ok());
    let estimate = |value: Option<usize>| value.map_or(Precision::Absent, Precision::Inexact);
    Statistics::new_unknown(schema).with_num_rows(estimate(total("total-records"))).with_total_byte_size(estimate(total("total-files-size")))
}

/// The statistics with how many distinct values columns have, by field id. No column of a scan has more of them than the scan has rows.
pub fn with_distinct_counts(mut whole: Statistics, schema: &SchemaRef, counts: &BTreeMap<i32, u64>) -> Statistics {
    let rows = whole.num_rows.get_value().copied().unwrap_or(usize::MAX);
    for (field, column) in schema.fields().iter().zip(&mut whole.column_statistics) {
        if let Some(values) = field_id(field).and_then(|id| counts.get(&id)) {
            column.distinct_count = Precision::Inexact(count(*values).min(rows));
        }
    }
    whole
}

fn count(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
