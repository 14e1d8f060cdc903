"""Iceberg's own REST catalog server, over a JdbcCatalog in a SQLite file."""

import os
import urllib.error

from nunatak_testing.server import ROOT, free_port

from .process import ServerProcess

JARS = ROOT / ".cache/rest-server"


def aws_jars():
    """What Java needs to reach S3, which Iceberg's jars for engines do not have."""
    lib = JARS / "lib"
    (s3,) = lib.glob("s3-*.jar")
    return [*lib.glob(f"*-{s3.stem.removeprefix('s3-')}.jar"), *lib.glob("reactive-streams-*.jar")]


class Rest(ServerProcess):
    """One server whose tables lie in `warehouse`: a folder, a place in a bucket of `minio`, or one in HDFS, which clients with the settings `hadoop` find.

    With `credential` (id:secret) it lets in only who has a token, which is good for `token_seconds`. With `vend_seconds` it gives out credentials of `minio` for each
    table, which it says to be good for so long; `vended` are the tables that it has given some for.
    """

    name = "the REST server"

    def __init__(self, folder, warehouse, minio=None, credential=None, token_seconds=3600, vend_seconds=None, hadoop=None):
        super().__init__(folder)
        self.port = free_port()
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
        (self.folder / "etc").mkdir(exist_ok=True)
        values = "".join(f"<property><name>{name}</name><value>{value}</value></property>" for name, value in (hadoop or {}).items())
        (self.folder / "etc/core-site.xml").write_text(f"<configuration>{values}</configuration>")
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

    @property
    def command(self):
        java = ["java", "-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{self.folder}/etc:{JARS}/classes:{JARS}/lib/*"]
        return [*java, "org.apache.iceberg.rest.RestServer", self.port, *(f"{name}={value}" for name, value in self.properties.items())]

    @property
    def environment(self):
        # Files have names of any letters.
        return os.environ | {"LC_ALL": "C.UTF-8"}

    @property
    def ready_url(self):
        return f"{self.uri}/v1/config"

    def is_answer(self, error):
        # It wants a token.
        return isinstance(error, urllib.error.HTTPError)
