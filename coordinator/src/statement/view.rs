//! `CREATE [OR REPLACE] VIEW`, and `COMMENT ON VIEW` and on its columns.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{ObjectName, Query};
use nunatak_catalog::spec::{NestedField, Schema};
use nunatak_catalog::{Catalog, View};
use nunatak_core::{Code, Error, Result};
use nunatak_engine::error::suggest;
use nunatak_engine::scan::types::arrow_to_iceberg_schema;
use nunatak_engine::sql::{Statement, frozen, parse};

use super::create_table::{at, check_list, check_names};
use super::{Outcome, StatementContext, planner};
use crate::query::Session;

/// The parts of the statement.
pub(super) struct NewView {
    pub(super) name: ObjectName,
    pub(super) or_replace: bool,
    pub(super) if_not_exists: bool,
    pub(super) columns: Vec<String>,
    pub(super) comment: Option<String>,
    pub(super) invoker: bool,
    pub(super) query: Query,
    pub(super) text: String,
}

/// Plans the query first: a view that can't be read is not made.
pub(super) async fn create(context: &StatementContext, new: NewView) -> Result<Outcome> {
    let name = context.resolve(&new.name)?;
    name.check_new()?;
    let catalog = context.engine.catalog(&name.catalog)?;
    if new.if_not_exists && catalog.load_view(&name.in_catalog()).await?.is_some() {
        return Ok(Outcome::done());
    }
    if context.engine.health().one(catalog, catalog.has_table(&name.in_catalog())).await? {
        let error = Error::new(Code::TableAlreadyExists, format!("'{}' is a table", name.table));
        return Err(at(error.with_hint("DROP TABLE first, or give the view another name"), &new.name));
    }
    let (query, text) = match new.columns.as_slice() {
        [] => (new.query, new.text),
        columns => {
            let given = context.planner.plan_query(new.query).await?.schema().fields().len();
            let names: Vec<&str> = columns.iter().map(String::as_str).collect();
            check_list(&names, given).map_err(|error| at(error, &new.name))?;
            let quoted = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
            let columns: Vec<String> = columns.iter().map(quoted).collect();
            let text = format!("SELECT * FROM (\n{}\n) AS {} ({})", new.text, quoted(&name.table), columns.join(", "));
            (query_of(&text, &name.table)?, text)
        }
    };
    let plan = context.planner.plan_query(query).await?;
    if !plan.get_parameter_names().map_err(nunatak_engine::error::from_datafusion)?.is_empty() {
        return Err(Error::new(Code::InvalidParameterUsage, "a view can't have parameters"));
    }
    if new.or_replace && context.planner.has_looked_up(&name) {
        return Err(Error::new(Code::ViewIsRecursive, format!("view '{}' would read itself", name.table))
            .with_hint("name what the view that is there now reads, or give the new one another name"));
    }
    check_names(&plan, "CREATE VIEW")?;
    let columns = arrow_to_iceberg_schema(plan.schema().as_arrow())?;
    let view = View {
        name: name.in_catalog(),
        sql: text,
        columns: columns.as_struct().fields().iter().map(|field| field.name.clone()).collect(),
        column_comments: HashMap::new(),
        default_catalog: context.session.catalog.clone(),
        default_schema: context.session.schema.clone().unwrap_or_else(|| name.schema.clone()),
        comment: new.comment,
        owner: (!new.invoker).then(|| context.session.user.clone()),
    };
    catalog.create_view(&view, columns, new.or_replace).await?;
    Ok(Outcome::done())
}

/// A view's comment is part of the view, which is made anew with it.
pub(super) async fn comment_on(context: &StatementContext, name: &ObjectName, comment: Option<String>) -> Result<Outcome> {
    let name = context.resolve(name)?;
    let catalog = context.engine.catalog(&name.catalog)?;
    let view = context.engine.health().one(catalog, catalog.load_view(&name.in_catalog())).await?;
    let view = view.ok_or_else(|| Error::new(Code::TableNotFound, format!("view '{}' does not exist", name.table)))?;
    let columns = columns_now(context, &view).await?;
    let columns = documented(&columns, |column| view.column_comment(column).map(str::to_owned))?;
    catalog.create_view(&View { comment, ..view }, columns, true).await?;
    Ok(Outcome::done())
}

/// The same for the comment of one of its columns, as `COMMENT ON COLUMN` says it.
pub(super) async fn comment_on_column(
    context: &StatementContext,
    catalog: &dyn Catalog,
    view: &View,
    column: &str,
    comment: Option<&str>,
) -> Result<()> {
    let columns = columns_now(context, view).await?;
    let names = || columns.as_struct().fields().iter().map(|field| field.name.as_str());
    let Some(named) = names().find(|name| *name == column).or_else(|| names().find(|name| name.to_lowercase() == column.to_lowercase())) else {
        let error = Error::new(Code::ColumnNotFound, format!("column '{column}' does not exist in view '{}'", view.name.table));
        return Err(suggest(error, column, names()));
    };
    let comment_of = |column: &str| if column == named { comment } else { view.column_comment(column) };
    let columns = documented(&columns, |column| comment_of(column).map(str::to_owned))?;
    catalog.create_view(view, columns, true).await
}

/// The columns that a view has now. Its names mean what they meant where it was made.
async fn columns_now(context: &StatementContext, view: &View) -> Result<Schema> {
    let session = Session { catalog: view.default_catalog.clone(), schema: Some(view.default_schema.clone()), ..context.session.clone() };
    let query = query_of(&view.sql, &view.name.table)?;
    let plan = planner(&context.engine, &session, &context.settings, None).plan_query(query).await?;
    let plan = frozen(plan, &view.name.to_string(), &view.sql, &view.columns)?;
    arrow_to_iceberg_schema(plan.schema().as_arrow())
}

/// Columns with their comments.
fn documented(columns: &Schema, comment: impl Fn(&str) -> Option<String>) -> Result<Schema> {
    let fields = columns.as_struct().fields().iter();
    let fields = fields.map(|field| Arc::new(NestedField { doc: comment(&field.name), ..NestedField::clone(field) }));
    let built = Schema::builder().with_schema_id(columns.schema_id()).with_fields(fields).build();
    built.map_err(|error| Error::internal("the columns of a view are no schema").with_source(error))
}

fn query_of(text: &str, view: &str) -> Result<Query> {
    match parse(text)? {
        Statement::Query(query) => Ok(*query),
        _ => Err(Error::new(Code::InvalidView, format!("the text of view '{view}' is not a query"))),
    }
}
