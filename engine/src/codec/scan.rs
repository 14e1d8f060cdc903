//! Scans: `DataSourceExec` over a source of ours.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::{DataSource, DataSourceExec};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, SortOrderPushdownResult};
use datafusion_proto::physical_plan::from_proto::{parse_physical_sort_exprs, parse_protobuf_file_scan_config, parse_table_schema_from_proto};
use datafusion_proto::physical_plan::to_proto::{serialize_file_scan_config, serialize_physical_sort_exprs};
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension};
use nunatak_catalog::storage::StorageProperties;
use serde::{Deserialize, Serialize};

use super::node::{DeletesAt, IcebergScan, Kind, Rest, RowFileScan};
use super::unreadable;
use crate::error::into_datafusion;
use crate::files::{FileFormat, FileOptions, RowFileSource, SchemaOrigin};
use crate::scan::{FileDeletes, IcebergSource, ScanContext, scan_of};

/// What a scan is read with.
pub(super) struct Decoding<'a> {
    pub(super) scan: &'a ScanContext,
    pub(super) context: &'a TaskContext,
    pub(super) codec: &'a dyn PhysicalExtensionCodec,
    pub(super) converter: &'a dyn PhysicalProtoConverterExtension,
}

/// How the files of a `RowFileSource` are read.
#[derive(Serialize, Deserialize)]
struct Form {
    format: FileFormat,
    options: FileOptions,
    origin: SchemaOrigin,
}

/// The message of a scan of ours; `None` for any other node.
pub(super) fn encode(
    plan: &Arc<dyn ExecutionPlan>,
    codec: &dyn PhysicalExtensionCodec,
    converter: &dyn PhysicalProtoConverterExtension,
) -> Result<Option<Kind>> {
    let Some(config) = scan_of(plan.as_ref()) else { return Ok(None) };
    let rest = Some(Rest { limit: config.limit.map(|rows| rows as u64), preserve_order: config.preserve_order });
    if let Some(source) = config.file_source.downcast_ref::<IcebergSource>() {
        let parquet = FileScanConfigBuilder::from(config.clone())
            .with_file_groups(for_wire(source, &config.file_groups))
            .with_source(Arc::new(source.for_wire()?))
            .build();
        let parquet: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(parquet);
        let sort = source.pushed_sort().into_iter().flatten().cloned();
        return Ok(Some(Kind::IcebergScan(IcebergScan {
            parquet: Some(converter.execution_plan_to_proto(&parquet, codec)?),
            rest,
            sort: serialize_physical_sort_exprs(sort, codec, converter)?,
            deletes: deletes_of(&config.file_groups),
            pruned: Some(source.pruned()),
            storage: source.storage().properties().as_map().clone(),
        })));
    }
    if let Some(source) = config.file_source.downcast_ref::<RowFileSource>() {
        let form = Form { format: source.format(), options: source.options().clone(), origin: source.origin() };
        let form = serde_json::to_string(&form).map_err(|error| into_datafusion(nunatak_core::Error::internal(error.to_string())))?;
        let config = Some(serialize_file_scan_config(config, codec, converter)?);
        return Ok(Some(Kind::RowFileScan(RowFileScan { config, rest, form })));
    }
    Ok(None)
}

fn deletes_of(groups: &[FileGroup]) -> Vec<DeletesAt> {
    let files = (0..).zip(groups).flat_map(|(group, files)| (0..).zip(files.iter()).map(move |(file, found)| (group, file, found)));
    let deletes = files.filter_map(|(group, file, found)| {
        let deletes = found.extension::<Arc<FileDeletes>>()?;
        Some(DeletesAt { group, file, deletes: FileDeletes::clone(deletes) })
    });
    deletes.collect()
}

/// The groups with statistics, and with values for the columns that the reader makes up: these cross the wire as partition columns.
fn for_wire(source: &IcebergSource, groups: &[FileGroup]) -> Vec<FileGroup> {
    let complete = |file: &PartitionedFile| {
        let mut file = source.described(file.clone());
        file.partition_values.resize(file.partition_values.len() + source.made_up_columns(), ScalarValue::Int64(Some(0)));
        file
    };
    groups.iter().map(|group| FileGroup::new(group.iter().map(complete).collect())).collect()
}

