"""Random programs over one table, here and in DuckDB: its rows, its columns, its layout, its branches and its history change, and after every step the rows are the
same. What DuckDB has not (branches, snapshots, columns with ids) it is given by tables: one for each branch, and a copy of it for each snapshot."""

import random
from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal

import duckdb
from pyiceberg import types as iceberg
from pyiceberg.transforms import parse_transform
from pyiceberg.utils.datetime import date_to_days, datetime_to_micros

from nunatak_testing.spark import MODES

TEXTS = ["''", "'a'", "'ab'", "'abc'", "'b'", "'Z'", "'ü'", "'日本語'", "'it''s'", "'v1'", "'v12'", "'50%'", "'x/y'", "'x y'"]
DATES = ["1969-12-31", "1970-01-01", "1899-05-05", "2023-12-31", "2024-01-01", "2024-02-29", "2024-03-01"]
TIMES = ["1969-12-31 23:59:59.999999", "1970-01-01 00:00:00", "2024-02-29 12:30:00.5", "2024-02-29 12:59:59", "2024-02-29 13:00:00", "1899-05-05 01:02:03"]
SIMPLE = ["boolean", "integer", "bigint", "real", "double", "decimal(9, 2)", "varchar", "varbinary", "date", "timestamp(6)"]
OTHER = ["array(integer)", "map(varchar, integer)"]
WIDER = {"integer": ["bigint"], "real": ["double"], "decimal(9, 2)": ["decimal(12, 2)", "decimal(20, 2)"], "decimal(12, 2)": ["decimal(20, 2)"]}
JUDGE_TYPES = {"array(integer)": "integer[]", "timestamp(6)": "timestamp"}
ICEBERG_TYPES = {
    "boolean": iceberg.BooleanType(),
    "integer": iceberg.IntegerType(),
    "bigint": iceberg.LongType(),
    "real": iceberg.FloatType(),
    "double": iceberg.DoubleType(),
    "varchar": iceberg.StringType(),
    "varbinary": iceberg.BinaryType(),
    "date": iceberg.DateType(),
    "timestamp(6)": iceberg.TimestampType(),
}
NAMES = ["a", "b", "c", "d", "e", "f", "g", "h"]
ROWS_MAX = 500


@dataclass(frozen=True)
class Field:
    """A column, or a field of a row. The type of a row is the tuple of its fields."""

    id: int
    name: str
    type: str | tuple
    required: bool = False

    @property
    def is_row(self):
        return isinstance(self.type, tuple)

    @property
    def is_simple(self):
        return not self.is_row and self.type not in OTHER

    @property
    def is_number(self):
        return self.is_simple and self.type.startswith(("integer", "bigint", "real", "double", "decimal"))

    def sql_type(self, judge=False):
        if self.is_row:
            return f"row({', '.join(f'{field.name} {field.sql_type(judge)}' for field in self.type)})"
        return JUDGE_TYPES.get(self.type, self.type) if judge else self.type


@dataclass
class Snapshot:
    """What a snapshot was made from, and the columns of its table in DuckDB, which has its name."""

    parent: int | None
    fields: tuple
    version: int

    @staticmethod
    def table(id):
        return f"snapshot_{id}"


def plain(value, field):
    """A value as all clients can give it: ours, DuckDB's, and Spark's in JSON."""
    if value is None:
        return None
    if field.is_row:
        values = list(value.values()) if isinstance(value, dict) else value
        return tuple(plain(value, field) for value, field in zip(values, field.type, strict=True))
    if field.type.startswith("map"):
        return tuple(sorted(value.items() if isinstance(value, dict) else map(tuple, value)))
    if field.type.startswith("array"):
        return tuple(value)
    if field.type.startswith("decimal"):
        return Decimal(str(value))
    if field.type == "varbinary":
        return str(bytearray(value)) if isinstance(value, bytes) else value
    return str(value) if field.type in ("date", "timestamp(6)") else value


def counted(rows, fields):
    """Rows without order."""
    return Counter(tuple(plain(value, field) for value, field in zip(row, fields, strict=True)) for row in rows)


def difference(ours, theirs):
    missing, extra = list((theirs - ours).items()), list((ours - theirs).items())
    return f"{len(missing)} rows are missing: {missing[:3]}, {len(extra)} should not be there: {extra[:3]}" if missing or extra else None


def projected(old, new):
    """The columns `new` of a table in DuckDB with the columns `old`, by their ids."""

    def value(field, known, text):
        was = known.get(field.id)
        if was is None:
            return f"CAST(NULL AS {field.sql_type(judge=True)})"
        text = f"struct_extract({text}, '{was.name}')" if text else was.name
        if not field.is_row:
            return f"CAST({text} AS {field.sql_type(judge=True)})"
        inner = {inner.id: inner for inner in was.type}
        return f"CASE WHEN {text} IS NOT NULL THEN {{{', '.join(f'{to.name!r}: {value(to, inner, text)}' for to in field.type)}}} END"

    known = {field.id: field for field in old}
    return ", ".join(f"{value(field, known, '')} AS {field.name}" for field in new)


