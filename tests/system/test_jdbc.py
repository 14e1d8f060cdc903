"""The Flight SQL door, as the Arrow JDBC driver uses it. The checks are in java/FlightSqlCheck.java; one JVM runs them all."""

import re
import subprocess
from pathlib import Path

import pytest

from nunatak_testing.server import ROOT, eventually

SOURCE = Path(__file__).parent / "java/FlightSqlCheck.java"
CHECKS = re.findall(r'CHECKS\.put\("(\w+)"', SOURCE.read_text())


@pytest.fixture(scope="module")
def outcome(server, numbers):
    """What the program printed about each check: `ok NAME`, or `FAILED NAME: why` and where."""
    (driver,) = (ROOT / ".cache/jars").glob("flight-sql-jdbc-driver-*.jar")
    command = ["java", "-Duser.timezone=UTC", "--add-opens=java.base/java.nio=org.apache.arrow.memory.core,ALL-UNNAMED", "-cp", driver, SOURCE]
    command.append(f"jdbc:arrow-flight-sql://{server.flight}/?useEncryption=false")
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    parts = re.split(r"^(?=ok |FAILED )", run.stdout, flags=re.MULTILINE)
    return {part.split()[1].strip(":"): part for part in parts[1:]} or {"output": run.stdout}


@pytest.mark.parametrize("check", CHECKS)
def test_jdbc(outcome, check):
    assert check in outcome, outcome
    assert outcome[check].startswith("ok "), outcome[check]


def test_nothing_runs_on_when_the_driver_is_gone(server, outcome):
    assert eventually(server.is_idle, 3)
