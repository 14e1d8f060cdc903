"""`kill -9` of the server while it writes: a table is always at a whole snapshot, and no CTAS is half visible."""

import os
import random
import threading
import time

import pytest

from nunatak_testing.server import Server

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


def write_until_killed(server, attempt, after_seconds):
    """Runs INSERT and CTAS in turns until the server is killed; gives how many INSERTs the client was told of."""
    told = 0

    def write():
        nonlocal told
        try:
            with server.connect() as connection, connection.cursor() as cursor:
                for turn in range(1000):
                    cursor.execute("INSERT INTO log SELECT n, text FROM numbers").fetchall()
                    told += 1
                    cursor.execute(f"CREATE TABLE copy_{attempt}_{turn} AS SELECT * FROM numbers").fetchall()
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
        told = write_until_killed(server, attempt, chance.uniform(0.05, 2.5))
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
