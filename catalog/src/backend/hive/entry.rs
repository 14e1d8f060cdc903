//! A table or a view as the metastore has it: an entry with parameters, of which some say that it is Iceberg's and where its metadata lies.

use std::collections::BTreeMap;

use super::value::{Fields, Value};
use crate::table::TableName;

/// The parameter that says whose an entry is.
const TABLE_TYPE: &str = "table_type";
/// The parameter that commits swap.
pub(super) const METADATA_LOCATION: &str = "metadata_location";
pub(super) const PREVIOUS_METADATA_LOCATION: &str = "previous_metadata_location";

/// Fields of `Table` in `hive_metastore.thrift`.
mod field {
    pub(super) const NAME: i16 = 1;
    pub(super) const DATABASE: i16 = 2;
    pub(super) const OWNER: i16 = 3;
    pub(super) const CREATED: i16 = 4;
    pub(super) const ACCESSED: i16 = 5;
    pub(super) const RETENTION: i16 = 6;
    pub(super) const DESCRIPTOR: i16 = 7;
    pub(super) const PARTITION_KEYS: i16 = 8;
    pub(super) const PARAMETERS: i16 = 9;
    pub(super) const ORIGINAL_TEXT: i16 = 10;
    pub(super) const EXPANDED_TEXT: i16 = 11;
    pub(super) const TYPE: i16 = 12;
}

/// What an entry can be to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A table of Iceberg's.
    Table,
    /// A view of Iceberg's.
    View,
}

impl Kind {
    /// As the metastore calls it.
    pub(super) fn hive_type(self) -> &'static str {
        match self {
            Self::Table => "EXTERNAL_TABLE",
            Self::View => "VIRTUAL_VIEW",
        }
    }

    /// The value of the parameter that says so.
    pub(super) fn table_type(self) -> &'static str {
        match self {
            Self::Table => "ICEBERG",
            Self::View => "ICEBERG-VIEW",
        }
    }

    /// A filter by which the metastore finds such entries itself. Other writers spell it in small letters.
    pub(super) fn filter(self) -> String {
        let spelt = self.table_type();
        let is = |value: &str| format!("hive_filter_field_params__{TABLE_TYPE} = \"{value}\"");
        format!("{} or {}", is(spelt), is(&spelt.to_ascii_lowercase()))
    }
}

/// An entry. What we know nothing of is in it as it came.
#[derive(Clone, Debug)]
pub(super) struct Entry(Fields);

impl Entry {
    /// An entry as it came.
    pub(super) fn new(fields: Fields) -> Self {
        Self(fields)
    }

    /// An entry for something new, made at a time in seconds since 1970.
    pub(super) fn make(name: &TableName, kind: Kind, owner: &str, seconds: i32) -> Self {
        let mut parameters = BTreeMap::from([(TABLE_TYPE.to_owned(), kind.table_type().to_owned())]);
        if kind == Kind::Table {
            // The type alone does not make it one.
            parameters.insert(String::from("EXTERNAL"), String::from("TRUE"));
        }
        let fields = Fields::new()
            .with(field::NAME, name.table.as_str())
            .with(field::DATABASE, name.namespace.as_str())
            .with(field::OWNER, owner)
            .with(field::CREATED, seconds)
            .with(field::ACCESSED, seconds)
            .with(field::RETENTION, i32::MAX)
            .with(field::PARTITION_KEYS, Value::structs([]))
            .with(field::PARAMETERS, Value::map(&parameters))
            .with(field::TYPE, kind.hive_type());
        Self(fields)
    }

    /// What is sent to the metastore.
    pub(super) fn into_fields(self) -> Fields {
        self.0
    }

    /// Its name within its database.
    pub(super) fn name(&self) -> &str {
        self.0.text(field::NAME).unwrap_or_default()
    }

    /// What it is; `None` if it is not Iceberg's.
    pub(super) fn kind(&self) -> Option<Kind> {
        let parameters = self.parameters();
        let table_type = parameters.get(TABLE_TYPE)?;
        let is_view = self.is_view();
        [Kind::Table, Kind::View].into_iter().find(|kind| table_type.eq_ignore_ascii_case(kind.table_type()) && (*kind == Kind::View) == is_view)
    }

