"""Airflow's operators, sensors and hooks for Trino, in a DAG that is run for several hours, one of them twice."""

from decimal import Decimal
from pathlib import Path

from nunatak_testing.workflows import airflow

FOLDER = Path(__file__).parents[1] / "airflow"
HOURS = [("2024-05-01T10:00:00+00:00", "12.50"), ("2024-05-01T11:00:00+00:00", "20"), ("2024-05-01T10:00:00+00:00", "13.25")]


def test_hours_are_merged(server, tmp_path):
    output = airflow(server, FOLDER / "dags", tmp_path, FOLDER / "run.py", FOLDER / "dags/rides.py", *(f"{hour}={fare}" for hour, fare in HOURS))
    states = [line for line in output.splitlines() if line.startswith("2024-05-01T")]
    assert states == [f"{hour} success" for hour, _ in HOURS], output[-5000:]
    hourly = "SELECT hour(hour), id, city, fare FROM flow.rides ORDER BY hour, id"
    assert server.rows(hourly) == [
        (10, 1, "Oslo", Decimal("13.25")),
        (10, 2, "København", Decimal("26.50")),
        (10, 3, None, Decimal("39.75")),
        (11, 1, "Oslo", Decimal("20.00")),
        (11, 2, "København", Decimal("40.00")),
        (11, 3, None, Decimal("60.00")),
    ]
    assert server.rows("SELECT text, count(*) FROM flow.log GROUP BY text ORDER BY text") == [("København", 3), ("Oslo", 3), (None, 3)]
