//! Session properties: their names, what they mean, and their values checked.

use std::collections::BTreeMap;

use nunatak_core::{Code, Error, Result};
use nunatak_engine::error::suggest;

use crate::execution::Mode;

/// The most partitions that a session may ask for.
const TASK_CONCURRENCY_MAX: usize = 4_096;

/// A session property.
pub struct Property {
    /// Its name.
    pub name: &'static str,
    /// Its value unless set.
    pub default: &'static str,
    /// Its type, by Trino's name.
    pub data_type: &'static str,
    /// What it does.
    pub description: &'static str,
}

/// All session properties, by name.
pub const PROPERTIES: &[Property] = &[
    Property {
        name: "execution_mode",
        default: "auto",
        data_type: "varchar",
        description: "How plans are run: auto, local, pipelined or fault_tolerant",
    },
    Property {
        name: "task_concurrency",
        default: "0",
        data_type: "bigint",
        description: "Partitions that a query is split into; 0 means one a slot",
    },
];

/// What the properties of a session say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The mode asked for; `None` for `auto`.
    pub execution_mode: Option<Mode>,
    /// Partitions asked for; `None` for one a slot.
    pub task_concurrency: Option<usize>,
}

impl Settings {
    /// Reads the properties of a session. Errors: `INVALID_SESSION_PROPERTY`.
    pub fn from_properties(properties: &BTreeMap<String, String>) -> Result<Self> {
        let mut settings = Self::default();
        for (name, value) in properties {
            settings.set(name, value)?;
        }
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let value = value.trim().to_lowercase();
        match name {
            "execution_mode" => self.execution_mode = execution_mode(&value)?,
            "task_concurrency" => self.task_concurrency = task_concurrency(&value)?,
            _ => return Err(unknown(name)),
        }
        Ok(())
    }
}

/// Checks one property. Errors: `INVALID_SESSION_PROPERTY`.
pub fn check(name: &str, value: &str) -> Result<()> {
    Settings::default().set(name, value)
}

/// Checks the name of a property. Errors: `INVALID_SESSION_PROPERTY`.
pub fn check_name(name: &str) -> Result<()> {
    if PROPERTIES.iter().any(|property| property.name == name) { Ok(()) } else { Err(unknown(name)) }
}

fn unknown(name: &str) -> Error {
    let unknown = Error::new(Code::InvalidSessionProperty, format!("session property '{name}' does not exist"));
    suggest(unknown.with_hint("SHOW SESSION lists them"), name, PROPERTIES.iter().map(|property| property.name))
}

fn wrong(name: &str, value: &str, wanted: &str) -> Error {
    Error::new(Code::InvalidSessionProperty, format!("'{value}' is not a value of session property '{name}'")).with_hint(wanted.to_owned())
}

fn execution_mode(value: &str) -> Result<Option<Mode>> {
    match (value, Mode::from_name(value)) {
        ("auto", _) => Ok(None),
        (_, Some(mode)) => Ok(Some(mode)),
        _ => Err(wrong("execution_mode", value, "auto, local, pipelined or fault_tolerant")),
    }
}

fn task_concurrency(value: &str) -> Result<Option<usize>> {
    match value.parse() {
        Ok(0) => Ok(None),
        Ok(partitions) if partitions <= TASK_CONCURRENCY_MAX => Ok(Some(partitions)),
        _ => Err(wrong("task_concurrency", value, &format!("a number from 0 to {TASK_CONCURRENCY_MAX}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_checked() {
        let properties = BTreeMap::from([("execution_mode".to_owned(), "Local".to_owned())]);
        assert_eq!(Settings::from_properties(&properties).ok().and_then(|settings| settings.execution_mode), Some(Mode::Local));
        let error = check("execution_mod", "local").err().map(|error| error.to_string());
        assert_eq!(
            error.as_deref(),
            Some("INVALID_SESSION_PROPERTY: session property 'execution_mod' does not exist (did you mean 'execution_mode'?)")
        );
        assert!(check("task_concurrency", "-1").is_err());
        for property in PROPERTIES {
            assert!(check(property.name, property.default).is_ok(), "{}", property.name);
        }
    }
}
