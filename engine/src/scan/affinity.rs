//! Which node reads which files: a file goes to the same node in each query, since that one has kept parts of it.
//!
//! By rendezvous hashing (Thaler and Ravishankar, IEEE/ACM Transactions on Networking, 1998): each file ranks the nodes by a hash of both names, so that a node
//! that comes or goes moves no files but its own. A node that has its share of the bytes leaves what follows to the next in rank: no node waits for another one
//! because of where the hash puts the files.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use nunatak_catalog::snapshot::FileEntry;

use super::provider::within;
use super::source::IcebergSource;
use super::splits::{FileLayout, Split, bytes_of, deal, plan_splits};

/// How much more than the average a node may read, as a part of the average.
const TOLERANCE: u64 = 10;

/// The scan of an Iceberg table for each node, with `partitions` groups of files each; together they read what `scan` reads. `None` if `scan` is none.
pub fn for_nodes(scan: &FileScanConfig, nodes: &[&str], partitions: usize) -> Option<Vec<FileScanConfig>> {
    if !scan.file_source.is::<IcebergSource>() || nodes.is_empty() {
        return None;
    }
    let files = whole_files(scan);
    let layouts: Vec<FileLayout<'_>> = files.iter().map(layout).collect();
    let splits: Vec<Split> = plan_splits(&layouts, nodes.len() * partitions).into_iter().flatten().collect();
    let mut template = scan.clone();
    template.file_groups.clear();
    let of_node = |splits: Vec<Split>| {
        let sized = splits.into_iter().map(|split| (bytes_of(&split, &layouts), split)).collect();
        let mut groups = deal(sized, partitions);
        // All nodes have the same partitions, some perhaps without files.
        groups.resize_with(partitions, Vec::new);
        let file = |split: Split| within(files[split.file].clone(), split.range);
        let mut scan = template.clone();
        scan.file_groups = groups.into_iter().map(|splits| FileGroup::new(splits.into_iter().map(file).collect())).collect();
        scan
    };
    Some(assign(splits, &files, &layouts, nodes).into_iter().map(of_node).collect())
}

/// The nodes that read a scan which needs only `count` of them: the same ones in each query over its files.
pub fn some_nodes<'a>(scan: &FileScanConfig, nodes: &[&'a str], count: usize) -> Vec<&'a str> {
    let first = scan.file_groups.iter().flat_map(|group| group.iter()).map(|file| &file.object_meta.location).min();
    let ranked = ranked(first.map_or("", |path| path.as_ref()), nodes);
    ranked.into_iter().take(count).map(|node| nodes[node]).collect()
}

/// The files of a scan, each once and whole.
fn whole_files(scan: &FileScanConfig) -> Vec<PartitionedFile> {
    let mut files = BTreeMap::new();
    for file in scan.file_groups.iter().flat_map(|group| group.iter()) {
        files.entry(&file.object_meta.location).or_insert(file);
    }
    files.into_values().map(|file| PartitionedFile { range: None, ..file.clone() }).collect()
}

fn layout(file: &PartitionedFile) -> FileLayout<'_> {
    let row_groups = file.extension::<Arc<FileEntry>>().and_then(|entry| entry.file.split_offsets());
    FileLayout { size: file.object_meta.size, row_groups }
}

