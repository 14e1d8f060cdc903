"""MinIO that is killed in the middle of queries and of writes, and is there again after a while; and commits of two hundred clients at once."""

import concurrent.futures
import contextlib
import threading
import time

import pyarrow
import pyarrow.compute
import pyarrow.parquet
import pytest

from nunatak_testing.server import MODES, Cluster, Server, closing, eventually, in_mode, section

ROWS = 1_000_000
SUM = ROWS * (ROWS - 1) // 2
COMMITS = 200


@pytest.fixture(scope="module")
def lake(minio, tmp_path_factory):
    """The configuration of a catalog over the bucket."""
    path = tmp_path_factory.mktemp("config") / "nunatak.toml"
    path.write_text(section("s3", {"type": "hadoop", "warehouse": "s3://lake/killed", **minio.settings}))
    return path


@pytest.fixture(scope="module")
def cluster(lake, tmp_path_factory):
    """Two executors, and a table of many files with several row groups each, whose rows add up to `SUM`."""
    folder = tmp_path_factory.mktemp("killed")
    with Cluster(folder, "--config", lake, executors=2, slots=1) as cluster:
        numbers = range(ROWS)
        texts = pyarrow.array(f"{number * 7919 % 1_000_003:x}-{number:x}-{number * 104_729 % 999_983:x}" for number in numbers)
        pyarrow.parquet.write_table(pyarrow.table({"n": pyarrow.array(numbers, pyarrow.int64()), "text": texts}), folder / "rows.parquet", row_group_size=50_000)
        cluster.rows("CREATE SCHEMA s3.s")
        properties = "partitioning = ARRAY['bucket(n, 12)'], extra_properties = MAP(ARRAY['write.parquet.row-group-size-bytes'], ARRAY['500000'])"
        cluster.rows(f"CREATE TABLE s3.s.t (n bigint, text varchar) WITH ({properties})")
        assert cluster.value(f"INSERT INTO s3.s.t SELECT * FROM read_parquet('{folder}/rows.parquet')") == ROWS
        yield cluster


@contextlib.contextmanager
def outage(minio, seconds):
    """MinIO is killed, and is there again a while later, at the same port and with the same files. The end is not before that."""
    minio.kill()
    restart = threading.Timer(seconds, minio.start)
    restart.start()
    try:
        yield
    finally:
        restart.join()


@pytest.mark.parametrize("mode", MODES)
def test_minio_restarts_in_the_middle_of_a_query(cluster, minio, mode):
    """Its first rows are with the client already, so that nobody may begin it anew."""
    with cluster.connect(headers=in_mode(mode)) as connection, closing(connection.cursor()) as cursor:
        rows = cursor.execute("SELECT n, text FROM s3.s.t").fetch_record_batch()
        first = rows.read_next_batch()
        count, total = first.num_rows, pyarrow.compute.sum(first.column("n")).as_py()
        assert 0 < count < ROWS / 10
        with outage(minio, 1.5):
            for batch in rows:
                count += batch.num_rows
                total += pyarrow.compute.sum(batch.column("n")).as_py() or 0
    assert (count, total) == (ROWS, SUM)


def written(minio, table):
    """How many files a table has got, whether or not anybody knows of them; also those that are under way."""
    folders = [minio.folder / "data/lake/killed/s" / table / "data", minio.folder / "data/.minio.sys/multipart"]
    return sum(path.is_file() for folder in folders for path in folder.rglob("*"))


