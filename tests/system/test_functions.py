"""Functions answer as Trino's do: what is in `functions/`, asked of our server and of a real Trino."""

from pathlib import Path

import pytest

from nunatak_testing.judge import differences

FILES = sorted((Path(__file__).parent / "functions").glob("*.tsv"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_ours(server, path):
    wrong = differences(path, f"http://{server.http}")
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_judge(trino_server, path):
    """The answers in the files are Trino's."""
    wrong = differences(path, f"http://127.0.0.1:{trino_server.port}")
    assert not wrong, "\n\n".join(wrong)
