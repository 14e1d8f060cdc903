"""A cluster in etcd: three servers of etcd, two coordinators and three executors, each a process. Any of them may be lost; the others go on, and what was lost comes back."""

import base64
import collections
import concurrent.futures
import contextlib
import itertools
import json
import signal
import threading
import time

import pytest
from pyarrow import flight

from nunatak_testing import flight_sql, tpch
from nunatak_testing.server import MODES, Executor, Server, eventually, free_port, nunatak
from nunatak_testing.trino_http import call, post, run
from servers.etcd import PROGRAMS, Etcd

SCALE = "0.1"
NAMES = ["q01", "q03", "q06", "q12"]
# How long a member whose host is lost is still listed.
LEASE_SECONDS = 10


def headers(mode):
    return {"schema": "tpch", "nunatak-session": f"execution_mode={mode}"}


class World:
    """The processes. Coordinators keep their ports when they are started again; their tables are in one catalog."""

    def __init__(self, folder, version="3.7"):
        self.folder = folder
        self.etcd = Etcd(folder / "etcd", version)
        (folder / "lake").mkdir()
        self.config = folder / "nunatak.toml"
        self.config.write_text(f"[catalog.lake]\ntype = 'hadoop'\nwarehouse = 'file://{folder}/lake'\n[maintenance]\ninterval = '1s'\n")
        self.coordinators, self.executors = [], []
        # Coordinators that are away, and how often each was.
        self.down, self.epochs = set(), collections.Counter()

    def start(self):
        self.etcd.start()
        members = ["--config", self.config, "--etcd", self.etcd.endpoints]
        for number in range(2):
            ports = {door: f"127.0.0.1:{free_port()}" for door in ["flight", "http"]}
            cluster = ["--cluster", f"127.0.0.1:{free_port()}", "--slots", 2, "--memory", "1GiB"]
            self.coordinators.append(Server(self.folder / f"coordinator-{number}", *members, *cluster, role="coordinator", **ports))
        self.executors += [Executor(self.folder / f"executor-{number}", None, *members, memory="1GiB") for number in range(3)]
        for process in self.processes():
            process.spawn()
        for process in self.processes():
            process.wait_until_ready()
        assert eventually(lambda: self.are_listed(2, 3), 10)
        return self

    def processes(self):
        return [*self.coordinators, *self.executors]

    def stop(self):
        for process in self.processes():
            if process.process is not None and process.process.poll() is None:
                process.process.send_signal(signal.SIGCONT)
                process.stop()
        self.etcd.stop()

    def nodes(self, number=0):
        """The addresses of coordinators, of executors and of the leader, as a coordinator lists them."""
        rows = self.coordinators[number].rows("SELECT role, flight, address, leader FROM system.nodes ORDER BY 2, 3")
        coordinators = [flight for role, flight, _, _ in rows if role == "coordinator"]
        return coordinators, [address for role, _, address, _ in rows if role == "executor"], [flight for _, flight, _, leader in rows if leader]

    def are_listed(self, coordinators, executors):
        """Whether all coordinators that are there list so many, and one leader."""
        listed = [self.nodes(number) for number in range(2) if number not in self.down]
        return all((len(c), len(e), len(leaders)) == (coordinators, executors, 1) for c, e, leaders in listed)

    def kill_coordinator(self, number):
        self.down.add(number)
        self.epochs[number] += 1
        self.coordinators[number].kill()

    def restart_coordinator(self, number):
        self.coordinators[number].start()
        self.down.remove(number)

    def pause_coordinator(self, number):
        """It does nothing from now on, and does not know that."""
        self.down.add(number)
        self.epochs[number] += 1
        self.coordinators[number].process.send_signal(signal.SIGSTOP)

    def resume_coordinator(self, number):
        self.coordinators[number].process.send_signal(signal.SIGCONT)
        self.down.remove(number)

    def leader(self, number):
        """Which coordinator leads, as one of them sees it."""
        _, _, leaders = self.nodes(number)
        flights = [coordinator.flight for coordinator in self.coordinators]
        return flights.index(leaders[0]) if leaders else None

    def keys(self):
        """What members have in etcd, without their ids."""
        return sorted(key.split("/")[3] for key in self.etcd.keys("/nunatak/members/"))

    def shuffle_files(self):
        return [path for executor in self.executors for path in executor.data_dir.glob("shuffle/*/*/**/*.arrow")]


