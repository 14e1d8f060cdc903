"""HDFS where it differs from other stores: names of file systems, NameNodes and DataNodes that die, and Kerberos. `test_catalogs.py` has what is common to all."""

import concurrent.futures
import threading
import time

import pytest

from nunatak_testing import tpch
from nunatak_testing.server import MODES, Cluster, Server, eventually, in_mode, section
from servers.hdfs import Hdfs
from servers.kerberos import Kerberos
from servers.proxy import Proxy

SCALE = "0.1"
CHECK = "count(*), sum(l_extendedprice), count(DISTINCT l_orderkey)"


def hadoop(name, warehouse, values):
    return section(name, {"type": "hadoop", "warehouse": warehouse, **values})


def unfinished(hdfs, folder):
    return [path for path in hdfs.files(folder) if path.endswith(".tmp")]


@pytest.fixture(scope="module")
def proxy(hdfs):
    """Before the first NameNode."""
    with Proxy(hdfs.rpc[0]) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, hdfs, proxy):
    folder = tmp_path_factory.mktemp("cluster")
    config = folder / "nunatak.toml"
    config.write_text(
        hadoop("lakes", f"{hdfs.uri}/lakes", hdfs.settings)
        + hadoop("by_files", f"{hdfs.uri}/lakes", {"hdfs.config-dir": hdfs.active.folder / "etc"})
        + hadoop("by_address", f"hdfs://{hdfs.rpc[0]}/lakes", {})
        + hadoop("of_bob", f"{hdfs.uri}/lakes", hdfs.settings | {"hdfs.user": "bob"})
        + hadoop("of_alice", f"{hdfs.uri}/alices", hdfs.settings | {"hdfs.user": "alice"})
        + hadoop("impatient", f"{hdfs.uri}/lakes", hdfs.settings | {"hdfs.retry.timeout-ms": 6000})
        + hadoop("slow", f"hdfs://{proxy.address}/slow", {"hdfs.request-timeout-ms": 1000})
    )
    cluster = Cluster(folder, "--config", config, executors=2, slots=1).start()
    tpch.load(cluster, scale=SCALE, tables=["lineitem"])
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def lines(cluster):
    """A table on HDFS, and what it has to answer."""
    cluster.rows("CREATE SCHEMA lakes.shared")
    cluster.rows("CREATE TABLE lakes.shared.lines AS SELECT * FROM lake.tpch.lineitem")
    return "lakes.shared.lines", cluster.rows(f"SELECT {CHECK} FROM lake.tpch.lineitem")


def test_names_of_a_file_system(cluster):
    """By Hadoop's keys, by its files, by the address of a NameNode: the folders are the same."""
    cluster.rows("CREATE SCHEMA lakes.named")
    cluster.rows("CREATE TABLE lakes.named.t AS SELECT 1 AS a")
    assert cluster.rows("SHOW TABLES FROM by_files.named") == cluster.rows("SHOW TABLES FROM by_address.named") == [("t",)]
    cluster.rows("INSERT INTO by_files.named.t VALUES (2)")
    assert cluster.rows("SELECT sum(a) FROM lakes.named.t") == [(3,)]
    cluster.rows("CREATE TABLE by_address.named.u AS SELECT 'x' AS b")
    assert cluster.rows("SELECT * FROM by_address.named.u") == [("x",)]
    cluster.rows("DROP TABLE lakes.named.t")
    assert cluster.rows("SHOW TABLES FROM by_files.named") == [("u",)]


def test_what_was_dropped_is_gone(cluster, hdfs):
    cluster.rows("CREATE SCHEMA lakes.dropped")
    cluster.rows("CREATE TABLE lakes.dropped.t AS SELECT * FROM lake.tpch.lineitem WHERE l_orderkey < 1000")
    assert len(hdfs.files("/lakes/dropped/t")) > 3
    cluster.rows("DROP TABLE lakes.dropped.t")
    assert hdfs.files("/lakes/dropped") == []
    cluster.rows("DROP SCHEMA lakes.dropped")
    assert ("dropped",) not in cluster.rows("SHOW SCHEMAS FROM lakes")


