//! Position deletes, deletion vectors and equality deletes, against a reader that takes the spec's rules one by one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_proto::bytes::{physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec};
use iceberg::spec::{ManifestListWriter, ManifestWriterBuilder, Operation, Snapshot, SnapshotReference, SnapshotRetention, Summary};
use nunatak_catalog::deletion_vector::framed;
use nunatak_catalog::snapshot;
use nunatak_catalog::spec::{Datum, PrimitiveType, StructType};
use nunatak_core::Code;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use roaring::RoaringTreemap;

use super::reading::{field, longs, row, texts, write};
use super::*;
use crate::codec::Codec;
use crate::error::from_datafusion;

pub(super) const FILE_PATH_ID: i32 = i32::MAX - 101;
pub(super) const POSITION_ID: i32 = i32::MAX - 102;

impl Staged {
    /// Commits delete files, in a manifest of their own.
    async fn delete(&mut self, files: Vec<DataFile>) {
        self.delete_in(self.table.metadata.default_partition_spec_id(), files).await;
    }

    /// The same, of another partition spec.
    pub(super) async fn delete_in(&mut self, spec_id: i32, files: Vec<DataFile>) {
        let metadata = &self.table.metadata;
        let io = self.table.storage.file_io();
        let (id, sequence_number) = (1_000 + metadata.next_sequence_number(), metadata.next_sequence_number());
        let head = metadata.current_snapshot().unwrap();
        let manifest = io.new_output(self.path(&format!("{id}-deletes.avro"))).unwrap();
        let spec = metadata.partition_spec_by_id(spec_id).unwrap().as_ref().clone();
        let builder = ManifestWriterBuilder::new(manifest, Some(id), metadata.current_schema().clone(), spec);
        let v3 = metadata.format_version() == FormatVersion::V3;
        let mut writer = if v3 { builder.build_v3_deletes() } else { builder.build_v2_deletes() };
        for file in files {
            writer.add_file(file, -1).unwrap();
        }
        let manifest = writer.write_manifest_file().await.unwrap();
        let carried = snapshot::manifests(&self.table, head, &ManifestCache::new(1 << 20)).await.unwrap();
        let path = self.path(&format!("{id}-list.avro"));
        let output = io.new_output(&path).unwrap().writer().await.unwrap();
        let mut list = match v3 {
            true => ManifestListWriter::v3(output, id, Some(head.snapshot_id()), sequence_number, Some(metadata.next_row_id())),
            false => ManifestListWriter::v2(output, id, Some(head.snapshot_id()), sequence_number),
        };
        list.add_manifests(std::iter::once(manifest).chain(carried.iter().cloned())).unwrap();
        list.close().await.unwrap();
        let builder = Snapshot::builder()
            .with_snapshot_id(id)
            .with_parent_snapshot_id(Some(head.snapshot_id()))
            .with_sequence_number(sequence_number)
            .with_timestamp_ms(metadata.last_updated_ms() + 1)
            .with_manifest_list(path)
            .with_summary(Summary { operation: Operation::Delete, additional_properties: HashMap::new() })
            .with_schema_id(metadata.current_schema_id());
        let snapshot = if v3 { builder.with_row_range(metadata.next_row_id(), 0).build() } else { builder.build() };
        let retention = SnapshotRetention::Branch { min_snapshots_to_keep: None, max_snapshot_age_ms: None, max_ref_age_ms: None };
        let reference = SnapshotReference { snapshot_id: id, retention };
        let builder = metadata.as_ref().clone().into_builder(None).add_snapshot(snapshot).unwrap().set_ref("main", reference).unwrap();
        self.table.metadata = Arc::new(builder.build().unwrap().metadata);
    }

    pub(super) fn sequence_number(&self) -> i64 {
        self.table.metadata.last_sequence_number()
    }
}

pub(super) fn deletes(content: DataContentType, path: String, rows: usize, bytes: u64) -> DataFileBuilder {
    let mut builder = data_file(path, rows as u64, bytes, Vec::new());
    builder.content(content);
    builder
}

/// A row: `id`, which may be NULL, a text, and `rest.x`.
type Row = (Option<i64>, String, Option<i64>);

/// A data file.
struct Written {
    path: String,
    sequence_number: i64,
    first_row_id: i64,
    /// Each row with whether it is still there.
    rows: Vec<(Row, bool)>,
}

/// A table `id bigint, name varchar, rest row(x bigint)`, and what must be in it.
struct Model {
    staged: Staged,
    files: usize,
    data: Vec<Written>,
    /// What the second column is called now.
    name: String,
    /// Whether there is a column `id` still.
    has_id: bool,
}

