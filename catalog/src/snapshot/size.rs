//! What parsed manifests take in memory, about: `size_of_val` sees only the outermost struct, and the maps and strings inside are most of it.

use std::sync::Arc;

use super::FileEntry;
use crate::spec::{DataFile, Datum, ManifestFile, PrimitiveLiteral};

/// A hash map's slot beside key and value: control byte and free slots.
const SLOT_OVERHEAD: usize = 8;

/// The weight of so many bytes in a cache.
pub(super) fn weight(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The bytes of a manifest list.
pub(super) fn list(list: &[ManifestFile]) -> usize {
    list.iter().map(manifest).sum()
}

/// The bytes of a manifest's entries.
pub(super) fn entries(entries: &[Arc<FileEntry>]) -> usize {
    entries.iter().map(|entry| size_of::<Arc<FileEntry>>() + size_of::<FileEntry>() + file(&entry.file)).sum()
}

fn manifest(manifest: &ManifestFile) -> usize {
    let bound = |bytes: &Option<crate::spec::ByteBuf>| bytes.as_ref().map_or(0, |bytes| bytes.len());
    let summaries = manifest.partitions.iter().flatten().map(|field| size_of_val(field) + bound(&field.lower_bound) + bound(&field.upper_bound));
    size_of::<ManifestFile>() + manifest.manifest_path.len() + summaries.sum::<usize>()
}

/// What a data file takes on the heap.
fn file(file: &DataFile) -> usize {
    let count_slot = size_of::<(i32, u64)>() + SLOT_OVERHEAD;
    let counts = [file.column_sizes(), file.value_counts(), file.null_value_counts(), file.nan_value_counts()];
    let counts: usize = counts.iter().map(|map| map.len() * count_slot).sum();
    let bounds: usize = file.lower_bounds().values().chain(file.upper_bounds().values()).map(datum).sum();
    let offsets = file.split_offsets().map_or(0, size_of_val);
    let partition = size_of_val(file.partition().fields());
    file.file_path().len() + counts + bounds + offsets + partition
}

fn datum(datum: &Datum) -> usize {
    let heap = match datum.literal() {
        PrimitiveLiteral::String(text) => text.len(),
        PrimitiveLiteral::Binary(bytes) => bytes.len(),
        _ => 0,
    };
    size_of::<(i32, Datum)>() + SLOT_OVERHEAD + heap
}