def test_metadata_that_may_not_be_written(cluster, hdfs, failure):
    """The error of a manifest is that of its file, as of a data file."""
    cluster.rows("CREATE SCHEMA lakes.owned")
    cluster.rows("CREATE TABLE lakes.owned.t AS SELECT 1 AS a")
    hdfs.give("/lakes/owned/t/data", "bob")
    text = failure(cluster, "INSERT INTO of_bob.owned.t VALUES (2)")
    assert "STORAGE_ACCESS_DENIED: storage refused access to" in text and "/owned/t/metadata/" in text and "user=bob" in text, text


def test_folders_that_we_are_not_let_into(cluster, hdfs, failure):
    """The error says which one and who we are, nothing is left of what was begun, and the connection is as it was."""
    hdfs.make_folder("/alices", "777")
    cluster.rows("CREATE SCHEMA of_alice.s")
    cluster.rows("CREATE TABLE of_alice.s.t AS SELECT 1 AS a")
    before = sorted(hdfs.files("/alices"))
    select, insert, update = "SELECT a FROM of_alice.s.t", "INSERT INTO of_alice.s.t VALUES (2)", "UPDATE of_alice.s.t SET a = 3"
    replace, ctas, drop = "CREATE OR REPLACE TABLE of_alice.s.t AS SELECT 4 AS a", "CREATE TABLE of_alice.s.u AS SELECT 1 AS a", "DROP TABLE of_alice.s.t"
    cases = [
        # First what is not in memory yet.
        ("t/data", "000", [select, update, insert], "EXECUTE"),
        ("t/data", "555", [insert, update, replace], "WRITE"),
        ("t/metadata", "555", [insert, replace, "ALTER TABLE of_alice.s.t ADD COLUMN b int", "ANALYZE of_alice.s.t"], "WRITE"),
        ("t/metadata", "000", [select, insert], "EXECUTE"),
        ("", "555", [ctas, "CREATE TABLE of_alice.s.u (a int)", drop], "WRITE"),
        ("", "000", [select, "SHOW TABLES FROM of_alice.s", "DROP SCHEMA of_alice.s"], "EXECUTE"),
    ]
    with cluster.connect() as connection, connection.cursor() as cursor:
        for folder, mode, statements, access in cases:
            path = f"/alices/s/{folder}".rstrip("/")
            hdfs.set_mode(path, mode)
            cursor.execute("CALL of_alice.system.flush_metadata_cache()").fetchall()
            for sql in statements:
                with pytest.raises(Exception) as caught:
                    cursor.execute(sql).fetchall()
                text = str(caught.value)
                assert "STORAGE_ACCESS_DENIED: " in text and f"storage refused access to '{hdfs.uri}{path}" in text, (sql, text)
                assert "user=alice" in text and access in text and f'inode="{path}"' in text, (sql, text)
            hdfs.set_mode(path, "755")
            assert sorted(hdfs.files("/alices")) == before
            assert cursor.execute("SELECT 1").fetchone() == (1,)
    assert cluster.rows(select) == [(1,)]
    cluster.rows(insert)
    assert cluster.value("SELECT sum(a) FROM of_alice.s.t") == 3


