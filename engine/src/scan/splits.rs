//! How files are cut into splits and dealt out to partitions.
//!
//! A split is a range of bytes of one file. It reads the row groups that begin within it, so cuts at the starts of row groups (which Iceberg's
//! metadata knows) give even splits, and any other cut still reads every row group exactly once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

/// The most bytes of a split, unless a single row group is larger.
pub const SPLIT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The fewest bytes worth a split of their own.
const SPLIT_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// A scan with fewer bytes than this is read by one partition.
const SMALL_SCAN_BYTES: u64 = 8 * 1024 * 1024;

/// What must be known about a file to cut it.
#[derive(Clone, Debug)]
pub struct FileLayout<'a> {
    /// Its length in bytes.
    pub size: u64,
    /// Where its row groups begin, as its writer noted it.
    pub row_groups: Option<&'a [i64]>,
}

/// A range of one of the files, or all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The file's position in the list that was planned.
    pub file: usize,
    /// The bytes; `None` for the whole file.
    pub range: Option<Range<u64>>,
}

/// Cuts files and deals the splits out to at most `partitions` groups of about the same size.
pub fn plan_splits(files: &[FileLayout<'_>], partitions: usize) -> Vec<Vec<Split>> {
    let total: u64 = files.iter().map(|file| file.size).sum();
    let only_row_group = files.len() == 1 && files[0].row_groups.is_some_and(|starts| starts.len() <= 1);
    if partitions <= 1 || total < SMALL_SCAN_BYTES || only_row_group {
        return vec![(0..files.len()).map(|file| Split { file, range: None }).collect()];
    }
    let split_bytes = (total / partitions as u64).clamp(SPLIT_BYTES_MIN, SPLIT_BYTES_MAX);
    let splits = files.iter().enumerate().flat_map(|(file, layout)| cut(file, layout, split_bytes));
    deal(splits.map(|split| (bytes_of(&split, files), split)).collect(), partitions)
}

pub(super) fn bytes_of(split: &Split, files: &[FileLayout<'_>]) -> u64 {
    split.range.as_ref().map_or(files[split.file].size, |range| range.end - range.start)
}

fn cut(file: usize, layout: &FileLayout<'_>, split_bytes: u64) -> Vec<Split> {
    let mut cuts = vec![0];
    match usable_starts(layout) {
        Some(starts) => cuts.extend(cuts_at(&starts, layout.size, split_bytes)),
        None => cuts.extend((1..layout.size.div_ceil(split_bytes)).map(|index| index * split_bytes)),
    }
    if cuts.len() == 1 {
        return vec![Split { file, range: None }];
    }
    let ends = cuts.iter().skip(1).copied().chain([layout.size]);
    cuts.iter().zip(ends).map(|(start, end)| Split { file, range: Some(*start..end) }).collect()
}

/// The starts of the row groups, if they can be true: increasing and inside the file.
fn usable_starts(layout: &FileLayout<'_>) -> Option<Vec<u64>> {
    let starts: Vec<u64> = layout.row_groups?.iter().map(|start| u64::try_from(*start)).collect::<Result<_, _>>().ok()?;
    let increasing = starts.windows(2).all(|pair| pair[0] < pair[1]);
    (!starts.is_empty() && increasing && starts.last() < Some(&layout.size)).then_some(starts)
}

/// The starts at which to cut: row groups are gathered until the next one would make the split larger than wanted.
fn cuts_at(starts: &[u64], size: u64, split_bytes: u64) -> Vec<u64> {
    let mut cuts = Vec::new();
    let mut split_start = 0;
    let ends = starts.iter().skip(1).copied().chain([size]);
    for (start, end) in starts.iter().copied().zip(ends).skip(1) {
        if end - split_start > split_bytes {
            cuts.push(start);
            split_start = start;
        }
    }
    cuts
}

/// The largest split goes first, each to the group that has least so far.
pub(super) fn deal(mut splits: Vec<(u64, Split)>, partitions: usize) -> Vec<Vec<Split>> {
    splits.sort_by_key(|(bytes, split)| (Reverse(*bytes), split.file, split.range.as_ref().map(|range| range.start)));
    let groups = partitions.min(splits.len());
    let mut dealt: Vec<Vec<Split>> = vec![Vec::new(); groups];
    let mut least: BinaryHeap<Reverse<(u64, usize)>> = (0..groups).map(|group| Reverse((0, group))).collect();
    for (bytes, split) in splits {
        if let Some(Reverse((so_far, group))) = least.pop() {
            dealt[group].push(split);
            least.push(Reverse((so_far + bytes, group)));
        }
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn small_scans_and_single_row_groups_stay_whole() {
        let small = [FileLayout { size: 3 * MIB, row_groups: None }, FileLayout { size: 4 * MIB, row_groups: None }];
        assert_eq!(plan_splits(&small, 8), [[Split { file: 0, range: None }, Split { file: 1, range: None }]]);
        let single = [FileLayout { size: 500 * MIB, row_groups: Some(&[4]) }];
        assert_eq!(plan_splits(&single, 8), [[Split { file: 0, range: None }]]);
    }

    #[test]
    fn large_files_are_cut_at_row_groups() {
        let starts: Vec<i64> = (0..10).map(|index| 4 + index * 30 * MIB as i64).collect();
        let file = [FileLayout { size: 300 * MIB, row_groups: Some(&starts) }];
        let mut splits: Vec<Split> = plan_splits(&file, 2).into_iter().flatten().collect();
        splits.sort_by_key(|split| split.range.as_ref().unwrap().start);
        let ranges: Vec<_> = splits.into_iter().map(|split| split.range.unwrap()).collect();
        assert_eq!(ranges.len(), 5);
        assert_eq!((ranges[0].start, ranges[4].end), (0, 300 * MIB));
        assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!(ranges.iter().skip(1).all(|range| starts.contains(&(range.start as i64))));
        assert!(ranges.iter().all(|range| range.end - range.start <= SPLIT_BYTES_MAX));
    }

    #[test]
    fn splits_are_small_enough_for_every_partition_to_get_one() {
        let starts: Vec<i64> = (0..16).map(|index| 4 + index * 5 * MIB as i64).collect();
        let file = [FileLayout { size: 80 * MIB, row_groups: Some(&starts) }];
        let groups = plan_splits(&file, 8);
        assert_eq!(groups.len(), 8);
        assert!(groups.iter().all(|group| !group.is_empty()));
    }

    #[test]
    fn impossible_row_groups_are_not_believed() {
        let file = [FileLayout { size: 100 * MIB, row_groups: Some(&[4, 900 * MIB as i64]) }];
        let splits: Vec<Split> = plan_splits(&file, 2).into_iter().flatten().collect();
        let covered: u64 = splits.iter().map(|split| bytes_of(split, &file)).sum();
        assert_eq!((splits.len(), covered), (2, 100 * MIB));
    }

    #[test]
    fn groups_get_about_the_same() {
        let files: Vec<FileLayout<'_>> = (1..=40).map(|index| FileLayout { size: index * MIB, row_groups: None }).collect();
        let groups = plan_splits(&files, 4);
        let bytes: Vec<u64> = groups.iter().map(|group| group.iter().map(|split| bytes_of(split, &files)).sum()).collect();
        assert!(bytes.iter().max().unwrap() - bytes.iter().min().unwrap() <= 10 * MIB, "{bytes:?}");
    }
}
