//! One source of values as a figment provider, and the refusal of keys that nobody reads.

use std::io::ErrorKind;
use std::path::Path;

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};
use serde::Serialize;

use super::{SECTIONS, Sources, catalog, spooling};
use crate::{Code, Error, Result};

/// The origin of values that nobody has named.
pub(super) const DEFAULT: &str = "default";
const VARIABLE_PREFIX: &str = "NUNATAK_";
/// A short name for `NUNATAK_LOG__LEVEL`; it works for every subcommand.
const LOG_VARIABLE: &str = "NUNATAK_LOG";
const DISTANCE_MAX: usize = 3;
/// What keys of catalogs begin with.
const CATALOGS: &str = "catalog.";

/// The values of one source: the defaults, a file, a variable or a flag.
pub(super) struct Layer {
    /// Where the values come from, as users read it: `flag --http`.
    origin: String,
    values: Dict,
}

/// The layers above the defaults, weakest first.
pub(super) fn read(sources: &Sources) -> Result<Vec<Layer>> {
    let mut layers = Vec::new();
    if let Some(path) = &sources.file {
        layers.push(Layer::file(path)?);
    }
    let mut variables: Vec<_> = sources.environment.iter().filter_map(|(name, value)| Layer::variable(name, value)).collect();
    // By name, so that the result does not depend on the order in the environment; it also puts NUNATAK_LOG below NUNATAK_LOG__LEVEL.
    variables.sort_by(|left, right| left.origin.cmp(&right.origin));
    layers.extend(variables);
    layers.extend(sources.flags.iter().map(|flag| Layer::single(format!("flag {}", flag.flag), flag.key, &flag.value)));
    Ok(layers)
}

impl Layer {
    /// The defaults.
    pub(super) fn defaults(raw: &impl Serialize) -> Result<Self> {
        let values = Value::serialize(raw).ok().and_then(Value::into_dict);
        let values = values.ok_or_else(|| Error::internal("the default configuration is not a table"))?;
        Ok(Self { origin: DEFAULT.to_owned(), values })
    }

    fn file(path: &Path) -> Result<Self> {
        let origin = format!("config file {}", path.display());
        let invalid = |what: String| Error::new(Code::ConfigurationInvalid, format!("{origin}: {what}"));
        let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => invalid("does not exist".to_owned()),
            kind => invalid(format!("cannot be read: {kind}")),
        })?;
        let values = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            invalid(format!("line {line}: {}", error.message().replace('\n', ", ")))
        })?;
        Ok(Self { origin, values })
    }

    /// A variable of the environment. Only names with a `__` are ours: Kubernetes sets `NUNATAK_PORT` and others for a service named `nunatak`.
    fn variable(name: &str, value: &str) -> Option<Self> {
        let origin = format!("environment variable {name}");
        if name == LOG_VARIABLE {
            return Some(Self::single(origin, "log.level", value));
        }
        let key = name.strip_prefix(VARIABLE_PREFIX).filter(|rest| rest.contains("__"))?;
        Some(Self::single(origin, &key_of(key), value))
    }

    fn single(origin: String, key: &str, value: &str) -> Self {
        let values = figment::util::nest(key, Value::from(value)).into_dict().unwrap_or_default();
        Self { origin, values }
    }

    /// Refuses a key that is not in [`SECTIONS`], and a value where a section should be.
    pub(super) fn refuse_unknown_keys(&self) -> Result<()> {
        let mut keys = Vec::new();
        flatten(&self.values, "", &mut keys);
        for (key, _) in keys {
            let refused = |what: String| Error::new(Code::ConfigurationInvalid, format!("{}: {what}", self.origin));
            if let Some((section, _)) = SECTIONS.iter().find(|(section, _)| *section == key) {
                let is_table = self.values.get(*section).is_some_and(|value| value.as_dict().is_some());
                if is_table {
                    continue;
                }
                return Err(refused(format!("'{key}' is a section, not a value")));
            }
            if let Some(rest) = key.strip_prefix(CATALOGS) {
                match rest.split_once('.') {
                    Some((_, name)) if catalog::is_key(name) => continue,
                    Some((of, name)) => {
                        let nearest = catalog::nearest_key(name);
                        return Err(refused(format!("unknown key '{key}', did you mean '{CATALOGS}{of}.{nearest}'?")));
                    }
                    None => return Err(refused(format!("'{key}' is a section, not a value"))),
                }
            }
            // Which ones there are is known to who reads them.
            if key.strip_prefix(spooling::STORAGE).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
                continue;
            }
            if known_keys().all(|known| known != key) {
                let hint = nearest(&key).map_or_else(|| "'nunatak config' lists all keys".to_owned(), |known| format!("did you mean '{known}'?"));
                return Err(refused(format!("unknown key '{key}', {hint}")));
            }
        }
        Ok(())
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// `SERVER__HTTP` as a key: `server.http`. Properties of catalogs and of storage have dashes where variables cannot: `CATALOG__LAKE__S3__ACCESS_KEY_ID`.
fn key_of(variable: &str) -> String {
    let key = variable.to_lowercase().replace("__", ".");
    if let Some(property) = key.strip_prefix(spooling::STORAGE) {
        return format!("{}{}", spooling::STORAGE, property.replace('_', "-"));
    }
    match key.strip_prefix(CATALOGS).and_then(|rest| rest.split_once('.')) {
        Some((name, property)) => format!("{CATALOGS}{name}.{}", property.replace('_', "-")),
        None => key,
    }
}

/// The values of a tree by their keys with their sections: `server.http`. An empty table counts as a value.
pub(super) fn flatten<'a>(values: &'a Dict, prefix: &str, keys: &mut Vec<(String, &'a Value)>) {
    for (name, value) in values {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value.as_dict() {
            Some(inner) if !inner.is_empty() => flatten(inner, &key, keys),
            _ => keys.push((key, value)),
        }
    }
}

/// `server.http` and all others.
fn known_keys() -> impl Iterator<Item = String> {
    SECTIONS.iter().flat_map(|(section, keys)| keys.iter().map(move |key| format!("{section}.{}", key.name)))
}

/// The known key that looks most like `key`, with its section or without.
fn nearest(key: &str) -> Option<String> {
    let last = key.rsplit('.').next().unwrap_or(key);
    known_keys()
        .map(|known| {
            let name = known.rsplit('.').next().unwrap_or(&known);
            let whole = strsim::damerau_levenshtein(key, &known);
            (whole.min(strsim::damerau_levenshtein(last, name)), whole, known)
        })
        .filter(|(distance, ..)| *distance <= DISTANCE_MAX.min(last.chars().count() / 2))
        .min()
        .map(|(.., known)| known)
}
