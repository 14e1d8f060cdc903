//! The tables of roles: they have columns, and whoever asks for their rows is told that the catalog has no roles, as by Trino.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use nunatak_core::Error;

use super::text_schema;
use crate::error::into_datafusion;

/// A table of roles of a catalog.
#[derive(Debug)]
pub(super) struct Roles {
    schema: SchemaRef,
    catalog: String,
}

impl Roles {
    pub(super) fn new(columns: &[&str], catalog: &str) -> Self {
        Self { schema: text_schema(columns), catalog: catalog.to_owned() }
    }
}

#[async_trait]
impl TableProvider for Roles {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(&self, _: &dyn Session, _: Option<&Vec<usize>>, _: &[Expr], _: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
        Err(into_datafusion(Error::not_supported(format!("catalog '{}' does not support roles", self.catalog))))
    }
}
