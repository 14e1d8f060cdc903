"""Where nunatak and Trino answer otherwise: the statements of `system/logic`, run on both over the same Iceberg tables.

    python -m nunatak_testing.differences

starts our server and a Trino that reads its catalogs by the REST protocol, and writes docs/trino-differences.md; names of files may follow, then it prints what it finds
in them. Queries of both read the tables that we have written. A statement that writes runs on Trino first, on a table of the catalog `twin` that has the same metadata
as ours; after it both tables must have the same rows.

Reasons stand in `system/logic/differences.tsv`, one a line: the name of a file or `*`, a tab, a pattern, a tab, and the reason why a statement of that file differs in which the
pattern is found, or in whose answers it is (`statement => ours => Trino's`).
"""

import contextlib
import json
import re
import sys
import tempfile
import uuid
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from urllib.parse import unquote_plus

import pyarrow
import pyarrow.parquet
from pyiceberg.catalog import load_catalog

from nunatak_testing import trino_http
from nunatak_testing.logic_test import records
from nunatak_testing.server import ROOT, Server, section

LOGIC = ROOT / "tests/system/logic"
REASONS = LOGIC / "differences.tsv"
DOCUMENT = ROOT / "docs/trino-differences.md"
# How many characters of a statement and of an answer are shown.
SHOWN_SQL, SHOWN_ANSWER = 300, 120
READS = ("SELECT", "WITH", "VALUES", "TABLE", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "(", "EXECUTE", "USE", "SET", "RESET", "PREPARE", "DEALLOCATE", "COMMENT")
CHANGES = ("INSERT", "UPDATE", "DELETE", "MERGE")
# Statements about the server itself, which is another one.
OF_SERVER = re.compile(r"explain|show\s+(session|functions|catalogs|create)|(re)?set\s+session", re.IGNORECASE)
# The property that has the zone of a session, there and here.
ZONES = ("time_zone_id", "time_zone")
# What Trino says to what it does not know.
UNKNOWN = {
    "SYNTAX_ERROR", "FUNCTION_NOT_FOUND", "PROCEDURE_NOT_FOUND", "TYPE_NOT_FOUND", "NOT_SUPPORTED", "INVALID_SESSION_PROPERTY", "INVALID_TABLE_PROPERTY",
    "INVALID_PROCEDURE_ARGUMENT", "INVALID_COLUMN_REFERENCE", "MISSING_CATALOG_NAME", "CATALOG_NOT_FOUND", "TABLE_NOT_FOUND", "COLUMN_NOT_FOUND",
}
KINDS = {
    "rows": "both answer, and the answers differ",
    "refused": "Trino answers, nunatak does not",
    "taken": "nunatak answers, Trino does not",
    "types": "the same values, of other types",
    "errors": "both refuse, with other names",
    "ours": "statements of nunatak's own: Trino does not know the function, the property, the table or the syntax",
}


@dataclass
class Difference:
    """One: the name of the file, the statement as it stands there, what kind it is of, and both answers."""

    file: str
    sql: str
    kind: str
    ours: str
    theirs: str


class Session:
    """A client of Trino's protocol whose session lives in headers, as that of every such client."""

    def __init__(self, address, catalog, schema):
        self.address = address
        self.catalog, self.schema = catalog, schema
        self.properties, self.prepared, self.zone = {}, {}, "UTC"

    def ask(self, sql, **elsewhere):
        """The types and the rows of an answer, or the name of the error behind `!`."""
        place = {"catalog": self.catalog, "schema": self.schema} | elsewhere
        headers = {
            "X-Trino-User": "test", "X-Trino-Time-Zone": self.zone, "X-Trino-Client-Capabilities": "PARAMETRIC_DATETIME,SESSION_AUTHORIZATION",
            "X-Trino-Catalog": place["catalog"], "X-Trino-Schema": place["schema"],
        }
        for name, values in (("X-Trino-Session", self.properties), ("X-Trino-Prepared-Statement", self.prepared)):
            if values:
                headers[name] = ",".join(f"{key}={value}" for key, value in values.items())
        types, rows = [], []
        for found, answer in trino_http.answers(self.address, sql, headers):
            if "error" in answer:
                return f"!{answer['error']['errorName']}"
            types = [column["type"] for column in answer.get("columns") or []] or types
            rows += answer.get("data") or []
            self.keep(found)
            if answer.get("updateType") in CHANGES:
                types, rows = ["bigint"], [[answer.get("updateCount")]]
        return types, rows

    def keep(self, headers):
        """What an answer changes in the session."""
        self.catalog = headers.get("X-Trino-Set-Catalog") or self.catalog
        self.schema = headers.get("X-Trino-Set-Schema") or self.schema
        if change := headers.get("X-Trino-Set-Session"):
            name, _, value = change.partition("=")
            if name in ZONES:
                self.zone = unquote_plus(value)
            else:
                self.properties[name] = value
        if (name := headers.get("X-Trino-Clear-Session")) in ZONES:
            self.zone = "UTC"
        else:
            self.properties.pop(name, None)


