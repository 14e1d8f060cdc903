"""A Flight SQL client that is told where each of its calls goes: behind a load balancer, the calls of one client reach any of several servers."""

import pyarrow
from pyarrow import flight

TYPES = "type.googleapis.com/arrow.flight.protocol.sql."


def encode(*fields):
    """A message of protobuf whose fields are texts, bytes and messages, numbered from 1."""
    message = b""
    for number, value in enumerate(fields, 1):
        value = value.encode() if isinstance(value, str) else value
        length, size = b"", len(value)
        while size >= 0x80:
            length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
        message += bytes([number << 3 | 2]) + length + bytes([size]) + value
    return message


def decode(message):
    """The fields of such a message, by number."""
    fields, at = {}, 0
    while at < len(message):
        number, at, size, shift = message[at] >> 3, at + 1, 0, 0
        while True:
            size, shift, at = size | (message[at] & 0x7F) << shift, shift + 7, at + 1
            if message[at - 1] < 0x80:
                break
        fields[number], at = message[at : at + size], at + size
    return fields


def command(name, *fields):
    """A command or request of Flight SQL, packed into an `Any`."""
    return encode(TYPES + name, encode(*fields))


class Cookies(flight.ClientMiddlewareFactory):
    """Sends back the cookie that was set last, whoever has set it."""

    def __init__(self):
        super().__init__()
        self.cookie = None

    def start_call(self, info):
        return Call(self)


class Call(flight.ClientMiddleware):
    def __init__(self, cookies):
        super().__init__()
        self.cookies = cookies

    def sending_headers(self):
        return {"cookie": self.cookies.cookie} if self.cookies.cookie else {}

    def received_headers(self, headers):
        for value in headers.get("set-cookie", []):
            self.cookies.cookie = value.split(";")[0]


class Client:
    """One client of several servers; `at` is the number of the one that a call goes to. It keeps cookies, or a token if it logs in."""

    def __init__(self, *servers, user=None):
        self.cookies = None if user else Cookies()
        self.clients = [flight.connect(f"grpc://{server.flight}", middleware=[self.cookies] if self.cookies else None) for server in servers]
        self.options = flight.FlightCallOptions(headers=[self.clients[0].authenticate_basic_token(user, "any")] if user else [])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.close()

    def info(self, at, name, *fields):
        return self.clients[at].get_flight_info(flight.FlightDescriptor.for_command(command(name, *fields)), self.options)

    def fetch(self, at, info):
        """The rows that a flight info stands for, as tuples."""
        (endpoint,) = info.endpoints
        reader = self.clients[at].do_get(endpoint.ticket, self.options)
        # `read_all` takes a query that was cancelled for Ctrl+C, and interrupts the main thread.
        table = pyarrow.Table.from_batches([chunk.data for chunk in reader], reader.schema)
        return list(zip(*(column.to_pylist() for column in table.columns)))

    def rows(self, sql, plan_at=0, run_at=1):
        return self.fetch(run_at, self.info(plan_at, "CommandStatementQuery", sql))

    def act(self, at, name, body=b""):
        return [result.body.to_pybytes() for result in self.clients[at].do_action(flight.Action(name, body), self.options)]

    def prepare(self, at, sql):
        """The handle of a prepared statement."""
        (result,) = self.act(at, "CreatePreparedStatement", command("ActionCreatePreparedStatementRequest", sql))
        return decode(decode(result)[2])[1]

    def close_prepared(self, at, handle):
        assert self.act(at, "ClosePreparedStatement", command("ActionClosePreparedStatementRequest", handle)) == []

    def put(self, at, name, handle, *values):
        """Sends a row of values to a prepared statement, and gives what the server says to it."""
        batch = pyarrow.record_batch([pyarrow.array([value]) for value in values], names=[f"${number}" for number in range(1, len(values) + 1)])
        writer, reader = self.clients[at].do_put(flight.FlightDescriptor.for_command(command(name, handle)), batch.schema, self.options)
        with writer:
            writer.write_batch(batch)
            writer.done_writing()
            return reader.read().to_pybytes()
