//! Names in catalogs, and the errors about them that all back ends share.

use nunatak_core::{Code, Error, Result};

use crate::table::TableName;

pub(super) fn table_not_found(name: &TableName) -> Error {
    Error::new(Code::TableNotFound, format!("table '{name}' does not exist"))
}

pub(super) fn view_not_found(name: &TableName) -> Error {
    Error::new(Code::TableNotFound, format!("view '{name}' does not exist"))
}

pub(super) fn table_exists(name: &TableName) -> Error {
    Error::new(Code::TableAlreadyExists, format!("table '{name}' exists already"))
}

pub(super) fn namespace_not_found(name: &str) -> Error {
    Error::new(Code::SchemaNotFound, format!("schema '{name}' does not exist"))
}

pub(super) fn namespace_exists(name: &str) -> Error {
    Error::new(Code::SchemaAlreadyExists, format!("schema '{name}' exists already"))
}

pub(super) fn namespace_not_empty(name: &str) -> Error {
    Error::new(Code::SchemaNotEmpty, format!("schema '{name}' is not empty")).with_hint("drop its tables, views and schemas first")
}

/// That a part of a name is one at all.
pub(super) fn check_part(name: &str, what: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::new(Code::InvalidArguments, format!("the name of a {what} is empty")));
    }
    Ok(())
}

/// A name as a folder that every file system and every reader takes.
pub(super) fn folder_name(name: &str) -> String {
    let plain = |letter: char| if letter.is_alphanumeric() || "_-.".contains(letter) { letter } else { '_' };
    name.trim_matches('.').chars().map(plain).collect()
}