class Comparison:
    """The statements of one file on both servers."""

    def __init__(self, ours, theirs, catalogs, directory):
        self.addresses = (f"http://{ours.http}", f"http://127.0.0.1:{theirs.port}")
        self.catalogs = catalogs
        self.directory = directory
        self.agreed = 0

    def file(self, path):
        """What differs in a file."""
        pyarrow.parquet.write_table(pyarrow.table({"n": [1, 2, None], "t": ["one", "", None]}), self.directory / "few.parquet")
        schema = f"{path.stem}_{uuid.uuid4().hex[:8]}"
        self.schema, self.ours, self.theirs = schema, *(Session(address, "lake", schema) for address in self.addresses)
        self.variables = {"SCHEMA": schema, "DIRECTORY": str(self.directory), "MODE": "auto"}
        self.agreed = 0
        for catalog in self.catalogs.values():
            catalog.create_namespace(schema)
        found = [difference for record in records(path) if record.applies("auto") for difference in self.record(path.stem, record)]
        return found

    def filled(self, text):
        return re.sub(r"\$([A-Z_]+)\b", lambda match: self.variables.get(match[1], match[0]), text)

    def record(self, file, record):
        kind, text = record.words[0], "\n".join(record.body)
        if kind == "file":
            (self.directory / record.rest(1)).write_text("".join(f"{line}\n" for line in record.body))
        elif kind == "let":
            self.variables[record.rest(1)] = str(self.ours.ask(self.filled(text))[1][0][0])
        elif kind == "table":
            text = f"SELECT * FROM {record.rest(1).split()[0]}"
            yield from self.compared(file, text, self.ours.ask(self.filled(text)), self.theirs.ask(self.filled(text)), False)
        elif kind in ("statement", "query"):
            yield from self.statement(file, text)

    def statement(self, file, text):
        sql = self.filled(text)
        if OF_SERVER.match(sql):
            self.ours.ask(sql)
            self.theirs.zone = self.ours.zone
            return
        if first_word(sql) in READS:
            yield from self.compared(file, text, self.ours.ask(sql), self.theirs.ask(sql), is_ordered(sql))
            return
        # What Trino drops is purged, and its files are ours.
        if re.match(r"drop\s+(table|schema)", sql, re.IGNORECASE):
            self.ours.ask(sql)
            return
        tables = self.give(sql)
        theirs = self.theirs.ask(sql, catalog="twin")
        ours = self.ours.ask(sql)
        is_change = first_word(sql) in CHANGES
        if not is_change or theirs == (["bigint"], [[None]]):
            # What is counted differs: Trino counts no rows of files that it removes as a whole, and gives no numbers of procedures.
            ours, theirs = (answer if isinstance(answer, str) else ([], []) for answer in (ours, theirs))
        differences = list(self.compared(file, text, ours, theirs, False))
        yield from differences
        if not differences and is_change and not isinstance(ours, str):
            for table in tables:
                rows = [self.ours.ask(f'SELECT * FROM {catalog}."{self.schema}"."{table}"') for catalog in ("lake", "twin")]
                yield from self.compared(file, text, *rows, False)

    def give(self, sql):
        """Gives Trino the tables that a statement names, as they are."""
        ours, twin = self.catalogs["lake"], self.catalogs["twin"]
        words = {word.lower() for word in re.findall(r"\w+", sql)}
        names = {name for _, name in ours.list_tables(self.schema)}
        for _, name in twin.list_tables(self.schema):
            if name in words or name not in names:
                twin.drop_table((self.schema, name))
        given = sorted(name for name in names if name.lower() in words)
        for name in given:
            twin.register_table((self.schema, name), ours.load_table((self.schema, name)).metadata_location)
        return given

    def compared(self, file, sql, ours, theirs, is_ordered):
        kind = difference(ours, theirs, is_ordered)
        if kind is None:
            self.agreed += 1
            return
        if not is_ordered:
            ours, theirs = (answer if isinstance(answer, str) else (answer[0], sorted(answer[1], key=repr)) for answer in (ours, theirs))
        yield Difference(file, one_line(sql), kind, self.shown(ours), self.shown(theirs))

    def shown(self, answer):
        """An answer in a few words, the same in each run."""
        text = answer[1:] if isinstance(answer, str) else json.dumps(answer[1], ensure_ascii=False)
        if not isinstance(answer, str) and len(answer[1]) == 1 == len(answer[1][0]):
            text = json.dumps(answer[1][0][0], ensure_ascii=False)
        if not isinstance(answer, str):
            text += f" ({', '.join(answer[0])})"
        for name, value in self.variables.items():
            text = text.replace(value, f"${name}")
        text = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID", text)
        text = re.sub(r"\b\d{18,19}\b", "ID", text)
        return text if len(text) <= SHOWN_ANSWER else f"{text[:SHOWN_ANSWER]}..."