    /// Whether it is a view, of whomever.
    pub(super) fn is_view(&self) -> bool {
        self.hive_type().eq_ignore_ascii_case(Kind::View.hive_type())
    }

    /// What the metastore calls it, such as `MANAGED_TABLE`.
    pub(super) fn hive_type(&self) -> &str {
        self.0.text(field::TYPE).unwrap_or_default()
    }

    /// Its parameters.
    pub(super) fn parameters(&self) -> BTreeMap<String, String> {
        self.0.map(field::PARAMETERS)
    }

    /// Where its metadata lies.
    pub(super) fn metadata_location(&self) -> Option<String> {
        self.parameters().remove(METADATA_LOCATION)
    }

    /// Whether its metadata lies there, or did before the last change of it.
    pub(super) fn has_been_at(&self, location: &str) -> bool {
        let parameters = self.parameters();
        [METADATA_LOCATION, PREVIOUS_METADATA_LOCATION].into_iter().any(|name| parameters.get(name).is_some_and(|known| known == location))
    }

    /// Gives it other parameters.
    pub(super) fn set_parameters(&mut self, parameters: &BTreeMap<String, String>) {
        self.0.set(field::PARAMETERS, Value::map(parameters));
    }

    /// Gives it another storage descriptor.
    pub(super) fn set_descriptor(&mut self, descriptor: Fields) {
        self.0.set(field::DESCRIPTOR, descriptor);
    }

    /// Gives it another name.
    pub(super) fn set_name(&mut self, name: &TableName) {
        self.0.set(field::NAME, name.table.as_str());
        self.0.set(field::DATABASE, name.namespace.as_str());
    }

    /// Gives it the text of a view.
    pub(super) fn set_text(&mut self, sql: &str) {
        self.0.set(field::ORIGINAL_TEXT, sql);
        self.0.set(field::EXPANDED_TEXT, sql);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_says_what_it_is() {
        let name = TableName::new("a", "b");
        for kind in [Kind::Table, Kind::View] {
            let entry = Entry::make(&name, kind, "me", 7);
            assert_eq!((entry.kind(), entry.is_view(), entry.name()), (Some(kind), kind == Kind::View, "b"));
        }
        let mut entry = Entry::make(&name, Kind::Table, "me", 7);
        assert_eq!(entry.parameters().get("EXTERNAL").map(String::as_str), Some("TRUE"));
        // As other writers spell it.
        entry.set_parameters(&BTreeMap::from([(TABLE_TYPE.to_owned(), "iceberg".to_owned())]));
        assert_eq!(entry.kind(), Some(Kind::Table));
        entry.set_parameters(&BTreeMap::new());
        assert_eq!((entry.kind(), entry.metadata_location()), (None, None));
        assert_eq!(
            Kind::View.filter(),
            "hive_filter_field_params__table_type = \"ICEBERG-VIEW\" or hive_filter_field_params__table_type = \"iceberg-view\""
        );
    }

    #[test]
    fn an_entry_is_known_again_after_a_change() {
        let mut entry = Entry::make(&TableName::new("a", "b"), Kind::Table, "me", 7);
        assert!(!entry.has_been_at("f:/1"));
        let locations = [(METADATA_LOCATION, "f:/2"), (PREVIOUS_METADATA_LOCATION, "f:/1")];
        entry.set_parameters(&locations.into_iter().map(|(name, location)| (name.to_owned(), location.to_owned())).collect());
        assert!(entry.has_been_at("f:/1") && entry.has_been_at("f:/2") && !entry.has_been_at("f:/3"));
    }

    #[test]
    fn what_is_unknown_stays() {
        let mut entry = Entry::new(Entry::make(&TableName::new("a", "b"), Kind::Table, "me", 7).into_fields().with(25, 42i64));
        entry.set_name(&TableName::new("c", "d"));
        assert_eq!(entry.name(), "d");
        assert_eq!(entry.into_fields().number(25), Some(42));
    }
}