class Expressions:
    """Random expressions, in the SQL that nunatak and DuckDB share."""

    def __init__(self, random):
        self.random = random

    def chance(self, share):
        return self.random.random() < share

    def literal(self, field):
        if field.is_row:
            return f"row({', '.join(self.literal_or_null(inner) for inner in field.type)})"
        if field.type.startswith("decimal"):
            return f"{self.random.randrange(-99, 100)}.{self.random.choice(['00', '25', '07'])}"
        return {
            "boolean": lambda: self.random.choice(["true", "false"]),
            "integer": lambda: str(self.random.randrange(-9, 20)),
            "bigint": lambda: str(self.random.choice([self.random.randrange(-9, 20), 5_000_000_000])),
            "real": lambda: f"{self.random.randrange(-20, 20)}.{self.random.choice(['0', '5', '25'])}",
            "double": lambda: f"{self.random.randrange(-20, 20)}.{self.random.choice(['0', '5', '25'])}",
            "varchar": lambda: self.random.choice(TEXTS),
            "varbinary": lambda: f"X'{self.random.choice(['', '78', '00ff'])}'",
            "date": lambda: f"DATE '{self.random.choice(DATES)}'",
            "timestamp(6)": lambda: f"TIMESTAMP '{self.random.choice(TIMES)}'",
            "array(integer)": lambda: f"ARRAY[{self.random.randrange(9)}, {self.random.randrange(9)}]",
            "map(varchar, integer)": lambda: f"MAP(ARRAY['k', 'm'], ARRAY[{self.random.randrange(9)}, {self.random.randrange(9)}])",
        }[field.type]()

    def literal_or_null(self, field):
        return "NULL" if not field.required and self.chance(0.2) else self.literal(field)

    def filled(self, field):
        """A value of rows that have a number n."""
        some = self.random.randrange(2, 30)
        if field.is_row:
            return "NULL" if self.chance(0.2) else f"row({', '.join(self.filled(inner) for inner in field.type)})"
        if not field.is_simple:
            return self.random.choice([f"CASE WHEN n % {some} = 1 THEN NULL ELSE {self.literal(field)} END", self.literal(field)])
        if field.is_number and field.type != "integer":
            value = f"CAST(CAST(n % {some * 9} AS double) / 4 AS {field.type})" if field.type != "bigint" else f"n % {some * 9}"
        elif field.type == "integer":
            value = f"CAST(n % {some} AS integer)"
        elif field.type == "varchar":
            value = f"'v' || CAST(n % {some} AS varchar)"
        elif field.type == "boolean":
            value = f"n % {some} = 1"
        else:
            value = f"CASE n % 3 WHEN 0 THEN {self.literal(field)} WHEN 1 THEN {self.literal(field)} ELSE {self.literal(field)} END"
        return value if field.required or self.chance(0.5) else f"CASE WHEN n % {self.random.randrange(2, 12)} = 1 THEN NULL ELSE {value} END"

    def value(self, field, fields, side, source=None):
        """What a column can be set to, by columns of `side`, and of `source`, which has the same."""
        column = f"{side}{field.name}"
        values = [self.literal(field), column]
        if field.is_number:
            values += [f"({column} + 7) % 1000"] if field.type in ("integer", "bigint") else [f"{column} + 0.5", f"-{column}"]
        if field.type == "varchar":
            values += [f"upper({column})", f"substr({column} || 'ü', 1, 3)", f"coalesce({column}, 'none')"]
        if field.type == "boolean":
            values += [f"NOT {column}"]
        if field.is_row and self.chance(0.5):
            values += [f"row({', '.join(f'{column}.{inner.name}' if self.chance(0.5) else self.literal_or_null(inner) for inner in field.type)})"]
        if not field.required:
            values += ["NULL"] + [f"{side}{other.name}" for other in fields if other.type == field.type and other.is_simple]
        if source and field.required:
            values += [f"coalesce({source}{field.name}, {self.literal(field)})"]
        elif source:
            values += [f"{source}{field.name}"] * 2
        return self.random.choice(values)

    def assignments(self, fields, side, source=None):
        chosen = self.random.sample(fields, self.random.randrange(1, min(len(fields), 4) + 1))
        return ", ".join(f"{field.name} = {self.value(field, fields, side, source)}" for field in chosen)

    def condition(self, fields, side="", table=None):
        """What is true of some rows. `table` may be asked by subqueries."""
        condition = self.one_condition(self.random.choice(fields), side)
        if self.chance(0.35):
            condition = f"({condition}) {self.random.choice(['AND', 'AND', 'OR'])} ({self.one_condition(self.random.choice(fields), side)})"
        if table and self.chance(0.2):
            key = self.random.choice([field for field in fields if field.is_simple])
            inner = self.one_condition(self.random.choice(fields), "")
            condition = self.random.choice([
                f"{side}{key.name} IN (SELECT {key.name} FROM {table} WHERE {inner})",
                f"{side}{key.name} >= (SELECT max({key.name}) FROM {table} WHERE {inner})",
                f"({condition}) AND {side}{key.name} NOT IN (SELECT {key.name} FROM {table} WHERE {key.name} IS NOT NULL AND {inner})",
            ])
        return condition

    def one_condition(self, field, side):
        column = f"{side}{field.name}"
        conditions = [f"{column} IS NULL", f"{column} IS NOT NULL"]
        if field.is_row:
            inner = self.random.choice(field.type)
            return self.random.choice([*conditions, self.one_condition(inner, f"{column}."), self.one_condition(inner, f"{column}.")])
        if field.is_simple:
            some = [self.literal(field) for _ in range(3)]
            conditions += [f"{column} {operator} {some[0]}" for operator in ("=", "<>", "<", "<=", ">", ">=")]
            conditions += [f"{column} BETWEEN {some[0]} AND {some[1]}", f"{column} IN ({', '.join(some)})", f"NOT ({column} > {some[0]})"]
        if field.type in ("integer", "bigint"):
            conditions += [f"{column} % {self.random.randrange(2, 6)} = {self.random.randrange(3)}"] * 3
        if field.type == "varchar":
            conditions += [f"{column} LIKE 'v{self.random.choice(['1', '2', ''])}%'"]
        if field.type == "boolean":
            conditions += [column, f"NOT {column}"]
        return self.random.choice(conditions)


