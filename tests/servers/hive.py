"""Hive Metastores, over databases in PostgreSQL."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from xml.sax.saxutils import escape

from hive_metastore.ThriftHiveMetastore import Client
from hive_metastore.ttypes import GetTableRequest
from thrift.protocol import TBinaryProtocol
from thrift.transport import TSocket, TTransport

from nunatak_testing.server import ROOT, free_port

from .hive_server import loopback
from .process import READY_SECONDS, ServerProcess

JARS = ROOT / ".cache/hive"
LOOPBACK = Path(loopback.__file__)
SCHEMAS = {"4.0.1": "hive-schema-4.0.0.postgres.sql", "3.1.3": "hive-schema-3.1.0.postgres.sql"}
HOUSE_KEEPERS = {
    "4.0.1": "org.apache.hadoop.hive.metastore.txn.service.AcidHouseKeeperService",
    "3.1.3": "org.apache.hadoop.hive.metastore.txn.AcidHouseKeeperService",
}
PASSWORD = "changeit"
OPENED = ["java.net", "java.lang", "java.util", "java.util.regex"]


def can_be_alone():
    """Whether a server can run in a network of its own."""
    try:
        return subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


class Hive(ServerProcess):
    """One metastore, whose database is one of `postgres`. It makes the folders of schemas and tables itself, so it knows the way to buckets of `minio` and to `hdfs`, where it makes them as whoever asks.

    Version 3 listens on all addresses and cannot be told otherwise: it runs in a network of its own. With `kerberos` it wants tickets, with `certificate` TLS: a file with a
    certificate of `localhost` and its key (PKCS #12), whose password is `PASSWORD`.
    """

    def __init__(self, folder, postgres, version="4.0.1", minio=None, hdfs=None, lock_seconds=10, kerberos=None, certificate=None, settings=None):
        super().__init__(folder)
        self.name = f"Hive Metastore {version}"
        self.version = version
        self.port = free_port()
        self.postgres = postgres
        self.database = f"hms_{self.port}"
        self.home = next(JARS.glob(f"apache-hive-metastore-{version}-bin"))
        postgres.create_database(self.database)
        postgres.sql(self.database, (self.home / "scripts/metastore/upgrade/postgres" / SCHEMAS[version]).read_text())
        self.is_alone = version.startswith("3")
        self.kerberos = kerberos
        # Tickets and certificates are those of a name.
        self.host = "127.0.0.1" if kerberos is None and certificate is None else "localhost"
        self.settings = {
            "metastore.thrift.port": self.port,
            "metastore.thrift.bind.host": "127.0.0.1",
            "metastore.thrift.uris": self.uri,
            # Not where external tables are: version 4 refuses those.
            "metastore.warehouse.dir": f"file://{self.folder}/managed",
            "metastore.warehouse.external.dir": f"file://{self.folder}/external",
            "javax.jdo.option.ConnectionURL": f"jdbc:postgresql://127.0.0.1:{postgres.port}/{self.database}",
            "javax.jdo.option.ConnectionDriverName": "org.postgresql.Driver",
            "javax.jdo.option.ConnectionUserName": postgres.user,
            "javax.jdo.option.ConnectionPassword": postgres.password,
            "metastore.expression.proxy": "org.apache.hadoop.hive.metastore.DefaultPartitionExpressionProxy",
            "metastore.task.threads.always": "org.apache.hadoop.hive.metastore.events.EventCleanerTask",
            # Locks of those that are gone are given up.
            "metastore.txn.timeout": f"{lock_seconds}s",
            "metastore.housekeeping.threads.on": "true",
            "metastore.task.threads.remote": HOUSE_KEEPERS[version],
            "metastore.acid.housekeeper.interval": "1s",
            "metastore.timedout.txn.reaper.start": "1s",
            "metastore.timedout.txn.reaper.interval": "1s",
        }
        if minio is not None:
            self.settings |= {
                "fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
                "fs.s3a.endpoint": minio.endpoint,
                "fs.s3a.path.style.access": "true",
                "fs.s3a.access.key": minio.user,
                "fs.s3a.secret.key": minio.password,
                "fs.s3a.endpoint.region": "us-east-1",
                "fs.s3a.connection.ssl.enabled": "false",
            }
        if kerberos is not None:
            self.settings |= kerberos.metastore_settings
        if certificate is not None:
            self.settings |= {
                "metastore.use.SSL": "true",
                "metastore.keystore.path": certificate,
                "metastore.keystore.type": "PKCS12",
                "metastore.keystore.password": PASSWORD,
            }
        # What it reaches. In HDFS it asks NameNodes only.
        self.reached = {"database": postgres.port}
        if hdfs is not None:
            self.settings |= hdfs.java_settings
            self.reached |= {f"namenode{number}": int(address.rpartition(":")[2]) for number, address in enumerate(hdfs.rpc)}
        self.settings |= settings or {}
        properties = "".join(f"<property><name>{name}</name><value>{escape(str(value))}</value></property>\n" for name, value in self.settings.items())
        for file in ("metastore-site.xml", "core-site.xml"):
            (self.folder / file).write_text(f"<configuration>\n{properties}</configuration>\n")
        self.listener = None

    @property
    def uri(self):
        return f"thrift://{self.host}:{self.port}"

    @property
    def command(self):
        opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED]
        path = f"{self.folder}:{self.home}/lib/*:{JARS}/lib/*"
        if self.kerberos is not None:
            opened.append(f"-Djava.security.krb5.conf={self.kerberos.config}")
        java = ["java", "-Xmx384m", *opened, "-cp", path, "org.apache.hadoop.hive.metastore.HiveMetaStore", "-p", self.port]
        if not self.is_alone:
            return java
        relays = [f"in:{self.folder}/in={self.port}", *(f"out:{self.folder}/{file}={port}" for file, port in self.reached.items())]
        return ["unshare", "--net", sys.executable, LOOPBACK, *relays, "--", *java]

    @property
    def environment(self):
        return os.environ | {"LC_ALL": "C.UTF-8"}

    def spawn(self):
        if self.is_alone:
            for file in ("in", *self.reached):
                (self.folder / file).unlink(missing_ok=True)
            for file, port in self.reached.items():
                loopback.start_relay(loopback.listen_at_file(self.folder / file), lambda port=port: socket.create_connection(("127.0.0.1", port)))
            if self.listener is None:
                self.listener = socket.create_server(("127.0.0.1", self.port))
                loopback.start_relay(self.listener, lambda: loopback.connect_to_file(self.folder / "in"))
        super().spawn()

    def wait_until_ready(self):
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            try:
                if self.host == "localhost":
                    # Who only looks has neither ticket nor certificate. It listens once it is ready.
                    socket.create_connection(("127.0.0.1", self.port)).close()
                    return
                with self.client() as client:
                    client.getVersion()
                return
            except (OSError, TTransport.TTransportException):
                time.sleep(0.1)
        raise RuntimeError(f"{self.name} is not ready: {(self.folder / 'log').read_text()[-2000:]}")

    def client(self):
        """A client of another's making, to look at what is in it."""
        return HiveClient(self.port)

    def entry(self, schema, table):
        """A table as the metastore has it."""
        with self.client() as client:
            return client.get_table_req(GetTableRequest(dbName=schema, tblName=table)).table


class HiveClient(Client):
    """PyIceberg's Thrift client, connected."""

    def __init__(self, port):
        self.transport = TTransport.TBufferedTransport(TSocket.TSocket("127.0.0.1", port))
        super().__init__(TBinaryProtocol.TBinaryProtocol(self.transport))

    def __enter__(self):
        self.transport.open()
        return self

    def __exit__(self, *_):
        self.transport.close()
