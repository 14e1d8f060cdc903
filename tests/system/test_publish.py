"""Branches that are written, and what waits to be published: read and published by Spark too."""

import pytest

from nunatak_testing.spark import MODES, alike

WAP = "extra_properties = MAP(ARRAY['write.wap.enabled'], ARRAY['true'])"


def ids(server, table, **options):
    return [row[0] for row in server.rows(f"SELECT id FROM {table} ORDER BY id", **options)]


def execute(server, table, call):
    return dict(server.rows(f"ALTER TABLE {table} EXECUTE {call}"))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("mode", MODES)
def test_a_branch_is_written(server, mode, version):
    table = f"branched_{mode}_{version}"
    options = {"headers": {"nunatak-session": f"execution_mode={mode}"}}
    server.rows(f"CREATE TABLE {table} (id bigint, name varchar) WITH (format_version = {version})")
    server.rows(f"INSERT INTO {table} VALUES (1, 'a'), (2, 'b'), (3, 'c')", **options)
    server.rows(f"ALTER TABLE {table} CREATE BRANCH side")
    assert server.value(f'INSERT INTO "{table}@side" VALUES (4, \'d\')', **options) == 1
    assert server.value(f'DELETE FROM "{table}@side" WHERE id = 1', **options) == 1
    assert server.value(f"UPDATE \"{table}@side\" SET name = 'x' WHERE id = 2", **options) == 1
    merge = f'MERGE INTO "{table}@side" AS t USING (VALUES 3, 9) AS s(id) ON t.id = s.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.id, \'m\')'
    assert server.value(merge, **options) == 2
    server.rows(f"INSERT INTO {table} VALUES (5, 'e')", **options)
    assert ids(server, table, **options) == [1, 2, 3, 5]
    side = [(2, "x"), (4, "d"), (9, "m")]
    assert server.rows(f'SELECT * FROM "{table}@side" ORDER BY id', **options) == side
    assert server.rows(f"SELECT * FROM {table} FOR VERSION AS OF 'side' ORDER BY id", **options) == side
    # A join of both branches is a join of two tables.
    assert server.rows(f'SELECT a.id FROM {table} AS a JOIN "{table}@side" AS b ON a.id = b.id', **options) == [(2,)]
    execute(server, f'"{table}@side"', "optimize")
    assert server.rows(f'SELECT * FROM "{table}@side" ORDER BY id', **options) == side
    assert server.value(f'SELECT count(*) FROM "{table}@side$files"') == 1
    assert ids(server, table, **options) == [1, 2, 3, 5]
    server.rows(f'TRUNCATE TABLE "{table}@side"')
    assert ids(server, f'"{table}@side"') == [] and ids(server, table) == [1, 2, 3, 5]


def test_a_branch_is_written_by_both(server, spark):
    server.rows("CREATE TABLE spark.shared (id bigint)")
    server.rows("INSERT INTO spark.shared VALUES 1")
    server.rows("ALTER TABLE spark.shared CREATE BRANCH side")
    server.rows('INSERT INTO spark."shared@side" VALUES 2')
    spark.run("INSERT INTO spark.shared.branch_side VALUES (3)", "DELETE FROM spark.shared.branch_side WHERE id = 2")
    server.rows('INSERT INTO spark."shared@side" SELECT id + 10 FROM spark."shared@side"')
    assert ids(server, 'spark."shared@side"') == [1, 3, 11, 13]
    assert spark.rows("SELECT id FROM spark.shared VERSION AS OF 'side' ORDER BY id") == [(1,), (3,), (11,), (13,)]
    assert alike(server, spark, "SELECT id FROM spark.shared") == [(1,)]
    # The columns of a branch are those of the table.
    server.rows("ALTER TABLE spark.shared ADD COLUMN name varchar")
    server.rows('INSERT INTO spark."shared@side" VALUES (20, \'n\')')
    assert server.rows('SELECT name FROM spark."shared@side" WHERE id IN (1, 20) ORDER BY id') == [(None,), ("n",)]
    execute(server, "spark.shared", "fast_forward('main', 'side')")
    assert alike(server, spark, "SELECT id, name FROM spark.shared ORDER BY id") == [(1, None), (3, None), (11, None), (13, None), (20, "n")]


def test_rollback_of_a_branch(server):
    server.rows("CREATE TABLE undone AS SELECT 1 AS id")
    server.rows("ALTER TABLE undone CREATE BRANCH side")
    first = server.value('SELECT snapshot_id FROM "undone$snapshots"')
    server.rows('INSERT INTO "undone@side" VALUES 2')
    server.rows("INSERT INTO undone VALUES 3")
    execute(server, '"undone@side"', f"rollback_to_snapshot({first})")
    assert ids(server, '"undone@side"') == [1] and ids(server, "undone") == [1, 3]


