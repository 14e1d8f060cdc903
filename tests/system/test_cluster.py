"""One coordinator and two executors, each a process: every execution mode gives the right answer, early rows, a prompt end, and clear errors.

TPC-H runs at scale 1 here (CLUSTER_SCALE sets another), so that a scan is worth distributing and a query lasts long enough to lose an executor.
"""

import concurrent.futures
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from nunatak_testing import tpch
from nunatak_testing.server import MODES, BINARY, Cluster, Executor, Server, eventually, free_port, nunatak

SCALE = os.environ.get("CLUSTER_SCALE", "1")
DISTRIBUTED = ["pipelined", "fault_tolerant"]
# Without equality, each row of one side has to meet each of the other: minutes of work in any mode.
ENDLESS = "SELECT count(*) FROM lineitem a CROSS JOIN lineitem b WHERE a.l_orderkey * b.l_orderkey % 7 = 3"


def headers(mode, *properties):
    return {"schema": "tpch", "nunatak-session": ",".join([f"execution_mode={mode}", *properties])}


@pytest.fixture(scope="module")
def answers():
    judge = tpch.judge(SCALE)
    return {name: judge.execute(sql).fetchall() for name, sql in tpch.QUERIES.items()}


def idle(cluster, seconds=0.3):
    """Whether no process of the cluster works."""
    before = [process.cpu_seconds() for process in cluster.everybody()]
    time.sleep(seconds)
    return all(process.cpu_seconds() - start < 0.2 * seconds for process, start in zip(cluster.everybody(), before))


def shuffle_files(cluster):
    return [path for executor in cluster.executors for path in executor.data_dir.glob("shuffle/*/*/**/*.arrow")]


@pytest.mark.parametrize("name", tpch.QUERIES)
@pytest.mark.parametrize("mode", MODES)
def test_tpch(cluster, answers, mode, name):
    assert tpch.wrong(name, cluster.arrow(tpch.QUERIES[name], headers=headers(mode)), answers[name]) is None


def test_both_executors_work(cluster):
    for mode in DISTRIBUTED:
        before = [executor.cpu_seconds() for executor in cluster.executors]
        for _ in range(3):
            cluster.rows(tpch.QUERIES["q01"], headers=headers(mode))
        assert all(executor.cpu_seconds() - start > 0.1 for executor, start in zip(cluster.executors, before)), mode


def test_explain_names_mode_and_reason(cluster):
    def first_line(sql, mode="auto"):
        return cluster.value(f"EXPLAIN {sql}", headers=headers(mode)).splitlines()[0]

    assert first_line("SELECT * FROM region").startswith("Execution mode: local (its scans read ")
    assert first_line("SELECT sum(l_tax) FROM lineitem").startswith("Execution mode: pipelined (its scans read ")
    assert first_line("CREATE TABLE x AS SELECT * FROM lineitem").startswith("Execution mode: ")
    assert first_line("INSERT INTO lineitem SELECT * FROM lineitem").startswith("Execution mode: fault_tolerant (it writes")
    for mode in MODES:
        assert first_line("SELECT sum(l_tax) FROM lineitem", mode) == f"Execution mode: {mode} (the session asks for it)"


@pytest.mark.parametrize(("mode", "exchange"), [("pipelined", "NetworkShuffleExec"), ("fault_tolerant", "Shuffle")])
def test_explain_shows_stages(cluster, mode, exchange):
    plan = cluster.value("EXPLAIN SELECT l_returnflag, count(*) FROM lineitem GROUP BY 1", headers=headers(mode))
    assert "Stage 1" in plan and exchange in plan
    analyzed = cluster.value("EXPLAIN ANALYZE SELECT l_returnflag, count(*) FROM lineitem GROUP BY 1", headers=headers(mode))
    assert "Output rows: 3" in analyzed and "Stage 1" in analyzed and "output_rows=" in analyzed
    assert cluster.value("SELECT count(*) FROM region", headers=headers(mode)) == 5


@pytest.mark.parametrize("mode", MODES)
def test_join_with_an_aggregation_as_its_build_side(cluster, mode):
    """It is sent to all tasks of the join. Its batches are slices of one: were each counted as the whole, four queries would need more memory than there is."""
    sql = "SELECT count(*), sum(n) FROM lineitem JOIN (SELECT o_orderkey, count(*) AS n FROM orders GROUP BY o_orderkey) ON l_orderkey = o_orderkey"
    if mode == "pipelined":
        assert "BroadcastExec" in cluster.value(f"EXPLAIN {sql}", headers=headers(mode))
    lines = cluster.value("SELECT count(*) FROM tpch.lineitem")
    with concurrent.futures.ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda _: cluster.rows(sql, headers=headers(mode)), range(4)))
    assert answers == [[(lines, lines)]] * 4


