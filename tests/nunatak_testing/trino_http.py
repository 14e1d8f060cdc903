"""The protocol of Trino's clients without a client: one request at a time, to look at each answer."""

import gzip
import json
import urllib.error
import urllib.request


def call(uri, body=None, headers=None, method=None):
    """One request: its status, headers and body; the body as JSON if it is that."""
    request = urllib.request.Request(uri, body and body.encode(), {"X-Trino-User": "ada"} | (headers or {}), method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, found, content = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        status, found, content = error.code, error.headers, error.read()
    if found.get("Content-Encoding") == "gzip":
        content = gzip.decompress(content)
    return status, found, json.loads(content) if found.get_content_type() == "application/json" else content.decode()


def address(server):
    """Where a server is: ours, or the address itself."""
    return server if isinstance(server, str) else f"http://{server.http}"


def post(server, sql, headers=None):
    """Sends a statement."""
    return call(f"{address(server)}/v1/statement", sql, headers)


def answers(server, sql, headers=None):
    """All answers to a statement, from the first one on."""
    status, found, answer = post(server, sql, headers)
    assert status == 200, answer
    yield found, answer
    while "nextUri" in answer:
        status, found, answer = call(answer["nextUri"], headers=headers)
        assert status == 200, answer
        yield found, answer


def run(server, sql, headers=None):
    """The last answer to a statement, with the rows of all, and the headers of all that are about the session."""
    rows, session = [], {}
    for found, answer in answers(server, sql, headers):
        rows += answer.get("data", [])
        session |= {name.lower(): value for name, value in found.items() if name.lower().startswith("x-trino-")}
    return answer | {"data": rows, "session": session}


def error(server, sql, headers=None):
    """The error of a statement."""
    return run(server, sql, headers)["error"]
