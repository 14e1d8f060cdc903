"""Spark with Iceberg over the same catalog file and warehouse as a server of ours, in a process of its own."""

import json
import os
import subprocess

from nunatak_testing.server import ROOT

PYTHON = ROOT / ".cache/spark/bin/python"
JARS = ROOT / ".cache/spark-jars"


class Spark:
    """A Spark session. `rows` runs a statement and gives its rows as tuples; values that JSON has no words for come as texts."""

    def __init__(self, data_dir):
        self.data_dir = data_dir

    def __enter__(self):
        jars = ",".join(str(jar) for jar in sorted(JARS.glob("*.jar")))
        environment = os.environ | {"SPARK_LOCAL_IP": "127.0.0.1", "PYTHONPATH": str(ROOT / "tests")}
        command = [PYTHON, "-m", "nunatak_testing.spark_session", str(self.data_dir), jars]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(60)

    def rows(self, sql):
        print(json.dumps(sql), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"Spark has ended with exit code {self.process.wait(60)}")
        answer = json.loads(answer)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return [tuple(row) for row in answer["rows"]]

    def run(self, *statements):
        for statement in statements:
            self.rows(statement)
