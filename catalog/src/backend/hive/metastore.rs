//! What is asked of a metastore, in our words. Names are in lower case to it, whatever they are sent in.

use std::collections::BTreeMap;

use nunatak_core::{Error, Result};
use tokio::sync::OnceCell;

use super::client::{Client, Fault};
use super::entry::{Entry, Kind, METADATA_LOCATION};
use super::method::{self, ExceptionKind};
use super::options::Options;
use super::value::{Fields, Value};
use crate::backend::Namespace;
use crate::table::TableName;

/// How many entries are asked for at once. The metastore takes several milliseconds for each.
const ENTRIES_MAX: usize = 100;

/// Properties of a namespace that a database has in fields of its own, and never without a value.
pub(super) const OF_FIELDS: [&str; 4] = [COMMENT, LOCATION, OWNER, OWNER_TYPE];
const LOCATION: &str = "location";
const COMMENT: &str = "comment";
const OWNER: &str = "hive.metastore.database.owner";
const OWNER_TYPE: &str = "hive.metastore.database.owner-type";

/// Kinds of owners, by their numbers from 1 on.
const OWNER_TYPES: [&str; 3] = ["USER", "ROLE", "GROUP"];

/// A metastore.
pub(super) struct Metastore {
    client: Client,
    version: OnceCell<Version>,
}

/// A version: its first three numbers.
type Version = [u32; 3];

impl Metastore {
    /// A metastore that is not asked for anything yet.
    pub(super) fn new(catalog: &str, options: Options) -> Self {
        Self { client: Client::new(catalog, options), version: OnceCell::new() }
    }

    /// The options.
    pub(super) fn options(&self) -> &Options {
        self.client.options()
    }

    /// The client, for calls of others.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether it compares a table with what it is expected to be when it changes it (HIVE-26882), and which version it is.
    pub(super) async fn compares(&self) -> Result<(bool, String)> {
        let ask = || async {
            let answer = self.client.call(&method::GET_VERSION, "ask the metastore for its version", Fields::new()).await;
            Ok::<_, Error>(version(answer.map_err(Fault::into_error)?.text(0).unwrap_or_default()))
        };
        let version = self.version.get_or_try_init(ask).await?;
        let [major, minor, patch] = version;
        Ok((compares(version), format!("{major}.{minor}.{patch}")))
    }

    /// The names of all databases, sorted.
    pub(super) async fn databases(&self) -> Result<Vec<String>> {
        let answer = self.client.call(&method::GET_ALL_DATABASES, "list schemas", Fields::new()).await;
        let mut names = answer.map_err(Fault::into_error)?.texts(0);
        names.sort();
        Ok(names)
    }

    /// A database, if it is there.
    pub(super) async fn database(&self, name: &str) -> Result<Option<Namespace>> {
        let arguments = Fields::new().with(1, name);
        match self.client.call(&method::GET_DATABASE, &format!("load schema '{name}'"), arguments).await {
            Ok(result) => Ok(result.fields(0).map(|database| Namespace { name: name.to_owned(), properties: properties(database) })),
            Err(fault) if fault.is(ExceptionKind::NoSuchObject) => Ok(None),
            Err(fault) => Err(fault.into_error()),
        }
    }

    /// Makes a database.
    pub(super) async fn create_database(&self, name: &str, properties: BTreeMap<String, String>) -> Result<(), Fault> {
        let database = database(name, properties, &self.options().user);
        let arguments = Fields::new().with(1, database);
        self.client.call(&method::CREATE_DATABASE, &format!("create schema '{name}'"), arguments).await.map(drop)
    }

    /// Removes properties of a database and sets others; whether it is there. All else of it stays as it came. Of two that change them at once, the later one is right.
    pub(super) async fn change_database(&self, name: &str, removals: &[String], updates: &BTreeMap<String, String>) -> Result<bool> {
        let operation = format!("change the properties of schema '{name}'");
        let answer = self.client.call(&method::GET_DATABASE, &operation, Fields::new().with(1, name)).await;
        let answer = match answer {
            Ok(mut found) => match found.take(0) {
                Some(Value::Struct(mut database)) => {
                    change(&mut database, removals, updates);
                    self.client.call(&method::ALTER_DATABASE, &operation, Fields::new().with(1, name).with(2, database)).await
                }
                _ => return Ok(false),
            },
            Err(fault) => Err(fault),
        };
        match answer {
            Ok(_) => Ok(true),
            Err(fault) if fault.is(ExceptionKind::NoSuchObject) => Ok(false),
            Err(fault) => Err(fault.into_error()),
        }
    }