def test_listings_leave_out_what_is_private(cluster, hdfs, failure):
    """A schema or a table that somebody keeps to himself does not hide the others."""
    for sql in ("SCHEMA lakes.ours", "SCHEMA lakes.hers", "SCHEMA lakes.\"hers.deep\"", "SCHEMA lakes.unlisted", "TABLE lakes.ours.t AS SELECT 1 AS a", "TABLE lakes.ours.hers AS SELECT 2 AS a"):
        cluster.rows(f"CREATE {sql}")
    for folder, mode in (("hers", "700"), ("unlisted", "711"), ("ours/hers", "700")):
        hdfs.set_mode(f"/lakes/{folder}", mode)
    schemas = {name for (name,) in cluster.rows("SHOW SCHEMAS FROM of_bob")}
    assert {"ours", "unlisted"} <= schemas and not {"hers", "hers.deep", "ours.hers"} & schemas, schemas
    assert {"hers", "hers.deep"} <= {name for (name,) in cluster.rows("SHOW SCHEMAS FROM lakes")}
    assert cluster.rows("SHOW TABLES FROM of_bob.ours") == [("t",)]
    assert cluster.rows("SELECT table_name FROM of_bob.information_schema.tables WHERE table_schema = 'ours'") == [("t",)]
    assert cluster.rows("SELECT a FROM of_bob.ours.t") == [(1,)]
    for sql in ("SELECT a FROM of_bob.ours.hers", "SHOW TABLES FROM of_bob.hers"):
        text = failure(cluster, sql)
        assert "STORAGE_ACCESS_DENIED" in text and "user=bob" in text, text


def test_a_quota_that_is_used_up(cluster, hdfs, failure):
    """Where there is no room for the metadata of a commit, it has certainly not happened, and nothing is left of it."""
    cluster.rows("CREATE SCHEMA lakes.small")
    cluster.rows("CREATE TABLE lakes.small.t AS SELECT 1 AS a")
    before = hdfs.files("/lakes/small")
    # The schema, three folders of the table, what is in them, and three files of a change: data, manifest and list.
    hdfs.administer("-setQuota", str(4 + len(before) + 3), "/lakes/small")
    text = failure(cluster, "INSERT INTO lakes.small.t VALUES (2)")
    assert "ICEBERG_FILESYSTEM_ERROR: there is no space left" in text and "v2.metadata.json" in text and "dfsadmin -setQuota" in text, text
    assert sorted(hdfs.files("/lakes/small")) == sorted(before)
    hdfs.administer("-clrQuota", "/lakes/small")
    cluster.rows("INSERT INTO lakes.small.t VALUES (3)")
    assert sorted(cluster.rows("SELECT a FROM lakes.small.t")) == [(1,), (3,)]


def test_a_quota_that_is_used_up_in_the_middle_of_a_file(cluster, hdfs, failure):
    """It is told why the file cannot be written, before its end if it is large, and nothing is left of it."""
    cluster.rows("CREATE SCHEMA lakes.narrow")
    plain = "extra_properties = MAP(ARRAY['write.parquet.compression-codec'], ARRAY['uncompressed'])"
    cluster.rows(f"CREATE TABLE lakes.narrow.t (c varchar) WITH ({plain})")
    before = sorted(hdfs.files("/lakes/narrow"))
    # Less than one block, which is asked for in full.
    hdfs.administer("-setSpaceQuota", "100m", "/lakes/narrow")
    for count in (50_000, 300_000):
        text = failure(cluster, f"INSERT INTO lakes.narrow.t SELECT cast(random() AS varchar) || lpad('x', 500, 'y') FROM lake.tpch.lineitem LIMIT {count}", headers=in_mode("local"))
        assert "ICEBERG_FILESYSTEM_ERROR: there is no space left" in text and "-setSpaceQuota" in text, text
        assert sorted(hdfs.files("/lakes/narrow")) == before
    hdfs.administer("-clrSpaceQuota", "/lakes/narrow")
    cluster.rows("INSERT INTO lakes.narrow.t VALUES ('x')")
    assert cluster.rows("SELECT c FROM lakes.narrow.t") == [("x",)]


def test_safe_mode(cluster, hdfs, failure):
    """Tables are read, and changes fail once it was waited for."""
    cluster.rows("CREATE SCHEMA lakes.safe")
    cluster.rows("CREATE TABLE lakes.safe.t AS SELECT 1 AS a")
    hdfs.administer("-safemode", "enter")
    try:
        assert cluster.rows("SELECT a FROM impatient.safe.t") == [(1,)]
        started = time.monotonic()
        text = failure(cluster, "INSERT INTO impatient.safe.t VALUES (2)")
        assert "STORAGE_UNAVAILABLE" in text and "takes no changes now" in text and "-safemode get" in text, text
        assert time.monotonic() - started < 11
    finally:
        hdfs.administer("-safemode", "leave")
    cluster.rows("INSERT INTO impatient.safe.t VALUES (3)")
    assert sorted(cluster.rows("SELECT a FROM lakes.safe.t")) == [(1,), (3,)]


