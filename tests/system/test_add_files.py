"""Files that others have written become files of a table where they are."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nunatak_testing.server import Server
from nunatak_testing.spark import alike


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("data") / "nunatak") as server:
        yield server


def add(server, table, location, *arguments):
    listed = ", ".join([f"location => '{location}'", *arguments])
    return dict(server.rows(f"ALTER TABLE {table} EXECUTE add_files({listed})"))


def counts(files, rows):
    return {"added_data_files_count": files, "added_records_count": rows}


ROWS = pa.table(
    {
        "id": pa.array([1, 2, 3], pa.int32()),
        "name": pa.array(["a", None, "c" * 40]),
        "price": pa.array([Decimal("1.50"), Decimal("-2.25"), None], pa.decimal128(9, 2)),
        "day": pa.array([date(2024, 1, 1), date(1969, 12, 31), None]),
        "at": pa.array([datetime(2024, 1, 1, 12), None, datetime(1969, 1, 1)], pa.timestamp("us")),
        "tags": pa.array([["x"], [], None], pa.list_(pa.string())),
        "place": pa.array([{"lat": 1.5}, {"lat": None}, None], pa.struct([("lat", pa.float64())])),
        "extra": pa.array([1, 2, 3]),
    }
)


EVERYTHING = "SELECT id, title, extra, place.lat, place.lon, other FROM spark.added ORDER BY id"


def test_files_without_ids(server, spark, tmp_path):
    pq.write_table(ROWS, tmp_path / "one.parquet")
    pq.write_table(ROWS.slice(0, 1), tmp_path / "two.parquet")
    (tmp_path / "_SUCCESS").write_text("")
    (tmp_path / ".hidden.parquet").write_text("no parquet")
    server.arrow(
        "CREATE TABLE spark.added (id bigint, name varchar, price decimal(12, 2), day date, at timestamp(6), tags array(varchar), place row(lat double), other integer)"
    )
    assert add(server, "spark.added", tmp_path, "dry_run => 'true'") == counts(2, 4)
    assert server.rows("SELECT * FROM spark.added") == []
    assert add(server, "spark.added", f"file://{tmp_path}", "format => 'parquet'") == counts(2, 4)
    rows = server.rows("SELECT id, name, price, day, at, tags, place.lat, other FROM spark.added ORDER BY id, name")
    assert rows[0] == rows[1] == (1, "a", Decimal("1.50"), date(2024, 1, 1), datetime(2024, 1, 1, 12), ["x"], 1.5, None)
    assert rows[2:] == [(2, None, Decimal("-2.25"), date(1969, 12, 31), None, [], None, None), (3, "c" * 40, None, None, datetime(1969, 1, 1), None, None, None)]
    # What the footers tell is used: nothing is read where no row can be.
    assert server.rows("SELECT count(*) FROM spark.added WHERE id > 3 OR name > 'd' OR day < DATE '1900-01-01'") == [(0,)]
    bounds = [dict(bounds) for (bounds,) in server.rows('SELECT lower_bounds FROM spark."added$files"')]
    assert [bounds[1] for bounds in bounds] == ["1", "1"] and all({1, 2, 3, 4, 5} <= bounds.keys() for bounds in bounds)
    with pytest.raises(Exception, match="is in table 'spark.added' already"):
        add(server, "spark.added", tmp_path)
    # Other names and new columns are found too, and a name that a column had is that of the new one.
    server.arrow("ALTER TABLE spark.added RENAME COLUMN name TO title")
    server.arrow("ALTER TABLE spark.added ADD COLUMN extra bigint")
    server.arrow("ALTER TABLE spark.added ADD COLUMN place.lon double")
    later = tmp_path / "later"
    later.mkdir()
    place = pa.array([{"lat": 1.0, "lon": 2.0}], pa.struct([("lat", pa.float64()), ("lon", pa.float64())]))
    pq.write_table(pa.table({"id": [9], "title": ["t"], "extra": [7], "place": place}), later / "three.parquet")
    assert add(server, "spark.added", later) == counts(1, 1)
    assert server.rows("SELECT id, title, extra, place.lon FROM spark.added WHERE id > 2 ORDER BY id") == [(3, "c" * 40, None, None), (9, "t", 7, 2.0)]
    first = server.value('SELECT snapshot_id FROM spark."added$snapshots" ORDER BY committed_at LIMIT 1')
    assert server.rows(f"SELECT name FROM spark.added FOR VERSION AS OF {first} WHERE id = 1")[0] == ("a",)
    # They are files like any others.
    server.arrow("DELETE FROM spark.added WHERE id = 1")
    server.arrow("UPDATE spark.added SET title = 'new' WHERE id = 2")
    alike(server, spark, EVERYTHING)
    server.arrow("ALTER TABLE spark.added EXECUTE optimize")
    assert server.rows("SELECT id, title FROM spark.added ORDER BY id") == [(2, "new"), (3, "c" * 40), (9, "t")]
    alike(server, spark, EVERYTHING)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_folders_of_partitions(server, spark, tmp_path, version):
    folders = {"day=2024-01-01/kind=a%2Fb": 2, "day=2024-01-02/kind=__HIVE_DEFAULT_PARTITION__": 1, "day=2024-01-02/kind=x y": 1}
    for number, (folder, count) in enumerate(folders.items()):
        path = tmp_path / folder
        path.mkdir(parents=True)
        pq.write_table(pa.table({"id": pa.array(range(number * 10, number * 10 + count), pa.int64())}), path / "part-0.parquet")
    table = f"spark.hive{version}"
    server.arrow(f"CREATE TABLE {table} (id bigint, day date, kind varchar) WITH (format_version = {version}, partitioning = ARRAY['day', 'kind'])")
    assert add(server, table, tmp_path) == counts(3, 4)
    expected = [(0, date(2024, 1, 1), "a/b"), (1, date(2024, 1, 1), "a/b"), (10, date(2024, 1, 2), None), (20, date(2024, 1, 2), "x y")]
    assert server.rows(f"SELECT * FROM {table} ORDER BY id") == expected
    assert server.rows(f"SELECT id FROM {table} WHERE kind = 'x y' AND day > DATE '2024-01-01'") == [(20,)]
    assert server.rows(f"SELECT count(*) FROM {table} WHERE kind IS NULL") == [(1,)]
    alike(server, spark, f"SELECT id, CAST(day AS varchar(10)), kind FROM {table} ORDER BY id")


def test_partitions_by_what_is_in_the_files(server, spark, tmp_path):
    at = [datetime(2024, 1, 1, hour) for hour in range(3)]
    pq.write_table(pa.table({"id": [1, 2, 3], "name": ["abc", "abd", "abe"], "at": pa.array(at, pa.timestamp("us"))}), tmp_path / "one.parquet")
    server.arrow("CREATE TABLE spark.told (id bigint, name varchar, at timestamp(6)) WITH (partitioning = ARRAY['day(at)', 'truncate(name, 2)', 'truncate(id, 10)'])")
    assert add(server, "spark.told", tmp_path) == counts(1, 3)
    assert server.rows('SELECT partition.at_day, partition.name_trunc, partition.id_trunc FROM spark."told$files"') == [(date(2024, 1, 1), "ab", 0)]
    alike(server, spark, "SELECT id, name FROM spark.told ORDER BY id")
    for partitioning, why in [("name", "several values of identity of column 'name'"), ("bucket(id, 4)", "several values of bucket"), ("hour(at)", "several values of hour")]:
        server.arrow(f"CREATE OR REPLACE TABLE spark.wrong (id bigint, name varchar, at timestamp(6)) WITH (partitioning = ARRAY['{partitioning}'])")
        with pytest.raises(Exception, match=f"INVALID_ARGUMENTS.*the partition of file.*one.parquet' is not known: its rows have {why}"):
            add(server, "spark.wrong", tmp_path)
    server.arrow("CREATE OR REPLACE TABLE spark.wrong (id bigint, kind varchar) WITH (partitioning = ARRAY['kind'])")
    with pytest.raises(Exception, match="it has no column 'kind'"):
        add(server, "spark.wrong", tmp_path)
    pq.write_table(pa.table({"x": [1.0, float("nan")]}), tmp_path / "one.parquet")
    server.arrow("CREATE OR REPLACE TABLE spark.wrong (x double) WITH (partitioning = ARRAY['x'])")
    with pytest.raises(Exception, match="do not say whether column 'x' is NaN"):
        add(server, "spark.wrong", tmp_path)


def test_moments_of_other_units(server, spark, tmp_path):
    """A table's moments are in microseconds. Spark adds others too, and then they are compared with what lies between them."""
    at = [datetime(2024, 1, 1, 12, 0, 0, millis * 1000) for millis in range(1, 4)]
    (tmp_path / "millis").mkdir()
    pq.write_table(pa.table({"id": [1, 2, 3], "at": pa.array(at, pa.timestamp("ms"))}), tmp_path / "millis/one.parquet", row_group_size=1)
    pq.write_table(pa.table({"id": [4], "at": pa.array([1], pa.timestamp("ns"))}), tmp_path / "nanos.parquet")
    pq.write_table(pa.table({"id": [5], "at": pa.array(at[:1], pa.timestamp("us"))}), tmp_path / "int96.parquet", use_deprecated_int96_timestamps=True)
    server.arrow("CREATE TABLE moments (id bigint, at timestamp(6))")
    for file, unit in [("millis/one", "milliseconds"), ("nanos", "nanoseconds")]:
        with pytest.raises(Exception, match=f"NOT_SUPPORTED.*column 'at' of file '.*{file}.parquet' is in {unit}"):
            add(server, "moments", tmp_path / f"{file}.parquet")
    assert add(server, "moments", tmp_path / "int96.parquet") == counts(1, 1)
    assert server.rows("SELECT id, at FROM moments") == [(5, at[0])]
    # Without bounds, which Spark takes for microseconds.
    spark.run(
        "CREATE TABLE spark.millis (id bigint, at timestamp_ntz) USING iceberg TBLPROPERTIES ('write.metadata.metrics.default'='none')",
        f"CALL lake.system.add_files(table => 'spark.millis', source_table => '`parquet`.`{tmp_path}/millis`')",
    )
    assert server.rows("SELECT id, at FROM spark.millis ORDER BY id") == list(zip([1, 2, 3], at))
    for condition, ids in {
        "< TIMESTAMP '2024-01-01 12:00:00.001500'": [1],
        ">= TIMESTAMP '2024-01-01 12:00:00.001500'": [2, 3],
        "= TIMESTAMP '2024-01-01 12:00:00.001500'": [],
        "= TIMESTAMP '2024-01-01 12:00:00.002'": [2],
    }.items():
        assert server.rows(f"SELECT id FROM spark.millis WHERE at {condition} ORDER BY id") == [(id,) for id in ids], condition