/// The groups as they were before the wire: without those values, and with the deletes beside their files.
fn restored(groups: &[FileGroup], made_up_columns: usize, deletes: &[DeletesAt]) -> Result<Vec<FileGroup>> {
    let mut groups: Vec<Vec<PartitionedFile>> = groups.iter().map(|group| group.iter().cloned().collect()).collect();
    for file in groups.iter_mut().flatten() {
        file.partition_values.truncate(file.partition_values.len().saturating_sub(made_up_columns));
    }
    for DeletesAt { group, file, deletes } in deletes {
        let place = |number: &u64| usize::try_from(*number).unwrap_or(usize::MAX);
        let found =
            groups.get_mut(place(group)).and_then(|files| files.get_mut(place(file))).ok_or_else(|| unreadable("it has deletes of no file"))?;
        found.extensions.insert(Arc::new(deletes.clone()));
    }
    Ok(groups.into_iter().map(FileGroup::new).collect())
}

pub(super) fn decode_iceberg(scan: &IcebergScan, decoding: &Decoding<'_>) -> Result<Arc<dyn ExecutionPlan>> {
    // Before anything else: the scan within asks for its store.
    let storage = decoding.scan.storages().get(&StorageProperties::of_known(scan.storage.clone()));
    let context = PhysicalPlanDecodeContext::new(decoding.context, decoding.codec);
    let parquet = scan.parquet.as_ref().ok_or_else(|| unreadable("its files are missing"))?;
    let parquet = decoding.converter.proto_to_execution_plan(parquet, &context)?;
    let config = scan_of(parquet.as_ref()).ok_or_else(|| unreadable("it is no scan of files"))?;
    let source = config.file_source.downcast_ref::<ParquetSource>().ok_or_else(|| unreadable("it is no scan of Parquet files"))?;
    let footers = decoding.context.runtime_env().cache_manager.get_file_metadata_cache();
    let source = IcebergSource::from_wire(source, footers, decoding.scan, &storage)?;
    let source = source.with_pruned(scan.pruned.unwrap_or_default());
    let groups = restored(&config.file_groups, source.made_up_columns(), &scan.deletes)?;
    let mut source: Arc<dyn FileSource> = Arc::new(source);
    if !scan.sort.is_empty() {
        let schema = source.table_schema().table_schema();
        let order = parse_physical_sort_exprs(&scan.sort, &context, schema, decoding.converter)?;
        // It was taken once; asked again it only sets in which order row groups are tried.
        if let SortOrderPushdownResult::Inexact { inner } = source.try_pushdown_sort(&order, &config.eq_properties())? {
            source = inner;
        }
    }
    let config = FileScanConfigBuilder::from(config.clone()).with_file_groups(groups).build();
    build(config, source, scan.rest.as_ref())
}

pub(super) fn decode_row_files(scan: &RowFileScan, decoding: &Decoding<'_>) -> Result<Arc<dyn ExecutionPlan>> {
    let context = PhysicalPlanDecodeContext::new(decoding.context, decoding.codec);
    let form: Form = serde_json::from_str(&scan.form).map_err(|error| unreadable(&error.to_string()))?;
    let config = scan.config.as_ref().ok_or_else(|| unreadable("its files are missing"))?;
    let schema = parse_table_schema_from_proto(config)?;
    let source = RowFileSource::new(form.format, form.options, form.origin, Arc::clone(schema.file_schema()));
    let config = parse_protobuf_file_scan_config(config, &context, decoding.converter, Arc::new(source))?;
    let source = Arc::clone(&config.file_source);
    build(config, source, scan.rest.as_ref())
}

fn build(config: FileScanConfig, source: Arc<dyn FileSource>, rest: Option<&Rest>) -> Result<Arc<dyn ExecutionPlan>> {
    let rest = rest.ok_or_else(|| unreadable("its limit is missing"))?;
    let limit = rest.limit.map(|rows| usize::try_from(rows).unwrap_or(usize::MAX));
    let config = FileScanConfigBuilder::from(config).with_source(source).with_limit(limit).with_preserve_order(rest.preserve_order).build();
    Ok(DataSourceExec::from_data_source(config))
}
