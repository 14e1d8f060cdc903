//! Where data files go and what they are called.

use nunatak_catalog::properties::{DATA_PATH, FOLDER_STORAGE_PATH, OBJECT_STORAGE, OBJECT_STORAGE_PATH, flag};
use nunatak_catalog::spec::TableMetadata;
use nunatak_core::{Error, Result};
use uuid::Uuid;

use crate::transform::murmur3;

/// Longest text of one partition value in a path; file systems end at 255 bytes a name.
const SEGMENT_BYTES_MAX: usize = 200;

/// A class of Java that says where files go.
const PROVIDER: &str = "write.location-provider.impl";

/// Whether hashed locations have folders of partitions too.
const PARTITIONED_PATHS: &str = "write.object-storage.partitioned-paths";

/// How many bits of a hash are in a location, and how many of them each of the first three folders has; the rest is in the fourth.
const HASH_BITS: usize = 20;
const FOLDER_BITS: usize = 4;
const SHORT_FOLDERS: usize = 3;

/// Where the data files of a table go: what Java calls its `LocationProvider`.
#[derive(Clone, Debug)]
pub(super) struct Locations {
    /// Without a slash at its end.
    pub(super) folder: String,
    hashed: Option<Hashed>,
}

/// Of `write.object-storage.enabled`: folders named by a hash come first, since object stores divide their load by the beginnings of names.
#[derive(Clone, Debug)]
struct Hashed {
    /// The last two parts of the table's location, where its files do not lie in it anyway.
    table: Option<String>,
    with_partitions: bool,
}

impl Locations {
    /// Errors: `INVALID_TABLE_PROPERTY`, `NOT_SUPPORTED` for a table whose locations a class of Java gives.
    pub(super) fn of(metadata: &TableMetadata) -> Result<Self> {
        let properties = metadata.properties();
        if let Some(class) = properties.get(PROVIDER) {
            return Err(Error::not_supported(format!("the table wants locations of data files from the class '{class}' (property '{PROVIDER}')"))
                .with_hint("write with the engine that has the class, or remove the property there"));
        }
        let folder = data_folder(metadata);
        let table = metadata.location().trim_end_matches('/');
        let hashed = match flag(properties, OBJECT_STORAGE, false)? {
            false => None,
            true => Some(Hashed {
                table: (!folder.starts_with(table)).then(|| last_two(table)),
                with_partitions: flag(properties, PARTITIONED_PATHS, true)?,
            }),
        };
        Ok(Self { folder, hashed })
    }

    /// The location of a file. `partition` is the folder of its partition, empty where there is none.
    pub(super) fn file(&self, partition: &str, name: &str) -> String {
        let Self { folder, hashed } = self;
        let below = |partition: &str| if partition.is_empty() { name.to_owned() } else { format!("{partition}/{name}") };
        match hashed {
            None => format!("{folder}/{}", below(partition)),
            Some(Hashed { table, with_partitions }) => {
                let below = below(if *with_partitions { partition } else { "" });
                let hash = hash_folders(&below);
                match table {
                    Some(table) => format!("{folder}/{hash}/{table}/{below}"),
                    None if *with_partitions => format!("{folder}/{hash}/{below}"),
                    None => format!("{folder}/{hash}-{below}"),
                }
            }
        }
    }
}

/// The folder that all data files of a table lie in, without a slash at its end.
pub(super) fn data_folder(metadata: &TableMetadata) -> String {
    let properties = metadata.properties();
    let hashed = || flag(properties, OBJECT_STORAGE, false).unwrap_or(false);
    let of_object_storage = || properties.get(OBJECT_STORAGE_PATH).filter(|_| hashed());
    let given = properties.get(DATA_PATH).or_else(of_object_storage).or_else(|| properties.get(FOLDER_STORAGE_PATH));
    match given {
        Some(folder) => folder.trim_end_matches('/').to_owned(),
        None => format!("{}/data", metadata.location().trim_end_matches('/')),
    }
}

/// `schema/table` of `s3://bucket/warehouse/schema/table`.
fn last_two(location: &str) -> String {
    let path = location.split_once("://").map_or(location, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts[parts.len().saturating_sub(2)..].join("/")
}

/// `0101/0110/1001/10110010`: the lowest bits of the hash of a text.
fn hash_folders(text: &str) -> String {
    let hash = murmur3(text.as_bytes());
    let mut folders = String::with_capacity(HASH_BITS + SHORT_FOLDERS);
    for bit in 0..HASH_BITS {
        if bit > 0 && bit % FOLDER_BITS == 0 && bit <= SHORT_FOLDERS * FOLDER_BITS {
            folders.push('/');
        }
        folders.push(if hash >> (HASH_BITS - 1 - bit) & 1 == 1 { '1' } else { '0' });
    }
    folders
}

/// `day=2013-01-01/bucket=3` from names and texts of partition values, encoded as Java's `URLEncoder` does.
pub(super) fn partition_folder<'a>(values: impl Iterator<Item = (&'a str, String)>) -> String {
    let segments: Vec<_> = values.map(|(name, value)| format!("{}={}", encode(name), encode(&value))).collect();
    segments.join("/")
}

