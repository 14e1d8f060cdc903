"""Random queries over TPC-H tables: joins of all kinds, semi and anti joins, aggregates, windows, unions, nested in each other. Whatever the order in which
rows are read, each has one right answer."""

import random
from dataclasses import dataclass

# The columns of each table, whole numbers first.
TABLES = {
    "region": (["r_regionkey"], ["r_name"]),
    "nation": (["n_nationkey", "n_regionkey"], ["n_name"]),
    "supplier": (["s_suppkey", "s_nationkey"], ["s_acctbal", "s_name"]),
    "customer": (["c_custkey", "c_nationkey"], ["c_acctbal", "c_mktsegment"]),
    "orders": (["o_orderkey", "o_custkey"], ["o_totalprice", "o_orderstatus"]),
    "part": (["p_partkey", "p_size"], ["p_brand"]),
}
JOINS = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]
DEPTH_MAX = 2


@dataclass
class Relation:
    """SQL that gives rows, and its columns: all, and those that are whole numbers."""

    sql: str
    columns: list
    numbers: list


class Generator:
    """Makes the queries of a seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.aliases = 0

    def statement(self):
        """A query, in the SQL that nunatak and DuckDB share."""
        query = self.query(DEPTH_MAX)
        columns = ", ".join(query.columns)
        forms = [
            query.sql,
            f"SELECT count(*) AS n, count({query.columns[0]}) AS m FROM ({query.sql}) AS q",
            f"SELECT * FROM ({query.sql}) AS q ORDER BY {columns} LIMIT {self.random.randrange(1, 400)}",
            f"SELECT * FROM ({query.sql}) AS q UNION ALL SELECT * FROM ({query.sql}) AS r",
            f"SELECT {query.columns[0]}, row_number() OVER (PARTITION BY {query.columns[0]} ORDER BY {columns}) AS n FROM ({query.sql}) AS q",
        ]
        return self.random.choice(forms)

    def chance(self, share):
        return self.random.random() < share

    def relation(self, depth):
        """What can stand in FROM."""
        self.aliases += 1
        alias = f"t{self.aliases}"
        if depth > 0 and self.chance(0.25):
            query = self.query(depth - 1)
            sql, columns, numbers = f"({query.sql})", query.columns, query.numbers
        else:
            sql = self.random.choice(list(TABLES))
            numbers, others = TABLES[sql]
            columns = numbers + others
        named = lambda names: [f"{alias}.{name}" for name in names]  # noqa: E731
        return Relation(f"{sql} AS {alias}", named(columns), named(numbers))

    def condition(self, numbers):
        column, some = self.random.choice(numbers), self.random.randrange(1, 60)
        return self.random.choice([f"{column} < {some}", f"{column} % {some} = 1", f"{column} IS NOT NULL", f"{column} BETWEEN 3 AND {some * 9}", f"{column} > {some // 2}"])

    def membership(self, numbers):
        """Whether a row has partners in another table."""
        other, outer = self.relation(0), self.random.choice(numbers)
        inner = self.random.choice(other.numbers)
        also = f" AND {self.condition(other.numbers)}" if self.chance(0.4) else ""
        return self.random.choice([
            f"EXISTS (SELECT 1 FROM {other.sql} WHERE {inner} = {outer}{also})",
            f"NOT EXISTS (SELECT 1 FROM {other.sql} WHERE {inner} = {outer}{also})",
            f"{outer} IN (SELECT {inner} FROM {other.sql} WHERE true{also})",
            f"{outer} NOT IN (SELECT {inner} FROM {other.sql} WHERE {inner} IS NOT NULL{also})",
        ])

    def query(self, depth):
        source = self.relation(depth)
        for _ in range(self.random.choice([0, 1, 1, 2])):
            other = self.relation(depth)
            on = f"{self.random.choice(source.numbers)} = {self.random.choice(other.numbers)}"
            if self.chance(0.2):
                on += f" AND {self.condition(other.numbers)}"
            sql = f"{source.sql} {self.random.choice(JOINS)} {other.sql} ON {on}"
            source = Relation(sql, source.columns + other.columns, source.numbers + other.numbers)
        conditions = [self.condition(source.numbers)] if self.chance(0.5) else []
        conditions += [self.membership(source.numbers) for _ in range(self.random.choice([0, 0, 1, 1, 2]))]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return self.aggregate(source, where) if self.chance(0.35) else self.projection(source, where)

    def aggregate(self, source, where):
        keys = self.random.sample(source.columns, min(len(source.columns), self.random.choice([0, 1, 1, 2])))
        number = self.random.choice(source.numbers)
        counts = self.random.sample(["count(*)", f"sum({number})", f"count(DISTINCT {number})"], self.random.choice([1, 2]))
        other = self.random.choice(source.columns)
        names = [f"g{i}" for i in range(len(keys))] + [f"a{i}" for i in range(len(counts))] + ["least", "most"]
        items = ", ".join(f"{item} AS {name}" for item, name in zip(keys + counts + [f"min({other})", f"max({other})"], names))
        group = f" GROUP BY {', '.join(keys)}" if keys else ""
        numbers = [name for name, item in zip(names, keys + counts) if item in source.numbers or item in counts]
        return Relation(f"SELECT {items} FROM {source.sql}{where}{group}", names, numbers)

    def projection(self, source, where):
        items = [self.random.choice(source.numbers)] + self.random.sample(source.columns, min(len(source.columns), self.random.choice([0, 1, 2])))
        names = [f"c{i}" for i in range(len(items))]
        distinct = "DISTINCT " if self.chance(0.25) else ""
        columns = ", ".join(f"{item} AS {name}" for item, name in zip(items, names))
        numbers = [name for name, item in zip(names, items) if item in source.numbers]
        return Relation(f"SELECT {distinct}{columns} FROM {source.sql}{where}", names, numbers)
