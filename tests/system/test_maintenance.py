"""Tables that are put in order by the server itself."""

import re
import time
from datetime import UTC, datetime, timedelta

import pytest

from nunatak_testing.server import Server, eventually

OPTED_IN = "extra_properties = MAP(ARRAY['nunatak.maintenance.enabled'{}], ARRAY['true'{}])"


@pytest.fixture
def start(tmp_path):
    """Starts a server that looks after tables twice a second; again in the same directory if there was one."""
    servers = []

    def start(*settings):
        config = tmp_path / "nunatak.toml"
        config.write_text("\n".join(["[maintenance]", 'interval = "500ms"', *settings]))
        servers.append(Server(tmp_path / "nunatak", "--config", config).start())
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def create(server, name, **properties):
    names = "".join(f", 'nunatak.maintenance.{key.replace('_', '-')}'" for key in properties)
    values = "".join(f", '{value}'" for value in properties.values())
    server.arrow(f"CREATE TABLE {name} (id bigint) WITH ({OPTED_IN.format(names, values)})")


def insert(server, name, times, first=0):
    for id in range(first, first + times):
        server.arrow(f"INSERT INTO {name} VALUES ({id})")


def done(server, table, count, seconds=20):
    """The first runs for a table, once there are so many that have ended."""
    until = time.monotonic() + seconds
    while True:
        sql = f"SELECT procedure, reason, state, metrics, error FROM system.maintenance WHERE table_name = '{table}' AND ended IS NOT NULL ORDER BY started"
        found = server.rows(sql)
        if len(found) >= count:
            return found
        assert time.monotonic() < until, f"only {found}"
        time.sleep(0.2)


def files(server, table):
    return server.rows(f'SELECT count(*) FROM "{table}$files"')[0][0]


def test_tables_that_are_as_they_were_are_not_loaded(start):
    server = start("[log]", 'level = "info,nunatak_coordinator::jobs=debug"')
    create(server, "kept")
    for table in ["one", "other"]:
        server.arrow(f"CREATE TABLE {table} (id bigint)")

    def rounds():
        """How many tables there were in each round so far, and how many of them were loaded."""
        found = (re.search(r"tables are looked at .*tables=(\d+) loaded=(\d+)", line) for line in server.log)
        return [tuple(map(int, match.groups())) for match in found if match]

    assert eventually(lambda: rounds()[-2:] == [(3, 0)] * 2, 10), rounds()
    before = len(rounds())
    insert(server, "other", 1)
    server.set_properties("default.one", {"nunatak.maintenance.enabled": "true"})
    assert eventually(lambda: rounds()[-1] == (3, 0) and sum(loaded for _, loaded in rounds()[before:]) >= 2, 10), rounds()
    assert sum(loaded for _, loaded in rounds()[before:]) == 2, rounds()


def test_small_files_become_few_and_the_journal_says_why(start):
    server = start()
    create(server, "small", small_files=5)
    server.arrow("CREATE TABLE other (id bigint)")
    insert(server, "small", 4)
    insert(server, "other", 6)
    time.sleep(2)
    assert server.rows("SELECT count(*) FROM system.maintenance") == [(0,)]
    insert(server, "small", 2, first=4)
    procedure, reason, state, metrics, error = done(server, "small", 1)[0]
    assert (procedure, state, error) == ("optimize", "FINISHED", None)
    assert "data files can become fewer, nunatak.maintenance.small-files is 5" in reason
    assert dict(metrics)["rewritten_data_files_count"] >= 5
    assert files(server, "small") <= 2
    assert server.rows("SELECT count(*), sum(id) FROM small") == [(6, 15)]
    assert files(server, "other") == 6
    # Nothing more to do: it is not done over and over.
    count = len(done(server, "small", 1))
    time.sleep(2)
    assert len(done(server, "small", 1)) == count


