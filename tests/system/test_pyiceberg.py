"""PyIceberg and nunatak over one warehouse: what either writes, the other reads."""

import datetime

import pyarrow
import pyiceberg.expressions as where
import pytest
from pyiceberg.conversions import from_bytes
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import BucketTransform, MonthTransform
from pyiceberg.types import ListType, LongType, MapType, NestedField, StringType, StructType, TimestampType

from nunatak_testing.answers import difference

# PyIceberg allows one partition field for a column, so two tables share the transforms.
PARTITIONING = {
    "hidden": ["month(at)", "bucket(id, 16)", "truncate(name, 2)"],
    "plain": ["day(at)", "truncate(id, 10)", "name"],
}
ROWS = [
    (1, datetime.datetime(2024, 1, 31, 23, 59, 59, 999999), "Åse"),
    (2, datetime.datetime(2024, 2, 1), "Bjørn"),
    (-3, datetime.datetime(1969, 12, 31, 23, 59, 59), "Bjarne"),
    (2**40, datetime.datetime(1970, 1, 1), ""),
    (None, None, None),
]


def literal(value):
    if value is None:
        return "NULL"
    if isinstance(value, datetime.datetime):
        return f"TIMESTAMP '{value}'"
    return f"'{value}'" if isinstance(value, str) else str(value)


def values(rows):
    return ", ".join(f"({', '.join(map(literal, row))})" for row in rows)


def partition_of(task):
    return tuple(task.file.partition[index] for index in range(len(task.file.partition)))


def arrow_rows(table):
    return list(zip(*(column.to_pylist() for column in table.columns)))


@pytest.fixture(scope="module", params=PARTITIONING)
def ours(server, request):
    """A table that we made and filled; as PyIceberg sees it."""
    name = f"py.{request.param}"
    server.rows("CREATE SCHEMA IF NOT EXISTS py")
    server.rows(f"CREATE TABLE {name} (id bigint, at timestamp(6), name varchar) WITH (partitioning = ARRAY{PARTITIONING[request.param]})")
    assert server.value(f"INSERT INTO {name} VALUES {values(ROWS)}") == len(ROWS)
    return server.iceberg().load_table(name)


def test_it_reads_our_rows(ours):
    assert difference(arrow_rows(ours.scan().to_arrow()), ROWS) is None


def test_it_reads_our_rows_through_partitions(ours):
    def ids(row_filter):
        return sorted(ours.scan(row_filter=row_filter, selected_fields=("id",)).to_arrow().column("id").to_pylist())

    assert ids(where.EqualTo("id", 2)) == [2]
    assert ids(where.EqualTo("name", "Bjarne")) == [-3]
    assert ids(where.GreaterThanOrEqual("at", "2024-02-01T00:00:00")) == [2]
    assert ids(where.LessThan("at", "1970-01-01T00:00:00")) == [-3]
    assert ours.scan(row_filter=where.IsNull("id")).to_arrow().num_rows == 1


