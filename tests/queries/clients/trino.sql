-- Trino's own listings (https://trino.io/docs/476/connector/system.html, /sql/show-*.html), over a catalog `lake` and its schema `shop`.

SELECT * FROM system.runtime.nodes;

SELECT * FROM system.runtime.queries WHERE query_id = 'nothing'; -- rows

SELECT * FROM system.runtime.tasks WHERE query_id = 'nothing'; -- rows

SELECT * FROM system.runtime.transactions WHERE transaction_id = 'nothing'; -- rows

SELECT * FROM system.metadata.catalogs WHERE catalog_name = 'lake'; -- rows

SELECT * FROM system.metadata.schema_properties;

SELECT * FROM system.metadata.table_properties;

SELECT property_name, default_value, type FROM system.metadata.table_properties WHERE catalog_name = 'lake' AND property_name IN ('extra_properties', 'format', 'format_version', 'location', 'partitioning', 'sorted_by'); -- rows

SELECT * FROM system.metadata.column_properties; -- rows

SELECT catalog_name, property_name, type FROM system.metadata.analyze_properties WHERE catalog_name = 'lake'; -- rows

SELECT * FROM system.metadata.materialized_view_properties;

SELECT catalog_name, schema_name, name, storage_catalog, storage_schema, storage_table, freshness, comment, definition FROM system.metadata.materialized_views; -- rows

SELECT * FROM system.metadata.table_comments WHERE schema_name = 'shop'; -- rows

SELECT * FROM information_schema.schemata WHERE schema_name IN ('shop', 'information_schema'); -- rows

SELECT * FROM information_schema.tables WHERE table_schema IN ('shop', 'information_schema'); -- rows

SELECT table_catalog, table_schema, table_name, column_name, ordinal_position, column_default, is_nullable, data_type FROM information_schema.columns WHERE table_schema = 'shop'; -- rows

SELECT * FROM information_schema.views WHERE table_schema = 'shop';

SELECT * FROM information_schema.table_privileges; -- rows

SHOW TABLES FROM information_schema; -- rows

SHOW TABLES FROM shop LIKE 'P%'; -- rows

SHOW TABLES FROM shop LIKE 'p$_%' ESCAPE '$'; -- rows

SHOW COLUMNS FROM shop.people LIKE '%a%'; -- rows

SHOW SCHEMAS FROM system LIKE 'r%e'; -- rows

SHOW TABLES FROM system.metadata; -- rows

SHOW TABLES FROM system.jdbc; -- rows

DESCRIBE system.runtime.queries; -- rows

DESCRIBE system.runtime.tasks; -- rows

DESCRIBE system.runtime.nodes; -- rows

DESCRIBE system.runtime.transactions; -- rows

DESCRIBE information_schema.roles; -- rows

DESCRIBE information_schema.applicable_roles; -- rows

SHOW CREATE TABLE shop.people;

SHOW CREATE SCHEMA shop;

SHOW STATS FOR shop.people;

SHOW STATS FOR (SELECT id FROM shop.people);

SHOW FUNCTIONS LIKE 'array_s%';

SHOW FUNCTIONS FROM shop; -- rows

SHOW GRANTS; -- rows

SHOW GRANTS ON TABLE shop.people; -- rows

SHOW ROLES; -- rows

SHOW CURRENT ROLES; -- rows

SHOW ROLE GRANTS; -- rows

EXPLAIN (TYPE VALIDATE) SELECT * FROM shop.people; -- rows

EXPLAIN (TYPE LOGICAL, FORMAT TEXT) SELECT 1;

EXPLAIN ANALYZE SELECT 1;

EXPLAIN ANALYZE VERBOSE SELECT 1;

SELECT current_user, current_catalog, current_schema, current_path; -- rows
