//! `information_schema`: the SQL standard's listings, as Trino shapes them.
//!
//! Rows are gathered when a scan is planned, and only those that its filters may want (`wanted.rs`): names first, by which schemas and tables are left out, then what is
//! known only by loading (`loaded.rs`). Whatever is not asked for is not loaded.

mod loaded;
mod roles;
mod wanted;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use nunatak_catalog::{Catalog, TableName};
use nunatak_core::{Code, Error, Result};
use tokio::sync::Mutex;

use self::roles::Roles;
use self::wanted::Wanted;
use super::listing::{self, Relation, RelationKind};
use super::names::{INFORMATION_SCHEMA, QualifiedName, SYSTEM};
use super::planner::PlannerSession;
use crate::catalog_health::CatalogHealth;
use crate::context::EngineContext;
use crate::error::{from_datafusion, into_datafusion, suggest};

/// The tables there are.
pub const INFORMATION_TABLES: [&str; 8] =
    ["applicable_roles", "columns", "enabled_roles", "roles", "schemata", "table_privileges", "tables", "views"];

/// The comments of tables and views, for the catalog `system`: a table that no listing names.
pub(super) const COMMENTS: &str = "$comments";

/// The place of the schema's name among the columns of each table, and that of the table's where it has one.
const SCHEMA_NAME: usize = 1;
const TABLE_NAME: usize = 2;
/// What a row of `tables` is.
const TABLE_TYPE: usize = 3;
/// The text of a view, which is in its metadata.
const VIEW_DEFINITION: usize = 3;

/// Up to how many schemas, tables or views that a filter names are asked for one by one instead of being listed.
const NAMED_MAX: usize = 64;

/// The table of that name. One that `is_of_all` is asked for as a part of a listing over all catalogs: it is empty if its catalog is down.
///
/// Errors: `TABLE_NOT_FOUND`.
pub(super) fn table(
    context: &Arc<EngineContext>,
    session: &PlannerSession,
    catalog: &Arc<dyn Catalog>,
    name: &QualifiedName,
    is_of_all: bool,
) -> Result<Arc<dyn TableProvider>> {
    let (kind, columns): (_, &[&str]) = match name.table.as_str() {
        "schemata" => (Kind::Schemata, &["catalog_name", "schema_name"]),
        "tables" => (Kind::Tables, &["table_catalog", "table_schema", "table_name", "table_type"]),
        "views" => (Kind::Views, &["table_catalog", "table_schema", "table_name", "view_definition"]),
        "columns" => (Kind::Columns, &loaded::COLUMNS),
        "table_privileges" => return nothing(&PRIVILEGES),
        // No catalog has roles, which Trino says in the same way.
        roles @ ("applicable_roles" | "enabled_roles" | "roles") => return Ok(Arc::new(Roles::new(&catalog_roles(roles), catalog.name()))),
        COMMENTS => (Kind::Comments, &["table_catalog", "table_schema", "table_name", "comment"]),
        other => {
            let missing = Error::new(Code::TableNotFound, format!("table '{INFORMATION_SCHEMA}.{other}' does not exist"));
            return Err(suggest(missing.with_hint(format!("there are {}", INFORMATION_TABLES.join(", "))), other, INFORMATION_TABLES));
        }
    };
    let data_type = |name: &str| if name == loaded::POSITION { DataType::Int64 } else { DataType::Utf8 };
    let fields: Vec<_> = columns.iter().map(|name| Field::new(*name, data_type(name), true)).collect();
    let listing = Listing { context: Arc::clone(context), session: session.clone(), catalog: Arc::clone(catalog), is_of_all };
    Ok(Arc::new(InformationTable { kind, schema: Arc::new(Schema::new(fields)), listing, gathered: Mutex::default() }))
}

/// The columns of `table_privileges`.
const PRIVILEGES: [&str; 10] = [
    "grantor",
    "grantor_type",
    "grantee",
    "grantee_type",
    "table_catalog",
    "table_schema",
    "table_name",
    "privilege_type",
    "is_grantable",
    "with_hierarchy",
];

