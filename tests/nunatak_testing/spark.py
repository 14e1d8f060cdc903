"""Spark with Iceberg over the same catalog file and warehouse as a server of ours, in a process of its own."""

import json
import os
import subprocess

from nunatak_testing.server import MODES, ROOT, in_mode

PYTHON = ROOT / ".cache/spark/bin/python"
JARS = ROOT / ".cache/spark-jars"
MERGE_ON_READ = "'write.delete.mode'='merge-on-read', 'write.update.mode'='merge-on-read', 'write.merge.mode'='merge-on-read'"


def in_all_modes(server, sql):
    """The rows of a query, which are the same in all modes of ours."""
    rows = [server.rows(sql, headers=in_mode(mode)) for mode in MODES]
    assert all(of_mode == rows[0] for of_mode in rows), f"{sql}: {dict(zip(MODES, rows))}"
    return rows[0]


def alike(server, spark, sql):
    """The rows of a query, which are the same in Spark and in all modes of ours."""
    theirs = spark.rows(sql)
    ours = in_all_modes(server, sql)
    assert ours == theirs, f"{sql}: {ours} instead of Spark's {theirs}"
    return ours


class Spark:
    """A Spark session. `rows` runs a statement and gives its rows as tuples; values that JSON has no words for come as texts.

    `delete_equal`, `append` and `add_column` do what no statement does, see `spark_java.Table`.
    """

    def __init__(self, data_dir, jars=()):
        self.data_dir = data_dir
        self.jars = jars

    def __enter__(self):
        jars = ",".join(str(jar) for jar in sorted([*JARS.glob("*.jar"), *self.jars]))
        environment = os.environ | {"SPARK_LOCAL_IP": "127.0.0.1", "PYTHONPATH": str(ROOT / "tests")}
        command = [PYTHON, "-m", "nunatak_testing.spark_session", str(self.data_dir), jars]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(60)

    def rows(self, sql, settings=None):
        return [tuple(row) for row in self._ask({"sql": sql, "settings": settings or {}})]

    def run(self, *statements, settings=None):
        for statement in statements:
            self.rows(statement, settings)

    def delete_equal(self, table, columns, rows, partition=None):
        self._ask({"table": table, "method": "delete_equal", "arguments": {"columns": columns, "rows": rows, "partition": partition}})

    def append(self, table, columns, rows):
        self._ask({"table": table, "method": "append", "arguments": {"columns": columns, "rows": rows}})

    def add_column(self, table, name, type, default=None, required=False):
        self._ask({"table": table, "method": "add_column", "arguments": {"name": name, "type": type, "default": default, "required": required}})

    def _ask(self, request):
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"Spark has ended with exit code {self.process.wait(60)}")
        answer = json.loads(answer)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["rows"]
