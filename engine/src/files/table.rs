//! CSV and JSON files as a table.

use std::cmp::Reverse;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use object_store::ObjectMeta;

use super::locate::Located;
use super::source::RowFileSource;

/// The files of a pattern, read as one table.
#[derive(Debug)]
pub(super) struct RowFileTable {
    located: Located,
    source: RowFileSource,
}

impl RowFileTable {
    pub(super) fn new(located: Located, source: RowFileSource) -> Self {
        Self { located, source }
    }
}

#[async_trait]
impl TableProvider for RowFileTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.source.table_schema().file_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(&self, state: &dyn Session, projection: Option<&Vec<usize>>, _: &[Expr], limit: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
        // A source of its own for each scan, with its own metrics.
        let source = RowFileSource::new(self.source.format(), self.source.options().clone(), self.source.origin(), self.schema());
        let config = FileScanConfigBuilder::new(self.located.store_url.clone(), Arc::new(source))
            .with_file_groups(file_groups(&self.located.files, state.config().target_partitions()))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// Gives each partition about the same number of bytes, with whole files.
fn file_groups(files: &[ObjectMeta], partitions: usize) -> Vec<FileGroup> {
    let mut by_size: Vec<&ObjectMeta> = files.iter().collect();
    by_size.sort_by_key(|file| Reverse(file.size));
    let count = partitions.clamp(1, files.len().max(1));
    let mut groups: Vec<(u64, Vec<&ObjectMeta>)> = vec![(0, Vec::new()); count];
    for file in by_size {
        if let Some((bytes, group)) = groups.iter_mut().min_by_key(|(bytes, group)| (*bytes, group.len())) {
            *bytes += file.size;
            group.push(file);
        }
    }
    let in_order = |(_, mut group): (u64, Vec<&ObjectMeta>)| {
        group.sort_by(|left, right| left.location.cmp(&right.location));
        FileGroup::new(group.into_iter().cloned().map(PartitionedFile::new_from_meta).collect())
    };
    groups.into_iter().map(in_order).collect()
}
