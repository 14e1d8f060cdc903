//! The statements nunatak knows, as parsed: one value per kind, names not yet resolved.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::Token;
use nunatak_catalog::commit::RefChange;
use nunatak_catalog::evolution::ColumnChange;
use nunatak_catalog::spec::Type;
use nunatak_core::Location;

use super::changes::Change;
use super::like_text::LikeText;
use crate::files::OptionValue;

/// A statement.
#[derive(Clone, Debug)]
pub enum Statement {
    /// `SELECT`, `WITH`, `VALUES`, `TABLE t`.
    Query(Box<ast::Query>),
    /// `EXPLAIN [ANALYZE] [VERBOSE] statement`.
    Explain(Explain),
    /// `INSERT INTO t [(columns)] query`: kept whole, since DataFusion maps its columns.
    Insert(Box<ast::Statement>),
    /// `DELETE`, `UPDATE`, `MERGE` or `TRUNCATE`.
    Change(Change),
    /// `CREATE TABLE`, with or without `AS`.
    CreateTable(Box<CreateTable>),
    /// `DROP TABLE [IF EXISTS] t`.
    DropTable {
        /// The table.
        name: ast::ObjectName,
        /// Whether a missing table is fine.
        if_exists: bool,
    },
    /// `ALTER TABLE [IF EXISTS] t RENAME TO u`.
    RenameTable {
        /// The table.
        name: ast::ObjectName,
        /// Its new name.
        to: ast::ObjectName,
        /// Whether a missing table is fine.
        if_exists: bool,
    },
    /// `ALTER TABLE [IF EXISTS] t ...` and `COMMENT ON ...`.
    AlterTable {
        /// The table.
        name: ast::ObjectName,
        /// Whether a missing table is fine.
        if_exists: bool,
        /// What becomes of it.
        change: TableChange,
    },
    /// `ALTER TABLE t EXECUTE procedure(...)`.
    Execute(Box<Execute>),
    /// `CALL [catalog.]system.procedure(...)`.
    Call(Box<Call>),
    /// `CREATE CATALOG [IF NOT EXISTS] c USING type [COMMENT text] [WITH (...)]`.
    CreateCatalog(CreateCatalog),
    /// `DROP CATALOG [IF EXISTS] c`.
    DropCatalog {
        /// The catalog.
        name: String,
        /// Whether a missing catalog is fine.
        if_exists: bool,
    },
    /// `CREATE SCHEMA [IF NOT EXISTS] s [WITH (...)]`.
    CreateSchema {
        /// The schema.
        name: ast::ObjectName,
        /// Whether a schema that exists is fine.
        if_not_exists: bool,
        /// Its properties.
        properties: Vec<(String, OptionValue)>,
    },
    /// `DROP SCHEMA [IF EXISTS] s [RESTRICT]`.
    DropSchema {
        /// The schema.
        name: ast::ObjectName,
        /// Whether a missing schema is fine.
        if_exists: bool,
    },
    /// `CREATE [OR REPLACE] VIEW v AS query`.
    CreateView {
        /// The view.
        name: ast::ObjectName,
        /// Whether a view of that name is replaced.
        or_replace: bool,
        /// Whether one that is there already is fine.
        if_not_exists: bool,
        /// The names of its columns, if they are not those of its query.
        columns: Vec<String>,
        /// What `COMMENT` said.
        comment: Option<String>,
        /// Whether `SECURITY INVOKER` was said: it reads what whoever asks may read, and not what its owner may.
        invoker: bool,
        /// Its query.
        query: Box<ast::Query>,
        /// The text of its query, as written.
        text: String,
        /// Where that text starts.
        start: Location,
    },
    /// `ALTER VIEW v RENAME TO w`.
    RenameView {
        /// The view.
        name: ast::ObjectName,
        /// Its new name.
        to: ast::ObjectName,
    },
    /// `COMMENT ON VIEW v IS 'text'`.
    CommentOnView {
        /// The view.
        name: ast::ObjectName,
        /// The text; `None` for NULL.
        comment: Option<String>,
    },
    /// `DROP VIEW [IF EXISTS] v`.
    DropView {
        /// The view.
        name: ast::ObjectName,
        /// Whether a missing view is fine.
        if_exists: bool,
    },
    /// `COPY INTO t FROM 'path' (FORMAT csv, ...)`.
    CopyInto(CopyInto),
    /// `ANALYZE t [WITH (columns = ARRAY[...])]`.
    Analyze {
        /// The table.
        name: ast::ObjectName,
        /// Its properties.
        properties: Vec<(String, OptionValue)>,
    },
    /// `SHOW ...` and `DESCRIBE t`.
    Show(Show),
    /// `SHOW STATS FOR t` and `SHOW STATS FOR (SELECT ...)`.
    ShowStats(StatisticsOf),
    /// `USE [catalog.]schema`.
    Use(ast::ObjectName),
    /// `WITH SESSION name = value, ...` and a query.
    WithSession(WithSession),
    /// `SET SESSION name = value`.
    SetSession {
        /// The property.
        name: String,
        /// Its value as text.
        value: String,
    },
    /// `RESET SESSION name`.
    ResetSession {
        /// The property.
        name: String,
    },
    /// `START TRANSACTION [ISOLATION LEVEL level] [READ ONLY | READ WRITE]`.
    StartTransaction(TransactionModes),
    /// `COMMIT [WORK]`.
    Commit,
    /// `ROLLBACK [WORK]`.
    Rollback,
    /// `SET ROLE role [IN catalog]`.
    SetRole {
        /// The role.
        role: Role,
        /// The catalog whose role it is; the whole server's without it.
        catalog: Option<String>,
    },
    /// `SET SESSION AUTHORIZATION user`.
    SetAuthorization(String),
    /// `RESET SESSION AUTHORIZATION`.
    ResetAuthorization,
    /// `SET PATH [catalog.]schema, ...`: where functions of users are looked for.
    SetPath(Vec<ast::ObjectName>),
    /// `SET TIME ZONE 'zone'`; `None` for `LOCAL`.
    SetTimeZone(Option<String>),
    /// `PREPARE name FROM statement`.
    Prepare {
        /// What the statement is called.
        name: String,
        /// Its text, as written.
        text: String,
        /// Where that text starts.
        start: Location,
    },
    /// `EXECUTE name [USING ...]` and `EXECUTE IMMEDIATE 'text' [USING ...]`.
    ExecutePrepared(ExecutePrepared),
    /// `DEALLOCATE PREPARE name`.
    Deallocate {
        /// What the statement is called.
        name: String,
    },
    /// `DESCRIBE INPUT name` and `DESCRIBE OUTPUT name`.
    DescribePrepared {
        /// What the statement is called.
        name: String,
        /// What is asked.
        part: DescribedPart,
    },
}