/// A table without rows.
fn nothing(columns: &[&str]) -> Result<Arc<dyn TableProvider>> {
    let schema = text_schema(columns);
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![]]).map_err(from_datafusion)?))
}

fn text_schema(columns: &[&str]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect::<Vec<_>>()))
}

/// The columns of a table of roles.
fn catalog_roles(table: &str) -> Vec<&'static str> {
    if table == "applicable_roles" { vec!["grantee", "grantee_type", "role_name", "is_grantable"] } else { vec!["role_name"] }
}

/// Which table it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Columns,
    Comments,
    Schemata,
    Tables,
    Views,
}

/// A table of `information_schema`.
#[derive(Debug)]
struct InformationTable {
    kind: Kind,
    schema: SchemaRef,
    listing: Listing,
    /// What the statement has seen: a plan that is made again, for another mode, has the same rows.
    gathered: Mutex<Vec<Gathered>>,
}

/// The rows that were gathered for a scan.
#[derive(Debug)]
struct Gathered {
    filters: Vec<Expr>,
    with_texts: bool,
    rows: RecordBatch,
}

impl InformationTable {
    /// The rows that filters may want; those of views have their texts only if these are wanted.
    async fn rows(&self, state: &dyn Session, filters: &[Expr], with_texts: bool) -> Result<RecordBatch> {
        let mut gathered = self.gathered.lock().await;
        if let Some(found) = gathered.iter().find(|found| found.filters == filters && found.with_texts == with_texts) {
            return Ok(found.rows.clone());
        }
        let wanted = Wanted::new(state, self.listing.catalog.name(), Arc::clone(&self.schema), filters).map_err(from_datafusion)?;
        let columns = match self.columns(&wanted, with_texts).await {
            Ok(columns) => columns,
            Err(error) if self.listing.is_of_all => {
                CatalogHealth::leave_out(self.listing.catalog.as_ref(), &error);
                return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
            }
            Err(error) => return Err(error),
        };
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|error| from_datafusion(error.into()))?;
        gathered.push(Gathered { filters: filters.to_vec(), with_texts, rows: rows.clone() });
        Ok(rows)
    }

    async fn columns(&self, wanted: &Wanted, with_texts: bool) -> Result<Vec<ArrayRef>> {
        match self.kind {
            Kind::Schemata => self.listing.schemata(wanted).await,
            Kind::Tables => self.listing.tables(wanted).await,
            Kind::Views if with_texts => self.listing.views(wanted).await,
            Kind::Views => self.listing.view_names(wanted).await,
            Kind::Columns => self.listing.columns(wanted).await,
            Kind::Comments => self.listing.comments(wanted).await,
        }
    }
}

#[async_trait]
impl TableProvider for InformationTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        // The filters are applied again above: they need more rows than a limit says.
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let with_texts = self.kind == Kind::Views && projection.is_none_or(|columns| columns.contains(&VIEW_DEFINITION));
        let rows = self.rows(state, filters, with_texts).await.map_err(into_datafusion)?;
        MemTable::try_new(Arc::clone(&self.schema), vec![vec![rows]])?.scan(state, projection, &[], None).await
    }
}

/// What is listed, and for whom.
#[derive(Debug)]
struct Listing {
    context: Arc<EngineContext>,
    session: PlannerSession,
    catalog: Arc<dyn Catalog>,
    /// Whether it is a part of a listing over all catalogs.
    is_of_all: bool,
}

impl Listing {
    async fn schemata(&self, wanted: &Wanted) -> Result<Vec<ArrayRef>> {
        let mut names = self.schemas(wanted).await?;
        names.push(INFORMATION_SCHEMA.to_owned());
        names.extend(self.context.system_tables().map(|_| SYSTEM.to_owned()));
        names.sort();
        names.dedup();
        Ok(vec![self.catalog_names(names.len()), texts(&names)])
    }

