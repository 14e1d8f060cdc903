"""Results of nunatak as Arrow, by the protocol of Trino's clients and its encoding `arrow+zstd`.

    import nunatak_arrow

    with nunatak_arrow.connect("http://127.0.0.1:8080", user="ada", catalog="lake", schema="nyc") as lake:
        table = lake.table("SELECT * FROM flights")
        with lake.execute("SELECT * FROM flights") as result:
            for batch in result:
                ...

The rows of a result come in segments, each a stream of Arrow IPC. Several are fetched at a time, in their order; one is deleted on the server as soon as it was read.
Needs `requests` and `pyarrow`.
"""

import base64
import collections
import concurrent.futures
import contextlib
import threading
import urllib.parse

import pyarrow
import pyarrow.ipc
import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

__all__ = ["Connection", "Error", "Result", "connect"]

ENCODING = "arrow+zstd"
# Without it times would have three digits of a second.
CAPABILITIES = "PARAMETRIC_DATETIME"
# The server takes a client that says nothing in `server.client_timeout`, 5 minutes unless set, for gone.
HEARTBEAT_SECONDS = 30
TIMEOUT_SECONDS = 60
RETRIES = Retry(total=6, backoff_factor=0.2, status_forcelist=[429, 502, 503, 504], allowed_methods=["GET", "HEAD"], raise_on_status=False)


class Error(Exception):
    """A statement has failed. `name`, `code` and `kind` are Trino's, such as TABLE_NOT_FOUND, 46 and USER_ERROR; None where no server has said so."""

    def __init__(self, message, name=None, code=None, kind=None):
        super().__init__(f"{name}: {message}" if name else message)
        self.name, self.code, self.kind = name, code, kind


def connect(url, user, **options):
    """A connection to the server at `url`, such as http://127.0.0.1:8080; see `Connection` for the options."""
    return Connection(url, user, **options)