/// What a transaction is begun with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionModes {
    /// How much of what others commit meanwhile may be seen.
    pub isolation: IsolationLevel,
    /// Whether it only reads.
    pub read_only: bool,
}

/// The levels of the SQL standard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IsolationLevel {
    /// `READ UNCOMMITTED`, which is the default as in Trino.
    #[default]
    ReadUncommitted,
    /// `READ COMMITTED`.
    ReadCommitted,
    /// `REPEATABLE READ`.
    RepeatableRead,
    /// `SERIALIZABLE`.
    Serializable,
}

impl IsolationLevel {
    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "READ UNCOMMITTED",
            Self::ReadCommitted => "READ COMMITTED",
            Self::RepeatableRead => "REPEATABLE READ",
            Self::Serializable => "SERIALIZABLE",
        }
    }
}

/// A query that has session properties of its own.
#[derive(Clone, Debug)]
pub struct WithSession {
    /// The properties by name, and their values as text.
    pub properties: Vec<(String, String)>,
    /// The query.
    pub query: Box<ast::Query>,
}

/// The role that a session takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// All that the user has.
    All,
    /// None of them.
    None,
    /// One of them.
    Named(String),
}

/// A prepared statement that is run.
#[derive(Clone, Debug)]
pub struct ExecutePrepared {
    /// Which one.
    pub of: PreparedText,
    /// The tokens of each value that takes the place of a parameter, in order.
    pub arguments: Vec<Vec<Token>>,
}

/// Where the text of a prepared statement is.
#[derive(Clone, Debug)]
pub enum PreparedText {
    /// In the session, under this name.
    Named(String),
    /// Here.
    Immediate(String),
}

/// What is told of a prepared statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DescribedPart {
    /// Its parameters.
    Input,
    /// Its columns.
    Output,
}

/// What is explained, and how.
#[derive(Clone, Debug)]
pub struct Explain {
    /// Whether it is run and its metrics are shown.
    pub analyze: bool,
    /// Whether more is shown.
    pub verbose: bool,
    /// Whether it is only told that the statement can be planned: `EXPLAIN (TYPE VALIDATE)`.
    pub validate: bool,
    /// The statement.
    pub statement: Box<Statement>,
}

/// A new table.
#[derive(Clone, Debug)]
pub struct CreateTable {
    /// Its name.
    pub name: ast::ObjectName,
    /// Whether a table that exists is fine.
    pub if_not_exists: bool,
    /// Whether a table that exists is replaced.
    pub or_replace: bool,
    /// Its columns; empty for `AS` without a column list.
    pub columns: Vec<ColumnDefinition>,
    /// The tables whose columns it gets besides.
    pub likes: Vec<TableLike>,
    /// What `COMMENT` said.
    pub comment: Option<String>,
    /// Its properties.
    pub properties: Vec<(String, OptionValue)>,
    /// The query of `AS`.
    pub query: Option<Box<ast::Query>>,
    /// Whether the query's rows are written (`WITH NO DATA` says not).
    pub with_data: bool,
}

/// `LIKE table [INCLUDING | EXCLUDING PROPERTIES]` among the columns of a new table.
#[derive(Clone, Debug)]
pub struct TableLike {
    /// The table.
    pub table: ast::ObjectName,
    /// How many of the columns that are written out stand before those of the table.
    pub place: usize,
    /// Whether the new table gets the properties of the other, too.
    pub with_properties: bool,
}

