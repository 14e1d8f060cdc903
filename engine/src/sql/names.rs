//! Names: what a name in a statement means, and the tables a query has looked up. A query looks each table up once and keeps it, so that all its parts
//! (views too) read the same snapshot.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::ResolvedTableReference;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart};
use nunatak_catalog::TableName;
use nunatak_core::{Code, Error, Result};

use super::hidden_columns::HIDDEN_MARK;
use super::relations::{RELATIONS_MAX, VERSION_MARK};
use crate::scan::metadata_tables::KINDS;

/// The schema of the listings that every catalog has.
pub(super) const INFORMATION_SCHEMA: &str = "information_schema";

/// The schema of procedures and system tables.
pub(super) const SYSTEM: &str = "system";

/// An identifier as the catalogs know it: lower case unless quoted.
pub(super) fn normalized(identifier: &Ident) -> String {
    if identifier.quote_style.is_some() { identifier.value.clone() } else { identifier.value.to_lowercase() }
}

/// The parts of a name, normalised.
pub fn parts(name: &ObjectName) -> Vec<String> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(identifier) => normalized(identifier),
            other => other.to_string(),
        })
        .collect()
}

/// The place of the column among these that a text such as `userId` or `"userId"` names: in its own spelling, or else in any.
pub fn column_place<'a>(text: &str, mut columns: impl Iterator<Item = &'a str> + Clone) -> Option<usize> {
    let text = text.trim();
    let name = match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => text.to_owned(),
    };
    let exact = columns.clone().position(|column| column == name);
    exact.or_else(|| columns.position(|column| column.to_lowercase() == name.to_lowercase()))
}

/// A name with its catalog and schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QualifiedName {
    /// The catalog.
    pub catalog: String,
    /// The schema.
    pub schema: String,
    /// The table's or view's own name.
    pub table: String,
}

impl QualifiedName {
    /// What `name` means in a session with these defaults. Errors: `MISSING_SCHEMA_NAME`, `SYNTAX_ERROR`.
    pub fn resolve(name: &ObjectName, catalog: &str, schema: Option<&str>) -> Result<Self> {
        let mut parts = parts(name);
        let table = parts.pop().unwrap_or_default();
        let named_schema = parts.pop();
        let named_catalog = parts.pop();
        if !parts.is_empty() {
            return Err(Error::new(Code::SyntaxError, format!("'{name}' has too many parts")).with_hint("write catalog.schema.table"));
        }
        let schema = named_schema.or_else(|| schema.map(str::to_owned)).ok_or_else(|| {
            Error::new(Code::MissingSchemaName, format!("'{table}' has no schema and the session has none"))
                .with_hint("write schema.table, or USE schema first")
        })?;
        Ok(Self { catalog: named_catalog.unwrap_or_else(|| catalog.to_owned()), schema, table })
    }

    /// That a new table or view may be called so: no part of the name means something else where the name is read.
    ///
    /// Errors: `INVALID_ARGUMENTS`.
    pub fn check_new(&self) -> Result<()> {
        let table = &self.table;
        let refused = |why: &str, hint: &str| {
            Err(Error::new(Code::InvalidArguments, format!("'{table}' cannot be the name of a table or view: {why}")).with_hint(hint))
        };
        if table.contains('@') {
            return refused("what stands behind '@' is a branch of a table", "choose a name without '@'");
        }
        if let Some((_, kind)) = table.rsplit_once('$').filter(|(_, kind)| KINDS.contains(kind)) {
            return refused(&format!("'${kind}' is a metadata table of a table"), "choose a name that does not end so");
        }
        if table.contains([VERSION_MARK, HIDDEN_MARK]) {
            return refused("it has a control character", "choose a name without it");
        }
        Ok(())
    }

    /// The name within its catalog.
    pub fn in_catalog(&self) -> TableName {
        TableName::new(&self.schema, &self.table)
    }
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.catalog, self.schema, self.table)
    }
}

impl From<ResolvedTableReference> for QualifiedName {
    fn from(reference: ResolvedTableReference) -> Self {
        Self { catalog: reference.catalog.to_string(), schema: reference.schema.to_string(), table: reference.table.to_string() }
    }
}

/// Whether `text` matches an SQL LIKE pattern (`%`, `_`; `\` before one of them takes it literally), ignoring case.
pub fn like_matches(pattern: Option<&str>, text: &str) -> bool {
    let characters = |text: &str| text.to_lowercase().chars().collect::<Vec<_>>();
    pattern.is_none_or(|pattern| matches(&characters(pattern), &characters(text)))
}

/// In a time that goes with the product of both lengths: a `%` takes as little as it can, and one character more when what follows does not match.
fn matches(pattern: &[char], text: &[char]) -> bool {
    let (mut wanted, mut found) = (pattern, text);
    // What follows the last `%`, and the text from where on it is looked for.
    let mut behind_any: Option<(&[char], &[char])> = None;
    loop {
        let step = match (wanted, found) {
            ([], []) => return true,
            (['%', rest @ ..], _) => {
                behind_any = Some((rest, found));
                behind_any
            }
            (['\\', literal @ ('%' | '_' | '\\'), rest @ ..], [first, others @ ..]) => (literal == first).then_some((rest, others)),
            ([one, rest @ ..], [first, others @ ..]) => (*one == '_' || one == first).then_some((rest, others)),
            _ => None,
        };
        (wanted, found) = match (step, behind_any) {
            (Some(step), _) => step,
            (None, Some((rest, [_, left @ ..]))) => {
                behind_any = Some((rest, left));
                (rest, left)
            }
            _ => return false,
        };
    }
}

