//! Which metrics of a column go into the manifest: the properties `write.metadata.metrics.*`.

use std::collections::HashMap;

use nunatak_catalog::properties::invalid;
use nunatak_catalog::spec::TableMetadata;
use nunatak_core::Result;

use super::file_schema::Leaf;
use super::properties::Properties;

const DEFAULT: &str = "write.metadata.metrics.default";
const COLUMN_PREFIX: &str = "write.metadata.metrics.column.";
const INFERRED_COLUMNS_MAX: &str = "write.metadata.metrics.max-inferred-column-defaults";

/// How much of a long value its bounds keep when no property says otherwise: code points of a string, bytes of binary.
const TRUNCATE_DEFAULT: usize = 16;

/// What is kept of one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricsMode {
    /// Nothing.
    None,
    /// Sizes and counts.
    Counts,
    /// Also bounds, cut to this length.
    Truncate(usize),
    /// Also bounds, whole.
    Full,
}

/// The mode of every leaf, by field id.
#[derive(Clone, Debug)]
pub(super) struct MetricsModes(HashMap<i32, MetricsMode>);

impl MetricsModes {
    pub(super) fn new(metadata: &TableMetadata, leaves: &[Leaf]) -> Result<Self> {
        let properties = Properties::of(metadata);
        let columns: HashMap<&str, &str> = properties.with_prefix(COLUMN_PREFIX).collect();
        let given = properties.text(DEFAULT).map(|text| parse(DEFAULT, text)).transpose()?;
        // A wide table whose owner said nothing keeps metrics of its first columns only, lest its manifests grow without bound.
        let inferred_max = properties.number(INFERRED_COLUMNS_MAX, 100)?;
        let inferred = |position: u64| if position < inferred_max { MetricsMode::Truncate(TRUNCATE_DEFAULT) } else { MetricsMode::None };
        let sorted: Vec<i32> = metadata.default_sort_order().fields.iter().map(|field| field.source_id).collect();
        let mut modes = HashMap::with_capacity(leaves.len());
        for (position, leaf) in (0..).zip(leaves) {
            // Nothing looks for rows by what lies beside the table's columns.
            let Some(name) = metadata.current_schema().name_by_field_id(leaf.field_id) else { continue };
            let mode = match columns.get(name) {
                Some(text) => parse(&format!("{COLUMN_PREFIX}{name}"), text)?,
                None => match given.unwrap_or_else(|| inferred(position)) {
                    MetricsMode::None | MetricsMode::Counts if sorted.contains(&leaf.field_id) => MetricsMode::Truncate(TRUNCATE_DEFAULT),
                    mode => mode,
                },
            };
            modes.insert(leaf.field_id, mode);
        }
        Ok(Self(modes))
    }

    #[cfg(test)]
    pub(super) fn for_test(modes: HashMap<i32, MetricsMode>) -> Self {
        Self(modes)
    }

    pub(super) fn mode(&self, field_id: i32) -> MetricsMode {
        self.0.get(&field_id).copied().unwrap_or(MetricsMode::None)
    }

    /// How long the statistics in the Parquet file must be for bounds of these modes; `None` for whole values.
    pub(super) fn statistics_bytes_max(&self) -> Option<usize> {
        const PARQUET_DEFAULT: usize = 64;
        // A code point has up to four bytes; one more than is kept tells whether anything was cut.
        self.0.values().try_fold(PARQUET_DEFAULT, |longest, mode| match mode {
            MetricsMode::Full => None,
            MetricsMode::Truncate(length) => Some(longest.max(length.saturating_add(1).saturating_mul(4))),
            MetricsMode::None | MetricsMode::Counts => Some(longest),
        })
    }
}

/// Checks the value of one property, if it is one of these.
pub(super) fn check(properties: Properties<'_>, name: &str) -> Result<()> {
    match properties.text(name) {
        Some(text) if name == DEFAULT || name.starts_with(COLUMN_PREFIX) => parse(name, text).map(|_| ()),
        _ if name == INFERRED_COLUMNS_MAX => properties.number(name, 0).map(|_| ()),
        _ => Ok(()),
    }
}

fn parse(name: &str, text: &str) -> Result<MetricsMode> {
    let lower = text.trim().to_ascii_lowercase();
    let length = lower.strip_prefix("truncate(").and_then(|rest| rest.strip_suffix(')')).and_then(|length| length.trim().parse().ok());
    match (lower.as_str(), length) {
        ("none", _) => Ok(MetricsMode::None),
        ("counts", _) => Ok(MetricsMode::Counts),
        ("full", _) => Ok(MetricsMode::Full),
        (_, Some(length)) if length > 0 => Ok(MetricsMode::Truncate(length)),
        _ => Err(invalid(name, text, "none, counts, full or truncate(n)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_parsed() {
        assert_eq!(parse("x", "Truncate(5)").unwrap(), MetricsMode::Truncate(5));
        assert_eq!(parse("x", "full").unwrap(), MetricsMode::Full);
        assert!(parse("x", "truncate(0)").is_err());
        assert!(parse("x", "truncate").is_err());
    }

    #[test]
    fn statistics_are_long_enough() {
        let modes = |modes: &[MetricsMode]| MetricsModes((0..).zip(modes.iter().copied()).collect());
        assert_eq!(modes(&[MetricsMode::Counts, MetricsMode::Truncate(15)]).statistics_bytes_max(), Some(64));
        assert_eq!(modes(&[MetricsMode::Truncate(100)]).statistics_bytes_max(), Some(404));
        assert_eq!(modes(&[MetricsMode::Truncate(16), MetricsMode::Full]).statistics_bytes_max(), None);
    }
}
