//! The catalog `system`, in which clients of Trino look for names and types: each of its tables is a query over what the catalogs list of themselves.
//!
//! A client asks with filters. The name of a catalog is a constant in its part of a query, so that others are not asked, and filters on schemas and tables reach the
//! listings below.

use nunatak_core::{Code, Error, Result};

use super::information_schema::COMMENTS;
use super::listed_properties::{ANALYZE_PROPERTIES, ListedProperty, SCHEMA_PROPERTIES, TABLE_PROPERTIES};
use super::names::{INFORMATION_SCHEMA, QualifiedName, SYSTEM};
use super::system_tables::{RUNTIME_QUERIES, RUNTIME_TASKS, RUNTIME_TRANSACTIONS};
use crate::error::suggest;

/// A text column without a value, and one of numbers.
const NO_TEXT: &str = "CAST(NULL AS varchar)";
const NO_NUMBER: &str = "CAST(NULL AS bigint)";

/// The tables there are, by schema.
const TABLES: &[(&str, &[&str])] = &[
    (
        "jdbc",
        &[
            "attributes",
            "catalogs",
            "columns",
            "procedure_columns",
            "procedures",
            "pseudo_columns",
            "schemas",
            "super_tables",
            "super_types",
            "table_types",
            "tables",
            "types",
            "udts",
        ],
    ),
    (
        "metadata",
        &[
            "analyze_properties",
            "catalogs",
            "column_properties",
            "materialized_view_properties",
            "materialized_views",
            "schema_properties",
            "table_comments",
            "table_properties",
        ],
    ),
    ("runtime", &["nodes", "queries", "tasks", "transactions"]),
];

/// The columns of the lists of properties.
const PROPERTY_COLUMNS: [&str; 5] = ["catalog_name", "property_name", "default_value", "type", "description"];

