//! The statements on the catalog's two tables, as SQLite and PostgreSQL both read them. Each works within the transaction it is given.

use std::collections::BTreeMap;

use nunatak_core::{Code, Error, Result};

use super::super::names::namespace_not_found;
use super::database::{Connection, Fault, Row as Values, Version};
use crate::table::TableName;

/// The property row that makes a namespace exist when it has no properties. Java writes it always and hides it; so do we.
const EXISTS: &str = "exists";

/// What a row of `iceberg_tables` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    View,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Table => "TABLE",
            Self::View => "VIEW",
        }
    }

    /// V0 has tables only and leaves the column empty.
    fn from_column(value: Option<String>) -> Self {
        match value.as_deref() {
            Some("VIEW") => Self::View,
            _ => Self::Table,
        }
    }
}

/// A row of `iceberg_tables`.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) kind: Kind,
    pub(super) metadata_location: Option<String>,
}

/// The rows of one catalog, within one transaction.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) connection: &'a Connection<'a>,
    pub(super) version: Version,
    pub(super) catalog: &'a str,
}

impl Scope<'_> {
    pub(super) fn find(&self, name: &TableName) -> Result<Option<Row>, Fault> {
        let column = match self.version {
            Version::V0 => "NULL",
            Version::V1 => "iceberg_type",
        };
        let sql =
            format!("SELECT {column}, metadata_location FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3");
        let rows = self.connection.query(&sql, &[self.catalog, &name.namespace, &name.table])?;
        Ok(rows.into_iter().next().map(|row| {
            let mut row = row.into_iter();
            Row { kind: Kind::from_column(row.next().flatten()), metadata_location: row.next().flatten() }
        }))
    }

    /// The names of the tables or the views in a namespace, sorted.
    pub(super) fn names(&self, namespace: &str, kind: Kind) -> Result<Vec<String>, Fault> {
        let sql = format!("SELECT table_name FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2 AND {}", self.is(kind));
        let mut names = self.strings(&sql, &[self.catalog, namespace])?;
        // A server sorts as its language does.
        names.sort_unstable();
        Ok(names)
    }

    /// The names of the tables in a namespace, sorted, each with where its metadata lies.
    pub(super) fn table_locations(&self, namespace: &str) -> Result<Vec<(String, Option<String>)>, Fault> {
        let table = self.is(Kind::Table);
        let sql = format!("SELECT table_name, metadata_location FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2 AND {table}");
        let rows = self.connection.query(&sql, &[self.catalog, namespace])?.into_iter().map(|row| {
            let mut row = row.into_iter();
            (row.next().flatten().unwrap_or_default(), row.next().flatten())
        });
        let mut tables: Vec<_> = rows.collect();
        tables.sort_unstable();
        Ok(tables)
    }

    /// Errors: `NOT_SUPPORTED` for a view where there are none.
    pub(super) fn insert(&self, name: &TableName, kind: Kind, metadata_location: &str) -> Result<(), Fault> {
        self.require_kind(kind)?;
        let values = [self.catalog, &name.namespace, &name.table, metadata_location, kind.name()];
        let columns = "catalog_name, table_namespace, table_name, metadata_location";
        match self.version {
            Version::V0 => self.connection.execute(&format!("INSERT INTO iceberg_tables ({columns}) VALUES ($1, $2, $3, $4)"), &values[..4])?,
            Version::V1 => {
                self.connection.execute(&format!("INSERT INTO iceberg_tables ({columns}, iceberg_type) VALUES ($1, $2, $3, $4, $5)"), &values)?
            }
        };
        Ok(())
    }

    /// Points the row to `new` if it still points to `old`.
    pub(super) fn swap(&self, name: &TableName, kind: Kind, old: &str, new: &str) -> Result<bool, Fault> {
        let sql = format!(
            "UPDATE iceberg_tables SET metadata_location = $1, previous_metadata_location = $2 WHERE catalog_name = $3 AND table_namespace = $4
            AND table_name = $5 AND metadata_location = $2 AND {}",
            self.is(kind)
        );
        Ok(self.connection.execute(&sql, &[new, old, self.catalog, &name.namespace, &name.table])? == 1)
    }

    pub(super) fn rename(&self, from: &TableName, to: &TableName) -> Result<(), Fault> {
        let sql =
            "UPDATE iceberg_tables SET table_namespace = $1, table_name = $2 WHERE catalog_name = $3 AND table_namespace = $4 AND table_name = $5";
        self.connection.execute(sql, &[&to.namespace, &to.table, self.catalog, &from.namespace, &from.table])?;
        Ok(())
    }

    /// Deletes a row; whether there was one.
    pub(super) fn delete(&self, name: &TableName, kind: Kind) -> Result<bool, Fault> {
        let sql = format!("DELETE FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3 AND {}", self.is(kind));
        Ok(self.connection.execute(&sql, &[self.catalog, &name.namespace, &name.table])? == 1)
    }

    /// The tables of all catalogs in this database but the one of that name, each with the location of its metadata.
    pub(super) fn other_tables(&self, name: &TableName) -> Result<Vec<(TableName, String)>, Fault> {
        let sql = format!(
            "SELECT table_namespace, table_name, metadata_location FROM iceberg_tables WHERE metadata_location IS NOT NULL AND {}
            AND NOT (catalog_name = $1 AND table_namespace = $2 AND table_name = $3)",
            self.is(Kind::Table)
        );
        let rows = self.connection.query(&sql, &[self.catalog, &name.namespace, &name.table])?;
        let tables = rows.into_iter().map(|row| {
            let [namespace, table, location] = texts(row);
            (TableName { namespace, table }, location)
        });
        Ok(tables.collect())
    }

    /// Where the tables and views of all catalogs in this database lie.
    pub(super) fn metadata_locations(&self) -> Result<Vec<String>, Fault> {
        self.strings("SELECT metadata_location FROM iceberg_tables WHERE metadata_location IS NOT NULL", &[])
    }

    /// All namespaces with their properties. One that others made can have tables and no row of its own.
    pub(super) fn namespaces(&self) -> Result<BTreeMap<String, BTreeMap<String, String>>, Fault> {
        let of_tables = self.strings("SELECT DISTINCT table_namespace FROM iceberg_tables WHERE catalog_name = $1", &[self.catalog])?;
        let mut namespaces: BTreeMap<_, BTreeMap<_, _>> = of_tables.into_iter().map(|name| (name, BTreeMap::new())).collect();
        let sql = "SELECT namespace, property_key, property_value FROM iceberg_namespace_properties WHERE catalog_name = $1";
        for row in self.connection.query(sql, &[self.catalog])? {
            let [name, key, value] = texts(row);
            let properties = namespaces.entry(name).or_default();
            if key != EXISTS {
                properties.insert(key, value);
            }
        }
        Ok(namespaces)
    }

    /// The names of all namespaces, sorted.
    pub(super) fn namespace_names(&self) -> Result<Vec<String>, Fault> {
        let sql = "SELECT table_namespace FROM iceberg_tables WHERE catalog_name = $1
            UNION SELECT namespace FROM iceberg_namespace_properties WHERE catalog_name = $1";
        let mut names = self.strings(sql, &[self.catalog])?;
        names.sort_unstable();
        Ok(names)
    }

    pub(super) fn namespace_properties(&self, name: &str) -> Result<BTreeMap<String, String>, Fault> {
        let sql = "SELECT property_key, property_value FROM iceberg_namespace_properties WHERE catalog_name = $1 AND namespace = $2";
        let rows = self.connection.query(sql, &[self.catalog, name])?;
        let properties = rows.into_iter().map(texts).map(|[key, value]| (key, value));
        Ok(properties.filter(|(key, _)| key != EXISTS).collect())
    }

    pub(super) fn namespace_exists(&self, name: &str) -> Result<bool, Fault> {
        let sql = "SELECT 'yes' WHERE EXISTS (SELECT 1 FROM iceberg_namespace_properties WHERE catalog_name = $1 AND namespace = $2)
            OR EXISTS (SELECT 1 FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2)";
        Ok(!self.connection.query(sql, &[self.catalog, name])?.is_empty())
    }

    /// Whether tables, views or namespaces lie in it.
    pub(super) fn namespace_has_content(&self, name: &str) -> Result<bool, Fault> {
        let sql = "SELECT 'yes' WHERE EXISTS (SELECT 1 FROM iceberg_tables WHERE catalog_name = $1
                AND (table_namespace = $2 OR substr(table_namespace, 1, length($2) + 1) = $2 || '.'))
            OR EXISTS (SELECT 1 FROM iceberg_namespace_properties WHERE catalog_name = $1 AND substr(namespace, 1, length($2) + 1) = $2 || '.')";
        Ok(!self.connection.query(sql, &[self.catalog, name])?.is_empty())
    }

    pub(super) fn insert_namespace(&self, name: &str, properties: &BTreeMap<String, String>) -> Result<(), Fault> {
        let exists = (EXISTS, "true");
        let given = properties.iter().map(|(key, value)| (key.as_str(), value.as_str())).filter(|(key, _)| *key != EXISTS);
        let sql = "INSERT INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value) VALUES ($1, $2, $3, $4)";
        for (key, value) in given.chain([exists]) {
            self.connection.execute(sql, &[self.catalog, name, key, value])?;
        }
        Ok(())
    }

    /// Removes and sets properties; one that is there is set anew.
    pub(super) fn set_namespace_properties(&self, name: &str, removals: &[String], updates: &BTreeMap<String, String>) -> Result<(), Fault> {
        let delete = "DELETE FROM iceberg_namespace_properties WHERE catalog_name = $1 AND namespace = $2 AND property_key = $3";
        let insert = "INSERT INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value) VALUES ($1, $2, $3, $4)";
        for key in removals.iter().chain(updates.keys()).filter(|key| *key != EXISTS) {
            self.connection.execute(delete, &[self.catalog, name, key])?;
        }
        for (key, value) in updates.iter().filter(|(key, _)| *key != EXISTS) {
            self.connection.execute(insert, &[self.catalog, name, key, value])?;
        }
        // PyIceberg writes that row only where there is no other one.
        if !self.namespace_exists(name)? {
            self.connection.execute(insert, &[self.catalog, name, EXISTS, "true"])?;
        }
        Ok(())
    }

    pub(super) fn delete_namespace(&self, name: &str) -> Result<(), Fault> {
        self.connection.execute("DELETE FROM iceberg_namespace_properties WHERE catalog_name = $1 AND namespace = $2", &[self.catalog, name])?;
        Ok(())
    }

    pub(super) fn require_namespace(&self, name: &str) -> Result<(), Fault> {
        match self.namespace_exists(name)? {
            true => Ok(()),
            false => Err(namespace_not_found(name).into()),
        }
    }

    /// That the namespace is there and the name is not taken.
    pub(super) fn require_free(&self, name: &TableName) -> Result<(), Fault> {
        self.require_namespace(&name.namespace)?;
        let what = match self.find(name)? {
            None => return Ok(()),
            Some(Row { kind: Kind::Table, .. }) => "table",
            Some(Row { kind: Kind::View, .. }) => "view",
        };
        Err(Error::new(Code::TableAlreadyExists, format!("{what} '{name}' exists already")).into())
    }

    /// That the tables can have a row of that kind.
    pub(super) fn require_kind(&self, kind: Kind) -> Result<(), Fault> {
        match (self.version, kind) {
            (Version::V0, Kind::View) => Err(Error::not_supported(format!("catalog '{}' has no views: its tables are of version V0", self.catalog))
                .with_hint("\"jdbc.schema-version\" = \"V1\" in the catalog's section adds the column that is missing")
                .into()),
            _ => Ok(()),
        }
    }

    /// The condition that rows of a kind meet.
    fn is(&self, kind: Kind) -> &'static str {
        match (self.version, kind) {
            (Version::V0, Kind::Table) => "1 = 1",
            (Version::V0, Kind::View) => "1 = 0",
            (Version::V1, Kind::Table) => "coalesce(iceberg_type, 'TABLE') = 'TABLE'",
            (Version::V1, Kind::View) => "iceberg_type = 'VIEW'",
        }
    }

    /// The values of a query's only column.
    fn strings(&self, sql: &str, values: &[&str]) -> Result<Vec<String>, Fault> {
        Ok(self.connection.query(sql, values)?.into_iter().flatten().flatten().collect())
    }
}

/// A row's columns, NULL as an empty text.
fn texts<const COLUMNS: usize>(row: Values) -> [String; COLUMNS] {
    let mut values = row.into_iter();
    std::array::from_fn(|_| values.next().flatten().unwrap_or_default())
}
