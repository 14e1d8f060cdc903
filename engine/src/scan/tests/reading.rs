//! Rows from files that were written under older shapes of the table.

use std::fs::File;

use arrow::array::{Array, ArrayRef, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema as ArrowSchema};
use datafusion::assert_batches_eq;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use nunatak_catalog::spec::{Datum, PrimitiveType, StructType};
use nunatak_core::Code;
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::arrow::{ArrowSchemaConverter, PARQUET_FIELD_ID_META_KEY};

use super::*;
use crate::error::from_datafusion;
use crate::scan::{metadata_table, scan_bytes};

pub(super) fn field(id: i32, name: &str, data_type: DataType) -> FieldRef {
    let metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]);
    Arc::new(Field::new(name, data_type, true).with_metadata(metadata))
}

/// The same type without the metadata of nested fields.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| Arc::new(plain_field(field))).collect()),
        other => other.clone(),
    }
}

fn plain_field(field: &Field) -> Field {
    Field::new(field.name(), plain(field.data_type()), true)
}

/// Writes a file whose Parquet schema has field ids, and whose embedded Arrow schema has none. Returns its size.
pub(super) fn write(path: &str, columns: Vec<(FieldRef, ArrayRef)>) -> u64 {
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let parquet = ArrowSchemaConverter::new().convert(&ArrowSchema::new(fields.clone())).unwrap();
    let schema = Arc::new(ArrowSchema::new(fields.iter().map(|field| plain_field(field)).collect::<Vec<_>>()));
    let arrays = arrays.iter().zip(schema.fields()).map(|(array, field)| arrow::compute::cast(array, field.data_type()).unwrap()).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    let options = ArrowWriterOptions::new().with_parquet_schema(parquet);
    let mut writer = ArrowWriter::try_new_with_options(File::create(path).unwrap(), schema, options).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    std::fs::metadata(path).unwrap().len()
}