/// A type: its name, JDBC's number of it, and the size and the radix that JDBC has for it.
type JdbcType = (&'static str, i64, Option<i64>, Option<i64>);

/// The types there are.
const TYPES: &[JdbcType] = &[
    ("tinyint", -6, Some(3), Some(10)),
    ("bigint", -5, Some(19), Some(10)),
    ("varbinary", -3, Some(2_147_483_647), None),
    ("decimal", 3, Some(38), Some(10)),
    ("integer", 4, Some(10), Some(10)),
    ("smallint", 5, Some(5), Some(10)),
    ("real", 7, Some(24), Some(2)),
    ("double", 8, Some(53), Some(2)),
    ("varchar", 12, Some(2_147_483_647), None),
    ("boolean", 16, None, None),
    ("date", 91, Some(14), None),
    ("time", 92, None, None),
    ("timestamp", 93, None, None),
    ("map", 2000, None, None),
    ("row", 2000, None, None),
    ("uuid", 2000, None, None),
    ("array", 2003, None, None),
    ("timestamp with time zone", 2014, None, None),
];

/// The text of the query for a table, over these catalogs; `None` if there is no table of that name.
pub(super) fn query(catalogs: &[&str], name: &QualifiedName) -> Option<String> {
    let of_each = |part: &dyn Fn(&str, &str) -> String| {
        let parts: Vec<String> = catalogs.iter().map(|catalog| part(&literal(catalog), &listing_of(catalog))).collect();
        parts.join(" UNION ALL ")
    };
    let nothing = |columns: &str| format!("SELECT {columns} WHERE false");
    Some(match (name.schema.as_str(), name.table.as_str()) {
        ("jdbc", "catalogs") => of_each(&|catalog, _| format!("SELECT {catalog} AS table_cat")),
        ("jdbc", "schemas") => {
            of_each(&|catalog, listing| format!("SELECT schema_name AS table_schem, {catalog} AS table_catalog FROM {listing}.schemata"))
        }
        ("jdbc", "tables") => of_each(&tables),
        ("jdbc", "columns") => of_each(&columns),
        ("jdbc", "table_types") => "SELECT table_type FROM (VALUES ('TABLE'), ('VIEW')) AS t(table_type)".to_owned(),
        ("jdbc", "types") => types(),
        ("jdbc", "attributes") => nothing(&empty(&[
            "type_cat",
            "type_schem",
            "type_name",
            "attr_name",
            "#data_type",
            "attr_type_name",
            "#attr_size",
            "#decimal_digits",
            "#num_prec_radix",
            "#nullable",
            "remarks",
            "attr_def",
            "#sql_data_type",
            "#sql_datetime_sub",
            "#char_octet_length",
            "#ordinal_position",
            "is_nullable",
            "scope_catalog",
            "scope_schema",
            "scope_table",
            "#source_data_type",
        ])),
        ("jdbc", "procedure_columns") => nothing(&empty(&[
            "procedure_cat",
            "procedure_schem",
            "procedure_name",
            "column_name",
            "#column_type",
            "#data_type",
            "type_name",
            "#precision",
            "#length",
            "#scale",
            "#radix",
            "#nullable",
            "remarks",
            "column_def",
            "#sql_data_type",
            "#sql_datetime_sub",
            "#char_octet_length",
            "#ordinal_position",
            "is_nullable",
            "specific_name",
        ])),
        ("jdbc", "procedures") => {
            nothing(&empty(&["procedure_cat", "procedure_schem", "procedure_name", "remarks", "#procedure_type", "specific_name"]))
        }
        ("jdbc", "pseudo_columns") => nothing(&empty(&[
            "table_cat",
            "table_schem",
            "table_name",
            "column_name",
            "#data_type",
            "#column_size",
            "#decimal_digits",
            "#num_prec_radix",
            "column_usage",
            "remarks",
            "#char_octet_length",
            "#is_nullable",
        ])),
        ("jdbc", "super_tables") => nothing(&empty(&["table_cat", "table_schem", "table_name", "supertable_name"])),
        ("jdbc", "super_types") => nothing(&empty(&["type_cat", "type_schem", "type_name", "supertype_cat", "supertype_schem", "supertype_name"])),
        ("jdbc", "udts") => nothing(&empty(&["type_cat", "type_schem", "type_name", "class_name", "data_type", "remarks", "base_type"])),
        ("metadata", "catalogs") => {
            of_each(&|catalog, _| format!("SELECT {catalog} AS catalog_name, {catalog} AS connector_id, 'iceberg' AS connector_name"))
        }
        ("metadata", "table_comments") => of_each(&|catalog, listing| {
            format!("SELECT {catalog} AS catalog_name, table_schema AS schema_name, table_name, comment FROM {listing}.\"{COMMENTS}\"")
        }),
        ("metadata", "schema_properties") => of_each(&|catalog, _| properties(catalog, SCHEMA_PROPERTIES)),
        ("metadata", "table_properties") => of_each(&|catalog, _| properties(catalog, TABLE_PROPERTIES)),
        ("metadata", "analyze_properties") => of_each(&|catalog, _| properties(catalog, ANALYZE_PROPERTIES)),
        // There are none.
        ("metadata", "column_properties" | "materialized_view_properties") => nothing(&empty(&PROPERTY_COLUMNS)),
        // There are none.
        ("metadata", "materialized_views") => format!(
            "{} WHERE false",
            "SELECT ".to_owned()
                + &empty(&["catalog_name", "schema_name", "name", "storage_catalog", "storage_schema", "storage_table", "freshness"])
                + ", CAST(NULL AS timestamp(6) with time zone) AS last_fresh_time, "
                + &empty(&["comment", "definition"])
        ),
        ("runtime", "nodes") => {
            let catalog = quoted(catalogs.first()?);
            format!(
                "SELECT node_id, 'http://' || coalesce(http, address) AS http_uri, version() AS node_version, role = 'coordinator' AS coordinator, \
                 lower(state) AS state FROM {catalog}.{SYSTEM}.nodes"
            )
        }
        ("runtime", "queries") => of_server(catalogs, RUNTIME_QUERIES)?,
        ("runtime", "tasks") => of_server(catalogs, RUNTIME_TASKS)?,
        ("runtime", "transactions") => of_server(catalogs, RUNTIME_TRANSACTIONS)?,
        _ => return None,
    })
}

/// The rows of a table that is the same in the schema `system` of each catalog.
fn of_server(catalogs: &[&str], table: &str) -> Option<String> {
    Some(format!("SELECT * FROM {}.{SYSTEM}.{}", quoted(catalogs.first()?), quoted(table)))
}

/// The schemas that the catalog has, sorted.
pub fn system_schemas() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|(schema, _)| *schema)
}