def test_publishing_of_a_branch(server, spark):
    """The session's branch is what is read and written, until it is published."""
    audit = {"headers": {"nunatak-session": "wap_branch=audit"}}
    server.rows(f"CREATE TABLE spark.audited WITH ({WAP}) AS SELECT 1 AS id")
    server.rows("CREATE TABLE spark.other AS SELECT 1 AS id")
    server.rows("INSERT INTO spark.audited VALUES 2", **audit)
    server.rows("INSERT INTO spark.other VALUES 2", **audit)
    assert ids(server, "spark.audited", **audit) == [1, 2] and ids(server, "spark.audited") == [1]
    assert ids(server, "spark.other") == [1, 2], "tables that do not ask for it are written at once"
    server.rows("UPDATE spark.audited SET id = id + 10 WHERE id = 2", **audit)
    assert spark.rows("SELECT id FROM spark.audited VERSION AS OF 'audit' ORDER BY id") == [(1,), (12,)]
    execute(server, "spark.audited", "fast_forward('main', 'audit')")
    assert alike(server, spark, "SELECT id FROM spark.audited ORDER BY id") == [(1,), (12,)]


def test_publishing_of_what_waits(server, spark, failure):
    server.rows(f"CREATE TABLE spark.waiting WITH ({WAP}) AS SELECT 1 AS id")
    first, second, third = ({"headers": {"nunatak-session": f"wap_id={name}"}} for name in ["first", "second", "third"])
    server.rows("INSERT INTO spark.waiting VALUES 2", **first)
    server.rows("INSERT INTO spark.waiting VALUES 3", **second)
    server.rows("DELETE FROM spark.waiting WHERE id = 1", **third)
    assert ids(server, "spark.waiting", **first) == [1], "what waits is on no branch"
    assert server.value('SELECT count(*) FROM spark."waiting$snapshots"') == 4
    execute(server, "spark.waiting", "publish_changes(wap_id => 'second')")
    assert alike(server, spark, "SELECT id FROM spark.waiting ORDER BY id") == [(1,), (3,)]
    # The next one was not made from this head: its rows are added again.
    spark.run("CALL lake.system.publish_changes('spark.waiting', 'first')")
    assert alike(server, spark, "SELECT id FROM spark.waiting ORDER BY id") == [(1,), (2,), (3,)]
    assert "ALREADY_EXISTS" in failure(server, "ALTER TABLE spark.waiting EXECUTE publish_changes('second')")
    assert "ALREADY_EXISTS" in failure(server, "ALTER TABLE spark.waiting EXECUTE publish_changes('first')")
    assert "NOT_SUPPORTED" in failure(server, "ALTER TABLE spark.waiting EXECUTE publish_changes('third')")
    assert "NOT_FOUND" in failure(server, "ALTER TABLE spark.waiting EXECUTE publish_changes('fourth')")
    assert alike(server, spark, "SELECT id FROM spark.waiting ORDER BY id") == [(1,), (2,), (3,)]


@pytest.mark.parametrize("property", ["wap_branch=audit", "wap_id=later"])
def test_the_main_branch_by_name(server, property):
    """Whatever the session's branch: a name that says the branch means it."""
    table = f"by_name_{property[:6]}"
    audit = {"headers": {"nunatak-session": property}}
    server.rows(f"CREATE TABLE {table} (id bigint) WITH ({WAP})")
    main = f'"{table}@main"'
    assert server.value(f"INSERT INTO {main} VALUES 1", **audit) == 1
    server.rows(f"INSERT INTO {table} VALUES 2", **audit)
    assert server.value(f"INSERT INTO {main} VALUES 3", **audit) == 1
    assert server.value(f"UPDATE {main} SET id = id + 10 WHERE id = 3", **audit) == 1
    assert ids(server, main, **audit) == [1, 13] == ids(server, table)
    assert ids(server, table, **audit) == ([1, 2] if property == "wap_branch=audit" else [1, 13])
    joined = f"SELECT m.id FROM {main} AS m JOIN {table} AS t ON t.id = m.id ORDER BY 1"
    assert server.rows(joined, **audit) == ([(1,)] if property == "wap_branch=audit" else [(1,), (13,)])


