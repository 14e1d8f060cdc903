//! The table properties that say how data files are written, read and checked: names and defaults are those of Iceberg's Java library.

use std::collections::HashMap;

use nunatak_catalog::properties::{flag, invalid, number};
use nunatak_catalog::spec::TableMetadata;
use nunatak_core::{Error, Result};
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::{ColumnPath, SchemaDescriptor};

use super::metrics_mode::{self, MetricsModes};

const MIB: u64 = 1024 * 1024;

const FORMAT: &str = "write.format.default";
const DISTRIBUTION_MODE: &str = "write.distribution-mode";
const TARGET_FILE_BYTES: &str = "write.target-file-size-bytes";
const CODEC: &str = "write.parquet.compression-codec";
const LEVEL: &str = "write.parquet.compression-level";
const ROW_GROUP_BYTES: &str = "write.parquet.row-group-size-bytes";
const PAGE_BYTES: &str = "write.parquet.page-size-bytes";
const PAGE_ROWS: &str = "write.parquet.page-row-limit";
const DICTIONARY_BYTES: &str = "write.parquet.dict-size-bytes";
const BLOOM_COLUMN_PREFIX: &str = "write.parquet.bloom-filter-enabled.column.";
const BLOOM_FPP_PREFIX: &str = "write.parquet.bloom-filter-fpp.column.";

/// Checks the value of one of a table's properties, if it is one that the writing of data files goes by.
///
/// Errors: `INVALID_TABLE_PROPERTY`, and `NOT_SUPPORTED` for files of another format than Parquet.
pub fn check_property(properties: &HashMap<String, String>, name: &str) -> Result<()> {
    let properties = Properties(properties);
    match name {
        FORMAT => properties.check_format(),
        DISTRIBUTION_MODE => properties.distribution().map(|_| ()),
        CODEC | LEVEL => properties.compression().map(|_| ()),
        TARGET_FILE_BYTES | ROW_GROUP_BYTES | PAGE_BYTES | PAGE_ROWS | DICTIONARY_BYTES => properties.positive(name, 1).map(|_| ()),
        _ if name.starts_with(BLOOM_COLUMN_PREFIX) => properties.flag(name).map(|_| ()),
        _ if name.starts_with(BLOOM_FPP_PREFIX) => properties.probability(name).map(|_| ()),
        _ => metrics_mode::check(properties, name),
    }
}

/// How rows find their way to tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Distribution {
    /// They stay where they are.
    None,
    /// All rows of a partition go to one task, unless most rows are of that partition.
    Hash,
    /// Each task has rows of a range of keys.
    Range,
}

/// Typed access to the properties of a table.
#[derive(Clone, Copy)]
pub(super) struct Properties<'a>(&'a HashMap<String, String>);

impl<'a> Properties<'a> {
    pub(super) fn of(metadata: &'a TableMetadata) -> Self {
        Self(metadata.properties())
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(String::as_str)
    }

    /// All properties whose name begins with `prefix`, by the rest of their name.
    pub(super) fn with_prefix(&self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    /// A number greater than zero.
    pub(super) fn positive(&self, name: &str, default: u64) -> Result<u64> {
        match self.text(name) {
            None => Ok(default),
            Some(text) => text.trim().parse().ok().filter(|number| *number > 0).ok_or_else(|| invalid(name, text, "a whole number above zero")),
        }
    }

    /// A number from zero on.
    pub(super) fn number(&self, name: &str, default: u64) -> Result<u64> {
        number(self.0, name, default)
    }

    fn flag(&self, name: &str) -> Result<bool> {
        flag(self.0, name, false)
    }

    /// A number between zero and one.
    fn probability(&self, name: &str) -> Result<Option<f64>> {
        let parse = |text: &str| text.trim().parse::<f64>().ok().filter(|number| *number > 0.0 && *number < 1.0);
        self.text(name).map(|text| parse(text).ok_or_else(|| invalid(name, text, "a number between 0 and 1"))).transpose()
    }

    /// That files are wanted in the one format that is written.
    pub(super) fn check_format(&self) -> Result<()> {
        match self.text(FORMAT) {
            Some(format) if !format.eq_ignore_ascii_case("parquet") => {
                Err(Error::not_supported(format!("table property '{FORMAT}' is '{format}'; nunatak writes parquet")).with_hint("set it to parquet"))
            }
            _ => Ok(()),
        }
    }

    /// `write.distribution-mode`; `None` where the table says nothing.
    pub(super) fn distribution(&self) -> Result<Option<Distribution>> {
        match self.text(DISTRIBUTION_MODE).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(None),
            Some("none") => Ok(Some(Distribution::None)),
            Some("hash") => Ok(Some(Distribution::Hash)),
            Some("range") => Ok(Some(Distribution::Range)),
            Some(other) => Err(invalid(DISTRIBUTION_MODE, other, "none, hash or range")),
        }
    }

    /// The size at which a file is closed and the next one begun.
    pub(super) fn target_file_bytes(&self) -> Result<u64> {
        self.positive(TARGET_FILE_BYTES, 512 * MIB)
    }

