-- What SQLAlchemy's dialect of Trino asks for when it looks at tables, by trino/sqlalchemy/dialect.py of trino-python-client, with the values in their places.

SELECT "table_cat" FROM "system"."jdbc"."catalogs";

SELECT "schema_name" FROM "information_schema"."schemata" WHERE "schema_name" = 'shop'; -- rows

SELECT "table_name" FROM "information_schema"."tables" WHERE "table_schema" = 'shop' AND "table_type" = 'BASE TABLE'; -- rows

SELECT "table_name" FROM "information_schema"."tables" WHERE "table_schema" = 'shop' AND "table_type" = 'VIEW'; -- rows

SELECT "table_name" FROM "information_schema"."tables" WHERE "table_schema" = 'shop' AND "table_name" = 'people'; -- rows

SELECT "column_name", "data_type", "column_default", UPPER("is_nullable") AS "is_nullable", "comment" FROM "information_schema"."columns" WHERE "table_schema" = 'shop' AND "table_name" = 'people' ORDER BY "ordinal_position" ASC; -- rows

SELECT "view_definition" FROM "information_schema"."views" WHERE "table_schema" = 'shop' AND "table_name" = 'named';

SELECT "comment" FROM "system"."metadata"."table_comments" WHERE "catalog_name" = 'lake' AND "schema_name" = 'shop' AND "table_name" = 'people'; -- rows

SELECT version();
