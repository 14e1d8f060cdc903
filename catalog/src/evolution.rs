//! Schema evolution: from a table's schema to the next one. Columns keep their ids, so that files written before need no change (table spec, "Schema
//! Evolution").

use std::sync::Arc;

use nunatak_core::{Code, Error, Result};

use crate::reserved_columns::check_name;
use crate::spec::{
    FormatVersion, ListType, Literal, MapType, NestedField, NestedFieldRef, PartitionField, PrimitiveLiteral, PrimitiveType, Schema, Struct,
    StructType, TableMetadata, Transform, Type,
};

/// A change of one column. A path names a column, then fields in it; `element`, `key` and `value` lead into lists and maps. Names are found in any case.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnChange {
    /// A new column, which has its default, or NULL, in all rows that are there. The ids in its type are placeholders.
    Add {
        /// Its own name last.
        path: Vec<String>,
        /// Its type.
        field_type: Type,
        /// Its value in rows that are there, and in new rows that say nothing of it (format version 3).
        default: Option<Literal>,
        /// Whether it does not take NULL.
        required: bool,
        /// Its comment.
        doc: Option<String>,
        /// Where it goes; at the end without it.
        position: Option<Position>,
    },
    /// A column goes.
    Drop {
        /// The column.
        path: Vec<String>,
    },
    /// A column gets another name.
    Rename {
        /// The column.
        path: Vec<String>,
        /// Its new name.
        to: String,
    },
    /// A column gets a wider type.
    Retype {
        /// The column.
        path: Vec<String>,
        /// Its new type.
        to: Type,
    },
    /// A column takes NULL from now on.
    MakeOptional {
        /// The column.
        path: Vec<String>,
    },
    /// New rows get another value, or NULL, in a column that they say nothing of (format version 3). Rows that are there keep theirs.
    SetDefault {
        /// The column.
        path: Vec<String>,
        /// The value.
        default: Option<Literal>,
    },
    /// A column gets another comment, or none.
    Document {
        /// The column.
        path: Vec<String>,
        /// Its comment.
        doc: Option<String>,
    },
    /// A column goes to another place among its siblings.
    Move {
        /// The column.
        path: Vec<String>,
        /// The place.
        position: Position,
    },
}

/// A place among columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// Before all others.
    First,
    /// Behind this one.
    After(String),
}

impl ColumnChange {
    /// The column that it is about.
    pub fn path(&self) -> &[String] {
        match self {
            Self::Add { path, .. }
            | Self::Drop { path }
            | Self::Rename { path, .. }
            | Self::Retype { path, .. }
            | Self::MakeOptional { path }
            | Self::SetDefault { path, .. }
            | Self::Document { path, .. }
            | Self::Move { path, .. } => path,
        }
    }
}

/// The schema of a table after a change of its current one.
///
/// Errors: `COLUMN_NOT_FOUND`, `COLUMN_ALREADY_EXISTS`, `TYPE_MISMATCH` for a type that files of the old one cannot be read as, `NOT_SUPPORTED` for a column that
/// the table's partitioning, one that it had, or its sort order needs, and for a name that Iceberg reserves.
pub fn evolved(metadata: &TableMetadata, change: &ColumnChange) -> Result<Schema> {
    let schema = metadata.current_schema();
    let mut next_id = metadata.last_column_id();
    if matches!(change, ColumnChange::Add { default: Some(_), .. } | ColumnChange::SetDefault { default: Some(_), .. }) {
        check_defaults(metadata.format_version())?;
    }
    let fields = at(schema.as_struct().fields().to_vec(), change.path(), &mut |siblings, name| {
        let dropped = |field: &NestedField| check_unused(metadata, field);
        apply(change, siblings, name, &mut next_id, &dropped)
    })?;
    if fields.is_empty() {
        return Err(Error::not_supported("the only column of a table cannot be dropped"));
    }
    let built = Schema::builder().with_fields(fields).with_identifier_field_ids(schema.identifier_field_ids()).build();
    built.map_err(|error| Error::new(Code::InvalidArguments, error.message().to_owned()).with_source(error))
}

