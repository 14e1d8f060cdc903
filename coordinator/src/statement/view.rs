//! `CREATE [OR REPLACE] VIEW`.

use datafusion::sql::sqlparser::ast::{ObjectName, Query};
use nunatak_catalog::View;
use nunatak_core::{Code, Error, Result};
use nunatak_engine::scan::types::arrow_to_iceberg_schema;

use super::create_table::check_names;
use super::{Outcome, StatementContext};

/// The parts of the statement.
pub(super) struct NewView {
    pub(super) name: ObjectName,
    pub(super) or_replace: bool,
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
    let plan = context.planner.plan_query(new.query).await?;
    if !plan.get_parameter_names().map_err(nunatak_engine::error::from_datafusion)?.is_empty() {
        return Err(Error::new(Code::InvalidParameterUsage, "a view can't have parameters"));
    }
    check_names(&plan, "CREATE VIEW")?;
    let columns = arrow_to_iceberg_schema(plan.schema().as_arrow())?;
    let view = View {
        name: name.in_catalog(),
        sql: new.text,
        default_catalog: context.session.catalog.clone(),
        default_schema: context.session.schema.clone().unwrap_or_else(|| name.schema.clone()),
        comment: new.comment,
        owner: (!new.invoker).then(|| context.session.user.clone()),
    };
    catalog.create_view(&view, columns, new.or_replace).await?;
    Ok(Outcome::done())
}
