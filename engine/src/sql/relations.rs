//! What stands in `FROM` and is more than a name: tables at a version, files (`read_csv('...')`) and changes (`system.table_changes(...)`). They are taken
//! out of the statement and replaced by names that only [`super::names`] knows, so that everything after sees plain tables.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart, Statement, TableAlias, TableFactor, TableFunctionArgs,
    TableVersion, VisitMut, VisitorMut,
};
use nunatak_core::{Code, Error, Result};

use super::hidden_columns::{self, HIDDEN_MARK};
use super::names;
use super::options::option_value;
use super::parse::parse_columns;
use super::place::start_of;
use super::statement::ColumnDefinition;
use crate::error::from_parser;
use crate::files::{FileFormat, OptionValue};

/// Stands between a table's name and the number of its version. No name that a user writes holds it.
pub(super) const VERSION_MARK: char = '\u{1}';

/// The catalog and the schema under which files are found, by number.
pub(super) const FILES_CATALOG: &str = "\u{1}";

/// The catalog and the schema under which changes of tables are found, by number.
pub(super) const CHANGES_CATALOG: &str = "\u{2}";

/// The catalog and the schema under which the queries of `INSERT` are found, by number.
pub(super) const SOURCES_CATALOG: &str = "\u{3}";

/// The catalog and the schema under which the table of a `MERGE` is found by its alias.
pub(super) const TARGETS_CATALOG: &str = "\u{4}";

/// What was taken out of a statement, by numbers that no other statement of the query (a view's text) uses.
#[derive(Default)]
pub(super) struct Relations {
    first: usize,
    versions: Vec<VersionExpression>,
    files: Vec<FileCall>,
    changes: Vec<ChangesCall>,
    /// The names that are no tables, if tables are wanted with their hidden columns.
    hidden: Option<HashSet<String>>,
    error: Option<Error>,
}

/// The most versions and files that one statement may hold.
pub(super) const RELATIONS_MAX: usize = 10_000;

/// The expression of a `FOR ... AS OF`.
pub(super) enum VersionExpression {
    /// `FOR VERSION AS OF`: a snapshot id, or the name of a branch or tag.
    Version(Expr),
    /// `FOR TIMESTAMP AS OF`.
    Timestamp(Expr),
}

/// A call of `read_csv`, `read_json` or `read_parquet`.
pub(super) struct FileCall {
    pub(super) format: FileFormat,
    pub(super) pattern: String,
    pub(super) options: Vec<(String, OptionValue)>,
    /// What `columns => 'id bigint, name varchar'` says; they are inferred without it.
    pub(super) columns: Option<Vec<ColumnDefinition>>,
}

/// A call of `system.table_changes`.
pub(super) struct ChangesCall {
    /// The catalog, where the call names one.
    pub(super) catalog: Option<String>,
    /// The table's name, with or without its schema.
    pub(super) table: ObjectName,
    /// The snapshot behind which changes begin.
    pub(super) from: Expr,
    /// The last snapshot whose changes are given.
    pub(super) to: Expr,
}

/// Takes versions, files and changes out of `statement`, and numbers them from `first`.
pub(super) fn take_out(statement: &mut Statement, first: usize) -> Result<Relations> {
    let hidden = hidden_columns::are_named(statement).then(|| hidden_columns::common_tables(statement));
    let mut relations = Relations { first, hidden, ..Relations::default() };
    let _: ControlFlow<()> = statement.visit(&mut relations);
    match relations.error.take() {
        Some(error) => Err(error),
        None => Ok(relations),
    }
}