class Program:
    """The program of a seed. `run` runs it, `check_with` lets Spark read what has become of the table."""

    def __init__(self, seed, server):
        self.random = random.Random(f"evolution {seed}")
        self.make = Expressions(self.random)
        self.seed, self.server, self.table = seed, server, f"evolved_{seed}"
        self.judge = duckdb.connect()
        self.judge.execute("CREATE SCHEMA spark")
        self.said = []
        self.last_id = self.next = 0
        self.branches, self.tags, self.snapshots, self.heads = ["main"], {}, {}, {}
        self.lineage, self.row_id_max = {}, -1
        self.was_repartitioned, self.names_of_partitions, self.sources_of_partitions = False, set(), set()

    # The statements, and what they are asked with.

    def chance(self, share):
        return self.random.random() < share

    def name(self, branch="main", suffix=""):
        """A branch in SQL, here and in DuckDB."""
        name = self.table + ("" if branch == "main" else f"@{branch}") + suffix
        return f"spark.{name}" if name.isidentifier() else f'spark."{name}"'

    def ask(self, sql, **settings):
        """Asks the server, in any mode unless it is told."""
        settings.setdefault("execution_mode", self.random.choice(MODES))
        self.said.append((sql, settings))
        session = ",".join(f"{name}={value}" for name, value in settings.items())
        return self.server.arrow(sql, headers={"nunatak-session": session})

    def ask_rows(self, sql, **settings):
        answer = self.ask(sql, **settings)
        return list(zip(*(column.to_pylist() for column in answer.columns)))

    def look(self, sql):
        """The same of queries that a replay does not need."""
        rows = self.ask_rows(sql, execution_mode="local")
        self.said.pop()
        return rows

    def replay(self):
        """What was said so far, as a script."""
        lines = [f"-- seed {self.seed}"]
        for sql, settings in self.said:
            lines += [f"SET SESSION {name} = '{value}';" for name, value in settings.items()] + [f"{sql};"]
        return "\n".join(lines)

    def run(self, steps):
        try:
            self.create()
            self.check("main", "other")
            for _ in range(steps):
                self.step()
                if self.chance(0.4):
                    self.compare_query()
                if self.chance(0.3):
                    self.travel()
            self.check_summary()
        except Exception as error:
            error.add_note(f"EVOLUTION_SEED={self.seed} PROGRAMS=1\n{self.replay()}")
            raise

    def step(self):
        some = bool(self.snapshots)
        side = "side" in self.branches
        rows = self.count("main")
        steps = [
            (6 if rows < ROWS_MAX else 0, self.insert),
            (4 if rows < ROWS_MAX else 0, self.insert_select),
            (5 if rows < ROWS_MAX else 20, self.delete),
            (6, self.update),
            (6, self.merge),
            (3, self.overwrite),
            (3, self.overwrite_dynamically),
            (0.5, self.truncate),
            (4, self.add_column),
            (2, self.drop_column),
            (3, self.rename_column),
            (3, self.widen_column),
            (2, self.move_column),
            (1, self.drop_not_null),
            (3, self.repartition),
            (1, self.resort),
            (1.5, self.upgrade),
            (1, self.replace_table),
            (2 if some and not side else 0, self.create_branch),
            (1 if some else 0, self.create_tag),
            (2 if side else 0, self.fast_forward),
            (1 if side else 0, self.drop_branch),
            (5, self.optimize),
            (2, self.optimize_manifests),
            (2, self.expire),
            (3 if some else 0, self.go_back),
            (2, self.remove_orphans),
            (1, self.analyze),
        ]
        self.random.choices([step for _, step in steps], [weight for weight, _ in steps])[0]()

    # Rows.

    def some_branch(self):
        return self.random.choice(["main", "main", *self.branches])

    def count(self, branch):
        return self.judge.execute(f"SELECT count(*) FROM {self.name(branch)}").fetchone()[0]

    def change(self, branch, kind, sql):
        """A statement that DuckDB knows too."""
        ((ours,),) = self.ask_rows(sql)
        theirs = self.judge.execute(sql).fetchone()[0]
        assert ours == theirs, f"{ours} rows changed instead of {theirs}: {sql}"
        self.check(branch, kind)

    def new_rows(self, fields=None, rows=None, first=None, step=1):
        """A query for rows with keys of their own."""
        rows = rows or self.random.randrange(1, 60)
        if first is None:
            first, self.next = self.next, self.next + rows
        values = [f"{'CAST(n AS ' + field.type + ')' if field.id == self.key.id else self.make.filled(field)} AS {field.name}" for field in fields or self.fields]
        return f"SELECT {', '.join(values)} FROM (SELECT unnest(range({first}, {first + rows * step}, {step})) AS n) AS numbers"

    def old_rows(self, branch, fields=None):
        """A query for rows that are there, with other values in some columns."""
        values = [f"{field.name}" if field.id == self.key.id or self.chance(0.7) else self.make.value(field, self.fields, "") for field in fields or self.fields]
        some = f"{self.key.name} % {self.random.randrange(2, 7)} = 1"
        return f"SELECT {', '.join(values)} FROM {self.name(branch)} WHERE {some} AND ({self.make.condition(self.fields)})"

    def insert(self):
        branch = self.some_branch()
        if self.chance(0.5):
            return self.change(branch, "insert", f"INSERT INTO {self.name(branch)} {self.new_rows()}")
        some = [field for field in self.fields if field.required or field.id == self.key.id or self.chance(0.7)]
        self.random.shuffle(some)
        rows = [", ".join(self.make.literal_or_null(field) for field in some) for _ in range(self.random.randrange(1, 4))]
        values = ", ".join(f"({row})" for row in rows)
        self.change(branch, "insert", f"INSERT INTO {self.name(branch)} ({', '.join(field.name for field in some)}) VALUES {values}")

    def insert_select(self):
        branch = self.some_branch()
        self.change(branch, "insert", f"INSERT INTO {self.name(branch)} {self.old_rows(self.some_branch())}")

    def delete(self):
        branch = self.some_branch()
        self.change(branch, "delete", f"DELETE FROM {self.name(branch)} WHERE {self.make.condition(self.fields, table=self.name(self.some_branch()))}")

    def update(self):
        branch = self.some_branch()
        table, other = self.name(branch), self.name(self.some_branch())
        kind = self.random.randrange(4)
        if kind == 0:
            source, key = self.source(), self.key.name
            where = f"t.{key} = s.{key} AND ({self.make.condition(self.fields, 't.')})"
            sql = f"UPDATE {table} AS t SET {self.make.assignments(self.fields, 't.', 's.')} FROM ({source}) AS s WHERE {where}"
        elif kind == 1:
            field = self.random.choice([field for field in self.fields if field.is_simple and not field.required] or [self.key])
            same = f"o.{self.key.name} = t.{self.key.name} + {self.random.randrange(2)}"
            value = f"(SELECT max(o.{field.name}) FROM {other} AS o WHERE {same} AND o.{self.key.name} IS NOT NULL)"
            value = f"coalesce({value}, {self.make.literal(field)})" if field.required else value
            sql = f"UPDATE {table} AS t SET {field.name} = {value} WHERE {self.make.condition(self.fields, 't.')}"
        else:
            sql = f"UPDATE {table} SET {self.make.assignments(self.fields, '')} WHERE {self.make.condition(self.fields, table=other)}"
        self.change(branch, "update", sql)

    def source(self):
        """A query for rows of which no two have the same key."""
        if self.chance(0.6):
            first, rows, step = self.random.randrange(0, self.next + 1), self.random.randrange(1, 60), self.random.choice([1, 1, 2, 7])
            self.next = max(self.next, first + rows * step)
            return self.new_rows(None, rows, first, step)
        key = self.key.name
        values = [f"max({field.name})" if field.is_simple else self.make.literal(field) for field in self.fields if field.id != self.key.id]
        others = [field.name for field in self.fields if field.id != self.key.id]
        shift = self.random.randrange(3)
        items = ", ".join([f"{key} + {shift} AS {key}", *(f"{value} AS {name}" for value, name in zip(values, others))])
        return f"SELECT {items} FROM {self.name(self.some_branch())} WHERE {self.make.condition(self.fields)} GROUP BY {key}"

    def merge(self):
        branch, key = self.some_branch(), self.key.name
        clauses = []
        for kind, actions in [("MATCHED", "ud"), ("NOT MATCHED", "i"), ("NOT MATCHED BY SOURCE", "ud")]:
            clauses += [self.clause(kind, self.random.choice(actions), last) for last in (False, True) if self.chance(0.45)]
        clauses = clauses or [self.clause("MATCHED", "u", True)]
        on = f"t.{key} = s.{key}" + (f" AND ({self.make.condition(self.fields, 't.')})" if self.chance(0.2) else "")
        self.change(branch, "merge", f"MERGE INTO {self.name(branch)} AS t USING ({self.source()}) AS s ON {on} {' '.join(clauses)}")

    def clause(self, kind, action, last):
        side = "s." if kind == "NOT MATCHED" else "t."
        # Fields of the rows of a source may have no names.
        there = [field for field in self.fields if side == "t." or not field.is_row]
        condition = "" if last else f" AND ({self.make.condition(there, side)})"
        if action == "d":
            return f"WHEN {kind}{condition} THEN DELETE"
        if action == "u":
            return f"WHEN {kind}{condition} THEN UPDATE SET {self.make.assignments(self.fields, 't.', 's.' if kind == 'MATCHED' else None)}"
        some = [field for field in self.fields if field.required or field.id == self.key.id or self.chance(0.8)]
        values = ", ".join(f"s.{field.name}" for field in some)
        return f"WHEN {kind}{condition} THEN INSERT ({', '.join(field.name for field in some)}) VALUES ({values})"

    def truncate(self):
        branch = self.some_branch()
        self.ask(f"TRUNCATE TABLE {self.name(branch)}")
        self.judge.execute(f"DELETE FROM {self.name(branch)}")
        self.check(branch, "delete")

    def overwriting(self, branch):
        """An `INSERT OVERWRITE`, and its condition if it has one; DuckDB has the new rows in `incoming`."""
        candidates = [field for field in self.fields if field.is_simple and field.id != self.key.id and field.type not in ("real", "double")]
        column = self.random.choice(candidates) if candidates and self.chance(0.5) else None
        fields = [field for field in self.fields if field is not column]
        query = self.old_rows(self.some_branch(), fields) if self.chance(0.4) else self.new_rows(fields)
        self.judge.execute(f"CREATE OR REPLACE TABLE incoming AS SELECT * FROM {self.name(branch)} LIMIT 0")
        if column is None:
            self.judge.execute(f"INSERT INTO incoming {query}")
            return f"INSERT OVERWRITE {self.name(branch)} {query}", None
        value, names = self.make.literal_or_null(column), ", ".join(field.name for field in fields)
        self.judge.execute(f"INSERT INTO incoming ({names}) {query}")
        self.judge.execute(f"UPDATE incoming SET {column.name} = {value}")
        condition = f"{column.name} IS NULL" if value == "NULL" else f"{column.name} = {value}"
        return f"INSERT OVERWRITE {self.name(branch)} ({names}) PARTITION ({column.name} = {value}) {query}", condition

    def overwrite(self):
        branch = self.some_branch()
        sql, condition = self.overwriting(branch)
        self.ask(sql, insert_overwrite_mode="static")
        self.judge.execute(f"DELETE FROM {self.name(branch)}" + (f" WHERE {condition}" if condition else ""))
        self.judge.execute(f"INSERT INTO {self.name(branch)} SELECT * FROM incoming")
        self.check(branch, "merge")

    def overwrite_dynamically(self):
        branch = self.some_branch()
        sql, _ = self.overwriting(branch)
        try:
            self.ask(sql, insert_overwrite_mode="dynamic")
        except Exception as error:
            if self.was_repartitioned and "was written with an older partitioning" in str(error):
                return self.check(branch, "same")
            raise
        replaced = set(self.partitions("incoming").values())
        gone = [str(row) for row, partition in self.partitions(self.name(branch)).items() if partition in replaced]
        if gone:
            self.judge.execute(f"DELETE FROM {self.name(branch)} WHERE rowid IN ({', '.join(gone)})")
        self.judge.execute(f"INSERT INTO {self.name(branch)} SELECT * FROM incoming")
        self.check(branch, "merge")

    def partitions(self, table):
        """The partition of each row of a table in DuckDB, as PyIceberg computes it."""
        if not self.partitioning:
            return {row: () for (row,) in self.judge.execute(f"SELECT rowid FROM {table}").fetchall()}
        fields = [self.field(id) for _, id in self.partitioning]
        transforms = []
        for (transform, _), field in zip(self.partitioning, fields):
            kind = ICEBERG_TYPES.get(field.type) or iceberg.DecimalType(int(field.type[len("decimal(") :].split(",")[0]), 2)
            convert = {"date": date_to_days, "timestamp(6)": datetime_to_micros}.get(field.type, lambda value: value)
            transforms.append((parse_transform(transform).transform(kind), convert))
        rows = self.judge.execute(f"SELECT rowid, {', '.join(field.name for field in fields)} FROM {table}").fetchall()
        apply = lambda value, transform, convert: None if value is None else transform(convert(value))  # noqa: E731
        return {row: tuple(apply(value, *transform) for value, transform in zip(values, transforms)) for row, *values in rows}

    # Columns.

    @property
    def key(self):
        """The column that rows are joined by, whatever it is called now."""
        return self.field(self.key_id)

    def field(self, id):
        return next(field for field in self.fields if field.id == id)

    def new_field(self, name, type, required=False):
        self.last_id += 1
        return Field(self.last_id, name, type, required)

    def new_type(self, rows=True):
        if rows and self.chance(0.2):
            return tuple(self.new_field(name, self.random.choice(SIMPLE)) for name in ["x", "y", "z"][: self.random.randrange(1, 4)])
        return self.random.choice(SIMPLE + OTHER) if self.chance(0.3) else self.random.choice(SIMPLE)

    def free_name(self, siblings, names):
        taken = {field.name for field in siblings} | self.names_of_partitions
        return self.random.choice([name for name in names if name not in taken] or [f"n{self.last_id}"])

    def some_siblings(self):
        """The row whose fields are to be changed, if it is one, the text before their names, and the fields."""
        rows = [field for field in self.fields if field.is_row]
        if rows and self.chance(0.4):
            row = self.random.choice(rows)
            return row, f"{row.name}.", row.type
        return None, "", self.fields

    def evolve(self, change, row, siblings):
        """An `ALTER TABLE` after which a row, or the table, has these fields."""
        siblings = tuple(siblings)
        fields = tuple(replace(field, type=siblings) if field is row else field for field in self.fields) if row else siblings
        self.ask(f"ALTER TABLE {self.name()} {change}")
        for branch in self.branches:
            self.judge.execute(f"CREATE OR REPLACE TABLE {self.name(branch)} AS SELECT {projected(self.fields, fields)} FROM {self.name(branch)}")
        self.fields = fields
        for branch in self.branches:
            self.check(branch, "evolved")

    def place(self, siblings, field):
        """These fields with one more, and where it went."""
        at = self.random.randrange(len(siblings) + 1)
        after = [*siblings[:at], field, *siblings[at:]]
        return after, "FIRST" if at == 0 else f"AFTER {siblings[at - 1].name}"

    def add_column(self):
        row, before, siblings = self.some_siblings()
        if len(siblings) >= 9:
            return self.drop_column()
        field = self.new_field(self.free_name(siblings, ["x", "y", "z", "w"] if row else NAMES), None)
        field = replace(field, type=self.new_type(rows=not row))
        after, where = self.place(siblings, field) if self.chance(0.5) else ([*siblings, field], "")
        self.evolve(f"ADD COLUMN {before}{field.name} {field.sql_type()} {where}".rstrip(), row, after)

    def drop_column(self):
        row, before, siblings = self.some_siblings()
        used = self.sources_of_partitions | {id for id, _ in self.sorting} | {self.key_id}
        candidates = [field for field in siblings if field.id not in used]
        if len(siblings) > 1 and candidates:
            field = self.random.choice(candidates)
            self.evolve(f"DROP COLUMN {before}{field.name}", row, [other for other in siblings if other is not field])

    def rename_column(self):
        row, before, siblings = self.some_siblings()
        field = self.random.choice(siblings)
        name = self.free_name(siblings, ["x", "y", "z", "w"] if row else [*NAMES, "id", "key"])
        self.evolve(f"RENAME COLUMN {before}{field.name} TO {name}", row, [replace(other, name=name) if other is field else other for other in siblings])

    def widen_column(self):
        row, before, siblings = self.some_siblings()
        candidates = [field for field in siblings if field.type in WIDER]
        if candidates:
            field = self.random.choice(candidates)
            wider = replace(field, type=self.random.choice(WIDER[field.type]))
            change = f"ALTER COLUMN {before}{field.name} SET DATA TYPE {wider.type}"
            self.evolve(change, row, [wider if other is field else other for other in siblings])

    def move_column(self):
        row, before, siblings = self.some_siblings()
        field = self.random.choice(siblings)
        after, where = self.place([other for other in siblings if other is not field], field)
        self.evolve(f"ALTER COLUMN {before}{field.name} {where}", row, after)

    def drop_not_null(self):
        field = self.random.choice(self.fields)
        self.evolve(f"ALTER COLUMN {field.name} DROP NOT NULL", None, [replace(other, required=False) if other is field else other for other in self.fields])

    # The layout.

    def some_partitioning(self, fields):
        partitioning = []
        candidates = [field for field in fields if field.is_simple and field.type not in ("real", "double")]
        for field in self.random.sample(candidates, min(len(candidates), self.random.choice([0, 1, 1, 2]))):
            transforms = ["identity"]
            if field.type in ("date", "timestamp(6)"):
                transforms += ["year", "month", "day"] + ["hour"] * (field.type != "date")
            if field.type != "boolean":
                transforms += [f"bucket[{self.random.randrange(1, 5)}]"]
            if field.type in ("integer", "bigint", "varchar") or field.type.startswith("decimal"):
                transforms += [f"truncate[{self.random.randrange(1, 12)}]"]
            partitioning.append((self.random.choice(transforms), field.id))
        return partitioning

    def some_sorting(self, fields):
        candidates = [field for field in fields if field.is_simple]
        order = ["", " DESC", " ASC NULLS LAST", " DESC NULLS FIRST"]
        return [(field.id, self.random.choice(order)) for field in self.random.sample(candidates, self.random.choice([0, 0, 1, 2]) % (len(candidates) + 1))]

    def layout(self, fields, partitioning, sorting):
        """Both as properties."""
        names = {field.id: field.name for field in fields}
        self.names_of_partitions |= {names[id] for transform, id in partitioning if transform == "identity"}
        self.sources_of_partitions |= {id for _, id in partitioning}
        parts = []
        for transform, id in partitioning:
            kind, _, width = transform.rstrip("]").partition("[")
            parts.append(f"'{names[id]}'" if kind == "identity" else f"'{kind}({names[id]}{', ' + width if width else ''})'")
        orders = [f"'{names[id]}{order}'" for id, order in sorting]
        return f"partitioning = ARRAY[{', '.join(parts)}]", f"sorted_by = ARRAY[{', '.join(orders)}]"

    def some_properties(self):
        properties = {f"write.{kind}.mode": self.random.choice(["merge-on-read", "copy-on-write"]) for kind in ("delete", "update", "merge")}
        if self.chance(0.4):
            properties["commit.manifest.min-count-to-merge"] = str(self.random.choice([2, 3]))
        if self.chance(0.3):
            properties["write.metadata.previous-versions-max"] = "2"
        return f"MAP(ARRAY[{', '.join(map(repr, properties))}], ARRAY[{', '.join(map(repr, properties.values()))}])"

    def create(self):
        self.version = self.random.choice([1, 2, 2, 2, 2, 3, 3, 3, 3, 3])
        key = self.new_field("id", self.random.choice(["integer", "bigint"]), self.chance(0.5))
        others = [self.new_field(name, None) for name in NAMES[: self.random.randrange(2, 5)]]
        others = [replace(field, type=self.new_type()) for field in others]
        if self.chance(0.3):
            others[0] = replace(others[0], type=self.random.choice(["varchar", "integer", "date"]), required=True)
        self.key_id, self.fields = key.id, (key, *others)
        self.partitioning, self.sorting = self.some_partitioning(self.fields), self.some_sorting(self.fields)
        columns = ", ".join(f"{field.name} {field.sql_type()}{' NOT NULL' if field.required else ''}" for field in self.fields)
        layout = ", ".join(self.layout(self.fields, self.partitioning, self.sorting))
        self.ask(f"CREATE TABLE {self.name()} ({columns}) WITH (format_version = {self.version}, {layout}, extra_properties = {self.some_properties()})")
        self.judge.execute(f"CREATE TABLE {self.name()} ({', '.join(f'{field.name} {field.sql_type(judge=True)}' for field in self.fields)})")
        if self.chance(0.9):
            self.change("main", "insert", f"INSERT INTO {self.name()} {self.new_rows(rows=100)}")

    def repartition(self):
        if self.version > 1:
            self.partitioning = self.some_partitioning(self.fields)
            self.was_repartitioned = True
            self.ask(f"ALTER TABLE {self.name()} SET PROPERTIES {self.layout(self.fields, self.partitioning, [])[0]}")
            self.check("main", "same")

    def resort(self):
        self.sorting = self.some_sorting(self.fields)
        self.ask(f"ALTER TABLE {self.name()} SET PROPERTIES {self.layout(self.fields, [], self.sorting)[1]}, extra_properties = {self.some_properties()}")
        self.check("main", "same")

    def upgrade(self):
        if self.version < 3:
            self.version += 1
            self.ask(f"ALTER TABLE {self.name()} SET PROPERTIES format_version = {self.version}")
            self.check("main", "other")

    def replace_table(self):
        """By some of its own columns, which take NULL from then on."""
        some = [field for field in self.fields if field.id == self.key_id or self.chance(0.8)]
        self.random.shuffle(some)
        fields = tuple(replace(field, required=False) for field in some)
        partitioning = self.some_partitioning(fields) if self.version > 1 else []
        sorting = self.some_sorting(fields)
        if self.chance(0.3) and self.version < 3:
            self.version += 1
        layout = ", ".join(self.layout(fields, partitioning, sorting))
        query = f"SELECT {', '.join(field.name for field in some)} FROM {self.name()} WHERE {self.make.condition(self.fields)}"
        self.ask(f"CREATE OR REPLACE TABLE {self.name()} WITH (format_version = {self.version}, {layout}, extra_properties = {self.some_properties()}) AS {query}")
        self.judge.execute(f"CREATE OR REPLACE TABLE {self.name()} AS {query}")
        for branch in self.branches[1:]:
            self.judge.execute(f"CREATE OR REPLACE TABLE {self.name(branch)} AS SELECT {projected(self.fields, fields)} FROM {self.name(branch)}")
        self.fields, self.partitioning, self.sorting = fields, partitioning, sorting
        self.was_repartitioned = True
        for branch in self.branches:
            self.check(branch, "other")

    # Branches, and what keeps a table in order.

    def execute(self, call, branch="main"):
        return dict(self.ask_rows(f"ALTER TABLE {self.name(branch)} EXECUTE {call}"))

    def set_branch(self, branch, id):
        """DuckDB's rows of a branch are those of a snapshot, in the columns of today."""
        columns = projected(self.snapshots[id].fields, self.fields)
        self.judge.execute(f"CREATE OR REPLACE TABLE {self.name(branch)} AS SELECT {columns} FROM {Snapshot.table(id)}")

    def create_branch(self):
        id = self.random.choice(list(self.snapshots)) if self.chance(0.4) or "main" not in self.heads else self.heads["main"]
        self.ask(f"ALTER TABLE {self.name()} CREATE BRANCH side AS OF VERSION {id}")
        self.branches.append("side")
        self.set_branch("side", id)
        self.check("side", "other")

    def drop_branch(self):
        self.ask(f"ALTER TABLE {self.name()} DROP BRANCH side")
        self.branches.remove("side")
        self.check("main", "same")

    def create_tag(self):
        id = self.random.choice(list(self.snapshots))
        self.ask(f"ALTER TABLE {self.name()} CREATE OR REPLACE TAG marked AS OF VERSION {id}")
        self.check("main", "same")

    def ancestors(self, id):
        """A snapshot and those that it stands on, as far as they are there."""
        found = []
        while id in self.snapshots:
            found.append(id)
            id = self.snapshots[id].parent
        return found

    def fast_forward(self):
        may = "main" in self.heads and self.heads["main"] in self.ancestors(self.heads["side"])
        try:
            self.execute("fast_forward('main', 'side')")
        except Exception as error:
            if may or "would lose" not in str(error) and "main" in self.heads:
                raise
            return self.check("main", "same")
        assert may, "snapshots of the branch are lost"
        self.judge.execute(f"CREATE OR REPLACE TABLE {self.name()} AS SELECT * FROM {self.name('side')}")
        self.check("main", "other")

    def go_back(self):
        branch = self.some_branch()
        if branch not in self.heads:
            return
        id = self.random.choice(list(self.snapshots))
        if branch == "main" and id not in self.ancestors(self.heads[branch]):
            self.execute(f"set_current_snapshot({id})", branch)
        else:
            id = self.random.choice(self.ancestors(self.heads[branch]))
            self.execute(f"rollback_to_snapshot({id})", branch)
        self.set_branch(branch, id)
        self.check(branch, "other")

    def optimize(self):
        branch = self.some_branch()
        options = self.random.choice(["", "", "(file_size_threshold => '10MB')", "('1kB')"])
        simple = [field for field in self.fields if field.is_simple]
        where = f" WHERE {self.make.condition(simple)}" if self.chance(0.3) else ""
        self.execute(f"optimize{options}{where}", branch)
        self.check(branch, "same")

    def optimize_manifests(self):
        branch = self.some_branch()
        self.execute("optimize_manifests", branch)
        self.check(branch, "same")

    def expire(self):
        last = self.random.choice([1, 1, 2])
        self.execute(f"expire_snapshots(retention_threshold => '0s', retain_last => {last})")
        kept = {id for branch in self.heads if branch != "marked" for id in self.ancestors(self.heads[branch])[:last]}
        kept |= {id for name, id in self.heads.items() if name == "marked"}
        self.check("main", "same", kept)

    def remove_orphans(self):
        self.execute("remove_orphan_files('0s')")
        self.check("main", "same")

    def analyze(self):
        self.ask(f"ANALYZE {self.name()}")
        self.check("main", "same")

    # What must be so.

    def rows_of_judge(self, table, fields):
        return counted(self.judge.execute(f"SELECT * FROM {table}").fetchall(), fields)

    def check(self, branch, kind, kept=None):
        """Looks at a branch after a statement of that kind, at the others if there are some, and at the snapshots that there are now."""
        self.note_snapshots(branch, kept)
        for other in self.branches:
            self.check_branch(other, kind if other == branch else "evolved" if kind in ("evolved", "other") else "same")

    def note_snapshots(self, branch, kept):
        before = set(self.snapshots)
        now = dict(self.look(f"SELECT snapshot_id, parent_id FROM {self.name(suffix='$snapshots')}"))
        self.heads = dict(self.look(f"SELECT name, snapshot_id FROM {self.name(suffix='$refs')}"))
        gone, new = before - set(now), set(now) - before
        assert gone == (before - kept if kept is not None else set()), f"snapshots are gone: {gone}, kept: {kept}"
        for id in gone:
            del self.snapshots[id]
            self.judge.execute(f"DROP TABLE {Snapshot.table(id)}")
        assert not new or self.heads[branch] in new, f"snapshots {new} are not on {branch}"
        for id in new:
            self.snapshots[id] = Snapshot(now[id], self.fields, self.version)
            self.judge.execute(f"CREATE TABLE {Snapshot.table(id)} AS SELECT * FROM {self.name(branch)}")

    def check_branch(self, branch, kind):
        lineage = ", _row_id, _last_updated_sequence_number" if self.version == 3 else ""
        answer = self.ask(f"SELECT *{lineage} FROM {self.name(branch)}")
        self.said.pop()
        names = [field.name for field in self.fields]
        assert answer.schema.names[: len(names)] == names, f"{answer.schema.names} instead of {names}"
        columns = [column.to_pylist() for column in answer.columns]
        rows = [tuple(plain(value, field) for value, field in zip(row, self.fields)) for row in zip(*columns)]
        wrong = difference(Counter(rows), self.rows_of_judge(self.name(branch), self.fields))
        assert not wrong, f"{branch}: {wrong}"
        if lineage:
            self.check_lineage(branch, kind, list(zip(rows, columns[-2], columns[-1])))

    def check_lineage(self, branch, kind, rows):
        """Which rows are still the same ones, by their ids."""
        ids = [id for _, id, _ in rows]
        known = [id for id in ids if id is not None]
        head = self.snapshots.get(self.heads.get(branch))
        assert len(set(known)) == len(known), f"{branch}: _row_id is there twice"
        assert len(known) == len(ids) or head.version < 3, f"{branch}: rows without a _row_id"
        now, before = Counter(rows), self.lineage.get(branch)
        comparable = before is not None and all(id is not None for _, id, _ in before)
        if comparable:
            ids_before = {id for _, id, _ in before}
            new = set(known) - ids_before
            assert kind == "other" or all(id > self.row_id_max for id in new), f"{branch}: new rows have ids of others: {sorted(new)[:3]}"
            holds = {
                "insert": not before - now,
                "delete": not now - before,
                "update": set(known) == ids_before,
                "evolved": set(known) == ids_before,
                "same": now == before,
            }.get(kind, True)
            assert holds, f"{branch}: rows have other ids after {kind}: {list((before - now).items())[:3]} and {list((now - before).items())[:3]}"
        self.lineage[branch] = now
        self.row_id_max = max([self.row_id_max, *known])

    def check_summary(self):
        """The totals of the current snapshot are those of its files."""
        if "main" not in self.heads:
            return
        ((summary,),) = self.look(f"SELECT summary FROM {self.name(suffix='$snapshots')} WHERE snapshot_id = {self.heads['main']}")
        totals = {key: int(value) for key, value in dict(summary).items() if key.startswith("total-")}
        files = self.look(f"SELECT content, record_count, file_size_in_bytes FROM {self.name(suffix='$files')}")
        of = lambda contents: [(records, size) for content, records, size in files if content in contents]  # noqa: E731
        right = {
            "total-data-files": len(of([0])),
            "total-delete-files": len(of([1, 2])),
            "total-records": sum(records for records, _ in of([0])),
            "total-position-deletes": sum(records for records, _ in of([1])),
        }
        assert {key: totals.get(key) for key in right} == right, f"{totals} instead of {right}"

    def travel(self):
        """Some snapshot is as it was."""
        if self.snapshots:
            id = self.random.choice(list(self.snapshots))
            answer = self.ask(f"SELECT * FROM {self.name()} FOR VERSION AS OF {id}")
            fields = self.snapshots[id].fields
            assert answer.schema.names == [field.name for field in fields], f"snapshot {id}: {answer.schema.names} instead of {[field.name for field in fields]}"
            wrong = difference(counted(zip(*(column.to_pylist() for column in answer.columns)), fields), self.rows_of_judge(Snapshot.table(id), fields))
            assert not wrong, f"snapshot {id}: {wrong}"
            self.said.pop()

    def compare_query(self):
        """Some query has the same answer."""
        branch = self.some_branch()
        simple = [field for field in self.fields if field.is_simple]
        numbers = [field for field in self.fields if field.is_number]
        condition = self.make.condition(self.fields, table=self.name(self.some_branch()))
        chosen = self.random.sample(simple, self.random.randrange(1, min(len(simple), 3) + 1))
        names = ", ".join(field.name for field in chosen)
        group, some, number = self.random.choice(simple), self.random.choice(self.fields), self.random.choice(numbers)
        values = self.random.choice([f"count({some.name})", f"min({number.name}), max({number.name})", f"sum({number.name})", f"count(DISTINCT {group.name})"])
        key = self.key.name
        sql = self.random.choice([
            f"SELECT {names} FROM {self.name(branch)} WHERE {condition}",
            f"SELECT {group.name}, count(*), {values} FROM {self.name(branch)} WHERE {condition} GROUP BY {group.name}",
            f"SELECT count(*), {values} FROM {self.name(branch)} WHERE {condition}",
            f"SELECT count(*), count(t.{some.name}), count(o.{some.name}) FROM {self.name(branch)} AS t LEFT JOIN {self.name(self.some_branch())} AS o"
            f" ON t.{key} = o.{key} AND ({self.make.condition(self.fields, 'o.')})",
        ])
        told = lambda rows: Counter(tuple(str(float(value)) if isinstance(value, (int, float, Decimal)) else str(value) for value in row) for row in rows)  # noqa: E731
        ours, theirs = self.ask_rows(sql), self.judge.execute(sql).fetchall()
        wrong = difference(told(ours), told(theirs))
        assert not wrong, f"{sql}: {wrong}"
        self.said.pop()

    def check_with(self, spark):
        """Spark reads the same rows of all branches, with the same ids."""
        for branch in self.branches:
            version = "" if branch == "main" else f" VERSION AS OF '{branch}'"
            rows = spark.rows(f"SELECT *{', _row_id' if self.version == 3 else ''} FROM {self.name()}{version}")
            fields = self.fields + ((Field(0, "_row_id", "bigint"),) if self.version == 3 else ())
            theirs = counted(rows, fields)
            if self.version == 3:
                ours = Counter((*row, id) for row, id, _ in self.lineage[branch].elements())
            else:
                ours = self.rows_of_judge(self.name(branch), self.fields)
            wrong = difference(ours, theirs)
            if wrong:
                error = AssertionError(f"Spark, {branch}: {wrong}")
                error.add_note(f"EVOLUTION_SEED={self.seed} PROGRAMS=1\n{self.replay()}")
                raise error
