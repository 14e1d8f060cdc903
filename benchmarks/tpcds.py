"""TPC-DS side by side, in one run and over the same Iceberg tables: nunatak in its two distributed modes, and Trino.

The queries are those of Trino's benchmarks, unedited. nunatak makes the tables by CTAS, and runs as one coordinator and two executors of one slot each; Trino is one process
that reads the tables by our REST catalog. All are asked over Trino's protocol. Answers are compared before anything is timed; queries run in turns, so that all see the
same machine, and the best of ROUNDS counts. TPCDS_SCALE (1) and ROUNDS (2) come from the environment, and QUERIES (q01,q02) if it is not to be all. Prints a Markdown table.
"""

import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from nunatak_testing import tpcds
from nunatak_testing.server import Cluster
from servers.trino import Trino
from timings import fastest, print_table

SCALE = os.environ.get("TPCDS_SCALE", "1")
ROUNDS = int(os.environ.get("ROUNDS", "2"))
ASKED = os.environ.get("QUERIES")
QUERIES = {name: text for name, text in tpcds.texts("tpcds").items() if not ASKED or name in ASKED.split(",")}
MODES = ["pipelined", "fault_tolerant"]


def engines_of(cluster, trino):
    """How to ask each for the answer to a query."""
    def asking(uri, headers=None):
        return lambda text: tpcds.answer(uri, text, headers)

    ours = {f"nunatak {mode}": asking(f"http://{cluster.http}", {"X-Trino-Session": f"execution_mode={mode}"}) for mode in MODES}
    return {"Trino": asking(f"http://127.0.0.1:{trino.port}")} | ours


def check(engines):
    """What is wrong with which answers, beside Trino's."""
    wrong = {}
    for name, text in QUERIES.items():
        right = engines["Trino"](text)
        for engine, ask in engines.items():
            if found := tpcds.wrong(ask(text), right):
                wrong[name] = f"{name} in {engine}: {found}"
    return wrong


def report(best, load_seconds):
    print(f"\nTPC-DS scale {SCALE}, {os.cpu_count()} cores ({platform.machine()}), best of {ROUNDS} in ms. Loading the tables by CTAS took {load_seconds:.1f} s.\n")
    print_table(best, "Trino")


def main():
    with tempfile.TemporaryDirectory(prefix="nunatak-bench-") as folder, Cluster(f"{folder}/nunatak", executors=2, slots=1) as cluster:
        start = time.perf_counter()
        tpcds.load(cluster, scale=SCALE)
        load_seconds = time.perf_counter() - start
        (Path(folder) / "trino").mkdir()
        # With what a server has: the tests' one is made to start quickly.
        with Trino(Path(folder) / "trino", memory_gib=4) as trino, trino.catalogs(tpcds.as_catalog_of_trino(cluster)):
            engines = engines_of(cluster, trino)
            wrong = check(engines)
            print("\n".join(wrong.values()))
            report(fastest({name: sql for name, sql in QUERIES.items() if name not in wrong}, engines, ROUNDS), load_seconds)
            sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
