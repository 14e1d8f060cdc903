//! The rows of `system.runtime.queries`, `tasks` and `transactions`, with Trino's columns. What is not known is NULL.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, ListArray, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field};
use nunatak_core::{Error, Result};

use super::listed::{ListedQuery, ListedTask, millis};
use super::transactions::TransactionInfo;

type Columns = Vec<(&'static str, ArrayRef)>;

fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn numbers(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

fn times(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMillisecondArray>().with_timezone("UTC"))
}

fn flags(values: impl Iterator<Item = Option<bool>>) -> ArrayRef {
    Arc::new(values.collect::<BooleanArray>())
}

/// Lists of texts that nobody knows.
fn unknown_lists(rows: usize) -> ArrayRef {
    Arc::new(ListArray::new_null(Arc::new(Field::new("item", DataType::Utf8, true)), rows))
}

fn batch(columns: Columns) -> Result<RecordBatch> {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .map_err(|error| Error::internal("what runs makes no rows").with_source(error))
}

pub(super) fn queries(queries: &[ListedQuery]) -> Result<RecordBatch> {
    let each = || queries.iter();
    batch(vec![
        ("query_id", texts(each().map(|query| Some(query.id.as_str())))),
        ("state", texts(each().map(|query| Some(query.state.as_str())))),
        ("user", texts(each().map(|query| Some(query.user.as_str())))),
        ("source", texts(each().map(|query| query.source.as_deref()))),
        ("query", texts(each().map(|query| Some(query.sql.as_str())))),
        ("resource_group_id", unknown_lists(queries.len())),
        ("queued_time_ms", numbers(each().map(|query| Some(query.queued_ms)))),
        // It is a part of planning.
        ("analysis_time_ms", numbers(each().map(|_| Some(0)))),
        ("planning_time_ms", numbers(each().map(|query| Some(query.planning_ms)))),
        ("created", times(each().map(|query| Some(query.created_ms)))),
        ("started", times(each().map(|query| query.started_ms))),
        ("last_heartbeat", times(each().map(|query| query.heartbeat_ms))),
        ("end", times(each().map(|query| query.ended_ms))),
        ("error_type", texts(each().map(|query| query.error_type.as_deref()))),
        ("error_code", texts(each().map(|query| query.error_code.as_deref()))),
    ])
}

/// There is a task for each stage: where its parts run nobody tells.
pub(super) fn tasks(queries: &[ListedQuery]) -> Result<RecordBatch> {
    let all: Vec<(&ListedQuery, &ListedTask, String)> =
        queries.iter().flat_map(|query| query.tasks.iter().map(move |task| (query, task, format!("{}.{}", query.id, task.stage)))).collect();
    let ids: Vec<String> = all.iter().map(|(.., stage)| format!("{stage}.0.0")).collect();
    let known = |value: Option<u64>| value.and_then(|value| i64::try_from(value).ok());
    let number = |of: &dyn Fn(&ListedTask) -> Option<u64>| numbers(all.iter().map(|(_, task, _)| known(of(task))));
    let nothing = || numbers(all.iter().map(|_| None));
    batch(vec![
        ("node_id", texts(all.iter().map(|(_, task, _)| task.node_id.as_deref()))),
        ("task_id", texts(ids.iter().map(|id| Some(id.as_str())))),
        ("stage_id", texts(all.iter().map(|(.., stage)| Some(stage.as_str())))),
        ("query_id", texts(all.iter().map(|(query, ..)| Some(query.id.as_str())))),
        ("state", texts(all.iter().map(|(_, task, _)| Some(task.state.as_str())))),
        ("splits", number(&|task| Some(task.splits))),
        ("queued_splits", number(&|task| Some(task.splits.saturating_sub(task.running_splits + task.completed_splits)))),
        ("running_splits", number(&|task| Some(task.running_splits))),
        ("completed_splits", number(&|task| Some(task.completed_splits))),
        ("split_scheduled_time_ms", nothing()),
        ("split_cpu_time_ms", number(&|task| task.cpu_ms)),
        ("split_blocked_time_ms", nothing()),
        ("raw_input_bytes", number(&|task| task.bytes)),
        ("raw_input_rows", number(&|task| task.rows)),
        ("processed_input_bytes", number(&|task| task.bytes)),
        ("processed_input_rows", number(&|task| task.rows)),
        ("output_bytes", nothing()),
        ("output_rows", nothing()),
        ("physical_input_bytes", number(&|task| task.bytes)),
        ("physical_written_bytes", nothing()),
        ("created", times(all.iter().map(|(query, ..)| Some(query.created_ms)))),
        ("start", times(all.iter().map(|(query, ..)| query.started_ms))),
        ("last_heartbeat", times(all.iter().map(|(query, ..)| query.heartbeat_ms))),
        ("end", times(all.iter().map(|(query, ..)| query.ended_ms))),
    ])
}

pub(super) fn transactions(transactions: &[TransactionInfo]) -> Result<RecordBatch> {
    let each = || transactions.iter();
    let ids: Vec<String> = each().map(|transaction| transaction.id.to_string()).collect();
    batch(vec![
        ("transaction_id", texts(ids.iter().map(|id| Some(id.as_str())))),
        ("isolation_level", texts(each().map(|transaction| Some(transaction.modes.isolation.name())))),
        ("read_only", flags(each().map(|transaction| Some(transaction.modes.read_only)))),
        ("auto_commit_context", flags(each().map(|_| Some(false)))),
        ("create_time", times(each().map(|transaction| Some(millis(transaction.begun))))),
        ("idle_time_secs", numbers(each().map(|transaction| i64::try_from(transaction.idle.as_secs()).ok()))),
        ("written_catalog", texts(each().map(|_| None))),
        ("catalogs", unknown_lists(transactions.len())),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_trinos_columns() {
        let task = ListedTask { stage: 2, splits: 5, completed_splits: 1, ..ListedTask::default() };
        let query = ListedQuery { id: "q".to_owned(), tasks: vec![task], ..ListedQuery::default() };
        let listed = queries(std::slice::from_ref(&query)).unwrap();
        assert_eq!((listed.num_rows(), listed.num_columns()), (1, 15));
        let listed = tasks(&[query]).unwrap();
        assert_eq!((listed.num_rows(), listed.num_columns()), (1, 24));
        let ids =
            listed.column_by_name("task_id").and_then(|column| column.as_any().downcast_ref::<StringArray>().map(|ids| ids.value(0).to_owned()));
        assert_eq!(ids.as_deref(), Some("q.2.0.0"));
        assert_eq!(transactions(&[]).unwrap().num_columns(), 8);
    }
}
