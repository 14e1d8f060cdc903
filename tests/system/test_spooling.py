"""Spooled results: segments in a folder and in MinIO, fetched by Trino's own clients and by our client for Arrow; who may have them, and how they are deleted."""

import base64
import contextlib
import json
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import lz4.block
import nunatak_arrow
import pyarrow
import pytest
import requests
import trino as trino_client
import zstandard

from nunatak_testing.java_checks import names, outcomes
from nunatak_testing.server import ROOT, Server, eventually, free_port
from nunatak_testing.trino_http import answers, call, post, run
from servers.etcd import Etcd
from servers.minio import Minio

JARS = ROOT / ".cache/jars"
SOURCE = Path(__file__).parent / "java/SpoolingCheck.java"
JSON = ["json", "json+zstd", "json+lz4"]
PARAMETRIC = {"X-Trino-Client-Capabilities": "PARAMETRIC_DATETIME"}
SEGMENT_MAX = 256 << 10
SETTINGS = f"""
segment_initial = "64KiB"
segment_max = "{SEGMENT_MAX}B"
inline_rows = 10
inline_max = "4KiB"
"""
SECRET = "what only coordinators of this cluster know"
# More rows than come in an answer, and many more.
FEW = "SELECT n, text FROM {} ORDER BY n LIMIT 20"
MANY = "SELECT n, text FROM {} WHERE n < 100000"
ENDLESS = "SELECT a.n, b.text FROM {0} a CROSS JOIN {0} b"
# Values of all kinds that have a form of their own in JSON.
NAN = "CAST('NaN' AS double)"
EXPRESSIONS = [
    "CAST(n AS tinyint)", "BIGINT '9007199254740993'", "REAL '0.1'", NAN, "DECIMAL '12345678901234567890.0123456789'", "'ü \"quoted\" \\ line'", "X'00ff'", "DATE '0001-01-01'",
    "TIMESTAMP '1969-12-31 23:59:59.999999'", "TIMESTAMP '2024-01-01 01:02:03.123456 UTC'", "TIME '01:02:03.123456'", "INTERVAL '2' DAY", "INTERVAL '-3' MONTH",
    "ARRAY[ARRAY[1, NULL], NULL]", "MAP(ARRAY['k'], ARRAY[1.5e0])", "ROW(1, 'x')", "CAST(NULL AS varchar)",
]
VALUES = ", ".join(f"{expression} AS v{number}" for number, expression in enumerate(EXPRESSIONS))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """It spools into its data directory, without being told."""
    folder = tmp_path_factory.mktemp("server")
    config = folder / "nunatak.toml"
    config.write_text(f'[server]\nclient_timeout = "3s"\n[spooling]{SETTINGS}')
    with Server(folder / "data", "--config", config) as server:
        yield server


def files(server):
    return sorted((server.data_dir / "spooled").iterdir())


def wants(encoding):
    return PARAMETRIC | {"X-Trino-Query-Data-Encoding": encoding}


def pieces(server, sql, encoding):
    """The segments of a result, as the answers tell of them, and its columns."""
    segments, columns = [], None
    for _, answer in answers(server, sql, wants(encoding)):
        assert "error" not in answer, answer
        columns = answer.get("columns", columns)
        if data := answer.get("data"):
            assert data["encoding"] == encoding
            segments += data["segments"]
    return segments, columns


def content(segment):
    """The bytes of a segment, checked against what is told of it."""
    found = base64.b64decode(segment["data"]) if segment["type"] == "inline" else fetch(segment["uri"]).content
    assert len(found) == segment["metadata"]["segmentSize"]
    return found


def spooled(server, sql, encoding):
    """How many segments the server has written for the last run of a query, whose client has asked for an encoding: who gets rows in answers has them too."""
    told = [query for query in call(f"http://{server.http}/v1/query")[2] if query["query"] == sql]
    assert told and told[-1]["spooledEncoding"] == encoding, told
    return told[-1]["spooledSegments"]


