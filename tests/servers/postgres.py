"""PostgreSQL of the system's packages, with passwords and TLS."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from nunatak_testing.server import free_port

from .process import READY_SECONDS, ServerProcess

# Whom Debian's package makes: the server does not run as root.
SYSTEM_USER = "postgres"


def bindir():
    """Where Debian has the programs that are not for everybody."""
    known = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if known:
        return known[-1]
    return Path(subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True).stdout.strip())


class Postgres(ServerProcess):
    """One server. It lets in whoever has the password, encrypted or not; its certificate is that of `localhost`, signed by `authority`."""

    name = "PostgreSQL"
    user = "nunatak"
    password = "p@ss/word"

    def __init__(self, folder):
        super().__init__(folder)
        self.port = free_port()
        # Not below the folder: the server's user reaches no folders that are root's own.
        self.home = Path(tempfile.mkdtemp(prefix="nunatak-postgres-"))
        self.data = self.home / "data"
        self.authority = self.home / "ca.crt"
        self.make_certificates()
        (self.home / "password").write_text(self.password)
        if os.getuid() == 0:
            for path in [self.home, *self.home.iterdir()]:
                shutil.chown(path, SYSTEM_USER, SYSTEM_USER)
        self.run(*self.as_user, bindir() / "initdb", "-D", self.data, "-U", self.user, f"--pwfile={self.home}/password",
                 "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8")
        # Nobody but the server's user needs the rest of it.
        self.home.chmod(0o711)
        self.authority.chmod(0o644)

    def make_certificates(self):
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        self.run("openssl", "req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=authority of a test", "-days", "2")
        self.run("openssl", "req", *new_key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
        (self.home / "extensions").write_text("subjectAltName=DNS:localhost\n")
        self.run("openssl", "x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.crt",
                 "-days", "2", "-extfile", "extensions")
        (self.home / "server.key").chmod(0o600)

    def export_certificate(self, path, password):
        """Writes its certificate with the key for another server of `localhost`, as Java's have it (PKCS #12)."""
        self.run("openssl", "pkcs12", "-export", "-in", "server.crt", "-inkey", "server.key", "-out", path, "-passout", f"pass:{password}")
        return path

    def run(self, *command):
        done = subprocess.run(list(map(str, command)), cwd=self.home, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]} failed: {done.stderr[-2000:]}")

    @property
    def as_user(self):
        if os.getuid() != 0:
            return []
        return ["setpriv", f"--reuid={SYSTEM_USER}", f"--regid={SYSTEM_USER}", "--init-groups", "--reset-env"]

    @property
    def command(self):
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "shared_buffers": "32MB",
            "fsync": "off",
            "ssl": "on",
            "ssl_cert_file": self.home / "server.crt",
            "ssl_key_file": self.home / "server.key",
        }
        return [*self.as_user, bindir() / "postgres", "-D", self.data, *(part for name, value in settings.items() for part in ("-c", f"{name}={value}"))]

    @property
    def environment(self):
        return os.environ | {"LC_ALL": "C.UTF-8"}

    def wait_until_ready(self):
        asked = [bindir() / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        until = time.monotonic() + READY_SECONDS
        while subprocess.run(asked).returncode != 0:
            if time.monotonic() > until or self.process.poll() is not None:
                raise RuntimeError(f"{self.name} is not ready: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def uri(self, database, host="127.0.0.1", options="", scheme="postgresql"):
        password = self.password.replace("@", "%40").replace("/", "%2F")
        return f"{scheme}://{self.user}:{password}@{host}:{self.port}/{database}{options}"

    def sql(self, database, text):
        """Runs statements; gives what they print, a row a line."""
        command = [bindir() / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", self.port, "-U", self.user, "-d", database]
        done = subprocess.run([*map(str, command), "-c", text], capture_output=True, text=True, env=os.environ | {"PGPASSWORD": self.password})
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    def create_database(self, name):
        self.sql("postgres", f'CREATE DATABASE "{name}"')

    def stop(self, how=signal.SIGINT):
        """By default it ends its connections first."""
        super().stop(how)

    def kill(self):
        """All of its processes end at once and clean nothing up: without their parent they would live on for a while, and keep the next one from starting."""
        self.stop(signal.SIGQUIT)

    def __exit__(self, *details):
        with contextlib.suppress(subprocess.TimeoutExpired):
            super().__exit__(*details)
        shutil.rmtree(self.home, ignore_errors=True)
