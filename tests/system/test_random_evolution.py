"""Random programs of changes, maintenance and schema evolution, with DuckDB and Spark as judges. PROGRAMS sets how many, EVOLUTION_SEED the first seed."""

import os

import pytest

from nunatak_testing.random_evolution import Program
from nunatak_testing.server import Server

PROGRAMS = int(os.environ.get("PROGRAMS", "12"))
SEED = int(os.environ.get("EVOLUTION_SEED", "1"))
STEPS = int(os.environ.get("STEPS", "20"))


@pytest.fixture(scope="module")
def server(tmp_path_factory, orphans_of_any_age):
    with Server(tmp_path_factory.mktemp("data") / "nunatak", *orphans_of_any_age) as server:
        yield server


def test_tables_are_as_in_duckdb_and_spark(server, spark):
    for seed in range(SEED, SEED + PROGRAMS):
        program = Program(seed, server)
        program.run(STEPS)
        program.check_with(spark)
