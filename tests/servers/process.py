"""A server that is not ours, as a process that logs into its folder."""

import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

READY_SECONDS = 60


class ServerProcess:
    """One that has a `name`, a `command` to run with an `environment`, and answers at `ready_url` once it is ready; by TLS if it has a `tls` context."""

    tls = None

    def __init__(self, folder):
        self.folder = Path(folder)
        self.process = None

    def start(self):
        self.spawn()
        self.wait_until_ready()
        return self

    def spawn(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(list(map(str, self.command)), stdout=log, stderr=subprocess.STDOUT, env=self.environment)

    def wait_until_ready(self):
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            try:
                with urllib.request.urlopen(self.ready_url, timeout=5, context=self.tls):
                    return
            except (urllib.error.URLError, OSError) as error:
                if self.is_answer(error):
                    return
                time.sleep(0.1)
        raise RuntimeError(f"{self.name} is not ready: {(self.folder / 'log').read_text()[-2000:]}")

    def is_answer(self, error):
        """Whether a refusal shows that it is ready."""
        return False

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