fn fields(name: &str) -> Vec<NestedField> {
    let long = || Type::Primitive(PrimitiveType::Long);
    let rest = StructType::new(vec![Arc::new(NestedField::optional(4, "x", long()))]);
    vec![
        NestedField::optional(1, "id", long()),
        NestedField::optional(2, name, Type::Primitive(PrimitiveType::String)),
        NestedField::optional(3, "rest", Type::Struct(rest)),
    ]
}

/// Rows as columns of a file: `id`, the text, and the row around `x`.
fn columns(rows: &[Row], id_type: &DataType) -> [(FieldRef, ArrayRef); 3] {
    let ids: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>());
    let names: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.1.as_str())).collect::<StringArray>());
    let xs: ArrayRef = Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>());
    let (rest_type, rest) = row(vec![(field(4, "x", DataType::Int64), xs)]);
    [
        (field(1, "id", id_type.clone()), arrow::compute::cast(&ids, id_type).unwrap()),
        (field(2, "name", DataType::Utf8), names),
        (field(3, "rest", rest_type), rest),
    ]
}

impl Model {
    fn new(version: FormatVersion) -> Self {
        let mut staged = Staged::of(Schema::builder().with_fields(fields("name").into_iter().map(Arc::new)).build().unwrap());
        let builder = staged.table.metadata.as_ref().clone().into_builder(None).upgrade_format_version(version).unwrap();
        staged.table.metadata = Arc::new(builder.build().unwrap().metadata);
        Self { staged, files: 0, data: Vec::new(), name: "name".to_owned(), has_id: true }
    }

    fn path(&mut self, ending: &str) -> String {
        self.files += 1;
        self.staged.path(&format!("{}.{ending}", self.files))
    }

    /// Adds a file, in which `id` may still be an `int`.
    async fn insert(&mut self, rows: Vec<Row>, id_type: DataType) {
        let path = self.path("parquet");
        let bytes = write(&path, columns(&rows, &id_type).to_vec());
        let first_row_id = self.data.iter().map(|file| file.rows.len() as i64).sum();
        self.staged.append(vec![data_file(path.clone(), rows.len() as u64, bytes, Vec::new()).build().unwrap()]).await;
        let rows = rows.into_iter().map(|row| (row, true)).collect();
        self.data.push(Written { path, sequence_number: self.staged.sequence_number(), first_row_id, rows });
    }

    /// Gives the second column another name.
    fn rename(&mut self) {
        self.name = if self.name == "name" { "title".to_owned() } else { "name".to_owned() };
        self.evolve();
    }

    fn drop_id(&mut self) {
        self.has_id = false;
        self.evolve();
    }

    fn evolve(&mut self) {
        let fields = fields(&self.name).into_iter().filter(|field| self.has_id || field.id != 1).map(Arc::new);
        let schema = Schema::builder().with_fields(fields).build().unwrap();
        let builder = self.staged.table.metadata.as_ref().clone().into_builder(None).add_current_schema(schema).unwrap();
        self.staged.table.metadata = Arc::new(builder.build().unwrap().metadata);
    }

    /// Deletes rows by data file and position.
    async fn delete_positions(&mut self, mut rows: Vec<(usize, usize)>, named: bool) {
        rows.sort_unstable();
        let path = self.path("parquet");
        let paths: Vec<&str> = rows.iter().map(|(file, _)| self.data[*file].path.as_str()).collect();
        let positions: Vec<i64> = rows.iter().map(|(_, position)| *position as i64).collect();
        let columns =
            vec![(field(FILE_PATH_ID, "file_path", DataType::Utf8), texts(&paths)), (field(POSITION_ID, "pos", DataType::Int64), longs(&positions))];
        let bytes = write(&path, columns);
        let mut file = deletes(DataContentType::PositionDeletes, path, rows.len(), bytes);
        if named && paths.first() == paths.last() {
            let bound = HashMap::from([(FILE_PATH_ID, Datum::string(paths[0]))]);
            file.lower_bounds(bound.clone()).upper_bounds(bound);
        }
        let file = file.build().unwrap();
        self.staged.delete(vec![file]).await;
        for (file, position) in rows {
            self.data[file].rows[position].1 = false;
        }
    }