@contextlib.contextmanager
def writing(cluster, minio, table, sql, mode):
    """A statement that has begun to write to a table, and runs."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        before = written(minio, table)
        running = pool.submit(cluster.value, sql, headers=in_mode(mode))
        assert eventually(lambda: written(minio, table) > before or running.done(), 60) and not running.done()
        yield running


@pytest.mark.parametrize(
    ("verb", "mode", "seconds"),
    # All requests have 30 s, so that none gives up in 8 s.
    [("insert", "local", 1.5), ("insert", "pipelined", 8), ("insert", "fault_tolerant", 1.5), *(("create", mode, 1.5) for mode in MODES)],
)
def test_minio_restarts_in_the_middle_of_a_write(cluster, minio, verb, mode, seconds):
    table = f"{verb}_{mode}"
    rows = "SELECT t.* FROM s3.s.t CROSS JOIN (VALUES 1, 2, 3) v(i)"
    sql = f"CREATE TABLE s3.s.{table} AS {rows}"
    if verb == "insert":
        cluster.rows(f"CREATE TABLE s3.s.{table} (n bigint, text varchar)")
        sql = f"INSERT INTO s3.s.{table} {rows}"
    with writing(cluster, minio, table, sql, mode) as running:
        with outage(minio, seconds):
            pass
        assert running.result(120) == 3 * ROWS
    assert cluster.rows(f"SELECT count(*), sum(n) FROM s3.s.{table}") == [(3 * ROWS, 3 * SUM)]
    assert cluster.value(f'SELECT count(*) FROM s3.s."{table}$snapshots"') == 1


@pytest.mark.parametrize("mode", MODES)
def test_minio_is_away_for_longer_than_is_waited(cluster, minio, mode):
    """What is written is not seen, unless all of it is: tasks may run again. Other statements are as good as before."""
    settings = ", ".join(f"\"{name}\" = '{value}'" for name, value in (minio.settings | {"s3.retry.timeout-ms": "500"}).items())
    cluster.rows(f"CREATE CATALOG hasty USING hadoop WITH (warehouse = 's3://lake/killed', {settings})")
    table = f"hasty_{mode}"
    sql = f"CREATE TABLE hasty.s.{table} AS SELECT t.* FROM hasty.s.t CROSS JOIN (VALUES 1, 2, 3) v(i)"
    with writing(cluster, minio, table, sql, mode) as running:
        with outage(minio, 4):
            pass
        error = running.exception(120)
    expected = [(table,)] if error is None else []
    assert error is None or "STORAGE_UNAVAILABLE" in str(error) and f"http://{minio.address}" in str(error), error
    assert cluster.rows(f"SHOW TABLES FROM s3.s LIKE '{table.replace('_', '%')}'") == expected
    cluster.rows(f"CREATE TABLE IF NOT EXISTS s3.s.{table} AS SELECT t.* FROM s3.s.t CROSS JOIN (VALUES 1, 2, 3) v(i)")
    assert cluster.rows(f"SELECT count(*), sum(n) FROM hasty.s.{table}") == [(3 * ROWS, 3 * SUM)]
    cluster.rows("DROP CATALOG hasty")


@pytest.fixture(scope="module")
def servers(lake, tmp_path_factory):
    """Two servers over the bucket, which know nothing of each other."""
    folder = tmp_path_factory.mktemp("commits")
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Server(folder / str(number), "--config", lake)) for number in range(2)]
        servers[0].rows("CREATE SCHEMA s3.commits")
        yield servers


@pytest.mark.parametrize(("count", "retries"), [(COMMITS, 100), (40, 0)], ids=["until_they_are_in", "once"])
def test_commits_at_once(servers, count, retries):
    """By puts that the store refuses to all but one: what a client was told to be in is there once, and what has failed is not. Enough tries are all that it takes."""
    name = f"s3.commits.t{retries}"
    properties = f"ARRAY['commit.retry.num-retries', 'commit.retry.min-wait-ms'], ARRAY['{retries}', '5']"
    servers[0].rows(f"CREATE TABLE {name} (n bigint) WITH (extra_properties = MAP({properties}))")
    ready = threading.Barrier(count)

    def insert(number):
        with servers[number % 2].connect(headers=in_mode("local")) as connection, closing(connection.cursor()) as cursor:
            ready.wait(60)
            try:
                return cursor.execute(f"INSERT INTO {name} VALUES ({number})").fetchall() == [(1,)]
            except Exception as error:
                assert "CONFLICT" in str(error), error
                return False

    with concurrent.futures.ThreadPoolExecutor(count) as writers:
        begun = time.monotonic()
        done = [number for number, is_in in enumerate(writers.map(insert, range(count))) if is_in]
        took = time.monotonic() - begun
    for server in servers:
        assert sorted(server.rows(f"SELECT n FROM {name}")) == [(number,) for number in done]
        assert server.value(f'SELECT count(*) FROM s3.commits."t{retries}$snapshots"') == len(done)
    assert len(done) == count if retries else len(done) > 0
    # When all of a process went at once, two hundred of them took more than three minutes on a machine with something else to do, and half a minute on one without.
    assert took < 120
