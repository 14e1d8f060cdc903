"""Files in: table functions, COPY INTO and `nunatak ingest`, over CSV, JSON and Parquet, plain and compressed."""

import datetime
import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

GOOD = "id,name,at,score\n1,Åse,2024-05-01T08:00:00,1.5\n2,NA,2024-05-02T09:30:00,NA\n3,\"x, \"\"y\"\"\",2024-05-03T00:00:00,-2\n"
ROWS = [
    (1, "Åse", datetime.datetime(2024, 5, 1, 8), 1.5),
    (2, None, datetime.datetime(2024, 5, 2, 9, 30), None),
    (3, 'x, "y"', datetime.datetime(2024, 5, 3), -2.0),
]
BAD = "id,name\n1,a\n2,b\nthree,c\n4,d\n"


def written(path, text):
    """Writes text as the file's ending says: plain, gzip or zstd."""
    data = text.encode()
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        data = zstandard.compress(data)
    path.write_bytes(data)
    return path


@pytest.fixture(params=["", ".gz", ".zst"], ids=["plain", "gzip", "zstd"])
def compression(request):
    return request.param


def test_read_csv(server, tmp_path, compression):
    path = written(tmp_path / f"good.csv{compression}", GOOD)
    assert server.rows(f"SELECT * FROM read_csv('{path}', null_value => 'NA') ORDER BY id") == ROWS


def test_read_json(server, tmp_path, compression):
    lines = [{"id": row[0], "name": row[1], "at": row[2].isoformat(), "score": row[3]} for row in ROWS]
    path = written(tmp_path / f"good.json{compression}", "\n".join(map(json.dumps, lines)))
    assert server.rows(f"SELECT id, name, score FROM read_json('{path}') ORDER BY id") == [(row[0], row[1], row[3]) for row in ROWS]


def test_read_parquet_and_glob(server, tmp_path):
    for part in range(3):
        pyarrow.parquet.write_table(pyarrow.table({"n": [part * 10, part * 10 + 1]}), tmp_path / f"part-{part}.parquet")
    assert server.value(f"SELECT sum(n) FROM read_parquet('{tmp_path}/part-*.parquet')") == 63
    assert server.value(f"SELECT sum(n) FROM read_parquet('{tmp_path}/part-1.parquet')") == 21


def test_types_are_inferred(server, tmp_path):
    path = written(tmp_path / "types.csv", "i,d,b,day,at,s\n1,1.5,true,2024-05-01,2024-05-01T00:00:00Z,x\n-2,2,false,1999-12-31,2024-05-01T12:00:00Z,01x\n")
    server.rows(f"CREATE TABLE inferred AS SELECT * FROM read_csv('{path}')")
    types = dict(row[:2] for row in server.rows("DESCRIBE inferred"))
    assert [types[name] for name in "idbs"] == ["bigint", "double", "boolean", "varchar"]
    assert types["day"] == "date" and types["at"].startswith("timestamp(6)")


def test_a_type_that_changes_late_is_no_wrong_answer(server, tmp_path):
    """A column that looks like numbers for 100,000 rows and then is not: an error with its line, or text; never a lost row."""
    path = written(tmp_path / "late.csv", "a\n" + "1\n" * 100_000 + "x\n")
    try:
        assert server.value(f"SELECT count(a) FROM read_csv('{path}')") == 100_001
    except Exception as error:
        assert "late.csv:100002" in str(error)


def test_columns_can_be_declared(server, tmp_path, failure):
    path = written(tmp_path / "codes.csv", "code,n\n007,1\n,2\n")
    assert server.rows(f"SELECT * FROM read_csv('{path}') ORDER BY n") == [(7, 1), (None, 2)]
    declared = f"read_csv('{path}', columns => 'code varchar, n decimal(5, 2)')"
    table = server.arrow(f"SELECT * FROM {declared} ORDER BY n")
    assert table.column("code").to_pylist() == ["007", None] and str(table.schema.field("n").type) == "decimal128(5, 2)"
    text = failure(server, f"SELECT * FROM read_csv('{path}', columns => 'code bigint, n dat')")
    assert "INVALID_ARGUMENTS" in text and "line 1:16: type 'dat' does not exist" in text
    lines = written(tmp_path / "codes.json", '{"code": "007", "n": 1}')
    assert server.rows(f"SELECT * FROM read_json('{lines}', columns => 'n integer, code varchar')") == [(1, "007")]


