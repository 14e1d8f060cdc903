//! Every entry of the registry, there and back: the plan that comes out shows the same and gives the same rows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListArray, RecordBatch, StringViewArray};
use arrow::datatypes::Int64Type;
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::DataFusionError;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::expr::HigherOrderFunction;
use datafusion::logical_expr::{Expr, col, lambda, lambda_var, lit};
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_proto::bytes::{physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec};
use nunatak_catalog::commit::append_to_staged;
use nunatak_catalog::spec::{
    FormatVersion, NestedField, PrimitiveType, Schema, SortOrder, TableMetadataBuilder, Transform, Type, UnboundPartitionSpec,
};
use nunatak_catalog::{Storage, Table, TableName};

use super::Codec;
use crate::files::{FileFormat, FileOptions, file_table};
use crate::rules::OnceExec;
use crate::scan::IcebergTable;
use crate::scan::tests::scan_context;
use crate::write::{Rows, WriteTarget, Written, write_plan};

const ROWS: i64 = 10_000;

fn context() -> SessionContext {
    SessionContext::new_with_config(SessionConfig::new().with_target_partitions(3))
}

/// `id long, name string`, partitioned by `bucket(4, id)`.
fn table(folder: &std::path::Path) -> Table {
    let field = |id, name, data_type| NestedField::optional(id, name, Type::Primitive(data_type)).into();
    let schema = Schema::builder().with_fields([field(1, "id", PrimitiveType::Long), field(2, "name", PrimitiveType::String)]).build().unwrap();
    let spec = UnboundPartitionSpec::builder().add_partition_field(1, "id_bucket", Transform::Bucket(4)).unwrap().build();
    let location = format!("file://{}/t", folder.display());
    let order = SortOrder::unsorted_order();
    let metadata = TableMetadataBuilder::new(schema, spec, order, location, FormatVersion::V2, HashMap::new()).unwrap().build().unwrap().metadata;
    Table::new(TableName::new("s", "t"), Arc::new(metadata), None, Storage::new())
}

fn rows() -> Arc<dyn ExecutionPlan> {
    let name = (0..ROWS).map(|id| (id % 3 != 0).then(|| format!("name {:03}", id % 100))).collect::<StringViewArray>();
    let columns: [(&str, ArrayRef, bool); 2] = [("id", Arc::new(Int64Array::from_iter_values(0..ROWS)), true), ("name", Arc::new(name), true)];
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    MemorySourceConfig::try_new_exec(&[vec![batch.clone()]], batch.schema(), None).unwrap()
}

/// The plan after it has crossed the wire.
fn crossed(plan: &Arc<dyn ExecutionPlan>, context: &SessionContext) -> Arc<dyn ExecutionPlan> {
    let codec = Codec::new(scan_context());
    let bytes = physical_plan_to_bytes_with_extension_codec(Arc::clone(plan), &codec).unwrap();
    let back = physical_plan_from_bytes_with_extension_codec(&bytes, &context.task_ctx(), &codec).unwrap();
    let shown = |plan: &Arc<dyn ExecutionPlan>| displayable(plan.as_ref()).indent(true).to_string();
    assert_eq!(shown(&back), shown(plan));
    back
}

async fn answer(plan: Arc<dyn ExecutionPlan>, context: &SessionContext) -> String {
    let batches = collect(plan, context.task_ctx()).await.unwrap();
    assert!(batches.iter().map(RecordBatch::num_rows).sum::<usize>() > 0);
    pretty_format_batches(&batches).unwrap().to_string()
}

/// Writes the rows by a plan that has crossed the wire; gives the table with them.
async fn written(folder: &std::path::Path, context: &SessionContext) -> Table {
    let mut table = table(folder);
    let mut state = context.state();
    for function in crate::transform::functions::all() {
        FunctionRegistry::register_udf(&mut state, Arc::clone(function)).unwrap();
        context.register_udf(function.as_ref().clone());
    }
    let target = WriteTarget::new(table.clone(), "q1", Rows::New);
    let plan = write_plan(rows(), &target, &state).unwrap();
    let reports = collect(crossed(&plan, context), context.task_ctx()).await.unwrap();
    let files = Written::from_batches(&reports, &table).unwrap().files;
    assert_eq!(files.iter().map(|file| file.record_count()).sum::<u64>(), ROWS as u64);
    table.metadata = Arc::new(append_to_staged(&table, files, BTreeMap::new()).await.unwrap());
    table
}