/// The tables of one of them, sorted. Errors: `SCHEMA_NOT_FOUND`.
pub fn system_schema_tables(schema: &str) -> Result<&'static [&'static str]> {
    let found = TABLES.iter().find(|(known, _)| *known == schema);
    found.map(|(_, tables)| *tables).ok_or_else(|| schema_not_found(schema))
}

/// The properties of a catalog, as rows.
fn properties(catalog: &str, properties: &[ListedProperty]) -> String {
    let row = |property: &ListedProperty| {
        let values = [property.name, property.default, property.data_type, property.about].map(literal).join(", ");
        format!("({catalog}, {values})")
    };
    let rows: Vec<String> = properties.iter().map(row).collect();
    format!("SELECT * FROM (VALUES {}) AS t({})", rows.join(", "), PROPERTY_COLUMNS.map(quoted).join(", "))
}

/// The error for a table that is none of these.
pub(super) fn not_found(name: &QualifiedName) -> Error {
    match TABLES.iter().find(|(schema, _)| *schema == name.schema) {
        Some((schema, tables)) => {
            let missing = Error::new(Code::TableNotFound, format!("table '{SYSTEM}.{schema}.{}' does not exist", name.table));
            suggest(missing.with_hint(format!("there are {}", tables.join(", "))), &name.table, tables.iter().copied())
        }
        None => schema_not_found(&name.schema),
    }
}

