"""Iceberg's own REST catalog server, over a JdbcCatalog in a SQLite file."""

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from nunatak_testing.server import ROOT, free_port

JARS = ROOT / ".cache/rest-server"
READY_SECONDS = 60


class Rest:
    """One server whose tables lie in `warehouse`: a folder, or a place in a bucket of `minio`.

    With `credential` (id:secret) it lets in only who has a token, which is good for `token_seconds`. With `vend_seconds` it gives out credentials of `minio` for each
    table, which it says to be good for so long; `vended` are the tables that it has given some for.
    """

    def __init__(self, folder, warehouse, minio=None, credential=None, token_seconds=3600, vend_seconds=None):
        self.folder = Path(folder)
        self.port = free_port()
        self.process = None
        self.properties = {
            "catalog-impl": "org.apache.iceberg.jdbc.JdbcCatalog",
            "uri": f"jdbc:sqlite:{self.folder}/catalog.sqlite",
            # SQLite has one writer at a time.
            "clients": "1",
            "jdbc.schema-version": "V1",
            # Without it tables can be put into schemas that are not there.
            "jdbc.strict-mode": "true",
            "warehouse": warehouse,
            "io-impl": "org.apache.iceberg.hadoop.HadoopFileIO",
        }
        if minio is not None:
            self.properties |= {
                "io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
                "http-client.type": "urlconnection",
                "client.region": "us-east-1",
                "s3.path-style-access": "true",
                **{name: value for name, value in minio.settings.items() if name != "s3.region"},
            }
        if credential is not None:
            self.properties |= {"server.credential": credential, "server.token-seconds": str(token_seconds)}
        if vend_seconds is not None:
            self.properties |= {"server.vend": minio.endpoint, "server.vend-seconds": str(vend_seconds)}

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def vended(self):
        lines = (self.folder / "log").read_text(errors="replace").splitlines()
        return [line.removeprefix("vended ") for line in lines if line.startswith("vended ")]

    def start(self):
        self.spawn()
        self.wait_until_ready()
        return self

    def spawn(self):
        command = ["java", "-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{JARS}/classes:{JARS}/lib/*"]
        command += ["org.apache.iceberg.rest.RestServer", str(self.port), *(f"{name}={value}" for name, value in self.properties.items())]
        with open(self.folder / "log", "ab") as log:
            # Files have names of any letters.
            environment = os.environ | {"LC_ALL": "C.UTF-8"}
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)

    def wait_until_ready(self):
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.uri}/v1/config", timeout=5):
                    return
            except urllib.error.HTTPError:
                # It wants a token.
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise RuntimeError(f"the REST server is not ready: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(20)

    def kill(self):
        self.stop(signal.SIGKILL)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()
