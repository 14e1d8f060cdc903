"""docs/trino-differences.md says where Trino answers otherwise than we do: a few files of `logic/`, run on both, differ in what it lists and in nothing else."""

import pytest

from nunatak_testing.differences import DOCUMENT, LOGIC, Comparison, catalogs_of, tables, twin
from nunatak_testing.server import Server

# The quick ones; `make trino-differences` runs all.
FILES = ["arithmetic", "common_types", "datetime", "decimals", "grouping", "intervals", "set_operations", "trino_types", "values", "windows"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with Server(folder / "data", *twin(folder)) as server:
        yield server


@pytest.fixture(scope="module")
def catalogs(server, trino_server):
    with catalogs_of(server, trino_server) as catalogs:
        yield catalogs


@pytest.mark.parametrize("name", FILES)
def test_file(server, trino_server, catalogs, tmp_path, name):
    comparison = Comparison(server, trino_server, catalogs, tmp_path)
    found = tables(comparison.file(LOGIC / f"{name}.slt")).strip()
    parts = DOCUMENT.read_text().split("\n## ")
    listed = next((part.split("\n", 1)[1].strip() for part in parts if part.startswith(f"{name}\n")), "")
    assert comparison.agreed and found == listed
