//! Headers of Avro files, where the iceberg crate reads less than the spec allows: names of partition fields, types of columns, ids of snapshots.
//!
//! Iceberg matches partition values by field id; the iceberg crate matches them by name, and Avro allows few names. Java writes such a name in
//! another spelling (`a.b` as `a_x2Eb`), so a manifest of such a table cannot be read, and what the crate would write cannot be read by others. So
//! manifests are read with their partition fields renamed after their ids, and written in Java's spelling. Values are by position: nothing else
//! changes.

use std::fmt::Display;

use nunatak_core::{Code, Error, Result};
use serde_json::Value;

use crate::unsupported;

/// How every Avro object container file begins.
const MAGIC: &[u8] = b"Obj\x01";

/// Whether Avro takes the name as it is.
pub(crate) fn is_plain(name: &str) -> bool {
    let mut letters = name.chars();
    let first = letters.next().is_some_and(|letter| letter.is_ascii_alphabetic() || letter == '_');
    first && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// A name in the spelling that Java gives it in Avro files. Letters beyond ASCII are spelled out too, which Java does not do: Avro's own rule
/// forbids them, and readers go by the field's id.
pub(crate) fn avro_name(name: &str) -> String {
    let mut spelled = String::with_capacity(name.len());
    for (index, letter) in name.chars().enumerate() {
        match letter {
            'a'..='z' | 'A'..='Z' | '_' => spelled.push(letter),
            '0'..='9' if index > 0 => spelled.push(letter),
            '0'..='9' => spelled.extend(['_', letter]),
            // Java works on UTF-16 units, and so on two of them for what lies beyond the basic plane.
            _ => letter.encode_utf16(&mut [0; 2]).iter().for_each(|unit| spelled.push_str(&format!("_x{unit:X}"))),
        }
    }
    spelled
}

/// The same manifest with partition fields named by their ids, columns of types that are read, and entries that may leave out what they inherit; `None`
/// when it is so already, or when the bytes are no such manifest (then the reader finds better words for it).
pub(super) fn plain(manifest: &[u8]) -> Option<Vec<u8>> {
    let mut input = Input(manifest.strip_prefix(MAGIC)?);
    let mut header = input.map()?;
    let json = |key| serde_json::from_slice::<Value>(value(&header, key)?).ok();
    let mut changed = Vec::new();
    let mut fields = json("partition-spec")?;
    if !fields.as_array()?.iter().all(|field| field["name"].as_str().is_some_and(is_plain)) {
        let mut avro = json("avro.schema")?;
        rename(&mut fields)?;
        rename(partition_fields(&mut avro)?)?;
        changed.extend([("partition-spec", fields), ("avro.schema", avro)]);
    }
    if let Some(mut columns) = json("schema")
        && unsupported::mark(&mut columns)
    {
        changed.push(("schema", columns));
    }
    // An entry of version 1 must have a snapshot id for the crate, and may leave it to the manifest list. One of version 2 may too, and is no different else.
    let is_v1 = value(&header, "format-version").is_none_or(|version| version == b"1");
    if is_v1 && field(&mut json("avro.schema")?, "snapshot_id").is_some_and(|id| id.is_array()) {
        changed.push(("format-version", Value::from(2)));
    }
    for (key, json) in &changed {
        header.retain(|(name, _)| name != key.as_bytes());
        header.push((key.as_bytes().to_vec(), json.to_string().into_bytes()));
    }
    (!changed.is_empty()).then(|| write(&header, input.0))
}

/// The longest text, list or block that is read of an Avro file, in elements or bytes. Writers make blocks of some tens of kilobytes.
const LENGTH_MAX: usize = 16 << 20;

/// Checks what the Avro library believes: it reserves memory for as many entries as a damaged file says that there are, and ends the process when it gets none.
///
/// Errors: `ICEBERG_INVALID_METADATA` for a header that is not whole. `what` names the file.
pub(super) fn check(avro: &[u8], what: impl Display) -> Result<()> {
    apache_avro::util::max_allocation_bytes(LENGTH_MAX);
    let header = avro.strip_prefix(MAGIC).map(Input).and_then(|mut input| input.map());
    header.map(|_| ()).ok_or_else(|| Error::new(Code::IcebergInvalidMetadata, format!("cannot read {what}: it has no whole Avro header")))
}

fn value<'a>(header: &'a [(Vec<u8>, Vec<u8>)], key: &str) -> Option<&'a [u8]> {
    header.iter().find(|(name, _)| name == key.as_bytes()).map(|(_, value)| value.as_slice())
}

/// The fields of the record `data_file.partition` in the schema of a manifest.
fn partition_fields(schema: &mut Value) -> Option<&mut Value> {
    let data_file = field(schema, "data_file")?;
    let partition = field(data_file, "partition")?;
    partition.get_mut("fields")
}

fn field<'a>(record: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let fields = record.get_mut("fields")?.as_array_mut()?;
    fields.iter_mut().find(|field| field["name"] == name)?.get_mut("type")
}

fn rename(fields: &mut Value) -> Option<()> {
    for field in fields.as_array_mut()? {
        let id = field["field-id"].as_i64()?;
        // Must not be the name of a column: a partition field that is called like one must be its identity.
        field["name"] = Value::String(format!("_nunatak_partition_{id}"));
    }
    Some(())
}

fn write(header: &[(Vec<u8>, Vec<u8>)], rest: &[u8]) -> Vec<u8> {
    let mut output = MAGIC.to_vec();
    write_long(&mut output, header.len());
    for (key, value) in header {
        for bytes in [key, value] {
            write_long(&mut output, bytes.len());
            output.extend_from_slice(bytes);
        }
    }
    write_long(&mut output, 0);
    output.extend_from_slice(rest);
    output
}

/// Avro's zigzag variable-length integer, for what is never negative.
fn write_long(output: &mut Vec<u8>, value: usize) {
    let mut rest = (value as u64) << 1;
    while rest >= 0x80 {
        output.push((rest as u8 & 0x7f) | 0x80);
        rest >>= 7;
    }
    output.push(rest as u8);
}

/// The rest of an Avro file that is being read.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn long(&mut self) -> Option<i64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let length = usize::try_from(self.long()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes.to_vec())
    }

    /// A map comes in blocks; a negative count is followed by the block's size in bytes.
    fn map(&mut self) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut pairs = Vec::new();
        loop {
            let count = self.long()?;
            if count == 0 {
                return Some(pairs);
            }
            if count < 0 {
                self.long()?;
            }
            for _ in 0..count.unsigned_abs() {
                pairs.push((self.bytes()?, self.bytes()?));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_as_java_does() {
        assert_eq!(avro_name("a.b"), "a_x2Eb");
        assert_eq!(avro_name("2x-day"), "_2x_x2Dday");
        assert_eq!(avro_name("plain_1"), "plain_1");
        assert!(is_plain("plain_1") && !is_plain("1a") && !is_plain("a b") && !is_plain(""));
    }

    #[test]
    fn longs_round_trip() {
        for value in [0usize, 1, 63, 64, 127, 128, 300, 1 << 20, 1 << 40] {
            let mut bytes = Vec::new();
            write_long(&mut bytes, value);
            assert_eq!(Input(&bytes).long(), Some(value as i64));
        }
    }
}