def first_word(sql):
    return re.match(r"\s*(\w+|\()", sql)[1].upper()


def is_ordered(sql):
    """Whether a query says in which order its rows come: within parentheses that says nothing."""
    while sql != (sql := re.sub(r"\([^()]*\)", " ", sql)):
        pass
    return bool(re.search(r"\border\s+by\b", sql, re.IGNORECASE))


def one_line(sql):
    return re.sub(r"\s+", " ", sql).strip()


def difference(ours, theirs, is_ordered):
    """The kind of difference between two answers, `None` if they are alike. How long a text may be is no difference."""
    if isinstance(ours, str) or isinstance(theirs, str):
        if ours == theirs:
            return None
        if isinstance(ours, str) and isinstance(theirs, str):
            return "errors"
        if isinstance(ours, str):
            return "refused"
        return "ours" if theirs[1:] in UNKNOWN else "taken"
    rows = [[list(map(plain, row)) for row in answer[1]] for answer in (ours, theirs)]
    if not is_ordered:
        rows = [sorted(found, key=repr) for found in rows]
    if rows[0] != rows[1]:
        return "rows"
    # Statements that change the session, and those that define things, have no columns with Trino.
    kinds = [[re.sub(r"\b(varchar|char)\(\d+\)", r"\1", kind) for kind in answer[0]] for answer in (ours, theirs)]
    return "types" if kinds[0] != kinds[1] and rows[0] else None


def plain(value):
    """A value without what only its type says: digits that are 0 behind the point of a number or of seconds, and doubles to twelve digits."""
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {key: plain(part) for key, part in sorted(value.items())}
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, float)):
        return f"{float(value):.12g}" if isinstance(value, float) else f"{value}"
    if re.fullmatch(r"-?\d+\.\d+", value):
        with contextlib.suppress(InvalidOperation):
            return f"{Decimal(value).normalize():f}"
    if match := re.fullmatch(r"(.*\d\d:\d\d:\d\d)\.(\d+)(.*)", value):
        fraction = match[2].rstrip("0")
        return f"{match[1]}{'.' + fraction if fraction else ''}{match[3]}"
    return value


