//! Whole writes into a folder, read back from the files.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, SchemaRef, TimestampMicrosecondType};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, collect_partitioned, displayable, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use nunatak_catalog::spec::{
    DataFile, FormatVersion, NestedField, NullOrder, PrimitiveType, Schema, SortDirection, SortField, SortOrder, TableMetadataBuilder, Transform,
    Type, UnboundPartitionSpec,
};
use nunatak_catalog::storage::Storage;
use nunatak_catalog::{Table, TableName};
use nunatak_core::Code;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{IcebergWriteExec, Rows, WriteTarget, Written, discard, write_plan};

/// `id long not null, at timestamptz, name string, score double`.
fn schema() -> Schema {
    let field = |id, name: &str, data_type| NestedField::new(id, name, Type::Primitive(data_type), id == 1).into();
    let fields = vec![
        field(1, "id", PrimitiveType::Long),
        field(2, "at", PrimitiveType::Timestamptz),
        field(3, "name", PrimitiveType::String),
        field(4, "score", PrimitiveType::Double),
    ];
    Schema::builder().with_fields(fields).build().unwrap()
}

fn table(folder: &Path, partitions: &[(i32, &str, Transform)], sorted: bool, properties: &[(&str, &str)]) -> Table {
    let mut spec = UnboundPartitionSpec::builder();
    for (source, name, transform) in partitions {
        spec = spec.add_partition_field(*source, *name, *transform).unwrap();
    }
    let mut order = SortOrder::builder();
    if sorted {
        let (transform, direction, null_order) = (Transform::Identity, SortDirection::Descending, NullOrder::Last);
        order.with_order_id(1).with_sort_field(SortField { source_id: 1, transform, direction, null_order });
    }
    let properties: HashMap<String, String> = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let location = format!("file://{}/t", folder.display());
    let order = order.build_unbound().unwrap();
    let metadata = TableMetadataBuilder::new(schema(), spec.build(), order, location, FormatVersion::V2, properties).unwrap().build().unwrap();
    Table::new(TableName::new("s", "t"), Arc::new(metadata.metadata), None, Storage::new())
}

/// Rows with these ids; one a minute, so that 1,440 of them make a day.
fn rows(ids: impl Iterator<Item = i64> + Clone) -> RecordBatch {
    let at = TimestampMicrosecondArray::from_iter_values(ids.clone().map(|id| id * 60_000_000)).with_timezone("UTC");
    let name = ids.clone().map(|id| (id % 5 != 0).then(|| format!("name of a row that is long {id:06}"))).collect::<StringViewArray>();
    let score = Float64Array::from_iter_values(ids.clone().map(|id| if id % 7 == 0 { f64::NAN } else { id as f64 / 2.0 }));
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(ids)), true),
        ("at", Arc::new(at), true),
        ("name", Arc::new(name), true),
        ("score", Arc::new(score), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn source(partitions: &[Vec<RecordBatch>]) -> Arc<dyn ExecutionPlan> {
    MemorySourceConfig::try_new_exec(partitions, partitions[0][0].schema(), None).unwrap()
}

fn context(memory_bytes_max: usize) -> SessionContext {
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(GreedyMemoryPool::new(memory_bytes_max))).build_arc().unwrap();
    SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(2), runtime)
}

fn plan(table: &Table, input: Arc<dyn ExecutionPlan>, context: &SessionContext) -> Arc<dyn ExecutionPlan> {
    let target = WriteTarget::new(table.clone(), "q1", Rows::New);
    write_plan(input, &target, &context.state()).unwrap()
}

async fn write(table: &Table, input: Arc<dyn ExecutionPlan>) -> Vec<DataFile> {
    let context = context(1 << 30);
    let batches = collect_partitioned(plan(table, input, &context), context.task_ctx()).await.unwrap().concat();
    Written::from_batches(&batches, table).unwrap().files
}

/// The rows of a file, without any help from the table's metadata.
fn read(file: &DataFile) -> RecordBatch {
    let path = file.file_path().strip_prefix("file://").unwrap();
    assert_eq!(std::fs::metadata(path).unwrap().len(), file.file_size_in_bytes());
    let builder = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap();
    assert!(builder.metadata().file_metadata().key_value_metadata().unwrap().iter().all(|pair| pair.key != "ARROW:schema"));
    let schema: SchemaRef = builder.schema().clone();
    let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
    let batch = concat_batches(&schema, &batches).unwrap();
    assert_eq!(batch.num_rows() as u64, file.record_count());
    batch
}

fn ids(batch: &RecordBatch) -> Vec<i64> {
    batch.column(0).as_primitive::<Int64Type>().values().to_vec()
}

fn files_below(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries.map(|entry| entry.unwrap()).map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { 1 }).sum()
}