@pytest.mark.parametrize("property", ["wap_branch=audit", "wap_id=later"])
def test_a_table_that_waits_is_not_replaced(server, failure, property):
    """Its columns and properties belong to no branch: nothing of it would wait."""
    table = f"replaced_{property[:6]}"
    audit = {"headers": {"nunatak-session": property}}
    server.rows(f"CREATE TABLE {table} WITH ({WAP}) AS SELECT 1 AS id")
    for definition in [" AS SELECT 2 AS id", " (id bigint)", f" WITH ({WAP}) AS SELECT * FROM {table}"]:
        assert "NOT_SUPPORTED: table" in failure(server, f"CREATE OR REPLACE TABLE {table}{definition}", **audit)
    server.rows(f"INSERT OVERWRITE {table} VALUES 3", **audit)
    assert ids(server, table) == [1]
    server.rows(f"CREATE OR REPLACE TABLE {table} AS SELECT 4 AS id")
    assert ids(server, table) == [4]
    server.rows(f"CREATE OR REPLACE TABLE {table} AS SELECT 5 AS id", **audit)
    assert ids(server, table) == [5], "the table does not ask for it any more"


def test_an_id_is_taken_once(server, failure):
    """A job that runs again does not bring its rows twice."""
    first, second = ({"headers": {"nunatak-session": f"wap_id={name}"}} for name in ["first", "second"])
    server.rows(f"CREATE TABLE loaded WITH ({WAP}) AS SELECT 1 AS id")

    def check_taken(job, sql):
        assert "ALREADY_EXISTS: table 'default.loaded' has changes under the wap_id" in failure(server, sql, **job)

    server.rows("INSERT INTO loaded VALUES 2", **first)
    server.rows("INSERT INTO loaded VALUES 3", **second)
    for sql in ["INSERT INTO loaded VALUES 2", "DELETE FROM loaded WHERE id = 1", "UPDATE loaded SET id = 5"]:
        check_taken(first, sql)
    assert server.value('SELECT count(*) FROM "loaded$snapshots"') == 3
    # The first one becomes the head itself, the second one is made again on top of it.
    execute(server, "loaded", "publish_changes('first')")
    execute(server, "loaded", "publish_changes('second')")
    check_taken(first, "INSERT INTO loaded VALUES 2")
    check_taken(second, "INSERT INTO loaded VALUES 3")
    assert ids(server, "loaded") == [1, 2, 3]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_cherry_pick(server, spark, failure, version):
    table = f"spark.picked{version}"
    server.rows(f"CREATE TABLE {table} (id bigint, part integer) WITH (format_version = {version}, partitioning = ARRAY['part'])")
    server.rows(f"INSERT INTO {table} VALUES (1, 1)")
    server.rows(f"ALTER TABLE {table} CREATE BRANCH side")
    name = f'spark."picked{version}@side"'
    server.rows(f"INSERT INTO {name} VALUES (2, 2), (3, 3)")
    server.rows(f"INSERT INTO {name} VALUES (4, 4)")
    picked = server.value(f'SELECT snapshot_id FROM spark."picked{version}$snapshots" ORDER BY committed_at DESC LIMIT 1')
    server.rows(f"INSERT INTO {table} VALUES (5, 5)")
    done = execute(server, table, f"cherrypick_snapshot({picked})")
    assert done["source_snapshot_id"] == picked != done["current_snapshot_id"]
    assert alike(server, spark, f"SELECT id FROM {table} ORDER BY id") == [(1,), (4,), (5,)]
    assert "ALREADY_EXISTS" in failure(server, f"ALTER TABLE {table} EXECUTE cherrypick_snapshot({picked})")
    if version == 3:
        rows = server.rows(f"SELECT _row_id FROM {table}")
        assert len(set(rows)) == 3
    server.rows(f"DELETE FROM {table} WHERE id = 4")
    assert alike(server, spark, f"SELECT id FROM {table} ORDER BY id") == [(1,), (5,)]
    assert ids(server, name) == [1, 2, 3, 4]


def test_what_is_refused(server, failure):
    server.rows(f"CREATE TABLE refused WITH ({WAP}) AS SELECT 1 AS id")
    server.rows("ALTER TABLE refused CREATE TAG marked")
    server.rows("ALTER TABLE refused CREATE BRANCH side")
    assert "NOT_FOUND: table 'default.refused' has no branch 'sied'" in failure(server, 'INSERT INTO "refused@sied" VALUES 2')
    assert "INVALID_ARGUMENTS: 'marked' is a tag" in failure(server, 'INSERT INTO "refused@marked" VALUES 2')
    assert "INVALID_ARGUMENTS: 'marked' is a tag" in failure(server, "INSERT INTO refused VALUES 2", headers={"nunatak-session": "wap_branch=marked"})
    assert "NOT_SUPPORTED" in failure(server, 'ALTER TABLE "refused@side" ADD COLUMN x bigint')
    assert "TABLE_NOT_FOUND" in failure(server, 'DROP TABLE "refused@side"')
    assert "TABLE_NOT_FOUND" in failure(server, 'SELECT * FROM "none@side"')
    assert "INVALID_SESSION_PROPERTY" in failure(server, "SELECT 1", headers={"nunatak-session": "wap_branch=a,wap_id=b"})
    assert ids(server, "refused") == [1]
