"""A proxy of HTTP that can answer in the place of the server behind it."""

import http.client
import http.server
import threading

# What is said of one connection, and not of the answer.
OF_CONNECTION = {"connection", "content-length", "transfer-encoding"}


class HttpProxy:
    """Listens at `endpoint` for a server at another one.

    `answer` is given the method, the address, the headers and the body of each request. It gives None if the server is to answer, or a status, a text and headers.
    """

    def __init__(self, server):
        self.server = server.partition("//")[2]
        self.answer = None
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def pass_on(self):
                proxy._pass_on(self)

            do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = pass_on

        self.listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.listener.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.listener.server_port}"

    def __enter__(self):
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown()
        self.listener.server_close()

    def _pass_on(self, request):
        body = request.rfile.read(int(request.headers.get("content-length") or 0))
        given = self.answer and self.answer(request.command, request.path, request.headers, body)
        if given is None:
            status, body, headers = self._ask(request, body)
        else:
            status, text, headers = given
            body = text.encode()
        request.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in OF_CONNECTION:
                request.send_header(name, value)
        # That of an answer to HEAD is of a body that is not sent.
        request.send_header("Content-Length", headers.get("Content-Length", "0") if request.command == "HEAD" else str(len(body)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)

    def _ask(self, request, body):
        connection = http.client.HTTPConnection(self.server, timeout=30)
        try:
            # As it was signed: the name of the host is that of the proxy.
            connection.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        finally:
            connection.close()
