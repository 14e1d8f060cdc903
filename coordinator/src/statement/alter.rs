//! `ALTER TABLE` and `COMMENT ON`: changes of a table's metadata, each made on top of what others have made of the table by then.

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::ObjectName;
use nunatak_catalog::commit::{change_metadata, ref_updates};
use nunatak_catalog::evolution::{ColumnChange, evolved, field_at};
use nunatak_catalog::name_mapping::{NAME_MAPPING, extended};
use nunatak_catalog::properties::check_places;
use nunatak_catalog::spec::{
    FormatVersion, NestedField, SortOrder, TableMetadata, TableUpdate, Transform, UnboundPartitionField, UnboundPartitionSpec,
};
use nunatak_catalog::{Catalog, Table, View};
use nunatak_core::{Code, Error, Result};
use nunatak_engine::files::OptionValue;
use nunatak_engine::sql::statement::TableChange;

use super::table_properties::{TableProperties, check, unknown};
use super::{Outcome, StatementContext, view};

pub(super) async fn run(context: &StatementContext, name: &ObjectName, if_exists: bool, change: &TableChange) -> Result<Outcome> {
    let name = context.resolve(name)?;
    let catalog = context.engine.catalog(&name.catalog)?;
    let table = match context.engine.health().one(catalog, catalog.load_table(&name.in_catalog())).await? {
        Some(table) => table,
        None if if_exists => return Ok(Outcome::done()),
        None => {
            if let Some(view) = catalog.load_view(&name.in_catalog()).await? {
                return change_view(context, catalog.as_ref(), &view, change).await;
            }
            let table = context.planner.table(&name).await?;
            return Err(Error::not_supported(format!("'{}' is a branch, and ALTER TABLE changes all of a table's", name.table))
                .with_hint(format!("name the table alone: {}", table.name)));
        }
    };
    let change = &with_default(context, &table, change)?;
    if let TableChange::Properties(properties) = change {
        check_places(catalog.as_ref(), &table, &TableProperties::parse(&given(properties), table.metadata.current_schema())?.iceberg).await?;
    }
    change_metadata(catalog.as_ref(), &table, |table| updates(table, change)).await?;
    Ok(Outcome::done())
}

/// `COMMENT ON COLUMN` is for views as well.
async fn change_view(context: &StatementContext, catalog: &dyn Catalog, view: &View, change: &TableChange) -> Result<Outcome> {
    if let TableChange::Column { change, .. } = change
        && let ColumnChange::Document { path, doc } = change.as_ref()
        && let [column] = path.as_slice()
    {
        view::comment_on_column(context, catalog, view, column, doc.as_deref()).await?;
        return Ok(Outcome::done());
    }
    Err(Error::new(Code::TableNotFound, format!("'{}' is a view", view.name.table)))
}

/// The change with its default as a value of the column's type.
fn with_default(context: &StatementContext, table: &Table, change: &TableChange) -> Result<TableChange> {
    let mut change = change.clone();
    if let TableChange::Column { change, default: Some(expression), .. } = &mut change {
        match change.as_mut() {
            ColumnChange::Add { path, field_type, default, .. } => {
                let name = path.last().cloned().unwrap_or_default();
                *default = context.planner.default_value(expression, &NestedField::optional(1, name, field_type.clone()))?;
            }
            ColumnChange::SetDefault { path, default } => {
                let field = field_at(table.metadata.current_schema(), path)?;
                *default = context.planner.default_value(expression, field)?;
            }
            _ => {}
        }
    }
    Ok(change)
}

fn updates(table: &Table, change: &TableChange) -> Result<Vec<TableUpdate>> {
    let metadata = &table.metadata;
    match change {
        TableChange::Column { change, tolerant, .. } => match evolved(metadata, change) {
            Ok(schema) if schema.as_struct() == metadata.current_schema().as_struct() => Ok(Vec::new()),
            Ok(schema) => {
                let mut updates = Vec::new();
                if let Some(mapping) = metadata.properties().get(NAME_MAPPING) {
                    updates.push(set([(NAME_MAPPING.to_owned(), extended(mapping, &schema)?)].into()));
                }
                updates.extend([TableUpdate::AddSchema { schema }, TableUpdate::SetCurrentSchema { schema_id: LAST_ADDED }]);
                Ok(updates)
            }
            Err(error) if *tolerant && is_tolerated(change, error.code()) => Ok(Vec::new()),
            Err(error) => Err(error),
        },
        TableChange::Comment(None) => Ok(vec![TableUpdate::RemoveProperties { removals: vec![COMMENT.to_owned()] }]),
        TableChange::Comment(Some(text)) => Ok(vec![set([(COMMENT.to_owned(), text.clone())].into())]),
        TableChange::Properties(properties) => with_properties(metadata, properties),
        TableChange::Ref(change) => ref_updates(table, change),
    }
}

const COMMENT: &str = "comment";

