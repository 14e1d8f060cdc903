//! A file as a manifest lists it, in little memory. The iceberg crate's own value has six hash maps for the metrics of its columns, some kilobytes for each
//! file of a common table; here they are packed into a few hundred bytes, from which those of one column are read when they are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::spec::{DataContentType, DataFile, DataFileFormat, Datum, PrimitiveType, Struct};

/// The types of bounds by field id: the same for all files of a manifest.
pub(super) type BoundTypes = BTreeMap<i32, PrimitiveType>;

/// A data file or a file of deletes.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedFile {
    path: Box<str>,
    content: DataContentType,
    format: DataFileFormat,
    partition: Struct,
    record_count: u64,
    file_size_in_bytes: u64,
    has_value_counts: bool,
    metrics: Box<[u8]>,
    types: Arc<BoundTypes>,
    split_offsets: Option<Box<[i64]>>,
    sort_order_id: Option<i32>,
    rest: Option<Box<Rest>>,
}

/// What most data files do not have.
#[derive(Clone, Debug, Default, PartialEq)]
struct Rest {
    key_metadata: Option<Vec<u8>>,
    equality_ids: Option<Vec<i32>>,
    referenced_data_file: Option<String>,
    content_offset: Option<i64>,
    content_size_in_bytes: Option<i64>,
}

/// What a manifest says of one column of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnMetrics {
    /// Its bytes in the file.
    pub column_size: Option<u64>,
    /// How many values it has, NULLs among them.
    pub value_count: Option<u64>,
    /// How many of them are NULL.
    pub null_value_count: Option<u64>,
    /// How many of them are NaN.
    pub nan_value_count: Option<u64>,
    /// No value is smaller.
    pub lower_bound: Option<Datum>,
    /// No value is larger.
    pub upper_bound: Option<Datum>,
}

impl ListedFile {
    /// Packs a file. `types` are those that [`bound_types`] found in its manifest.
    pub(super) fn new(file: &DataFile, types: &Arc<BoundTypes>) -> Self {
        let rest = Rest {
            key_metadata: file.key_metadata().map(<[u8]>::to_vec),
            equality_ids: file.equality_ids(),
            referenced_data_file: file.referenced_data_file(),
            content_offset: file.content_offset(),
            content_size_in_bytes: file.content_size_in_bytes(),
        };
        Self {
            path: file.file_path().into(),
            content: file.content_type(),
            format: file.file_format(),
            partition: file.partition().clone(),
            record_count: file.record_count(),
            file_size_in_bytes: file.file_size_in_bytes(),
            has_value_counts: !file.value_counts().is_empty(),
            metrics: packed(file, types).into(),
            types: Arc::clone(types),
            split_offsets: file.split_offsets().map(Into::into),
            sort_order_id: file.sort_order_id(),
            rest: (rest != Rest::default()).then(|| Box::new(rest)),
        }
    }

    /// Its location.
    pub fn file_path(&self) -> &str {
        &self.path
    }

    /// Data, position deletes or equality deletes.
    pub fn content_type(&self) -> DataContentType {
        self.content
    }

    /// Its format.
    pub fn file_format(&self) -> DataFileFormat {
        self.format
    }

    /// Its partition values, in the order of its partition spec.
    pub fn partition(&self) -> &Struct {
        &self.partition
    }

    /// Its rows.
    pub fn record_count(&self) -> u64 {
        self.record_count
    }

    /// Its length.
    pub fn file_size_in_bytes(&self) -> u64 {
        self.file_size_in_bytes
    }

    /// Where its row groups begin, in bytes.
    pub fn split_offsets(&self) -> Option<&[i64]> {
        self.split_offsets.as_deref()
    }

    /// The sort order of its rows.
    pub fn sort_order_id(&self) -> Option<i32> {
        self.sort_order_id
    }

    /// What its key is encrypted with.
    pub fn key_metadata(&self) -> Option<&[u8]> {
        self.rest.as_ref()?.key_metadata.as_deref()
    }

