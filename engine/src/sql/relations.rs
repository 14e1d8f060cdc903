//! What stands in `FROM` and is more than a name: tables at a version, and files (`read_csv('...')`). Both are taken out of the statement and replaced
//! by names that only [`super::names`] knows, so that everything after sees plain tables.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart, Statement, TableAlias, TableFactor, TableFunctionArgs,
    TableVersion, VisitMut, VisitorMut,
};
use nunatak_core::{Code, Error, Result};

use super::names;
use super::options::option_value;
use super::parse::parse_columns;
use super::statement::ColumnDefinition;
use crate::error::from_parser;
use crate::files::{FileFormat, OptionValue};

/// Stands between a table's name and the number of its version. No name that a user writes holds it.
pub(super) const VERSION_MARK: char = '\u{1}';

/// The catalog and the schema under which files are found, by number.
pub(super) const FILES_CATALOG: &str = "\u{1}";

/// What was taken out of a statement, by numbers that no other statement of the query (a view's text) uses.
#[derive(Default)]
pub(super) struct Relations {
    first: usize,
    versions: Vec<VersionExpression>,
    files: Vec<FileCall>,
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

/// Takes versions and files out of `statement`, and numbers them from `first`.
pub(super) fn take_out(statement: &mut Statement, first: usize) -> Result<Relations> {
    let mut relations = Relations { first, ..Relations::default() };
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
            TableFactor::Table { name, alias, args, version, sample, .. } => {
                if sample.is_some() {
                    return Err(Error::not_supported("TABLESAMPLE is not supported yet"));
                }
                if let Some(arguments) = args {
                    if let Some(format) = file_format(name) {
                        let call = file_call(format, name, arguments)?;
                        self.replace_by_file(call, name, alias)?;
                        *args = None;
                    }
                } else if let Some(version) = version.take() {
                    self.take_version(version, name, alias)?;
                }
                Ok(())
            }
            TableFactor::TableFunction { expr: Expr::Function(function), alias } => {
                let (Some(format), FunctionArguments::List(list)) = (file_format(&function.name), &function.args) else { return Ok(()) };
                let arguments = TableFunctionArgs { args: list.args.clone(), settings: None };
                let call = file_call(format, &function.name, &arguments)?;
                let (mut name, mut alias) = (function.name.clone(), alias.clone());
                self.replace_by_file(call, &mut name, &mut alias)?;
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

    fn replace_by_file(&mut self, call: FileCall, name: &mut ObjectName, alias: &mut Option<TableAlias>) -> Result<()> {
        if let Some(ObjectNamePart::Identifier(function)) = name.0.last() {
            alias.get_or_insert_with(|| table_alias(function.clone()));
        }
        let number = self.number(self.files.len())?.to_string();
        *name = ObjectName::from([FILES_CATALOG, FILES_CATALOG, &number].map(|part| Ident::with_quote('"', part)).to_vec());
        self.files.push(call);
        Ok(())
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