/// In an update: what an update before it has added.
const LAST_ADDED: i32 = -1;

/// Whether `IF EXISTS` or `IF NOT EXISTS` is about this error.
fn is_tolerated(change: &ColumnChange, code: Code) -> bool {
    match change {
        ColumnChange::Add { .. } => code == Code::ColumnAlreadyExists,
        _ => code == Code::ColumnNotFound,
    }
}

fn set(updates: HashMap<String, String>) -> TableUpdate {
    TableUpdate::SetProperties { updates }
}

/// Those that have a value.
fn given(properties: &[(String, Option<OptionValue>)]) -> Vec<(String, OptionValue)> {
    properties.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect()
}

fn with_properties(metadata: &TableMetadata, properties: &[(String, Option<OptionValue>)]) -> Result<Vec<TableUpdate>> {
    let parsed = TableProperties::parse(&given(properties), metadata.current_schema())?;
    let mut updates = Vec::new();
    for (name, value) in properties {
        match (name.as_str(), value) {
            ("partitioning", _) => updates.extend(repartitioned(metadata, &parsed.spec)?),
            ("sorted_by", _) => updates.extend(resorted(metadata, &parsed.sort_order)),
            ("format_version", Some(_)) => updates.extend(upgraded(metadata, parsed.format_version)?),
            ("extra_properties", Some(_)) => {
                let mut all = metadata.properties().clone();
                all.extend(parsed.iceberg.clone());
                check(&parsed.iceberg, &all)?;
                updates.push(set(parsed.iceberg.clone()));
            }
            ("format", _) => {}
            ("format_version" | "extra_properties", None) => {
                return Err(
                    Error::new(Code::InvalidTableProperty, format!("table property '{name}' cannot be set to DEFAULT")).with_hint("write its value")
                );
            }
            ("location", _) => {
                return Err(Error::not_supported("the location of a table cannot be changed: its files are there"));
            }
            _ => return Err(unknown(name)),
        }
    }
    Ok(updates)
}

/// Another default partition spec, for rows that are written from now on. A field that an older spec has too keeps its id and its name; the names of others have their
/// numbers in them, as in Java, so that `bucket(id, 8)` is not called like `bucket(id, 4)` was.
fn repartitioned(metadata: &TableMetadata, wanted: &UnboundPartitionSpec) -> Result<Vec<TableUpdate>> {
    let current = metadata.default_partition_spec();
    let is_current = current.fields().len() == wanted.fields().len()
        && current.fields().iter().zip(wanted.fields()).all(|(is, wanted)| (is.source_id, is.transform) == (wanted.source_id, wanted.transform));
    if is_current {
        return Ok(Vec::new());
    }
    if metadata.format_version() == FormatVersion::V1 {
        return Err(Error::not_supported("the partitioning of a table of format version 1 cannot be changed")
            .with_hint("ALTER TABLE ... SET PROPERTIES format_version = 2 first"));
    }
    let known = |source_id: i32, transform: Transform| {
        let mut fields = metadata.partition_specs_iter().flat_map(|spec| spec.fields());
        fields.find(|field| field.source_id == source_id && field.transform == transform)
    };
    let fields = wanted.fields().iter().map(|field| match known(field.source_id, field.transform) {
        Some(known) => UnboundPartitionField { field_id: Some(known.field_id), name: known.name.clone(), ..field.clone() },
        None => match field.transform {
            Transform::Bucket(number) | Transform::Truncate(number) => {
                UnboundPartitionField { name: format!("{}_{number}", field.name), ..field.clone() }
            }
            _ => field.clone(),
        },
    });
    let invalid = |error: nunatak_catalog::spec::IcebergError| Error::new(Code::InvalidTableProperty, error.message().to_owned());
    let spec = UnboundPartitionSpec::builder().add_partition_fields(fields).map_err(invalid)?.build();
    Ok(vec![TableUpdate::AddSpec { spec }, TableUpdate::SetDefaultSpec { spec_id: LAST_ADDED }])
}

fn resorted(metadata: &TableMetadata, wanted: &SortOrder) -> Vec<TableUpdate> {
    if metadata.default_sort_order().fields == wanted.fields {
        return Vec::new();
    }
    vec![TableUpdate::AddSortOrder { sort_order: wanted.clone() }, TableUpdate::SetDefaultSortOrder { sort_order_id: i64::from(LAST_ADDED) }]
}

fn upgraded(metadata: &TableMetadata, wanted: FormatVersion) -> Result<Vec<TableUpdate>> {
    let current = metadata.format_version();
    if wanted < current {
        let (wanted, current) = (wanted as u8, current as u8);
        return Err(Error::new(Code::InvalidTableProperty, format!("a table of format version {current} cannot become one of version {wanted}")));
    }
    Ok(if wanted == current { Vec::new() } else { vec![TableUpdate::UpgradeFormatVersion { format_version: wanted }] })
}
