-- What Superset asks a Trino for, by superset/db_engine_specs/trino.py, presto.py and presto_base.py, over a catalog `lake` and its schema `shop`.
-- Of a statement with `-- rows` behind it the rows are the same too; of others they are about the server.

SHOW CATALOGS;

SHOW SCHEMAS FROM "lake" LIKE 'shop'; -- rows

SHOW COLUMNS FROM "shop"."people";

SHOW COLUMNS FROM "shop"."named"; -- rows

SHOW CREATE VIEW shop.named;

SHOW FUNCTIONS;

SELECT table_name FROM information_schema.tables WHERE table_schema = 'shop' AND table_type = 'VIEW'; -- rows

SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'shop' AND table_name = 'people' ORDER BY ordinal_position; -- rows

SELECT "id" AS "id", "name" AS "name", "born" AS "born", "wage" AS "wage", "at" AS "at" FROM "shop"."people" LIMIT 100; -- rows

EXPLAIN SELECT * FROM shop.people;

SELECT DATE_TRUNC('month', born) AS "__timestamp", COUNT(*) AS "count" FROM "shop"."people" WHERE born >= DATE '2000-01-01' GROUP BY DATE_TRUNC('month', born) ORDER BY "count" DESC LIMIT 50000; -- rows
