"""Many writers on one table, ours and Spark: every change that was acknowledged is there once, every one that failed not at all."""

import os
import random
import threading
from collections import Counter

from nunatak_testing.spark import MERGE_ON_READ, alike

COMMITS = int(os.environ.get("WRITERS_COMMITS", "160"))
SEED = int(os.environ.get("WRITERS_SEED", random.SystemRandom().randrange(1 << 32)))
WRITERS = 8
BATCH = 5
# Slot 0 is everybody's, the others are of one writer each.
COUNTERS = WRITERS + 2


class Writer:
    """Does one change after the other, and remembers what was acknowledged: rows by the change that has added them, and what was counted."""

    def __init__(self, number, run):
        self.number, self.run = number, run
        self.chance = random.Random(f"{SEED} {number}")
        self.rows, self.counted, self.errors, self.done = set(), Counter(), [], 0

    def change(self, step):
        name = self.number * 1_000_000 + step
        kind = self.chance.choices(["insert", "delete", "count", "merge", "optimize", "expire"], [8, 3, 4, 3, 1, 1])[0]
        if kind == "delete" and not self.rows:
            kind = "insert"
        slot = self.chance.choice([0, self.number + 1])
        if kind == "insert":
            sql, after = self.insert(name), lambda: self.rows.add(name)
        elif kind == "delete":
            old = self.chance.choice(sorted(self.rows))
            sql, after = f"DELETE FROM spark.busy WHERE name = {old}", lambda: self.rows.discard(old)
        elif kind == "count":
            sql, after = f"UPDATE spark.busy SET n = n + 1 WHERE name = -{slot} - 1", lambda: self.counted.update([slot])
        elif kind == "merge":
            sql, after = self.merge(name, slot), lambda: (self.rows.add(name), self.counted.update([slot]))
        else:
            sql, after = self.upkeep(kind), lambda: None
        try:
            self.run(sql)
        except Exception as error:
            self.errors.append(f"{sql}: {error}"[:500])
        else:
            after()
            self.done += 1

    def insert(self, name):
        return f"INSERT INTO spark.busy VALUES {', '.join(f'({name}, {n})' for n in range(BATCH))}"

    def merge(self, name, slot):
        source = " UNION ALL ".join([f"SELECT -{slot} - 1 AS name, 0 AS n"] + [f"SELECT {name}, {n}" for n in range(BATCH)])
        return (
            f"MERGE INTO spark.busy AS t USING ({source}) AS s ON t.name = s.name"
            " WHEN MATCHED THEN UPDATE SET n = t.n + 1 WHEN NOT MATCHED THEN INSERT (name, n) VALUES (s.name, s.n)"
        )

    def upkeep(self, kind):
        return {
            "optimize": "ALTER TABLE spark.busy EXECUTE optimize(file_size_threshold => '10kB')",
            "expire": "ALTER TABLE spark.busy EXECUTE expire_snapshots(retention_threshold => '1m')",
        }[kind]


class SparkWriter(Writer):
    """Java's JdbcCatalog reads and writes within one transaction of SQLite, so that its commit fails whenever another one came between, and is not tried again. So
    while Spark has a statement nobody begins another one; those that run go on beside it.
    """

    TRIES = 10

    def __init__(self, number, spark, gate):
        super().__init__(number, self.run_at_last)
        self.spark, self.gate, self.tries = spark, gate, 0

    def run_at_last(self, sql):
        self.gate.clear()
        try:
            for last in [False] * (self.TRIES - 1) + [True]:
                self.tries += 1
                try:
                    return self.spark.run(sql)
                except RuntimeError as error:
                    if last or "UncheckedSQLException" not in str(error):
                        raise
        finally:
            self.gate.set()

    def upkeep(self, kind):
        return "CALL lake.system.rewrite_manifests('spark.busy')"


def test_all_at_once(server, spark):
    print(f"WRITERS_SEED={SEED}")
    server.rows(
        "CREATE TABLE spark.busy (name bigint, n bigint) WITH (extra_properties = MAP("
        "ARRAY['commit.retry.num-retries', 'commit.retry.min-wait-ms', 'commit.retry.max-wait-ms', 'write.metadata.previous-versions-max'],"
        "ARRAY['200', '10', '300', '10']))"
    )
    spark.run(f"ALTER TABLE spark.busy SET TBLPROPERTIES ({MERGE_ON_READ})")
    server.rows(f"INSERT INTO spark.busy VALUES {', '.join(f'(-{slot} - 1, 0)' for slot in range(COUNTERS))}")
    gate = threading.Event()
    gate.set()
    writers = [Writer(number, server.rows) for number in range(WRITERS)] + [SparkWriter(WRITERS, spark, gate)]
    steps = iter(range(COMMITS))
    lock = threading.Lock()

    def work(writer):
        while True:
            with lock:
                step = next(steps, None)
            if step is None:
                return
            if writer is not writers[-1]:
                gate.wait()
            writer.change(step)

    threads = [threading.Thread(target=work, args=(writer,)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    failed = [error for writer in writers for error in writer.errors]
    print(f"{sum(writer.done for writer in writers)} changes, {writers[-1].done} of them Spark's in {writers[-1].tries} tries; {len(failed)} failed")
    ours = [error for writer in writers[:-1] for error in writer.errors]
    assert all("TRANSACTION_CONFLICT" in error for error in ours), ours
    rows = alike(server, spark, "SELECT name, count(*), sum(n) FROM spark.busy WHERE name >= 0 GROUP BY name ORDER BY name")
    expected = sorted(name for writer in writers for name in writer.rows)
    assert rows == [(name, BATCH, BATCH * (BATCH - 1) // 2) for name in expected]
    counted = Counter()
    for writer in writers:
        counted.update(writer.counted)
    slots = alike(server, spark, "SELECT -name - 1 AS slot, n FROM spark.busy WHERE name < 0 ORDER BY slot")
    assert slots == [(slot, counted[slot]) for slot in range(COUNTERS)], failed
    assert writers[-1].done > 0 and sum(writer.done for writer in writers) > COMMITS * 0.8, failed
