//! `CREATE [OR REPLACE] VIEW` and `COMMENT ON VIEW`.

use datafusion::sql::sqlparser::ast::{ObjectName, Query};
use nunatak_catalog::View;
use nunatak_core::{Code, Error, Result};
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
    if catalog.has_table(&name.in_catalog()).await? {
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
    let view = catalog.load_view(&name.in_catalog()).await?;
    let view = view.ok_or_else(|| Error::new(Code::TableNotFound, format!("view '{}' does not exist", name.table)))?;
    // Its names mean what they meant where it was made.
    let session = Session { catalog: view.default_catalog.clone(), schema: Some(view.default_schema.clone()), ..context.session.clone() };
    let query = query_of(&view.sql, &name.table)?;
    let plan = planner(&context.engine, &session, &context.settings).plan_query(query).await?;
    let plan = frozen(plan, &view.name.to_string(), &view.sql, &view.columns)?;
    let columns = arrow_to_iceberg_schema(plan.schema().as_arrow())?;
    catalog.create_view(&View { comment, ..view }, columns, true).await?;
    Ok(Outcome::done())
}

fn query_of(text: &str, view: &str) -> Result<Query> {
    match parse(text)? {
        Statement::Query(query) => Ok(*query),
        _ => Err(Error::new(Code::InvalidView, format!("the text of view '{view}' is not a query"))),
    }
}
