//! Where data files go and what they are called.

use nunatak_catalog::spec::TableMetadata;
use uuid::Uuid;

/// Longest text of one partition value in a path; file systems end at 255 bytes a name.
const SEGMENT_BYTES_MAX: usize = 200;

/// The folder of a table's data files, without a slash at its end.
pub(super) fn data_folder(metadata: &TableMetadata) -> String {
    let properties = metadata.properties();
    let given = properties.get("write.data.path").or_else(|| properties.get("write.folder-storage.path"));
    match given {
        Some(folder) => folder.trim_end_matches('/').to_owned(),
        None => format!("{}/data", metadata.location().trim_end_matches('/')),
    }
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
    use super::*;

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