#[tokio::test]
async fn a_small_write_makes_one_file_with_field_ids_and_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), &[], false, &[]);
    let files = write(&table, source(&[vec![rows(1..1_000), rows(1_000..2_000)]])).await;
    assert_eq!(files.len(), 1);
    let file = &files[0];
    let batch = read(file);
    assert_eq!(ids(&batch), (1..2_000).collect::<Vec<_>>());
    let field_ids: Vec<_> = batch.schema().fields().iter().map(|field| field.metadata()["PARQUET:field_id"].clone()).collect();
    assert_eq!(field_ids, ["1", "2", "3", "4"]);
    assert_eq!(file.value_counts()[&3], 1_999);
    assert_eq!(file.null_value_counts()[&3], 399);
    assert_eq!(file.nan_value_counts()[&4], 285);
    assert_eq!(file.lower_bounds()[&1].to_string(), "1");
    assert_eq!(file.upper_bounds()[&1].to_string(), "1999");
    assert_eq!(file.lower_bounds()[&3].to_human_string(), "name of a row th");
    assert_eq!(file.upper_bounds()[&3].to_human_string(), "name of a row ti");
    assert_eq!(file.upper_bounds()[&4].to_string(), "999.5");
    assert_eq!(file.split_offsets(), Some([4].as_slice()));
    assert_eq!(file.sort_order_id(), Some(0));
    discard(&table, &files).await;
    assert_eq!(files_below(folder.path()), 0);
}

#[tokio::test]
async fn partitions_have_their_own_files() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), &[(2, "at_day", Transform::Day), (1, "id_bucket", Transform::Bucket(2))], false, &[]);
    let files = write(&table, source(&[vec![rows(0..3_000)], vec![rows(3_000..6_000)]])).await;
    // Days 0 to 4, two buckets each, and each pair in one task.
    assert_eq!(files.len(), 10);
    let mut all = Vec::new();
    for file in &files {
        let batch = read(file);
        let day = file.partition()[0].clone().unwrap();
        let days: Vec<_> = batch.column(1).as_primitive::<TimestampMicrosecondType>().values().iter().map(|at| at / 86_400_000_000).collect();
        assert!(days.iter().all(|of_row| format!("{day:?}").contains(&format!("Int({of_row})"))), "{day:?}");
        assert!(file.file_path().contains("/t/data/at_day=1970-01-0"), "{}", file.file_path());
        all.extend(ids(&batch));
    }
    all.sort_unstable();
    assert_eq!(all, (0..6_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn more_partitions_than_open_files_make_one_file_each() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), &[(1, "id_trunc", Transform::Truncate(10)), (3, "v", Transform::Void)], false, &[]);
    // Each batch has rows of all 300 partitions.
    let batches = (0..10).map(|batch| rows((0..300).map(move |partition| partition * 10 + batch))).collect();
    let files = write(&table, source(&[batches])).await;
    assert_eq!(files.len(), 300);
    let mut all: Vec<i64> = files.iter().flat_map(|file| ids(&read(file))).collect();
    all.sort_unstable();
    assert_eq!(all, (0..3_000).collect::<Vec<_>>());
    assert!(files.iter().all(|file| file.partition()[1].is_none()));
}

#[tokio::test]
async fn a_sort_order_is_kept_within_partitions() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), &[(1, "bucket", Transform::Bucket(3))], true, &[]);
    let files = write(&table, source(&[vec![rows(0..500)], vec![rows(500..1_000)]])).await;
    assert_eq!(files.len(), 3);
    for file in &files {
        assert_eq!(file.sort_order_id(), Some(1));
        assert!(ids(&read(file)).is_sorted_by(|left, right| left > right));
    }
}

#[tokio::test]
async fn files_roll_at_their_target_size_and_row_groups_at_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let properties = [
        ("write.target-file-size-bytes", "60000"),
        ("write.parquet.row-group-size-bytes", "20000"),
        ("write.parquet.compression-codec", "snappy"),
        ("write.metadata.metrics.default", "counts"),
        ("write.metadata.metrics.column.id", "full"),
        ("write.metadata.metrics.column.name", "none"),
        ("write.data.path", &format!("file://{}/elsewhere/", folder.path().display())),
    ];
    let table = table(folder.path(), &[], false, &properties);
    let batches = (0..20).map(|batch| rows(batch * 1_000..(batch + 1) * 1_000)).collect();
    let files = write(&table, source(&[batches])).await;
    assert!(files.len() > 3, "{}", files.len());
    for file in &files {
        assert!(file.file_path().contains("/elsewhere/00000-q1-"), "{}", file.file_path());
        assert_eq!(file.lower_bounds().keys().collect::<Vec<_>>(), [&1]);
        assert!(!file.value_counts().contains_key(&3) && file.column_sizes().contains_key(&3));
    }
    assert!(files[0].split_offsets().unwrap().len() > 1);
    assert_eq!(files.iter().map(DataFile::record_count).sum::<u64>(), 20_000);
}

