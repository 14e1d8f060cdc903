//! Listings for clients that ask by metadata calls and not by SQL.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use nunatak_catalog::{Catalog, TableName};
use nunatak_core::Result;
use nunatak_engine::scan::types::table_schema;
use nunatak_engine::sql::{like_matches, outward_table_schema};
use tracing::warn;

use super::{Coordinator, TableFilter, TableInfo};

impl Coordinator {
    /// The names of all catalogs, sorted.
    pub async fn catalogs(&self) -> Result<Vec<String>> {
        Ok(self.engine.catalogs().map(|(name, _)| name.to_owned()).collect())
    }

    /// Catalog and name of all schemas like `pattern`, sorted.
    pub async fn schemas(&self, catalog: Option<&str>, pattern: Option<&str>) -> Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        for (name, entry) in self.engine.catalogs().filter(|(name, _)| catalog.is_none_or(|wanted| wanted == *name)) {
            let namespaces = match entry.namespaces().await {
                Ok(namespaces) => namespaces.into_iter().map(|namespace| namespace.name),
                // Who asks for all of them is not to miss those of the others.
                Err(error) if catalog.is_none() => {
                    warn!(%error, catalog = name, "the schemas of a catalog are left out of a listing");
                    continue;
                }
                Err(error) => return Err(error),
            };
            found.extend(namespaces.filter(|schema| like_matches(pattern, schema)).map(|schema| (name.to_owned(), schema)));
        }
        found.sort();
        Ok(found)
    }

    /// The tables and views that `filter` wants, sorted by catalog, schema and name.
    pub async fn tables(&self, filter: &TableFilter) -> Result<Vec<TableInfo>> {
        let mut found = Vec::new();
        for (catalog, schema) in self.schemas(filter.catalog.as_deref(), filter.schema_pattern.as_deref()).await? {
            let backend = self.engine.catalog(&catalog)?;
            for (kind, names) in [("TABLE", backend.tables(&schema).await?), ("VIEW", backend.views(&schema).await?)] {
                if !wants_kind(filter, kind) {
                    continue;
                }
                for name in names.into_iter().filter(|name| like_matches(filter.table_pattern.as_deref(), name)) {
                    let columns = if filter.with_columns { self.columns(backend, &schema, &name, kind).await? } else { None };
                    found.push(TableInfo { catalog: catalog.clone(), schema: schema.clone(), name, kind, columns });
                }
            }
        }
        found.sort_by(|left, right| (&left.catalog, &left.schema, &left.name).cmp(&(&right.catalog, &right.schema, &right.name)));
        Ok(found)
    }

    /// The columns of a table or view; `None` when it is gone or can't be planned any more: a listing goes on without it.
    async fn columns(&self, catalog: &Arc<dyn Catalog>, schema: &str, name: &str, kind: &str) -> Result<Option<SchemaRef>> {
        if kind == "VIEW" {
            let session = super::Session::new("", catalog.name(), Some(schema.to_owned()));
            let quoted = name.replace('"', "\"\"");
            return Ok(self.prepare(&session, &format!("SELECT * FROM \"{quoted}\"")).await.ok().map(|prepared| prepared.schema));
        }
        let table = catalog.load_table(&TableName::new(schema, name)).await?;
        table.map(|table| Ok(outward_table_schema(table_schema(table.metadata.current_schema())?.as_ref()))).transpose()
    }
}

fn wants_kind(filter: &TableFilter, kind: &str) -> bool {
    filter.kinds.is_empty() || filter.kinds.iter().any(|wanted| wanted == kind || (wanted == "BASE TABLE" && kind == "TABLE"))
}