class Load:
    """Queries in all modes by both coordinators, one after the other, until the end; answers are compared, and errors are kept but for those of a coordinator that was lost."""

    def __init__(self, world, answers):
        self.world, self.answers = world, answers
        self.done, self.errors = collections.Counter(), []
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(number,), daemon=True) for number in range(2)]

    def run(self, number):
        for step in itertools.count():
            if self.ended.is_set():
                return
            mode, name = MODES[step % len(MODES)], NAMES[step // len(MODES) % len(NAMES)]
            epoch = self.world.epochs[number]
            try:
                found = self.world.coordinators[number].arrow(tpch.QUERIES[name], headers=headers(mode))
            except Exception as error:
                if number not in self.world.down and epoch == self.world.epochs[number]:
                    self.errors.append((number, mode, name, str(error)))
                time.sleep(0.2)
                continue
            if wrong := tpch.wrong(name, found, self.answers[name]):
                self.errors.append((number, mode, name, wrong))
            self.done[number, mode] += 1

    def goes_on(self, *numbers):
        """Whether these coordinators answer in all modes from now on."""
        before = self.done.copy()
        wanted = list(itertools.product(numbers, MODES))
        return eventually(lambda: all(self.done[key] > before[key] for key in wanted), 40)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join(60)
        if kind:
            print(f"under load: {dict(self.done)}, errors: {self.errors}")
        else:
            assert not self.errors, self.errors


@pytest.fixture(scope="module")
def answers():
    judge = tpch.judge(SCALE)
    return {name: judge.execute(tpch.QUERIES[name]).fetchall() for name in NAMES}


@contextlib.contextmanager
def a_world(folder, **options):
    world = World(folder, **options)
    try:
        tpch.load(world.start().coordinators[0], scale=SCALE, tables=["customer", "orders", "lineitem"])
        yield world
    finally:
        world.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with a_world(tmp_path_factory.mktemp("etcd")) as world:
        yield world


@pytest.fixture(autouse=True)
def logs(request):
    """The processes' logs beside a failed test."""
    world = request.getfixturevalue("world") if "world" in request.fixturenames else None
    yield
    if world:
        for process in world.processes():
            print(f"--- {process.data_dir.name}\n" + "\n".join(process.log[-20:]))


def test_the_others_go_on(world, answers):
    with Load(world, answers) as load:
        assert load.goes_on(0, 1)

        world.executors[0].kill()
        assert eventually(lambda: world.are_listed(2, 2), 10) and load.goes_on(0, 1)
        world.executors[0].start()
        assert eventually(lambda: world.are_listed(2, 3), 10)

        lost = world.etcd.leader()
        lost.kill()
        assert load.goes_on(0, 1) and world.are_listed(2, 3)
        lost.start()

        world.kill_coordinator(0)
        assert load.goes_on(1)
        assert eventually(lambda: world.are_listed(1, 3), LEASE_SECONDS + 5), world.nodes(1)
        world.restart_coordinator(0)
        assert load.goes_on(0, 1) and eventually(lambda: world.are_listed(2, 3), 10)
    expected = ["coordinators"] * 2 + ["executors"] * 3 + ["leader"]
    assert eventually(lambda: world.keys() == expected, LEASE_SECONDS + 5), world.keys()
    # Those of the coordinator that was killed are given up after a while.
    assert eventually(lambda: not world.shuffle_files(), 30), world.shuffle_files()


def test_a_leader_that_was_paused_does_not_lead(tmp_path, answers):
    """The same with the oldest etcd, and a coordinator that only stands still for longer than its lease."""
    with a_world(tmp_path, version="3.4") as world, Load(world, answers) as load:
        assert load.goes_on(0, 1)
        world.etcd.leader().kill()
        number = world.leader(0)
        other = 1 - number
        world.pause_coordinator(number)
        world.executors[0].kill()
        assert load.goes_on(other)
        # It waits while the servers of etcd choose a leader.
        world.executors[0].start()
        assert eventually(lambda: world.are_listed(1, 3) and world.leader(other) == other, LEASE_SECONDS + 5), world.nodes(other)
        world.resume_coordinator(number)
        assert eventually(lambda: "it joins anew" in world.coordinators[number].text(), 5), world.coordinators[number].text()
        assert eventually(lambda: world.are_listed(2, 3) and world.leader(number) == world.leader(other) == other, 10), world.nodes(number)
        assert load.goes_on(0, 1)
        assert eventually(lambda: world.keys() == ["coordinators"] * 2 + ["executors"] * 3 + ["leader"], LEASE_SECONDS), world.keys()


def test_queries_go_on_while_etcd_is_away(world, answers, failure):
    # One server without the others must not be believed.
    left, *others = world.etcd.members
    for member in others:
        member.stop()
    create = f"CREATE CATALOG away USING hadoop WITH (warehouse = 'file://{world.folder}/away')"
    assert "CLUSTER_STATE_UNAVAILABLE" in failure(world.coordinators[0], create)
    with Load(world, answers) as load:
        until = time.monotonic() + LEASE_SECONDS + 2
        assert load.goes_on(0, 1)
        time.sleep(max(0, until - time.monotonic()))
        for number in range(2):
            coordinators, executors, _ = world.nodes(number)
            assert (len(coordinators), len(executors)) == (2, 3), "nobody is gone because etcd is away"
        # Who writes, or changes a session that began meanwhile, needs one coordinator only.
        with world.coordinators[1].connect(username="ada", password="any") as connection, connection.cursor() as cursor:
            cursor.execute("USE tpch").fetchall()
            cursor.execute("CREATE TABLE written_meanwhile AS SELECT 1 AS x").fetchall()
            assert cursor.execute("SELECT x FROM written_meanwhile").fetchall() == [(1,)]
        assert "CLUSTER_STATE_UNAVAILABLE" in failure(world.coordinators[0], create)
        left.stop()
        # What a coordinator sees for itself it believes.
        world.executors[2].kill()
        assert eventually(lambda: len(world.nodes(0)[1]) == len(world.nodes(1)[1]) == 2, 10) and load.goes_on(0, 1)
        world.etcd.start()
        world.executors[2].start()
        assert eventually(lambda: world.are_listed(2, 3), 20), [world.nodes(0), world.nodes(1)]
        assert load.goes_on(0, 1)
    for process in world.processes():
        assert process.process.poll() is None


def test_one_coordinator_leads_and_looks_after_tables(world):
    coordinators, _, (leader,) = world.nodes()
    number = [coordinator.flight for coordinator in world.coordinators].index(leader)
    opted_in = "extra_properties = MAP(ARRAY['nunatak.maintenance.enabled', 'nunatak.maintenance.small-files'], ARRAY['true', '3'])"

    def kept(name, by):
        table = f"tpch.{name}"
        world.coordinators[by].rows(f"CREATE TABLE {table} (n bigint) WITH ({opted_in})")
        for value in range(4):
            world.coordinators[by].rows(f"INSERT INTO {table} VALUES ({value})")
        journal = f"SELECT count(*) FROM system.maintenance WHERE table_name = '{name}' AND state = 'FINISHED'"
        assert eventually(lambda: world.coordinators[by].value(journal) > 0, 15)
        # All have one journal, by which the next leader knows what was done.
        up = [other for other in range(2) if other not in world.down]
        assert eventually(lambda: all(world.coordinators[other].value(journal) > 0 for other in up), 2)

    kept("kept_first", number)
    # One that leaves says so: the other one takes over long before a lease ends.
    world.down.add(number)
    assert world.coordinators[number].stop() == 0
    other = 1 - number
    assert eventually(lambda: world.nodes(other)[2] == [world.coordinators[other].flight], LEASE_SECONDS / 2), world.nodes(other)
    kept("kept_second", other)
    world.restart_coordinator(number)
    assert eventually(lambda: world.are_listed(2, 3), 10)
    assert world.nodes(number)[2] == [world.coordinators[other].flight], "who comes back does not lead at once"

    def journal(number):
        return world.coordinators[number].rows("SELECT * FROM system.maintenance ORDER BY query_id")

    assert eventually(lambda: journal(0) == journal(1), 5) and {row[3] for row in journal(number)} >= {"kept_first", "kept_second"}


def catalogs(world, number):
    return [name for (name,) in world.coordinators[number].rows("SHOW CATALOGS")]


def test_a_catalog_that_is_made_is_every_coordinators(world, failure):
    secret = world.folder / "secret"
    secret.write_text("s3cr3t")
    one, other = world.coordinators
    properties = f"""warehouse = 'file://{world.folder}/made', "s3.secret-access-key" = '${{FILE:{secret}}}', "rest-server.read-only" = true"""
    one.rows(f"CREATE CATALOG made USING hadoop WITH ({properties})")
    assert "made" in catalogs(world, 0) and eventually(lambda: "made" in catalogs(world, 1), 1)
    assert "ALREADY_EXISTS" in failure(other, f"CREATE CATALOG made USING hadoop WITH ({properties})")
    other.rows("CREATE SCHEMA made.s")
    other.rows("CREATE TABLE made.s.t AS SELECT 42 AS x")
    assert one.value("SELECT x FROM made.s.t") == 42
    for coordinator in world.coordinators:
        # To clients of the REST protocol it is there too, and may only be read.
        assert coordinator.rest("HEAD", "v1/made/namespaces/s/tables/t").status_code == 204
        assert coordinator.rest("DELETE", "v1/made/namespaces/s/tables/t").status_code == 403
    kept = world.etcd.ctl("get", "/nunatak/catalogs/made")
    assert "${FILE:" in kept and "s3cr3t" not in kept

    for coordinator in world.coordinators:
        assert coordinator.stop() == 0
    for coordinator in world.coordinators:
        coordinator.start()
    assert [coordinator.value("SELECT x FROM made.s.t") for coordinator in world.coordinators] == [42, 42]
    other.rows("DROP CATALOG made")
    assert "made" not in catalogs(world, 1) and eventually(lambda: "made" not in catalogs(world, 0), 1)
    assert eventually(lambda: world.are_listed(2, 3), 10)


@pytest.mark.parametrize("user", ["ada", None], ids=["token", "cookie"])
def test_a_session_is_every_coordinators(world, user):
    world.coordinators[0].rows("CREATE SCHEMA IF NOT EXISTS elsewhere")
    with flight_sql.Client(*world.coordinators, user=user) as client:
        for turn in range(6):
            here, there = turn % 2, 1 - turn % 2
            schema = ["tpch", "elsewhere"][turn % 2]
            client.rows(f"USE {schema}", here, there)
            client.rows(f"SET SESSION wap_id = 'turn-{turn}'", there, here)
            assert client.rows("SHOW SESSION LIKE 'wap_id'", here, there)[0][1] == f"turn-{turn}"
            assert client.rows("SELECT current_schema", here, there) == client.rows("SELECT current_schema", there, here) == [(schema,)]
        # What it began at one it ends at the other.
        client.act(1, "CloseSession")
        if user:
            with pytest.raises(Exception, match="the session is not known"):
                client.rows("SELECT 1")


def test_statements_are_every_coordinators(world):
    one, other = world.coordinators
    one.rows("CREATE TABLE tpch.notes (n bigint)")
    with flight_sql.Client(*world.coordinators, user="ada") as client:
        handle = client.prepare(0, "SELECT CAST(? AS bigint) * 2 AS twice")
        for value in [21, 4]:
            bound = flight_sql.decode(client.put(1, "CommandPreparedStatementQuery", handle, value))[1]
            info = client.info(0, "CommandPreparedStatementQuery", bound)
            assert info.schema.names == ["twice"] and client.fetch(1, info) == client.fetch(0, info) == [(value * 2,)]
        # A client that goes on with its first handle finds its values where it has sent them.
        assert client.fetch(0, client.info(1, "CommandPreparedStatementQuery", handle)) == [(8,)]
        client.close_prepared(0, handle)

        insert = client.prepare(1, "INSERT INTO tpch.notes VALUES (?)")
        client.put(0, "CommandPreparedStatementUpdate", insert, 1)
        client.close_prepared(0, insert)

        # A ticket of what changes something is good once, in the whole cluster.
        info = client.info(0, "CommandStatementQuery", "INSERT INTO tpch.notes VALUES (2)")
        assert client.fetch(1, info) == [(1,)]
        for at in [0, 1]:
            with pytest.raises(Exception, match="NOT_FOUND: the ticket"):
                client.fetch(at, info)
        assert [coordinator.rows("SELECT n FROM tpch.notes ORDER BY n") for coordinator in world.coordinators] == [[(1,), (2,)]] * 2

        # What nobody has given out is nobody's: neither another statement nor that of another user.
        info = client.info(0, "CommandStatementQuery", "SELECT 1")
        (endpoint,) = info.endpoints
        forged = flight.FlightInfo(info.schema, info.descriptor, [flight.FlightEndpoint(endpoint.ticket.ticket.replace(b"SELECT 1", b"SELECT 2"), [])], -1, -1)
        assert b"SELECT 2" in forged.endpoints[0].ticket.ticket and client.fetch(1, info) == [(1,)]
        with pytest.raises(Exception, match="NOT_FOUND: the ticket was not given out by this cluster"):
            client.fetch(1, forged)
        with pytest.raises(Exception, match="NOT_FOUND: the prepared statement was not given out by this cluster"):
            client.info(0, "CommandPreparedStatementQuery", handle[:-1] + bytes([handle[-1] ^ 1]))

        # What is too long to travel says where it is.
        info = client.info(0, "CommandStatementQuery", f"SELECT length('{'x' * 1_100_000}') AS n")
        (location,) = info.endpoints[0].locations
        assert location.uri.decode() == f"grpc+tcp://{one.flight}"
        with pytest.raises(Exception, match=f"the coordinator at {one.flight} holds"):
            client.fetch(1, info)
        assert client.fetch(0, info) == [(1_100_000,)]


CANCELLED, CANCELLING = b"\x08\x01", b"\x08\x02"


def test_a_query_is_cancelled_by_any_coordinator(world):
    endless = "SELECT count(*) FROM tpch.lineitem AS a CROSS JOIN tpch.lineitem AS b WHERE a.l_orderkey * b.l_orderkey % 7 = 3"
    with flight_sql.Client(*world.coordinators, user="ada") as client, flight_sql.Client(*world.coordinators, user="bob") as other:

        def cancel(by, at, info):
            (result,) = by.act(at, "CancelFlightInfo", flight_sql.encode(info.serialize()))
            return result

        pool = concurrent.futures.ThreadPoolExecutor()
        queries = {"pipelined": endless, "fault_tolerant": f"CREATE TABLE tpch.endless AS {endless.replace('count(*)', 'count(*) AS n')}"}
        for mode, sql in queries.items():
            client.rows(f"SET SESSION execution_mode = '{mode}'")
            info = client.info(0, "CommandStatementQuery", sql)
            rows = pool.submit(client.fetch, 1, info)
            time.sleep(1)
            with pytest.raises(Exception, match="the query is not known"):
                cancel(other, 0, info)
            assert not rows.done() and cancel(client, 0, info) == CANCELLING
            with pytest.raises(Exception, match="USER_CANCELED"):
                rows.result(10)
        # One that has not begun does not begin, wherever its ticket is brought.
        info = client.info(0, "CommandStatementQuery", endless)
        assert cancel(client, 0, info) == CANCELLED
        for at in [0, 1]:
            with pytest.raises(Exception, match="USER_CANCELED"):
                client.fetch(at, info)
        # What one coordinator holds the other one asks it to cancel.
        info = client.info(0, "CommandStatementQuery", f"SELECT length('{'x' * 1_100_000}') AS n")
        assert cancel(client, 1, info) == CANCELLED
        with pytest.raises(Exception, match="NOT_FOUND: the ticket"):
            client.fetch(0, info)
    assert eventually(lambda: all(process.is_idle() for process in world.executors), 10)
def test_clients_of_trino_are_sent_to_the_coordinator_of_their_query(world):
    """A load balancer may bring each request to another coordinator; the session is in the headers, and so is good at all of them."""
    one, other = world.coordinators
    _, _, answer = post(one, "SELECT count(*) FROM orders", {"X-Trino-Catalog": "lake", "X-Trino-Schema": "tpch"})
    rows = []
    while "nextUri" in answer:
        assert answer["nextUri"].startswith(f"http://{one.http}/")
        status, _, answer = call(answer["nextUri"].replace(one.http, other.http))
        assert status == 200
        rows += answer.get("data", [])
    assert rows == [[150_000]], answer
    _, _, answer = post(one, "SELECT 1")
    assert call(answer["nextUri"].replace(one.http, other.http)[:-2] + "/9")[0] == 404


def test_any_coordinator_lists_and_kills_queries(world):
    """Those of Trino's clients and those of Flight SQL, whichever coordinator runs them."""
    one, other = world.coordinators
    endless = "SELECT count(*) FROM tpch.lineitem AS a CROSS JOIN tpch.lineitem AS b WHERE a.l_orderkey * b.l_orderkey % 7 = 5"
    _, _, answer = post(one, endless)
    answer = call(answer["nextUri"])[2]
    listed = f"SELECT state, \"user\", query FROM system.runtime.queries WHERE query_id = '{answer['id']}'"
    assert run(one, listed)["data"] == run(other, listed)["data"] == [["RUNNING", "ada", endless]]
    assert run(other, f"SELECT count(*) > 0 FROM system.runtime.tasks WHERE query_id = '{answer['id']}'")["data"] == [[True]]
    kill = f"CALL system.runtime.kill_query(query_id => '{answer['id']}', message => 'enough')"
    assert "error" not in run(other, kill, {"X-Trino-User": "bob"})
    assert call(answer["nextUri"])[2]["error"]["message"] == "Query killed. Message: enough"
    with flight_sql.Client(*world.coordinators, user="ada") as client, concurrent.futures.ThreadPoolExecutor() as pool:
        rows = pool.submit(client.fetch, 0, client.info(0, "CommandStatementQuery", endless))
        running = f"SELECT query_id FROM system.runtime.queries WHERE query = '{endless}' AND state = 'RUNNING'"
        assert eventually(lambda: run(other, running)["data"], 10)
        ((id,),) = run(other, running)["data"]
        assert "error" not in run(other, f"CALL system.runtime.kill_query('{id}')")
        with pytest.raises(Exception, match="Query killed. No message provided."):
            rows.result(10)
    assert eventually(lambda: all(process.is_idle() for process in world.executors), 10)


def test_nothing_is_left_behind(world):
    # What was killed before is gone with its lease, which begins anew with the etcd that was away.
    everybody = ["coordinators"] * 2 + ["executors"] * 3 + ["leader"]
    assert eventually(lambda: world.keys() == everybody, 2 * LEASE_SECONDS + 5), world.keys()
    assert world.executors[0].stop() == 0 and world.coordinators[0].stop() == 0
    world.down.add(0)
    assert eventually(lambda: world.keys().count("executors") == 2 and world.keys().count("coordinators") == 1, 2), world.keys()
    for process in world.processes():
        process.kill()
    assert eventually(lambda: not world.keys(), LEASE_SECONDS + 5), world.keys()
    # What clients have left ends with its lease; what was done for tables stays.
    left = json.loads(world.etcd.ctl("get", "--prefix", "/nunatak/", "-w", "json"))["kvs"]
    kinds = {(base64.b64decode(pair["key"]).decode().split("/")[2], bool(pair.get("lease"))) for pair in left}
    assert kinds <= {("claims", True), ("sessions", True), ("secrets", False), ("maintenance", False)} and ("claims", True) in kinds, kinds


def test_who_starts_waits_for_etcd(tmp_path):
    etcd = Etcd(tmp_path / "etcd", count=2)
    member = ["--etcd", etcd.endpoints]
    coordinator = Server(tmp_path / "coordinator", *member, "--cluster", "127.0.0.1:0", role="coordinator")
    executors = [Executor(tmp_path / f"executor-{number}", None, *member) for number in range(3)]
    early = [coordinator, *executors[:2]]

    def is_waiting(process):
        lines = [line for line in process.log if "waiting for etcd" in line]
        return lines and "CLUSTER_STATE_UNAVAILABLE" in lines[0] and etcd.members[0].client in lines[0]

    try:
        for process in early:
            process.spawn()
        assert eventually(lambda: all(is_waiting(process) for process in early), 10)
        assert "refused" in executors[0].text()
        started = time.monotonic()
        assert executors[1].stop() == 0 and time.monotonic() - started < 2
        etcd.start()
        for process in [coordinator, executors[0]]:
            process.wait_until_ready()
            assert "etcd answers" in process.text() and process.text().count("waiting for etcd") < 5

        # One server of two has no leader.
        etcd.members[1].kill()
        executors[2].spawn()
        assert eventually(lambda: is_waiting(executors[2]), 15)
        assert executors[2].process.poll() is None and executors[2].ready is None
        etcd.members[1].start()
        executors[2].wait_until_ready()
        assert eventually(lambda: coordinator.value("SELECT count(*) FROM system.nodes") == 3, 10)
    finally:
        for process in [coordinator, *executors]:
            if process.process is not None:
                process.kill()
        etcd.stop()


def test_an_etcd_without_space(tmp_path, failure):
    """It answers, and takes nothing: whoever changes something finds that out once, and then goes on alone."""
    with Etcd(tmp_path / "etcd", count=1, space_bytes=4_000_000) as etcd:
        with Server(tmp_path / "coordinator", "--etcd", etcd.endpoints, "--cluster", "127.0.0.1:0", role="coordinator") as server:
            server.rows("CREATE SCHEMA lake.before")
            claims = len(etcd.keys("/nunatak/claims/"))
            assert claims > 0
            etcd.fill()
            assert "database space exceeded" in failure(server, "CREATE CATALOG one USING hadoop WITH (warehouse = 'file:///nowhere')")
            for name in ["first", "second"]:
                # So long coordinators leave an etcd alone that has failed.
                time.sleep(2.1)
                server.rows(f"CREATE SCHEMA lake.{name}")
            etcd.make_space()
            time.sleep(2.1)
            server.rows("CREATE SCHEMA lake.last")
            assert len(etcd.keys("/nunatak/claims/")) > claims


def test_who_starts_while_etcd_has_no_space(tmp_path):
    """It says what is wrong, and what to do, as long as it waits, which is not longer than it is told to."""
    with Etcd(tmp_path / "etcd", count=1, space_bytes=4_000_000) as etcd:
        etcd.fill()

        def config(wait):
            path = tmp_path / f"{wait}.toml"
            path.write_text(f"[etcd]\nendpoints = '{etcd.endpoints}'\nstart_wait = '{wait}'\n")
            return path

        patient = Executor(tmp_path / "patient", None, "--config", config("50s"))
        hasty = [
            Server(tmp_path / "coordinator", "--config", config("7s"), "--cluster", "127.0.0.1:0", role="coordinator"),
            Executor(tmp_path / "hasty", None, "--config", config("7s")),
        ]
        try:
            for process in [patient, *hasty]:
                process.spawn()
            for process in hasty:
                assert process.process.wait(30) == 2 and process.said_something.wait(5)
                waiting = [line for line in process.log if " WARN " in line and "etcdctl alarm disarm" in line]
                assert 1 <= len(waiting) <= 3, process.text()
                (error,) = [line for line in process.log if line.startswith("error: ")]
                assert "etcd has used up its space" in error and etcd.endpoints in error and "etcdctl defrag" in error, error
            assert patient.process.poll() is None and patient.ready is None
            etcd.make_space()
            patient.wait_until_ready()
        finally:
            for process in [patient, *hasty]:
                process.kill()


@pytest.fixture(params=PROGRAMS)
def secured(request, tmp_path):
    """An etcd that wants certificates, and a user; and how to write a configuration for it."""
    with Etcd(tmp_path / "etcd", request.param, count=1, user="engine", password="enginepw") as etcd:
        files = etcd.files

        def config(name="nunatak", **changes):
            values = {
                "endpoints": etcd.endpoints, "user": "engine", "password": "${ENV:ETCD_PASSWORD}",
                "ca": files / "ca.crt", "cert": files / "nobody.crt", "key": files / "nobody.key",
            } | changes
            path = tmp_path / f"{name}.toml"
            path.write_text("[etcd]\n" + "".join(f"{key} = '{value}'\n" for key, value in values.items() if value is not None))
            return path

        yield etcd, config


def succeeds(server, sql):
    try:
        server.rows(sql)
    except Exception:
        return False
    return True


def test_tls_certificates_and_users(secured, tmp_path, monkeypatch, failure):
    etcd, config = secured
    monkeypatch.setenv("ETCD_PASSWORD", "enginepw")
    coordinator = Server(tmp_path / "coordinator", "--config", config(), "--cluster", "127.0.0.1:0", role="coordinator")
    # An executor needs to know members, and nothing that coordinators share.
    with coordinator, Executor(tmp_path / "executor", None, "--config", config("worker", user="worker")):
        assert eventually(lambda: coordinator.value("SELECT count(*) FROM system.nodes") == 2, 10)
        coordinator.rows("CREATE TABLE t AS SELECT unnest(range(0, 1000)) AS x")
        for mode in MODES:
            assert coordinator.value("SELECT sum(x) FROM t", headers={"nunatak-session": f"execution_mode={mode}"}) == 499_500
        shown = nunatak("config", "--config", config()).stdout
        assert "enginepw" not in shown and 'password = "${ENV:ETCD_PASSWORD}"' in shown
        # What it knew of its clients it has forgotten when it is started again.
        etcd.members[0].kill()
        etcd.members[0].start()
        make = f"CREATE CATALOG made USING hadoop WITH (warehouse = 'file://{tmp_path}/made')"
        assert eventually(lambda: succeeds(coordinator, make), 10)
        assert coordinator.value("SELECT count(*) FROM system.nodes WHERE leader OR role = 'executor'") == 2
        coordinator.rows("DROP CATALOG made")

        # What somebody has put there and nobody can read goes like any other.
        etcd.ctl("put", "/nunatak/catalogs/bad", "{")
        assert "ALREADY_EXISTS" in failure(coordinator, make.replace("made USING", "bad USING"))
        coordinator.rows("DROP CATALOG bad")
        assert "CATALOG_NOT_FOUND" in failure(coordinator, "DROP CATALOG bad")

        # An etcd that stands still is one that is away, from the first statement on.
        etcd.members[0].process.send_signal(signal.SIGSTOP)
        try:
            for _ in range(2):
                coordinator.rows("INSERT INTO t VALUES (1000)")
        finally:
            etcd.members[0].process.send_signal(signal.SIGCONT)
        assert eventually(lambda: succeeds(coordinator, make), 10)
        coordinator.rows("DROP CATALOG made")

        # So is one that does not take us any more: the configuration was good, and nobody who sends a statement can change it.
        etcd.ctl("user", "revoke-role", "engine", "nunatak")
        error = failure(coordinator, make)
        assert "CLUSTER_STATE_UNAVAILABLE" in error and "does not let user engine" in error
        coordinator.rows("INSERT INTO t VALUES (1000)")
        assert coordinator.value("SELECT sum(x) FROM t") == 499_500 + 3 * 1000
        etcd.ctl("user", "grant-role", "engine", "nunatak")
        assert eventually(lambda: succeeds(coordinator, make), 10)
        coordinator.rows("DROP CATALOG made")
    assert {key.split("/")[2] for key in etcd.keys()} <= {"claims", "secrets"}

    def refused(role, path):
        doors = ["--flight", "127.0.0.1:0", "--http", "127.0.0.1:0"] if role == "coordinator" else []
        started = time.monotonic()
        done = nunatak(role, "--config", path, "--data-dir", tmp_path / "x", "--cluster", "127.0.0.1:0", *doors)
        # What does not pass by itself is not waited for.
        assert time.monotonic() - started < 10, done.stderr
        assert done.returncode == 2 and done.stdout == "", (done.returncode, done.stdout)
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, done.stderr
        return errors[0]

    for role in ["coordinator", "executor"]:
        text = refused(role, config("password", password="wrong"))
        assert f"etcd at {etcd.endpoints} refuses user 'engine'" in text and "see etcd.user and etcd.password" in text
    assert "does not let user engine" in (text := refused("coordinator", config("prefix", prefix="/other"))) and "begin with '/other/'" in text
    without = config("no_certificate", cert=None, key=None, user=None, password=None)
    assert "etcd cannot be reached to list the members: https://127.0.0.1" in refused("coordinator", without)
    expired = config("expired", cert=etcd.files / "expired.crt", key=etcd.files / "expired.key")
    assert "etcd cannot be reached to list the members: https://127.0.0.1" in (text := refused("coordinator", expired)) and "etcd.cert" in text, text
    assert "etcd.ca: file '/nowhere' cannot be read" in refused("coordinator", config("no_ca", ca="/nowhere"))
    etcd.ctl("role", "add", "reader")
    etcd.ctl("role", "grant-permission", "reader", "--prefix=true", "read", "/nunatak/")
    etcd.ctl("user", "add", "reader:enginepw")
    etcd.ctl("user", "grant-role", "reader", "reader")
    assert "does not let user reader write a member" in refused("executor", config("reader", user="reader"))
    stranger = config("stranger", ca=etcd.files / "root.crt")
    assert "etcd cannot be reached to list the members: https://127.0.0.1" in (text := refused("executor", stranger)) and "etcd.ca" in text, text
    other_key = config("other_key", key=etcd.files / "root.key")
    assert "cannot be connected to" in (text := refused("executor", other_key)) and "etcd.key" in text, text
    nowhere = config("nowhere", endpoints=f"https://127.0.0.1:{free_port()}", start_wait="1s")
    for role in ["coordinator", "executor"]:
        text = refused(role, nowhere)
        assert "etcd cannot be reached to list the members: https://127.0.0.1" in text and "refused" in text


def test_bad_flags():
    done = nunatak("executor", "--etcd", "http://127.0.0.1:1", "--coordinator", "127.0.0.1:2")
    assert done.returncode == 2 and "cannot be used with" in done.stderr
    done = nunatak("coordinator", "--etcd", "nowhere")
    assert done.returncode == 2 and "flag --etcd: etcd.endpoints: 'nowhere' is not the address of a server" in done.stderr