fn schema_not_found(schema: &str) -> Error {
    let missing = Error::new(Code::SchemaNotFound, format!("schema '{SYSTEM}.{schema}' does not exist"));
    suggest(missing.with_hint("there are jdbc, metadata and runtime"), schema, system_schemas())
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn listing_of(catalog: &str) -> String {
    format!("{}.{INFORMATION_SCHEMA}", quoted(catalog))
}

/// Columns without values; those of numbers begin with `#`.
fn empty(columns: &[&str]) -> String {
    let column = |name: &&str| match name.strip_prefix('#') {
        Some(number) => format!("{NO_NUMBER} AS {}", quoted(number)),
        None => format!("{NO_TEXT} AS {}", quoted(name)),
    };
    columns.iter().map(column).collect::<Vec<_>>().join(", ")
}

fn tables(catalog: &str, listing: &str) -> String {
    let rest = empty(&["remarks", "type_cat", "type_schem", "type_name", "self_referencing_col_name", "ref_generation"]);
    format!(
        "SELECT {catalog} AS table_cat, table_schema AS table_schem, table_name, CASE table_type WHEN 'BASE TABLE' THEN 'TABLE' ELSE table_type END AS \
         table_type, {rest} FROM {listing}.tables"
    )
}

/// The numbers of JDBC are read out of the names of types.
fn columns(catalog: &str, listing: &str) -> String {
    let inner = "split_part(data_type, '(', 2)";
    let digits = format!("TRY_CAST(split_part({inner}, ')', 1) AS bigint)");
    let precision = format!("TRY_CAST(split_part({inner}, ',', 1) AS bigint)");
    let scale = format!("TRY_CAST(split_part(split_part({inner}, ',', 2), ')', 1) AS bigint)");
    let named = |of: &dyn Fn(&JdbcType) -> Option<i64>| {
        let of_type = |known: &JdbcType| of(known).map(|number| format!("WHEN data_type = '{}' THEN {number}", known.0));
        TYPES.iter().filter_map(of_type).collect::<Vec<_>>().join(" ")
    };
    let (numbers, sizes, radixes) = (named(&|known| Some(known.1)), named(&|known| known.2), named(&|known| known.3));
    let rest = empty(&["column_def", "#sql_data_type", "#sql_datetime_sub"]);
    let scope = empty(&["scope_catalog", "scope_schema", "scope_table", "#source_data_type", "is_autoincrement", "is_generatedcolumn"]);
    format!(
        "SELECT {catalog} AS table_cat, table_schema AS table_schem, table_name, column_name, \
         CAST(CASE {numbers} WHEN data_type LIKE 'decimal(%' THEN 3 WHEN data_type LIKE 'timestamp(%zone' THEN 2014 \
         WHEN data_type LIKE 'timestamp(%' THEN 93 WHEN data_type LIKE 'time(%' THEN 92 WHEN data_type LIKE 'array(%' THEN 2003 ELSE 2000 END AS bigint) \
         AS data_type, data_type AS type_name, \
         CAST(CASE {sizes} WHEN data_type LIKE 'decimal(%' THEN {precision} WHEN data_type LIKE 'timestamp(%zone' THEN 56 + {digits} \
         WHEN data_type LIKE 'timestamp(%' THEN 22 + {digits} WHEN data_type LIKE 'time(%' THEN 9 + {digits} END AS bigint) AS column_size, \
         CAST(0 AS bigint) AS buffer_length, \
         CASE WHEN data_type LIKE 'decimal(%' THEN {scale} WHEN data_type LIKE 'time%' THEN {digits} END AS decimal_digits, \
         CAST(CASE {radixes} WHEN data_type LIKE 'decimal(%' THEN 10 END AS bigint) AS num_prec_radix, \
         CAST(CASE is_nullable WHEN 'NO' THEN 0 ELSE 1 END AS bigint) AS nullable, comment AS remarks, {rest}, \
         CAST(CASE WHEN data_type IN ('varchar', 'varbinary') THEN 2147483647 END AS bigint) AS char_octet_length, \
         ordinal_position, is_nullable, {scope} FROM {listing}.columns"
    )
}

fn types() -> String {
    let number = |value: Option<i64>| value.map_or_else(|| NO_NUMBER.to_owned(), |value| value.to_string());
    let row = |(name, data_type, precision, radix): &JdbcType| format!("('{name}', {data_type}, {}, {})", number(*precision), number(*radix));
    let rows: Vec<String> = TYPES.iter().map(row).collect();
    let texts = empty(&["literal_prefix", "literal_suffix", "create_params"]);
    let sql = empty(&["#sql_data_type", "#sql_datetime_sub"]);
    format!(
        "SELECT type_name, CAST(data_type AS bigint) AS data_type, CAST(\"precision\" AS bigint) AS \"precision\", {texts}, \
         CAST(1 AS bigint) AS nullable, false AS case_sensitive, CAST(3 AS bigint) AS searchable, CAST(NULL AS boolean) AS unsigned_attribute, \
         false AS fixed_prec_scale, CAST(NULL AS boolean) AS auto_increment, {NO_TEXT} AS local_type_name, CAST(0 AS bigint) AS minimum_scale, \
         CAST(0 AS bigint) AS maximum_scale, {sql}, CAST(num_prec_radix AS bigint) AS num_prec_radix \
         FROM (VALUES {}) AS t(type_name, data_type, \"precision\", num_prec_radix)",
        rows.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    fn name(schema: &str, table: &str) -> QualifiedName {
        QualifiedName { catalog: SYSTEM.to_owned(), schema: schema.to_owned(), table: table.to_owned() }
    }

    #[test]
    fn all_tables_are_queries() {
        for (schema, tables) in TABLES {
            for table in *tables {
                let text = query(&["lake", "o'dd \"one\""], &name(schema, table)).unwrap();
                assert!(parse(&text).is_ok(), "{schema}.{table}: {:?} {text}", parse(&text).err());
            }
        }
        assert_eq!(query(&["lake"], &name("jdbc", "nope")), None);
        assert_eq!(not_found(&name("jdbc", "tabels")).code(), Code::TableNotFound);
        assert_eq!(not_found(&name("jbdc", "tables")).code(), Code::SchemaNotFound);
    }
}
