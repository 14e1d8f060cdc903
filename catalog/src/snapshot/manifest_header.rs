//! Headers of Avro files, where the iceberg crate reads less than the spec allows: names of partition fields, types of columns, UUIDs, ids of snapshots.
//!
//! Iceberg matches partition values by field id; the iceberg crate matches them by name, and Avro allows few names. Java writes such a name in
//! another spelling (`a.b` as `a_x2Eb`), so a manifest of such a table cannot be read, and what the crate would write cannot be read by others. So
//! manifests are read with their partition fields renamed after their ids, and written in Java's spelling. Values are by position: nothing else
//! changes.

use std::fmt::Display;
use std::io::Read;

use flate2::bufread::DeflateDecoder;
use nunatak_core::{Code, Error, Result};
use serde_json::Value;

use crate::spec::Schema;
use crate::uuid_partitions::UuidFields;
use crate::{unsupported, uuid_partitions};

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

/// The same manifest with partition fields named by their ids where their names are not read, columns of types that are, and entries that may leave out what they
/// inherit; `None` when it is so already, or when the bytes are no such manifest (then the reader finds better words for it). `of_table` are the columns of its table, for
/// a manifest that does not name them.
pub(super) fn plain(manifest: &[u8], of_table: &Schema) -> Option<Vec<u8>> {
    let mut input = Input(manifest.strip_prefix(MAGIC)?);
    let mut header = input.map()?;
    let json = |key| serde_json::from_slice::<Value>(value(&header, key)?).ok();
    let mut changed = Vec::new();
    let mut fields = json("partition-spec")?;
    // One that was dropped may have the name of its column, see `crate::void_fields`.
    let is_read = |field: &Value| field["name"].as_str().is_some_and(is_plain) && field["transform"] != "void";
    let is_renamed = !fields.as_array()?.iter().all(is_read);
    let mut columns = json("schema");
    let names_no_columns = columns.as_ref().is_some_and(describes_entries);
    if names_no_columns {
        columns = serde_json::to_value(of_table).ok();
    }
    let has_uuids = columns.as_mut().is_some_and(|columns| uuid_partitions::as_bytes(columns, &fields));
    if is_renamed || has_uuids {
        let mut avro = json("avro.schema")?;
        let partition = partition_fields(&mut avro)?;
        uuid_partitions::without_logical_types(partition);
        if is_renamed {
            rename(partition)?;
            rename(&mut fields)?;
            changed.push(("partition-spec", fields));
        }
        changed.push(("avro.schema", avro));
    }
    if let Some(mut columns) = columns
        && (unsupported::mark(&mut columns) || has_uuids || names_no_columns)
    {
        changed.push(("schema", columns));
    }
    // An entry of version 1 must have a snapshot id for the crate, and may leave it to the manifest list. One of version 2 may too, and is no different else.
    let is_v1 = value(&header, "format-version").is_none_or(|version| version == b"1");
    if is_v1 && field(&mut json("avro.schema")?, "snapshot_id").is_some_and(|id| id.is_array()) {
        changed.push(("format-version", Value::from(2)));
    }
    replace(&mut header, &changed);
    (!changed.is_empty()).then(|| write(&header, input.0))
}

/// A manifest that was written with bytes for UUIDs, as others read it; `None` for bytes that are no manifest.
pub(crate) fn with_uuids(manifest: &[u8], uuids: &UuidFields) -> Option<Vec<u8>> {
    let mut input = Input(manifest.strip_prefix(MAGIC)?);
    let mut header = input.map()?;
    let json = |key| serde_json::from_slice::<Value>(value(&header, key)?).ok();
    let (mut columns, mut avro) = (json("schema")?, json("avro.schema")?);
    uuids.restore(&mut columns, partition_fields(&mut avro)?);
    replace(&mut header, &[("schema", columns), ("avro.schema", avro)]);
    Some(write(&header, input.0))
}