@pytest.mark.parametrize("mode", MODES)
def test_rows_in_order_since_a_column_has_one_value(cluster, mode):
    """The upper window needs rows in order by `year`, which has one value. Its stage in another process does not know that."""
    sql = """
        SELECT count(*), sum(of_year) FROM (
            SELECT sum(total) OVER (PARTITION BY priority, year) AS of_year FROM (
                SELECT o_orderpriority AS priority, year(o_orderdate) AS year, sum(o_totalprice) AS total,
                    rank() OVER (PARTITION BY o_orderpriority ORDER BY year(o_orderdate), o_orderstatus) AS place
                FROM orders GROUP BY o_orderpriority, year(o_orderdate), o_orderstatus)
            WHERE year = 1995 AND place > 0)"""
    assert cluster.rows(sql, headers=headers(mode)) == tpch.judge(SCALE).execute(sql).fetchall()


@pytest.mark.parametrize("mode", ["local", "pipelined"])
def test_rows_leave_before_the_last_task_ends(cluster, mode):
    """The first batch is there although nobody reads the others: the query cannot have ended."""
    with cluster.connect(headers=headers(mode)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM lineitem")
        reader = cursor.fetch_record_batch()
        first = reader.read_next_batch().num_rows
        assert first > 0
        assert eventually(lambda: idle(cluster), 20), "it goes on although nobody takes its rows"
        total = first + sum(batch.num_rows for batch in reader)
    assert total == cluster.value("SELECT count(*) FROM tpch.lineitem")


@pytest.mark.parametrize("how", ["cancel", "kill the client"])
@pytest.mark.parametrize("mode", MODES)
def test_work_ends_on_all_executors(cluster, mode, how):
    assert eventually(lambda: idle(cluster), 10)
    working = [cluster] if mode == "local" else cluster.executors
    with cluster.connect(headers=headers(mode)) as connection, connection.cursor() as cursor:
        if how == "cancel":
            running = threading.Thread(target=run_and_forget, args=(cursor, ENDLESS))
            running.start()
        else:
            script = f"SET SESSION execution_mode = '{mode}'; USE tpch; {ENDLESS}"
            client = subprocess.Popen([BINARY, "sql", "--server", f"http://{cluster.flight}", "-e", script], stdout=subprocess.DEVNULL)
        assert eventually(lambda: any(not process.is_idle(0.2) for process in working), 15)
        time.sleep(0.5)
        start = time.monotonic()
        if how == "cancel":
            cursor.adbc_cancel()
            running.join(10)
            assert not running.is_alive()
        else:
            client.kill()
            client.wait()
        assert eventually(lambda: idle(cluster, 0.2), 10)
        print(f"{mode}, {how}: idle after {time.monotonic() - start:.1f} s, of which 0.2 s to see it")
    assert eventually(lambda: not shuffle_files(cluster), 10)


def run_and_forget(cursor, sql):
    try:
        cursor.execute(sql)
        cursor.fetch_arrow_table()
    except Exception:
        pass


@pytest.mark.parametrize("mode", MODES)
def test_writes(cluster, mode):
    table = f"written_{mode}"
    statement = f"CREATE TABLE {table} WITH (partitioning = ARRAY['bucket(3, o_custkey)']) AS SELECT * FROM orders"
    count = cluster.value(statement, headers=headers(mode))
    assert count == cluster.value("SELECT count(*) FROM tpch.orders")
    assert cluster.value(f"INSERT INTO {table} SELECT * FROM orders WHERE o_orderkey < 1000", headers=headers(mode)) > 0
    query = "SELECT count(*), sum(o_totalprice), count(DISTINCT o_orderkey) FROM"
    whole, more = cluster.rows(f"{query} tpch.orders")[0], cluster.rows(f"{query} tpch.orders WHERE o_orderkey < 1000")[0]
    assert cluster.rows(f"{query} tpch.{table}")[0] == (whole[0] + more[0], whole[1] + more[1], whole[2])
    assert len(cluster.iceberg().load_table(f"tpch.{table}").snapshots()) == 2
    files = cluster.rows(f"""SELECT count(*), count(DISTINCT file_path), sum(record_count) FROM tpch."{table}$files" """)[0]
    assert files[0] == files[1] and files[2] == whole[0] + more[0]


@pytest.mark.parametrize("mode", MODES)
def test_errors_keep_code_and_place(cluster, failure, tmp_path, mode):
    text = failure(cluster, "SELECT sum(1 / (l_linenumber - 1)) FROM lineitem", headers=headers(mode))
    assert "DIVISION_BY_ZERO" in text
    (tmp_path / "bad.csv").write_text("a,b\n1,2\nx,3\n")
    text = failure(cluster, f"SELECT sum(a) FROM read_csv('{tmp_path}/bad.csv', sample_rows => 1)", headers=headers(mode))
    assert "BAD_FILE_ROW" in text and "bad.csv:3" in text
    text = failure(cluster, "SELECT sum(l_ta) FROM lineitem", headers=headers(mode))
    assert "COLUMN_NOT_FOUND" in text and "did you mean 'l_tax'" in text
    assert cluster.value("SELECT count(*) FROM region", headers=headers(mode)) == 5


@pytest.mark.parametrize("mode", DISTRIBUTED)
@pytest.mark.parametrize("sql", [
    "SELECT c_custkey FROM customer WHERE c_custkey NOT IN (SELECT o_custkey FROM orders) ORDER BY 1",
    # What is divided before it is looked through.
    "SELECT count(*), sum(c_custkey) FROM customer WHERE c_custkey NOT IN (SELECT DISTINCT o_custkey FROM orders)",
    "SELECT c_custkey FROM customer WHERE c_custkey NOT IN (SELECT max(o_custkey) FROM orders GROUP BY o_custkey % 50) ORDER BY 1",
    "SELECT o_custkey FROM orders INTERSECT SELECT c_custkey FROM customer WHERE c_nationkey < 5 ORDER BY 1",
    "SELECT c_custkey FROM customer EXCEPT SELECT o_custkey FROM orders ORDER BY 1",
    "SELECT n_name, r_name FROM nation LEFT JOIN region ON n_regionkey > r_regionkey + 2 ORDER BY 1, 2",
    "SELECT n_name, r_name FROM nation FULL JOIN region ON n_regionkey > r_regionkey + 3 ORDER BY 1, 2",
    "SELECT count(*) FROM nation WHERE NOT EXISTS (SELECT 1 FROM region WHERE r_regionkey = n_nationkey)",
    "SELECT count(*), max(n_name) FROM nation WHERE n_nationkey IN (SELECT r_regionkey FROM region)",
    "SELECT n_name, r_name FROM nation LEFT JOIN region ON r_regionkey = n_nationkey ORDER BY 1 LIMIT 7",
    "SELECT count(*), count(r_name), count(n_name) FROM nation FULL JOIN region ON r_regionkey = n_nationkey + 2",
    "SELECT l_returnflag, l_quantity, rank() OVER (PARTITION BY l_returnflag ORDER BY l_extendedprice DESC, l_orderkey, l_linenumber) AS r"
    " FROM lineitem ORDER BY r, l_returnflag LIMIT 30",
    "SELECT o_orderpriority, o_orderstatus, count(*) FROM orders GROUP BY GROUPING SETS ((o_orderpriority, o_orderstatus), (o_orderstatus), ())"
    " ORDER BY 1, 2, 3",
    "SELECT * FROM (SELECT l_orderkey AS k FROM lineitem WHERE l_orderkey < 40 UNION ALL SELECT o_orderkey FROM orders WHERE o_orderkey < 40"
    " UNION ALL VALUES (7), (8)) ORDER BY 1",
    "SELECT count(*) FROM (SELECT * FROM lineitem LIMIT 12345)",
    "SELECT l_orderkey, l_comment FROM lineitem ORDER BY l_extendedprice DESC, l_orderkey, l_linenumber LIMIT 25 OFFSET 5",
    "SELECT count(DISTINCT l_suppkey), approx_distinct(l_suppkey) > 0, avg(l_discount) FROM lineitem WHERE l_shipdate < DATE '1995-01-01'",
    "SELECT o_orderkey, (SELECT count(*) FROM lineitem WHERE l_orderkey = o_orderkey) FROM orders WHERE o_orderkey < 100 ORDER BY 1",
    "SELECT max(c) > (SELECT avg(o_totalprice) FROM orders) FROM (SELECT count(*) AS c FROM lineitem GROUP BY l_suppkey)",
    "SELECT count(*), sum(l_tax) FROM lineitem WHERE false",
    # Rows that are joined by equal keys are divided by either of them.
    "SELECT count(*), count(a.k), count(p_size) FROM (SELECT p_size AS s, s_nationkey AS k FROM part JOIN supplier ON p_partkey = s_nationkey"
    " WHERE NOT EXISTS (SELECT 1 FROM customer WHERE c_custkey = p_partkey)) AS a FULL JOIN part ON a.k = p_partkey WHERE a.k IN (SELECT r_regionkey FROM region)",
    # Plans and expressions of any depth.
    "SELECT count(*) FROM nation AS n0" + "".join(f" JOIN nation AS n{i} ON n{i}.n_nationkey = n{i - 1}.n_regionkey" for i in range(1, 25)),
    "SELECT count(*) FROM orders WHERE " + " OR ".join(f"o_custkey = {i} OR o_shippriority = {i}" for i in range(1, 400)),
])
def test_same_answer_as_local(cluster, mode, sql):
    assert cluster.rows(sql, headers=headers(mode)) == cluster.rows(sql, headers=headers("local"))


@pytest.mark.parametrize("mode", DISTRIBUTED)
def test_what_needs_one_node(cluster, failure, mode):
    recursive = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT sum(n) FROM t"
    assert "NOT_SUPPORTED" in failure(cluster, recursive, headers=headers(mode))
    assert cluster.value(recursive, headers=headers("auto")) == 15


HEAVY = {name: tpch.QUERIES[name] for name in ["q03", "q05", "q07", "q09", "q13", "q17", "q18", "q21"]} | {
    "distinct": "SELECT count(DISTINCT l_orderkey * 7 + l_linenumber), count(DISTINCT l_comment) FROM lineitem",
    "windows": "SELECT sum(r) FROM (SELECT row_number() OVER (PARTITION BY l_suppkey ORDER BY l_shipdate, l_orderkey, l_linenumber) AS r FROM lineitem)",
}


def within(seconds, call):
    """What `call` gives, or a failure when it takes too long: a hang must not hold up the other tests."""
    pool = concurrent.futures.ThreadPoolExecutor(1)
    try:
        return pool.submit(call).result(seconds)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@pytest.mark.parametrize("name", HEAVY)
@pytest.mark.parametrize("mode", MODES)
def test_a_killed_executor(cluster, mode, name):
    """SIGKILL in the middle of a query: its answer is right, or its error clear; nothing hangs, and the next query works."""
    start = time.monotonic()
    right = cluster.rows(HEAVY[name], headers=headers(mode))
    duration = time.monotonic() - start
    position = list(HEAVY).index(name) % 2
    victim = cluster.executors[position]
    killer = threading.Timer(0.4 * duration, victim.kill)
    killer.start()
    try:
        start = time.monotonic()
        found = within(60, lambda: cluster.rows(HEAVY[name], headers=headers(mode)))
        assert sorted(map(repr, found)) == sorted(map(repr, right))
        outcome = "right"
    except Exception as error:
        assert "REMOTE_HOST_GONE" in str(error), error
        assert mode == "pipelined", "only a pipelined query whose rows have left may fail"
        outcome = "failed"
    finally:
        print(f"{name}, {mode}: {duration:.1f} s, with a kill {time.monotonic() - start:.1f} s")
        killer.join()
        victim.kill()
        left = within(60, lambda: cluster.rows(HEAVY[name], headers=headers(mode)))
        cluster.executors[position] = Executor(victim.data_dir, cluster.cluster, slots=1).start()
    print(outcome)
    assert left == right, "on the executor that is left"
    assert cluster.value("SELECT count(*) FROM region", headers=headers(mode)) == 5


@pytest.mark.parametrize("mode", DISTRIBUTED)
def test_a_killed_executor_leaves_no_row_twice(cluster, mode):
    """MERGE in which an executor is lost: it is whole or not there at all, and optimize too."""
    table = f"merged_{mode}"
    cluster.rows(f"CREATE TABLE {table} WITH (format_version = 3, partitioning = ARRAY['bucket(k, 4)']) AS SELECT l_orderkey * 8 + l_linenumber AS k, 0 AS n FROM lineitem", headers=headers("local"))
    lines = cluster.value(f"SELECT count(*) FROM {table}", headers=headers("local"))
    merge = (
        f"MERGE INTO {table} AS t USING (SELECT l_orderkey * 8 + l_linenumber AS k FROM lineitem) AS s ON t.k = s.k"
        " WHEN MATCHED THEN UPDATE SET n = n + 1 WHEN NOT MATCHED THEN INSERT VALUES (s.k, 0)"
    )
    start = time.monotonic()
    assert cluster.value(merge, headers=headers(mode)) == lines
    duration, done = time.monotonic() - start, 1
    for attempt, statement in enumerate([merge, f"ALTER TABLE {table} EXECUTE optimize", merge]):
        position = attempt % 2
        victim = cluster.executors[position]
        killer = threading.Timer((0.3 + 0.2 * attempt) * duration, victim.kill)
        killer.start()
        try:
            within(60, lambda: cluster.rows(statement, headers=headers(mode)))
            done += statement == merge
        except Exception as error:
            assert mode == "pipelined" and "REMOTE_HOST_GONE" in str(error), error
        finally:
            killer.join()
            victim.kill()
            cluster.executors[position] = Executor(victim.data_dir, cluster.cluster, slots=1).start()
        expected = (lines, lines, done, done)
        assert cluster.rows(f"SELECT count(*), count(DISTINCT k), min(n), max(n) FROM {table}", headers=headers(mode)) == [expected]
    known = {row[0].removeprefix("file://") for row in cluster.rows(f'SELECT file_path FROM "{table}$all_files"', headers=headers("local"))}
    data = cluster.rows(f"SELECT DISTINCT regexp_replace(\"$path\", '/data/.*', '/data') FROM {table}", headers=headers("local"))[0][0].removeprefix("file://")
    print(f"{mode}: {len([path for path in Path(data).glob('**/*') if path.is_file() and str(path) not in known])} files of lost tasks")


@pytest.mark.parametrize("mode", DISTRIBUTED)
def test_a_coordinator_that_stood_still_has_lost_nobody(cluster, mode):
    """For longer than the leases of executors, of which it hears nothing meanwhile: what runs goes on, and what comes finds them all."""
    before = len(cluster.log)
    sql = "SELECT count(*), sum(a.l_tax) FROM lineitem a CROSS JOIN (VALUES 1, 2, 3) v(n)"
    expected = cluster.rows(sql, headers=headers(mode))
    with concurrent.futures.ThreadPoolExecutor(4) as clients:
        running = clients.submit(cluster.rows, sql, headers=headers(mode))
        time.sleep(0.2)
        cluster.process.send_signal(signal.SIGSTOP)
        coming = [clients.submit(cluster.rows, sql, headers=headers(mode)) for _ in range(3)]
        time.sleep(6)
        cluster.process.send_signal(signal.SIGCONT)
        assert [query.result() for query in (running, *coming)] == [expected] * 4
    assert not [line for line in cluster.log[before:] if "is gone" in line or "is run again" in line]


def test_a_stopped_executor_ends_what_it_runs(cluster):
    for mode in DISTRIBUTED:
        leaving = Executor(cluster.data_dir.parent / "leaving", cluster.cluster).start()
        found = []
        query = threading.Thread(target=lambda: found.append(cluster.rows(tpch.QUERIES["q18"], headers=headers(mode))))
        query.start()
        time.sleep(0.3)
        assert leaving.stop() == 0
        query.join(60)
        assert found == [cluster.rows(tpch.QUERIES["q18"], headers=headers("local"))], mode
        assert not list(leaving.data_dir.glob("shuffle/*"))


def test_executors_join_a_coordinator_that_was_away(tmp_path):
    with Cluster(tmp_path, executors=1) as cluster:
        cluster.rows("CREATE TABLE t AS SELECT 1 AS x")
        super(Cluster, cluster).kill()
        super(Cluster, cluster).start()
        for mode in DISTRIBUTED:
            assert eventually(lambda: works(cluster, mode), 20), mode


def works(cluster, mode):
    try:
        return cluster.value("SELECT count(*) FROM t", headers={"nunatak-session": f"execution_mode={mode}"}) == 1
    except Exception as error:
        assert "NO_NODES_AVAILABLE" in str(error), error
        return False


def test_without_executors(tmp_path, failure):
    with Cluster(tmp_path, executors=0) as cluster:
        assert cluster.value("SELECT 1") == 1
        for mode in DISTRIBUTED:
            text = failure(cluster, "SELECT 1", headers={"nunatak-session": f"execution_mode={mode}"})
            assert "NO_NODES_AVAILABLE" in text and "nunatak executor" in text


def test_an_executor_waits_for_its_coordinator(tmp_path):
    port = free_port()
    executor = Executor(tmp_path / "executor", f"127.0.0.1:{port}")
    executor.spawn()
    assert eventually(lambda: "cannot be reached; trying again" in executor.text(), 10)
    assert executor.ready is None
    assert executor.stop(signal.SIGINT) == 0


def test_bad_flags_of_an_executor(cluster, tmp_path):
    def refused(*flags):
        done = nunatak("executor", "--data-dir", tmp_path / "x", *flags)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    assert "in use" in refused("--cluster", cluster.cluster)
    assert "'nowhere' is not an address" in refused("--coordinator", "nowhere")
    assert "execution.slots" in refused("--slots", "0")


def test_standalone_runs_all_modes(tmp_path, numbers_file):
    server = Server(tmp_path).start()
    server.rows(f"CREATE TABLE numbers AS SELECT * FROM read_parquet('{numbers_file}')")
    for mode in MODES:
        found = server.rows("SELECT n % 3 AS r, count(*) FROM numbers GROUP BY 1 ORDER BY 1", headers={"nunatak-session": f"execution_mode={mode}"})
        assert found == [(0, 333_334), (1, 333_333), (2, 333_333)], mode
    assert server.stop() == 0


def test_filters_are_found_out_while_a_query_runs(cluster):
    """What a join or a top-n query has learned leaves out row groups and pages of scans in its stage; `EXPLAIN ANALYZE` shows how many, and by what."""
    join = "SELECT count(*), sum(l_tax) FROM lineitem JOIN orders ON l_orderkey = o_orderkey WHERE o_orderkey * 2 < 200"
    top = "SELECT l_orderkey, l_partkey FROM lineitem ORDER BY l_orderkey DESC LIMIT 5"
    for mode in MODES:
        text = "\n".join(row[0] for row in cluster.rows(f"EXPLAIN ANALYZE {join}", headers=headers(mode)))
        pruned = [tuple(map(int, found)) for found in re.findall(r"row_groups_pruned_statistics=(\d+) total → (\d+) matched", text)]
        assert sum(left for _, left in pruned) < sum(total for total, _ in pruned), f"{mode}\n{text}"
        pages = [tuple(map(int, found)) for found in re.findall(r"page_index_pages_pruned=(\d+) total → (\d+) matched", text)]
        assert sum(left for _, left in pages) < sum(total for total, _ in pages), f"{mode}\n{text}"
        assert all("DataSourceExec" in line or "DistributedLeafExec" in line for line in text.splitlines() if "row_groups_pruned_statistics" in line), text
        assert len(cluster.rows(top, headers=headers(mode))) == 5


def test_queries_that_are_cancelled_at_once_leave_the_slots_free(tmp_path):
    """Cancelled at any time, while they are planned too: then the scheduler has no tasks yet that it could cancel."""
    session = {"nunatak-session": "execution_mode=fault_tolerant"}
    with Cluster(tmp_path, executors=1) as cluster:
        cluster.rows("CREATE TABLE t AS SELECT unnest(range(0, 1000)) AS x")
        query = "SELECT x % 7, count(*) FROM t GROUP BY 1 ORDER BY 1"
        right = cluster.rows(query, headers=session)
        with cluster.connect(headers=session) as connection:
            for attempt in range(150):
                with connection.cursor() as cursor:
                    canceller = threading.Timer(attempt * 0.0002, cursor.adbc_cancel)
                    canceller.start()
                    try:
                        assert cursor.execute(query).fetchall() == right
                    except Exception as error:
                        assert "ancel" in str(error), error
                    canceller.join()
        assert within(30, lambda: cluster.rows(query, headers=session)) == right


def test_busy_threads_do_not_cost_the_membership(tmp_path, monkeypatch):
    """One value takes longer than a lease lasts, and the process that computes it has no other thread for queries, nor for what it hears of the network."""
    monkeypatch.setenv("TOKIO_WORKER_THREADS", "1")
    with Server(tmp_path) as server:
        server.rows("CREATE TABLE t AS SELECT * FROM (VALUES ('ab', 'bc')) t (a, b)")
        start = time.monotonic()
        assert server.value("SELECT levenshtein_distance(rpad(a, 34000, a), rpad(b, 34000, b)) FROM t") == 17001
        busy = time.monotonic() - start
        for mode in DISTRIBUTED:
            assert server.value("SELECT count(*) FROM t", headers={"nunatak-session": f"execution_mode={mode}"}) == 1, mode
        assert "executor is gone" not in server.text(), f"it was taken for gone within {busy:.0f} s"
