"""A proxy of TCP that can be told to be slow, to say nothing, to break off in the middle of an answer, or to answer with nonsense."""

import socket
import threading
import time

CHUNK_BYTES = 1 << 16


class Proxy:
    """Listens at `address` for a server at another one.

    `delay_seconds` is how much later an answer comes. `change` is what becomes of each part of an answer, if it is not passed on as it is. `seen` gets all that clients send,
    if it is a list.
    """

    def __init__(self, server):
        host, _, port = server.rpartition(":")
        self.server = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.is_away = False
        self.address = "127.0.0.1:{}".format(self.listener.getsockname()[1])
        self.connections = []
        self.flows = threading.Event()
        self.flows.set()
        self.delay_seconds = 0
        self.change = None
        self.seen = None
        self.nonsense = None
        self.cut_after_bytes = None
        self.losing = None
        self.lost = {}
        self.postponed = None

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.cut()
        self.flows.set()

    def cut(self):
        """Ends all connections."""
        connections, self.connections = self.connections, []
        for connection in connections:
            end(connection)

    def go_away(self):
        """Ends all connections, and each new one at once."""
        self.is_away = True
        self.cut()

    def come_back(self):
        self.is_away = False

    def hold(self):
        """Takes what comes, and passes nothing on, until `let_go`."""
        self.flows.clear()

    def let_go(self):
        self.flows.set()

    def cut_in_answer(self, after_bytes):
        """The next part of an answer that is longer than so many bytes ends after them, and its connection with it."""
        self.cut_after_bytes = after_bytes

    def lose_answer(self, is_meant, instead=b""):
        """The next request of which `is_meant` is true is carried out, and answered with this; then its connection ends. `losing` is None when that has happened."""
        self.losing = (is_meant, instead)

    def postpone(self, is_meant, seconds):
        """The connection of the next request of which `is_meant` is true ends at once, and the server gets the request so much later. `postponed` is None when it has got it."""
        self.postponed = (is_meant, seconds)

    def talk_nonsense(self, nonsense):
        """All connections end; who sends something from now on is answered with this. None: no more."""
        self.nonsense = nonsense
        self.cut()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.is_away:
                client.close()
                continue
            try:
                server = socket.create_connection(self.server, 10)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            self.connections += [client, server]
            for source, target, passes in ((client, server, self._request), (server, client, self._answer)):
                threading.Thread(target=self._pass, args=(source, target, passes), daemon=True).start()

    def _request(self, data, client, server):
        """Whether the connection goes on after something that the client has sent."""
        if self.seen is not None:
            self.seen.append(data)
        if self.nonsense is not None:
            client.sendall(self.nonsense)
            return False
        if self.losing is not None and self.losing[0](data):
            self.lost[server], self.losing = self.losing[1], None
        if self.postponed is not None and self.postponed[0](data):
            end(client)
            time.sleep(self.postponed[1])
            server.sendall(data)
            self.postponed = None
            # The end of a connection does not overtake what was sent before.
            return True
        server.sendall(data)
        return True

    def _answer(self, data, server, client):
        time.sleep(self.delay_seconds)
        if server in self.lost:
            client.sendall(self.lost.pop(server))
            return False
        if self.cut_after_bytes is not None and len(data) > self.cut_after_bytes:
            data, self.cut_after_bytes = data[: self.cut_after_bytes], None
            client.sendall(data)
            return False
        client.sendall(data if self.change is None else self.change(data))
        return True

    def _pass(self, source, target, passes):
        try:
            while data := source.recv(CHUNK_BYTES):
                self.flows.wait()
                if not passes(data, source, target):
                    break
        except OSError:
            pass
        finally:
            end(source)
            end(target)


def end(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