def test_partition_values_are_what_it_would_write(ours):
    schema = ours.schema()

    def partition(row):
        epoch = datetime.datetime(1970, 1, 1)
        value_of = {"id": row[0], "at": row[1] and (row[1] - epoch) // datetime.timedelta(microseconds=1), "name": row[2]}
        sources = [(field.transform, schema.find_field(field.source_id)) for field in ours.spec().fields]
        return tuple(transform.transform(source.field_type)(value_of[source.name]) for transform, source in sources)

    assert sorted(map(partition_of, ours.scan().plan_files()), key=str) == sorted(map(partition, ROWS), key=str)


def test_it_makes_the_same_files_of_the_same_rows(server, ours):
    """The same rows, written by PyIceberg into a table of the same shape: same partitions, counts and bounds."""
    catalog = server.iceberg()
    twin = catalog.create_table(f"py.{ours.name()[-1]}_twin", schema=ours.schema(), partition_spec=ours.spec())
    columns = list(zip(*ROWS))
    arrow_schema = pyarrow.schema([("id", pyarrow.int64()), ("at", pyarrow.timestamp("us")), ("name", pyarrow.string())])
    twin.append(pyarrow.table([pyarrow.array(column, field.type) for column, field in zip(columns, arrow_schema)], schema=arrow_schema))

    def described(table):
        schema = table.schema()
        files = []
        for task in table.scan().plan_files():
            file = task.file
            bounds = {
                side: {key: from_bytes(schema.find_field(key).field_type, value) for key, value in (bytes_of or {}).items()}
                for side, bytes_of in (("lower", file.lower_bounds), ("upper", file.upper_bounds))
            }
            files.append((partition_of(task), file.record_count, dict(file.value_counts), dict(file.null_value_counts), bounds))
        return sorted(files, key=str)

    assert described(ours) == described(twin)


def test_manifest_bounds(ours):
    (manifest,) = ours.current_snapshot().manifests(ours.io)
    assert (manifest.added_files_count, manifest.added_rows_count) == (len(ROWS), len(ROWS))
    names = manifest.partitions[2]
    largest = {"hidden": "Ås", "plain": "Åse"}[ours.name()[-1]]
    assert (names.lower_bound, names.upper_bound, names.contains_null) == (b"", largest.encode(), True)


def test_snapshot_summary(ours):
    summary = ours.current_snapshot().summary
    assert summary.operation.value == "append"
    assert (summary["added-records"], summary["total-records"], summary["total-data-files"]) == ("5", "5", "5")


@pytest.fixture(scope="module")
def theirs(server):
    """A partitioned table that PyIceberg made and filled."""
    server.rows("CREATE SCHEMA IF NOT EXISTS py")
    schema = Schema(
        NestedField(1, "id", LongType(), required=True),
        NestedField(2, "at", TimestampType()),
        NestedField(3, "name", StringType()),
    )
    spec = PartitionSpec(
        PartitionField(2, 1000, MonthTransform(), "at_month"),
        PartitionField(1, 1001, BucketTransform(4), "id_bucket"),
    )
    table = server.iceberg().create_table("py.theirs", schema=schema, partition_spec=spec)
    arrow_schema = pyarrow.schema([pyarrow.field("id", pyarrow.int64(), False), ("at", pyarrow.timestamp("us")), ("name", pyarrow.string())])
    rows = [row for row in ROWS if row[0] is not None]
    table.append(pyarrow.table([pyarrow.array(column, field.type) for column, field in zip(zip(*rows), arrow_schema)], schema=arrow_schema))
    return rows


def test_we_read_and_append_to_its_table(server, theirs):
    assert difference(server.rows("SELECT * FROM py.theirs"), theirs) is None
    assert server.rows("SELECT id FROM py.theirs WHERE at >= TIMESTAMP '2024-02-01 00:00:00'") == [(2,)]
    assert server.rows(f"SELECT name FROM py.theirs WHERE id = {2**40}") == [("",)]

    more = [(100, datetime.datetime(2024, 3, 1), "Carl"), (101, None, None)]
    assert server.value(f"INSERT INTO py.theirs VALUES {values(more)}") == 2
    table = server.iceberg().load_table("py.theirs")
    assert difference(arrow_rows(table.scan().to_arrow()), theirs + more) is None
    assert table.scan(row_filter=where.EqualTo("id", 100)).to_arrow().num_rows == 1
    # And once more the other way round: it appends on top of our snapshot.
    table.append(table.scan(row_filter=where.EqualTo("id", 100)).to_arrow())
    assert server.value("SELECT count(*) FROM py.theirs WHERE id = 100") == 2


def test_it_appends_while_we_do(server, ours):
    """Neither loses the other's commit when both append in turns, each from its own cached metadata."""
    name = ".".join(ours.name())
    table = server.iceberg().load_table(name)
    before = server.value(f"SELECT count(*) FROM {name}")
    for turn in range(3):
        server.rows(f"INSERT INTO {name} VALUES ({turn}, NULL, 'x')")
        table.refresh()
        table.append(table.scan(row_filter=where.EqualTo("name", "Bjørn"), limit=1).to_arrow())
    assert server.value(f"SELECT count(*) FROM {name}") == before + 6


def test_it_rewrites_and_widens_a_table(server, theirs):
    """Copy-on-write deletes and added columns by PyIceberg are seen at once."""
    table = server.iceberg().create_table("py.changed", schema=Schema(NestedField(1, "id", LongType())))
    table.append(pyarrow.table({"id": pyarrow.array([1, 2, 3], pyarrow.int64())}))
    table.delete(where.EqualTo("id", 2))
    assert server.rows("SELECT id FROM py.changed ORDER BY id") == [(1,), (3,)]
    with table.update_schema() as change:
        change.add_column("added", StringType())
    assert server.rows("SELECT id, added FROM py.changed ORDER BY id") == [(1, None), (3, None)]


def test_required_fields_within_columns(server, failure):
    """They take what is not NULL, whether the type of a value says so or not; an error names the field and the row."""
    server.rows("CREATE SCHEMA IF NOT EXISTS py")
    place = StructType(NestedField(10, "x", LongType(), required=True), NestedField(11, "y", StringType()))
    schema = Schema(
        NestedField(1, "id", LongType(), required=True),
        NestedField(2, "r", place),
        NestedField(3, "tags", ListType(12, StringType(), element_required=True)),
        NestedField(4, "m", MapType(13, StringType(), 14, LongType(), value_required=True)),
    )
    server.iceberg().create_table("py.within", schema=schema)
    assert server.value("INSERT INTO py.within SELECT 1, row(1, 'a'), ARRAY['t'], MAP(ARRAY['k'], ARRAY[1])") == 1
    assert server.value("INSERT INTO py.within VALUES (2, row(2, NULL), ARRAY['u', 'v'], NULL), (3, NULL, NULL, NULL)") == 2
    assert server.value("INSERT INTO py.within SELECT id + 10, r, tags, m FROM py.within WHERE id < 3") == 2
    assert server.value("UPDATE py.within SET r = row(5, 'z') WHERE id = 2") == 1
    merge = "MERGE INTO py.within AS t USING (VALUES (3), (20)) AS s(id) ON t.id = s.id"
    assert server.value(f"{merge} WHEN MATCHED THEN UPDATE SET r = row(7, NULL) WHEN NOT MATCHED THEN INSERT (id, tags) VALUES (s.id, ARRAY['w'])") == 2
    expected = [(1, 1, "a", ["t"]), (2, 5, "z", ["u", "v"]), (3, 7, None, None), (11, 1, "a", ["t"]), (12, 2, None, ["u", "v"]), (20, None, None, ["w"])]
    assert server.rows("SELECT id, r.x, r.y, tags FROM py.within ORDER BY id") == expected
    rows = server.iceberg().load_table("py.within").scan().to_arrow().to_pylist()
    assert sorted((row["id"], row["r"] and row["r"]["x"]) for row in rows) == [(id, x) for id, x, _, _ in expected]
    for sql, message in {
        "INSERT INTO py.within VALUES (4, row(1, 'a'), NULL, NULL), (5, row(NULL, 'b'), NULL, NULL)": "'r.x' of table py.within does not take NULL, row: id = 5, ",
        "INSERT INTO py.within SELECT 4, NULL, ARRAY['a', NULL], NULL": "'tags.element' of table py.within does not take NULL, row: id = 4, ",
        "INSERT INTO py.within SELECT 4, NULL, NULL, MAP(ARRAY['k'], ARRAY[CAST(NULL AS bigint)])": "'m.value' of table py.within does not take NULL",
        "UPDATE py.within SET tags = ARRAY['a', NULL] WHERE id = 1": "'tags.element' of table py.within does not take NULL, row: id = 1, ",
    }.items():
        text = failure(server, sql)
        assert f"CONSTRAINT_VIOLATION: column {message}" in text, text