/// Whether what should be the columns of the table are those of a manifest: DuckDB (1.4) writes down what an entry is made of, in a form that is no schema. Java
/// never looks at them where it knows the table. No column has the number 0.
fn describes_entries(columns: &Value) -> bool {
    let has = |id: i64, name: &str| {
        columns["fields"].as_array().is_some_and(|fields| fields.iter().any(|field| field["id"] == id && field["name"] == name))
    };
    has(0, "status") && has(2, "data_file")
}

fn replace(header: &mut Vec<(Vec<u8>, Vec<u8>)>, changed: &[(&str, Value)]) {
    for (key, json) in changed {
        header.retain(|(name, _)| name != key.as_bytes());
        header.push((key.as_bytes().to_vec(), json.to_string().into_bytes()));
    }
}

/// The longest text, list or block that is read of an Avro file, in elements or bytes. Writers make blocks of some tens of kilobytes.
const LENGTH_MAX: usize = 16 << 20;

/// What a file may unpack to, in bytes. A manifest of the size that writers aim at, 8 MiB, has a tenth of it.
const UNPACKED_BYTES_MAX: u64 = 1 << 30;

/// Checks what the Avro library believes: it reserves memory for as many entries as a damaged file says that there are, ends the process when it gets none, and unpacks
/// whatever there is.
///
/// Errors: `ICEBERG_INVALID_METADATA` for a header that is not whole, and for a file that unpacks to more than a GiB. `what` names the file.
pub(super) fn check(avro: &[u8], what: impl Display) -> Result<()> {
    apache_avro::util::max_allocation_bytes(LENGTH_MAX);
    let invalid = |why: &str| Error::new(Code::IcebergInvalidMetadata, format!("cannot read {what}: {why}"));
    let mut input = avro.strip_prefix(MAGIC).map(Input).ok_or_else(|| invalid("it has no whole Avro header"))?;
    let header = input.map().ok_or_else(|| invalid("it has no whole Avro header"))?;
    match unpacks_to_more_than(UNPACKED_BYTES_MAX, &header, input) {
        true => Err(invalid("it unpacks to more than 1 GiB")),
        false => Ok(()),
    }
}

/// Whether the blocks behind a header are longer than so many bytes when they are unpacked. What cannot be unpacked is for the reader to find.
fn unpacks_to_more_than(limit: u64, header: &[(Vec<u8>, Vec<u8>)], mut blocks: Input<'_>) -> bool {
    // The most that a byte can become: 258 bytes of two bits by DEFLATE (RFC 1951), a block of 128 KiB of four bytes by Zstandard (RFC 8878). Snappy's is 22.
    let (is_deflate, growth) = match value(header, "avro.codec") {
        Some(b"deflate") => (true, 1032),
        Some(b"zstandard") => (false, 32 << 10),
        _ => return false,
    };
    if blocks.0.len() as u64 * growth <= limit {
        return false;
    }
    let mut left = limit;
    while let Some(block) = blocks.block() {
        let unpacked = match is_deflate {
            true => length(DeflateDecoder::new(block), left),
            false => zstd::Decoder::with_buffer(block).map_or(0, |decoder| length(decoder, left)),
        };
        match left.checked_sub(unpacked) {
            Some(rest) => left = rest,
            None => return true,
        }
    }
    false
}

/// How much there is to read, up to one byte more than `limit`.
fn length(unpacked: impl Read, limit: u64) -> u64 {
    let mut length = 0;
    let mut unpacked = unpacked.take(limit + 1);
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read) = unpacked.read(&mut buffer)
        && read > 0
    {
        length += read as u64;
    }
    length
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

impl<'a> Input<'a> {
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