    /// Drops a database that is empty, and leaves its folder.
    pub(super) async fn drop_database(&self, name: &str) -> Result<(), Fault> {
        let arguments = Fields::new().with(1, name).with(2, false).with(3, false);
        self.client.call(&method::DROP_DATABASE, &format!("drop schema '{name}'"), arguments).await.map(drop)
    }

    /// The names of Iceberg's tables or views in a database, sorted; none if there is no such database.
    pub(super) async fn names(&self, database: &str, kind: Kind) -> Result<Vec<String>> {
        let mut names = match self.filtered(database, &kind.filter()).await {
            Ok(names) => names,
            // Not every database behind a metastore can do it.
            Err(Fault::Said { .. }) => self.all_of_kind(database, kind).await?,
            Err(fault) => return Err(fault.into_error()),
        };
        names.sort();
        Ok(names)
    }

    async fn all_of_kind(&self, database: &str, kind: Kind) -> Result<Vec<String>> {
        let entries = self.entries(database, self.all_names(database).await?).await?;
        Ok(entries.iter().filter(|entry| entry.kind() == Some(kind)).map(|entry| entry.name().to_owned()).collect())
    }

    async fn filtered(&self, database: &str, filter: &str) -> Result<Vec<String>, Fault> {
        let arguments = Fields::new().with(1, database).with(2, filter).with(3, -1i16);
        let answer = self.client.call(&method::GET_TABLE_NAMES_BY_FILTER, &format!("list tables of schema '{database}'"), arguments).await;
        Ok(answer?.texts(0))
    }

    async fn all_names(&self, database: &str) -> Result<Vec<String>> {
        let answer = self.client.call(&method::GET_ALL_TABLES, &format!("list tables of schema '{database}'"), Fields::new().with(1, database)).await;
        Ok(answer.map_err(Fault::into_error)?.texts(0))
    }

    /// The entries of Iceberg's tables and views in a database whose metadata lies in or around one of the folders, as far as can be told by their paths: there can be
    /// more.
    pub(super) async fn entries_near(&self, database: &str, folders: &[String]) -> Result<Vec<Entry>> {
        let names = match self.filtered(database, &near(folders)).await {
            Ok(names) => names,
            Err(Fault::Said { .. }) => self.all_names(database).await?,
            Err(fault) => return Err(fault.into_error()),
        };
        let mut entries = self.entries(database, names).await?;
        entries.retain(|entry| entry.kind().is_some());
        Ok(entries)
    }

    async fn entries(&self, database: &str, names: Vec<String>) -> Result<Vec<Entry>> {
        let mut entries = Vec::with_capacity(names.len());
        for names in names.chunks(ENTRIES_MAX) {
            let request = Fields::new().with(1, database).with(2, Value::texts(names.iter().map(String::as_str)));
            let operation = format!("load tables of schema '{database}'");
            let mut answer =
                self.client.call(&method::GET_TABLE_OBJECTS, &operation, Fields::new().with(1, request)).await.map_err(Fault::into_error)?;
            if let Some(Value::Struct(mut result)) = answer.take(0) {
                entries.extend(result.take_structs(1).into_iter().map(Entry::new));
            }
        }
        Ok(entries)
    }