def test_a_namenode_that_says_nothing(cluster, proxy):
    """A request without an answer is sent again, by another connection."""
    cluster.rows("CREATE SCHEMA slow.s")
    cluster.rows("CREATE TABLE slow.s.t AS SELECT 1 AS a")
    proxy.hold()
    release = threading.Timer(3, proxy.let_go)
    release.start()
    started = time.monotonic()
    cluster.rows("INSERT INTO slow.s.t VALUES (2)")
    assert time.monotonic() - started > 2.5, "it was not held"
    release.join()
    # A connection that was cut is another one.
    proxy.cut()
    assert sorted(cluster.rows("SELECT a FROM slow.s.t", headers=in_mode("pipelined"))) == [(1,), (2,)]


def test_the_namenode_fails_over(cluster, hdfs, lines):
    """Scans and commits that are under way when it dies wait for the other one. No commit is lost, and none is made twice."""
    table, expected = lines
    cluster.rows("CREATE TABLE lakes.shared.numbers (n bigint)")
    is_over = threading.Event()
    inserted, durations = [], []

    def scan(mode):
        while not is_over.is_set():
            started = time.monotonic()
            assert cluster.rows(f"SELECT {CHECK} FROM {table}", headers=in_mode(mode)) == expected
            durations.append(time.monotonic() - started)

    def insert():
        while not is_over.is_set():
            started = time.monotonic()
            cluster.rows(f"INSERT INTO lakes.shared.numbers VALUES ({len(inserted)})", headers=in_mode("local"))
            inserted.append(len(inserted))
            durations.append(time.monotonic() - started)

    killed = hdfs.active
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        work = [pool.submit(insert), *(pool.submit(scan, mode) for mode in MODES)]
        try:
            time.sleep(1)
            hdfs.fail_over()
            time.sleep(2)
        finally:
            is_over.set()
        for one in work:
            one.result()
    assert hdfs.active is not killed and max(durations) > 1, "nobody had to wait"
    assert sorted(n for (n,) in cluster.rows("SELECT n FROM lakes.shared.numbers")) == inserted
    assert unfinished(hdfs, "/lakes/shared") == []
    hdfs.restart(killed)
    hdfs.hand_over()
    assert cluster.rows(f"SELECT {CHECK} FROM {table}") == expected


@pytest.mark.parametrize("mode", ["pipelined", "fault_tolerant"])
def test_a_datanode_is_killed_during_a_write(cluster, hdfs, lines, mode):
    table, _ = lines
    name = f"lakes.shared.copy_{mode}"
    node = hdfs.datanodes[0]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        statement = f"CREATE TABLE {name} AS SELECT l.* FROM {table} l CROSS JOIN (VALUES 1, 2, 3, 4, 5, 6) v(n)"
        write = pool.submit(cluster.rows, statement, headers=in_mode(mode))
        # While a file is written it has another name.
        assert eventually(lambda: write.done() or unfinished(hdfs, "/lakes/shared"), 60) and not write.done()
        node.kill()
        write.result()
    assert cluster.rows(f"SELECT count(*), sum(l_extendedprice) FROM {name}") == cluster.rows(f"SELECT 6 * count(*), 6 * sum(l_extendedprice) FROM {table}")
    assert eventually(lambda: unfinished(hdfs, "/lakes/shared") == [], 10)
    hdfs.restart(node)


