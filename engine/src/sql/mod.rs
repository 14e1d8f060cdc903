//! From a statement's text to a logical plan: Trino's dialect, the kinds of statements, and names resolved at pinned snapshots.

mod changes;
mod dialect;
mod functions;
mod hidden_columns;
mod information_schema;
mod merge;
mod names;
mod nested_values;
mod options;
mod outward;
mod overwrite;
mod parse;
mod parse_alter;
mod parse_show;
mod parse_table;
mod place;
mod planner;
mod queries;
mod relations;
mod rewrite;
mod row_values;
mod select_items;
pub mod statement;
mod system_tables;
mod types;

pub use changes::{Change, ChangePlan};
pub use names::{QualifiedName, like_matches, parts};
pub use options::option_text;
pub use outward::{outward_batch, outward_schema, outward_table_schema};
pub use parse::{SQL_BYTES_MAX, parse};
pub use planner::{InsertPlan, Planner, PlannerSession};
pub use select_items::{is_unnamed, output_name};
pub use statement::Statement;
pub use system_tables::SystemTables;
pub use types::new_schema;