    /// Deletes rows by values of the columns of these ids.
    async fn delete_values(&mut self, rows: &[Row], by: &[i32]) {
        let path = self.path("parquet");
        let all = columns(rows, &DataType::Int64);
        let column_of = |id: i32| all[if id == 4 { 2 } else { id as usize - 1 }].clone();
        let bytes = write(&path, by.iter().map(|id| column_of(*id)).collect());
        let mut file = deletes(DataContentType::EqualityDeletes, path, rows.len(), bytes);
        file.equality_ids(Some(by.to_vec()));
        let file = file.build().unwrap();
        self.staged.delete(vec![file]).await;
        let same = |row: &Row, key: &Row| {
            by.iter().all(|id| match id {
                1 => row.0 == key.0,
                2 => row.1 == key.1,
                _ => row.2 == key.2,
            })
        };
        let now = self.staged.sequence_number();
        for data in self.data.iter_mut().filter(|data| data.sequence_number < now) {
            for (row, there) in &mut data.rows {
                *there &= !rows.iter().any(|key| same(row, key));
            }
        }
    }

    /// Deletes rows of one file by a vector; it stands for all that were deleted by position before.
    async fn delete_vector(&mut self, file: usize, positions: &[usize]) {
        let path = self.path("puffin");
        for position in positions {
            self.data[file].rows[*position].1 = false;
        }
        let rows = &self.data[file].rows;
        let gone: RoaringTreemap = (0..rows.len()).filter(|position| !rows[*position].1).map(|position| position as u64).collect();
        let mut bitmap = Vec::new();
        gone.serialize_into(&mut bitmap).unwrap();
        let puffin = [b"PFA1".as_slice(), &framed(&bitmap)].concat();
        let length = puffin.len() - 4;
        std::fs::write(&path, &puffin).unwrap();
        let mut vector = deletes(DataContentType::PositionDeletes, path, usize::try_from(gone.len()).unwrap(), puffin.len() as u64);
        vector.file_format(DataFileFormat::Puffin).referenced_data_file(Some(self.data[file].path.clone()));
        vector.content_offset(Some(4)).content_size_in_bytes(Some(length as i64));
        let vector = vector.build().unwrap();
        self.staged.delete(vec![vector]).await;
    }

    /// The rows that are there, each with its place in its file and its id.
    fn left(&self) -> Vec<(Row, i64, i64)> {
        let mut left = Vec::new();
        for file in &self.data {
            for (place, (row, _)) in (0..).zip(&file.rows).filter(|(_, (_, there))| *there) {
                let id = row.0.filter(|_| self.has_id);
                left.push(((id, row.1.clone(), row.2), place, file.first_row_id + place));
            }
        }
        left.sort();
        left
    }

    fn context(&self) -> SessionContext {
        let mut config = SessionConfig::new().with_target_partitions(3);
        config.options_mut().sql_parser.map_string_types_to_utf8view = false;
        let context = SessionContext::new_with_config(config);
        context.register_table("t", Arc::new(self.staged.provider())).unwrap();
        context.register_table("h", Arc::new(self.staged.provider().with_hidden_columns())).unwrap();
        context
    }

    async fn plan(&self, sql: &str) -> (Arc<dyn ExecutionPlan>, SessionContext) {
        let context = self.context();
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        (plan, context)
    }

    /// The rows of a query over `id`, the text, `x` and two more numbers, by way of the wire.
    async fn rows(&self, sql: &str) -> Vec<(Row, i64, i64)> {
        let (plan, context) = self.plan(sql).await;
        let codec = Codec::new(scan_context());
        let bytes = physical_plan_to_bytes_with_extension_codec(plan, &codec).unwrap();
        let plan = physical_plan_from_bytes_with_extension_codec(&bytes, &context.task_ctx(), &codec).unwrap();
        let mut rows = Vec::new();
        for batch in collect(plan, context.task_ctx()).await.unwrap() {
            let number = |column: usize, row: usize| {
                let column = batch.column(column).as_primitive::<Int64Type>();
                column.is_valid(row).then(|| column.value(row))
            };
            let names = arrow::compute::cast(batch.column(1), &DataType::Utf8).unwrap();
            let name = |row: usize| names.as_string::<i32>().value(row).to_owned();
            let counted = |column: usize, row: usize| number(column, row).unwrap_or(-1);
            rows.extend((0..batch.num_rows()).map(|row| ((number(0, row), name(row), number(2, row)), counted(3, row), counted(4, row))));
        }
        rows.sort();
        rows
    }

