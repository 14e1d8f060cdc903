"""`kill -9` of the server while it writes: a table is always at a whole snapshot, and no CTAS is half visible."""

import os
import random
import threading
import time
from pathlib import Path

import pytest

from nunatak_testing.server import Cluster, Executor, Server

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
