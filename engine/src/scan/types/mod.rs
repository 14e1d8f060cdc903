//! Types in three languages: Iceberg's, Arrow's and the names that Trino's clients know.

mod from_arrow;
mod to_arrow;
mod trino;

pub use from_arrow::arrow_to_iceberg_schema;
pub use to_arrow::{INITIAL_DEFAULT, UNSUPPORTED, field_id, field_names, plain_type, table_schema};
pub use trino::{trino_column_type, trino_type_name};
