"""Random programs of INSERT, DELETE, UPDATE and MERGE over one table, in the SQL that nunatak and DuckDB share. Each statement has one right outcome."""

import random

COLUMNS = ["id", "part", "name", "x"]


class Program:
    """The statements of a seed, over a table `t` of (id bigint, part integer, name varchar, x double), whose rows have different ids."""

    def __init__(self, seed, table):
        self.random = random.Random(seed)
        self.table = table
        self.next = 0

    def fill(self, rows):
        """New rows, as a query."""
        first, self.next = self.next, self.next + rows
        return (
            "SELECT CAST(id AS bigint) AS id, CAST(id % 5 AS integer) AS part,"
            " CASE WHEN id % 11 = 0 THEN NULL ELSE CAST(id % 97 AS varchar) END AS name, CAST(id AS double) / 2 AS x"
            f" FROM (SELECT unnest(range({first}, {self.next})) AS id) AS numbers"
        )

    def statement(self):
        """The next one."""
        choices = [(3, self.insert), (3, self.delete), (4, self.update), (5, self.merge)]
        return self.random.choices([choice for _, choice in choices], [weight for weight, _ in choices])[0]()

    def number(self):
        return self.random.randrange(-5, self.next + 20)

    def insert(self):
        return f"INSERT INTO {self.table} {self.fill(self.random.randrange(1, 200))}"

    def delete(self):
        return f"DELETE FROM {self.table} WHERE {self.condition('')}"

    def update(self):
        if self.random.random() < 0.3:
            return (
                f"UPDATE {self.table} AS t SET {self.assignments('t.', 's.')} FROM ({self.source()}) AS s WHERE t.id = s.id AND ({self.condition('t.')})"
            )
        return f"UPDATE {self.table} SET {self.assignments('', None)} WHERE {self.condition('')}"

    def merge(self):
        clauses = []
        for kind, actions in [("MATCHED", "ud"), ("NOT MATCHED", "i"), ("NOT MATCHED BY SOURCE", "ud")]:
            for last in [False, True]:
                if self.random.random() < 0.45:
                    clauses.append(self.clause(kind, self.random.choice(actions), last))
        clauses = clauses or [self.clause("MATCHED", "u", True)]
        # Pairs that are held apart by more than their ids would be inserted with an id that is there.
        apart = self.random.random() < 0.3 and not any("INSERT" in clause for clause in clauses)
        on = f"t.id = s.id AND t.part <> {self.random.randrange(5)}" if apart else "t.id = s.id"
        return f"MERGE INTO {self.table} AS t USING ({self.source()}) AS s ON {on} {' '.join(clauses)}"

    def clause(self, kind, action, last):
        side = "s." if kind == "NOT MATCHED" else "t."
        condition = "" if last else f" AND ({self.condition(side)})"
        what = {
            "d": "DELETE",
            "u": f"UPDATE SET {self.assignments('t.', 's.' if kind == 'MATCHED' else None)}",
            "i": self.random.choice(["INSERT (id, name, x) VALUES (s.id, s.name, s.x + 1)", "INSERT (id, part, name, x) VALUES (s.id, s.part, s.name, s.x)"]),
        }[action]
        return f"WHEN {kind}{condition} THEN {what}"

    def source(self):
        """Rows whose ids differ, some of them ids of the table; those that are not stay behind `next`."""
        first = self.random.randrange(0, self.next + 1)
        rows, step = self.random.randrange(1, 150), self.random.choice([1, 1, 2, 7])
        self.next = max(self.next, first + rows * step)
        return (
            "SELECT CAST(id AS bigint) AS id, CAST(id % 7 AS integer) AS part, CASE WHEN id % 3 = 0 THEN NULL ELSE 's' || CAST(id % 13 AS varchar) END AS name,"
            f" CAST(id AS double) * 3 AS x FROM (SELECT unnest(range({first}, {first + rows * step}, {step})) AS id) AS numbers"
        )

    def assignments(self, table, source):
        values = {
            "part": [f"{table}part + 1", f"{self.random.randrange(5)}", f"({table}part * 3) % 7"],
            "name": ["NULL", f"upper({table}name)", f"coalesce({table}name, 'none') || 'u'", "'const'"],
            "x": [f"{table}x + 0.5", f"-{table}x", "NULL", f"{self.random.randrange(100)}"],
        }
        if source:
            values["part"] += [f"{source}part", f"{source}part + {table}part"]
            values["name"] += [f"{source}name", f"coalesce({source}name, {table}name)"]
            values["x"] += [f"{source}x - {table}x"]
        chosen = self.random.sample(sorted(values), self.random.randrange(1, len(values) + 1))
        return ", ".join(f"{column} = {self.random.choice(values[column])}" for column in chosen)

    def condition(self, side):
        """What is true of some rows, by the columns of `side`."""
        conditions = [
            f"{side}id % {self.random.randrange(2, 9)} = {self.random.randrange(3)}",
            f"{side}id BETWEEN {self.number()} AND {self.number()}",
            f"{side}part = {self.random.randrange(6)}",
            f"{side}part IN ({self.random.randrange(6)}, {self.random.randrange(6)})",
            f"{side}name IS NULL",
            f"{side}name LIKE '{self.random.randrange(10)}%'",
            f"NOT ({side}name < '{self.random.randrange(10)}')",
            f"{side}x > {self.number()}",
            f"{side}x IS NOT NULL OR {side}part = 1",
        ]
        condition = self.random.choice(conditions)
        return condition if self.random.random() < 0.6 else f"({condition}) AND {self.random.choice(conditions)}"
