"""MinIO: an object store that speaks S3."""

import base64
import os
import re
import ssl

from nunatak_testing.server import ROOT, eventually, free_port

from .etcd import make_certificates
from .issuer import DISCOVERY
from .process import ServerProcess

BINARY = ROOT / ".cache/bin/minio"


class Minio(ServerProcess):
    """One server over a folder, with buckets. `settings` are those of a catalog's storage.

    With `secure` it speaks TLS, by a certificate that an authority of its own has signed, and has the key `kms_key` to encrypt objects with. With `issuer` it lets in whoever
    has a token of that issuer for `audience`, as the role `role`.
    """

    name = "MinIO"
    user = "nunatak"
    password = "not-a-secret"
    kms_key = "nunatak-key"
    audience = "lake"

    def __init__(self, folder, *buckets, secure=False, issuer=None):
        super().__init__(folder)
        self.issuer = issuer
        self.certificates = None
        if secure:
            self.certificates = self.folder / "certificates"
            make_certificates(self.certificates)
            (self.certificates / "server.crt").rename(self.certificates / "public.crt")
            (self.certificates / "server.key").rename(self.certificates / "private.key")
            self.tls = ssl.create_default_context(cafile=self.authority)
        self.address = f"127.0.0.1:{free_port()}"
        # A folder of the drive is a bucket.
        for bucket in buckets:
            (self.folder / "data" / bucket).mkdir(parents=True)

    @property
    def endpoint(self):
        return f"{'https' if self.certificates else 'http'}://{self.address}"

    @property
    def authority(self):
        return self.certificates / "ca.crt"

    @property
    def role(self):
        told = lambda: re.search(r"arn:minio:\S+", (self.folder / "log").read_text())
        assert eventually(told, 10), "MinIO has told of no role"
        return told().group()

    @property
    def settings(self):
        return {
            "s3.endpoint": self.endpoint,
            "s3.access-key-id": self.user,
            "s3.secret-access-key": self.password,
            "s3.region": "us-east-1",
        }

    @property
    def command(self):
        arguments = ["--certs-dir", self.certificates] if self.certificates else []
        # It tells its roles when it starts.
        arguments += [] if self.issuer else ["--quiet"]
        return [BINARY, "server", *arguments, "--address", self.address, "--console-address", "127.0.0.1:0", self.folder / "data"]

    @property
    def environment(self):
        more = {}
        if self.certificates:
            more["MINIO_KMS_SECRET_KEY"] = f"{self.kms_key}:{base64.b64encode(bytes(range(32))).decode()}"
        if self.issuer:
            more |= {
                "MINIO_IDENTITY_OPENID_CONFIG_URL": self.issuer.address + DISCOVERY,
                "MINIO_IDENTITY_OPENID_CLIENT_ID": self.audience,
                "MINIO_IDENTITY_OPENID_ROLE_POLICY": "readwrite",
            }
        return os.environ | more | {
            "MINIO_ROOT_USER": self.user,
            "MINIO_ROOT_PASSWORD": self.password,
            "MINIO_BROWSER": "off",
            # It asks nobody for updates.
            "MINIO_UPDATE": "off",
            "HOME": str(self.folder),
        }

    @property
    def ready_url(self):
        return f"{self.endpoint}/minio/health/ready"
