//! Names in catalogs, and the errors about them that all back ends share.

use nunatak_core::{Code, Error, Result};

use crate::table::TableName;

/// What ends texts in C, and is in no text of PostgreSQL.
pub(super) const NUL: char = '\0';

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
    if name.contains(NUL) {
        let shown = name.replace(NUL, "\\0");
        return Err(Error::new(Code::InvalidArguments, format!("the name of a {what} has a NUL character in it: '{shown}'"))
            .with_hint("leave it out: databases, servers and file systems take none in names"));
    }
    Ok(())
}

/// A name as a folder that every file system and every reader takes.
pub(super) fn folder_name(name: &str) -> String {
    let plain = |letter: char| if letter.is_alphanumeric() || "_-.".contains(letter) { letter } else { '_' };
    name.trim_matches('.').chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_letters_that_everybody_takes() {
        assert!(check_part("übung %20 #1", "table").is_ok());
        assert_eq!(check_part("", "table").unwrap_err().code(), Code::InvalidArguments);
        let error = check_part("a\0b", "table").unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::InvalidArguments, "the name of a table has a NUL character in it: 'a\\0b'"));
    }
}