/// A type with ids of its own for all fields within it, counted on from `last_id`: those of a level first, then those inside, as Java does.
pub fn with_fresh_ids(field_type: &Type, last_id: &mut i32) -> Type {
    let fresh = |field: &NestedFieldRef, last_id: &mut i32| {
        *last_id += 1;
        NestedField { id: *last_id, ..NestedField::clone(field) }
    };
    let finish = |mut field: NestedField, last_id: &mut i32| {
        *field.field_type = with_fresh_ids(&field.field_type, last_id);
        Arc::new(field)
    };
    match field_type {
        Type::Primitive(primitive) => Type::Primitive(primitive.clone()),
        Type::Struct(fields) => {
            let fields: Vec<_> = fields.fields().iter().map(|field| fresh(field, last_id)).collect();
            Type::Struct(StructType::new(fields.into_iter().map(|field| finish(field, last_id)).collect()))
        }
        Type::List(list) => {
            let element = fresh(&list.element_field, last_id);
            Type::List(ListType { element_field: finish(element, last_id) })
        }
        Type::Map(map) => {
            let (key, value) = (fresh(&map.key_field, last_id), fresh(&map.value_field, last_id));
            Type::Map(MapType { key_field: finish(key, last_id), value_field: finish(value, last_id) })
        }
    }
}

type Siblings = Vec<NestedFieldRef>;

/// Changes the fields among which the last part of `path` is, and puts together again what is around them.
fn at(mut fields: Siblings, path: &[String], change: &mut dyn FnMut(Siblings, &str) -> Result<Siblings>) -> Result<Siblings> {
    let Some((name, rest)) = path.split_first() else { return Err(Error::internal("a column has no name")) };
    if rest.is_empty() {
        return change(fields, name);
    }
    let position = position(&fields, name)?;
    let mut field = NestedField::clone(&fields[position]);
    *field.field_type = match field.field_type.as_ref() {
        Type::Primitive(_) => return Err(not_found(&rest[0], &[]).with_context("column", name.clone())),
        Type::Struct(inner) => {
            let inner = at(inner.fields().to_vec(), rest, change)?;
            if inner.is_empty() {
                return Err(Error::not_supported(format!("the only field of '{name}' cannot be dropped")));
            }
            Type::Struct(StructType::new(inner))
        }
        Type::List(list) => {
            let inner = same_fields(vec![Arc::clone(&list.element_field)], rest, change)?;
            let [element_field] = inner.try_into().map_err(|_| fixed(name))?;
            Type::List(ListType { element_field })
        }
        Type::Map(map) => {
            if rest.len() > 1 && rest[0].eq_ignore_ascii_case("key") {
                return Err(Error::not_supported(format!("the keys of map '{name}' cannot be changed")));
            }
            let inner = same_fields(vec![Arc::clone(&map.key_field), Arc::clone(&map.value_field)], rest, change)?;
            let [key_field, value_field] = inner.try_into().map_err(|_| fixed(name))?;
            Type::Map(MapType { key_field, value_field })
        }
    };
    fields[position] = Arc::new(field);
    Ok(fields)
}

/// As [`at`], for a list or a map, whose fields are what they are.
fn same_fields(fields: Siblings, path: &[String], change: &mut dyn FnMut(Siblings, &str) -> Result<Siblings>) -> Result<Siblings> {
    let names = |fields: &Siblings| fields.iter().map(|field| field.name.clone()).collect::<Vec<_>>();
    let before = names(&fields);
    let after = at(fields, path, change)?;
    if names(&after) != before {
        return Err(fixed(&path[0]));
    }
    Ok(after)
}

fn fixed(name: &str) -> Error {
    Error::not_supported(format!("the fields of a list or a map cannot be added, renamed or dropped: '{name}'"))
}

fn position(fields: &[NestedFieldRef], name: &str) -> Result<usize> {
    find(fields, name).ok_or_else(|| not_found(name, fields))
}

fn find(fields: &[NestedFieldRef], name: &str) -> Option<usize> {
    let exact = fields.iter().position(|field| field.name == name);
    exact.or_else(|| fields.iter().position(|field| field.name.to_lowercase() == name.to_lowercase()))
}