def test_copy_into(server, tmp_path, compression):
    path = written(tmp_path / f"good.csv{compression}", GOOD)
    name = f"copied{compression.replace('.', '_')}"
    server.rows(f"CREATE TABLE {name} (id bigint, name varchar, at timestamp(6), score double)")
    assert server.value(f"COPY INTO {name} FROM '{path}' (FORMAT csv, HEADER true, NULL_VALUE 'NA')") == 3
    assert server.rows(f"SELECT * FROM {name} ORDER BY id") == ROWS
    assert server.value(f"COPY INTO {name} FROM '{path}' (FORMAT csv, HEADER true, NULL_VALUE 'NA')") == 3
    assert server.value(f"SELECT count(*) FROM {name}") == 6


def test_a_bad_row_names_its_line_and_nothing_is_committed(server, tmp_path, failure):
    path = written(tmp_path / "bad.csv", BAD)
    server.rows("CREATE TABLE bad (id bigint, name varchar)")
    text = failure(server, f"COPY INTO bad FROM '{path}' (FORMAT csv, HEADER true)")
    assert "BAD_FILE_ROW" in text and "bad.csv:4" in text and "three" in text and "id" in text
    assert server.value("SELECT count(*) FROM bad") == 0
    assert server.rows('SELECT * FROM "bad$snapshots"') == []

    assert server.value(f"COPY INTO bad FROM '{path}' (FORMAT csv, HEADER true, ON_ERROR skip)") == 3
    assert server.rows("SELECT id FROM bad ORDER BY id") == [(1,), (2,), (4,)]


@pytest.mark.parametrize(
    ("line", "why"), [("1", "too few fields"), ("1,a,b", "too many fields"), ('1,"a', "an open quote"), ("99999999999999999999,a", "out of range")]
)
def test_rows_of_the_wrong_shape(server, tmp_path, failure, line, why):
    path = written(tmp_path / "shape.csv", f"id,name\n1,a\n{line}\n")
    server.rows("CREATE TABLE IF NOT EXISTS shape (id bigint, name varchar)")
    text = failure(server, f"COPY INTO shape FROM '{path}' (FORMAT csv, HEADER true)")
    assert "BAD_FILE_ROW" in text and "shape.csv:3" in text, why
    assert server.value("SELECT count(*) FROM shape") == 0


def test_a_bad_json_row(server, tmp_path, failure):
    path = written(tmp_path / "bad.json", '{"id": 1}\n{"id": "x"}\n')
    server.rows("CREATE TABLE bad_json (id bigint)")
    assert "bad.json:2" in failure(server, f"COPY INTO bad_json FROM '{path}' (FORMAT json)")


def test_files_that_are_not_there(server, tmp_path, failure):
    server.rows("CREATE TABLE IF NOT EXISTS absent (id bigint)")
    assert "absent.csv" in failure(server, f"COPY INTO absent FROM '{tmp_path}/absent.csv' (FORMAT csv)")
    assert "absent-*.csv" in failure(server, f"SELECT * FROM read_csv('{tmp_path}/absent-*.csv')")


def test_ingest_creates_the_table(server, tmp_path):
    path = written(tmp_path / "good.csv", GOOD)
    run = server.nunatak("ingest", path, "--table", "drop_box.good", "--partitioning", "month(at)", "--null-value", "NA")
    assert run.returncode == 0, run.stderr
    assert server.rows("SELECT * FROM drop_box.good ORDER BY id") == ROWS
    assert "month(at)" in server.value("SHOW CREATE TABLE drop_box.good")
    run = server.nunatak("ingest", path, "--table", "drop_box.good", "--null-value", "NA")
    assert run.returncode == 0, run.stderr
    assert server.value("SELECT count(*) FROM drop_box.good") == 6


def test_ingest_of_a_bad_file(server, tmp_path):
    server.rows("CREATE TABLE ingest_bad (id bigint, name varchar)")
    run = server.nunatak("ingest", written(tmp_path / "bad.csv", BAD), "--table", "default.ingest_bad")
    assert run.returncode == 1 and "bad.csv:4" in run.stderr
    assert server.value("SELECT count(*) FROM ingest_bad") == 0
    run = server.nunatak("ingest", tmp_path / "absent.csv", "--table", "default.ingest_bad")
    assert run.returncode != 0 and "absent.csv" in run.stderr


