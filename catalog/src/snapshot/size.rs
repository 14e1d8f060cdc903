//! What parsed manifests take in memory, about: `size_of_val` sees only the outermost struct, and what it points to is most of it.

use std::sync::Arc;

use super::FileEntry;
use crate::spec::ManifestFile;

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
    entries.iter().map(|entry| size_of::<Arc<FileEntry>>() + size_of::<FileEntry>() + entry.file.heap_bytes()).sum()
}

fn manifest(manifest: &ManifestFile) -> usize {
    let bound = |bytes: &Option<crate::spec::ByteBuf>| bytes.as_ref().map_or(0, |bytes| bytes.len());
    let summaries = manifest.partitions.iter().flatten().map(|field| size_of_val(field) + bound(&field.lower_bound) + bound(&field.upper_bound));
    size_of::<ManifestFile>() + manifest.manifest_path.len() + summaries.sum::<usize>()
}
