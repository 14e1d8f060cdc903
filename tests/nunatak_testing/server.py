"""The real binary as a process: start it, wait for its ready line, talk to it, end it."""

import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import adbc_driver_flightsql.dbapi as flightsql
from pyiceberg.catalog.sql import SqlCatalog

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("NUNATAK_BINARY", ROOT / "target/release/nunatak"))
READY = re.compile(r"^ready: flight=(\S+) http=(\S+)$")
READY_SECONDS = 60
STOP_SECONDS = 20


class NotReady(Exception):
    """The server ended, or said nothing, before it was ready."""


class Server:
    """`nunatak standalone` over one data directory. Ports are free ones unless named; output is kept in `log`."""

    def __init__(self, data_dir, *arguments, flight="127.0.0.1:0", http="127.0.0.1:0"):
        self.data_dir = Path(data_dir)
        self.command = [str(BINARY), "standalone", "--data-dir", str(data_dir), "--flight", flight, "--http", http, *arguments]
        self.log = []
        self.process = None
        self.flight = self.http = None

    def start(self):
        self.flight = self.http = None
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        ready = threading.Event()
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout, ready), daemon=True)
        self.reader.start()
        if not ready.wait(READY_SECONDS) or self.flight is None:
            self.kill()
            raise NotReady(f"exit code {self.process.returncode}\n{self.text()}")
        return self

    def _read(self, output, ready):
        for line in output:
            self.log.append(line.rstrip("\n"))
            if match := READY.match(self.log[-1]):
                self.flight, self.http = match.groups()
                ready.set()
        ready.set()

    def text(self):
        return "\n".join(self.log)

    def stop(self, how=signal.SIGTERM):
        """Asks the server to end, and gives its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self):
        """`kill -9`, by process id."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        self.kill() if kind else self.stop()

    def connect(self, headers=None, **options):
        """A new ADBC connection. `headers` go with every call, `options` to the driver."""
        options |= {f"adbc.flight.sql.rpc.call_header.{name}": value for name, value in (headers or {}).items()}
        return flightsql.connect(f"grpc://{self.flight}", db_kwargs=options, autocommit=True)

    def arrow(self, sql, parameters=None, **options):
        """Runs one statement on a connection of its own and gives its rows as a pyarrow table."""
        with self.connect(**options) as connection, connection.cursor() as cursor:
            return cursor.execute(sql, parameters).fetch_arrow_table()

    def rows(self, sql, parameters=None, **options):
        """The same, as a list of tuples."""
        return list(zip(*(column.to_pylist() for column in self.arrow(sql, parameters, **options).columns)))

    def value(self, sql, parameters=None, **options):
        """The one value of a one-row, one-column answer."""
        ((value,),) = self.rows(sql, parameters, **options)
        return value

    def cpu_seconds(self):
        """Processor time that the server has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def is_idle(self, seconds=0.5):
        """Whether the server does next to nothing for a while."""
        before = self.cpu_seconds()
        time.sleep(seconds)
        return self.cpu_seconds() - before < 0.1 * seconds

    def iceberg(self):
        """The same catalog, opened by PyIceberg."""
        return SqlCatalog("lake", uri=f"sqlite:///{self.data_dir}/catalog.sqlite", warehouse=f"file://{self.data_dir}/warehouse")

    def nunatak(self, verb, *arguments, **options):
        """Runs a client verb of the binary, such as `sql`, against this server."""
        return nunatak(verb, "--server", f"http://{self.flight}", *arguments, **options)


def nunatak(*arguments, timeout=120, **options):
    """Runs the binary and gives its finished process, output as text."""
    return subprocess.run([str(BINARY), *map(str, arguments)], capture_output=True, text=True, timeout=timeout, **options)


def eventually(condition, seconds):
    """Whether `condition()` came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False