    /// The table's rows are right, however they are asked for.
    async fn check(&self) {
        let left = self.left();
        let (name, id) = (&self.name, if self.has_id { "id" } else { "cast(null as bigint)" });
        let plain: Vec<_> = left.iter().map(|(row, ..)| (row.clone(), 0, 1)).collect();
        assert_eq!(self.rows(&format!("select {id}, {name}, rest['x'], 0 as place, 1 as row_id from t")).await, plain);
        let has_lineage = self.staged.table.metadata.format_version() == FormatVersion::V3;
        let row_id = if has_lineage { "_row_id" } else { "-1" };
        let placed: Vec<_> = left.iter().map(|(row, place, id)| (row.clone(), *place, if has_lineage { *id } else { -1 })).collect();
        assert_eq!(self.rows(&format!("select {id}, {name}, rest['x'], _pos, {row_id} from h")).await, placed);
        let number = async |sql: &str| {
            let (plan, context) = self.plan(sql).await;
            let batches = collect(plan, context.task_ctx()).await.unwrap();
            batches[0].column(0).as_primitive::<Int64Type>().value(0)
        };
        let among = |keep: &dyn Fn(&Row) -> bool| left.iter().filter(|(row, ..)| keep(row)).count() as i64;
        assert_eq!(number("select count(*) from t").await, among(&|_| true));
        assert_eq!(number(&format!("select count(*) from t where {name} = 'n1'")).await, among(&|row| row.1 == "n1"));
        assert_eq!(number("select count(*) from t where rest['x'] >= 2").await, among(&|row| row.2 >= Some(2)));
        assert_eq!(number(&format!("select count(*) from (select {name} from t limit 3)")).await, among(&|_| true).min(3));
        assert_eq!(number("select count(*) from h where _pos = 1").await, left.iter().filter(|(_, place, _)| *place == 1).count() as i64);
        if self.has_id {
            assert_eq!(number("select count(*) from t where id >= 5").await, among(&|row| row.0 >= Some(5)));
            assert_eq!(number("select coalesce(min(id), -1) from t").await, left.iter().filter_map(|(row, ..)| row.0).min().unwrap_or(-1));
        }
    }
}

fn some_rows(random: &mut StdRng) -> Vec<Row> {
    let number = |random: &mut StdRng, end: i64| random.random_bool(0.9).then(|| random.random_range(0..end));
    let row = |random: &mut StdRng| (number(random, 10), format!("n{}", random.random_range(0..4)), number(random, 5));
    (0..random.random_range(1..12)).map(|_| row(random)).collect()
}

/// A table after random inserts, deletes and changes of its columns, checked after each.
async fn program(seed: u64, version: FormatVersion) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut model = Model::new(version);
    model.insert(some_rows(&mut random), DataType::Int32).await;
    for _ in 0..8 {
        let file = random.random_range(0..model.data.len());
        let position = |random: &mut StdRng, file: usize, model: &Model| random.random_range(0..model.data[file].rows.len());
        match random.random_range(0..5) {
            0 => {
                let id_type = if random.random_bool(0.5) { DataType::Int32 } else { DataType::Int64 };
                model.insert(some_rows(&mut random), id_type).await;
            }
            1 if version == FormatVersion::V2 => {
                let count = random.random_range(1..4);
                let of = |random: &mut StdRng| if random.random_bool(0.5) { file } else { random.random_range(0..model.data.len()) };
                let rows: Vec<_> = (0..count).map(|_| of(&mut random)).collect();
                let rows = rows.into_iter().map(|file| (file, position(&mut random, file, &model))).collect();
                let named = random.random_bool(0.5);
                model.delete_positions(rows, named).await;
            }
            2 if version == FormatVersion::V3 && !model.data[file].rows.iter().any(|(_, there)| !there) => {
                let position = position(&mut random, file, &model);
                model.delete_vector(file, &[position]).await;
            }
            3 if random.random_bool(0.5) => model.rename(),
            // What was deleted by the column stays deleted.
            3 if model.has_id && random.random_bool(0.3) => model.drop_id(),
            _ => {
                let by = [vec![1], vec![2], vec![1, 2], vec![4], vec![2, 4]][random.random_range(0..5)].clone();
                let rows = some_rows(&mut random);
                if model.has_id || !by.contains(&1) {
                    model.delete_values(&rows[..1], &by).await;
                }
            }
        }
        model.check().await;
    }
}

/// How many programs are tried: `NUNATAK_TEST_PROGRAMS`.
pub(super) fn programs() -> u64 {
    std::env::var("NUNATAK_TEST_PROGRAMS").ok().and_then(|count| count.parse().ok()).unwrap_or(25)
}