    /// The entry of a table or view, of whomever; `None` if there is none.
    pub(super) async fn entry(&self, name: &TableName) -> Result<Option<Entry>> {
        let operation = format!("load table '{name}'");
        let request = Fields::new().with(1, name.namespace.as_str()).with(2, name.table.as_str());
        let (answer, is_old) = match self.client.call(&method::GET_TABLE_REQ, &operation, Fields::new().with(1, request)).await {
            Err(fault) if fault.is(ExceptionKind::UnknownMethod) => {
                let arguments = Fields::new().with(1, name.namespace.as_str()).with(2, name.table.as_str());
                (self.client.call(&method::GET_TABLE, &operation, arguments).await, true)
            }
            answer => (answer, false),
        };
        let table = match answer {
            Ok(mut result) if is_old => result.take(0),
            Ok(mut result) => match result.take(0) {
                Some(Value::Struct(mut result)) => result.take(1),
                _ => None,
            },
            Err(fault) if fault.is(ExceptionKind::NoSuchObject) => return Ok(None),
            Err(fault) => return Err(fault.into_error()),
        };
        match table {
            Some(Value::Struct(fields)) => Ok(Some(Entry::new(fields))),
            _ => Err(Error::internal(format!("cannot {operation}: the metastore has given no table and no reason"))),
        }
    }

    /// Makes an entry.
    pub(super) async fn create(&self, operation: &str, entry: Entry) -> Result<(), Fault> {
        self.client.call(&method::CREATE_TABLE, operation, Fields::new().with(1, entry.into_fields())).await.map(drop)
    }

    /// Puts an entry in the place of the one that has this name, if its metadata still lies at `expected`. Metastores before version 4 do not look.
    pub(super) async fn alter(&self, operation: &str, name: &TableName, entry: Entry, expected: &str) -> Result<(), Fault> {
        let context = BTreeMap::from([
            (String::from("DO_NOT_UPDATE_STATS"), String::from("true")),
            (String::from("expected_parameter_key"), METADATA_LOCATION.to_owned()),
            (String::from("expected_parameter_value"), expected.to_owned()),
        ]);
        let arguments = Fields::new()
            .with(1, name.namespace.as_str())
            .with(2, name.table.as_str())
            .with(3, entry.into_fields())
            .with(4, Fields::new().with(1, Value::map(&context)));
        self.client.call(&method::ALTER_TABLE, operation, arguments).await.map(drop)
    }

    /// Takes an entry out. The files stay.
    pub(super) async fn remove(&self, operation: &str, name: &TableName) -> Result<(), Fault> {
        let arguments = Fields::new().with(1, name.namespace.as_str()).with(2, name.table.as_str()).with(3, false);
        self.client.call(&method::DROP_TABLE, operation, arguments).await.map(drop)
    }
}

/// What a metastore says when a table is not what it was expected to be; it has no exception of its own for that.
pub(super) fn is_changed(fault: &Fault) -> bool {
    matches!(fault, Fault::Said { message, .. } if message.contains("The table has been modified"))
}

fn version(text: &str) -> Version {
    let mut numbers = text.split(|letter: char| !letter.is_ascii_digit()).map(|number| number.parse().unwrap_or_default());
    std::array::from_fn(|_| numbers.next().unwrap_or_default())
}

fn compares(version: &Version) -> bool {
    let [major, minor, patch] = *version;
    major >= 4 || (major == 2 && minor == 3 && patch >= 10)
}

/// A filter for entries whose metadata files lie below one of the folders, or whose own folders are around one. Paths are compared without scheme and bucket, which have several
/// spellings; what could be a sign of the pattern is any letter.
fn near(folders: &[String]) -> String {
    let pattern = |path: &str| path.chars().map(|letter| if letter.is_alphanumeric() || letter == '/' { letter } else { '.' }).collect::<String>();
    let like = |path: &str| format!("hive_filter_field_params__{METADATA_LOCATION} LIKE \".*{}/.*\"", pattern(path));
    let mut conditions = Vec::new();
    for folder in folders.iter().map(|folder| folder.trim_end_matches('/')) {
        conditions.push(like(folder));
        let around = folder.match_indices('/').map(|(end, _)| &folder[..end]).filter(|parent| !parent.is_empty());
        conditions.extend(around.map(|parent| like(&format!("{parent}/metadata"))));
    }
    conditions.join(" or ")
}