    /// The next block of a file, packed: the file's marker, the number of entries and the length of all come before it.
    fn block(&mut self) -> Option<&'a [u8]> {
        const MARKER_BYTES: usize = 16;
        let (_, rest) = self.0.split_at_checked(MARKER_BYTES)?;
        self.0 = rest;
        self.long()?;
        let length = usize::try_from(self.long()?).ok()?;
        let (block, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(block)
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
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;

    use super::*;

    #[test]
    fn names_are_spelled_as_java_does() {
        assert_eq!(avro_name("a.b"), "a_x2Eb");
        assert_eq!(avro_name("2x-day"), "_2x_x2Dday");
        assert_eq!(avro_name("plain_1"), "plain_1");
        assert!(is_plain("plain_1") && !is_plain("1a") && !is_plain("a b") && !is_plain(""));
    }

    /// What is behind the header of a file of some blocks.
    fn file_of(blocks: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![7; 16];
        for block in blocks {
            write_long(&mut bytes, 1);
            write_long(&mut bytes, block.len());
            bytes.extend_from_slice(block);
            bytes.extend([7; 16]);
        }
        bytes
    }

    #[test]
    fn what_unpacks_to_too_much_is_found() {
        let zeros = vec![0; 600_000];
        let deflated = {
            let mut packer = DeflateEncoder::new(Vec::new(), Compression::default());
            packer.write_all(&zeros).unwrap();
            packer.finish().unwrap()
        };
        let packed = [("deflate", deflated), ("zstandard", zstd::encode_all(&zeros[..], 1).unwrap())];
        for (codec, block) in packed {
            let header = [(b"avro.codec".to_vec(), codec.as_bytes().to_vec())];
            let one = file_of(std::slice::from_ref(&block));
            let two = file_of(&[block.clone(), block.clone()]);
            let too_much = |limit: u64, file: &[u8]| unpacks_to_more_than(limit, &header, Input(file));
            assert!(too_much(599_999, &one) && !too_much(600_000, &one), "{codec}");
            assert!(too_much(1_199_999, &two) && !too_much(1_200_000, &two), "{codec}");
            // A file that ends early, or is none of these.
            assert!(!too_much(1_000_000, &two[..two.len() - 30]) && !too_much(10, &[1, 2, 3]), "{codec}");
        }
        assert!(!unpacks_to_more_than(10, &[], Input(&file_of(&[zeros]))));
    }

    #[test]
    fn columns_of_entries_are_not_those_of_the_table() {
        let table: Schema = serde_json::from_value(serde_json::json!({"type": "struct", "schema-id": 3, "fields": [
            {"id": 1, "name": "id", "required": true, "type": "long"}, {"id": 2, "name": "data_file", "required": false, "type": "string"}]}))
        .unwrap();
        // As DuckDB 1.4.4 writes it, in short.
        let of_entries = serde_json::json!({"type": "struct", "schema-id": 0, "fields": [
            {"id": 0, "name": "status", "required": true, "type": "int"},
            {"id": 2, "name": "data_file", "required": true, "type": {"type": "struct", "fields": [
                {"id": 125, "name": "lower_bounds", "required": false, "type": {"type": "array", "items": {"type": "record", "name": "k126_k127", "fields": []}}}]}}]});
        let manifest = |columns: &Value| {
            let header = [("schema", columns.to_string()), ("partition-spec", "[]".to_owned()), ("format-version", "2".to_owned())];
            write(&header.map(|(key, value)| (key.as_bytes().to_vec(), value.into_bytes())), &[7; 16])
        };
        let plain_one = plain(&manifest(&of_entries), &table).unwrap();
        let header = Input(plain_one.strip_prefix(MAGIC).unwrap()).map().unwrap();
        let columns: Schema = serde_json::from_slice(value(&header, "schema").unwrap()).unwrap();
        assert_eq!(columns, table);
        assert!(plain_one.ends_with(&[7; 16]));
        // A table may well have a column of that name.
        assert!(plain(&manifest(&serde_json::to_value(&table).unwrap()), &Schema::builder().build().unwrap()).is_none());
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
