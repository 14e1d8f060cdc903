//! Listings for clients that ask by metadata calls and not by SQL. Catalogs are asked at the same time. Of a listing over all of them,
//! one that is down is left out: see [`nunatak_engine::catalog_health`].

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::future::join_all;
use futures::stream::{self, StreamExt, TryStreamExt};
use nunatak_catalog::Catalog;
use nunatak_core::Result;
use nunatak_engine::catalog_health::CatalogHealth;
use nunatak_engine::context::EngineContext;
use nunatak_engine::scan::types::table_schema;
use nunatak_engine::sql::listing::{ASKED_MAX, Relation, RelationKind, left_out, listed_table, relations};
use nunatak_engine::sql::{like_matches, outward_table_schema};

use super::{Coordinator, Session, TableFilter, TableInfo};

impl Coordinator {
    /// The names of all catalogs, sorted.
    pub async fn catalogs(&self) -> Result<Vec<String>> {
        Ok(self.catalogs.engine().catalogs().map(|(name, _)| name.to_owned()).collect())
    }

    /// Catalog and name of all schemas like `pattern`, sorted.
    pub async fn schemas(&self, catalog: Option<&str>, pattern: Option<&str>) -> Result<Vec<(String, String)>> {
        let engine = self.catalogs.engine();
        let asked = catalogs_of(&engine, catalog);
        let lists: Vec<_> = asked.iter().map(|one| schemas_like(engine.health(), one, catalog.is_none(), pattern)).collect();
        let mut found = answers(&asked, join_all(lists).await, catalog)?;
        found.sort();
        Ok(found)
    }

    /// The tables and views that `filter` wants, sorted by catalog, schema and name.
    pub async fn tables(&self, filter: &TableFilter) -> Result<Vec<TableInfo>> {
        let engine = self.catalogs.engine();
        let asked = catalogs_of(&engine, filter.catalog.as_deref());
        let lists: Vec<_> = asked.iter().map(|catalog| self.tables_of(engine.health(), catalog, filter)).collect();
        let found = answers(&asked, join_all(lists).await, filter.catalog.as_deref())?;
        let mut found: Vec<TableInfo> = found.into_iter().map(|(_, table)| table).collect();
        found.sort_by(|left, right| (&left.catalog, &left.schema, &left.name).cmp(&(&right.catalog, &right.schema, &right.name)));
        Ok(found)
    }

    async fn tables_of(&self, health: &CatalogHealth, catalog: &Arc<dyn Catalog>, filter: &TableFilter) -> Result<Vec<TableInfo>> {
        let kinds: Vec<RelationKind> = RelationKind::ALL.into_iter().filter(|kind| wants_kind(filter, kind_name(*kind))).collect();
        if kinds.is_empty() {
            return Ok(Vec::new());
        }
        let schemas = schemas_like(health, catalog, filter.catalog.is_none(), filter.schema_pattern.as_deref()).await?;
        let mut found = relations(health, catalog, &schemas, &kinds).await?;
        found.retain(|relation| like_matches(filter.table_pattern.as_deref(), &relation.name.table));
        let columns: Vec<Option<SchemaRef>> = match filter.with_columns {
            true => {
                let loads: Vec<_> = found.iter().map(|relation| self.columns(health, catalog, relation)).collect();
                stream::iter(loads).buffered(ASKED_MAX).try_collect().await?
            }
            false => vec![None; found.len()],
        };
        let tables = found.into_iter().zip(columns).map(|(Relation { name, kind }, columns)| TableInfo {
            catalog: catalog.name().to_owned(),
            schema: name.namespace,
            name: name.table,
            kind: kind_name(kind),
            columns,
        });
        Ok(tables.collect())
    }

    /// The columns of a table or view; `None` when it is gone or can't be read or planned any more: a listing goes on without them.
    async fn columns(&self, health: &CatalogHealth, catalog: &Arc<dyn Catalog>, relation: &Relation) -> Result<Option<SchemaRef>> {
        let name = &relation.name;
        match relation.kind {
            RelationKind::Table => {
                let Some(table) = listed_table(health, catalog, name).await? else { return Ok(None) };
                let schema = table_schema(table.metadata.current_schema());
                schema.map(|schema| Some(outward_table_schema(schema.as_ref()))).or_else(|error| left_out(catalog.as_ref(), name, error))
            }
            RelationKind::View => {
                let session = Session::new("", catalog.name(), Some(name.namespace.clone()));
                let quoted = name.table.replace('"', "\"\"");
                let text = format!("SELECT * FROM \"{quoted}\"");
                // It may be over tables of another catalog, which is down.
                let prepared = tokio::time::timeout(self.options.listing_wait, self.prepare(&session, &text)).await;
                Ok(prepared.ok().and_then(Result::ok).map(|prepared| prepared.schema))
            }
        }
    }
}

/// The catalog of that name, if there is one; all of them without a name.
fn catalogs_of(engine: &EngineContext, named: Option<&str>) -> Vec<Arc<dyn Catalog>> {
    engine.catalogs().filter(|(name, _)| named.is_none_or(|named| named == *name)).map(|(_, catalog)| Arc::clone(catalog)).collect()
}

/// What catalogs have answered, each part with the catalog's name. Who asks for all of them is not to miss what the others have when one fails.
fn answers<T>(asked: &[Arc<dyn Catalog>], answers: Vec<Result<Vec<T>>>, named: Option<&str>) -> Result<Vec<(String, T)>> {
    let mut found = Vec::new();
    for (catalog, answer) in asked.iter().zip(answers) {
        match answer {
            Ok(answer) => found.extend(answer.into_iter().map(|one| (catalog.name().to_owned(), one))),
            Err(error) if named.is_none() => CatalogHealth::leave_out(catalog.as_ref(), &error),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The schemas of a catalog that are like `pattern`; none of one of all catalogs that is left out.
async fn schemas_like(health: &CatalogHealth, catalog: &Arc<dyn Catalog>, is_of_all: bool, pattern: Option<&str>) -> Result<Vec<String>> {
    let mut schemas = match is_of_all {
        true => health.names_of_each(catalog, catalog.namespace_names()).await.unwrap_or_default(),
        false => health.names(catalog, catalog.namespace_names()).await?,
    };
    schemas.retain(|schema| like_matches(pattern, schema));
    Ok(schemas)
}

fn kind_name(kind: RelationKind) -> &'static str {
    match kind {
        RelationKind::Table => "TABLE",
        RelationKind::View => "VIEW",
    }
}

fn wants_kind(filter: &TableFilter, kind: &str) -> bool {
    filter.kinds.is_empty() || filter.kinds.iter().any(|wanted| wanted == kind || (wanted == "BASE TABLE" && kind == "TABLE"))
}