pub(super) fn longs(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

pub(super) fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

pub(super) fn row(columns: Vec<(FieldRef, ArrayRef)>) -> (DataType, ArrayRef) {
    let (fields, arrays): (Vec<FieldRef>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let rows = StructArray::new(Fields::from(fields), arrays, None);
    (rows.data_type().clone(), Arc::new(rows))
}

/// `ID bigint, name varchar, day date, person row(first varchar, age bigint), added integer`, partitioned by day.
async fn people() -> Staged {
    let primitive = |primitive| Type::Primitive(primitive);
    let optional = |id, name: &str, primitive_type| Arc::new(NestedField::optional(id, name, primitive(primitive_type)));
    let person = StructType::new(vec![optional(6, "first", PrimitiveType::String), optional(7, "age", PrimitiveType::Long)]);
    let columns = [
        ("ID", primitive(PrimitiveType::Long)),
        ("name", primitive(PrimitiveType::String)),
        ("day", primitive(PrimitiveType::Date)),
        ("person", Type::Struct(person)),
        ("added", primitive(PrimitiveType::Int)),
    ];
    let mut staged = Staged::new(&columns, &[(3, "day", Transform::Identity)]);
    let (old, new) = (old_file(&staged), new_file(&staged));
    staged.append(vec![old, new]).await;
    staged
}

/// Written before `name` was called so, `ID` was widened, `person.age` was widened and renamed, `added` was added; and without its partition column.
fn old_file(staged: &Staged) -> DataFile {
    let path = staged.path("old.parquet");
    let years = Arc::new(Int32Array::from(vec![30, 40])) as ArrayRef;
    let (person_type, person) = row(vec![(field(7, "years", DataType::Int32), years), (field(6, "first", DataType::Utf8), texts(&["Ada", "Bob"]))]);
    let bytes = write(
        &path,
        vec![
            (field(2, "ID", DataType::Utf8), texts(&["a", "b"])),
            (field(4, "person", person_type), person),
            (field(1, "key", DataType::Int32), Arc::new(Int32Array::from(vec![1, 2]))),
        ],
    );
    let mut file = data_file(path, 2, bytes, vec![Some(Literal::date(100))]);
    file.lower_bounds(HashMap::from([(1, Datum::long(1))])).upper_bounds(HashMap::from([(1, Datum::long(2))]));
    file.null_value_counts(HashMap::from([(1, 0), (2, 0)])).build().unwrap()
}

fn new_file(staged: &Staged) -> DataFile {
    let path = staged.path("new.parquet");
    let (person_type, person) = row(vec![(field(6, "first", DataType::Utf8), texts(&["Cy"])), (field(7, "age", DataType::Int64), longs(&[50]))]);
    let bytes = write(
        &path,
        vec![
            (field(1, "ID", DataType::Int64), longs(&[3])),
            (field(2, "name", DataType::Utf8), texts(&["c"])),
            (field(3, "day", DataType::Date32), Arc::new(Date32Array::from(vec![101]))),
            (field(4, "person", person_type), person),
            (field(5, "added", DataType::Int32), Arc::new(Int32Array::from(vec![7]))),
        ],
    );
    let mut file = data_file(path, 1, bytes, vec![Some(Literal::date(101))]);
    file.lower_bounds(HashMap::from([(1, Datum::long(3))])).upper_bounds(HashMap::from([(1, Datum::long(3))]));
    file.null_value_counts(HashMap::from([(1, 0), (2, 0), (5, 0)])).build().unwrap()
}

fn context(staged: &Staged, pushdown_filters: bool) -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(2);
    config.options_mut().execution.parquet.pushdown_filters = pushdown_filters;
    let context = SessionContext::new_with_config(config);
    context.register_table("t", Arc::new(staged.provider())).unwrap();
    context
}

async fn plan(context: &SessionContext, sql: &str) -> Arc<dyn ExecutionPlan> {
    context.sql(sql).await.unwrap().create_physical_plan().await.unwrap()
}

#[tokio::test]
async fn old_files_read_as_the_table_is_now() {
    let staged = people().await;
    for pushdown_filters in [false, true] {
        let context = context(&staged, pushdown_filters);
        let all = "select id, name, day, person, person['age'] as age, added from t order by id";
        let expected = [
            "+----+------+------------+-----------------------+-----+-------+",
            "| id | name | day        | person                | age | added |",
            "+----+------+------------+-----------------------+-----+-------+",
            "| 1  | a    | 1970-04-11 | {first: Ada, age: 30} | 30  |       |",
            "| 2  | b    | 1970-04-11 | {first: Bob, age: 40} | 40  |       |",
            "| 3  | c    | 1970-04-12 | {first: Cy, age: 50}  | 50  | 7     |",
            "+----+------+------------+-----------------------+-----+-------+",
        ];
        assert_batches_eq!(expected, &context.sql(all).await.unwrap().collect().await.unwrap());
        let filters = [
            ("name = 'b'", "| 2  |"),
            ("name > 'b'", "| 3  |"),
            ("id + 1 = 2", "| 1  |"),
            ("person['age'] = 40", "| 2  |"),
            ("person['first'] = 'Cy'", "| 3  |"),
            ("added is null and id > 1", "| 2  |"),
            ("added = 7", "| 3  |"),
            ("day = date '1970-04-11' and name = 'a'", "| 1  |"),
        ];
        for (filter, row) in filters {
            let found = context.sql(&format!("select id from t where {filter}")).await.unwrap().collect().await.unwrap();
            assert_batches_eq!(["+----+", "| id |", "+----+", row, "+----+"], &found);
        }
    }
}

#[tokio::test]
async fn metadata_answers_without_reading() {
    let staged = people().await;
    let context = context(&staged, false);
    for (sql, row) in [
        ("select count(*) as a, min(id) as b, max(id) as c from t", "| 3 | 1 | 3 |"),
        ("select count(*) as a, min(id) as b, max(id) as c from t where day < date '1970-04-12'", "| 2 | 1 | 2 |"),
    ] {
        let plan = plan(&context, sql).await;
        assert!(!displayable(plan.as_ref()).indent(true).to_string().contains("DataSourceExec"), "{}", displayable(plan.as_ref()).indent(true));
        let line = "+---+---+---+";
        assert_batches_eq!([line, "| a | b | c |", line, row, line], &context.sql(sql).await.unwrap().collect().await.unwrap());
    }
}

#[tokio::test]
async fn scans_read_only_what_is_needed() {
    let staged = people().await;
    let context = context(&staged, false);
    let files = staged.provider().load_files().await.unwrap().files.clone();
    let (old, new) = (files[0].file.file_size_in_bytes(), files[1].file.file_size_in_bytes());
    assert_eq!(scan_bytes(&plan(&context, "select name from t").await), old + new);
    assert_eq!(scan_bytes(&plan(&context, "select name from t where id > 2").await), new);
    assert_eq!(scan_bytes(&plan(&context, "select name from t where id > 9").await), 0);
    assert_eq!(scan_bytes(&plan(&context, "select name from t limit 2").await), old);
    assert_eq!(scan_bytes(&plan(&context, "select name from t where name = 'c' limit 1").await), old + new);
    assert_eq!(scan_bytes(&plan(&context, "select name from t where day = date '1970-04-12' limit 5").await), new);
}

#[tokio::test]
async fn missing_and_untrue_files_are_named() {
    let error = async |staged: &Staged| from_datafusion(context(staged, false).sql("select name from t").await.unwrap().collect().await.unwrap_err());
    let staged = people().await;
    std::fs::remove_file(staged.path("old.parquet")).unwrap();
    let missing = error(&staged).await;
    assert_eq!(missing.code(), Code::IcebergMissingData);
    assert!(missing.message().contains("old.parquet' does not exist"), "{missing}");

    let mut staged = Staged::new(&[("name", Type::Primitive(PrimitiveType::String))], &[]);
    let bytes = write(&staged.path("x.parquet"), vec![(field(1, "name", DataType::Utf8), texts(&["a"]))]);
    staged.append(vec![data_file(staged.path("x.parquet"), 2, bytes, vec![]).build().unwrap()]).await;
    let untrue = error(&staged).await;
    assert_eq!(untrue.code(), Code::IcebergBadData);
    assert!(untrue.message().contains("x.parquet' has 1 rows, but the table's metadata says 2"), "{untrue}");
}

#[tokio::test]
async fn metadata_tables_have_rows() {
    let staged = people().await;
    let context = SessionContext::new();
    let scan = scan_context();
    for kind in crate::scan::metadata_tables::KINDS {
        let table = metadata_table(&staged.table, kind, &scan).await.unwrap().unwrap();
        context.register_table(kind, table).unwrap();
    }
    assert!(metadata_table(&staged.table, "nothing", &scan).await.unwrap().is_none());
    let cases = [
        ("select operation as a, summary['total-records'] as b from snapshots", "| append | 3 |"),
        ("select is_current_ancestor as a, parent_id as b from history", "| true | |"),
        ("select name as a, type as b from refs", "| main | BRANCH |"),
        ("select added_data_files_count as a, partition_summaries[1]['lower_bound'] as b from manifests", "| 2 | 1970-04-11 |"),
        ("select partition['day'] as a, file_count as b from partitions where record_count = 1", "| 1970-04-12 | 1 |"),
        ("select partition['day'] as a, record_count as b from files where record_count = 2", "| 1970-04-11 | 2 |"),
        ("select count(*) as a, 1 as b from properties where key = 'none'", "| 0 | 1 |"),
        ("select status as a, data_file['record_count'] as b from entries order by 2 desc", "| 1 | 2 |"),
        ("select added_data_files_count as a, added_delete_files_count as b from all_manifests", "| 2 | 0 |"),
        ("select count(*) as a, sum(record_count) as b from all_files", "| 2 | 3 |"),
        ("select count(*) as a, 1 as b from position_deletes", "| 0 | 1 |"),
    ];
    for (sql, expected) in cases {
        let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
        let shown = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
        let row = shown.lines().nth(3).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(row, expected, "{sql}");
    }
}
