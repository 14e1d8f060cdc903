//! What statements that change something are called: Trino's clients show it, and take it for the sign that no rows come.

use datafusion::sql::sqlparser::ast::{self, ObjectName};
use nunatak_catalog::evolution::ColumnChange;

use super::changes::Change;
use super::statement::{Statement, TableChange};

impl Statement {
    /// The name, such as `CREATE TABLE`; `None` for what gives rows.
    pub fn update_type(&self) -> Option<&'static str> {
        Some(match self {
            Self::Query(_)
            | Self::WithSession(_)
            | Self::Explain(_)
            | Self::Show(_)
            | Self::ShowStats(_)
            | Self::ExecutePrepared(_)
            | Self::DescribePrepared { .. } => {
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
            Self::StartTransaction(_) => "START TRANSACTION",
            Self::Commit => "COMMIT",
            Self::Rollback => "ROLLBACK",
            Self::SetRole { .. } => "SET ROLE",
            Self::SetAuthorization(_) => "SET SESSION AUTHORIZATION",
            Self::ResetAuthorization => "RESET SESSION AUTHORIZATION",
            Self::SetPath(_) => "SET PATH",
            Self::Prepare { .. } => "PREPARE",
            Self::Deallocate { .. } => "DEALLOCATE",
        })
    }

    /// Whether it changes tables, views or schemas of a catalog: what a transaction cannot have in it. Plans of such statements count too, as in Trino.
    pub fn writes(&self) -> bool {
        match self {
            Self::Explain(explain) => explain.statement.writes(),
            // Which catalogs there are is nothing of a catalog's own, and procedures are refused in another way.
            Self::Call(_)
            | Self::CreateCatalog(_)
            | Self::DropCatalog { .. }
            | Self::Use(_)
            | Self::SetSession { .. }
            | Self::ResetSession { .. }
            | Self::SetTimeZone(_)
            | Self::StartTransaction(_)
            | Self::Commit
            | Self::Rollback
            | Self::SetRole { .. }
            | Self::SetAuthorization(_)
            | Self::ResetAuthorization
            | Self::SetPath(_)
            | Self::Prepare { .. }
            | Self::Deallocate { .. } => false,
            other => other.update_type().is_some(),
        }
    }

    /// The name of what it changes, where it has one.
    pub fn target(&self) -> Option<&ObjectName> {
        match self {
            Self::Explain(explain) => explain.statement.target(),
            Self::Insert(insert) => match insert.as_ref() {
                ast::Statement::Insert(ast::Insert { table: ast::TableObject::TableName(name), .. }) => Some(name),
                _ => None,
            },
            Self::Change(change) => change.target().ok(),
            Self::CreateTable(create) => Some(&create.name),
            Self::Execute(execute) => Some(&execute.table),
            Self::CopyInto(copy) => Some(&copy.table),
            Self::DropTable { name, .. }
            | Self::RenameTable { name, .. }
            | Self::AlterTable { name, .. }
            | Self::CreateView { name, .. }
            | Self::RenameView { name, .. }
            | Self::CommentOnView { name, .. }
            | Self::DropView { name, .. }
            | Self::Analyze { name, .. } => Some(name),
            _ => None,
        }
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
            ColumnChange::Document { .. } => "COMMENT",
            _ => "ALTER TABLE",
        },
        TableChange::Comment(_) => "COMMENT",
        TableChange::Properties(_) => "SET PROPERTIES",
        TableChange::Ref(_) => "ALTER TABLE",
    }
}