def fetch(uri):
    answer = requests.get(uri, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer


def rows_of(segment, encoding):
    """The rows of a segment in JSON."""
    found, size = content(segment), segment["metadata"].get("uncompressedSize")
    if size is not None:
        found = zstandard.decompress(found) if encoding == "json+zstd" else lz4.block.decompress(found, uncompressed_size=size)
        assert len(found) == size
    return json.loads(found)


@pytest.mark.parametrize("encoding", JSON)
def test_segments_have_the_rows_of_answers(server, numbers, encoding):
    """All of them, in their order, in segments that grow up to a limit; a segment is deleted when its client says that it has it."""
    before = files(server)
    segments, columns = pieces(server, MANY.format(numbers), encoding)
    spooled = [segment for segment in segments if segment["type"] == "spooled"]
    assert len(spooled) > 5 and [column["name"] for column in columns] == ["n", "text"]
    rows, sizes = [], []
    for segment in segments:
        facts = segment["metadata"]
        assert facts["rowOffset"] == len(rows)
        found = rows_of(segment, encoding)
        assert len(found) == facts["rowsCount"]
        rows += found
        sizes.append(facts.get("uncompressedSize", facts["segmentSize"]))
    assert sorted(rows) == [[n, f"row {n}"] for n in range(100_000)]
    assert sizes[0] < 2.2 * (64 << 10) and SEGMENT_MAX < max(sizes) < 2.2 * SEGMENT_MAX
    assert len(files(server)) == len(before) + len(spooled)
    for segment in spooled:
        assert fetch(segment["uri"]).headers["Content-Type"] == "application/octet-stream"
        for _ in range(2):
            assert requests.get(segment["ackUri"], timeout=30).status_code == 200
        assert requests.get(segment["uri"], timeout=30).status_code == 404
    assert files(server) == before


def test_values_are_written_as_in_answers(server, numbers):
    sql = f"SELECT {VALUES} FROM {numbers} WHERE n < 12"
    direct = run(server, sql, PARAMETRIC)
    for encoding in JSON:
        segments, columns = pieces(server, sql, encoding)
        assert [segment["type"] for segment in segments] == ["spooled"] and columns == direct["columns"]
        assert sorted(rows_of(segments[0], encoding), key=str) == sorted(direct["data"], key=str)


def test_few_rows_come_with_the_answer(server, numbers):
    for sql, rows in [("SELECT 1, 'x'", [[1, "x"]]), (f"SELECT n FROM {numbers} WHERE n < 10 ORDER BY n", [[n] for n in range(10)])]:
        (segment,), _ = pieces(server, sql, "json+zstd")
        assert (segment["type"], rows_of(segment, "json+zstd")) == ("inline", rows)
    assert pieces(server, f"SELECT n FROM {numbers} WHERE n < 0", "json+zstd")[0] == []
    # The count of an update comes as ever, and so do rows for those who ask for nothing that is known.
    server.rows("CREATE TABLE counted (a bigint)")
    assert run(server, "INSERT INTO counted VALUES 1, 2", wants("json"))["data"] == [[2]]
    assert len(run(server, FEW.format(numbers), wants("protobuf,xml"))["data"]) == 20
    first = next(data for _, answer in answers(server, FEW.format(numbers), wants("protobuf, JSON+LZ4, json")) if (data := answer.get("data")))
    assert first["encoding"] == "json+lz4"


def test_rows_larger_than_a_segment(server, numbers):
    segments, _ = pieces(server, f"SELECT n, rpad('', 1000000, 'x') FROM {numbers} WHERE n < 5", "json+zstd")
    assert [segment["metadata"]["rowsCount"] for segment in segments] == [1] * 5
    assert all(len(row[1]) == 1_000_000 for segment in segments for row in rows_of(segment, "json+zstd"))


def test_only_addresses_that_were_given_out_are_served(server, numbers):
    (one, *_), _ = pieces(server, FEW.format(numbers), "json")
    token = one["uri"].rsplit("/", 1)[1]
    name, _, signature = token.rpartition(".")
    later = str(int(name[:13]) + 1) + name[13:]
    for kind in ("download", "ack"):
        address = lambda token: f"http://{server.http}/v1/spooled/{kind}/{token}"
        for forged in (f"{later}.{signature}", f"{name}.{signature[::-1]}", name, "x", f"{name}.", "..%2F..%2Fcatalog.sqlite"):
            assert requests.get(address(forged), timeout=30).status_code == 403, forged
        assert requests.delete(address(token), timeout=30).status_code == 405
    assert len(rows_of(one, "json")) == 20
    assert call(f"http://{server.http}/v1/spooled/other/{token}")[0] == 404


def started(server, sql, encoding="json+zstd"):
    """A query of which some rows were taken: the last answer."""
    _, _, answer = post(server, sql, wants(encoding))
    while "data" not in answer:
        answer = call(answer["nextUri"])[2]
    return answer


def test_a_query_waits_for_its_client_and_leaves_nothing_behind(server, numbers):
    """Segments are written a few ahead of the client; they are deleted with a query that is cancelled, or whose client is gone."""
    before = files(server)
    for end in ("cancelled", "gone"):
        answer = started(server, ENDLESS.format(numbers))
        assert eventually(lambda: server.is_idle(0.2), 3) and len(before) < len(files(server)) < len(before) + 12
        if end == "cancelled":
            assert call(answer["nextUri"], method="DELETE")[0] == 204
        assert eventually(lambda: files(server) == before, 6), end
        assert call(answer["nextUri"])[2]["error"]["errorName"] == "USER_CANCELED"


def test_segments_before_an_error_are_there(server):
    """Its client fetches what was told of before, and then comes to the error."""
    sql = "SELECT a.n, 1 / (1000 * a.n + b.n - 300000) FROM UNNEST(sequence(0, 999)) a(n) CROSS JOIN UNNEST(sequence(0, 999)) b(n)"
    segments = []
    for _, answer in answers(server, sql, wants("json+zstd")):
        segments += answer.get("data", {}).get("segments", [])
    assert answer["error"]["errorName"] == "DIVISION_BY_ZERO" and segments[0]["type"] == "spooled"
    assert all(len(rows_of(segment, "json+zstd")) == segment["metadata"]["rowsCount"] for segment in segments)


def test_a_client_that_says_so_is_still_there(server, numbers):
    """By HEAD requests, or by fetching segments, for longer than `server.client_timeout`."""
    answer = started(server, ENDLESS.format(numbers))
    (segment,) = answer["data"]["segments"]
    for number in range(8):
        time.sleep(0.5)
        assert call(answer["nextUri"], method="HEAD")[0] == 200 if number % 4 else content(segment)
    assert "data" in call(answer["nextUri"])[2]
    assert call(answer["nextUri"].replace("executing/", "executing/x"), method="HEAD")[0] == 404
    assert call(answer["nextUri"], method="DELETE")[0] == 204


def connect(server, **options):
    host, port = server.http.split(":")
    return trino_client.dbapi.connect(host=host, port=int(port), user="ada", catalog="lake", schema="default", **options)


@pytest.mark.parametrize("encoding", [*JSON, None])
def test_python_client(server, numbers, encoding):
    """Without an encoding it asks for those that it has, and gets the first of them."""
    options = {} if encoding is None else {"encoding": encoding}
    with connect(server, **options) as connection:
        cursor = connection.cursor()
        assert sum(row[0] for row in cursor.execute(MANY.format(numbers)).fetchall()) == sum(range(100_000))
        assert spooled(server, MANY.format(numbers), encoding or "json+zstd") > 5
        cursor.execute(f"SELECT DECIMAL '1.50', TIMESTAMP '2024-01-01 01:02:03.123456 UTC', ARRAY[ROW(1, 'x')] FROM {numbers} WHERE n < 20")
        assert [str(value) for value in cursor.fetchone()[:2]] == ["1.50", "2024-01-01 01:02:03.123456+00:00"]
        assert len(cursor.fetchall()) == 19
        assert cursor.execute(f"SELECT n FROM {numbers} WHERE n < 0").fetchall() == []


def test_python_client_deletes_what_it_has(server, numbers):
    before = files(server)
    with connect(server, encoding="json+zstd") as connection:
        assert len(connection.cursor().execute(MANY.format(numbers)).fetchall()) == 100_000
    assert eventually(lambda: files(server) == before, 5)


@pytest.mark.parametrize("encoding", ["json+zstd", "json+lz4"])
def test_cli(server, numbers, encoding):
    (cli,) = JARS.glob("trino-cli-*.jar")
    command = ["java", "-jar", cli, "--server", f"http://{server.http}", "--user", "ada", "--catalog", "lake", "--schema", "default", "--encoding", encoding]
    ran = subprocess.run([*command, "--execute", f"SELECT n FROM {numbers} WHERE n < 50000"], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert sum(int(line.strip('"')) for line in ran.stdout.split()) == sum(range(50_000))
    assert spooled(server, f"SELECT n FROM {numbers} WHERE n < 50000", encoding) > 1


@pytest.fixture(scope="module")
def outcome(server, numbers):
    (driver,) = JARS.glob("trino-jdbc-*.jar")
    return outcomes(SOURCE, driver, f"jdbc:trino://{server.http}/lake/default")


@pytest.mark.parametrize("check", names(SOURCE))
def test_jdbc(outcome, check):
    assert check in outcome, outcome
    assert outcome[check].startswith("ok "), outcome[check]


def test_jdbc_was_given_segments(server, outcome):
    told = [query for query in call(f"http://{server.http}/v1/query")[2] if query["query"].endswith("FROM numbers ORDER BY n LIMIT 50000")]
    assert [query["spooledEncoding"] for query in told] == JSON and all(query["spooledSegments"] > 5 for query in told)


def test_arrow(server, numbers):
    """Our client has the types and values that Flight SQL gives, fetches and deletes segments, and ends what it does not want any more."""
    before = files(server)
    with nunatak_arrow.connect(f"http://{server.http}", user="ada", catalog="lake", schema="default") as lake:
        found = lake.table(MANY.format(numbers)).sort_by("n")
        assert found.equals(server.arrow(MANY.format(numbers)).sort_by("n"))
        assert spooled(server, MANY.format(numbers), "arrow+zstd") > 5
        assert eventually(lambda: files(server) == before, 5)
        for rows in (20, 1):
            # NaN is not equal to itself.
            sql = f"SELECT {VALUES.replace(NAN, '0.5e0')} FROM {numbers} WHERE n < {rows} ORDER BY n"
            assert lake.table(sql).equals(server.arrow(sql))
        empty = lake.table(f"SELECT n, text FROM {numbers} WHERE n < 0")
        assert (empty.num_rows, empty.schema.names, empty.schema.types) == (0, ["n", "text"], [pyarrow.int64(), pyarrow.string()])
        with lake.execute(ENDLESS.format(numbers)) as result:
            assert next(result).num_rows > 0
        assert eventually(lambda: files(server) == before and server.is_idle(0.2), 5)
        with lake.execute("CREATE TABLE arrow AS SELECT 1 AS a") as result:
            assert (result.update_type, result.update_count, result.schema) == ("CREATE TABLE", 1, None)
        with pytest.raises(nunatak_arrow.Error, match="TABLE_NOT_FOUND"):
            lake.table("SELECT * FROM nothing")


def load(server, numbers_file, rows=30_000, table="numbers"):
    server.rows(f"CREATE TABLE {table} AS SELECT * FROM read_parquet('{numbers_file}') WHERE n < {rows}")


def test_segments_in_a_store(tmp_path, numbers_file):
    """Clients fetch from MinIO itself, by addresses that it takes for a time; what nobody has fetched is swept; without MinIO rows come in the answers."""
    with Minio(tmp_path / "minio", "spool") as minio:
        config = tmp_path / "nunatak.toml"
        storage = "".join(f'"{name}" = "{value}"\n' for name, value in (minio.settings | {"s3.retry.timeout-ms": "500"}).items())
        spooling = f'location = "s3://spool/results/"\nretrieval = "storage"\nttl = "6s"\n{SETTINGS}[spooling.storage]\n{storage}'
        config.write_text(f"[spooling]\n{spooling}")
        with Server(tmp_path / "data", "--config", config) as server:
            load(server, numbers_file)
            objects = lambda: list((minio.folder / "data/spool").rglob("xl.meta"))
            with connect(server, encoding="json+zstd") as connection:
                assert len(connection.cursor().execute("SELECT n, text FROM numbers").fetchall()) == 30_000
            assert eventually(lambda: not objects(), 5)
            segments, _ = pieces(server, "SELECT n, text FROM numbers", "json+lz4")
            assert all(segment["uri"].startswith(f"{minio.endpoint}/spool/results/") for segment in segments) and len(objects()) == len(segments) > 2
            assert sorted(row[0] for segment in segments for row in rows_of(segment, "json+lz4")) == list(range(30_000))
            # The server has them, too.
            at_server = segments[0]["ackUri"].replace("/ack/", "/download/")
            assert fetch(at_server).content == content(segments[0])
            assert requests.get(segments[0]["uri"].replace("results/1", "results/2"), timeout=30).status_code in (403, 404)
            assert requests.get(segments[1]["ackUri"], timeout=30).status_code == 200 and len(objects()) == len(segments) - 1
            assert eventually(lambda: not objects(), 11)
            assert requests.get(at_server, timeout=30).status_code == 404 and requests.get(segments[0]["uri"], timeout=30).status_code in (403, 404)
            minio.kill()
            segments, _ = pieces(server, "SELECT n, text FROM numbers", "json+zstd")
            assert {segment["type"] for segment in segments} == {"inline"}
            assert sorted(row[0] for segment in segments for row in rows_of(segment, "json+zstd")) == list(range(30_000))
            assert sum("cannot be spooled" in line for line in server.log) == 1


def test_segments_outlive_the_server_and_not_their_time(tmp_path, numbers_file):
    config = tmp_path / "nunatak.toml"
    config.write_text(f'[spooling]\nsecret = "{SECRET}"\nttl = "7s"\n{SETTINGS}')
    server = Server(tmp_path / "data", "--config", config).start()
    load(server, numbers_file)
    segments, _ = pieces(server, "SELECT n, text FROM numbers", "json")
    assert len(files(server)) == len(segments)
    server.kill()
    with Server(tmp_path / "data", "--config", config) as again:
        (again.data_dir / "spooled/of somebody else").write_text("")
        here = lambda segment: segment | {"uri": f"http://{again.http}{urlsplit(segment['uri']).path}"}
        assert sum(len(rows_of(here(segment), "json")) for segment in segments) == 30_000
        assert eventually(lambda: [file.name for file in files(again)] == ["of somebody else"], 12)
        assert requests.get(here(segments[0])["uri"], timeout=30).status_code == 404


def test_any_coordinator_serves_segments(tmp_path, numbers_file):
    """By the key that the cluster has in etcd. A coordinator that nobody has told where spools nothing."""
    (tmp_path / "lake").mkdir()
    config = tmp_path / "nunatak.toml"
    config.write_text(f"[catalog.lake]\ntype = 'hadoop'\nwarehouse = 'file://{tmp_path}/lake'\n[spooling]\nlocation = 'file://{tmp_path}/shared'\n{SETTINGS}")
    with contextlib.ExitStack() as stack:
        etcd = stack.enter_context(Etcd(tmp_path / "etcd", count=1))
        members = ["--config", config, "--etcd", etcd.endpoints, "--slots", 2, "--memory", "1GiB"]
        started = [Server(tmp_path / f"data-{number}", *members, "--cluster", f"127.0.0.1:{free_port()}", role="coordinator") for number in range(2)]
        one, other = (stack.enter_context(coordinator) for coordinator in started)
        one.rows("CREATE SCHEMA t")
        load(one, numbers_file, table="t.numbers")
        shared = lambda: list((tmp_path / "shared").iterdir())
        segments, _ = pieces(one, "SELECT n, text FROM t.numbers", "json+zstd")
        assert len(shared()) == len(segments) > 2
        there = lambda uri: f"http://{other.http}{urlsplit(uri).path}"
        for segment in segments:
            assert fetch(there(segment["uri"])).content == content(segment)
            assert requests.get(there(segment["ackUri"]), timeout=30).status_code == 200
        assert shared() == []
    with Server(tmp_path / "alone", "--cluster", f"127.0.0.1:{free_port()}", role="coordinator") as alone:
        load(alone, numbers_file, rows=20)
        assert len(run(alone, "SELECT n FROM numbers", wants("json+zstd"))["data"]) == 20
        assert call(f"http://{alone.http}/v1/spooled/download/x")[0] == 404
        with nunatak_arrow.connect(f"http://{alone.http}", user="ada") as lake, pytest.raises(nunatak_arrow.Error, match="does not spool results"):
            lake.table("SELECT n FROM numbers")