class Connection:
    """A server, and the session in which statements run there. `fetches` segments are fetched at a time; `http` is the requests.Session to use, for TLS and proxies."""

    def __init__(self, url, user, *, catalog=None, schema=None, session=None, time_zone=None, source="nunatak-arrow", fetches=4, http=None):
        self.url = url.rstrip("/")
        self.fetches = fetches
        given = {"User": user, "Source": source, "Catalog": catalog, "Schema": schema, "Time-Zone": time_zone}
        properties = ",".join(f"{name}={urllib.parse.quote_plus(str(value))}" for name, value in (session or {}).items())
        given |= {"Session": properties or None, "Client-Capabilities": CAPABILITIES, "Query-Data-Encoding": ENCODING}
        self.headers = {f"X-Trino-{name}": value for name, value in given.items() if value is not None}
        self._owns_http = http is None
        self.http = http or requests.Session()
        if self._owns_http:
            # Requests of several threads at a time, those of heartbeats among them.
            adapter = HTTPAdapter(pool_maxsize=fetches + 2, max_retries=RETRIES)
            self.http.mount("http://", adapter)
            self.http.mount("https://", adapter)

    def execute(self, sql):
        """Runs a statement. Its `Result` is an iterator of pyarrow.RecordBatch, which must be read to its end or closed."""
        return Result(self, sql)

    def table(self, sql):
        """Runs a query, and gives all of its rows as a pyarrow.Table."""
        with self.execute(sql) as result:
            return result.read_all()

    def close(self):
        if self._owns_http:
            self.http.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Result:
    """The rows of a statement as record batches, in their order. `schema` is theirs; None for what changes something, which has an `update_type`, and perhaps an `update_count`."""

    def __init__(self, connection, sql):
        self._connection = connection
        self._next = None
        self.query_id = self.update_type = self.update_count = self.schema = None
        self._pool = concurrent.futures.ThreadPoolExecutor(max_workers=connection.fetches, thread_name_prefix="nunatak-arrow")
        self._stopped = threading.Event()
        self._batches = iter(())
        try:
            self._ask(connection.http.post, f"{connection.url}/v1/statement", data=sql.encode())
            threading.Thread(target=self._heartbeat, daemon=True).start()
            self._batches = self._read()
            # As soon as the first rows are there it is known what they are, and whether there are any.
            first = next(self._batches, None)
            self._batches = _chain(first, self._batches)
        except BaseException:
            self.close()
            raise

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return next(self._batches)
        except BaseException:
            self.close()
            raise

    def read_all(self):
        """All rows that were not read yet, as a pyarrow.Table."""
        if self.schema is None:
            raise Error(f"the statement has no rows: it is {self.update_type or 'no query'}")
        return pyarrow.Table.from_batches(list(self), self.schema)

    def close(self):
        """Ends the query, if it has not ended: what is left of its rows is deleted."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._next is not None:
            with contextlib.suppress(requests.RequestException):
                self._connection.http.delete(self._next, headers=self._connection.headers, timeout=TIMEOUT_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _ask(self, send, uri, **options):
        """One request of the protocol: what the server answers, once it was looked at."""
        try:
            answer = send(uri, headers=self._connection.headers, timeout=TIMEOUT_SECONDS, **options)
        except requests.RequestException as error:
            raise Error(f"the server cannot be reached: {error}") from error
        if not answer.ok:
            raise Error(f"the server has answered {answer.status_code} to {uri}: {answer.text[:500]}")
        answer = answer.json()
        self._next = answer.get("nextUri")
        self.query_id = answer["id"]
        self.update_type = answer.get("updateType", self.update_type)
        self.update_count = answer.get("updateCount", self.update_count)
        if error := answer.get("error"):
            raise Error(error["message"], error["errorName"], error["errorCode"], error["errorType"])
        return answer

    def _segments(self):
        """The segments of the result, as the server tells of them."""
        while self._next is not None:
            data = self._ask(self._connection.http.get, self._next).get("data")
            if isinstance(data, dict):
                if data["encoding"] != ENCODING:
                    raise Error(f"the server has answered in the encoding {data['encoding']}, and not {ENCODING}")
                yield from data["segments"]
            elif data and self.update_type is None:
                raise Error(f"the server has answered with rows in JSON: it does not spool results as {ENCODING} (spooling.location in its configuration)")

    def _read(self):
        waiting = collections.deque()
        for segment in self._segments():
            waiting.append(self._pool.submit(self._fetch, segment))
            # Until the first rows are there nothing else is waited for.
            if self.schema is None or len(waiting) >= self._connection.fetches:
                yield from self._decoded(*waiting.popleft().result())
        while waiting:
            yield from self._decoded(*waiting.popleft().result())
        self._stopped.set()
        self._pool.shutdown(wait=True)

    def _fetch(self, segment):
        """The bytes of a segment, and where it is to be acknowledged, if it is."""
        if segment["type"] == "inline":
            return base64.b64decode(segment["data"]), None
        headers = {name: values[0] for name, values in segment.get("headers", {}).items()}
        try:
            # Its address is all that is needed: no header of the session goes to a store.
            answer = self._connection.http.get(segment["uri"], headers=headers, timeout=TIMEOUT_SECONDS)
        except requests.RequestException as error:
            raise Error(f"a segment cannot be fetched: {error}") from error
        if not answer.ok:
            raise Error(f"a segment cannot be fetched: {answer.status_code} {answer.text[:500]}")
        return answer.content, segment.get("ackUri")

    def _decoded(self, content, acknowledged_at):
        with pyarrow.ipc.open_stream(pyarrow.py_buffer(content)) as stream:
            batches = list(stream)
            self.schema = self.schema or stream.schema
        if acknowledged_at is not None:
            self._pool.submit(self._acknowledge, acknowledged_at)
        return batches

    def _acknowledge(self, uri):
        # Where that fails the segment is deleted when its time is over.
        with contextlib.suppress(requests.RequestException):
            self._connection.http.get(uri, timeout=TIMEOUT_SECONDS)

    def _heartbeat(self):
        while not self._stopped.wait(HEARTBEAT_SECONDS):
            if (uri := self._next) is not None:
                with contextlib.suppress(requests.RequestException):
                    self._connection.http.head(uri, headers=self._connection.headers, timeout=TIMEOUT_SECONDS)


def _chain(first, rest):
    if first is not None:
        yield first
    yield from rest
