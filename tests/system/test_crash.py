"""`kill -9` of the server while it writes: a table is always at a whole snapshot, and no CTAS is half visible."""

import os
import random
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from nunatak_testing.server import Cluster, Executor, Server, eventually
from nunatak_testing.spark import MODES

KILLS = int(os.environ.get("CRASH_KILLS", "20"))
SEED = int(os.environ.get("CRASH_SEED", random.SystemRandom().randrange(1 << 32)))
BATCH = 1_000_000


@pytest.fixture
def server(tmp_path, numbers_file):
    """A server with a million rows in `numbers` and an empty table `log` that each INSERT gives as many rows."""
    with Server(tmp_path) as server:
        assert server.value(f"CREATE TABLE numbers AS SELECT * FROM read_parquet('{numbers_file}')") == BATCH
        server.rows("CREATE TABLE log (n bigint, text varchar) WITH (partitioning = ARRAY['bucket(n, 4)'])")
    return server


def run_until_killed(server, statements, after_seconds):
    """Runs two statements in turns until the server is killed; gives how many times the client was told that the first was done."""
    told = 0

    def write():
        nonlocal told
        try:
            with server.connect() as connection, connection.cursor() as cursor:
                for turn in range(1000):
                    first, second = (statement.format(turn=turn) for statement in statements)
                    cursor.execute(first).fetchall()
                    told += 1
                    cursor.execute(second).fetchall()
        except Exception:
            pass  # the server is gone

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(after_seconds)
    server.kill()
    writer.join(30)
    assert not writer.is_alive(), "the client hangs after its server was killed"
    return told


# The driver cannot tell a dead server that a statement is closed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_kill_while_writing(server):
    chance = random.Random(SEED)
    print(f"CRASH_SEED={SEED}")
    inserts = 0
    for attempt in range(KILLS):
        server.start()
        statements = ["INSERT INTO log SELECT n, text FROM numbers", f"CREATE TABLE copy_{attempt}_{{turn}} AS SELECT * FROM numbers"]
        told = run_until_killed(server, statements, chance.uniform(0.05, 2.5))
        server.start()
        rows = server.value("SELECT count(*) FROM log")
        assert rows % BATCH == 0, f"half an insert is visible: {rows} rows"
        by_summary = server.rows("SELECT summary['total-records'] FROM \"log$snapshots\" ORDER BY committed_at DESC LIMIT 1")
        assert rows == int(by_summary[0][0] if by_summary else 0)
        # What the client was told of is there; one more may have been committed without its being told.
        assert inserts + told <= rows // BATCH <= inserts + told + 1
        inserts = rows // BATCH
        assert (server.value("SELECT sum(n) FROM log") or 0) == inserts * BATCH * (BATCH - 1) // 2
        for (table,) in server.rows("SHOW TABLES LIKE 'copy%'"):
            assert server.value(f"SELECT count(*) FROM {table}") == BATCH, f"{table} is half there"
            server.rows(f"DROP TABLE {table}")
        server.kill()
    assert inserts > 0, "no INSERT was ever committed: the delays are too short to prove anything"


