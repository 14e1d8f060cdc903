//! The manifests of a table's current snapshot.

use std::sync::Arc;

use arrow::array::{ArrayBuilder, ArrayRef, BooleanBuilder, ListBuilder, StringBuilder, StructBuilder};
use arrow::datatypes::{DataType, Field, Fields};
use nunatak_catalog::Table;
use nunatak_catalog::snapshot::{self, ManifestCache};
use nunatak_catalog::spec::{Datum, FieldSummary, ManifestContentType, ManifestFile, PrimitiveType, TableMetadata};
use nunatak_core::{Error, Result};

use super::{Named, bound_text, integers, long, longs, texts};

pub(super) async fn manifests(table: &Table, cache: &ManifestCache) -> Result<Vec<Named>> {
    let manifests = match table.head() {
        Some(snapshot) => snapshot::manifests(table, snapshot, cache).await?,
        None => Arc::default(),
    };
    let rows = |count: fn(&ManifestFile) -> Option<u64>| longs(manifests.iter().map(move |manifest| count(manifest).map(long)));
    Ok(vec![
        ("path", texts(manifests.iter().map(|manifest| &manifest.manifest_path))),
        ("length", longs(manifests.iter().map(|manifest| manifest.manifest_length))),
        ("partition_spec_id", integers(manifests.iter().map(|manifest| manifest.partition_spec_id))),
        ("added_snapshot_id", longs(manifests.iter().map(|manifest| manifest.added_snapshot_id))),
        ("added_data_files_count", files(&manifests, |manifest| manifest.added_files_count)),
        ("added_rows_count", rows(|manifest| manifest.added_rows_count)),
        ("existing_data_files_count", files(&manifests, |manifest| manifest.existing_files_count)),
        ("existing_rows_count", rows(|manifest| manifest.existing_rows_count)),
        ("deleted_data_files_count", files(&manifests, |manifest| manifest.deleted_files_count)),
        ("deleted_rows_count", rows(|manifest| manifest.deleted_rows_count)),
        ("partition_summaries", summaries(table, &manifests)?),
    ])
}

/// The manifests of all snapshots, one row for each snapshot that refers to one.
pub(super) async fn all_manifests(table: &Table, cache: &ManifestCache) -> Result<Vec<Named>> {
    let (snapshot_ids, manifests): (Vec<i64>, Vec<ManifestFile>) = snapshot::all_manifests(table, cache).await?.into_iter().unzip();
    // A manifest lists data files or delete files: of the others it has none.
    let of = |content: ManifestContentType, count: fn(&ManifestFile) -> Option<u32>| {
        files(&manifests, move |manifest| if manifest.content == content { count(manifest) } else { Some(0) })
    };
    let (data, deletes) = (ManifestContentType::Data, ManifestContentType::Deletes);
    Ok(vec![
        ("content", integers(manifests.iter().map(|manifest| manifest.content as i32))),
        ("path", texts(manifests.iter().map(|manifest| &manifest.manifest_path))),
        ("length", longs(manifests.iter().map(|manifest| manifest.manifest_length))),
        ("partition_spec_id", integers(manifests.iter().map(|manifest| manifest.partition_spec_id))),
        ("added_snapshot_id", longs(manifests.iter().map(|manifest| manifest.added_snapshot_id))),
        ("added_data_files_count", of(data, |manifest| manifest.added_files_count)),
        ("existing_data_files_count", of(data, |manifest| manifest.existing_files_count)),
        ("deleted_data_files_count", of(data, |manifest| manifest.deleted_files_count)),
        ("added_delete_files_count", of(deletes, |manifest| manifest.added_files_count)),
        ("existing_delete_files_count", of(deletes, |manifest| manifest.existing_files_count)),
        ("deleted_delete_files_count", of(deletes, |manifest| manifest.deleted_files_count)),
        ("partition_summaries", summaries(table, &manifests)?),
        ("reference_snapshot_id", longs(snapshot_ids)),
    ])
}

fn files(manifests: &[ManifestFile], count: impl Fn(&ManifestFile) -> Option<u32>) -> ArrayRef {
    integers(manifests.iter().map(|manifest| count(manifest).map(|count| i32::try_from(count).unwrap_or(i32::MAX))))
}

fn summaries(table: &Table, manifests: &[ManifestFile]) -> Result<ArrayRef> {
    let mut summaries = Summaries::new();
    for manifest in manifests {
        summaries.append(&table.metadata, manifest)?;
    }
    Ok(Arc::new(summaries.builder.finish()))
}

/// One list of rows per manifest, one row per partition field.
struct Summaries {
    builder: ListBuilder<StructBuilder>,
}

impl Summaries {
    fn new() -> Self {
        let fields = Fields::from(vec![
            Field::new("contains_null", DataType::Boolean, true),
            Field::new("contains_nan", DataType::Boolean, true),
            Field::new("lower_bound", DataType::Utf8, true),
            Field::new("upper_bound", DataType::Utf8, true),
        ]);
        let builders: Vec<Box<dyn ArrayBuilder>> =
            vec![Box::new(BooleanBuilder::new()), Box::new(BooleanBuilder::new()), Box::new(StringBuilder::new()), Box::new(StringBuilder::new())];
        Self { builder: ListBuilder::new(StructBuilder::new(fields, builders)) }
    }

    fn append(&mut self, metadata: &TableMetadata, manifest: &ManifestFile) -> Result<()> {
        let types = result_types(metadata, manifest.partition_spec_id);
        for (position, summary) in manifest.partitions.iter().flatten().enumerate() {
            let result_type = types.get(position).and_then(Option::as_ref);
            self.append_field(summary, result_type).ok_or_else(|| Error::internal("the columns of a partition summary have other types"))?;
        }
        self.builder.append(true);
        Ok(())
    }

    fn append_field(&mut self, summary: &FieldSummary, result_type: Option<&PrimitiveType>) -> Option<()> {
        let text = |bound: Option<&[u8]>| Some(bound_text(&Datum::try_from_bytes(bound?, result_type?.clone()).ok()?));
        let row = self.builder.values();
        row.field_builder::<BooleanBuilder>(0)?.append_value(summary.contains_null);
        row.field_builder::<BooleanBuilder>(1)?.append_option(summary.contains_nan);
        row.field_builder::<StringBuilder>(2)?.append_option(text(summary.lower_bound.as_deref().map(|bytes| &bytes[..])));
        row.field_builder::<StringBuilder>(3)?.append_option(text(summary.upper_bound.as_deref().map(|bytes| &bytes[..])));
        row.append(true);
        Some(())
    }
}

/// The types of a spec's partition values; `None` for those whose column is gone.
fn result_types(metadata: &TableMetadata, spec_id: i32) -> Vec<Option<PrimitiveType>> {
    let Some(spec) = metadata.partition_spec_by_id(spec_id) else { return Vec::new() };
    let of_field = |source_id: i32| metadata.current_schema().field_by_id(source_id);
    let result = |field: &nunatak_catalog::spec::PartitionField| {
        field.transform.result_type(&of_field(field.source_id)?.field_type).ok()?.as_primitive_type().cloned()
    };
    spec.fields().iter().map(result).collect()
}