fn not_found(name: &str, among: &[NestedFieldRef]) -> Error {
    let error = Error::new(Code::ColumnNotFound, format!("column '{name}' does not exist"));
    let names: Vec<&str> = among.iter().map(|field| field.name.as_str()).collect();
    if names.is_empty() { error } else { error.with_hint(format!("there are {}", names.join(", "))) }
}

/// Makes a change where the column is, or is to be: `name` among `fields`.
fn apply(
    change: &ColumnChange,
    mut fields: Siblings,
    name: &str,
    next_id: &mut i32,
    check_dropped: &dyn Fn(&NestedField) -> Result<()>,
) -> Result<Siblings> {
    let free = |fields: &Siblings, name: &str| match find(fields, name) {
        Some(_) => Err(Error::new(Code::ColumnAlreadyExists, format!("column '{name}' exists already"))),
        None => Ok(()),
    };
    // Fields within rows may have any name.
    let is_column = change.path().len() == 1;
    if let ColumnChange::Add { field_type, doc, position, default, required, .. } = change {
        free(&fields, name)?;
        if is_column {
            check_name(name)?;
        }
        if *required && default.is_none() {
            return Err(Error::not_supported("ADD COLUMN ... NOT NULL is not supported without a default: rows that are there have no value for it")
                .with_hint("in format version 3 DEFAULT gives them one: ADD COLUMN name type DEFAULT value NOT NULL"));
        }
        *next_id += 1;
        let mut field = NestedField::new(*next_id, name, with_fresh_ids(field_type, next_id), *required);
        field.doc.clone_from(doc);
        field.initial_default.clone_from(default);
        field.write_default.clone_from(default);
        return placed(fields, Arc::new(field), position.as_ref());
    }
    let index = position(&fields, name)?;
    let mut field = NestedField::clone(&fields[index]);
    match change {
        ColumnChange::Add { .. } => {}
        ColumnChange::Drop { .. } => {
            check_dropped(&field)?;
            fields.remove(index);
            return Ok(fields);
        }
        ColumnChange::Move { position, .. } => {
            if matches!(position, Position::After(other) if find(&fields, other) == Some(index)) {
                return Ok(fields);
            }
            let field = fields.remove(index);
            return placed(fields, field, Some(position));
        }
        ColumnChange::Rename { to, .. } => {
            if find(&fields, to).is_some_and(|other| other != index) {
                free(&fields, to)?;
            }
            if is_column {
                check_name(to)?;
            }
            field.name.clone_from(to);
        }
        ColumnChange::Retype { to, .. } => {
            *field.field_type = promoted(&field, to)?;
            field.initial_default = field.initial_default.map(|default| widened(default, to));
            field.write_default = field.write_default.map(|default| widened(default, to));
        }
        ColumnChange::SetDefault { default, .. } => field.write_default.clone_from(default),
        ColumnChange::MakeOptional { .. } => field.required = false,
        ColumnChange::Document { doc, .. } => field.doc.clone_from(doc),
    }
    fields[index] = Arc::new(field);
    Ok(fields)
}

fn placed(mut fields: Siblings, field: NestedFieldRef, place: Option<&Position>) -> Result<Siblings> {
    let index = match place {
        None => fields.len(),
        Some(Position::First) => 0,
        Some(Position::After(other)) => position(&fields, other)? + 1,
    };
    fields.insert(index, field);
    Ok(fields)
}

/// The type `to`, if values of the field's type are values of it (table spec, "Type promotion").
pub(crate) fn promoted(field: &NestedField, to: &Type) -> Result<Type> {
    use PrimitiveType::{Decimal, Double, Float, Int, Long};
    let is_wider = match (field.field_type.as_ref(), to) {
        (from, to) if from == to => true,
        (Type::Primitive(from), Type::Primitive(to)) => match (from, to) {
            (Int, Long) | (Float, Double) => true,
            (Decimal { precision, scale }, Decimal { precision: to_precision, scale: to_scale }) => scale == to_scale && precision <= to_precision,
            _ => false,
        },
        _ => false,
    };
    if is_wider {
        return Ok(to.clone());
    }
    let message = format!("column '{}' of type {} cannot become {to}", field.name, field.field_type);
    Err(Error::new(Code::TypeMismatch, message)
        .with_hint("types become wider only: int to long, float to double, decimals of the same scale to more digits"))
}