    fn compression(&self) -> Result<Compression> {
        let codec = self.text(CODEC).unwrap_or("zstd");
        let text = self.text(LEVEL);
        let wrong_level = || invalid(LEVEL, text.unwrap_or_default(), &format!("a level of compression codec {codec}"));
        let level = text.map(|text| text.trim().parse::<i32>().map_err(|_| wrong_level())).transpose()?;
        let unsigned = || level.map(|level| u32::try_from(level).map_err(|_| wrong_level())).transpose();
        Ok(match codec.to_ascii_lowercase().as_str() {
            "zstd" => Compression::ZSTD(ZstdLevel::try_new(level.unwrap_or(3)).map_err(|_| wrong_level())?),
            "gzip" => Compression::GZIP(unsigned()?.map_or(Ok(GzipLevel::default()), GzipLevel::try_new).map_err(|_| wrong_level())?),
            "brotli" => Compression::BROTLI(unsigned()?.map_or(Ok(BrotliLevel::default()), BrotliLevel::try_new).map_err(|_| wrong_level())?),
            "snappy" => Compression::SNAPPY,
            "lz4" | "lz4_raw" => Compression::LZ4_RAW,
            "uncompressed" | "none" => Compression::UNCOMPRESSED,
            _ => return Err(invalid(CODEC, codec, "zstd, snappy, gzip, lz4, brotli or uncompressed")),
        })
    }

    /// The settings of the Parquet writer. `iceberg_schema` is the table's schema as JSON, which Java's files carry too.
    pub(super) fn parquet(&self, schema: &SchemaDescriptor, modes: &MetricsModes, iceberg_schema: String) -> Result<WriterProperties> {
        let size = |name, default| self.positive(name, default).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        // Rows of a row group are bounded too, at the Parquet writer's own limit: it is the unit in which scans are split and pruned.
        let builder = WriterProperties::builder()
            .set_compression(self.compression()?)
            .set_max_row_group_bytes(Some(size(ROW_GROUP_BYTES, 128 * MIB)?))
            .set_data_page_size_limit(size(PAGE_BYTES, MIB)?)
            .set_data_page_row_count_limit(size(PAGE_ROWS, 20_000)?)
            .set_dictionary_page_size_limit(size(DICTIONARY_BYTES, 2 * MIB)?)
            .set_statistics_enabled(EnabledStatistics::Page)
            // The bounds of the manifest are made from these statistics, so these must not be shorter.
            .set_statistics_truncate_length(modes.statistics_bytes_max())
            .set_key_value_metadata(Some(vec![KeyValue::new("iceberg.schema".to_owned(), iceberg_schema)]));
        Ok(self.bloom_filters(builder, schema)?.build())
    }

    fn bloom_filters(&self, mut builder: WriterPropertiesBuilder, schema: &SchemaDescriptor) -> Result<WriterPropertiesBuilder> {
        for (column, _) in self.with_prefix(BLOOM_COLUMN_PREFIX) {
            let leaf = schema.columns().iter().find(|leaf| leaf.path().string() == column);
            let enabled = self.flag(&format!("{BLOOM_COLUMN_PREFIX}{column}")).unwrap_or(false);
            let (Some(leaf), true) = (leaf, enabled) else {
                continue;
            };
            let path: ColumnPath = leaf.path().clone();
            builder = builder.set_column_bloom_filter_enabled(path.clone(), true);
            if let Some(probability) = self.probability(&format!("{BLOOM_FPP_PREFIX}{column}"))? {
                builder = builder.set_column_bloom_filter_fpp(path, probability);
            }
        }
        Ok(builder)
    }
}

#[cfg(test)]
mod tests {
    use nunatak_core::Code;

    use super::*;

    fn with(pairs: &[(&str, &str)], test: impl FnOnce(Properties<'_>)) {
        let map = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        test(Properties(&map));
    }

    #[test]
    fn defaults_are_those_of_java() {
        with(&[], |properties| {
            assert_eq!(properties.compression().unwrap(), Compression::ZSTD(ZstdLevel::try_new(3).unwrap()));
            assert_eq!(properties.target_file_bytes().unwrap(), 536_870_912);
            assert_eq!(properties.distribution().unwrap(), None);
        });
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        with(&[("write.parquet.compression-codec", "rar")], |properties| {
            let error = properties.compression().unwrap_err();
            assert_eq!(error.code(), Code::InvalidTableProperty);
            assert!(error.message().contains("write.parquet.compression-codec"), "{error}");
        });
        with(&[("write.parquet.compression-level", "99")], |properties| assert!(properties.compression().is_err()));
        with(&[("write.target-file-size-bytes", "0")], |properties| assert!(properties.target_file_bytes().is_err()));
        with(&[("write.distribution-mode", "x")], |properties| assert!(properties.distribution().is_err()));
        for (name, good, bad) in [
            ("write.format.default", "PARQUET", "orc"),
            ("write.distribution-mode", "HASH", "hashed"),
            ("write.parquet.compression-level", "3", "high"),
            ("write.parquet.row-group-size-bytes", "1000", "-1"),
            ("write.parquet.bloom-filter-enabled.column.a.b", "true", "yes"),
            ("write.parquet.bloom-filter-fpp.column.a", "0.01", "1"),
            ("write.metadata.metrics.default", "truncate(4)", "some"),
            ("write.metadata.metrics.column.a", "none", ""),
            ("write.metadata.metrics.max-inferred-column-defaults", "0", "all"),
        ] {
            let check = |value: &str| check_property(&HashMap::from([(name.to_owned(), value.to_owned())]), name);
            assert!(check(good).is_ok(), "{name}");
            assert!(check(bad).is_err_and(|error| error.message().contains(name)), "{name}");
        }
        let gzip = [("write.parquet.compression-codec", "gzip"), ("write.parquet.compression-level", "9")];
        with(&gzip, |properties| assert!(matches!(properties.compression().unwrap(), Compression::GZIP(_))));
    }
}
