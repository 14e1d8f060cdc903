//! What statements that change something are called: Trino's clients show it, and take it for the sign that no rows come.

use nunatak_catalog::evolution::ColumnChange;

use super::changes::Change;
use super::statement::{Statement, TableChange};

impl Statement {
    /// The name, such as `CREATE TABLE`; `None` for what gives rows.
    pub fn update_type(&self) -> Option<&'static str> {
        Some(match self {
            Self::Query(_) | Self::Explain(_) | Self::Show(_) | Self::ShowStats(_) | Self::ExecutePrepared(_) | Self::DescribePrepared { .. } => {
                return None;
            }
            Self::Insert(_) => "INSERT",
            Self::Change(Change::Delete(_)) => "DELETE",
            Self::Change(Change::Update(_)) => "UPDATE",
            Self::Change(Change::Merge(_)) => "MERGE",
            Self::Change(Change::Truncate(_)) => "TRUNCATE TABLE",
            Self::CreateTable(_) => "CREATE TABLE",
            Self::DropTable { .. } => "DROP TABLE",
            Self::RenameTable { .. } => "RENAME TABLE",
            Self::AlterTable { change, .. } => table_change(change),
            Self::Execute(_) => "ALTER TABLE EXECUTE",
            Self::Call(_) => "CALL",
            Self::CreateCatalog(_) => "CREATE CATALOG",
            Self::DropCatalog { .. } => "DROP CATALOG",
            Self::CreateSchema { .. } => "CREATE SCHEMA",
            Self::DropSchema { .. } => "DROP SCHEMA",
            Self::CreateView { .. } => "CREATE VIEW",
            Self::RenameView { .. } => "RENAME VIEW",
            Self::CommentOnView { .. } => "COMMENT",
            Self::DropView { .. } => "DROP VIEW",
            Self::CopyInto(_) => "COPY",
            Self::Analyze { .. } => "ANALYZE",
            Self::Use(_) => "USE",
            Self::SetSession { .. } => "SET SESSION",
            Self::ResetSession { .. } => "RESET SESSION",
            Self::SetTimeZone(_) => "SET TIME ZONE",
            Self::Prepare { .. } => "PREPARE",
            Self::Deallocate { .. } => "DEALLOCATE",
        })
    }
}

fn table_change(change: &TableChange) -> &'static str {
    match change {
        TableChange::Column { change, .. } => match change.as_ref() {
            ColumnChange::Add { .. } => "ADD COLUMN",
            ColumnChange::Drop { .. } => "DROP COLUMN",
            ColumnChange::Rename { .. } => "RENAME COLUMN",
            ColumnChange::Retype { .. } => "SET COLUMN TYPE",
            ColumnChange::MakeOptional { .. } => "DROP NOT NULL",
            _ => "ALTER TABLE",
        },
        TableChange::Comment(_) => "COMMENT",
        TableChange::Properties(_) => "SET PROPERTIES",
        TableChange::Ref(_) => "ALTER TABLE",
    }
}