MERGE = (
    "MERGE INTO counted USING (SELECT unnest(range(0, {rows})) AS id) AS s ON counted.id = s.id"
    " WHEN MATCHED THEN UPDATE SET n = n + 1 WHEN NOT MATCHED THEN INSERT (id, n) VALUES (s.id, 1)"
)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("mode", ["merge-on-read", "copy-on-write"])
def test_kill_while_changing(tmp_path, orphans_of_any_age, mode):
    """Each MERGE counts all rows on by one, and each compaction leaves them as they are: at no time do two rows differ."""
    chance = random.Random(SEED)
    print(f"CRASH_SEED={SEED}")
    rows, merges = 300_000, 0
    merge = MERGE.format(rows=rows)
    with Server(tmp_path / "data", *orphans_of_any_age) as server:
        server.rows(
            "CREATE TABLE counted (id bigint, n bigint) WITH (format_version = 3, partitioning = ARRAY['bucket(id, 4)'],"
            f" extra_properties = MAP(ARRAY['write.merge.mode'], ARRAY['{mode}']))"
        )
    for _ in range(KILLS // 2):
        server.start()
        told = run_until_killed(server, [merge, "ALTER TABLE counted EXECUTE optimize"], chance.uniform(0.05, 2.0))
        server.start()
        count, least, most, ids = server.rows("SELECT count(*), min(n), max(n), count(DISTINCT id) FROM counted")[0]
        assert (count, ids, least) == ((rows, rows, most) if count else (0, 0, None)), "rows are lost, doubled or changed by half"
        now = most or 0
        assert merges + told <= now <= merges + told + 1
        merges = now
        server.kill()
    assert merges > 0, "no MERGE was ever committed: the delays are too short to prove anything"
    with server:
        removed = dict(server.rows("ALTER TABLE counted EXECUTE remove_orphan_files('0s')"))
        print(f"{removed['orphan_files_count']} orphans")
        assert on_disk(server) == named(server, "counted"), "files that nothing names are left, or some are lost"
        assert server.rows("SELECT count(*), min(n), max(n) FROM counted") == [(rows, merges, merges)]


@pytest.mark.parametrize("mode", ["merge-on-read", "copy-on-write"])
def test_kill_executors_while_changing(tmp_path, orphans_of_any_age, mode):
    """MERGE and optimize in fault_tolerant mode, of which each loses an executor at some time: all of them succeed, and no row is lost or there twice."""
    chance = random.Random(SEED)
    print(f"CRASH_SEED={SEED}")
    rows, headers = 200_000, {"nunatak-session": "execution_mode=fault_tolerant"}
    statements = [MERGE.format(rows=rows), "ALTER TABLE counted EXECUTE optimize(sorted_by => ARRAY['id'])"]
    with Cluster(tmp_path / "data", *orphans_of_any_age) as cluster:
        cluster.rows(
            "CREATE TABLE counted (id bigint, n bigint) WITH (format_version = 3, partitioning = ARRAY['bucket(id, 4)'],"
            f" extra_properties = MAP(ARRAY['write.merge.mode', 'write.update.mode'], ARRAY['{mode}', '{mode}']))"
        )
        duration, merges = [0, 0], 0
        for attempt in range(2 + max(2, KILLS // 5)):
            start, statement = time.monotonic(), statements[attempt % 2]
            victim = cluster.executors[attempt // 2 % 2]
            # The first ones tell how long it takes.
            killer = threading.Timer(chance.uniform(0, duration[attempt % 2]), victim.kill if attempt >= 2 else int)
            killer.start()
            cluster.rows(statement, headers=headers)
            killer.join()
            duration[attempt % 2] = duration[attempt % 2] or time.monotonic() - start
            merges += statement == statements[0]
            if attempt >= 2:
                position = cluster.executors.index(victim)
                cluster.executors[position] = Executor(victim.data_dir, cluster.cluster, slots=1).start()
            assert cluster.rows("SELECT count(*), count(DISTINCT id), min(n), max(n) FROM counted") == [(rows, rows, merges, merges)]
        removed = dict(cluster.rows("ALTER TABLE counted EXECUTE remove_orphan_files('0s')"))
        print(f"{removed['orphan_files_count']} orphans")
        assert on_disk(cluster) == named(cluster, "counted"), "files that nothing names are left, or some are lost"


def on_disk(server):
    return {str(path) for path in (Path(server.data_dir) / "warehouse").rglob("*") if path.is_file()}


def named(server, table):
    """The files that a table's metadata names."""
    columns = {"all_files": "file_path", "all_manifests": "path", "snapshots": "manifest_list", "metadata_log_entries": "file"}
    rows = [row for kind, column in columns.items() for row in server.rows(f'SELECT {column} FROM "{table}${kind}"')]
    return {location.removeprefix("file://") for (location,) in rows}


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 60 MB of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", folder], capture_output=True).returncode != 0:
        pytest.skip("only root can make a disk of its own")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("mode", MODES)
def test_a_full_disk(small_disk, tmp_path, mode):
    """Statements that run out of space give an error that says so, change nothing, and leave no file behind."""
    def fails(sql):
        with pytest.raises(Exception, match="no space left"):
            server.rows(sql, headers={"nunatak-session": f"execution_mode={mode}"})
        assert eventually(lambda: on_disk(server) == named(server, "t"), 30), "files are left behind"
        assert server.rows("SELECT count(*), sum(id), min(length(s)), max(length(s)) FROM t") == whole
        assert server.rows("SHOW TABLES") == [("t",)]

    texts = "SELECT id, lower(to_hex(md5(to_utf8(CAST(id AS varchar))))) AS s FROM (SELECT unnest(range(0, {rows})) AS id)"
    with Server(small_disk / "data") as server:
        server.rows(
            "CREATE TABLE t WITH (extra_properties = MAP(ARRAY['write.parquet.compression-codec', 'write.target-file-size-bytes'],"
            f" ARRAY['uncompressed', '2000000'])) AS {texts.format(rows=50_000)}"
        )
        whole = [(50_000, 1_249_975_000, 32, 32)]
        for _ in range(2):
            fails(f"INSERT INTO t {texts.format(rows=1_500_000)}")
            fails("UPDATE t SET s = array_join(repeat(s, 40), '')")
            fails(f"CREATE TABLE u WITH (extra_properties = MAP(ARRAY['write.parquet.compression-codec'], ARRAY['uncompressed'])) AS {texts.format(rows=2_000_000)}")
        # Now even metadata finds no space.
        (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - 2_000))
        for statement in ["INSERT INTO t VALUES (1, 'x')", "DELETE FROM t WHERE id = 1", "ALTER TABLE t ADD COLUMN z integer"]:
            fails(statement)
        (small_disk / "filler").unlink()
        assert server.rows("INSERT INTO t VALUES (-1, 'x')") == [(1,)]
        assert server.iceberg().load_table("default.t").scan().to_arrow().num_rows == 50_001