/// The tables a query has looked up, as DataFusion's planner wants to find them.
#[derive(Clone, Debug, Default)]
pub(super) struct LookedUp {
    tables: Arc<Mutex<HashMap<QualifiedName, Arc<dyn TableProvider>>>>,
    numbers: Arc<AtomicUsize>,
}

impl LookedUp {
    /// The first of [`RELATIONS_MAX`] numbers that no other statement of the query uses.
    pub(super) fn reserve_numbers(&self) -> usize {
        self.numbers.fetch_add(RELATIONS_MAX, Ordering::Relaxed)
    }

    pub(super) fn get(&self, name: &QualifiedName) -> Option<Arc<dyn TableProvider>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }

    pub(super) fn insert(&self, name: QualifiedName, table: Arc<dyn TableProvider>) {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).insert(name, table);
    }

    /// The schemas of all of them.
    pub(super) fn schemas(&self) -> Vec<SchemaRef> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).values().map(|table| table.schema()).collect()
    }

    /// Whether one of the tables is such a one.
    pub(super) fn any(&self, is_it: impl Fn(&Arc<dyn TableProvider>) -> bool) -> bool {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).values().any(is_it)
    }

    fn names(&self) -> Vec<QualifiedName> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

impl CatalogProviderList for LookedUp {
    fn register_catalog(&self, _name: String, _catalog: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        self.names().into_iter().map(|name| name.catalog).collect()
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        Some(Arc::new(LookedUpCatalog { tables: self.clone(), catalog: name.to_owned() }))
    }
}

#[derive(Debug)]
struct LookedUpCatalog {
    tables: LookedUp,
    catalog: String,
}

impl CatalogProvider for LookedUpCatalog {
    fn schema_names(&self) -> Vec<String> {
        self.tables.names().into_iter().filter(|name| name.catalog == self.catalog).map(|name| name.schema).collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        Some(Arc::new(LookedUpSchema { tables: self.tables.clone(), catalog: self.catalog.clone(), schema: name.to_owned() }))
    }
}

#[derive(Debug)]
struct LookedUpSchema {
    tables: LookedUp,
    catalog: String,
    schema: String,
}

impl LookedUpSchema {
    fn qualified(&self, table: &str) -> QualifiedName {
        QualifiedName { catalog: self.catalog.clone(), schema: self.schema.clone(), table: table.to_owned() }
    }
}

#[async_trait]
impl SchemaProvider for LookedUpSchema {
    fn table_names(&self) -> Vec<String> {
        self.tables.names().into_iter().filter(|name| name.catalog == self.catalog && name.schema == self.schema).map(|name| name.table).collect()
    }

    async fn table(&self, name: &str) -> datafusion::error::Result<Option<Arc<dyn TableProvider>>> {
        Ok(self.tables.get(&self.qualified(name)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.get(&self.qualified(name)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::{QualifiedName, column_place, like_matches};

    #[test]
    fn columns_are_named_in_any_spelling() {
        let place = |text: &str| column_place(text, ["a", "A", "userId", "odd \" name"].into_iter());
        assert_eq!([place("a"), place("A"), place("\"A\"")], [Some(0), Some(1), Some(1)]);
        assert_eq!([place("USERID"), place(" \"userid\" "), place("\"odd \"\" name\"")], [Some(2), Some(2), Some(3)]);
        assert_eq!([place("nope"), place(""), place("\"")], [None, None, None]);
    }

    #[test]
    fn names_that_mean_something_else_are_not_for_new_tables() {
        let is_free = |table: &str| QualifiedName { catalog: "c".to_owned(), schema: "s".to_owned(), table: table.to_owned() }.check_new().is_ok();
        assert!(["t", "a$b", "t$FILES", "files", "Odd Näme", "$"].into_iter().all(is_free));
        assert!(!["t@b", "@", "t@main$files", "t$files", "a$b$snapshots", "t\u{1}0", "t\u{2}"].into_iter().any(is_free));
    }

    #[test]
    fn like_patterns() {
        assert!(like_matches(None, "x"));
        assert!(like_matches(Some("fl%"), "flights"));
        assert!(like_matches(Some("_lights"), "Flights"));
        assert!(like_matches(Some(r"a\_b"), "a_b"));
        assert!(!like_matches(Some(r"a\_b"), "axb"));
        assert!(!like_matches(Some("fl"), "flights"));
        assert!(like_matches(Some("%a%b_"), "xabaab!"));
        assert!(!like_matches(Some("%a%b_"), "xabaab"));
        assert!(like_matches(Some(r"%\%"), "100%") && !like_matches(Some(r"%\%"), "100"));
        assert!(like_matches(Some("%"), "") && !like_matches(Some("_%"), "") && like_matches(Some(""), ""));
        assert!(!like_matches(Some(&"%a".repeat(30)), &"a".repeat(29)) && like_matches(Some(&"%a".repeat(30)), &"a".repeat(31)));
    }
}
