//! `CALL system.procedure(...)`: the procedures of a table by another way, with the table as an argument, and those that a table is not there for yet.

use datafusion::sql::sqlparser::ast::ObjectName;
use nunatak_catalog::backend::metadata_file;
use nunatak_core::{Code, Error, Result};
use nunatak_engine::error::suggest;
use nunatak_engine::sql::statement::Call;
use nunatak_engine::sql::{QualifiedName, option_text, parts};

use super::super::{Outcome, StatementContext};
use super::arguments::Arguments;
use super::{NAMES, of_hive_tables, run_on};

/// The procedures that change which tables there are.
const OF_CATALOG: [&str; 2] = ["register_table", "unregister_table"];

/// The procedure that is about no table.
const FLUSH: &str = "flush_metadata_cache";

/// The procedure that is about a query.
const KILL: [&str; 3] = [SYSTEM, "runtime", "kill_query"];

/// The schema in which procedures are.
const SYSTEM: &str = "system";

/// Whether a call gives no rows: it changes which tables there are, or what is known of them.
pub(in crate::statement) fn changes_catalog(call: &Call) -> bool {
    is_kill(call) || parts(&call.name).last().is_some_and(|name| name == FLUSH || OF_CATALOG.contains(&name.as_str()))
}

/// Whether it is `CALL system.runtime.kill_query(...)`, in the catalog `system`.
fn is_kill(call: &Call) -> bool {
    parts(&call.name) == KILL
}

/// Ends a query by its id, wherever it runs.
async fn kill(context: &StatementContext, call: Call) -> Result<Outcome> {
    let mut arguments = Arguments::of_call("kill_query", call.arguments);
    let (id, message) = (arguments.text("query_id"), arguments.text("message"));
    let id = id.ok_or_else(|| arguments.missing("query_id"))?;
    arguments.end()?;
    context.queries.kill(&id, &context.session.user, &message.unwrap_or_default()).await?;
    Ok(Outcome::done())
}

pub(in crate::statement) async fn call(context: StatementContext, call: Call) -> Result<Outcome> {
    if is_kill(&call) {
        return kill(&context, call).await;
    }
    let (catalog, procedure) = resolve(&context, &call.name)?;
    let mut arguments = Arguments::of_call(&procedure, call.arguments);
    if procedure == FLUSH {
        arguments.end()?;
        context.engine.catalog(&catalog)?.clear();
        context.engine.scan().clear();
        return Ok(Outcome::done());
    }
    let name = table_name(&context, catalog, &mut arguments)?;
    match procedure.as_str() {
        "register_table" => register(&context, &name, arguments).await,
        "unregister_table" => {
            arguments.end()?;
            context.engine.catalog(&name.catalog)?.drop_table(&name.in_catalog(), false).await?;
            Ok(Outcome::done())
        }
        _ => run_on(context, name, &procedure, arguments, None).await,
    }
}

/// The catalog and the procedure that a name means.
fn resolve(context: &StatementContext, name: &ObjectName) -> Result<(String, String)> {
    let mut parts = parts(name);
    let procedure = parts.pop().unwrap_or_default().to_lowercase();
    let schema = parts.pop();
    let catalog = parts.pop().unwrap_or_else(|| context.session.catalog.clone());
    let known = NAMES.into_iter().chain(OF_CATALOG).chain([FLUSH]);
    if schema.as_deref() != Some(SYSTEM) || !parts.is_empty() || !known.clone().any(|known| known == procedure) {
        of_hive_tables(&procedure)?;
        let unknown = Error::new(Code::ProcedureNotFound, format!("procedure '{name}' does not exist"));
        let names: Vec<String> = known.map(|name| format!("{SYSTEM}.{name}")).collect();
        let hint = format!("there are {}", names.join(", "));
        return Err(suggest(unknown.with_hint(hint), &name.to_string(), names.iter().map(String::as_str)));
    }
    Ok((catalog, procedure))
}

/// The table, as Trino's procedures name it (`schema_name`, `table_name`) or as Spark's do (`table`).
fn table_name(context: &StatementContext, catalog: String, arguments: &mut Arguments) -> Result<QualifiedName> {
    let (schema, table) = match arguments.named_text("table") {
        Some(name) => match name.split_once('.') {
            Some((schema, table)) => (Some(schema.to_owned()), Some(table.to_owned())),
            None => (context.session.schema.clone(), Some(name)),
        },
        None => (arguments.text("schema_name"), arguments.text("table_name")),
    };
    let schema = schema.ok_or_else(|| arguments.missing("schema_name"))?;
    let table = table.ok_or_else(|| arguments.missing("table_name"))?;
    Ok(QualifiedName { catalog, schema, table })
}

/// Makes a table of metadata that is there: a file that is named, or the newest one of a table's location.
async fn register(context: &StatementContext, name: &QualifiedName, mut arguments: Arguments) -> Result<Outcome> {
    let location = arguments.text("table_location");
    let file = arguments.text("metadata_file_name");
    let whole = arguments.named_text("metadata_file");
    arguments.end()?;
    name.check_new()?;
    let catalog = context.engine.catalog(&name.catalog)?;
    let metadata_location = match (whole, location, file) {
        (Some(whole), None, None) => whole,
        (None, Some(location), Some(file)) => format!("{}/metadata/{file}", location.trim_end_matches('/')),
        (None, Some(location), None) => {
            let storage = catalog.staged_storage(&name.in_catalog(), &location).await?;
            metadata_file::newest(&storage, &location).await?
        }
        _ => return Err(arguments.missing("table_location")),
    };
    catalog.register_table(&name.in_catalog(), &metadata_location).await?;
    Ok(Outcome::done())
}

impl Arguments {
    /// A text that is given by name only.
    fn named_text(&mut self, name: &'static str) -> Option<String> {
        self.take_named(name).as_ref().map(option_text)
    }
}
