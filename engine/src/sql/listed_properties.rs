//! The properties that stand behind `WITH`, as `system.metadata` lists them. They have Trino's names where it has them.

/// A property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedProperty {
    /// Its name.
    pub name: &'static str,
    /// What it is where nobody gives it, as text; empty if that is nothing, or depends.
    pub default: &'static str,
    /// Its type, by Trino's name.
    pub data_type: &'static str,
    /// What it says.
    pub about: &'static str,
}

const fn property(name: &'static str, default: &'static str, data_type: &'static str, about: &'static str) -> ListedProperty {
    ListedProperty { name, default, data_type, about }
}

/// Those of tables, sorted.
pub const TABLE_PROPERTIES: &[ListedProperty] = &[
    property("extra_properties", "", "map(varchar, varchar)", "Iceberg's own properties"),
    property("format", "PARQUET", "varchar", "File format of the table's data files: PARQUET"),
    property("format_version", "2", "integer", "Version of Iceberg's table format: 1, 2 or 3"),
    property("location", "", "varchar", "Where the files of the table are"),
    property("partitioning", "[]", "array(varchar)", "Columns, or transforms of them, by which rows are put into partitions"),
    property("sorted_by", "[]", "array(varchar)", "Columns by which the rows of data files are sorted"),
];

/// Those of schemas, sorted.
pub const SCHEMA_PROPERTIES: &[ListedProperty] = &[property("location", "", "varchar", "Where the tables of the schema are put")];

/// Those of `ANALYZE`, sorted.
pub const ANALYZE_PROPERTIES: &[ListedProperty] = &[property("columns", "", "array(varchar)", "The columns to be analyzed")];
