//! What is known of tables and views only by loading them: columns, and the texts of views.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};
use futures::stream::{self, StreamExt, TryStreamExt};
use nunatak_catalog::spec::NestedFieldRef;
use nunatak_catalog::unsupported::comment;
use nunatak_catalog::{TableName, View};
use nunatak_core::{Code, Error, Result};

use super::wanted::Wanted;
use super::{Listing, texts};
use crate::scan::types::{arrow_to_iceberg_schema, trino_column_type};
use crate::sql::listing::{ASKED_MAX, Relation, RelationKind, left_out, listed_table};
use crate::sql::planner::Planner;

/// The columns of `columns`.
pub(super) const COLUMNS: [&str; 9] =
    ["table_catalog", "table_schema", "table_name", "column_name", POSITION, "column_default", "is_nullable", "data_type", "comment"];
/// The one of them that is a number.
pub(super) const POSITION: &str = "ordinal_position";

/// The property that has the comment of a table.
const COMMENT: &str = "comment";

/// A column of a table or view.
struct Column {
    name: String,
    is_required: bool,
    data_type: String,
    comment: Option<String>,
}

impl Listing {
    pub(super) async fn views(&self, wanted: &Wanted) -> Result<Vec<ArrayRef>> {
        let named = self.relations_to_load(wanted, &[RelationKind::View]).await?;
        let loads: Vec<_> = named.iter().map(|relation| self.view(&relation.name)).collect();
        let views: Vec<Option<View>> = stream::iter(loads).buffered(ASKED_MAX).try_collect().await?;
        let views: Vec<View> = views.into_iter().flatten().collect();
        let mut columns = self.names(views.iter().map(|view| &view.name));
        columns.push(texts(views.iter().map(|view| &view.sql)));
        Ok(columns)
    }

    pub(super) async fn columns(&self, wanted: &Wanted) -> Result<Vec<ArrayRef>> {
        let relations = self.relations_to_load(wanted, &RelationKind::ALL).await?;
        let loads: Vec<_> = relations.iter().map(|relation| self.columns_of(relation)).collect();
        let loaded: Vec<Vec<Column>> = stream::iter(loads).buffered(ASKED_MAX).try_collect().await?;
        let rows: Vec<(&TableName, i64, &Column)> = relations
            .iter()
            .zip(&loaded)
            .flat_map(|(relation, columns)| (1..).zip(columns).map(move |(position, column)| (&relation.name, position, column)))
            .collect();
        let mut columns = self.names(rows.iter().map(|(name, ..)| *name));
        columns.push(texts(rows.iter().map(|(.., column)| &column.name)));
        columns.push(Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, position, _)| *position))));
        columns.push(Arc::new(StringArray::new_null(rows.len())));
        columns.push(texts(rows.iter().map(|(.., column)| if column.is_required { "NO" } else { "YES" })));
        columns.push(texts(rows.iter().map(|(.., column)| &column.data_type)));
        columns.push(Arc::new(rows.iter().map(|(.., column)| column.comment.as_deref()).collect::<StringArray>()));
        Ok(columns)
    }

    /// The comments of tables and views.
    pub(super) async fn comments(&self, wanted: &Wanted) -> Result<Vec<ArrayRef>> {
        let relations = self.relations_to_load(wanted, &RelationKind::ALL).await?;
        let loads: Vec<_> = relations.iter().map(|relation| self.comment_of(relation)).collect();
        let loaded: Vec<Option<Option<String>>> = stream::iter(loads).buffered(ASKED_MAX).try_collect().await?;
        let rows: Vec<(&TableName, Option<String>)> =
            relations.iter().zip(loaded).filter_map(|(relation, comment)| Some((&relation.name, comment?))).collect();
        let mut columns = self.names(rows.iter().map(|(name, _)| *name));
        columns.push(Arc::new(rows.iter().map(|(_, comment)| comment.as_deref()).collect::<StringArray>()));
        Ok(columns)
    }

    /// The comment of a table or view, if it has one; `None` if it is gone by now or cannot be read.
    async fn comment_of(&self, relation: &Relation) -> Result<Option<Option<String>>> {
        match relation.kind {
            RelationKind::Table => {
                let table = listed_table(self.context.health(), &self.catalog, &relation.name).await?;
                Ok(table.map(|table| table.metadata.properties().get(COMMENT).cloned()))
            }
            RelationKind::View => Ok(self.view(&relation.name).await?.map(|view| view.comment)),
        }
    }

    /// A view; `None` if it is gone by now or cannot be read.
    async fn view(&self, name: &TableName) -> Result<Option<View>> {
        let loaded = self.context.health().one(&self.catalog, self.catalog.load_view(name)).await;
        loaded.or_else(|error| left_out(self.catalog.as_ref(), name, error))
    }

    /// The columns of a table or view; none if it is gone by now or cannot be read.
    async fn columns_of(&self, relation: &Relation) -> Result<Vec<Column>> {
        match relation.kind {
            RelationKind::Table => {
                let table = listed_table(self.context.health(), &self.catalog, &relation.name).await?;
                let fields = table.iter().flat_map(|table| table.metadata.current_schema().as_struct().fields());
                Ok(fields
                    .map(|field| Column {
                        name: field.name.clone(),
                        is_required: field.required,
                        data_type: trino_column_type(field),
                        comment: comment(field).map(str::to_owned),
                    })
                    .collect())
            }
            RelationKind::View => {
                let Some(view) = self.view(&relation.name).await? else { return Ok(Vec::new()) };
                // It may be over tables of another catalog, which is down.
                let wait = self.context.health().wait();
                let columns = tokio::time::timeout(wait, self.columns_of_view(view)).await;
                let columns = columns.unwrap_or_else(|_| Err(Error::new(Code::CatalogUnavailable, "what it is over gives no answer in time")));
                Ok(columns.unwrap_or_else(|error| {
                    tracing::debug!(%error, catalog = self.catalog.name(), view = %relation.name, "the columns of a view are not known");
                    Vec::new()
                }))
            }
        }
    }

    /// The columns that a view has now. It is planned by itself, so that a listing pins no snapshots.
    async fn columns_of_view(&self, view: View) -> Result<Vec<Column>> {
        let schema = Planner::new(&self.context, self.session.clone()).view_schema(view.clone()).await?;
        let schema = arrow_to_iceberg_schema(&schema)?;
        let fields = schema.as_struct().fields().iter();
        let column = |field: &NestedFieldRef| {
            let (name, data_type) = (field.name.clone(), trino_column_type(field));
            let comment = view.column_comment(&name).map(str::to_owned);
            Column { name, is_required: false, data_type, comment }
        };
        Ok(fields.map(column).collect())
    }
}