/// A new catalog.
#[derive(Clone, Debug)]
pub struct CreateCatalog {
    /// Its name.
    pub name: String,
    /// Whether a catalog that exists is fine.
    pub if_not_exists: bool,
    /// What kind of catalog it is, as `USING` says.
    pub kind: String,
    /// What `COMMENT` said.
    pub comment: Option<String>,
    /// Its properties.
    pub properties: Vec<(String, OptionValue)>,
}

/// A call of a procedure that maintains a table.
#[derive(Clone, Debug)]
pub struct Execute {
    /// The table.
    pub table: ast::ObjectName,
    /// The procedure, in lower case.
    pub procedure: String,
    /// Its arguments, with their names in lower case where they are given by name.
    pub arguments: Vec<(Option<String>, OptionValue)>,
    /// What `WHERE` said.
    pub filter: Option<ast::Expr>,
}

/// A call of a procedure of a catalog.
#[derive(Clone, Debug)]
pub struct Call {
    /// The procedure.
    pub name: ast::ObjectName,
    /// Its arguments, with their names in lower case where they are given by name.
    pub arguments: Vec<(Option<String>, OptionValue)>,
}

/// A change of a table's metadata.
#[derive(Clone, Debug)]
pub enum TableChange {
    /// `ADD`, `DROP`, `RENAME` or `ALTER COLUMN`.
    Column {
        /// What becomes of the column; its default is `default`.
        change: Box<ColumnChange>,
        /// The value that `DEFAULT` gives, for `ADD` and `SET DEFAULT`.
        default: Option<Box<ast::Expr>>,
        /// Whether a column that is missing (or, to be added, there) is fine.
        tolerant: bool,
    },
    /// `COMMENT ON TABLE`.
    Comment(Option<String>),
    /// `CREATE` or `DROP BRANCH` or `TAG`.
    Ref(RefChange),
    /// `SET PROPERTIES`; `None` is `DEFAULT`.
    Properties(Vec<(String, Option<OptionValue>)>),
}

/// A column of a new table.
#[derive(Clone, Debug)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: String,
    /// Its type; `None` in a `CREATE TABLE t (a, b) AS` list. Field ids inside are placeholders and are assigned when the table is made.
    pub column_type: Option<Type>,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// What `DEFAULT` said.
    pub default: Option<ast::Expr>,
    /// What `COMMENT` said.
    pub comment: Option<String>,
}

/// Rows of files into a table.
#[derive(Clone, Debug)]
pub struct CopyInto {
    /// The table.
    pub table: ast::ObjectName,
    /// The path or glob.
    pub pattern: String,
    /// Options by lower-case name.
    pub options: Vec<(String, OptionValue)>,
}

/// What `SHOW STATS` tells of.
#[derive(Clone, Debug)]
pub enum StatisticsOf {
    /// A table.
    Table(ast::ObjectName),
    /// The rows of a query, as the optimiser expects them.
    Query(Box<ast::Query>),
}

/// The listings.
#[derive(Clone, Debug)]
pub enum Show {
    /// `SHOW CATALOGS [LIKE p]`.
    Catalogs {
        /// The pattern.
        like: Option<LikeText>,
    },
    /// `SHOW SCHEMAS [FROM catalog] [LIKE p]`.
    Schemas {
        /// The catalog.
        catalog: Option<String>,
        /// The pattern.
        like: Option<LikeText>,
    },
    /// `SHOW TABLES [FROM schema] [LIKE p]`.
    Tables {
        /// The schema.
        schema: Option<ast::ObjectName>,
        /// The pattern.
        like: Option<LikeText>,
    },
    /// `SHOW COLUMNS FROM t [LIKE p]`, `DESCRIBE t`.
    Columns {
        /// The table.
        table: ast::ObjectName,
        /// The pattern.
        like: Option<LikeText>,
    },
    /// `SHOW CREATE TABLE t`.
    CreateTable(ast::ObjectName),
    /// `SHOW CREATE VIEW v`.
    CreateView(ast::ObjectName),
    /// `SHOW CREATE SCHEMA s`.
    CreateSchema(ast::ObjectName),
    /// `SHOW SESSION [LIKE p]`.
    Session {
        /// The pattern.
        like: Option<LikeText>,
    },
    /// `SHOW GRANTS [ON t]`.
    Grants {
        /// The table, or the whole catalog.
        table: Option<ast::ObjectName>,
    },
    /// `SHOW ROLES`, `SHOW CURRENT ROLES` and `SHOW ROLE GRANTS`, each `[FROM catalog]`.
    Roles {
        /// Which of them.
        of: RolesOf,
        /// The catalog; the whole server without it.
        catalog: Option<String>,
    },
    /// `SHOW FUNCTIONS [FROM schema] [LIKE p]`.
    Functions {
        /// The schema whose functions of users are shown; those of the server without it.
        schema: Option<ast::ObjectName>,
        /// The pattern.
        like: Option<LikeText>,
    },
}

/// Whose roles are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolesOf {
    /// All that there are.
    All,
    /// Those that the session has taken.
    Session,
    /// Those that the user was given.
    User,
}
