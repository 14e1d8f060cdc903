"""A project of dbt as it is: seeds, views, tables, incremental models of all strategies, snapshots, tests and documentation, by four threads."""

import datetime
import json
from decimal import Decimal
from pathlib import Path

import pytest

from nunatak_testing.workflows import Dbt

PROJECT = Path(__file__).parents[1] / "dbt"
# Batches are of these days alone: dbt would make one for each day up to now.
BATCHES = ("--event-time-start", "2024-05-01", "--event-time-end", "2024-05-05")
NEXT_DAY = ("--vars", json.dumps({"now": "2024-05-04"}))


def day(number):
    return datetime.date(2024, 5, number)


@pytest.fixture(scope="module")
def dbt(server, tmp_path_factory):
    """The project with its seeds, and its models as they are on the third day."""
    dbt = Dbt(server, PROJECT, tmp_path_factory.mktemp("dbt"))
    assert set(dbt.run("seed").values()) == {("success", 0)}
    models = dbt.run("run", *BATCHES)
    assert set(models.values()) == {("success", 0)} and len(models) == 9, models
    return dbt


def test_seeds(server, dbt):
    assert server.rows("SELECT * FROM rides.stations ORDER BY id") == [
        (1, "Jernbanetorget", "Oslo", datetime.date(2016, 4, 4), 24),
        (2, "St. Hans' Torv, nord", "København", datetime.date(2018, 6, 1), None),
        (3, "Åse", "Bergen", datetime.date(2020, 2, 29), 12),
    ]
    assert server.rows("SELECT * FROM rides.trips WHERE id IN (2, 3) ORDER BY id") == [
        (2, 1, datetime.datetime(2024, 5, 1, 9, 30, 0, 123456), 47, Decimal("30.00"), False),
        (3, 2, datetime.datetime(2024, 5, 2, 7, 15), 5, None, True),
    ]


def test_models(server, dbt):
    """What the adapter's own macros make of dates, texts, hashes and lists among them."""
    assert server.rows("SELECT city, trips, fares, ids, hashed, days_open FROM rides.by_city ORDER BY city") == [
        ("Bergen", 1, Decimal("124.94"), "4", "d36096a10b82aadd44de1efb13058c0b", 1524),
        ("København", 2, Decimal("12.50"), "3+5", "a3debce48b46d23de92424bb56e681db", 2163),
        ("Oslo", 2, Decimal("53.13"), "1+2", "f4830432874f86d2e2a1a5f2dbebbc80", 2949),
    ]
    assert server.rows("SELECT * FROM rides.calendar ORDER BY 1") == [(day(number),) for number in range(1, 8)]
    assert server.rows("SELECT id, dear FROM rides.contracted WHERE dear ORDER BY id") == [(2, True), (4, True)]
    made = server.value("SHOW CREATE TABLE rides.daily")
    assert "partitioning = ARRAY['month(day)','bucket(station_id, 4)']" in made
    assert server.rows("SELECT column_name, comment FROM information_schema.columns WHERE table_name = 'paid' AND comment IS NOT NULL") == [("id", "of the trip")]
    left = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'rides' AND table_name LIKE '%\\_\\_dbt\\_%' ESCAPE '\\'"
    assert server.rows(left) == []


def test_tests(dbt):
    """Tests of columns, of one's own, and of a model with rows that are given; none of them fails."""
    results = dbt.run("test")
    assert {status for status, _ in results.values()} == {"pass"} and len(results) == 6


def test_documentation(server, dbt):
    dbt.run("docs", "generate")
    catalog = dbt.artifact("catalog")
    assert not catalog["errors"]
    nodes = {name.split(".")[2]: node for name, node in catalog["nodes"].items()}
    assert {"paid", "daily", "by_city", "merged", "stations", "trips"} <= nodes.keys()
    paid, by_city = nodes["paid"], nodes["by_city"]
    assert (paid["metadata"]["type"], by_city["metadata"]["type"]) == ("VIEW", "BASE TABLE")
    assert (paid["metadata"]["comment"], by_city["metadata"]["comment"]) == ("The trips, with what they cost; it's a view", "What each city takes")
    assert (paid["columns"]["id"]["comment"], by_city["columns"]["city"]["comment"]) == ("of the trip", "its name, as it's written there")
    types = {name: column["type"] for name, column in sorted(paid["columns"].items(), key=lambda column: column[1]["index"])}
    assert types == {
        "id": "integer",
        "station_id": "integer",
        "started": "timestamp(6)",
        "day": "date",
        "minutes": "integer",
        "fare": "decimal(9,2)",
        "member": "varchar",
    }