/// The splits of each node. The largest is given away first.
fn assign(mut splits: Vec<Split>, files: &[PartitionedFile], layouts: &[FileLayout<'_>], nodes: &[&str]) -> Vec<Vec<Split>> {
    let total: u64 = splits.iter().map(|split| bytes_of(split, layouts)).sum();
    let average = total.div_ceil(nodes.len() as u64);
    let most = average + average / TOLERANCE;
    splits.sort_by_key(|split| (Reverse(bytes_of(split, layouts)), split.file, split.range.as_ref().map(|range| range.start)));
    let mut loads = vec![0; nodes.len()];
    let mut assigned = vec![Vec::new(); nodes.len()];
    for split in splits {
        let bytes = bytes_of(&split, layouts);
        let ranked = ranked(files[split.file].object_meta.location.as_ref(), nodes);
        let least = || (0..nodes.len()).min_by_key(|node| loads[*node]).unwrap_or_default();
        let node = ranked.into_iter().find(|node| loads[*node] + bytes <= most).unwrap_or_else(least);
        loads[node] += bytes;
        assigned[node].push(split);
    }
    assigned
}

/// The numbers of the nodes in the order in which a file prefers them.
fn ranked(file: &str, nodes: &[&str]) -> Vec<usize> {
    let mut ranked: Vec<(u64, usize)> = nodes.iter().enumerate().map(|(number, node)| (hash(file, node), number)).collect();
    ranked.sort_unstable_by_key(|(hash, number)| (Reverse(*hash), *number));
    ranked.into_iter().map(|(_, number)| number).collect()
}

/// The same in all processes of one version.
fn hash(file: &str, node: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    (file, node).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;

    use super::*;

    const NODES: [&str; 4] = ["http://a:1", "http://b:1", "http://c:1", "http://d:1"];
    const MIB: u64 = 1 << 20;

    fn files(sizes: impl IntoIterator<Item = u64>) -> Vec<PartitionedFile> {
        sizes.into_iter().enumerate().map(|(number, size)| PartitionedFile::new(format!("data/{number:05}.parquet"), size)).collect()
    }

    /// The node of each file that is not cut, and the bytes of each node.
    fn nodes_of(files: &[PartitionedFile], nodes: &[&str]) -> (BTreeMap<Path, usize>, Vec<u64>) {
        let layouts: Vec<_> = files.iter().map(layout).collect();
        let splits = (0..files.len()).map(|file| Split { file, range: None }).collect();
        let assigned = assign(splits, files, &layouts, nodes);
        let bytes = assigned.iter().map(|splits| splits.iter().map(|split| bytes_of(split, &layouts)).sum()).collect();
        let of_node = |(node, splits): (usize, Vec<Split>)| splits.into_iter().map(move |split| (split.file, node));
        let node_of = assigned.into_iter().enumerate().flat_map(of_node);
        (node_of.map(|(file, node)| (files[file].object_meta.location.clone(), node)).collect(), bytes)
    }

    #[test]
    fn nodes_get_about_the_same() {
        for sizes in [vec![MIB; 1000], (1..=400).map(|size| size * MIB).collect(), vec![100 * MIB; 4], vec![64 * MIB; 40]] {
            let (_, bytes) = nodes_of(&files(sizes), &NODES);
            let average = bytes.iter().sum::<u64>() / 4;
            assert!(bytes.iter().all(|bytes| *bytes <= average + average / 8), "{bytes:?}");
        }
    }

    #[test]
    fn a_file_stays_where_it_is() {
        let all = files(vec![10 * MIB; 1000]);
        let (before, _) = nodes_of(&all, &NODES);
        // When there are more files, fewer, or they are asked for in another order.
        let (more, _) = nodes_of(&files(vec![10 * MIB; 1100]), &NODES);
        let (fewer, _) = nodes_of(&all.iter().rev().step_by(3).cloned().collect::<Vec<_>>(), &NODES);
        let moved = |now: &BTreeMap<Path, usize>| now.iter().filter(|(file, node)| before.get(*file).is_some_and(|was| was != *node)).count();
        assert!(moved(&more) < 60 && moved(&fewer) < 30, "{} and {}", moved(&more), moved(&fewer));
        // When a node goes, only its files move, and those that then are too many for another one.
        let (without, _) = nodes_of(&all, &NODES[..3]);
        let moved = without.iter().filter(|(file, node)| before[*file] < 3 && before[*file] != **node).count();
        assert!(moved < 80, "{moved}");
    }
}