def test_erasure_coded_files(tmp_path, failure):
    """Three parts of data and two of parity: two DataNodes may be away, three may not. Nothing is kept of what was read."""
    with Hdfs(tmp_path / "hdfs", datanodes=5) as hdfs:
        hdfs.make_folder("/coded", 777)
        hdfs.erasure_code("/coded", "RS-3-2-1024k")
        settings = hdfs.settings | {"hdfs.retry.timeout-ms": 2000}
        config = tmp_path / "nunatak.toml"
        config.write_text(hadoop("coded", f"{hdfs.uri}/coded", settings) + "[cache]\nmemory = '0B'\n")
        with Server(tmp_path / "data", "--config", config) as server:
            server.rows("CREATE SCHEMA coded.s")
            # Longer than a row of cells, and shorter than one.
            server.rows("CREATE TABLE coded.s.t AS SELECT n, to_hex(md5(to_utf8(CAST(n AS varchar)))) AS text FROM (SELECT unnest(range(0, 200000)) AS n)")
            server.rows("INSERT INTO coded.s.t VALUES (-1, 'one more')")
            server.rows("DELETE FROM coded.s.t WHERE n % 1000 = 7")
            assert hdfs.policies("/coded/s/t/data").keys() == {"RS-3-2-1024k"}
            check = "SELECT count(*), sum(n), min(text), max(text) FROM coded.s.t"
            whole = server.rows(check)
            assert whole[0][:2] == (199_801, sum(n for n in range(200_000) if n % 1000 != 7) - 1)
            for node in hdfs.datanodes[:2]:
                node.kill()
                assert server.rows(check) == whole
            # With the last ones but two something is missing of each file of some size.
            for node in hdfs.datanodes[2:4]:
                node.kill()
            text = failure(server, check)
            assert "STORAGE_UNAVAILABLE" in text and "see that its DataNodes are up" in text, text
            for node in hdfs.datanodes[:4]:
                node.spawn()
            assert eventually(lambda: answers(server, check) == whole, 60)


def answers(server, sql):
    try:
        return server.rows(sql)
    except Exception:
        return None


@pytest.fixture(scope="module")
def kerberos(tmp_path_factory):
    with Kerberos(tmp_path_factory.mktemp("kerberos")) as kerberos:
        yield kerberos


@pytest.fixture(scope="module")
def secure(tmp_path_factory, kerberos):
    """A file system that wants tickets, and encrypts all that passes."""
    with Hdfs(tmp_path_factory.mktemp("secure"), datanodes=1, replication=1, kerberos=kerberos) as secure:
        secure.make_folder("/open", 777)
        yield secure


@pytest.fixture(scope="module")
def secure_proxy(secure):
    with Proxy(secure.rpc[0]) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def brief(kerberos):
    """A user whose tickets last for 5 s."""
    return kerberos.user("brief", 5)