/// The properties of a `Database`.
fn properties(database: &Fields) -> BTreeMap<String, String> {
    let mut properties = database.map(4);
    let fields = [(COMMENT, database.text(2)), (LOCATION, database.text(3)), (OWNER, database.text(6)), (OWNER_TYPE, owner_type(database.number(7)))];
    let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.filter(|value| !value.is_empty())?.to_owned())));
    properties.extend(given);
    properties
}

fn owner_type(number: Option<i64>) -> Option<&'static str> {
    let index = usize::try_from(number?.checked_sub(1)?).ok()?;
    OWNER_TYPES.get(index).copied()
}

fn owner_type_number(name: &str) -> Option<i32> {
    OWNER_TYPES.iter().zip(1i32..).find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, number)| number)
}

/// Changes properties of a `Database`. Those that are [fields](OF_FIELDS) of it are not removed.
fn change(database: &mut Fields, removals: &[String], updates: &BTreeMap<String, String>) {
    let mut parameters = database.map(4);
    parameters.retain(|name, _| !removals.contains(name));
    for (name, value) in updates {
        match name.as_str() {
            COMMENT => database.set(2, value.as_str()),
            LOCATION => database.set(3, value.as_str()),
            OWNER => database.set(6, value.as_str()),
            OWNER_TYPE => database.set(7, owner_type_number(value).unwrap_or(1)),
            _ => {
                parameters.insert(name.clone(), value.clone());
            }
        }
    }
    database.set(4, Value::map(&parameters));
}

/// A `Database` with properties.
fn database(name: &str, mut properties: BTreeMap<String, String>, user: &str) -> Fields {
    let (comment, location) = (properties.remove(COMMENT), properties.remove(LOCATION));
    let owner = properties.remove(OWNER).unwrap_or_else(|| user.to_owned());
    let owner_type = properties.remove(OWNER_TYPE).unwrap_or_default();
    let number = owner_type_number(&owner_type).unwrap_or(1);
    let mut database = Fields::new().with(1, name).with(4, Value::map(&properties)).with(6, owner).with(7, number);
    if let Some(comment) = comment {
        database.set(2, comment);
    }
    if let Some(location) = location {
        database.set(3, location);
    }
    database
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_compare_are_known() {
        for (text, expected) in
            [("4.0.1", true), ("4.1.0-SNAPSHOT", true), ("3.1.3", false), ("3.0", false), ("2.3.10", true), ("2.3.9", false), ("", false)]
        {
            assert_eq!(compares(&version(text)), expected, "{text}");
        }
        assert_eq!(version("10.2"), [10, 2, 0]);
    }

    #[test]
    fn databases_keep_their_properties() {
        let given = [("comment", "c"), ("location", "s3://b/d.db"), ("k", "v"), (OWNER, "staff"), (OWNER_TYPE, "group")];
        let given: BTreeMap<_, _> = given.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let made = database("d", given.clone(), "me");
        assert_eq!((made.text(2), made.text(3), made.text(6), made.number(7)), (Some("c"), Some("s3://b/d.db"), Some("staff"), Some(3)));
        let mut back = properties(&made);
        assert_eq!(back.insert(OWNER_TYPE.to_owned(), "group".to_owned()).as_deref(), Some("GROUP"));
        assert_eq!(back, given);
        assert_eq!(database("d", BTreeMap::new(), "me").text(6), Some("me"));
        let mut changed = made.with(10, "of a newer version");
        let updates = [("comment", "new"), ("more", "x"), (OWNER, "ada"), (OWNER_TYPE, "USER")];
        let mut expected: BTreeMap<_, _> = updates.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        change(&mut changed, &["k".to_owned()], &expected);
        expected.insert("location".to_owned(), "s3://b/d.db".to_owned());
        assert_eq!(properties(&changed), expected);
        assert_eq!(changed.text(10), Some("of a newer version"));
    }

    #[test]
    fn neighbours_are_looked_for_by_paths() {
        assert_eq!(
            near(&["/a b/t".to_owned()]),
            "hive_filter_field_params__metadata_location LIKE \".*/a.b/t/.*\" or hive_filter_field_params__metadata_location LIKE \".*/a.b/metadata/.*\""
        );
    }
}
