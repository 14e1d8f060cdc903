-- What Metabase asks a Trino for, by Starburst's driver for it (drivers/starburst/src/metabase/driver/implementation/sync.clj), over a catalog `lake` and its schema `shop`.

SHOW SCHEMAS FROM "lake";

SHOW TABLES FROM "lake"."shop"; -- rows

SHOW TABLES FROM "shop" LIKE 'people'; -- rows

DESCRIBE "lake"."shop"."people";

DESCRIBE "lake"."shop"."named"; -- rows

SELECT current_timezone() as "time-zone"; -- rows

SELECT count(*) AS "count" FROM "shop"."people"; -- rows

SELECT substring("shop"."people"."name", 1, 1234) AS "substring1", "shop"."people"."id" AS "id" FROM "shop"."people" ORDER BY "id" LIMIT 10000; -- rows
