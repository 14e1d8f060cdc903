"""Reads and runs files of sqllogictest (https://sqlite.org/sqllogictest): statements and queries, each with what must come of it.

Records are set apart by empty lines; a line that begins with `#` is a comment. From the format come

    statement ok | statement count ROWS | statement error REGEX
    query TYPES [nosort | rowsort | valuesort] [LABEL]
    skipif LABEL | onlyif LABEL

where the label of the last two is an execution mode, and queries with one label have the same rows. A query's SQL ends at a line `----`, and a row a
line follows. TYPES has a letter a column: `I` for whole numbers, `R` for other numbers, `T` for the rest. Columns are set apart by tabs if the line
has one, otherwise by spaces. Values are written as by `text`. Besides there are

    table NAME [READER ...]      the rows of a table are those that others read, all of them or those that are named
    let VARIABLE                 keeps the one value of the query that follows, for later SQL that names $VARIABLE
    file NAME                    writes the lines that follow into a file in $DIRECTORY, compressed if it is called `.gz`
"""

import gzip
import math
import re
import uuid
from dataclasses import dataclass, field
from decimal import Decimal

import pyarrow
from pyarrow import types

SORTS = ["nosort", "rowsort", "valuesort"]
# Of numbers that are not whole; doubles may come from another order of addition.
RELATIVE_TOLERANCE = 1e-12


class Wrong(AssertionError):
    """What a record has found, or why it cannot be read."""


@dataclass
class Record:
    """One of a file: the words of its first line, its SQL or text, the rows after `----`, and the conditions before it."""

    place: str
    words: list
    body: list = field(default_factory=list)
    expected: list = field(default_factory=list)
    conditions: list = field(default_factory=list)

    def applies(self, mode):
        return all((mode == label) == (word == "onlyif") for word, label in self.conditions)

    def rest(self, count):
        """The first line behind its first words, as it was written."""
        return " ".join(self.words).split(" ", count)[count] if len(self.words) > count else ""


def records(path):
    """Those of a file."""
    for block in blocks(path):
        place = f"{path.name}:{block[0][0]}"
        lines = [line for _, line in block]
        conditions = []
        while lines and lines[0].split()[0] in ("skipif", "onlyif"):
            conditions.append(tuple(lines.pop(0).split()[:2]))
        if not lines or any(len(condition) != 2 for condition in conditions):
            raise Wrong(f"{place}: a condition with no record, or no label")
        body, _, expected = split(lines[1:], "----")
        yield Record(place, lines[0].split(" "), body, expected, conditions)


def blocks(path):
    """Lines that are not empty and no comments, with their numbers, in the groups that empty lines make."""
    block = []
    for number, line in enumerate([*path.read_text().split("\n"), ""], start=1):
        if line.strip() and not line.startswith("#"):
            block.append((number, line))
        elif not line.strip() and block:
            yield block
            block = []


def split(lines, line):
    """What comes before a line and what comes behind it."""
    at = lines.index(line) if line in lines else len(lines)
    return lines[:at], lines[at : at + 1], lines[at + 1 :]


class Run:
    """The records of a file, one after the other, over one session.

    `execute` gives the pyarrow table that a statement answers; `readers` are others who read tables, by name: each is given a table's name and its
    Arrow schema, and gives its rows in texts.
    """

    def __init__(self, execute, mode, directory, readers):
        self.execute = execute
        self.mode = mode
        self.directory = directory
        self.readers = readers
        self.variables = {"DIRECTORY": str(directory), "MODE": mode}
        self.labels = {}

    def file(self, path):
        """Runs all of them, and fails with whatever was wrong."""
        wrong = [text for record in records(path) if record.applies(self.mode) and (text := self.record(record))]
        if wrong:
            raise Wrong("\n\n".join(wrong))

    def record(self, record):
        """What is wrong with one; `None` if nothing is."""
        run = getattr(self, f"run_{record.words[0]}", None)
        if run is None:
            return f"{record.place}: a record '{record.words[0]}' is not known"
        try:
            run(record, self.filled("\n".join(record.body)))
        except Exception as error:
            return f"{record.place}: {error}\n    {self.filled(' '.join(record.body) or ' '.join(record.words))}"
        return None

    def filled(self, text):
        """With the values of variables; other words that begin with `$` are names of metadata tables."""
        return re.sub(r"\$([A-Z_]+)\b", lambda match: self.variables.get(match[1], match[0]), text)

    def run_statement(self, record, sql):
        outcome = record.rest(1)
        if outcome.startswith("error "):
            return self.fail(sql, self.filled(record.rest(2)))
        table = self.execute(sql)
        if outcome.startswith("count "):
            expect(rows(table), [[record.rest(2)]])
        elif outcome != "ok":
            raise Wrong(f"an outcome '{outcome}' is not known")

    def fail(self, sql, expected):
        try:
            self.execute(sql)
        except Exception as error:
            if not re.search(expected, str(error)):
                raise Wrong(f"{error}\n  instead of {expected}") from None
            return
        raise Wrong(f"went well instead of {expected}")

    def run_query(self, record, sql):
        letters, *more = record.words[1:]
        sort = more.pop(0) if more and more[0] in SORTS else "nosort"
        table = self.execute(sql)
        if len(letters) != table.num_columns:
            raise Wrong(f"{table.num_columns} columns instead of {len(letters)}")
        for letter, column in zip(letters, table.schema):
            if letter_of(column.type) not in (letter, None):
                raise Wrong(f"column '{column.name}' is {column.type} instead of {letter}")
        got = ordered(rows(table), sort)
        if more:
            expect(got, self.labels.setdefault(more[0], got), letters)
        else:
            expect(got, ordered([words(line, letters) for line in map(self.filled, record.expected)], sort), letters)

    def run_table(self, record, _):
        name, *readers = re.findall(r'"[^"]+"|\S+', record.rest(1))
        table = self.execute(f"SELECT * FROM {name}")
        ours = ordered(rows(table), "rowsort")
        for reader in readers or self.readers:
            theirs = ordered(self.readers[reader](name.strip('"'), table.schema), "rowsort")
            if ours != theirs:
                raise Wrong(f"{shown(ours)}\n  instead of what {reader} reads{shown(theirs)}")

    def run_let(self, record, sql):
        ((value,),) = rows(self.execute(sql))
        self.variables[record.rest(1)] = value

    def run_file(self, record, _):
        path = self.directory / record.rest(1)
        data = "".join(f"{line}\n" for line in record.body).encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def expect(got, expected, letters=None):
    if len(got) != len(expected) or not all(same(ours, theirs, letters) for ours, theirs in zip(got, expected)):
        raise Wrong(f"{shown(got)}\n  instead of{shown(expected)}")


