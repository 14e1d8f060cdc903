"""The Flight SQL door, as the Arrow JDBC driver uses it. The checks are in java/FlightSqlCheck.java; one JVM runs them all."""

from pathlib import Path

import pytest

from nunatak_testing.java_checks import names, outcomes
from nunatak_testing.server import ROOT, eventually

SOURCE = Path(__file__).parent / "java/FlightSqlCheck.java"


@pytest.fixture(scope="module")
def outcome(server, numbers):
    (driver,) = (ROOT / ".cache/jars").glob("flight-sql-jdbc-driver-*.jar")
    url = f"jdbc:arrow-flight-sql://{server.flight}/?useEncryption=false"
    return outcomes(SOURCE, driver, url, "--add-opens=java.base/java.nio=org.apache.arrow.memory.core,ALL-UNNAMED")


@pytest.mark.parametrize("check", names(SOURCE))
def test_jdbc(outcome, check):
    assert check in outcome, outcome
    assert outcome[check].startswith("ok "), outcome[check]


def test_nothing_runs_on_when_the_driver_is_gone(server, outcome):
    assert eventually(server.is_idle, 3)
