//! The table properties that say how data files are written, read and checked: names and defaults are those of Iceberg's Java library.

use std::collections::HashMap;
use std::str::FromStr;

use nunatak_catalog::spec::TableMetadata;
use nunatak_core::{Code, Error, Result};
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::{ColumnPath, SchemaDescriptor};

use super::metrics_mode::MetricsModes;

const MIB: u64 = 1024 * 1024;
const BLOOM_COLUMN_PREFIX: &str = "write.parquet.bloom-filter-enabled.column.";

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

    fn parse<T: FromStr>(&self, name: &str, wanted: &str) -> Result<Option<T>> {
        self.text(name).map(|text| text.trim().parse().map_err(|_| invalid(name, text, wanted))).transpose()
    }

    /// `write.distribution-mode`; `None` where the table says nothing.
    pub(super) fn distribution(&self) -> Result<Option<Distribution>> {
        match self.text("write.distribution-mode") {
            None => Ok(None),
            Some("none") => Ok(Some(Distribution::None)),
            Some("hash") => Ok(Some(Distribution::Hash)),
            Some("range") => Ok(Some(Distribution::Range)),
            Some(other) => Err(invalid("write.distribution-mode", other, "none, hash or range")),
        }
    }

    /// The size at which a file is closed and the next one begun.
    pub(super) fn target_file_bytes(&self) -> Result<u64> {
        self.positive("write.target-file-size-bytes", 512 * MIB)
    }

    fn compression(&self) -> Result<Compression> {
        const CODEC: &str = "write.parquet.compression-codec";
        const LEVEL: &str = "write.parquet.compression-level";
        let level = self.parse::<i32>(LEVEL, "a whole number")?;
        let wrong_level = || invalid(LEVEL, &level.unwrap_or_default().to_string(), "a level of the table's compression codec");
        let unsigned = || level.map(|level| u32::try_from(level).map_err(|_| wrong_level())).transpose();
        let codec = self.text(CODEC).unwrap_or("zstd");
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
            .set_max_row_group_bytes(Some(size("write.parquet.row-group-size-bytes", 128 * MIB)?))
            .set_data_page_size_limit(size("write.parquet.page-size-bytes", MIB)?)
            .set_data_page_row_count_limit(size("write.parquet.page-row-limit", 20_000)?)
            .set_dictionary_page_size_limit(size("write.parquet.dict-size-bytes", 2 * MIB)?)
            .set_statistics_enabled(EnabledStatistics::Page)
            // The bounds of the manifest are made from these statistics, so these must not be shorter.
            .set_statistics_truncate_length(modes.statistics_bytes_max())
            .set_key_value_metadata(Some(vec![KeyValue::new("iceberg.schema".to_owned(), iceberg_schema)]));
        Ok(self.bloom_filters(builder, schema)?.build())
    }

    fn bloom_filters(&self, mut builder: WriterPropertiesBuilder, schema: &SchemaDescriptor) -> Result<WriterPropertiesBuilder> {
        for (column, enabled) in self.with_prefix(BLOOM_COLUMN_PREFIX) {
            let leaf = schema.columns().iter().find(|leaf| leaf.path().string() == column);
            let (Some(leaf), true) = (leaf, enabled.eq_ignore_ascii_case("true")) else {
                continue;
            };
            let path: ColumnPath = leaf.path().clone();
            builder = builder.set_column_bloom_filter_enabled(path.clone(), true);
            let name = format!("write.parquet.bloom-filter-fpp.column.{column}");
            if let Some(probability) = self.parse::<f64>(&name, "a number between 0 and 1")? {
                if !(probability > 0.0 && probability < 1.0) {
                    return Err(invalid(&name, &probability.to_string(), "a number between 0 and 1"));
                }
                builder = builder.set_column_bloom_filter_fpp(path, probability);
            }
        }
        Ok(builder)
    }
}

pub(super) fn invalid(name: &str, value: &str, wanted: &str) -> Error {
    Error::new(Code::InvalidTableProperty, format!("table property '{name}' is '{value}', which is not {wanted}"))
        .with_hint("ALTER TABLE ... SET PROPERTIES corrects it")
}

#[cfg(test)]
mod tests {
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
        let gzip = [("write.parquet.compression-codec", "gzip"), ("write.parquet.compression-level", "9")];
        with(&gzip, |properties| assert!(matches!(properties.compression().unwrap(), Compression::GZIP(_))));
    }
}