#[tokio::test]
async fn writes_and_scans_cross_the_wire() {
    let folder = tempfile::tempdir().unwrap();
    let context = context();
    let table = written(folder.path(), &context).await;
    let snapshot = table.metadata.current_snapshot().cloned();
    let provider = IcebergTable::new(table, snapshot, scan_context()).unwrap();
    context.register_table("t", Arc::new(provider)).unwrap();
    for sql in [
        "SELECT name, count(*) AS n, max(id) AS id FROM t WHERE id BETWEEN 100 AND 9000 GROUP BY name ORDER BY name LIMIT 7",
        "SELECT id + 1 AS next, upper(name) AS name FROM t WHERE name = 'name 007' ORDER BY id DESC LIMIT 3",
        "SELECT a.id FROM t a JOIN t b ON a.id = b.id + 1 WHERE b.name IS NULL ORDER BY 1 LIMIT 5",
        "SELECT count(*) AS n FROM (SELECT * FROM t LIMIT 100)",
    ] {
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let there = crossed(&plan, &context);
        assert_eq!(answer(there, &context).await, answer(plan, &context).await, "{sql}");
    }
}

#[tokio::test]
async fn what_is_read_once_crosses_the_wire() {
    let context = context();
    let plan = context.sql("SELECT 1 AS one").await.unwrap().create_physical_plan().await.unwrap();
    let there = crossed(&(Arc::new(OnceExec::new(plan)) as Arc<dyn ExecutionPlan>), &context);
    assert!(answer(Arc::clone(&there), &context).await.contains("one"));
    assert!(matches!(collect(there, context.task_ctx()).await, Err(DataFusionError::ResourcesExhausted(_))));
}

#[tokio::test]
async fn scans_of_row_files_cross_the_wire() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.csv"), "x;y\n1;one\n2;zwei\n3;NIL\n").unwrap();
    let context = context();
    let options = FileOptions { delimiter: b';', null_values: vec!["NIL".to_owned()], ..FileOptions::default() };
    let pattern = folder.path().join("*.csv");
    let files = file_table(&context.state(), FileFormat::Csv, pattern.to_str().unwrap(), &options, None).await.unwrap();
    context.register_table("f", files).unwrap();
    let plan = context.sql("SELECT y, x * 2 AS d FROM f WHERE x > 1").await.unwrap().create_physical_plan().await.unwrap();
    let there = crossed(&plan, &context);
    let answered = answer(there, &context).await;
    assert!(answered.contains("zwei") && answered.contains("| 6"), "{answered}");
}

/// Operators are merged on the way, so that the rows that the function is called with have other columns than when it was planned.
#[tokio::test]
async fn functions_within_expressions_cross_the_wire() {
    let rules = crate::rules::physical_rules();
    let mut state = SessionStateBuilder::new().with_default_features().with_physical_optimizer_rules(rules).build();
    for function in crate::functions::higher_order() {
        state.register_higher_order_function(function).unwrap();
    }
    let context = SessionContext::new_with_state(state);
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![Some(3)])]);
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![10, 20, 30]));
    let columns = [("other", Arc::clone(&numbers), true), ("n", numbers, true), ("list", Arc::new(lists) as ArrayRef, true)];
    let frame = context.read_batch(RecordBatch::try_from_iter_with_nullable(columns).unwrap()).unwrap();
    let transform = crate::functions::higher_order().find(|function| function.name() == "transform").unwrap();
    for (added, expected) in [(col("n"), ["[11", "[33"]), (lit(1_i64), ["[2", "[4"])] {
        let function = lambda(["x"], lambda_var("x") + added);
        let call = Expr::HigherOrderFunction(HigherOrderFunction::new(Arc::clone(&transform), vec![col("list"), function]));
        let call = call.resolve_lambda_variables(frame.schema()).unwrap().data;
        let plan = frame.clone().select(vec![call.alias("r")]).unwrap().create_physical_plan().await.unwrap();
        let answered = answer(crossed(&plan, &context), &context).await;
        assert!(expected.iter().all(|list| answered.contains(list)), "{answered}");
    }
}

#[test]
fn what_is_not_ours_is_told() {
    let context = context();
    let codec = Codec::new(scan_context());
    let error = physical_plan_from_bytes_with_extension_codec(b"\x00nunatak1 rubbish", &context.task_ctx(), &codec);
    assert!(error.is_err());
}
