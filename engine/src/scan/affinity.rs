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

/// A node that takes part in a scan.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// Its name, by which it is known again.
    pub name: &'a str,
    /// How many partitions of the scan it reads.
    pub partitions: usize,
}

/// The scan of an Iceberg table for each node, with as many groups of files as it has partitions; together they read what `scan` reads. `None` if `scan` is none.
pub fn for_nodes(scan: &FileScanConfig, nodes: &[Node<'_>]) -> Option<Vec<FileScanConfig>> {
    if !scan.file_source.is::<IcebergSource>() || nodes.is_empty() {
        return None;
    }
    let files = whole_files(scan);
    let layouts: Vec<FileLayout<'_>> = files.iter().map(layout).collect();
    let splits: Vec<Split> = plan_splits(&layouts, partitions_of(nodes)).into_iter().flatten().collect();
    let mut template = scan.clone();
    template.file_groups.clear();
    let of_node = |(splits, node): (Vec<Split>, &Node<'_>)| {
        let sized = splits.into_iter().map(|split| (bytes_of(&split, &layouts), split)).collect();
        let mut groups = deal(sized, node.partitions);
        // Some perhaps have no files.
        groups.resize_with(node.partitions, Vec::new);
        let file = |split: Split| within(files[split.file].clone(), split.range);
        let mut scan = template.clone();
        scan.file_groups = groups.into_iter().map(|splits| FileGroup::new(splits.into_iter().map(file).collect())).collect();
        scan
    };
    Some(assign(splits, &files, &layouts, nodes).into_iter().zip(nodes).map(of_node).collect())
}

/// The numbers of the nodes in the order in which a scan that does not need all of them prefers them: the same one in each query over its files.
pub fn ranking(scan: &FileScanConfig, nodes: &[Node<'_>]) -> Vec<usize> {
    let first = scan.file_groups.iter().flat_map(|group| group.iter()).map(|file| &file.object_meta.location).min();
    ranked(first.map_or("", |path| path.as_ref()), nodes)
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

fn partitions_of(nodes: &[Node<'_>]) -> usize {
    nodes.iter().map(|node| node.partitions).sum()
}

/// The splits of each node. The largest is given away first.
fn assign(mut splits: Vec<Split>, files: &[PartitionedFile], layouts: &[FileLayout<'_>], nodes: &[Node<'_>]) -> Vec<Vec<Split>> {
    let total: u64 = splits.iter().map(|split| bytes_of(split, layouts)).sum();
    let of_partition = total.div_ceil(partitions_of(nodes).max(1) as u64);
    let most = |node: usize| (of_partition + of_partition / TOLERANCE) * nodes[node].partitions as u64;
    splits.sort_by_key(|split| (Reverse(bytes_of(split, layouts)), split.file, split.range.as_ref().map(|range| range.start)));
    let mut loads = vec![0; nodes.len()];
    let mut assigned = vec![Vec::new(); nodes.len()];
    for split in splits {
        let bytes = bytes_of(&split, layouts);
        let ranked = ranked(files[split.file].object_meta.location.as_ref(), nodes);
        let least = || (0..nodes.len()).min_by_key(|node| loads[*node] / nodes[*node].partitions.max(1) as u64).unwrap_or_default();
        let node = ranked.into_iter().find(|node| loads[*node] + bytes <= most(*node)).unwrap_or_else(least);
        loads[node] += bytes;
        assigned[node].push(split);
    }
    assigned
}

/// The numbers of the nodes in the order in which a file prefers them.
fn ranked(file: &str, nodes: &[Node<'_>]) -> Vec<usize> {
    let mut ranked: Vec<(f64, usize)> = nodes.iter().enumerate().map(|(number, node)| (score(file, node), number)).collect();
    ranked.sort_unstable_by(|(left, first), (right, second)| right.total_cmp(left).then(first.cmp(second)));
    ranked.into_iter().map(|(_, number)| number).collect()
}

/// How much a file prefers a node, the same in all processes of one version. A node with more partitions is preferred by more files (Schindelhauer and Schomaker,
/// SPAA 2005).
fn score(file: &str, node: &Node<'_>) -> f64 {
    let mut hasher = std::hash::DefaultHasher::new();
    (file, node.name).hash(&mut hasher);
    let uniform = (hasher.finish() as f64 + 0.5) / (u64::MAX as f64 + 1.0);
    node.partitions as f64 / -uniform.ln()
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;

    use super::*;

    const NODES: [Node<'_>; 4] = [node("http://a:1", 2), node("http://b:1", 2), node("http://c:1", 2), node("http://d:1", 2)];
    const MIB: u64 = 1 << 20;

    const fn node(name: &str, partitions: usize) -> Node<'_> {
        Node { name, partitions }
    }

    fn files(sizes: impl IntoIterator<Item = u64>) -> Vec<PartitionedFile> {
        sizes.into_iter().enumerate().map(|(number, size)| PartitionedFile::new(format!("data/{number:05}.parquet"), size)).collect()
    }

    /// The node of each file that is not cut, and the bytes of each node.
    fn nodes_of(files: &[PartitionedFile], nodes: &[Node<'_>]) -> (BTreeMap<Path, usize>, Vec<u64>) {
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
    fn nodes_get_as_much_as_they_have_partitions() {
        let nodes = [node("http://a:1", 8), node("http://b:1", 2), node("http://c:1", 2)];
        let all = files(vec![MIB; 1200]);
        let (before, bytes) = nodes_of(&all, &nodes);
        assert!(bytes[0].abs_diff(800 * MIB) <= 80 * MIB && bytes[1..].iter().all(|bytes| bytes.abs_diff(200 * MIB) <= 40 * MIB), "{bytes:?}");
        // A node that is there no more leaves its files; hardly any other one moves.
        let (without, _) = nodes_of(&all, &nodes[..2]);
        let moved = without.iter().filter(|(file, node)| before[*file] < 2 && before[*file] != **node).count();
        assert!(moved < 60, "{moved}");
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