#[tokio::test]
async fn a_failed_task_leaves_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), &[(1, "id_trunc", Transform::Truncate(100))], false, &[("write.target-file-size-bytes", "1")]);
    let good = rows(0..1_000);
    let mut columns = good.columns().to_vec();
    columns[0] = Arc::new(Int64Array::from(vec![None; 1_000]));
    let bad = RecordBatch::try_new(good.schema(), columns).unwrap();
    let context = context(1 << 30);
    let plan = plan(&table, source(&[vec![good, bad]]), &context);
    let error = crate::error::from_datafusion(collect_partitioned(plan, context.task_ctx()).await.unwrap_err());
    assert_eq!((error.code(), error.message()), (Code::ConstraintViolation, "column 'id' of table s.t does not take NULL"));
    wait_until_empty(folder.path()).await;
}

#[tokio::test]
async fn a_dropped_stream_leaves_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), &[], false, &[("write.target-file-size-bytes", "1")]);
    let context = context(1 << 30);
    let batches = (0..200).map(|batch| rows(batch * 100..(batch + 1) * 100)).collect();
    let mut stream = execute_stream(plan(&table, source(&[batches]), &context), context.task_ctx()).unwrap();
    // Polled until there are files, and then given up.
    while files_below(folder.path()) < 3 {
        assert!(futures::poll!(futures::StreamExt::next(&mut stream)).is_pending());
        tokio::task::yield_now().await;
    }
    drop(stream);
    wait_until_empty(folder.path()).await;
}

async fn wait_until_empty(folder: &Path) {
    for _ in 0..200 {
        if files_below(folder) == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(files_below(folder), 0);
}

#[tokio::test]
async fn little_memory_makes_more_row_groups() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), &[], false, &[("write.metadata.metrics.default", "none")]);
    let batches: Vec<_> = (0..40).map(|batch| rows(batch * 8_192..(batch + 1) * 8_192)).collect();
    let context = context(12 * 1024 * 1024);
    let run = collect_partitioned(plan(&table, source(std::slice::from_ref(&batches)), &context), context.task_ctx()).await.unwrap().concat();
    let files = Written::from_batches(&run, &table).unwrap().files;
    assert_eq!(files.iter().map(DataFile::record_count).sum::<u64>(), 40 * 8_192);
    assert!(files[0].split_offsets().unwrap().len() > 1);
    assert_eq!(context.runtime_env().memory_pool.reserved(), 0);
    // Where not even a few rows fit, the query fails and says so.
    let context = self::context(100 * 1024);
    let plan = plan(&table, source(&[batches]), &context);
    let error = crate::error::from_datafusion(collect_partitioned(plan, context.task_ctx()).await.unwrap_err());
    assert_eq!(error.code(), Code::ExceededLocalMemoryLimit);
}

#[tokio::test]
async fn large_inputs_are_spread_and_small_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(1 << 30);
    let plain = table(folder.path(), &[], false, &[]);
    let small = plan(&plain, source(&[vec![rows(0..10)]]), &context);
    assert_eq!(small.output_partitioning().partition_count(), 1);
    let scattered = plan(&plain, source(&[vec![rows(0..10)], vec![rows(0..10)]]), &context);
    assert_eq!(scattered.output_partitioning().partition_count(), 1);
    let large = plan(&plain, source(&[vec![rows(0..1_000_000)]]), &context);
    assert_eq!(large.output_partitioning().partition_count(), 2);
    let partitioned = table(folder.path(), &[(2, "day", Transform::Day)], true, &[]);
    let text = displayable(plan(&partitioned, source(&[vec![rows(0..10)], vec![rows(0..10)]]), &context).as_ref()).indent(false).to_string();
    let lines: Vec<_> = text.lines().map(|line| line.trim().split(": ").next().unwrap()).collect();
    assert_eq!(lines, ["IcebergWriteExec", "SortExec", "RepartitionExec", "DataSourceExec"]);
    assert!(text.contains("Hash([iceberg_day(at@1)], 2)"), "{text}");
}

#[tokio::test]
async fn the_node_can_be_rebuilt_and_counts_what_it_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(folder.path(), &[], false, &[]);
    let node = IcebergWriteExec::try_new(source(&[vec![rows(0..10)]]), WriteTarget::new(table, "q", Rows::New)).unwrap();
    let again = Arc::new(IcebergWriteExec::try_new(node.input().clone(), node.target().clone()).unwrap());
    let batches = collect_partitioned(again.clone(), Arc::new(TaskContext::default())).await.unwrap().concat();
    assert_eq!(batches[0].column(1).as_primitive::<Int64Type>().value(0), 10);
    let metrics: BTreeMap<_, _> =
        again.metrics().unwrap().iter().map(|metric| (metric.value().name().to_owned(), metric.value().as_usize())).collect();
    assert_eq!((metrics["rows_written"], metrics["files_written"]), (10, 1));
    assert!(metrics["bytes_written"] > 100);
}
