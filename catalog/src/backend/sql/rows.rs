//! The statements on the catalog's two tables. Each works within the transaction it is given.

use std::collections::BTreeMap;

use nunatak_core::{Code, Error};
use rusqlite::{Connection, OptionalExtension, Params, Result, params};

use super::super::names::namespace_not_found;
use super::database::Fault;
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
    pub(super) connection: &'a Connection,
    pub(super) catalog: &'a str,
}

impl Scope<'_> {
    pub(super) fn find(&self, name: &TableName) -> Result<Option<Row>> {
        let sql = "SELECT iceberg_type, metadata_location FROM iceberg_tables WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?";
        let row = |row: &rusqlite::Row<'_>| Ok(Row { kind: Kind::from_column(row.get(0)?), metadata_location: row.get(1)? });
        self.connection.prepare_cached(sql)?.query_row(params![self.catalog, name.namespace, name.table], row).optional()
    }

    pub(super) fn names(&self, namespace: &str, kind: Kind) -> Result<Vec<String>> {
        let sql = "SELECT table_name FROM iceberg_tables WHERE catalog_name = ? AND table_namespace = ?
            AND coalesce(iceberg_type, 'TABLE') = ? ORDER BY table_name";
        self.strings(sql, params![self.catalog, namespace, kind.name()])
    }

    pub(super) fn insert(&self, name: &TableName, kind: Kind, metadata_location: &str) -> Result<()> {
        let sql = "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, iceberg_type) VALUES (?, ?, ?, ?, ?)";
        self.execute(sql, params![self.catalog, name.namespace, name.table, metadata_location, kind.name()])?;
        Ok(())
    }

    /// Points the row to `new` if it still points to `old`.
    pub(super) fn swap(&self, name: &TableName, kind: Kind, old: &str, new: &str) -> Result<bool> {
        let sql = "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? WHERE catalog_name = ? AND table_namespace = ?
            AND table_name = ? AND metadata_location = ? AND coalesce(iceberg_type, 'TABLE') = ?";
        let changed = self.execute(sql, params![new, old, self.catalog, name.namespace, name.table, old, kind.name()])?;
        Ok(changed == 1)
    }

    pub(super) fn rename(&self, from: &TableName, to: &TableName) -> Result<()> {
        let sql = "UPDATE iceberg_tables SET table_namespace = ?, table_name = ? WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?";
        self.execute(sql, params![to.namespace, to.table, self.catalog, from.namespace, from.table])?;
        Ok(())
    }

    /// Deletes a row; whether there was one.
    pub(super) fn delete(&self, name: &TableName, kind: Kind) -> Result<bool> {
        let sql = "DELETE FROM iceberg_tables WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?
            AND coalesce(iceberg_type, 'TABLE') = ?";
        Ok(self.execute(sql, params![self.catalog, name.namespace, name.table, kind.name()])? == 1)
    }

    /// The tables of all catalogs in this database but the one of that name, each with the location of its metadata.
    pub(super) fn other_tables(&self, name: &TableName) -> Result<Vec<(TableName, String)>> {
        let sql = "SELECT table_namespace, table_name, metadata_location FROM iceberg_tables WHERE metadata_location IS NOT NULL
            AND coalesce(iceberg_type, 'TABLE') = 'TABLE' AND NOT (catalog_name = ? AND table_namespace = ? AND table_name = ?)";
        let table = |row: &rusqlite::Row<'_>| Ok((TableName { namespace: row.get(0)?, table: row.get(1)? }, row.get(2)?));
        self.connection.prepare_cached(sql)?.query_map(params![self.catalog, name.namespace, name.table], table)?.collect()
    }

    /// Where the tables and views of all catalogs in this database lie.
    pub(super) fn metadata_locations(&self) -> Result<Vec<String>> {
        self.strings("SELECT metadata_location FROM iceberg_tables WHERE metadata_location IS NOT NULL", [])
    }

    /// All namespaces with their properties. One that others made can have tables and no row of its own.
    pub(super) fn namespaces(&self) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
        let of_tables = self.strings("SELECT DISTINCT table_namespace FROM iceberg_tables WHERE catalog_name = ?", [self.catalog])?;
        let mut namespaces: BTreeMap<_, BTreeMap<_, _>> = of_tables.into_iter().map(|name| (name, BTreeMap::new())).collect();
        let sql = "SELECT namespace, property_key, property_value FROM iceberg_namespace_properties WHERE catalog_name = ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows =
            statement.query_map([self.catalog], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?)))?;
        for row in rows {
            let (name, key, value) = row?;
            let properties = namespaces.entry(name).or_default();
            if key != EXISTS {
                properties.insert(key, value.unwrap_or_default());
            }
        }
        Ok(namespaces)
    }

    pub(super) fn namespace_properties(&self, name: &str) -> Result<BTreeMap<String, String>> {
        Ok(self.namespaces()?.remove(name).unwrap_or_default())
    }

    pub(super) fn namespace_exists(&self, name: &str) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM iceberg_namespace_properties WHERE catalog_name = ?1 AND namespace = ?2)
            OR EXISTS (SELECT 1 FROM iceberg_tables WHERE catalog_name = ?1 AND table_namespace = ?2)";
        self.connection.prepare_cached(sql)?.query_row(params![self.catalog, name], |row| row.get(0))
    }

    /// Whether tables, views or namespaces lie in it.
    pub(super) fn namespace_has_content(&self, name: &str) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM iceberg_tables WHERE catalog_name = ?1
                AND (table_namespace = ?2 OR substr(table_namespace, 1, length(?2) + 1) = ?2 || '.'))
            OR EXISTS (SELECT 1 FROM iceberg_namespace_properties WHERE catalog_name = ?1 AND substr(namespace, 1, length(?2) + 1) = ?2 || '.')";
        self.connection.prepare_cached(sql)?.query_row(params![self.catalog, name], |row| row.get(0))
    }

    pub(super) fn insert_namespace(&self, name: &str, properties: &BTreeMap<String, String>) -> Result<()> {
        let exists = (EXISTS, "true");
        let given = properties.iter().map(|(key, value)| (key.as_str(), value.as_str())).filter(|(key, _)| *key != EXISTS);
        let sql = "INSERT INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value) VALUES (?, ?, ?, ?)";
        for (key, value) in given.chain([exists]) {
            self.execute(sql, params![self.catalog, name, key, value])?;
        }
        Ok(())
    }

    pub(super) fn delete_namespace(&self, name: &str) -> Result<()> {
        self.execute("DELETE FROM iceberg_namespace_properties WHERE catalog_name = ? AND namespace = ?", params![self.catalog, name])?;
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

    fn execute(&self, sql: &str, params: impl Params) -> Result<usize> {
        self.connection.prepare_cached(sql)?.execute(params)
    }

    fn strings(&self, sql: &str, params: impl Params) -> Result<Vec<String>> {
        self.connection.prepare_cached(sql)?.query_map(params, |row| row.get(0))?.collect()
    }
}