    async fn tables(&self, wanted: &Wanted) -> Result<Vec<ArrayRef>> {
        let types = wanted.values(TABLE_TYPE);
        let mut kinds = RelationKind::ALL.to_vec();
        kinds.retain(|kind| types.as_ref().is_none_or(|types| types.contains(type_of(*kind))));
        let mut relations = self.relations(wanted, &kinds).await?;
        let system = self.context.system_tables().map(|tables| tables.names()).unwrap_or_default();
        let own = INFORMATION_TABLES.iter().map(|name| (INFORMATION_SCHEMA, *name)).chain(system.iter().map(|name| (SYSTEM, *name)));
        relations.extend(own.map(|(schema, name)| Relation::new(TableName::new(schema, name), RelationKind::Table)));
        relations.sort();
        let mut columns = self.names(relations.iter().map(|relation| &relation.name));
        columns.push(texts(relations.iter().map(|relation| type_of(relation.kind))));
        Ok(columns)
    }

    async fn view_names(&self, wanted: &Wanted) -> Result<Vec<ArrayRef>> {
        let views = self.relations(wanted, &[RelationKind::View]).await?;
        let mut columns = self.names(views.iter().map(|view| &view.name));
        columns.push(Arc::new(StringArray::new_null(views.len())));
        Ok(columns)
    }

    /// The schemas of the catalog that may have rows that are wanted.
    async fn schemas(&self, wanted: &Wanted) -> Result<Vec<String>> {
        let named = wanted.values(SCHEMA_NAME);
        if named.as_ref().is_some_and(|named| named.is_empty()) {
            return Ok(Vec::new());
        }
        let asked = async {
            match named {
                Some(named) if named.len() <= NAMED_MAX => listing::existing(self.catalog.as_ref(), named).await,
                _ => self.catalog.namespace_names().await,
            }
        };
        let health = self.context.health();
        let mut schemas = match self.is_of_all {
            true => health.names_of_each(&self.catalog, asked).await.unwrap_or_default(),
            false => health.names(&self.catalog, asked).await?,
        };
        wanted.keep(&mut schemas, |schema| [schema]);
        Ok(schemas)
    }

    /// The tables and views that may be wanted, by their names.
    async fn relations(&self, wanted: &Wanted, kinds: &[RelationKind]) -> Result<Vec<Relation>> {
        if kinds.is_empty() {
            return Ok(Vec::new());
        }
        let schemas = self.schemas(wanted).await?;
        let mut relations = listing::relations(self.context.health(), &self.catalog, &schemas, kinds).await?;
        wanted.keep(&mut relations, |relation| [&relation.name.namespace, &relation.name.table]);
        Ok(relations)
    }

    /// The same for what is loaded then: a few whose names are all given are not listed before, and may not be there.
    async fn relations_to_load(&self, wanted: &Wanted, kinds: &[RelationKind]) -> Result<Vec<Relation>> {
        let (Some(named_schemas), Some(named)) = (wanted.values(SCHEMA_NAME), wanted.values(TABLE_NAME)) else {
            return self.relations(wanted, kinds).await;
        };
        if named_schemas.len() * named.len() > NAMED_MAX {
            return self.relations(wanted, kinds).await;
        }
        let mut relations = Vec::new();
        for schema in self.schemas(wanted).await? {
            for name in &named {
                relations.extend(kinds.iter().map(|kind| Relation::new(TableName::new(&schema, name), *kind)));
            }
        }
        relations.sort();
        Ok(relations)
    }

    /// The columns with which all tables but `schemata` begin.
    fn names<'a>(&self, names: impl ExactSizeIterator<Item = &'a TableName> + Clone) -> Vec<ArrayRef> {
        let schemas = texts(names.clone().map(|name| &name.namespace));
        vec![self.catalog_names(names.len()), schemas, texts(names.map(|name| &name.table))]
    }

    fn catalog_names(&self, rows: usize) -> ArrayRef {
        texts(std::iter::repeat_n(self.catalog.name(), rows))
    }
}

/// What the standard calls it.
fn type_of(kind: RelationKind) -> &'static str {
    match kind {
        RelationKind::Table => "BASE TABLE",
        RelationKind::View => "VIEW",
    }
}

fn texts<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}
