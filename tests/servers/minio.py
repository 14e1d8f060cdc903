"""MinIO: an object store that speaks S3."""

import os

from nunatak_testing.server import ROOT, free_port

from .process import ServerProcess

BINARY = ROOT / ".cache/bin/minio"


class Minio(ServerProcess):
    """One server over a folder, with buckets. `settings` are those of a catalog's storage."""

    name = "MinIO"
    user = "nunatak"
    password = "not-a-secret"

    def __init__(self, folder, *buckets):
        super().__init__(folder)
        self.address = f"127.0.0.1:{free_port()}"
        # A folder of the drive is a bucket.
        for bucket in buckets:
            (self.folder / "data" / bucket).mkdir(parents=True)

    @property
    def endpoint(self):
        return f"http://{self.address}"

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
        return [BINARY, "server", "--quiet", "--address", self.address, "--console-address", "127.0.0.1:0", self.folder / "data"]

    @property
    def environment(self):
        return os.environ | {
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
