//! Session properties: their names, what they mean, and their values checked.

use std::collections::BTreeMap;
use std::time::Duration;

use nunatak_catalog::Branch;
use nunatak_catalog::spec::MAIN_BRANCH;
use nunatak_core::units::HumanDuration;
use nunatak_core::{Code, Error, Result};
use nunatak_engine::error::suggest;
use nunatak_engine::sql::Zone;

use crate::execution::Mode;

/// The name of the property that says a session's time zone.
pub const TIME_ZONE: &str = "time_zone";

/// The name of the property that says how long a query may run: Trino's, which its JDBC driver sets.
const RUN_TIME_MAX: &str = "query_max_run_time";

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
    Property {
        name: RUN_TIME_MAX,
        default: "100d",
        data_type: "varchar",
        description: "How long a query that reads may run, planning and the time its client takes for its rows included",
    },
    Property {
        name: "insert_overwrite_mode",
        default: "static",
        data_type: "varchar",
        description: "What INSERT OVERWRITE replaces: static (all rows, or those that PARTITION names) or dynamic (the partitions that new rows are in)",
    },
    Property {
        name: "join_reordering_strategy",
        default: "AUTOMATIC",
        data_type: "varchar",
        description: "The order of joins: AUTOMATIC (the one that costs least), or NONE and ELIMINATE_CROSS_JOINS (that of the text, without cross joins where it can)",
    },
    Property { name: TIME_ZONE, default: "UTC", data_type: "varchar", description: "The time zone of moments without one, and of the current time" },
    Property {
        name: "wap_branch",
        default: "",
        data_type: "varchar",
        description: "The branch on which tables with the property write.wap.enabled are read and changed",
    },
    Property {
        name: "wap_id",
        default: "",
        data_type: "varchar",
        description: "Changes of tables with the property write.wap.enabled wait under this id to be published",
    },
];

/// What `INSERT OVERWRITE` replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverwriteMode {
    /// All rows, or those that `PARTITION (column = value)` names.
    #[default]
    Static,
    /// The partitions that new rows are in.
    Dynamic,
}

/// What the properties of a session say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The mode asked for; `None` for `auto`.
    pub execution_mode: Option<Mode>,
    /// Partitions asked for; `None` for one a slot.
    pub task_concurrency: Option<usize>,
    /// How long a query may run, if that is limited.
    pub run_time_max: Option<Duration>,
    /// What `INSERT OVERWRITE` replaces.
    pub insert_overwrite_mode: OverwriteMode,
    /// Whether joins are put in the order that costs least.
    pub join_reordering: bool,
    /// The branch that is written to be published.
    pub wap_branch: Option<String>,
    /// The id under which changes wait to be published.
    pub wap_id: Option<String>,
    /// The time zone.
    pub time_zone: Zone,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            execution_mode: None,
            task_concurrency: None,
            run_time_max: None,
            insert_overwrite_mode: OverwriteMode::default(),
            join_reordering: true,
            wap_branch: None,
            wap_id: None,
            time_zone: Zone::default(),
        }
    }
}

impl Settings {
    /// Reads the properties of a session. Errors: `INVALID_SESSION_PROPERTY`.
    pub fn from_properties(properties: &BTreeMap<String, String>) -> Result<Self> {
        let mut settings = Self::default();
        for (name, value) in properties {
            settings.set(name, value)?;
        }
        if settings.wap_branch.is_some() && settings.wap_id.is_some() {
            return Err(Error::new(Code::InvalidSessionProperty, "session properties 'wap_branch' and 'wap_id' are both set")
                .with_hint("RESET SESSION one of them"));
        }
        Ok(settings)
    }

    /// The branch on which tables with the property `write.wap.enabled` are read and changed.
    pub fn wap_branch(&self) -> Branch {
        match (&self.wap_branch, &self.wap_id) {
            (Some(branch), _) => Branch::Named(branch.clone()),
            (None, Some(_)) => Branch::Staged,
            (None, None) => Branch::Main,
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let text = value.trim();
        let value = text.to_lowercase();
        match name {
            "insert_overwrite_mode" => self.insert_overwrite_mode = overwrite_mode(&value)?,
            "join_reordering_strategy" => self.join_reordering = join_reordering(&value)?,
            "wap_branch" => self.wap_branch = Some(text.to_owned()).filter(|branch| !branch.is_empty() && branch != MAIN_BRANCH),
            "wap_id" => self.wap_id = Some(text.to_owned()).filter(|id| !id.is_empty()),
            TIME_ZONE => {
                self.time_zone = Zone::parse(text).ok_or_else(|| wrong(name, text, "a name such as Europe/Zurich, or an offset such as +02:00"))?;
            }
            "execution_mode" => self.execution_mode = execution_mode(&value)?,
            "task_concurrency" => self.task_concurrency = task_concurrency(&value)?,
            RUN_TIME_MAX => self.run_time_max = Some(run_time_max(&value)?),
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

fn overwrite_mode(value: &str) -> Result<OverwriteMode> {
    match value {
        "static" => Ok(OverwriteMode::Static),
        "dynamic" => Ok(OverwriteMode::Dynamic),
        _ => Err(wrong("insert_overwrite_mode", value, "static or dynamic")),
    }
}

fn join_reordering(value: &str) -> Result<bool> {
    match value {
        "automatic" => Ok(true),
        // Cross joins that conditions make joins of are none in any order.
        "none" | "eliminate_cross_joins" => Ok(false),
        _ => Err(wrong("join_reordering_strategy", value, "AUTOMATIC, ELIMINATE_CROSS_JOINS or NONE")),
    }
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

fn run_time_max(value: &str) -> Result<Duration> {
    let length: Option<HumanDuration> = value.parse().ok();
    length.map(|length| length.0).ok_or_else(|| wrong(RUN_TIME_MAX, value, "a length of time such as 30s, 10m or 2h"))
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
        let properties = BTreeMap::from([(RUN_TIME_MAX.to_owned(), "1.5s".to_owned())]);
        assert_eq!(Settings::from_properties(&properties).ok().and_then(|settings| settings.run_time_max), Some(Duration::from_millis(1_500)));
        assert!(check(RUN_TIME_MAX, "10").is_err() && check(RUN_TIME_MAX, "soon").is_err());
        for property in PROPERTIES {
            assert!(check(property.name, property.default).is_ok(), "{}", property.name);
        }
    }
}
