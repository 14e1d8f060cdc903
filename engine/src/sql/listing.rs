//! Names of tables and views, many at a time: for `information_schema`, `SHOW`, and the listings that clients ask for. No metadata is read for names.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join;
use futures::stream::{self, StreamExt, TryStreamExt};
use nunatak_catalog::{Catalog, Table, TableName};
use nunatak_core::{Code, Error, Result, Retry};
use tracing::warn;

use crate::catalog_health::CatalogHealth;
use crate::error::suggest;

/// How many schemas, tables or views a listing asks a catalog for at once.
pub const ASKED_MAX: usize = 16;

/// How long an error waits for the names among which it looks for the one that was meant.
const HINT_WAIT: Duration = Duration::from_secs(1);

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RelationKind {
    /// A table.
    Table,
    /// A view.
    View,
}

impl RelationKind {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Table, Self::View];
}

/// A table or view of a catalog. They sort by schema and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relation {
    /// Its name.
    pub name: TableName,
    /// What it is.
    pub kind: RelationKind,
}

impl Relation {
    /// A table or view of that name.
    pub fn new(name: TableName, kind: RelationKind) -> Self {
        Self { name, kind }
    }
}

/// The tables and views of a schema, as far as they are of these kinds, sorted. Errors: `SCHEMA_NOT_FOUND`.
pub async fn relations_of(catalog: &dyn Catalog, schema: &str, kinds: &[RelationKind]) -> Result<Vec<Relation>> {
    let tables = async { if kinds.contains(&RelationKind::Table) { catalog.tables(schema).await } else { Ok(Vec::new()) } };
    let views = async { if kinds.contains(&RelationKind::View) { catalog.views(schema).await } else { Ok(Vec::new()) } };
    let (tables, views) = try_join(tables, views).await?;
    let named = |names: Vec<String>, kind| names.into_iter().map(move |name| Relation::new(TableName::new(schema, name), kind));
    let mut relations: Vec<Relation> = named(tables, RelationKind::Table).chain(named(views, RelationKind::View)).collect();
    relations.sort();
    Ok(relations)
}

/// The same for many schemas. One that is gone by now has none. Where there is no schema to be asked for, nobody has answered.
pub async fn relations(health: &CatalogHealth, catalog: &Arc<dyn Catalog>, schemas: &[String], kinds: &[RelationKind]) -> Result<Vec<Relation>> {
    if schemas.is_empty() {
        return Ok(Vec::new());
    }
    let asked: Vec<_> = schemas.iter().map(|schema| if_there(catalog.as_ref(), schema, kinds)).collect();
    let mut found = health.names(catalog, stream::iter(asked).buffer_unordered(ASKED_MAX).try_collect::<Vec<_>>()).await?;
    found.sort();
    Ok(found.into_iter().flatten().collect())
}

async fn if_there(catalog: &dyn Catalog, schema: &str, kinds: &[RelationKind]) -> Result<Vec<Relation>> {
    match relations_of(catalog, schema, kinds).await {
        Err(error) if error.code() == Code::SchemaNotFound => Ok(Vec::new()),
        found => found,
    }
}

/// Those of some schemas that there are, in their order.
pub(super) async fn existing(catalog: &dyn Catalog, schemas: impl IntoIterator<Item = String>) -> Result<Vec<String>> {
    let asked: Vec<_> = schemas.into_iter().map(|schema| async move { catalog.namespace(&schema).await }).collect();
    let found: Vec<_> = stream::iter(asked).buffered(ASKED_MAX).try_collect().await?;
    Ok(found.into_iter().flatten().map(|namespace| namespace.name).collect())
}

/// Names for the hint of an error: none if they do not come soon, or if listing them fails, which is not what the error is about.
pub async fn for_hint<T>(listed: impl Future<Output = Result<Vec<T>>>) -> Vec<T> {
    match tokio::time::timeout(HINT_WAIT, listed).await {
        Ok(Ok(names)) => names,
        _ => Vec::new(),
    }
}

/// The error for a schema that is not there, with the name that is most like it.
pub async fn schema_not_found(catalog: &dyn Catalog, schema: &str) -> Error {
    let missing = Error::new(Code::SchemaNotFound, format!("schema '{schema}' does not exist"));
    let names = for_hint(catalog.namespace_names()).await;
    suggest(missing, schema, names.iter().map(String::as_str))
}

/// A table for a listing; `None` if it is gone by now, or if its metadata cannot be read: the listing goes on without it.
///
/// Errors: those that other tables would have too, since a server cannot be reached.
pub async fn listed_table(health: &CatalogHealth, catalog: &Arc<dyn Catalog>, name: &TableName) -> Result<Option<Table>> {
    health.one(catalog, catalog.load_table(name)).await.or_else(|error| left_out(catalog.as_ref(), name, error))
}

/// Leaves a table or view out of a listing because of an error, unless that is about more than it: nobody has answered.
pub fn left_out<T>(catalog: &dyn Catalog, name: &TableName, error: Error) -> Result<Option<T>> {
    let concerns_all = match error.code() {
        Code::CatalogUnavailable => true,
        // A bucket that is not there is one of few; trying again does not help there.
        Code::StorageUnavailable => error.retry() != Retry::Never,
        _ => false,
    };
    if concerns_all {
        return Err(error);
    }
    warn!(%error, catalog = catalog.name(), %name, "a table or view cannot be read, and is left out of a listing");
    Ok(None)
}
