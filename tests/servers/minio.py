"""MinIO: an object store that speaks S3."""

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from nunatak_testing.server import ROOT, free_port

BINARY = ROOT / ".cache/bin/minio"
READY_SECONDS = 60


class Minio:
    """One server over a folder, with buckets. `settings` are those of a catalog's storage."""

    user = "nunatak"
    password = "not-a-secret"

    def __init__(self, folder, *buckets):
        self.folder = Path(folder)
        self.address = f"127.0.0.1:{free_port()}"
        self.process = None
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

    def start(self):
        self.spawn()
        self.wait_until_ready()
        return self

    def spawn(self):
        environment = os.environ | {
            "MINIO_ROOT_USER": self.user,
            "MINIO_ROOT_PASSWORD": self.password,
            "MINIO_BROWSER": "off",
            # It asks nobody for updates.
            "MINIO_UPDATE": "off",
            "HOME": str(self.folder),
        }
        with open(self.folder / "log", "ab") as log:
            command = [BINARY, "server", "--quiet", "--address", self.address, "--console-address", "127.0.0.1:0", self.folder / "data"]
            self.process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=subprocess.STDOUT, env=environment)

    def wait_until_ready(self):
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.endpoint}/minio/health/ready", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise RuntimeError(f"MinIO is not ready: {(self.folder / 'log').read_text()[-2000:]}")

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
