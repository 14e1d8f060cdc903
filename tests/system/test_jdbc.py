"""The Flight SQL door, as the Arrow JDBC driver uses it. The checks are in java/FlightSqlCheck.java; one JVM runs them all."""

import re
import subprocess
from pathlib import Path

import pytest

from nunatak_testing.server import ROOT

SOURCE = Path(__file__).parent / "java/FlightSqlCheck.java"
CHECKS = re.findall(r'CHECKS\.put\("(\w+)"', SOURCE.read_text())


@pytest.fixture(scope="module")
def outcome(server, numbers):
    """What the program printed, as {check: problem or None}, and its whole output."""
    (driver,) = (ROOT / ".cache/jars").glob("flight-sql-jdbc-driver-*.jar")
    command = ["java", "-Duser.timezone=UTC", "--add-opens=java.base/java.nio=org.apache.arrow.memory.core,ALL-UNNAMED", "-cp", driver, SOURCE]
    command.append(f"jdbc:arrow-flight-sql://{server.flight}/?useEncryption=false")
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    problems = {name: problem for name, problem in re.findall(r"^(?:ok|FAILED) (\w+)(?:: (.*))?$", run.stdout, re.MULTILINE)}
    return problems, run.stdout


@pytest.mark.parametrize("check", CHECKS)
def test_jdbc(outcome, check):
    problems, output = outcome
    assert check in problems, output
    assert not problems[check], f"{problems[check]}\n{output[-6000:]}"