impl VisitorMut for Relations {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        match self.replace(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.error = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

impl Relations {
    /// The version of that number, as it stands behind [`VERSION_MARK`].
    pub(super) fn version(&self, number: &str) -> Result<&VersionExpression> {
        self.index(number).and_then(|index| self.versions.get(index)).ok_or_else(|| Error::internal("a version of another statement"))
    }

    /// The files of that number.
    pub(super) fn file(&self, number: &str) -> Result<&FileCall> {
        self.index(number).and_then(|index| self.files.get(index)).ok_or_else(|| Error::internal("a file of another statement"))
    }

    /// Whether tables are wanted with their hidden columns.
    pub(super) fn want_hidden_columns(&self) -> bool {
        self.hidden.is_some()
    }

    /// The changes of that number.
    pub(super) fn changes(&self, number: &str) -> Result<&ChangesCall> {
        self.index(number).and_then(|index| self.changes.get(index)).ok_or_else(|| Error::internal("changes of another statement"))
    }

    fn index(&self, number: &str) -> Option<usize> {
        number.parse::<usize>().ok()?.checked_sub(self.first)
    }

    /// The number of the next version or file, of which there are `count` yet.
    fn number(&self, count: usize) -> Result<usize> {
        if count >= RELATIONS_MAX {
            return Err(Error::new(Code::QueryRejected, format!("the statement reads more than {RELATIONS_MAX} versions or files")));
        }
        Ok(self.first + count)
    }

    fn replace(&mut self, factor: &mut TableFactor) -> Result<()> {
        match factor {
            TableFactor::Table { name, alias, args, version, .. } => {
                if let Some(arguments) = args {
                    if self.replace_call(arguments, name, alias)? {
                        *args = None;
                    }
                    return Ok(());
                }
                if let Some(version) = version.take() {
                    self.take_version(version, name, alias)?;
                }
                self.want_hidden(name, alias);
                Ok(())
            }
            TableFactor::TableFunction { expr: Expr::Function(function), alias } => {
                let FunctionArguments::List(list) = &function.args else { return Ok(()) };
                let arguments = TableFunctionArgs { args: list.args.clone(), settings: None };
                let (mut name, mut alias) = (function.name.clone(), alias.clone());
                if !self.replace_call(&arguments, &mut name, &mut alias)? {
                    return Err(not_there(&function.name));
                }
                *factor = plain_table(name, alias);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn take_version(&mut self, version: TableVersion, name: &mut ObjectName, alias: &mut Option<TableAlias>) -> Result<()> {
        let expression = match version {
            // `FOR VERSION AS OF` was turned into this before parsing.
            TableVersion::ForSystemTimeAsOf(expression) | TableVersion::VersionAsOf(expression) => VersionExpression::Version(expression),
            TableVersion::TimestampAsOf(expression) => VersionExpression::Timestamp(expression),
            other => {
                return Err(Error::not_supported(format!("the table version '{other}' is not supported"))
                    .with_hint("write FOR VERSION AS OF id, or FOR TIMESTAMP AS OF timestamp"));
            }
        };
        let Some(ObjectNamePart::Identifier(table)) = name.0.last_mut() else { return Ok(()) };
        alias.get_or_insert_with(|| table_alias(table.clone()));
        let number = self.number(self.versions.len())?;
        *table = Ident { value: format!("{}{VERSION_MARK}{number}", names::normalized(table)), quote_style: Some('"'), span: table.span };
        self.versions.push(expression);
        Ok(())
    }

    /// Marks a table that is wanted with its hidden columns.
    fn want_hidden(&self, name: &mut ObjectName, alias: &mut Option<TableAlias>) {
        let Some(others) = &self.hidden else { return };
        if name.0.len() == 1 && names::parts(name).iter().any(|table| others.contains(table)) {
            return;
        }
        let Some(ObjectNamePart::Identifier(table)) = name.0.last_mut() else { return };
        alias.get_or_insert_with(|| table_alias(table.clone()));
        *table = Ident { value: format!("{}{HIDDEN_MARK}", names::normalized(table)), quote_style: Some('"'), span: table.span };
    }

    /// Replaces the call of a function of ours by a name. Whether it is one.
    fn replace_call(&mut self, arguments: &TableFunctionArgs, name: &mut ObjectName, alias: &mut Option<TableAlias>) -> Result<bool> {
        let (catalog, number) = if let Some(format) = file_format(name) {
            let number = self.number(self.files.len())?;
            self.files.push(file_call(format, name, arguments)?);
            (FILES_CATALOG, number)
        } else if let Some(catalog) = changes_catalog(name) {
            let number = self.number(self.changes.len())?;
            self.changes.push(changes_call(catalog, name, arguments)?);
            (CHANGES_CATALOG, number)
        } else {
            return Ok(false);
        };
        if let Some(ObjectNamePart::Identifier(function)) = name.0.last() {
            alias.get_or_insert_with(|| table_alias(function.clone()));
        }
        *name = ObjectName::from([catalog, catalog, &number.to_string()].map(|part| Ident::with_quote('"', part)).to_vec());
        Ok(true)
    }
}

/// The error for `TABLE(function(...))` with a function that is none of ours.
fn not_there(name: &ObjectName) -> Error {
    let function = names::parts(name).pop().unwrap_or_default();
    let error = match function.as_str() {
        "sequence" => Error::not_supported("this call of the table function 'sequence' is not supported")
            .with_hint("write TABLE(sequence(start => 1, stop => 10))"),
        "exclude_columns" => Error::not_supported("this call of the table function 'exclude_columns' is not supported")
            .with_hint("write TABLE(exclude_columns(TABLE(t), DESCRIPTOR(a, b)))"),
        _ => Error::new(Code::FunctionNotFound, format!("table function '{name}' does not exist")),
    };
    match start_of(name) {
        Some(place) => error.at(place),
        None => error,
    }
}

fn table_alias(name: Ident) -> TableAlias {
    TableAlias { explicit: true, name, columns: Vec::new(), at: None }
}

fn plain_table(name: ObjectName, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::Table {
        name,
        alias,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

fn file_format(name: &ObjectName) -> Option<FileFormat> {
    match names::parts(name).as_slice() {
        [function] if function == "read_csv" => Some(FileFormat::Csv),
        [function] if function == "read_json" => Some(FileFormat::Json),
        [function] if function == "read_parquet" => Some(FileFormat::Parquet),
        _ => None,
    }
}

fn file_call(format: FileFormat, name: &ObjectName, arguments: &TableFunctionArgs) -> Result<FileCall> {
    let wrong = |what: &str| {
        Error::new(Code::InvalidArguments, format!("{name}: {what}")).with_hint(format!("write {name}('path or glob', option => value, ...)"))
    };
    let mut pattern = None;
    let mut options = Vec::new();
    let mut columns = None;
    for argument in &arguments.args {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) if pattern.is_none() => match option_value(expression).map_err(from_parser)? {
                OptionValue::Text(text) => pattern = Some(text),
                _ => return Err(wrong("the path must be a text")),
            },
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expression), .. } => {
                match (name.value.to_lowercase(), option_value(expression).map_err(from_parser)?) {
                    (name, OptionValue::Text(text)) if name == "columns" && format != FileFormat::Parquet => {
                        columns = Some(parse_columns(&text).map_err(|error| wrong(&format!("columns: {}", error.user_message())))?);
                    }
                    option => options.push(option),
                }
            }
            other => return Err(wrong(&format!("unexpected argument {other}"))),
        }
    }
    Ok(FileCall { format, pattern: pattern.ok_or_else(|| wrong("the path is missing"))?, options, columns })
}

/// The catalog of a call of `table_changes`, if it is one: `None` within where the call does not name it.
fn changes_catalog(name: &ObjectName) -> Option<Option<String>> {
    match names::parts(name).as_slice() {
        [system, function] if system == "system" && function == "table_changes" => Some(None),
        [catalog, system, function] if system == "system" && function == "table_changes" => Some(Some(catalog.clone())),
        _ => None,
    }
}

/// Trino's arguments are a schema, a table, and two snapshots; schema and table may also stand in one text.
fn changes_call(catalog: Option<String>, name: &ObjectName, arguments: &TableFunctionArgs) -> Result<ChangesCall> {
    const NAMES: [&str; 4] = ["schema_name", "table_name", "start_snapshot_id", "end_snapshot_id"];
    let wrong = |what: &str| {
        Error::new(Code::InvalidArguments, format!("{name}: {what}"))
            .with_hint(format!("write {name}('schema', 'table', start_snapshot_id, end_snapshot_id)"))
    };
    let mut values: [Option<Expr>; 4] = [const { None }; 4];
    let first = if arguments.args.len() == NAMES.len() - 1 { 1 } else { 0 };
    for (position, argument) in (first..).zip(&arguments.args) {
        let (position, value) = match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (position, value),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
                let named = NAMES.iter().position(|known| *known == name.value.to_lowercase());
                (named.ok_or_else(|| wrong(&format!("there is no argument '{}'", name.value)))?, value)
            }
            other => return Err(wrong(&format!("unexpected argument {other}"))),
        };
        match values.get_mut(position) {
            Some(place) if place.is_none() => *place = Some(value.clone()),
            Some(_) => return Err(wrong(&format!("argument '{}' is given twice", NAMES[position]))),
            None => return Err(wrong("there are too many arguments")),
        }
    }
    let [schema, table, Some(from), Some(to)] = values else { return Err(wrong("it needs the snapshots between which changes are wanted")) };
    let text = |value: &Expr| match option_value(value) {
        Ok(OptionValue::Text(text)) => Ok(text),
        _ => Err(wrong("names of schemas and tables are texts")),
    };
    let table = text(&table.ok_or_else(|| wrong("the table is missing"))?)?;
    let parts = match schema {
        Some(schema) => vec![text(&schema)?, table],
        None => table.split('.').map(str::to_owned).collect(),
    };
    Ok(ChangesCall { catalog, table: ObjectName::from(parts.into_iter().map(|part| Ident::with_quote('"', part)).collect::<Vec<_>>()), from, to })
}