    /// The ids of the columns by whose values it deletes rows.
    pub fn equality_ids(&self) -> Option<&[i32]> {
        self.rest.as_ref()?.equality_ids.as_deref()
    }

    /// The only data file that it deletes rows of.
    pub fn referenced_data_file(&self) -> Option<&str> {
        self.rest.as_ref()?.referenced_data_file.as_deref()
    }

    /// Where in the file a deletion vector begins.
    pub fn content_offset(&self) -> Option<i64> {
        self.rest.as_ref()?.content_offset
    }

    /// The length of a deletion vector.
    pub fn content_size_in_bytes(&self) -> Option<i64> {
        self.rest.as_ref()?.content_size_in_bytes
    }

    /// Whether its writer has counted the values of any column.
    pub fn has_value_counts(&self) -> bool {
        self.has_value_counts
    }

    /// What is known of the column of that id.
    pub fn metrics(&self, id: i32) -> Option<ColumnMetrics> {
        let mut input = Unpacker { rest: &self.metrics };
        while let Some((found, flags)) = input.column() {
            if found == id {
                return input.metrics(flags, self.types.get(&id));
            }
            input.skip(flags)?;
        }
        None
    }

    /// What is known of every column, in the order of their ids.
    pub fn all_metrics(&self) -> Vec<(i32, ColumnMetrics)> {
        let mut input = Unpacker { rest: &self.metrics };
        let next = || {
            let (id, flags) = input.column()?;
            Some((id, input.metrics(flags, self.types.get(&id))?))
        };
        std::iter::from_fn(next).collect()
    }

    /// The bytes it takes on the heap, about. What it shares with others counts for nothing.
    pub(super) fn heap_bytes(&self) -> usize {
        let rest = self.rest.as_ref().map_or(0, |rest| {
            let lengths = [rest.key_metadata.as_ref().map_or(0, Vec::len), rest.referenced_data_file.as_ref().map_or(0, String::len)];
            size_of::<Rest>() + lengths.iter().sum::<usize>() + rest.equality_ids.as_ref().map_or(0, |ids| ids.len() * size_of::<i32>())
        });
        let offsets = self.split_offsets.as_deref().map_or(0, size_of_val);
        self.path.len() + self.metrics.len() + size_of_val(self.partition.fields()) + offsets + rest
    }
}

/// The types of all bounds of a manifest's files.
pub(super) fn bound_types<'a>(files: impl Iterator<Item = &'a DataFile>) -> Arc<BoundTypes> {
    let mut types = BoundTypes::new();
    for (id, bound) in files.flat_map(|file| file.lower_bounds().iter().chain(file.upper_bounds())) {
        types.entry(*id).or_insert_with(|| bound.data_type().clone());
    }
    Arc::new(types)
}

/// For each column its id, a byte that says which of the six follow, counts as variable-length integers, and bounds with their length in the form that
/// the spec gives them ("Binary single-value serialization").
fn packed(file: &DataFile, types: &BoundTypes) -> Vec<u8> {
    let counts = [file.column_sizes(), file.value_counts(), file.null_value_counts(), file.nan_value_counts()];
    let bounds = [file.lower_bounds(), file.upper_bounds()];
    let ids: BTreeSet<i32> = counts.iter().flat_map(|map| map.keys()).chain(bounds.iter().flat_map(|map| map.keys())).copied().collect();
    let mut output = Vec::new();
    for id in ids {
        let counts = counts.map(|map| map.get(&id));
        // A bound of another type than the rest of its column can't be told apart later: better none than a wrong one.
        let of_type = |bound: &&Datum| types.get(&id) == Some(bound.data_type());
        let bounds = bounds.map(|map| map.get(&id).filter(of_type).and_then(|bound| bound.to_bytes().ok()));
        let present = counts.iter().map(Option::is_some).chain(bounds.iter().map(Option::is_some));
        let flags = present.enumerate().fold(0, |flags, (bit, present)| flags | (u8::from(present) << bit));
        output.extend_from_slice(&id.to_le_bytes());
        output.push(flags);
        counts.into_iter().flatten().for_each(|count| put(&mut output, *count));
        for bound in bounds.iter().flatten() {
            put(&mut output, bound.len() as u64);
            output.extend_from_slice(bound);
        }
    }
    output
}