def test_texts_of_files_that_say_nothing_of_it(server, tmp_path):
    for name, words in {"texts": ["é".encode(), b""], "bytes": [b"a", b"\xff\xfe"]}.items():
        columns = {"id": [1], "name": pa.array(words[:1], pa.binary()), "tags": pa.array([words], pa.list_(pa.binary()))}
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    server.arrow("CREATE TABLE said (id bigint, name varchar, tags array(varchar))")
    assert add(server, "said", tmp_path / "texts.parquet") == counts(1, 1)
    with pytest.raises(Exception, match="INVALID_ARGUMENTS.*column 'tags' of file '.*bytes.parquet' has values that are no texts"):
        add(server, "said", tmp_path / "bytes.parquet")
    assert server.rows("SELECT * FROM said WHERE name = 'é'") == [(1, "é", ["é", ""])]
    server.arrow("CREATE TABLE names (name varchar)")
    assert add(server, "names", tmp_path / "bytes.parquet") == counts(1, 1)


def test_names_in_other_capitals(server, spark, tmp_path):
    """Columns are found whatever their capitals in the file, by others too; the rest of the names are what they were."""
    place = pa.array([{"Zip": 7}, None], pa.struct([("Zip", pa.int32())]))
    pq.write_table(pa.table({"id": [1, 2], "userId": [10, 20], "PLACE": place, "n": [1, 1], "N": [2, 2]}), tmp_path / "one.parquet")
    server.arrow("CREATE TABLE spark.capitals (id bigint, userId bigint, place row(zip integer), n bigint)")
    assert add(server, "spark.capitals", tmp_path / "one.parquet") == counts(1, 2)
    pq.write_table(pa.table({"ID": [3], "USERID": [30]}), tmp_path / "two.parquet")
    assert add(server, "spark.capitals", tmp_path / "two.parquet") == counts(1, 1)
    query = "SELECT id, userId, place.zip, n FROM spark.capitals ORDER BY id"
    assert alike(server, spark, query) == [(1, 10, 7, 1), (2, 20, None, 1), (3, 30, None, None)]
    assert server.rows("SELECT id FROM spark.capitals WHERE userId > 15 ORDER BY id") == [(2,), (3,)]
    server.arrow("ALTER TABLE spark.capitals RENAME COLUMN userId TO customer")
    assert server.rows("SELECT customer FROM spark.capitals ORDER BY id") == [(10,), (20,), (30,)]


