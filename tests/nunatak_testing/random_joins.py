"""Random queries over small tables whose columns have the same names: joins of all kinds, derived tables, groups of groups, LATERAL and subqueries, NULLs everywhere.

What columns are called, and which of them decide others, is what optimisers mix up; the tables of TPC-H do not show it.
"""

import random

TABLES = {
    "t1": ["id", "k", "v"],
    "t2": ["id", "k", "v"],
    "t3": ["id", "k", "w"],
    "big": ["id", "k", "v"],
}
ROWS = {"t1": (12, 6), "t2": (30, 8), "t3": (5, 5), "big": (400, 9)}
JOINS = ["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]
COMPARISONS = ["=", "<", "<=", ">", "<>"]
AGGREGATES = ["max", "min", "count", "sum"]


def setup(seed=7):
    """The statements that make the tables."""
    chance = random.Random(seed)
    for table, columns in TABLES.items():
        count, most = ROWS[table]
        yield f"CREATE TABLE {table} ({', '.join(f'{column} bigint' for column in columns)})"
        value = lambda most=most: "NULL" if chance.random() < 0.12 else str(chance.randint(0, most))  # noqa: E731
        rows = (f"({', '.join(value() for _ in columns)})" for _ in range(count))
        yield f"INSERT INTO {table} VALUES {', '.join(rows)}"


class Generator:
    """One query a seed. A scope is a list of relations: their aliases, and the names of their columns."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.count = 0
        self.tables = dict(TABLES)

    def statement(self):
        if not self.happens(0.2):
            return self.query(2)[0]
        query, columns = self.query(1)
        name = self.name("w")
        self.tables[name] = columns
        return f"WITH {name} AS ({query}) {self.query(2)[0]}"

    def happens(self, probability):
        return self.chance.random() < probability

    def name(self, prefix):
        self.count += 1
        return f"{prefix}{self.count}"

    def table(self):
        table = self.chance.choice(list(self.tables))
        return table, (self.name("b"), self.tables[table])

    def column(self, scope):
        alias, column = self.chance.choice([(alias, column) for alias, columns in scope for column in columns])
        return f"{alias}.{column}"

    def number(self):
        return str(self.chance.randint(0, 6))

    def value(self, scope, depth=1):
        kind = self.chance.random()
        if depth == 0 or kind < 0.55:
            return self.column(scope)
        if kind < 0.65:
            return self.number()
        if kind < 0.85:
            return f"({self.value(scope, depth - 1)} {self.chance.choice('+-*')} {self.value(scope, depth - 1)})"
        if kind < 0.93:
            return f"coalesce({self.value(scope, depth - 1)}, {self.number()})"
        return f"CASE WHEN {self.condition(scope, depth - 1)} THEN {self.value(scope, depth - 1)} ELSE {self.value(scope, depth - 1)} END"

    def condition(self, scope, depth=1):
        kind = self.chance.random()
        if depth == 0 or kind < 0.35:
            other = self.column(scope) if self.happens(0.5) else self.number()
            return f"{self.column(scope)} {self.chance.choice(COMPARISONS)} {other}"
        if kind < 0.5:
            return f"{self.column(scope)} IS {self.negation()}NULL"
        if kind < 0.6:
            return f"({self.condition(scope, depth - 1)} OR {self.condition(scope, depth - 1)})"
        if kind < 0.66:
            return f"NOT ({self.condition(scope, depth - 1)})"
        if kind < 0.72:
            return f"{self.column(scope)} IN ({self.number()}, {self.number()}{', NULL' if self.happens(0.2) else ''})"
        if kind < 0.76:
            return f"{self.column(scope)} IS NOT DISTINCT FROM {self.column(scope)}"
        return f"({self.condition(scope, depth - 1)} AND {self.condition(scope, depth - 1)})"

    def negation(self):
        return self.chance.choice(["", "NOT "])

    def subquery(self, scope):
        """A condition with a subquery."""
        table, relation = self.table()
        own = [relation]
        tie = f"{self.column(own)} = {self.column(scope)}"
        if self.happens(0.3):
            tie += f" AND {self.condition(own, 0)}"
        rows = f"FROM {table} AS {relation[0]} WHERE"
        kind = self.chance.random()
        if kind < 0.35:
            return f"{self.negation()}EXISTS (SELECT 1 {rows} {tie})"
        if kind < 0.5:
            return f"{self.column(scope)} {self.negation()}IN (SELECT {self.column(own)} {rows} {self.condition(own, 0)})"
        if kind < 0.65:
            return f"{self.column(scope)} {self.negation()}IN (SELECT {self.column(own)} {rows} {tie})"
        return f"{self.column(scope)} {self.chance.choice(['=', '<', '>='])} {self.number_of(scope)}"

    def number_of(self, scope):
        """A subquery that stands for one value."""
        table, relation = self.table()
        own = [relation]
        tie = f"{self.column(own)} {self.chance.choice(['=', '=', '=', '<', '<=', '>', '<>'])} {self.column(scope)}"
        return f"(SELECT {self.chance.choice(AGGREGATES)}({self.column(own)}) FROM {table} AS {relation[0]} WHERE {tie})"

    def lateral(self, scope):
        table, relation = self.table()
        own, alias = [relation], self.name("l")
        rows = f"FROM {table} AS {relation[0]} WHERE {self.column(own)} {self.chance.choice(['=', '=', '=', '<=', '<'])} {self.column(scope)}"
        kind, key = self.chance.random(), self.column(own)
        if kind < 0.4:
            query = f"SELECT {self.chance.choice(AGGREGATES)}({key}) AS m, {self.chance.choice(AGGREGATES)}({self.column(own)}) AS n {rows}"
        elif kind < 0.7:
            query = f"SELECT {key} AS m, {self.column(own + scope)} AS n {rows}"
        else:
            query = f"SELECT {key} AS m, count(*) AS n {rows} GROUP BY {key}"
        join = self.chance.choice(["CROSS JOIN LATERAL ({}) AS {}", "LEFT JOIN LATERAL ({}) AS {} ON true"])
        return join.format(query, alias), (alias, ["m", "n"])

    def relation(self, depth):
        """What stands in `FROM`, and what it is called."""
        alias = self.name("a")
        if depth <= 0 or self.happens(0.5):
            table = self.chance.choice(list(self.tables))
            return f"{table} AS {alias}", (alias, self.tables[table])
        query, columns = self.query(depth - 1)
        return f"({query}) AS {alias}", (alias, columns)

    def rows(self, depth):
        sql, relation = self.relation(depth)
        scope = [relation]
        for _ in range(self.chance.choice([0, 0, 1, 1, 1, 2])):
            joined, relation = self.relation(depth - 1)
            join = self.chance.choice(JOINS)
            left, right = self.column(scope), self.column([relation])
            on, kind = f"{left} = {right}", self.chance.random()
            if join != "FULL JOIN" and kind < 0.25:
                on += f" AND {self.condition([*scope, relation])}"
            elif join == "JOIN" and kind < 0.32:
                on = f"{left} <= {right} AND {right} < 4"
            scope.append(relation)
            sql += f" {join} {joined} ON {on}"
        if self.happens(0.1):
            lateral, relation = self.lateral(scope)
            sql += f" {lateral}"
            scope.append(relation)
        where = [self.condition(scope, 2)] if self.happens(0.5) else []
        if self.happens(0.25):
            where.append(self.subquery(scope))
        return sql + (f" WHERE {' AND '.join(where)}" if where else ""), scope

    def query(self, depth):
        """A query, and the names of its columns."""
        if depth > 0 and self.happens(0.12):
            (one, first), (other, second) = self.query(0), self.query(0)
            width = min(len(first), len(second))
            operator = self.chance.choice(["UNION ALL", "UNION ALL", "UNION", "INTERSECT", "EXCEPT"])
            sides = [f"SELECT {', '.join(names[:width])} FROM ({query}) AS {self.name('u')}" for query, names in ((one, first), (other, second))]
            return f" {operator} ".join(sides), first[:width]
        rows, scope = self.rows(depth)
        query, names = self.groups(rows, scope) if self.happens(0.45) else self.values(rows, scope)
        if self.happens(0.15):
            query += f" ORDER BY {', '.join(f'{place + 1} NULLS FIRST' for place in range(len(names)))} LIMIT {self.chance.randint(1, 20)}"
        return query, names

    def groups(self, rows, scope):
        keys = list(dict.fromkeys(self.column(scope) for _ in range(self.chance.choice([0, 1, 1, 2, 2, 3]))))
        items, names = [], []
        for key in keys:
            if self.happens(0.85):
                name = key.split(".")[1]
                names.append(self.name("g") if name in names else name)
                items.append(f"{key} AS {names[-1]}")
        for _ in range(self.chance.choice([0, 1, 1, 2]) if names else 1):
            call = self.chance.choice(["sum({})", "count({})", "count(*)", "min({})", "max({})", "count(DISTINCT {})", "sum(DISTINCT {})"])
            names.append(self.name("m"))
            items.append(f"{call.format(self.column(scope))} AS {names[-1]}")
        group, kind = ", ".join(keys), self.chance.random()
        if keys and kind < 0.1:
            group = f"ROLLUP ({group})"
        elif len(keys) > 1 and kind < 0.2:
            group = f"GROUPING SETS (({group}), ({keys[0]}), ())"
        group = f" GROUP BY {group}" if keys else ""
        having = f" HAVING count(*) > {self.chance.randint(0, 3)}" if self.happens(0.2) else ""
        return f"SELECT {', '.join(items)} FROM {rows}{group}{having}", names

    def values(self, rows, scope):
        names = self.chance.sample(["id", "k", "v", "w", "x"], self.chance.randint(1, 3))
        items = [f"{self.value(scope)} AS {name}" for name in names]
        if self.happens(0.12):
            names.append(self.name("q"))
            items.append(f"{self.number_of(scope)} AS {names[-1]}")
        if self.happens(0.06):
            names.append(self.name("e"))
            items.append(f"CASE WHEN {self.subquery(scope)} THEN 1 ELSE 0 END AS {names[-1]}")
        if self.happens(0.08):
            names.append(self.name("n"))
            order = ", ".join(f"{alias}.{column}" for alias, columns in scope for column in columns)
            items.append(f"row_number() OVER (PARTITION BY {self.column(scope)} ORDER BY {order}) AS {names[-1]}")
        distinct = "DISTINCT " if self.happens(0.25) else ""
        return f"SELECT {distinct}{', '.join(items)} FROM {rows}", names