fn put(output: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        output.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    output.push(value as u8);
}

const COUNTS: u8 = 4;
const VALUES: u8 = 6;

struct Unpacker<'a> {
    rest: &'a [u8],
}

impl<'a> Unpacker<'a> {
    /// The next column's id and what follows of it.
    fn column(&mut self) -> Option<(i32, u8)> {
        let (id, rest) = self.rest.split_first_chunk::<4>()?;
        let (flags, rest) = rest.split_first()?;
        self.rest = rest;
        Some((i32::from_le_bytes(*id), *flags))
    }

    fn skip(&mut self, flags: u8) -> Option<()> {
        for bit in (0..VALUES).filter(|bit| flags & (1 << bit) != 0) {
            let value = self.number()?;
            if bit >= COUNTS {
                self.bytes(value)?;
            }
        }
        Some(())
    }

    fn metrics(&mut self, flags: u8, bound_type: Option<&PrimitiveType>) -> Option<ColumnMetrics> {
        let mut count = |bit: u8| if flags & (1 << bit) != 0 { self.number() } else { None };
        let (column_size, value_count, null_value_count, nan_value_count) = (count(0), count(1), count(2), count(3));
        let mut bound = |bit: u8| {
            let length = if flags & (1 << bit) != 0 { self.number()? } else { return None };
            Datum::try_from_bytes(self.bytes(length)?, bound_type?.clone()).ok()
        };
        let (lower_bound, upper_bound) = (bound(4), bound(5));
        Some(ColumnMetrics { column_size, value_count, null_value_count, nan_value_count, lower_bound, upper_bound })
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn bytes(&mut self, length: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::spec::DataFileBuilder;

    #[test]
    fn metrics_come_back() {
        let counts = |values: &[(i32, u64)]| values.iter().copied().collect::<HashMap<_, _>>();
        let bounds = |values: &[(i32, Datum)]| values.iter().cloned().collect::<HashMap<_, _>>();
        let file = DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path("s3://b/x.parquet".to_owned())
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::empty())
            .record_count(3)
            .file_size_in_bytes(1 << 40)
            .column_sizes(counts(&[(1, 5), (700, u64::MAX)]))
            .value_counts(counts(&[(1, 300)]))
            .nan_value_counts(counts(&[(2, 0)]))
            .lower_bounds(bounds(&[(1, Datum::int(-7)), (700, Datum::string("é"))]))
            .upper_bounds(bounds(&[(1, Datum::int(9)), (3, Datum::decimal_from_str("1.25").unwrap())]))
            .split_offsets(Some(vec![4, 1 << 33]))
            .build()
            .unwrap();
        let listed = ListedFile::new(&file, &bound_types(std::iter::once(&file)));
        let one = ColumnMetrics {
            column_size: Some(5),
            value_count: Some(300),
            lower_bound: Some(Datum::int(-7)),
            upper_bound: Some(Datum::int(9)),
            ..ColumnMetrics::default()
        };
        assert_eq!(listed.metrics(1), Some(one));
        assert_eq!(listed.metrics(2).unwrap().nan_value_count, Some(0));
        assert_eq!(listed.metrics(3).unwrap().upper_bound, Some(Datum::decimal_from_str("1.25").unwrap()));
        assert_eq!(listed.metrics(700).unwrap().lower_bound, Some(Datum::string("é")));
        assert_eq!((listed.metrics(4), listed.all_metrics().len()), (None, 4));
        assert_eq!((listed.split_offsets(), listed.equality_ids()), (Some(&[4, 1 << 33][..]), None));
        assert!(listed.heap_bytes() < 200);
    }
}