/// A name that no other task, attempt or write gives; that of the write is in it as [`name_in_files`] has it.
pub(super) fn file_name(task: usize, write: &str, counter: usize) -> String {
    format!("{task:05}{}{counter:05}-{}.parquet", name_in_files(write), random())
}

/// What the names of all files of a write hold, and those of no other's.
pub(super) fn name_in_files(write: &str) -> String {
    let write: String = write.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    format!("-{write}-")
}

/// Letters and digits that nobody else has.
pub(super) fn random() -> String {
    Uuid::new_v4().simple().to_string()[..8].to_owned()
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        // What it is cut to is still unique enough: the file's name says the rest.
        if encoded.len() >= SEGMENT_BYTES_MAX {
            break;
        }
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use nunatak_catalog::spec::{FormatVersion, NestedField, PrimitiveType, Schema, SortOrder, TableMetadataBuilder, Type, UnboundPartitionSpec};
    use nunatak_core::Code;

    use super::*;

    fn locations(location: &str, properties: &[(&str, &str)]) -> Result<Locations> {
        let schema = Schema::builder().with_fields([NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).into()]).build().unwrap();
        let properties: HashMap<String, String> = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (spec, order) = (UnboundPartitionSpec::builder().build(), SortOrder::unsorted_order());
        let builder = TableMetadataBuilder::new(schema, spec, order, location.to_owned(), FormatVersion::V2, properties).unwrap();
        Locations::of(&builder.build().unwrap().metadata)
    }

    /// The hashes are those of Java's `TestLocationProvider`.
    #[test]
    fn locations_are_those_of_java() {
        for (name, hash) in
            [("a", "0101/0110/1001/10110010"), ("b", "1110/0111/1110/00000011"), ("c", "0010/1101/0110/01011111"), ("d", "1001/0001/0100/01110011")]
        {
            assert_eq!(hash_folders(name), hash);
        }
        let hashed = ("write.object-storage.enabled", "true");
        for (location, properties, partition, wanted) in [
            ("s3://b/w/s/t", vec![], "", "s3://b/w/s/t/data/a"),
            ("s3://b/w/s/t", vec![], "p=1", "s3://b/w/s/t/data/p=1/a"),
            ("s3://b/w/s/t", vec![("write.object-storage.path", "s3://c")], "", "s3://b/w/s/t/data/a"),
            ("s3://b/w/s/t", vec![("write.folder-storage.path", "s3://c/x/"), ("write.data.path", "s3://c/y/")], "p=1", "s3://c/y/p=1/a"),
            ("s3://b/w/s/t", vec![hashed], "", "s3://b/w/s/t/data/0101/0110/1001/10110010/a"),
            ("s3://b/w/s/t", vec![hashed, ("write.data.path", "s3://c")], "", "s3://c/0101/0110/1001/10110010/s/t/a"),
            ("s3://b/w/s/t", vec![hashed, ("write.object-storage.path", "s3://c/x")], "", "s3://c/x/0101/0110/1001/10110010/s/t/a"),
            ("s3://b/t", vec![hashed, ("write.data.path", "s3://c")], "", "s3://c/0101/0110/1001/10110010/t/a"),
            ("s3://b/w/s/t", vec![hashed, ("write.object-storage.partitioned-paths", "false")], "p=1", "s3://b/w/s/t/data/0101/0110/1001/10110010-a"),
        ] {
            assert_eq!(locations(location, &properties).unwrap().file(partition, "a"), wanted);
        }
        // What is hashed is the path with its partition.
        let with_partition = locations("s3://b/w/s/t", &[hashed]).unwrap().file("p=1", "a");
        assert_eq!(with_partition, format!("s3://b/w/s/t/data/{}/p=1/a", hash_folders("p=1/a")));
    }

    #[test]
    fn a_class_of_java_is_refused() {
        let error = locations("s3://b/t", &[("write.location-provider.impl", "com.example.Places")]).unwrap_err();
        assert_eq!(error.code(), Code::NotSupported);
        assert!(error.message().contains("com.example.Places"), "{error}");
    }

    #[test]
    fn partition_folders_are_encoded_as_in_java() {
        let values = [("ts_day", "2013-01-01".to_owned()), ("a b", "x/y=\u{e9} 1".to_owned()), ("n", "null".to_owned())];
        assert_eq!(partition_folder(values.into_iter()), "ts_day=2013-01-01/a+b=x%2Fy%3D%C3%A9+1/n=null");
        assert!(partition_folder([("s", "/".repeat(500))].into_iter()).len() < 255);
    }

    #[test]
    fn file_names() {
        let name = file_name(3, "20261121_101010_00001_abcde/..", 7);
        assert!(name.starts_with("00003-20261121_101010_00001_abcde----00007-"), "{name}");
        assert!(name.ends_with(".parquet") && !name.contains('/'));
        assert_ne!(name, file_name(3, "20261121_101010_00001_abcde/..", 7));
    }
}