/// A value of a column that gets a wider type.
pub(crate) fn widened(value: Literal, to: &Type) -> Literal {
    match (value, to) {
        (Literal::Primitive(PrimitiveLiteral::Int(value)), Type::Primitive(PrimitiveType::Long)) => Literal::long(i64::from(value)),
        (Literal::Primitive(PrimitiveLiteral::Float(value)), Type::Primitive(PrimitiveType::Double)) => Literal::double(f64::from(value.0)),
        (value, _) => value,
    }
}

/// Partition values as they are compared within a partition spec: files that were written before a column got a wider type have its values in the older one, and are of
/// the same partitions as those that were written since.
pub fn comparable_partition(partition: &Struct) -> Struct {
    let value = |value: &Option<Literal>| match value {
        Some(Literal::Primitive(PrimitiveLiteral::Int(value))) => Some(Literal::long(i64::from(*value))),
        Some(Literal::Primitive(PrimitiveLiteral::Float(value))) => Some(Literal::double(f64::from(value.0))),
        other => other.clone(),
    };
    partition.fields().iter().map(value).collect()
}

/// That columns of a table may have defaults.
///
/// Errors: `NOT_SUPPORTED` below format version 3, whose readers would not know of them.
pub fn check_defaults(version: FormatVersion) -> Result<()> {
    match version {
        FormatVersion::V3 => Ok(()),
        FormatVersion::V1 | FormatVersion::V2 => {
            Err(Error::not_supported(format!("columns of a table of format version {} have no defaults", version as u8))
                .with_hint("format_version = 3 has them"))
        }
    }
}

/// The field at a path of names, in any case.
///
/// Errors: `COLUMN_NOT_FOUND`.
pub fn field_at<'a>(schema: &'a Schema, path: &[String]) -> Result<&'a NestedFieldRef> {
    let mut fields = schema.as_struct().fields();
    let mut found = None;
    for name in path {
        let field = &fields[position(fields, name)?];
        found = Some(field);
        fields = match field.field_type.as_ref() {
            Type::Struct(inner) => inner.fields(),
            _ => &[],
        };
    }
    found.ok_or_else(|| Error::internal("a column has no name"))
}

/// Refuses to drop what the table is partitioned, sorted or identified by, and what it was partitioned by: other engines need the type of the column for files from
/// then.
fn check_unused(metadata: &TableMetadata, field: &NestedField) -> Result<()> {
    let mut ids = vec![field.id];
    collect_ids(&field.field_type, &mut ids);
    let refused = |why: &str| Error::not_supported(format!("column '{}' cannot be dropped: {why} by it", field.name));
    let is_source = |partition: &PartitionField| ids.contains(&partition.source_id);
    if metadata.default_partition_spec().fields().iter().any(is_source) {
        return Err(refused("the table is partitioned"));
    }
    let mut older = metadata.partition_specs_iter().flat_map(|spec| spec.fields());
    if older.any(|partition| partition.transform != Transform::Void && is_source(partition)) {
        return Err(refused("the table was partitioned").with_hint("CREATE TABLE ... AS SELECT makes a table without it"));
    }
    if metadata.default_sort_order().fields.iter().any(|sort| ids.contains(&sort.source_id)) {
        return Err(refused("the table is sorted"));
    }
    if metadata.current_schema().identifier_field_ids().any(|id| ids.contains(&id)) {
        return Err(refused("the table is identified"));
    }
    Ok(())
}

