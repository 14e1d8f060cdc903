//! The effective configuration as TOML, with the source of each value.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use figment::Figment;
use figment::value::Value;

use super::layer::DEFAULT;
use super::{Loaded, SECTIONS, catalog, spooling};
use crate::units::ByteSize;

/// The keys outside of catalogs that hold secrets.
const SECRETS: [&str; 3] = ["etcd.password", "rest_server.tokens", "spooling.secret"];

impl Loaded {
    /// The effective configuration as TOML; each line ends with a comment that says where its value comes from.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for (section, keys) in SECTIONS {
            let _ = writeln!(text, "{}[{section}]", if text.is_empty() { "" } else { "\n" });
            for key in *keys {
                let path = format!("{section}.{}", key.name);
                let _ = writeln!(text, "# {}", key.description);
                let _ = writeln!(text, "{} = {} # {}{}", key.name, value(&self.layers, &path), origin(&self.layers, &path), self.derived(&path));
            }
        }
        let storage = (!self.config.spooling.storage.is_empty()).then(|| spooling::STORAGE.to_owned());
        let catalogs = self.config.catalogs.iter().map(|catalog| format!("{}.{}", catalog::SECTION, catalog.name));
        for section in storage.into_iter().chain(catalogs) {
            let _ = writeln!(text, "\n[{section}]");
            let values = match self.layers.find_value(&section) {
                Ok(Value::Dict(_, section)) => catalog::tagged(&section),
                _ => BTreeMap::new(),
            };
            // Not by their paths: a key with a point in quotes is one of the section itself.
            for (name, (value, tag)) in &values {
                let shown = quoted(&catalog::shown_as_written(name, value));
                let origin = self.layers.get_metadata(*tag).map_or(DEFAULT, |metadata| &metadata.name);
                let _ = writeln!(text, "{name} = {shown} # {origin}");
            }
        }
        text
    }

    /// What a value comes to on this machine, where that is not what was written.
    fn derived(&self, path: &str) -> String {
        match path {
            "execution.memory" => {
                let bytes = u64::try_from(self.config.execution.memory_bytes_max).unwrap_or(u64::MAX);
                format!(", here {}", ByteSize(bytes).rounded())
            }
            "execution.slots" => format!(", here {}", self.config.execution.slots),
            _ => String::new(),
        }
    }
}

fn origin<'a>(layers: &'a Figment, path: &str) -> &'a str {
    layers.find_metadata(path).map_or(DEFAULT, |metadata| &metadata.name)
}

/// A value as TOML writes it. All keys are text, numbers or booleans.
fn value(layers: &Figment, path: &str) -> String {
    match layers.find_value(path) {
        Ok(Value::String(_, text)) if SECRETS.contains(&path) && !text.is_empty() => quoted(&catalog::shown_as_written(path, &text)),
        Ok(Value::String(_, text)) => quoted(&text),
        Ok(Value::Num(_, number)) => number.to_u128().map_or_else(|| number.to_i128().unwrap_or_default().to_string(), |number| number.to_string()),
        Ok(Value::Bool(_, flag)) => flag.to_string(),
        _ => quoted(""),
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