def test_freshness_of_sources(dbt):
    dbt.run("source", "freshness")
    (source,) = dbt.artifact("sources")["results"]
    assert (source["status"], source["max_loaded_at"]) == ("pass", "2024-05-04T06:00:00+00:00")


def test_another_day(server, dbt):
    """Incremental models take what is new, with columns that came and went; snapshots keep what was before; a test finds what is wrong."""
    assert set(dbt.run("snapshot").values()) == {("success", 0)}
    server.rows("UPDATE rides.stations SET docks = 30, city = 'Oslo S' WHERE id = 1")
    server.rows("UPDATE rides.trips SET fare = 1, started = started + INTERVAL '7' DAY WHERE id = 1")
    server.rows("DELETE FROM rides.trips WHERE id = 2")
    assert {status for status, _ in dbt.run("run", *BATCHES, *NEXT_DAY).values()} == {"success"}

    loaded = "SELECT id, day, minutes, fare, loaded FROM rides.merged ORDER BY id"
    assert server.rows(loaded) == [
        (1, day(1), 12, Decimal("15.63"), day(3)),
        (2, day(1), 47, Decimal("37.50"), day(3)),
        (3, day(2), 5, Decimal("0.00"), day(3)),
        (4, day(2), 61, Decimal("124.94"), day(3)),
        (5, day(3), 10, Decimal("12.50"), day(4)),
        (6, day(4), 20, Decimal("25.00"), day(4)),
    ]
    assert server.rows("SELECT id, minutes FROM rides.appended ORDER BY id") == [(1, None), (2, None), (3, None), (4, None), (5, None), (6, 20)]
    assert server.rows("SELECT day, station_id, minutes, trips FROM rides.replaced ORDER BY 1, 2") == [
        (day(1), 1, 59, None),
        (day(2), 2, 5, None),
        (day(2), 3, 61, None),
        (day(3), 2, 10, 1),
        (day(4), 3, 20, 1),
    ]
    columns = "SELECT column_name FROM information_schema.columns WHERE table_schema = 'rides' AND table_name = 'replaced' ORDER BY ordinal_position"
    assert [name for (name,) in server.rows(columns)] == ["day", "station_id", "minutes", "trips"]
    assert server.rows("SELECT id, fare FROM rides.batched ORDER BY id") == [(3, Decimal("0.00")), (4, Decimal("124.94")), (5, Decimal("12.50")), (6, Decimal("25.00"))]

    assert set(dbt.run("snapshot").values()) == {("success", 0)}
    checked = "SELECT id, city, docks, dbt_valid_to IS NULL FROM rides.stations_checked ORDER BY id, dbt_valid_from"
    assert server.rows(checked) == [(1, "Oslo", 24, False), (1, "Oslo S", 30, True), (2, "København", None, True), (3, "Bergen", 12, True)]
    timed = "SELECT id, fare, year(dbt_valid_to), dbt_is_deleted FROM rides.trips_timed WHERE id <= 3 ORDER BY id, dbt_valid_from"
    this_year = datetime.datetime.now(datetime.UTC).year
    assert server.rows(timed) == [
        (1, Decimal("12.50"), 2024, "False"),
        (1, Decimal("1.00"), 9999, "False"),
        (2, Decimal("30.00"), this_year, "False"),
        (2, Decimal("30.00"), 9999, "True"),
        (3, None, 9999, "False"),
    ]

    server.rows("DELETE FROM rides.stations WHERE id = 3")
    results = dbt.run("test", *NEXT_DAY, fails=True)
    assert {name: result for name, result in results.items() if result[0] != "pass"} == {"relationships_paid_station_id__id__ref_stations_": ("fail", 2)}