def reasons():
    """Those that were written down: the name of a file, a pattern, and the reason."""
    lines = REASONS.read_text().splitlines() if REASONS.exists() else []
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def reason(one, known):
    """That of a difference, if there is one."""
    text = f"{one.sql} => {one.ours} => {one.theirs}"
    return next((why for file, pattern, why in known if (file == "*" or one.file in file.split("|")) and re.search(pattern, text)), "")


def tables(differences):
    """The part of the document about one file."""
    known = reasons()
    lines = []
    for kind, what in KINDS.items():
        found = list({(one.sql, one.ours, one.theirs): one for one in differences if one.kind == kind}.values())
        if found and kind == "ours":
            lines += [f"{what[0].upper()}{what[1:]}:", "", *(f"- {code(one.sql)} {one.theirs}" for one in found), ""]
        elif found:
            lines += [f"{what[0].upper()}{what[1:]}:", "", "| statement | nunatak | Trino | why |", "|---|---|---|---|"]
            lines += [f"| {code(one.sql)} | {code(one.ours)} | {code(one.theirs)} | {reason(one, known)} |" for one in found]
            lines += [""]
    return "\n".join(lines)


def code(text):
    """Text in a cell of a table, short."""
    short = text if len(text) <= SHOWN_SQL else f"{text[:SHOWN_SQL]}..."
    quote = "``" if "`" in short else "`"
    return quote + short.replace("|", "\\|") + quote


def document(found):
    """The whole of it: a list of the name of a file, how many statements are alike in it, and what differs."""
    alike = sum(agreed for _, agreed, _ in found)
    counts = {kind: sum(one.kind == kind for _, _, differences in found for one in differences) for kind in KINDS}
    head = [
        "# Where nunatak and Trino differ",
        "",
        "The statements of `tests/system/logic`, run by nunatak and by Trino 476 over the same Iceberg tables. `make trino-differences` writes this page; reasons are kept in"
        " `tests/system/logic/differences.tsv`. What is not listed has the same rows, types and names of errors in both, but for the lengths of texts. [The guide](guide/sql.md)"
        " has the differences in words.",
        "",
        "| | statements |",
        "|---|---|",
        f"| the same in both | {alike} |",
        *(f"| {what} | {counts[kind]} |" for kind, what in KINDS.items()),
        "",
    ]
    parts = [f"## {name}\n\n{tables(differences)}" for name, _, differences in found if differences]
    return "\n".join(head) + "\n" + "\n".join(parts).rstrip() + "\n"


@contextlib.contextmanager
def catalogs_of(server, trino):
    """Both catalogs of a server of ours in a Trino, and clients of them."""
    properties = {"iceberg.catalog.type": "rest", "iceberg.rest-catalog.uri": f"http://{server.http}/iceberg", "fs.hadoop.enabled": "true"}
    properties |= {"iceberg.rest-catalog.case-insensitive-name-matching": "true"}
    with trino.catalogs({name: properties | {"iceberg.rest-catalog.warehouse": name} for name in ("lake", "twin")}):
        yield {name: load_catalog(name, type="rest", uri=f"http://{server.http}/iceberg", warehouse=name) for name in ("lake", "twin")}


def twin(folder):
    """The arguments of a server of ours that has the catalog `twin` besides its own."""
    config = folder / "nunatak.toml"
    config.write_text(section("twin", {"type": "sql", "uri": f"sqlite://{folder}/twin.sqlite", "warehouse": f"file://{folder}/twin"}))
    return ["--config", config]


def main(names):
    from servers.trino import Trino

    paths = [path for path in sorted(LOGIC.glob("*.slt")) if not names or path.stem in names]
    with tempfile.TemporaryDirectory() as folder, Trino(Path(folder, "trino")) as trino, Server(Path(folder, "data"), *twin(Path(folder))) as server:
        with catalogs_of(server, trino) as catalogs:
            found = []
            for path in paths:
                comparison = Comparison(server, trino, catalogs, Path(folder))
                differences = comparison.file(path)
                found.append((path.stem, comparison.agreed, differences))
                print(f"{path.stem}: {comparison.agreed} alike, {len(differences)} differ", file=sys.stderr, flush=True)
    text = document(found)
    if names:
        print(text)
    else:
        DOCUMENT.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