def test_folders_of_columns_without_partitions(server, tmp_path):
    """What a folder says of a column is kept by its partition, or nowhere."""
    for name, columns in [("lacking", {"id": [1]}), ("having", {"id": [2], "kind": ["b"]})]:
        path = tmp_path / name / "kind=a"
        path.mkdir(parents=True)
        pq.write_table(pa.table(columns), path / "one.parquet")
    server.arrow("CREATE TABLE kinds (id bigint, kind varchar)")
    nested = "recursive_directory => 'true'"
    with pytest.raises(Exception, match="INVALID_ARGUMENTS.*folder of file '.*one.parquet' gives column 'kind' the value 'a', which is not in the file"):
        add(server, "kinds", tmp_path / "lacking", nested)
    assert add(server, "kinds", tmp_path / "having", nested) == counts(1, 1)
    assert server.rows("SELECT * FROM kinds") == [(2, "b")]
    server.arrow("CREATE TABLE by_kind (id bigint, kind varchar) WITH (partitioning = ARRAY['bucket(kind, 4)'])")
    with pytest.raises(Exception, match="INVALID_ARGUMENTS.*gives column 'kind' the value 'a'"):
        add(server, "by_kind", tmp_path / "lacking")


def test_what_cannot_be_added(server, tmp_path):
    path = tmp_path / "deep" / "x=1"
    path.mkdir(parents=True)
    pq.write_table(pa.table({"id": ["text"], "n": pa.array([None], pa.int64())}), path / "one.parquet")
    server.arrow("CREATE TABLE refused (id bigint, n bigint)")
    with pytest.raises(Exception, match="has folders in it.*recursive_directory"):
        add(server, "refused", tmp_path)
    with pytest.raises(Exception, match="there are no files at"):
        add(server, "refused", tmp_path, "recursive_directory => 'false'")
    with pytest.raises(Exception, match="there are no files at"):
        add(server, "refused", tmp_path / "nowhere")
    with pytest.raises(Exception, match="column 'id' is Utf8 in a data file"):
        add(server, "refused", path)
    with pytest.raises(Exception, match="files of format 'ORC' cannot be added"):
        add(server, "refused", path, "format => 'ORC'")
    server.arrow("CREATE TABLE required (id varchar, n bigint NOT NULL)")
    with pytest.raises(Exception, match="CONSTRAINT_VIOLATION.*column 'n' of table default.required does not take NULL"):
        add(server, "required", path)
    server.arrow("CREATE TABLE lacking (id varchar, m bigint NOT NULL)")
    with pytest.raises(Exception, match="has no column 'm', which is required"):
        add(server, "lacking", path)
    server.arrow("CREATE TABLE strange (a bigint)")
    with pytest.raises(Exception, match="has none of the columns of table"):
        add(server, "strange", path)
    (path / "two.parquet").write_text("PAR1 this is no footer PAR1")
    server.arrow("CREATE TABLE texts (id varchar)")
    with pytest.raises(Exception, match="two.parquet' is not a readable Parquet file"):
        add(server, "texts", path)
    for table in ["refused", "required", "lacking", "strange", "texts"]:
        assert server.rows(f'SELECT count(*) FROM "{table}$snapshots"') == [(0,)]
    assert add(server, "texts", path / "one.parquet") == counts(1, 1)
    assert server.rows("SELECT * FROM texts") == [("text",)]


def test_files_of_two_tables(server, tmp_path):
    """What several tables have adopted stays when one of them has no use for it any more; what lies within the table is its own."""
    pq.write_table(pa.table({"id": [1, 2, 3]}), tmp_path / "shared.parquet")
    for table in ["first_owner", "second_owner"]:
        server.arrow(f"CREATE TABLE {table} (id bigint)")
        add(server, table, tmp_path)
        server.arrow(f"INSERT INTO {table} VALUES 4")
    own = [file for (file,) in server.rows('SELECT file_path FROM "first_owner$files"') if "shared" not in file]
    server.arrow("CREATE OR REPLACE TABLE first_owner AS SELECT 5 AS id")
    server.rows("ALTER TABLE first_owner EXECUTE expire_snapshots('0s')")
    assert server.rows("SELECT id FROM second_owner ORDER BY id") == [(1,), (2,), (3,), (4,)]
    assert len(own) == 1 and not Path(own[0].removeprefix("file://")).exists()
    server.arrow("DROP TABLE second_owner")
    assert (tmp_path / "shared.parquet").exists()
