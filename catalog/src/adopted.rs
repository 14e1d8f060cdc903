//! Files of others that a table has taken over where they are (`add_files`), outside its own place: they may be files of another table too, which cannot be known. So they stay
//! when no snapshot needs them any more, and when the table is dropped.

use nunatak_core::Result;

use crate::properties::invalid;
use crate::spec::TableMetadata;
use crate::storage::Location;

/// The property that says where such files lie: locations of folders and files, in JSON.
pub const ADOPTED: &str = "nunatak.adopted-locations";

/// Where files lie that a table has adopted.
#[derive(Debug)]
pub(crate) struct AdoptedFiles {
    own: Location,
    places: Vec<Location>,
}

impl AdoptedFiles {
    /// Errors: `INVALID_TABLE_PROPERTY`.
    pub(crate) fn of(metadata: &TableMetadata) -> Result<Self> {
        let places = metadata.properties().get(ADOPTED).map_or_else(|| Ok(Vec::new()), |value| parse(value))?;
        let places = places.iter().map(|place| Location::parse(place)).collect::<Result<_>>()?;
        Ok(Self { own: Location::parse(metadata.location())?, places })
    }

    /// Whether a file is one of them.
    pub(crate) fn contain(&self, file: &str) -> bool {
        let Ok(file) = Location::parse(file) else { return false };
        self.is_there(&file)
    }

    fn is_there(&self, file: &Location) -> bool {
        !self.own.contains(file) && self.places.iter().any(|place| place.contains(file))
    }
}

/// The value of [`ADOPTED`] after files at a location were adopted; `None` if it is as it was.
///
/// Errors: `INVALID_TABLE_PROPERTY` for the value as it was, and those of [`Location::parse`].
pub fn with_adopted(metadata: &TableMetadata, location: &str) -> Result<Option<String>> {
    let adopted = AdoptedFiles::of(metadata)?;
    let place = Location::parse(location)?;
    if adopted.own.contains(&place) || adopted.is_there(&place) {
        return Ok(None);
    }
    let places = adopted.places.into_iter().filter(|known| !place.contains(known)).map(|known| known.to_string());
    let places: Vec<String> = places.chain([place.to_string()]).collect();
    Ok(Some(serde_json::Value::from(places).to_string()))
}

/// Checks a value of [`ADOPTED`].
///
/// Errors: `INVALID_TABLE_PROPERTY`.
pub(crate) fn check(value: &str) -> Result<()> {
    parse(value).map(|_| ())
}

fn parse(value: &str) -> Result<Vec<String>> {
    let wrong = || invalid(ADOPTED, value, "a list of locations in JSON");
    let places: Vec<String> = serde_json::from_str(value).map_err(|error| wrong().with_source(error))?;
    match places.iter().all(|place| Location::parse(place).is_ok()) {
        true => Ok(places),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::spec::{FormatVersion, NestedField, PrimitiveType, Schema, SortOrder, TableMetadataBuilder, Type, UnboundPartitionSpec};

    fn metadata(adopted: Option<&str>) -> TableMetadata {
        let schema = Schema::builder().with_fields([NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).into()]).build().unwrap();
        let properties: HashMap<String, String> = adopted.map(|value| (ADOPTED.to_owned(), value.to_owned())).into_iter().collect();
        let (spec, order) = (UnboundPartitionSpec::builder().build(), SortOrder::unsorted_order());
        let builder = TableMetadataBuilder::new(schema, spec, order, "file:///w/t".to_owned(), FormatVersion::V2, properties).unwrap();
        builder.build().unwrap().metadata
    }

    #[test]
    fn places_are_kept_once() {
        let first = with_adopted(&metadata(None), "/lake/a/b").unwrap().unwrap();
        assert_eq!(first, r#"["file:///lake/a/b"]"#);
        let with_first = metadata(Some(&first));
        assert_eq!(with_adopted(&with_first, "file:/lake/a/b/c.parquet").unwrap(), None);
        assert_eq!(with_adopted(&with_first, "/w/t/data").unwrap(), None);
        assert_eq!(with_adopted(&with_first, "/lake/c").unwrap().unwrap(), r#"["file:///lake/a/b","file:///lake/c"]"#);
        assert_eq!(with_adopted(&with_first, "/lake").unwrap().unwrap(), r#"["file:///lake"]"#);
        assert!(with_adopted(&metadata(Some("/lake")), "/lake").is_err());
    }

    #[test]
    fn files_of_the_table_itself_are_not_adopted() {
        let adopted = AdoptedFiles::of(&metadata(Some(r#"["file:///w","s3://b/x"]"#))).unwrap();
        assert!(adopted.contain("/w/other/data/1.parquet") && adopted.contain("s3a://b/x/1.parquet"));
        assert!(!adopted.contain("file:///w/t/data/1.parquet") && !adopted.contain("s3://b/xy/1.parquet"));
    }
}