fn collect_ids(field_type: &Type, ids: &mut Vec<i32>) {
    let inner: Vec<&NestedFieldRef> = match field_type {
        Type::Primitive(_) => Vec::new(),
        Type::Struct(inner) => inner.fields().iter().collect(),
        Type::List(list) => vec![&list.element_field],
        Type::Map(map) => vec![&map.key_field, &map.value_field],
    };
    for field in inner {
        ids.push(field.id);
        collect_ids(&field.field_type, ids);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::spec::{SortOrder, TableMetadataBuilder, UnboundPartitionSpec};

    fn table() -> TableMetadata {
        let long = || Type::Primitive(PrimitiveType::Long);
        let list = Type::List(ListType::new(NestedField::list_element(4, Type::Primitive(PrimitiveType::Int), false).into()));
        let inner = Type::Struct(StructType::new(vec![Arc::new(NestedField::optional(5, "x", long()))]));
        let fields = [NestedField::required(1, "id", long()), NestedField::optional(2, "tags", list), NestedField::optional(3, "r", inner)];
        let schema = Schema::builder().with_fields(fields.map(Arc::new)).build().unwrap();
        let (spec, order) = (UnboundPartitionSpec::builder().build(), SortOrder::unsorted_order());
        let builder = TableMetadataBuilder::new(schema, spec, order, "file:///t".to_owned(), FormatVersion::V2, HashMap::new()).unwrap();
        builder.build().unwrap().metadata
    }

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn new_columns_get_ids_that_were_never_used() {
        let table = table();
        let field_type = Type::Struct(StructType::new(vec![Arc::new(NestedField::optional(0, "a", Type::Primitive(PrimitiveType::Date)))]));
        let change = ColumnChange::Add { path: path("r.y"), field_type, default: None, required: false, doc: None, position: Some(Position::First) };
        let after = evolved(&table, &change).unwrap();
        let last = table.last_column_id();
        assert_eq!(after.name_by_field_id(last + 1), Some("r.y"));
        assert_eq!(after.name_by_field_id(last + 2), Some("r.y.a"));
        assert_eq!(after.highest_field_id(), last + 2);
        let Type::Struct(r) = after.field_by_name("r").unwrap().field_type.as_ref() else { panic!("no struct") };
        assert_eq!(r.fields().iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), ["y", "x"]);
    }

    #[test]
    fn columns_keep_their_ids() {
        let table = table();
        let id = |name: &str| table.current_schema().field_id_by_name(name);
        let renamed = evolved(&table, &ColumnChange::Rename { path: path("R.X"), to: "z".to_owned() }).unwrap();
        assert_eq!(renamed.field_id_by_name("r.z"), id("r.x"));
        let wider = evolved(&table, &ColumnChange::Retype { path: path("tags.element"), to: Type::Primitive(PrimitiveType::Long) }).unwrap();
        assert_eq!(wider.field_id_by_name("tags.element"), id("tags.element"));
        let moved = evolved(&table, &ColumnChange::Move { path: path("id"), position: Position::After("r".to_owned()) }).unwrap();
        assert_eq!(moved.as_struct().fields().iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), ["tags", "r", "id"]);
    }

    #[test]
    fn columns_of_older_partition_specs_stay() {
        let table = table();
        let id = |name: &str| table.current_schema().field_id_by_name(name).unwrap();
        let spec = UnboundPartitionSpec::builder().add_partition_field(id("r.x"), "x", Transform::Identity).unwrap();
        let spec = spec.add_partition_field(id("id"), "id_null", Transform::Void).unwrap().build();
        let builder = table.into_builder(None).add_default_partition_spec(spec).unwrap();
        let table = builder.set_default_partition_spec(0).unwrap().build().unwrap().metadata;
        let error = evolved(&table, &ColumnChange::Drop { path: path("r") }).unwrap_err();
        assert!(error.message().contains("the table was partitioned by it"), "{error}");
        assert!(evolved(&table, &ColumnChange::Drop { path: path("id") }).is_ok());
        assert!(evolved(&table, &ColumnChange::Drop { path: path("tags") }).is_ok());
    }

    #[test]
    fn what_files_cannot_be_read_as_is_refused() {
        let table = table();
        let code = |change: ColumnChange| evolved(&table, &change).unwrap_err().code();
        let int = || Type::Primitive(PrimitiveType::Int);
        assert_eq!(code(ColumnChange::Retype { path: path("id"), to: int() }), Code::TypeMismatch);
        assert_eq!(code(ColumnChange::Drop { path: path("tags.element") }), Code::NotSupported);
        assert_eq!(code(ColumnChange::Drop { path: path("r.x") }), Code::NotSupported);
        assert_eq!(code(ColumnChange::Drop { path: path("id.x") }), Code::ColumnNotFound);
        assert_eq!(code(ColumnChange::Rename { path: path("id"), to: "TAGS".to_owned() }), Code::ColumnAlreadyExists);
    }
}