@pytest.fixture(scope="module")
def secure_cluster(tmp_path_factory, kerberos, secure, secure_proxy, brief):
    folder = tmp_path_factory.mktemp("secure_cluster")
    alice = kerberos.user("alice")
    kerberos.get_ticket(alice, folder / "alice.tickets")
    # A keytab whose key is not that of the user any more.
    old = kerberos.user("bob")
    kerberos.admin(f"cpw -randkey {old[0]}")
    service = {"hadoop.security.authentication": "kerberos", **secure.settings}
    keytab = lambda user: service | {"hdfs.kerberos.principal": user[0], "hdfs.kerberos.keytab": user[1]}
    cache = lambda user, file: service | {"hdfs.kerberos.principal": user[0], "hdfs.kerberos.cache": f"FILE:{folder}/{file}"}
    config = folder / "nunatak.toml"
    config.write_text(
        hadoop("keytab", f"{secure.uri}/open/keytab", keytab(alice))
        + hadoop("default_cache", f"{secure.uri}/open/default_cache", service)
        + hadoop("named_cache", f"hdfs://{secure_proxy.address}/open/named_cache", cache(brief, "brief.tickets"))
        + hadoop("renewed", f"hdfs://{secure_proxy.address}/open/renewed", keytab(brief))
        + hadoop("no_ticket", f"{secure.uri}/open/x", cache(alice, "nowhere"))
        + hadoop("old_key", f"{secure.uri}/open/x", keytab(old))
        + hadoop("not_mine", f"{secure.uri}/x", keytab(alice))
        + hadoop("plain", f"{secure.uri}/open/x", {"hdfs.retry.timeout-ms": 1000})
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KRB5_CONFIG", str(kerberos.config))
        patch.setenv("KRB5CCNAME", f"FILE:{folder}/alice.tickets")
        cluster = Cluster(folder, "--config", config, executors=2, slots=1).start()
    tpch.load(cluster, scale="0.01", tables=["lineitem"])
    yield cluster
    cluster.stop()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("catalog", ["keytab", "default_cache"])
def test_kerberos(secure_cluster, catalog, mode):
    name = f"{catalog}.in_{mode}.t"
    run = lambda sql: secure_cluster.rows(sql.replace("@", name), headers=in_mode(mode))
    run(f"CREATE SCHEMA {catalog}.in_{mode}")
    run("CREATE TABLE @ AS SELECT * FROM lake.tpch.lineitem")
    assert run(f"SELECT {CHECK} FROM @") == run(f"SELECT {CHECK} FROM lake.tpch.lineitem")
    run("DELETE FROM @ WHERE l_orderkey % 2 = 0")
    run("INSERT INTO @ SELECT * FROM lake.tpch.lineitem WHERE l_orderkey % 2 = 0")
    assert run(f"SELECT {CHECK} FROM @") == run(f"SELECT {CHECK} FROM lake.tpch.lineitem")
    run("DROP TABLE @")


@pytest.mark.parametrize(
    ("catalog", "code", "message"),
    [
        ("no_ticket", "STORAGE_ACCESS_DENIED", "kinit"),
        ("old_key", "STORAGE_ACCESS_DENIED", "hdfs.kerberos.keytab"),
        ("not_mine", "STORAGE_ACCESS_DENIED", "Permission denied: user=alice"),
        ("plain", "STORAGE_UNAVAILABLE", "one that wants Kerberos hangs up"),
    ],
    ids=["no_ticket", "old_key", "not_mine", "plain"],
)
def test_who_is_not_let_in(secure_cluster, secure, failure, catalog, code, message):
    text = failure(secure_cluster, f"CREATE SCHEMA {catalog}.s")
    assert code in text and message in text and secure.rpc[0] in text
    assert secure_cluster.value("SELECT count(*) FROM lake.tpch.lineitem") > 0


def test_tickets_run_out(secure_cluster, secure_proxy, kerberos, brief, failure):
    """One from a keytab is renewed where it is needed; one that somebody else gets is good again when he has got it."""
    tickets = secure_cluster.data_dir.parent / "brief.tickets"
    kerberos.get_ticket(brief, tickets)
    for catalog in ("named_cache", "renewed"):
        secure_cluster.rows(f"CREATE SCHEMA {catalog}.s")
        secure_cluster.rows(f"CREATE TABLE {catalog}.s.t AS SELECT 1 AS a")
    time.sleep(5.5)
    # A connection outlives the ticket that it was made with.
    secure_proxy.cut()
    for mode in MODES:
        secure_cluster.rows("INSERT INTO renewed.s.t SELECT 1 FROM lake.tpch.lineitem WHERE l_orderkey = 1 LIMIT 1", headers=in_mode(mode))
    assert secure_cluster.rows("SELECT count(*) FROM renewed.s.t") == [(4,)]
    text = failure(secure_cluster, "INSERT INTO named_cache.s.t VALUES (2)")
    assert "STORAGE_ACCESS_DENIED" in text and "kinit" in text
    kerberos.get_ticket(brief, tickets)
    secure_cluster.rows("INSERT INTO named_cache.s.t VALUES (3)")
    assert sorted(secure_cluster.rows("SELECT a FROM named_cache.s.t")) == [(1,), (3,)]
