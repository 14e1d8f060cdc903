"""The real binary as a process: start it, wait for its ready line, talk to it, end it."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import adbc_driver_flightsql.dbapi as flightsql
import requests
from pyiceberg.catalog.sql import SqlCatalog

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("NUNATAK_BINARY", ROOT / "target/release/nunatak"))
READY_SECONDS = 60
STOP_SECONDS = 20
# The ways in which a query may run.
MODES = ["local", "pipelined", "fault_tolerant"]


class NotReady(Exception):
    """The server ended, or said nothing, before it was ready."""


class Process:
    """A server of the binary. Output is kept in `log`; it is ready when a line like READY has come."""

    ready_line = None

    def __init__(self, *command):
        self.command = [str(BINARY), *map(str, command)]
        self.log = []
        self.process = None
        self.ready = None

    def start(self):
        self.spawn()
        self.wait_until_ready()
        return self

    def spawn(self):
        self.ready = None
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        self.said_something = threading.Event()
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout, self.said_something), daemon=True)
        self.reader.start()

    def wait_until_ready(self):
        if not self.said_something.wait(READY_SECONDS) or self.ready is None:
            self.kill()
            raise NotReady(f"exit code {self.process.returncode}\n{self.text()}")

    def _read(self, output, said_something):
        for line in output:
            self.log.append(line.rstrip("\n"))
            if match := self.ready_line.match(self.log[-1]):
                self.ready = match.groups()
                said_something.set()
        said_something.set()

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

    def cpu_seconds(self):
        """Processor time that the server has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_peak(self):
        """The most memory that the server had, in bytes."""
        line = next(line for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) << 10

    def forget_memory_peak(self):
        """The most memory is that from now on. Gives what it has now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self.memory_peak()

    def is_idle(self, seconds=0.5):
        """Whether the server does next to nothing for a while."""
        before = self.cpu_seconds()
        time.sleep(seconds)
        return self.cpu_seconds() - before < 0.1 * seconds


class Server(Process):
    """`nunatak standalone`, or a coordinator, over one data directory. Ports are free ones unless named."""

    ready_line = re.compile(r"^ready: flight=(\S+) http=(\S+)$")

    def __init__(self, data_dir, *arguments, role="standalone", flight="127.0.0.1:0", http="127.0.0.1:0"):
        super().__init__(role, "--data-dir", data_dir, "--flight", flight, "--http", http, *arguments)
        self.data_dir = Path(data_dir)

    @property
    def flight(self):
        return self.ready[0]

    @property
    def http(self):
        return self.ready[1]

    def connect(self, headers=None, **options):
        """A new ADBC connection. `headers` go with every call, `options` to the driver."""
        options |= {f"adbc.flight.sql.rpc.call_header.{name}": value for name, value in (headers or {}).items()}
        return flightsql.connect(f"grpc://{self.flight}", db_kwargs=options, autocommit=True)

    def arrow(self, sql, parameters=None, **options):
        """Runs one statement on a connection of its own and gives its rows as a pyarrow table."""
        with self.connect(**options) as connection, closing(connection.cursor()) as cursor:
            return cursor.execute(sql, parameters).fetch_arrow_table()

    def rows(self, sql, parameters=None, **options):
        """The same, as a list of tuples."""
        return list(zip(*(column.to_pylist() for column in self.arrow(sql, parameters, **options).columns)))

    def value(self, sql, parameters=None, **options):
        """The one value of a one-row, one-column answer."""
        ((value,),) = self.rows(sql, parameters, **options)
        return value

    def rest(self, method, path, **options):
        """A request of the Iceberg REST protocol, as it is written."""
        return requests.request(method, f"http://{self.http}/iceberg/{path}", timeout=30, **options)

    def iceberg(self):
        """The same catalog, opened by PyIceberg."""
        return SqlCatalog("lake", uri=f"sqlite:///{self.data_dir}/catalog.sqlite", warehouse=f"file://{self.data_dir}/warehouse")

    def set_properties(self, table, properties):
        """Sets properties of a table as another writer does, who does not look at their values."""
        with self.iceberg().load_table(table).transaction() as transaction:
            transaction.set_properties(properties)

    def nunatak(self, verb, *arguments, **options):
        """Runs a client verb of the binary, such as `sql`, against this server."""
        return nunatak(verb, "--server", f"http://{self.flight}", *arguments, **options)


class Executor(Process):
    """`nunatak executor`, of a coordinator; of a cluster in etcd if there is none."""

    ready_line = re.compile(r"^ready: cluster=(\S+)$")

    def __init__(self, data_dir, coordinator, *arguments, slots=1, memory="2GiB"):
        joins = [] if coordinator is None else ["--coordinator", coordinator]
        super().__init__("executor", *joins, "--data-dir", data_dir, "--slots", slots, "--memory", memory, *arguments)
        self.data_dir = Path(data_dir)


class Cluster(Server):
    """A coordinator, and executors that have joined it; each has one slot unless told otherwise."""

    def __init__(self, data_dir, *arguments, executors=2, slots=1, memory="2GiB"):
        self.cluster = f"127.0.0.1:{free_port()}"
        super().__init__(Path(data_dir) / "coordinator", *arguments, "--cluster", self.cluster, "--slots", "2", role="coordinator")
        self.executors = [Executor(Path(data_dir) / f"executor-{n}", self.cluster, slots=slots, memory=memory) for n in range(executors)]

    def start(self):
        super().start()
        for executor in self.executors:
            executor.spawn()
        for executor in self.executors:
            executor.wait_until_ready()
        return self

    def stop(self, how=signal.SIGTERM):
        for executor in self.executors:
            executor.stop(how)
        return super().stop(how)

    def kill(self):
        for executor in self.executors:
            executor.kill()
        super().kill()

    def everybody(self):
        return [self, *self.executors]


@contextlib.contextmanager
def closing(cursor):
    """Closes a cursor at the end. Where its server is gone that fails, and must not be tried again when the cursor is collected: the driver has counted it out."""
    try:
        yield cursor
    finally:
        try:
            cursor.close()
        except Exception:
            cursor._closed = True
            raise


def in_mode(mode):
    """Headers of a session whose queries run in this way."""
    return {"nunatak-session": f"execution_mode={mode}"}


def section(name, values):
    """The section of a configuration file that describes a catalog."""
    return f"[catalog.{name}]\n" + "".join(f"{json.dumps(key)} = {json.dumps(value, default=str)}\n" for key, value in values.items())


def free_port():
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