def test_deleted_rows_go(start):
    server = start()
    server.arrow(f"CREATE TABLE deleted WITH (format_version = 3, {OPTED_IN.format('', '')}) AS SELECT unnest(range(0, 1000)) AS id")
    server.arrow("DELETE FROM deleted WHERE id % 20 = 0")
    time.sleep(1.5)
    assert server.rows("SELECT count(*) FROM system.maintenance") == [(0,)]
    server.arrow("DELETE FROM deleted WHERE id % 20 = 1")
    procedure, reason, state, *_ = done(server, "deleted", 1)[0]
    assert (procedure, state) == ("optimize", "FINISHED")
    assert reason == "10 % of the rows in data files are deleted, nunatak.maintenance.delete-ratio is 0.1"
    assert server.rows('SELECT content, record_count FROM "deleted$files"') == [(0, 900)]


def test_snapshots_and_manifests(start):
    server = start()
    create(server, "old", small_files=1000, manifests=8, snapshots=3)
    server.arrow("ALTER TABLE old SET PROPERTIES extra_properties = MAP(ARRAY['history.expire.max-snapshot-age-ms'], ARRAY['1'])")
    insert(server, "old", 9)
    done(server, "old", 2)
    time.sleep(1)
    procedures = {procedure for procedure, *_ in done(server, "old", 2)}
    assert procedures == {"optimize_manifests", "expire_snapshots"}
    assert server.rows('SELECT count(*) FROM "old$snapshots"')[0][0] <= 4
    assert server.rows("SELECT count(*) FROM old") == [(9,)]


def test_tables_by_name_in_quiet_hours(start):
    now = datetime.now(UTC)
    hours = f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=3):%H:%M}"
    settings = ['tables = "default.kept_*, no.*"']
    server = start(*settings, f'quiet_hours = "{hours}"')
    names = ["kept_1", "kept_2", "left"]
    for name in names:
        server.arrow(f"CREATE TABLE {name} (id bigint)")
        insert(server, name, 20)
    server.arrow("ALTER TABLE kept_2 SET PROPERTIES extra_properties = MAP(ARRAY['nunatak.maintenance.enabled'], ARRAY['false'])")
    time.sleep(2)
    assert server.rows("SELECT count(*) FROM system.maintenance") == [(0,)]
    server.stop()
    server = start(*settings)
    done(server, "kept_1", 1)
    time.sleep(1)
    assert [files(server, name) for name in names] == [1, 20, 20]


def test_the_budget_ends_and_a_restart_knows_of_it(start):
    server = start('budget = "1B"')
    create(server, "first", small_files=2)
    insert(server, "first", 2)
    assert done(server, "first", 1)[0][2] == "FINISHED"
    create(server, "second", small_files=2)
    insert(server, "second", 5)
    server.stop()
    server = start('budget = "1B"')
    time.sleep(2)
    assert server.rows("SELECT DISTINCT table_name FROM system.maintenance") == [("first",)]
    assert files(server, "second") == 5


def test_a_table_that_fails_is_left_alone_for_a_while(start):
    server = start()
    create(server, "broken", small_files=2)
    insert(server, "broken", 3)
    done(server, "broken", 1)
    server.set_properties("default.broken", {"nunatak.maintenance.small-files": "few"})
    create(server, "fine", small_files=2)
    insert(server, "fine", 3)
    assert done(server, "fine", 1)[0][2] == "FINISHED"
    assert "property 'nunatak.maintenance.small-files' is 'few', which is not a whole number" in server.text()


def test_system_tables_are_found(start):
    server = start()
    with pytest.raises(Exception, match="table 'system.maintenence' does not exist.*maintenance"):
        server.arrow("SELECT * FROM system.maintenence")
    create(server, "limited")
    insert(server, "limited", 6)
    metrics = dict(server.rows("ALTER TABLE limited EXECUTE optimize(bytes_max => '1B')"))
    assert metrics["rewritten_data_files_count"] == 2
