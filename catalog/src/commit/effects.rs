//! What can be seen in a table of changes of its metadata that were made.

use std::collections::BTreeSet;

use crate::backend::update;
use crate::snapshot::refs;
use crate::spec::{TableMetadata, TableUpdate};
use crate::table::Table;

/// Whether metadata is as `updates` make it of that of `base`, in all that they touch.
pub(super) fn are_seen(base: &Table, updates: &[TableUpdate], now: &TableMetadata) -> bool {
    if now.uuid() != base.metadata.uuid() {
        return false;
    }
    let built = update::apply(&base.name, (*base.metadata).clone(), base.metadata_location.as_deref(), updates.to_vec());
    built.is_ok_and(|built| updates.iter().all(|update| is_seen(update, &built.metadata, now)))
}

/// Whether one of the updates that lead to `wanted` is seen in `now`. Servers give out ids of their own, so that what has one is compared by what is in it.
fn is_seen(update: &TableUpdate, wanted: &TableMetadata, now: &TableMetadata) -> bool {
    match update {
        TableUpdate::UpgradeFormatVersion { .. } => now.format_version() >= wanted.format_version(),
        TableUpdate::AddSchema { .. } | TableUpdate::SetCurrentSchema { .. } => {
            let keys = |metadata: &TableMetadata| metadata.current_schema().identifier_field_ids().collect::<BTreeSet<_>>();
            now.current_schema().as_struct() == wanted.current_schema().as_struct() && keys(now) == keys(wanted)
        }
        TableUpdate::AddSpec { .. } | TableUpdate::SetDefaultSpec { .. } => {
            now.default_partition_spec().fields() == wanted.default_partition_spec().fields()
        }
        TableUpdate::AddSortOrder { .. } | TableUpdate::SetDefaultSortOrder { .. } => {
            now.default_sort_order().fields == wanted.default_sort_order().fields
        }
        TableUpdate::SetLocation { location } => now.location() == location,
        TableUpdate::SetProperties { updates } => updates.iter().all(|(name, value)| now.properties().get(name) == Some(value)),
        TableUpdate::RemoveProperties { removals } => removals.iter().all(|name| !now.properties().contains_key(name)),
        TableUpdate::AddSnapshot { snapshot } => now.snapshot_by_id(snapshot.snapshot_id()).is_some(),
        TableUpdate::RemoveSnapshots { snapshot_ids } => snapshot_ids.iter().all(|id| now.snapshot_by_id(*id).is_none()),
        TableUpdate::RemoveStatistics { snapshot_id } => now.statistics_for_snapshot(*snapshot_id).is_none(),
        TableUpdate::RemovePartitionStatistics { snapshot_id } => now.partition_statistics_for_snapshot(*snapshot_id).is_none(),
        TableUpdate::SetSnapshotRef { ref_name, reference } => {
            refs(now).is_ok_and(|refs| refs.get(ref_name).is_some_and(|found| found.snapshot_id == reference.snapshot_id))
        }
        TableUpdate::RemoveSnapshotRef { ref_name } => refs(now).is_ok_and(|refs| !refs.contains_key(ref_name)),
        // Others are not sent alone.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;
    use crate::spec::{FormatVersion, NestedField, PartitionSpec, PrimitiveType, Schema, SortOrder, TableMetadataBuilder, Type};
    use crate::storage::Storage;
    use crate::table::TableName;

    fn schema(names: &[&str]) -> Schema {
        let fields = (1..).zip(names).map(|(id, name)| NestedField::optional(id, *name, Type::Primitive(PrimitiveType::Long)).into());
        Schema::builder().with_fields(fields).build().unwrap()
    }

    #[test]
    fn a_change_is_seen_when_all_of_it_is() {
        let spec = PartitionSpec::unpartition_spec();
        let properties = HashMap::from([(String::from("gone"), String::from("x"))]);
        let made = TableMetadataBuilder::new(schema(&["a"]), spec, SortOrder::unsorted_order(), String::from("/t"), FormatVersion::V2, properties);
        let metadata = made.and_then(TableMetadataBuilder::build).unwrap().metadata;
        let base = Table::new(TableName::new("s", "t"), Arc::new(metadata), None, Storage::new());
        let updates = vec![
            TableUpdate::AddSchema { schema: schema(&["a", "b"]) },
            TableUpdate::SetCurrentSchema { schema_id: -1 },
            TableUpdate::SetProperties { updates: HashMap::from([(String::from("k"), String::from("v"))]) },
            TableUpdate::RemoveProperties { removals: vec![String::from("gone")] },
        ];
        let after = |updates: &[TableUpdate]| update::apply(&base.name, (*base.metadata).clone(), None, updates.to_vec()).unwrap().metadata;
        assert!(are_seen(&base, &updates, &after(&updates)));
        assert!(!are_seen(&base, &updates, &base.metadata));
        for one in [&updates[..2], &updates[2..3], &updates[..3], &updates[2..]] {
            assert!(!are_seen(&base, &updates, &after(one)), "{one:?}");
        }
    }
}
