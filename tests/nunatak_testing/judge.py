"""Expressions and what Trino answers to them, over its HTTP protocol: files of `functions/`, and what a server says to what is in them.

A line of such a file is an expression or a whole query (`SELECT ...`), a tab, the type of its answer in Trino's words, a tab, and the value as JSON; of a query they are
the types of the columns, and the rows. Where there is an error, its name stands behind an exclamation mark instead: `!DIVISION_BY_ZERO`. Empty lines, and lines that begin
with `#`, are for people; `#zone NAME` sets the session's time zone for the lines that follow. What Trino alone can say (it gives random values, say) does not belong here.

    python -m nunatak_testing.judge FILE ...

starts a Trino and writes its answers into files, in place of those that are there; lines may be expressions alone.
"""

import json
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nunatak_testing import trino_http

# How many expressions are asked for at once: one statement each would take a long time.
BATCH = 40


@dataclass
class Line:
    """One of a file. What is not asked has no `sql`."""

    text: str
    sql: str
    zone: str
    expected: list

    @property
    def is_query(self):
        return self.sql.lower().startswith(("select ", "with ", "values "))

    @property
    def statement(self):
        return self.sql if self.is_query else f"SELECT {self.sql}"


def lines(path):
    """Those of a file."""
    zone = "UTC"
    for text in path.read_text().splitlines():
        if text.startswith("#zone "):
            zone = text.split(" ", 1)[1].strip()
        if not text.strip() or text.startswith("#"):
            yield Line(text, "", zone, [])
        else:
            sql, *expected = text.split("\t")
            yield Line(text, sql, zone, expected)


class Client:
    """The least that a client of Trino's protocol can be: no driver stands between us and what is sent. `headers` go with every statement."""

    def __init__(self, uri, headers=None):
        self.uri = uri
        self.headers = headers or {}

    def run(self, sql, zone="UTC"):
        """The types of the columns and the rows; or a text, the name of the error behind `!`."""
        headers = {"X-Trino-User": "test", "X-Trino-Time-Zone": zone, "X-Trino-Client-Capabilities": "PARAMETRIC_DATETIME,SESSION_AUTHORIZATION"}
        headers |= self.headers
        types, data = [], []
        for _, answer in trino_http.answers(self.uri, sql, headers):
            if "error" in answer:
                return f"!{answer['error']['errorName']}"
            types = [unbounded(column["type"]) for column in answer.get("columns") or []] or types
            data += answer.get("data") or []
        return types, data

    def answers(self, asked):
        """What comes of each of these lines, as its file has it: a list of texts."""
        found = {}
        plain = [line for line in asked if not line.is_query and not (line.expected and line.expected[0].startswith("!"))]
        for zone in sorted({line.zone for line in plain}):
            of_zone = [line for line in plain if line.zone == zone]
            for start in range(0, len(of_zone), BATCH):
                batch = of_zone[start : start + BATCH]
                outcome = self.run("SELECT " + ", ".join(line.sql for line in batch), zone)
                if not isinstance(outcome, str):
                    types, [row] = outcome
                    found |= {id(line): [kind, written(value)] for line, kind, value in zip(batch, types, row, strict=True)}
        return [found.get(id(line)) or self.answer(line) for line in asked]

    def answer(self, line):
        outcome = self.run(line.statement, line.zone)
        if isinstance(outcome, str):
            return [outcome]
        types, data = outcome
        return [", ".join(types), written(data if line.is_query else data[0][0])]


def unbounded(kind):
    """A type without the lengths of texts, which we do not have: `substr('abc', 2)` is a `varchar(3)` to Trino."""
    return re.sub(r"varchar\(\d+\)", "varchar", kind)


def written(value):
    """A value as files have it. Doubles differ in their last digits by the way in which they were added up."""
    return json.dumps(rounded(value), ensure_ascii=False, sort_keys=True)


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, list):
        return [rounded(element) for element in value]
    if isinstance(value, dict):
        return {key: rounded(element) for key, element in value.items()}
    return value


def differences(path, uri):
    """Where the answers of a server are other than those in a file."""
    asked = [line for line in lines(path) if line.sql]
    found = Client(uri).answers(asked)
    return [
        f"{line.sql}\n  {' '.join(got)}\n  instead of {' '.join(line.expected)}"
        for line, got in zip(asked, found, strict=True)
        if without_lengths(got) != without_lengths(line.expected)
    ]


def without_lengths(answer):
    """An answer whose types do not say how long a text that was written out is: our texts have no lengths."""
    if len(answer) < 2:
        return answer
    kind, *values = answer
    return [re.sub(r"\b(varchar|char)\(\d+\)", "varchar", kind), *values]


def main(paths):
    from servers.trino import Trino

    with tempfile.TemporaryDirectory() as folder, Trino(Path(folder)) as trino:
        for path in map(Path, paths):
            all_lines = list(lines(path))
            asked = [line for line in all_lines if line.sql]
            found = dict(zip(map(id, asked), Client(f"http://127.0.0.1:{trino.port}").answers(asked), strict=True))
            path.write_text("".join("\t".join([line.sql, *found[id(line)]]) + "\n" if line.sql else f"{line.text}\n" for line in all_lines))


if __name__ == "__main__":
    main(sys.argv[1:])