def same(ours, theirs, letters):
    """Whether two rows are."""
    columns = zip(letters or "T" * len(ours), ours, theirs)
    return len(ours) == len(theirs) and all(left == right or letter == "R" and close(left, right) for letter, left, right in columns)


def close(left, right):
    try:
        return math.isclose(float(left), float(right), rel_tol=RELATIVE_TOLERANCE)
    except ValueError:
        return False


def shown(lines):
    return "".join("\n    " + "\t".join(line) for line in lines) or " no rows"


def ordered(lines, sort):
    if sort == "valuesort":
        return sorted([value] for line in lines for value in line)
    return sorted(lines) if sort == "rowsort" else lines


def words(line, letters):
    """The values of a line of a file."""
    if len(letters) == 1:
        return [line]
    return line.split("\t") if "\t" in line else line.split()


def letter_of(kind):
    """That of an Arrow type, `None` for the type of a bare NULL."""
    if types.is_null(kind):
        return None
    if types.is_integer(kind):
        return "I"
    return "R" if types.is_floating(kind) or types.is_decimal(kind) else "T"


def rows(table):
    """Those of a pyarrow table, in texts."""
    return [list(row) for row in zip(*(texts(column) for column in table.columns))]


def texts(column):
    """The values of a column. Arrow writes times, which may lie outside of what Python knows."""
    kind = column.type
    if types.is_temporal(kind):
        column = column.cast(pyarrow.string())
    elif isinstance(kind, pyarrow.BaseExtensionType):
        kind = kind.storage_type
        column = pyarrow.chunked_array([chunk.storage for chunk in column.chunks], kind)
    return [text(value, kind) for value in column.to_pylist()]


def text(value, kind):
    """A value of an Arrow type, in a word if it has no blanks itself: `NULL`, `true`, `1.5`, `2024-05-01T08:00:00Z`, `x'00ff'`, `[1,NULL]`, `{key=1}`
    for maps and for rows, `(empty)` for a text of no letters. A value can also have the form in which JSON gives it."""
    if value is None:
        return "NULL"
    if types.is_boolean(kind):
        return str(value).lower()
    if types.is_floating(kind):
        return number(float(value), kind)
    if types.is_decimal(kind):
        return f"{Decimal(value):f}"
    if types.is_temporal(kind):
        return moment(str(value), kind)
    if types.is_fixed_size_binary(kind) and kind.byte_width == 16:
        return str(uuid.UUID(bytes=value))
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return f"x'{value if isinstance(value, str) else value.hex()}'".lower().replace("-", "")
    if types.is_list(kind) or types.is_large_list(kind):
        return f"[{','.join(text(item, kind.value_type) for item in value)}]"
    if types.is_map(kind):
        entries = value.items() if isinstance(value, dict) else value
        return f"{{{','.join(sorted(f'{text(key, kind.key_type)}={text(item, kind.item_type)}' for key, item in entries))}}}"
    if types.is_struct(kind):
        items = value.values() if isinstance(value, dict) else value
        return f"{{{','.join(f'{column.name}={text(item, column.type)}' for column, item in zip(kind, items))}}}"
    return str(value) or "(empty)"


def number(value, kind):
    if math.isnan(value) or math.isinf(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    return str(value) if types.is_float64(kind) else str(float(f"{value:.7g}"))


def moment(value, kind):
    """A date, a time or a timestamp, in ISO form, without a fraction that is 0; of those with a time zone what its clocks show, and how far they are before UTC, which is `Z`."""
    value = re.sub(r"(\+00:?00|Z)$", "", value.replace(" ", "T"))
    offset = "Z" if types.is_timestamp(kind) and kind.tz else ""
    if found := re.fullmatch(r"(.*T.*)([+-]\d\d):?(\d\d)", value):
        value, offset = found[1], f"{found[2]}:{found[3]}"
    if "." in value:
        value = value.rstrip("0").rstrip(".")
    return value + offset
