"""Makes `fuzz/corpus`: metadata that Spark and nunatak write, small and of all kinds. Run as `PYTHONPATH=tests .cache/venv/bin/python fuzz/make_seeds.py`."""

import json
import tempfile
from pathlib import Path

from nunatak_testing import puffin
from nunatak_testing.server import Server
from nunatak_testing.spark import Spark

CORPUS = Path(__file__).parent / "corpus"
MERGE_ON_READ = "'write.delete.mode'='merge-on-read', 'write.update.mode'='merge-on-read'"


def make_tables(server, spark):
    server.rows("CREATE SCHEMA seeds")
    for version in [1, 2, 3]:
        table = f"seeds.v{version}"
        mode = f", {MERGE_ON_READ}" if version > 1 else ""
        spark.run(
            f"CREATE TABLE {table} (id bigint, name string, r struct<a: int, b: array<string>>, m map<string, double>, at timestamp) USING iceberg"
            f" PARTITIONED BY (bucket(2, id), days(at)) TBLPROPERTIES ('format-version'='{version}'{mode})",
            f"INSERT INTO {table} SELECT id, concat('n', id), named_struct('a', CAST(id AS int), 'b', array('x')), map('k', id / 2),"
            " timestamp_seconds(id * 10000) FROM range(0, 24)",
            f"ALTER TABLE {table} ADD COLUMN extra decimal(9,2)",
            f"ALTER TABLE {table} ADD PARTITION FIELD truncate(2, name)",
            f"INSERT INTO {table} SELECT id, 'later', NULL, NULL, timestamp_seconds(0), 1.25 FROM range(24, 26)",
            f"DELETE FROM {table} WHERE id IN (3, 11, 12, 20)",
            f"ALTER TABLE {table} CREATE BRANCH side",
        )
        server.rows(f"ANALYZE {table}")
    spark.rows("CREATE TABLE seeds.types (v variant, id bigint) USING iceberg TBLPROPERTIES ('format-version'='3', 'write.metadata.compression-codec'='gzip')")
    spark.rows("CALL lake.system.compute_table_stats(table => 'seeds.v2')")


def main():
    with tempfile.TemporaryDirectory(prefix="nunatak-seeds-") as folder, Server(f"{folder}/nunatak") as server:
        with Spark(server.data_dir) as spark:
            make_tables(server, spark)
        root = str(server.data_dir / "warehouse")
        # Of the same length, since what is packed may lie behind it.
        neutral = "/srv/" + "x" * (len(root) - len("/srv/"))

        def keep(kind, name, content):
            (CORPUS / kind).mkdir(parents=True, exist_ok=True)
            (CORPUS / kind / name).write_bytes(content.replace(root.encode(), neutral.encode()))

        for table in sorted(Path(root, "seeds").iterdir()):
            name = table.name.split("-")[0]
            newest = sorted((table / "metadata").glob("[!.]*"), key=lambda path: path.stat().st_mtime)
            for kind, ending, count in [("metadata", ".metadata.json", 2), ("manifest_list", "snap-", 2), ("manifest", "-m", 3), ("puffin", ".stats", 1)]:
                for number, path in enumerate([path for path in newest if ending in path.name and (kind != "manifest" or "snap-" not in path.name)][-count:]):
                    keep(kind, f"{name}-{number}", path.read_bytes())
            for number, path in enumerate(sorted(table.glob("data/**/[!.]*.puffin"))[:2]):
                keep("puffin", f"{name}-vectors-{number}", path.read_bytes())
                for blob, content in puffin.blobs(path):
                    keep("deletion_vector", f"{name}-{number}-{blob['offset']}-{blob['properties']['cardinality']}", content)
    print(json.dumps({kind.name: len(list(kind.iterdir())) for kind in CORPUS.iterdir()}))


if __name__ == "__main__":
    main()
