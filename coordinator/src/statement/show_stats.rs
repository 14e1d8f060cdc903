//! `SHOW STATS FOR t`: what the optimiser knows of a table, or expects of a query, with Trino's columns: a row for each column, and one for the whole.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::sql::sqlparser::ast::ObjectName;
use nunatak_core::{Error, Result};
use nunatak_engine::scan::types::field_id;
use nunatak_engine::scan::{IcebergTable, ScanFiles};
use nunatak_engine::sql::statement::StatisticsOf;

use super::{Outcome, StatementContext, parameters};

pub(super) fn schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, true);
    let number = |name| Field::new(name, DataType::Float64, true);
    Arc::new(Schema::new(vec![
        text("column_name"),
        number("data_size"),
        number("distinct_values_count"),
        number("nulls_fraction"),
        number("row_count"),
        text("low_value"),
        text("high_value"),
    ]))
}

/// A row of the listing.
#[derive(Default)]
struct Row {
    column: Option<String>,
    data_size: Option<f64>,
    distinct_values: Option<f64>,
    nulls_fraction: Option<f64>,
    row_count: Option<f64>,
    low: Option<String>,
    high: Option<String>,
}

/// The parameters of what is asked about.
pub(super) async fn prepare(context: &StatementContext, of: StatisticsOf) -> Result<SchemaRef> {
    match of {
        StatisticsOf::Table(_) => Ok(Arc::new(Schema::empty())),
        StatisticsOf::Query(query) => parameters::schema(&context.planner.plan_query(*query).await?),
    }
}

pub(super) async fn run(context: &StatementContext, of: StatisticsOf) -> Result<Outcome> {
    let rows = match of {
        StatisticsOf::Table(name) => of_table(context, &name).await?,
        StatisticsOf::Query(query) => {
            let plan = parameters::bind(context.planner.plan_query(*query).await?, context.parameters.as_ref())?;
            let planned = context.physical_plan(&plan, None).await?;
            let size = |column: usize, statistics: &Statistics| number(&statistics.column_statistics[column].byte_size);
            rows(plan.schema().fields(), planned.statistics()?.as_ref(), size)
        }
    };
    let texts = |of: &dyn Fn(&Row) -> Option<String>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<StringArray>()) };
    let numbers = |of: &dyn Fn(&Row) -> Option<f64>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Float64Array>()) };
    let columns = vec![
        texts(&|row| row.column.clone()),
        numbers(&|row| row.data_size),
        numbers(&|row| row.distinct_values),
        numbers(&|row| row.nulls_fraction),
        numbers(&|row| row.row_count),
        texts(&|row| row.low.clone()),
        texts(&|row| row.high.clone()),
    ];
    let batch = RecordBatch::try_new(schema(), columns).map_err(|error| Error::internal(error.to_string()))?;
    Ok(Outcome::listing(batch))
}

async fn of_table(context: &StatementContext, name: &ObjectName) -> Result<Vec<Row>> {
    let table = context.planner.table(&context.resolve(name)?).await?;
    let snapshot = table.head().cloned();
    let table = IcebergTable::new(table, snapshot, Arc::clone(context.engine.scan()))?;
    let sizes = data_sizes(table.load_files().await?);
    let Some(statistics) = table.statistics() else { return Err(Error::internal("a table has no statistics")) };
    let schema = table.shape().schema();
    let size = |column: usize, _: &Statistics| field_id(schema.field(column)).and_then(|id| sizes.get(&id)).map(|bytes| *bytes as f64);
    Ok(rows(schema.fields(), &statistics, size))
}

/// A row for each field, and one for the whole.
fn rows(fields: &Fields, statistics: &Statistics, size: impl Fn(usize, &Statistics) -> Option<f64>) -> Vec<Row> {
    let row_count = number(&statistics.num_rows);
    let of_columns = fields.iter().zip(&statistics.column_statistics).enumerate().map(|(index, (field, column))| Row {
        column: Some(field.name().clone()),
        data_size: size(index, statistics).filter(|_| has_varying_size(field.data_type())),
        distinct_values: distinct_values(column, row_count),
        nulls_fraction: number(&column.null_count).zip(row_count).filter(|(_, rows)| *rows > 0.0).map(|(nulls, rows)| (nulls / rows).min(1.0)),
        row_count: None,
        low: bound(&column.min_value),
        high: bound(&column.max_value),
    });
    of_columns.chain([Row { row_count, ..Row::default() }]).collect()
}

/// A column of NULLs has no value.
fn distinct_values(column: &ColumnStatistics, row_count: Option<f64>) -> Option<f64> {
    let only_nulls = row_count.is_some() && number(&column.null_count) == row_count;
    if only_nulls { Some(0.0) } else { number(&column.distinct_count) }
}

/// The bytes of each column in all files, by field id. What a file says nothing of leaves the whole unknown.
fn data_sizes(files: &ScanFiles) -> HashMap<i32, u64> {
    let mut known: HashMap<i32, (u64, usize)> = HashMap::new();
    for (id, metrics) in files.files.iter().flat_map(|entry| entry.file.all_metrics()) {
        if let Some(bytes) = metrics.column_size {
            let (sum, count) = known.entry(id).or_default();
            (*sum, *count) = (*sum + bytes, *count + 1);
        }
    }
    known.into_iter().filter(|(_, (_, count))| *count == files.files.len()).map(|(id, (sum, _))| (id, sum)).collect()
}

/// What a number takes is known without a look.
fn has_varying_size(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::Binary | DataType::BinaryView)
}

fn number(value: &Precision<usize>) -> Option<f64> {
    value.get_value().map(|value| *value as f64)
}

/// Bounds as text, where Trino shows them: of numbers and times.
fn bound(value: &Precision<ScalarValue>) -> Option<String> {
    let value = value.get_value().filter(|value| value.data_type().is_numeric() || value.data_type().is_temporal())?;
    match value.cast_to(&DataType::Utf8).ok()? {
        ScalarValue::Utf8(Some(text)) => Some(text.replacen('T', " ", 1)),
        _ => None,
    }
}