#[tokio::test]
async fn random_programs_in_v2() {
    for seed in 0..programs() {
        program(seed, FormatVersion::V2).await;
    }
}

#[tokio::test]
async fn random_programs_in_v3() {
    for seed in 0..programs() {
        program(seed, FormatVersion::V3).await;
    }
}

#[tokio::test]
async fn deletes_that_apply_to_no_file_are_found() {
    let mut model = Model::new(FormatVersion::V2);
    let rows = |ids: std::ops::Range<i64>| ids.map(|id| (Some(id), "a".to_owned(), None)).collect::<Vec<Row>>();
    model.insert(rows(0..3), DataType::Int64).await;
    model.delete_values(&rows(1..2), &[1]).await;
    model.insert(rows(3..5), DataType::Int64).await;
    let files = model.staged.provider().load_files().await.unwrap().clone();
    assert_eq!(files.deletes.unused(files.files.iter()).len(), 0);
    let younger = files.files.iter().filter(|entry| entry.data_sequence_number > 1);
    assert_eq!(files.deletes.unused(younger).len(), 1);
}

#[tokio::test]
async fn damaged_deletes_are_named() {
    let mut model = Model::new(FormatVersion::V2);
    model.insert(vec![(Some(1), "a".to_owned(), None), (Some(2), "b".to_owned(), None)], DataType::Int64).await;
    let error = async |model: &Model| {
        let (plan, context) = model.plan("select id from t").await;
        from_datafusion(collect(plan, context.task_ctx()).await.unwrap_err())
    };
    model.delete_positions(vec![(0, 1)], true).await;
    let path = model.staged.path("2.parquet");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let damaged = error(&model).await;
    assert_eq!(damaged.code(), Code::IcebergBadData);
    assert!(damaged.message().contains("2.parquet' is damaged"), "{damaged}");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(error(&model).await.code(), Code::IcebergMissingData);
    std::fs::write(&path, &whole).unwrap();
    model.check().await;

    // A row that the data file does not have.
    let beyond = model.path("parquet");
    let data = model.data[0].path.clone();
    let columns =
        vec![(field(FILE_PATH_ID, "file_path", DataType::Utf8), texts(&[&data])), (field(POSITION_ID, "pos", DataType::Int64), longs(&[2]))];
    let bytes = write(&beyond, columns);
    model.staged.delete(vec![deletes(DataContentType::PositionDeletes, beyond, 1, bytes).build().unwrap()]).await;
    let pointless = error(&model).await;
    assert!(pointless.message().contains("names row 2 of data file") && pointless.message().contains("which has 2 rows"), "{pointless}");
}

#[tokio::test]
async fn deletes_of_a_partition_find_its_files_from_before_its_column_got_a_wider_type() {
    let long = || Type::Primitive(PrimitiveType::Long);
    let mut staged = Staged::new(&[("k", Type::Primitive(PrimitiveType::Int)), ("v", long())], &[(1, "k", Transform::Identity)]);
    let file = data_file(staged.path("a.parquet"), 2, 100, vec![Some(Literal::int(1))]).build().unwrap();
    staged.append(vec![file]).await;
    let wider = [NestedField::optional(1, "k", long()), NestedField::optional(2, "v", long())].map(Arc::new);
    let wider = Schema::builder().with_fields(wider).build().unwrap();
    let builder = staged.table.metadata.as_ref().clone().into_builder(None).add_current_schema(wider).unwrap();
    staged.table.metadata = Arc::new(builder.build().unwrap().metadata);
    let deletes = |content, name: &str, value: i64| {
        let mut file = deletes(content, staged.path(name), 1, 100);
        file.partition(Struct::from_iter([Some(Literal::long(value))]));
        file
    };
    let by_position = |name: &str, value| deletes(DataContentType::PositionDeletes, name, value).build().unwrap();
    let by_value = deletes(DataContentType::EqualityDeletes, "values.parquet", 1).equality_ids(Some(vec![2])).build().unwrap();
    let files = vec![by_position("here.parquet", 1), by_position("elsewhere.parquet", 2), by_value];
    staged.delete(files).await;

    let provider = staged.provider();
    let files = provider.load_files().await.unwrap();
    let found = files.deletes.of(&files.files[0]).unwrap();
    assert_eq!(found.positions.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), [staged.path("here.parquet")]);
    assert_eq!(found.equality.len(), 1);
    let unused: Vec<_> = files.deletes.unused(files.files.iter()).into_iter().collect();
    assert_eq!(unused, [(staged.path("elsewhere.parquet"), None)]);
}
